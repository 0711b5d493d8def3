"""Neurons of the decoder taken away, and which: by the probability of a type (Xu et al., 2025,
section 4.7), or as many others by rules that could explain the same result.

A type says where a neuron fires relative to its own maximum, not how much it does.  So beside
random neurons stand random ones of the same layers, neurons of the same layers that are as active
and write as much, and those with the least influence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.hooks import hooked
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.vlm.adapter import VisionLanguageModel
from neuronpath_core.vlm.modality import TYPES

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

NEAREST = 5  # a matched neuron is drawn among so many that are most alike
# how neurons are chosen, as many as the rule by type takes; those that are drawn are drawn again
DRAWN = ("random", "random of the same layers", "matched")
BY_TYPE = ("visual", "text", "multi-modal")
LEAST = "least influential"
RULES = ("unknown", *DRAWN, LEAST, *BY_TYPE)


@dataclass(frozen=True)
class Neurons:
    """What rules of pruning choose by, neuron by neuron over all layers of the decoder.

    Attributes:
        p: probabilities of the types in the order of ``TYPES``; NaN for dead neurons.
        layers: the layer of each.
        mean: mean activation at tokens that count.
        norm: Euclidean norm of the value vector.
        influence: mean size of the complete attribution.
    """

    p: Float[np.ndarray, "neuron 4"]
    layers: Int64[np.ndarray, "neuron"]
    mean: Float[np.ndarray, "neuron"]
    norm: Float[np.ndarray, "neuron"]
    influence: Float[np.ndarray, "neuron"]


def at_least(neurons: Neurons, level: float, kind: str = "unknown") -> Bool[np.ndarray, "neuron"]:
    """The published rule: neurons whose probability of a type is at least ``level``; dead ones have
    none and stay.

    Raises:
        ValueError: an unknown type.
    """
    if not is_one_of(kind, TYPES):
        raise ValueError(f"unknown type {shown(kind)}; accepted: {', '.join(TYPES)}")
    return np.nan_to_num(neurons.p[:, TYPES.index(kind)], nan=-1) >= level


def surest(neurons: Neurons, count: int, kind: str, rng: np.random.Generator
           ) -> Bool[np.ndarray, "neuron"]:
    """So many neurons with the largest probability of a type; those that tie at the cut are
    drawn."""
    value = np.nan_to_num(neurons.p[:, TYPES.index(kind)], nan=-1)
    return _first(np.lexsort((rng.random(len(value)), -value)), count)


def chosen(neurons: Neurons, rule: str, like: Bool[np.ndarray, "neuron"],
           rng: np.random.Generator) -> Bool[np.ndarray, "neuron"]:
    """The neurons that a rule takes, as many as ``like`` has.

    ``"random"`` draws among all, ``"random of the same layers"`` as many of each layer as ``like``
    has, ``"matched"`` for each neuron of ``like`` one of its layer that ``like`` has not, much like
    it in mean activation and norm of the value vector (:func:`matched`); ``"least influential"``
    takes those with the smallest influence, the name of a type the surest of it.

    Args:
        neurons: all of the decoder.
        rule: one of ``RULES``.
        like: the neurons that the published rule takes.
        rng: of what is drawn.

    Raises:
        ValueError: an unknown rule.
    """
    if not is_one_of(rule, RULES):
        raise ValueError(f"unknown rule {shown(rule)}; accepted: {', '.join(RULES)}")
    count = int(like.sum())
    if rule == "unknown":
        return like
    if rule == "random":
        return _first(rng.permutation(len(like)), count)
    if rule == "random of the same layers":
        found = np.zeros(len(like), bool)
        for layer in np.unique(neurons.layers):
            here = np.flatnonzero(neurons.layers == layer)
            found[rng.choice(here, int(like[here].sum()), replace=False)] = True
        return found
    if rule == "matched":
        return matched(neurons, like, rng)
    if rule == LEAST:
        return _first(np.argsort(neurons.influence, kind="stable"), count)
    return surest(neurons, count, rule, rng)


def matched(neurons: Neurons, like: Bool[np.ndarray, "neuron"], rng: np.random.Generator
            ) -> Bool[np.ndarray, "neuron"]:
    """For each neuron of ``like``, in a random order, one of the same layer that is neither in
    ``like`` nor taken: drawn among the ``NEAREST`` in the ranks of mean activation and of the norm
    of the value vector within the layer.  Where a layer has no neurons left fewer are taken."""
    found = np.zeros(len(like), bool)
    for layer in np.unique(neurons.layers[like]):
        here = np.flatnonzero(neurons.layers == layer)
        ranks = np.stack([values[here].argsort(kind="stable").argsort(kind="stable")
                          for values in (neurons.mean, neurons.norm)], 1)
        free = ~like[here]
        for own in rng.permutation(np.flatnonzero(like[here])):
            others = np.flatnonzero(free)
            if not len(others):
                break
            distance = np.linalg.norm(ranks[others] - ranks[own], axis=1)
            nearest = others[np.argsort(distance, kind="stable")[:NEAREST]]
            taken = int(rng.choice(nearest))
            free[taken], found[here[taken]] = False, True
    return found


@contextmanager
def pruned(model: VisionLanguageModel, neurons: Bool[np.ndarray, "neuron"],
           values: Float[np.ndarray, "neuron"] | None = None) -> Iterator[VisionLanguageModel]:
    """Inside, these neurons of the decoder do nothing at any token: their products are 0, or stay
    at ``values``, such as their means, whatever enters.

    Raises:
        ValueError: another number of neurons than the decoder has.
    """
    halves = model.halves["decoder"]
    widths = [half.width for half in halves]
    if neurons.shape != (sum(widths),) or neurons.dtype != bool or (
            values is not None and values.shape != neurons.shape):
        raise ValueError(f"neurons to prune are {neurons.dtype} {neurons.shape}; accepted: bool "
                         f"({sum(widths)},), with values one for each")
    held = np.zeros(len(neurons)) if values is None else values
    functions = {}
    for half, own, value in zip(halves, np.split(neurons, np.cumsum(widths)[:-1]),
                                np.split(held, np.cumsum(widths)[:-1]), strict=True):
        if own.any():
            functions[half.name, "product"] = _replaced(torch.from_numpy(own),
                                                        torch.from_numpy(value))
    with hooked(model, functions):
        yield model


def _replaced(mask: Tensor, values: Tensor):
    def function(product: Tensor) -> Tensor:
        return torch.where(mask.to(product.device), values.to(product), product)
    return function


def value_norms(model: VisionLanguageModel) -> Float[np.ndarray, "neuron"]:
    """The norms of the value vectors of all neurons of the decoder."""
    return np.concatenate([half.value_vectors.norm(dim=1).double().cpu().numpy()
                           for half in model.halves["decoder"]])


def levels_with_neurons(neurons: Neurons, levels: Sequence[float], kind: str = "unknown"
                        ) -> list[float]:
    """The levels at which the published rule takes at least one neuron and not all."""
    counts = {level: int(at_least(neurons, level, kind).sum()) for level in levels}
    return [level for level, count in counts.items() if 0 < count < len(neurons.layers)]


def _first(order: Int64[np.ndarray, "neuron"], count: int) -> Bool[np.ndarray, "neuron"]:
    found = np.zeros(len(order), bool)
    found[order[:count]] = True
    return found
