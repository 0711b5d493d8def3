"""The edges of a path beside edges to neurons that are not on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.circuits.edge_ends import one_a_block
from neuronpath_core.circuits.edges import path_edges
from neuronpath_core.examined import check_target
from neuronpath_core.random_paths import matched_random_paths
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def other_image_partners(neurons: Int64[Tensor, "batch layer"],
                         seed: int = 0) -> Int64[Tensor, "batch layer"]:
    """For every image the path of another one, in a random cycle through all images.

    Raises:
        ValueError: paths of fewer than two images, or of several neurons a block.
    """
    ranked = neurons[..., 0] if neurons.ndim == 3 and neurons.shape[2] == 1 else neurons
    if ranked.ndim != 2 or len(ranked) < 2:
        raise ValueError(f"neurons must hold the paths of at least two images, (image, layer), got "
                         f"{tuple(neurons.shape)}")
    order = np.random.default_rng(seed).permutation(len(ranked))
    after = np.empty_like(order)
    after[order] = np.roll(order, -1)
    return ranked[torch.from_numpy(after).to(ranked.device)]


def matched_partners(target: TargetModel, images: Float[Tensor, "batch channel height width"],
                     neurons: Int64[Tensor, "batch layer"],
                     seed: int = 0) -> Int64[Tensor, "batch layer"]:
    """For every neuron of a path a random one of its block with about the same clean activation,
    see :func:`~neuronpath_core.random_paths.matched_random_paths`."""
    ranked = one_a_block(target, neurons, len(images))
    return matched_random_paths(target, images, ranked, seed)[..., 0]


def shuffled_partners(target: TargetModel, neurons: Int64[Tensor, "batch layer"],
                      seed: int = 0) -> Int64[Tensor, "batch layer"]:
    """The path's own indices, each in another block than its own; the same exchange of blocks for
    all images.

    Raises:
        ValueError: fewer than two blocks, or blocks of different sizes.
    """
    ranked = one_a_block(target, neurons)
    if target.fewest_neurons != target.n_neurons:
        raise ValueError("blocks have different numbers of neurons, so that an index of one may "
                         "not exist in another; accepted: blocks of one size")
    rng, own = np.random.default_rng(seed), np.arange(target.n_blocks)
    order = own
    while (order == own).any():  # a third of all orders move every block
        order = rng.permutation(target.n_blocks)
    return ranked[:, torch.from_numpy(order).to(ranked.device)]


CONTROLS = ("path", "another image", "matched", "shuffled blocks")


def edge_controls(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    neurons: Int64[Tensor, "batch layer"],
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
    *, seed: int = 0, controls: Sequence[str] = CONTROLS, **settings,
) -> pd.DataFrame:
    """The path's edges beside edges from its neurons to partners that are not on it.

    Pairs whose partner is the path's own neuron are left out, so that controls may have fewer rows.

    Args:
        target, images, labels, neurons, baseline: as of
            :func:`~neuronpath_core.circuits.edges.path_edges`.
        seed: of the partners.
        controls: which, of ``CONTROLS``; ``"path"`` are the path's own edges.
        settings: ``split``, ``exact`` and ``derivative``, as of
            :func:`~neuronpath_core.circuits.edges.path_edges`.

    Returns:
        The tables of :func:`~neuronpath_core.circuits.edges.path_edges` below one another, with a
        first column ``control``.

    Raises:
        ValueError: an unknown control, or what :func:`~neuronpath_core.circuits.edges.path_edges`
            and the partners refuse.
    """
    check_target(target)
    target.check_batch(images, labels)
    own = one_a_block(target, neurons, len(images))
    partners: dict[str, Callable[[], Tensor]] = {
        "path": lambda: own,
        "another image": lambda: other_image_partners(own, seed),
        "matched": lambda: matched_partners(target, images, own, seed),
        "shuffled blocks": lambda: shuffled_partners(target, own, seed)}
    tables = []
    for control in controls:
        if not is_one_of(control, CONTROLS):
            raise ValueError(f"unknown control {shown(control)}; accepted: {', '.join(CONTROLS)}")
        table = path_edges(target, images, labels, own, baseline, partners=partners[control](),
                           **settings)
        path = own.cpu().numpy()[table["image"], table["target_block"] - 1]
        kept = table if control == "path" else table[table["target_neuron"] != path]
        tables.append(kept.assign(control=control))
    if not tables:
        raise ValueError(f"no controls; accepted: {', '.join(CONTROLS)}")
    table = pd.concat(tables, ignore_index=True)
    return table[["control", *table.columns.drop("control")]]
