"""What every neuron of an image's path does to the later ones, and to partners that are not on
it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.circuits.edge_controls import edge_controls
from neuronpath_core.edits import scaled
from neuronpath_core.hooks import read_activations
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_probabilities, scaled_probabilities
from neuronpath_core.models.planted import planted_model
from neuronpath_core.replacement import replacement_values
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

# what an edge may lead to, as tables and figures call it
PARTNERS = {"path": "the path's own next neuron", "matched": "a neuron about as active as it",
            "another image": "that of another image's path",
            "shuffled blocks": "a neuron with another block's number"}
# of every block, the most active neurons that are tried as sources of a strongest pair, and how
# active what they reach must be, of the path's own neuron there
SOURCES, LEAST_ACTIVE = 16, 0.5


def removal_effects(
    target: TargetModel, pictures: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], neurons: Int64[Tensor, "image layer"],
    values: Float[Tensor, "image layer token neuron"] | None = None
) -> Float[np.ndarray, "image layer"]:
    """How much of the label's probability is lost when one neuron of a path is removed by itself,
    block by block; all routes to the label count.

    Args:
        target, pictures, labels: the model and a batch.
        neurons: the paths.
        values: what a removed neuron is set to; ``None`` is zero.
    """
    rows, lost = torch.arange(len(pictures), device=pictures.device), []
    clean = class_probabilities(target, pictures)[rows, labels]
    for block in range(target.n_blocks):
        factors = torch.ones(len(pictures), target.n_blocks, target.n_neurons, dtype=target.dtype,
                             device=pictures.device)
        factors[rows, block, neurons[:, block]] = 0
        edited = scaled_probabilities(target, pictures, factors, values=values)
        lost.append(clean - edited[rows, labels])
    return torch.stack(lost, 1).cpu().double().numpy()


def edges_of(
    target: TargetModel, pictures: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], neurons: Int64[Tensor, "image layer"],
    values: Float[Tensor, "image layer token neuron"] | None = None, *, seed: int = 0,
    controls: Sequence[str] = tuple(PARTNERS), split: bool = True
) -> pd.DataFrame:
    """:func:`~neuronpath_core.circuits.edge_controls.edge_controls` with what the source does by
    itself.

    The routes are told apart for the path's own edges alone, which takes most of the time.

    Args:
        target, pictures, labels, neurons: the model, a batch and its paths.
        values: what a source is set to; ``None`` is zero.
        seed: of the partners.
        controls: of ``PARTNERS``.
        split: tell the routes of the path's own edges apart.

    Returns:
        the columns of ``edge_controls`` and ``source_effect``, the probability that removal of the
        source alone costs (:func:`removal_effects`).
    """
    parts = [edge_controls(target, pictures, labels, neurons, values, seed=seed, controls=[control],
                           split=split and control == "path") for control in controls]
    table = pd.concat(parts, ignore_index=True)
    lost = removal_effects(target, pictures, labels, neurons, values)
    return table.assign(source_effect=lost[table["image"], table["source_block"] - 1])


def strongest_pairs(
    target: TargetModel, pictures: Float[Tensor, "image channel height width"],
    neurons: Int64[Tensor, "image layer"], sources: int = SOURCES, least: float = LEAST_ACTIVE
) -> pd.DataFrame:
    """In every two blocks that follow one another, the pair of neurons of which the second moves
    most without the first, as a share of its activation: how strong an edge can be in this model.

    Sources are the most active neurons of a block and the path's own; what is reached is any neuron
    of the next block that is at least ``least`` times as active as the path's own there.  So the
    path's own edge is among them.

    Args:
        target, pictures: the model and a batch.
        neurons: the paths.
        sources: how many of the most active neurons are tried.

    Returns:
        ``image, source_block`` (from 1), ``source_neuron, target_neuron, exact,
        target_activation``, the last two as of
        :func:`~neuronpath_core.circuits.edges.path_edges`.
    """
    clean = read_activations(target, pictures).mean(2)
    rows, tables = torch.arange(len(pictures), device=clean.device), []
    for block in range(target.n_blocks - 1):
        units = target.layers[block].units
        most = clean[:, block, :units].abs().topk(min(sources, units), dim=1).indices
        tried = torch.cat([neurons[:, [block]].to(most), most], 1)
        own = clean[:, block + 1]
        active = own.abs() >= least * own[rows, neurons[:, block + 1].to(own.device)].abs()[:, None]
        every = []
        for source in tried.unbind(1):
            factors = torch.ones(len(pictures), target.n_blocks, target.n_neurons,
                                 dtype=target.dtype, device=target.device)
            factors[rows, block, source] = 0
            with scaled(target, factors):
                every.append(own - read_activations(target, pictures).mean(2)[:, block + 1])
        moves = torch.stack(every, 1)
        share = (moves.abs() / own.abs()[:, None]).where(
            active[:, None] & (own != 0)[:, None], -torch.inf)
        best = share.flatten(1).argmax(1)
        place, reached = best // own.shape[1], best % own.shape[1]
        tables.append(pd.DataFrame({
            "image": range(len(pictures)), "source_block": block + 1,
            "source_neuron": tried[rows, place].cpu().numpy(),
            "target_neuron": reached.cpu().numpy(),
            "exact": moves[rows, place, reached].cpu().double().numpy(),
            "target_activation": own[rows, reached].cpu().double().numpy()}))
    return pd.concat(tables, ignore_index=True)


def strongest_pair_table(study: Study, names: Sequence[str], images: ImageSet,
                         **settings) -> pd.DataFrame:
    """:func:`strongest_pairs` of every image and model of a study, with ``model``; ``settings`` as
    of :func:`path_edge_table`."""
    return pd.concat([
        strongest_pairs(study.target(model), study.batch(images, model)[0],
                        study.paths(model, images, **settings).neurons).assign(model=model)
        for model in study.check_models(list(names))], ignore_index=True)


def path_edge_table(study: Study, names: Sequence[str], images: ImageSet, pool: ImageSet,
                    seed: int = 0, **settings) -> pd.DataFrame:
    """The edges of every image's path and of its controls.

    Args:
        study, names: models of the study.
        images: whose paths; ``pool``: over which a neuron's mean is taken, where a source is
            replaced by it and not by zero.
        seed: of the partners.
        settings: ``context``, ``quadrature``, ``steps``, … of
            :meth:`~neuronpath_core.study.study.Study.paths`.

    Returns:
        the tables of :func:`edges_of` below one another, with ``model, scope`` and ``replaced``,
        ``"zero"`` or ``"mean"``; with the mean the path and its matched partners alone.
    """
    tables = []
    for model in study.check_models(list(names)):
        target, batch = study.target(model), study.batch(images, model)
        neurons = study.paths(model, images, **settings).neurons.to(batch[0].device)
        mean, = replacement_values(target, "mean", *batch, pool=study.batch(pool, model)[0])
        for replaced, values, controls in (("zero", None, tuple(PARTNERS)),
                                           ("mean", mean, ("path", "matched"))):
            table = edges_of(target, *batch, neurons, values, seed=seed, controls=controls,
                             split=values is None)
            tables.append(table.assign(model=model, scope=target.scope, replaced=replaced))
    return pd.concat(tables, ignore_index=True)


def planted_edges(kinds: Sequence[str], scopes: Sequence[str], networks: int, seed: int = 0,
                  **settings) -> pd.DataFrame:
    """The edges of planted paths, of which it is known whether anything flows along them.

    Args:
        kinds, scopes: as :func:`~neuronpath_core.models.planted.planted_model` takes them.
        networks: of each kind and scope.
        seed: of networks and partners.
        settings: ``device`` and ``dtype``.

    Returns:
        as of :func:`edges_of`, with ``kind, scope, network``.
    """
    tables = []
    for kind, scope, network in itertools.product(kinds, scopes, range(networks)):
        planted = planted_model(kind, scope, seed=1000 * seed + network, **settings)
        table = edges_of(planted.target, planted.images, planted.labels, planted.neurons[..., 0],
                         seed=seed, split=False)
        tables.append(table.assign(kind=kind, scope=scope, network=network))
    return pd.concat(tables, ignore_index=True)
