"""Paths from a counterfactual image to the image itself: which neurons carry what one change takes
away, and whether another change finds others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.baselines import gradient_activation
from neuronpath_core.examined import check_target
from neuronpath_core.interventions import class_probabilities
from neuronpath_core.ranking import layer_tops
from neuronpath_core.replacement import replacement_values
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.tensors import is_ordinary, kind_of
from neuronpath_core.support.text import shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

NONE = -1  # in place of a neuron, where a block does not tell image and counterfactual apart
# Units of rounding of a block's largest |w ∂F/∂w|: attributions below are what is left of equal
# activations that were computed in another batch. In networks of 12 and 24 blocks it was at most
# 21 units where the pixels themselves differed by one, and at least 200 in single precision where
# one pixel of one channel differed by one level of 255 (test_equal_pairs_have_no_path).
ROUNDING_UNITS = 100
MEASURES = {"attribution": "of the path", "total": "of all neurons, absolute",
            "effect": "on the label's probability"}


@dataclass(frozen=True)
class PairPaths:
    """Paths of the same images, one for each change of them.

    Attributes:
        changes: the names of the changes.
        neurons: int64 ``(change, image, layer)``; -1 in a block that does not tell image and
            counterfactual apart, or in which every neuron has the same attribution: nothing can be
            chosen there.
        attribution: float64 ``(change, image)``, summed over the path's neurons.
        total: float64 ``(change, image)``, absolute values summed over all neurons, at least 0.
        effect: float64 ``(change, image)``, the label's probability on the image less that on its
            counterfactual, in -1..1.
        sizes: neurons of each layer.
    """

    changes: tuple[str, ...]
    neurons: Int64[np.ndarray, "change image layer"]
    attribution: Float[np.ndarray, "change image"]
    total: Float[np.ndarray, "change image"]
    effect: Float[np.ndarray, "change image"]
    sizes: tuple[int, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row for each change and image: ``change``, ``image`` (its place in the batch),
        ``attribution``, ``total`` and ``effect``."""
        count = self.neurons.shape[1]
        return pd.DataFrame({
            "change": np.repeat(self.changes, count),
            "image": np.tile(np.arange(count), len(self.changes)),
            **{name: getattr(self, name).ravel() for name in MEASURES},
        })


def pair_paths(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    pairs: Mapping[str, Float[Tensor, "batch channel height width"]],
) -> PairPaths:
    r"""The path of each image by the attribution of what separates it from its counterfactual,

    .. math:: (\bar w^l_i - b^l_i)\, \frac{\partial F_x}{\partial w^l_i},

    summed over the scope's tokens, with :math:`\bar w` the activations of the image, b those of its
    counterfactual and :math:`F_x` the label's probability at the image: attribution patching
    (Nanda, 2023; Syed et al., 2023, arXiv 2310.10348) from clean to counterfactual, per neuron.  To
    first order it is what the probability loses where the neuron alone is set to its value on the
    counterfactual.  The path has the neuron with the largest attribution of every block.

    Args:
        target: the model; a :class:`~neuronpath_core.variants.sites.SiteModel` too.
        images, labels: a batch; classes may mix.
        pairs: the name of each change with its counterfactuals, one an image, such as
            ``{"outline": pairs_for(dataset, images, "outline").images, …}`` in the images' dtype
            and on their device. The same change with two seeds of its choice says how far paths of
            one change overlap.

    Returns:
        :class:`PairPaths`, arrays on the CPU.

    Raises:
        ValueError: images, labels or pairs that do not fit the model or one another, or no pairs.
    """
    check_target(target)
    target.check_batch(images, labels)
    if not isinstance(pairs, Mapping) or not pairs or not all(isinstance(name, str) and name
                                                              for name in pairs):
        raise ValueError(f"pairs cannot be {shown(pairs)}; accepted: a mapping from the name of at "
                         f"least one change to counterfactual images")
    clean = _label_probability(target, images, labels)
    for name, others in pairs.items():
        if not is_ordinary(others) or others.shape != images.shape:
            raise ValueError(f"pairs of {shown(name)} are {kind_of(others)}, the batch is "
                             f"{tuple(images.shape)}; accepted: a tensor of the batch's shape, one "
                             f"counterfactual an image")
    least = ROUNDING_UNITS * torch.finfo(target.dtype).eps * gradient_activation(
        target, images, labels).abs().amax(-1)
    found = {name: _paths_of(target, images, labels, others, least)
             for name, others in pairs.items()}
    neurons, attribution, total = (np.stack(each) for each in zip(*found.values(), strict=True))
    effect = np.stack([clean - _label_probability(target, others, labels)
                       for others in pairs.values()])
    return PairPaths(tuple(pairs), neurons, attribution, total, effect,
                     tuple(layer.units for layer in target.layers))


def _label_probability(target: TargetModel, images: Tensor,
                       labels: Tensor) -> Float[np.ndarray, "image"]:
    found = class_probabilities(target, images).gather(1, labels[:, None])[:, 0]
    return found.double().cpu().numpy()


def _paths_of(target: TargetModel, images: Tensor, labels: Tensor,
              pairs: Tensor, least: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    def scores(chosen: Tensor) -> Tensor:
        # the values of a chunk only: those of every patch token of a large model are many
        values = replacement_values(target, "counterfactual", images[chosen], labels[chosen],
                                    pairs=pairs[chosen])[0]
        return gradient_activation(target, images[chosen], labels[chosen], baseline=values)

    every = torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1), scores))
    ranked, gaps = layer_tops(target, every, 1)
    taken = every.gather(2, ranked)[..., 0].double()
    nothing = (gaps == -torch.inf) | (every.abs().amax(-1) <= least)
    neurons = ranked[..., 0].masked_fill(nothing, NONE)
    return (neurons.cpu().numpy(), taken.sum(1).cpu().numpy(),
            every.double().abs().sum((1, 2)).cpu().numpy())


def image_overlap(first: Int64[np.ndarray, "image layer"],
                  second: Int64[np.ndarray, "image layer"]) -> Float[np.ndarray, "image"]:
    """Per image, the share of blocks in which two paths have the same neuron, of the blocks in
    which both have one; NaN where there are none."""
    both = (first != NONE) & (second != NONE)
    count, same = both.sum(-1), (both & (first == second)).sum(-1)
    return np.where(count > 0, same / np.maximum(count, 1), np.nan)


def _with_other_images(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Per image, the mean overlap of its first path with the second path of every other image."""
    every = np.stack([image_overlap(path[None], second) for path in first])
    np.fill_diagonal(every, np.nan)
    known = ~np.isnan(every)
    return np.where(known.any(1), np.nansum(every, 1) / np.maximum(known.sum(1), 1), np.nan)


def overlap_table(paths: PairPaths, seed: int = 0) -> pd.DataFrame:
    """How far the paths of every two changes overlap.

    Args:
        paths: of at least two changes and two images.
        seed: of the bootstrap.

    Returns:
        one row for every two changes, ``first`` and ``second``, with the mean share of blocks with
        the same neuron (``value``) and its 95 % interval over images (``low``, ``high``);
        ``other_images``, the same between the paths of two different images, which comes near the
        value where the model uses the same neurons whatever it sees; ``chance``, one over the
        number of neurons, averaged over blocks; and ``images``, how many have a block in which both
        changes move something.
        Of fewer than two such images there is no value: NaN.

    Raises:
        ValueError: fewer than two changes or images.
    """
    if len(paths.changes) < 2 or paths.neurons.shape[1] < 2:
        raise ValueError(f"overlap is between two changes over at least two images, got "
                         f"{len(paths.changes)} and {paths.neurons.shape[1]}; accepted: pairs of "
                         f"two changes or more")
    rows = []
    for one, other in combinations(range(len(paths.changes)), 2):
        own = image_overlap(paths.neurons[one], paths.neurons[other])
        known = ~np.isnan(own)
        across = _with_other_images(paths.neurons[one], paths.neurons[other])
        enough = known.sum() >= 2
        rows.append({
            "first": paths.changes[one], "second": paths.changes[other],
            **(interval_row(own[known], seed=seed) if enough
               else dict.fromkeys(("value", "low", "high"), np.nan)),
            "other_images": float(np.nanmean(across[known])) if enough else np.nan,
            "chance": float(np.mean([1 / size for size in paths.sizes])),
            "images": int(known.sum()),
        })
    return pd.DataFrame(rows)


def size_table(paths: PairPaths, control: str | None = None, seed: int = 0) -> pd.DataFrame:
    """How large attribution and effect of each change are.

    Args:
        paths: of at least two images.
        control: a change that the others are compared with, such as ``"background"``.
        seed: of the bootstrap.

    Returns:
        one row for each change and ``measure`` (``attribution``, ``total``, ``effect`` of
        :class:`PairPaths`): the mean over images, ``value``, with its 95 % interval, ``low`` and
        ``high``; with a control also ``less_control``, ``less_control_low`` and
        ``less_control_high``: the mean of the paired difference from the control's, with its
        interval.

    Raises:
        ValueError: fewer than two images, or a control that is none of the changes.
    """
    if control is not None and control not in paths.changes:
        raise ValueError(f"unknown control {shown(control)}; accepted: {', '.join(paths.changes)}")
    rows = []
    for place, change in enumerate(paths.changes):
        for measure in MEASURES:
            values = getattr(paths, measure)
            row = {"change": change, "measure": measure, **interval_row(values[place], seed=seed)}
            if control is not None:
                less = interval_row(values[place] - values[paths.changes.index(control)], seed=seed)
                row |= {"less_control": less["value"], "less_control_low": less["low"],
                        "less_control_high": less["high"]}
            rows.append(row)
    return pd.DataFrame(rows)
