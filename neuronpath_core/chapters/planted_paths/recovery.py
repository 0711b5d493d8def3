"""Chapter 9: whether each method finds the planted neurons of networks whose influential neurons
are known."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.gradients import activation_gradients
from neuronpath_core.hooks import hooked
from neuronpath_core.jas import joint_attribution_score
from neuronpath_core.models.planted import Planted, planted_model
from neuronpath_core.models.planted_truth import removal_losses, verify
from neuronpath_core.paths import find_paths
from neuronpath_core.scores import METHODS
from neuronpath_core.variants.refine import refine_paths

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64

SEARCHES = {
    "neuron_path as published": {"context": "full", "quadrature": "left", "steps": 20},
    "neuron_path": {},
    "neuron_path literal": {"search": "literal", "context": "full", "steps": 2},
    "neuron_path beam": {"search": "beam", "width": 2},
    "neuron_path refined": {},
}
RECOVERY_METHODS = (*SEARCHES, *(name for name in METHODS if name != "neuron_path"))
# networks differ in size as well as in seed; a search that stops at a decoy finds one neuron of a
# path, whose share depends on the number of blocks
SIZES = ({"blocks": 5, "neurons": 20}, {"blocks": 4, "neurons": 24}, {"blocks": 6, "neurons": 28})
PERMUTATIONS = 20
CELL = ["kind", "scope", "decoys", "strength"]


def recovered(planted: Planted,
              neurons: Int64[torch.Tensor, "image layer"]) -> Bool[np.ndarray, "image layer"]:
    """Whether a path's neuron is the block's planted one, or one of the two.

    Raises:
        ValueError: paths of another shape.
    """
    if neurons.shape != planted.neurons.shape[:2]:
        raise ValueError(f"neurons must be (image, layer) = {tuple(planted.neurons.shape[:2])}, "
                         f"got {tuple(neurons.shape)}")
    return (neurons[..., None] == planted.neurons).any(-1).cpu().numpy()


def permuted_truth(planted: Planted, seed: int = 0) -> Int64[torch.Tensor,
                                                             "image layer alternative"]:
    """The planted neurons under another random numbering of every block's neurons: what a path
    agrees with by chance."""
    rng, count = np.random.default_rng([seed, 1]), planted.target.n_neurons
    names = torch.from_numpy(np.stack([rng.permutation(count)
                                       for _ in range(planted.target.n_blocks)])).to(
        planted.neurons.device)
    return torch.stack([names[block][planted.neurons[:, block]] for block in range(len(names))], 1)


def method_paths(planted: Planted, method: str,
                 seed: int = 0) -> Int64[torch.Tensor, "image layer"]:
    """The paths of one of ``RECOVERY_METHODS``: a variant of the search, or another method of
    :func:`~neuronpath_core.paths.find_paths`.

    ``"neuron_path refined"`` is the default search's path after
    :func:`~neuronpath_core.variants.refine.refine_paths`.
    """
    if method not in RECOVERY_METHODS:
        raise ValueError(f"unknown method {method!r}; accepted: {', '.join(RECOVERY_METHODS)}")
    batch = planted.target, planted.images, planted.labels
    with warnings.catch_warnings():
        # how often a method finds nothing to choose by is in what it recovers
        warnings.filterwarnings("ignore", ".*every neuron scores the same", RuntimeWarning)
        if method not in SEARCHES:
            return find_paths(*batch, method=method, seed=seed).neurons
        neurons = find_paths(*batch, **SEARCHES[method]).neurons
    return refine_paths(*batch, neurons,
                        sweeps=2)[0] if method == "neuron_path refined" else neurons


def _networks(kinds, scopes, decoys, networks, seed, strengths, sizes, settings):
    """Every planted network of a grid, with the columns that name it."""
    if not sizes:
        raise ValueError("no size of network; accepted: at least one")
    if isinstance(networks, bool) or not isinstance(networks, int) or networks < 1:
        raise ValueError(f"networks must be a whole number of at least 1, got {networks!r}")
    for kind, scope, setting, strength, network in itertools.product(kinds, scopes, decoys,
                                                                     strengths, range(networks)):
        # distinct seeds of a grid give distinct networks, shared by all kinds, scopes and settings
        planted = planted_model(kind, scope, setting, seed=1000 * seed + network, strength=strength,
                                **sizes[network % len(sizes)], **settings)
        yield {"kind": kind, "scope": scope, "decoys": setting, "strength": strength,
               "network": network}, planted


def role_profile(planted: Planted) -> pd.DataFrame:
    """How planted neurons, decoys and all other neurons differ in measures of single neurons.

    Returns:
        per ``role`` the means over images, blocks and neurons: ``activation``, that of the scope,
        averaged over its tokens; ``gradient`` of the label's probability with respect to it, summed
        over them; ``loss`` by removal
        (:func:`~neuronpath_core.models.planted_truth.removal_losses`).  Of the steep
        decoys only those of the image's class count as such, and of the planted neurons;
        those of other classes are among the others.
    """
    target, labels, entering = planted.target, planted.labels, []
    with activation_gradients(target), hooked(target,
                                              dict.fromkeys(range(target.n_blocks),
                                                            lambda value: entering.append(
            value.requires_grad_()))):
        probability = target(planted.images).softmax(-1).gather(1, labels[:, None]).sum()
        gradients = torch.autograd.grad(probability, entering)
    measures = {"activation": torch.stack([value.detach()[:, target.tokens].mean(1)
                                           for value in entering], 1).cpu().numpy(),
                "gradient": torch.stack([value[:, target.tokens].sum(1) for value in gradients],
                                        1).cpu().numpy(), "loss": removal_losses(planted)}
    roles = {"planted": planted.neurons.cpu()}
    for name, places in planted.decoys.items():
        roles[name] = places[:, labels.cpu()].T[...,
                                                None] if name == "steep" else places.expand(
            len(labels), -1, -1)
    rows, others = [], np.ones(measures["loss"].shape, bool)
    for name, places in roles.items():
        np.put_along_axis(others, places.numpy(), False, 2)
        rows.append({"role": name, **{measure: np.take_along_axis(values, places.numpy(), 2).mean()
                                      for measure, values in measures.items()}})
    return pd.DataFrame([*rows, {"role": "others", **{measure: values[others].mean() for measure,
                                                      values in measures.items()}}])


def verification(kinds: Sequence[str], scopes: Sequence[str], decoys: Sequence[str], networks: int,
                 seed: int = 0, strengths: Sequence[float] = (4.0,),
                 sizes: Sequence[Mapping[str, int]] = ({},), **settings) -> pd.DataFrame:
    """:func:`~neuronpath_core.models.planted_truth.verify` of every network of a grid; arguments as
    for :func:`recovery`."""
    return pd.DataFrame([{**columns, **verify(planted)} for columns,
                         planted in _networks(kinds, scopes, decoys, networks, seed, strengths,
                                              sizes, settings)])


def recovery(
    kinds: Sequence[str], scopes: Sequence[str], decoys: Sequence[str], networks: int,
    methods: Sequence[str], seed: int = 0, strengths: Sequence[float] = (4.0,),
    sizes: Sequence[Mapping[str, int]] = ({},), **settings,
) -> pd.DataFrame:
    """Whether each method finds each planted neuron, over a grid of planted networks.

    Args:
        kinds, scopes, decoys, strengths: the grid, as
            :func:`~neuronpath_core.models.planted.planted_model` takes them.
        networks: networks of each cell, drawn independently; the same ones in all cells.
        methods: of ``RECOVERY_METHODS``.
        seed: of networks and random methods.
        sizes: arguments of :func:`~neuronpath_core.models.planted.planted_model` that the networks
            take in turn; ``SIZES`` has those of the chapter.
        settings: further arguments of :func:`~neuronpath_core.models.planted.planted_model`.

    Returns:
        ``kind, scope, decoys, strength, method, network, image, block, found, permuted, chance,
        score, planted_score``:
        a row per block, counted from 1. ``permuted`` is the mean of ``found`` over ``PERMUTATIONS``
        permutations of the truth, ``chance`` its expectation; the joint attribution scores (eight
        Gauss-Legendre nodes) of the found path, NaN for methods that do not search for one, and of
        the planted path are the image's, the same in its rows.
    """
    tables = []
    for columns, planted in _networks(kinds, scopes, decoys, networks, seed, strengths, sizes,
                                      settings):
        network, batch = columns.pop("network"), (planted.target, planted.images, planted.labels)
        renamed = torch.stack([permuted_truth(planted, PERMUTATIONS * (1000 * seed + network)
                                              + index) for index in range(PERMUTATIONS)])
        blocks, count = planted.target.n_blocks, len(planted.labels)
        reference = joint_attribution_score(*batch, planted.neurons[..., 0], "gauss-legendre",
                                            8).cpu().numpy()
        for method in methods:
            neurons = method_paths(planted, method, 1000 * seed + network)
            score = np.full(count, np.nan)
            if method in SEARCHES:
                score = joint_attribution_score(*batch, neurons, "gauss-legendre", 8).cpu().numpy()
            tables.append(pd.DataFrame({
                **columns, "method": method, "network": network,
                "image": np.repeat(np.arange(count), blocks),
                "block": np.tile(np.arange(blocks) + 1, count),
                "found": recovered(planted, neurons).flatten(),
                "permuted": (neurons[..., None]
                             == renamed).any(-1).double().mean(0).cpu().numpy().flatten(),
                "chance": planted.neurons.shape[2] / planted.target.n_neurons,
                "score": score.repeat(blocks), "planted_score": reference.repeat(blocks)}))
    if not tables:
        raise ValueError("the grid is empty; accepted: at least one kind, scope, setting of "
                         "decoys, strength and method")
    return pd.concat(tables, ignore_index=True)
