"""How often each method finds the planted neurons of networks whose influential neurons are known,
and what the search should do by a closed form."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core import metrics
from neuronpath_core.attribution import joint_attribution_score
from neuronpath_core.hooks import activation_gradients, hooked
from neuronpath_core.models.planted import DECOYS, KINDS, Planted, planted_model
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
    if method not in SEARCHES:
        return find_paths(*batch, method=method, seed=seed).neurons
    neurons = find_paths(*batch, **SEARCHES[method]).neurons
    return refine_paths(*batch, neurons,
                        sweeps=2)[0] if method == "neuron_path refined" else neurons


def _networks(kinds, scopes, decoys, networks, seed, strengths, settings):
    """Every planted network of a grid, with the columns that name it."""
    if isinstance(networks, bool) or not isinstance(networks, int) or networks < 1:
        raise ValueError(f"networks must be a whole number of at least 1, got {networks!r}")
    for kind, scope, setting, strength, network in itertools.product(kinds, scopes, decoys,
                                                                     strengths, range(networks)):
        # distinct seeds of a grid give distinct networks, shared by all kinds, scopes and settings
        planted = planted_model(kind, scope, setting, seed=1000 * seed + network, strength=strength,
                                **settings)
        yield {"kind": kind, "scope": scope, "decoys": setting, "strength": strength,
               "network": network}, planted


def role_profile(planted: Planted) -> pd.DataFrame:
    """What the planted neurons of an image's class, its decoys and all other neurons look like to a
    measure of single neurons.

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
                 **settings) -> pd.DataFrame:
    """:func:`~neuronpath_core.models.planted_truth.verify` of every network of a grid; arguments as
    for :func:`recovery`."""
    return pd.DataFrame([{**columns, **verify(planted)} for columns,
                         planted in _networks(kinds, scopes, decoys, networks, seed, strengths,
                                              settings)])


def recovery(
    kinds: Sequence[str], scopes: Sequence[str], decoys: Sequence[str], networks: int,
    methods: Sequence[str], seed: int = 0,
    strengths: Sequence[float] = (4.0,), **settings,
) -> pd.DataFrame:
    """Whether each method finds each planted neuron, over a grid of planted networks.

    Args:
        kinds, scopes, decoys, strengths: the grid, as
            :func:`~neuronpath_core.models.planted.planted_model` takes them.
        networks: networks of each cell, drawn independently; the same ones in all cells.
        methods: of ``RECOVERY_METHODS``.
        seed: of networks and random methods.
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
    for columns, planted in _networks(kinds, scopes, decoys, networks, seed, strengths, settings):
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


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    r"""95 % interval of a share of ``count`` independent trials (Wilson, 1927).

    .. math:: \frac{\hat p + z^2/2n \pm z \sqrt{\hat p (1 - \hat p)/n + z^2/4n^2}}{1 + z^2/n}

    For a mean of values in 0..1 that are not only 0 and 1 it is wider than need be, because their
    variance is at most p(1 - p); and unlike a bootstrap interval it does not collapse where all
    values are equal.
    """
    if not 0 <= share <= 1 or count < 1:
        raise ValueError(f"the share must lie in 0..1 and the count be at least 1, got {share!r} "
                         f"and {count!r}")
    square = 1.959963984540054 ** 2 / count
    centre, half = share + square / 2, np.sqrt(square * share * (1 - share) + square ** 2 / 4)
    return float(max(0.0, (centre - half) / (1 + square))), float(
        min(1.0, (centre + half) / (1 + square)))


def recovery_summary(table: pd.DataFrame, by: Sequence[str] = (*CELL, "method")) -> pd.DataFrame:
    """Recovery rates of :func:`recovery`'s table, the network being the unit: ``value, low, high``
    (Wilson), ``permuted``, ``chance``, ``networks``.

    Images and blocks of one network are averaged first: they share its weights, so that only
    networks count as independent.
    """
    rows = []
    for names, group in table.groupby(list(by), sort=False):
        means = group.groupby("network")[["found", "permuted", "chance"]].mean()
        low, high = wilson_interval(min(1.0, float(means["found"].mean())), len(means))
        rows.append({**dict(zip(by, names, strict=True)), "value": means["found"].mean(),
                     "low": low, "high": high, "permuted": means["permuted"].mean(),
                     "chance": means["chance"].mean(), "networks": len(means)})
    return pd.DataFrame(rows)


def paired_recovery(table: pd.DataFrame, column: str, first: str, second: str,
                    seed: int = 0) -> dict[str, float]:
    """Mean difference of recovery, ``first`` minus ``second`` of a column, over the cells that have
    both: ``value, low, high, networks``.

    The interval is the percentile bootstrap over networks; where all networks differ by the same
    amount it is that point.

    Raises:
        ValueError: no cell has both, or there are fewer than two networks.
    """
    cell = [name for name in (*CELL, "method", "network", "image", "block") if name != column]
    wide = table[table[column].isin([first, second])].pivot(index=cell, columns=column,
                                                            values="found").reindex(
        columns=[first, second]).dropna()
    if wide.empty:
        raise ValueError(f"no cell of the table has both {first!r} and {second!r} of {column!r}; "
                         f"accepted: two values measured in the same cells")
    differences = (wide[first].astype(float)
                   - wide[second].astype(float)).groupby("network").mean().to_numpy()
    low, high = metrics.bootstrap_interval(differences, seed=seed)
    return {"value": float(differences.mean()), "low": low, "high": high,
            "networks": len(differences)}


def score_preference(table: pd.DataFrame, by: Sequence[str] = (*CELL, "method")) -> pd.DataFrame:
    """Where a found path is not the planted one: how often does it score higher than it, so that
    the score is to blame and not the search.

    Returns:
        ``images``, those whose path misses a planted neuron, and of these the share ``value`` (mean
        over networks) with its Wilson interval over the networks that have one; no row where no
        image misses.  Only for the variants of the search.
    """
    rows = []
    for names, group in table[table["method"].isin(SEARCHES)].groupby(list(by), sort=False):
        images = group.groupby([*CELL, "method", "network", "image"]).agg(whole=("found", "all"),
                                                                          score=("score", "first"),
                                                                          planted=("planted_score",
                                                                                   "first"))
        missed = images[~images["whole"]]
        if len(missed):
            higher = (missed["score"] > missed["planted"]).groupby("network").mean()
            low, high = wilson_interval(float(higher.mean()), len(higher))
            rows.append({**dict(zip(by, names, strict=True)), "images": len(missed),
                         "value": higher.mean(), "low": low, "high": high})
    return pd.DataFrame(rows, columns=[*by, "images", "value", "low", "high"])


def predicted_recovery(kind: str, decoys: str, strength: float,
                       blocks: int) -> Bool[np.ndarray, "layer"]:
    r"""What the joint search finds in an ideal planted network, block by block, by its score alone.

    With a planted neuron's activation and gradient as units, the sums over the path so far W of
    activations and G of gradients, and decoys of strength s, the score :math:`(g_i + G)(w_i + W)`
    of the candidates is

    .. math::

        (1 + G)(1 + W) \text{ planted}, \quad (s + G)\,W \text{ steep}, \quad
        G\,(s + W) \text{ loud or common} .

    A chosen decoy adds s to G if steep, to W if loud.  A chosen planted neuron adds 1 to W; to G
    only if it writes to the head, because what it writes for the next block's neuron is lost on
    that one, which is clamped.  The ideal: everything but the softmax is linear, and other neurons
    do nothing.

    Args:
        kind, decoys, strength, blocks: as for
            :func:`~neuronpath_core.models.planted.planted_model`.

    Returns:
        bool ``(layer,)``; a tie counts as found.
    """
    for name, value, accepted in (("kind", kind, KINDS), ("decoys", decoys, tuple(DECOYS))):
        if value not in accepted:
            raise ValueError(f"unknown {name} {value!r}; accepted: {', '.join(accepted)}")
    slope, active, found = 0.0, 0.0, []
    for _ in range(blocks):
        scores = {"planted": (1 + slope) * (1 + active), "steep": (strength + slope) * active,
                  "loud": slope * (strength + active)}
        present = {"planted", *("steep" if name == "steep" else "loud" for name in DECOYS[decoys])}
        best = max((name for name in scores if name in present),
                   key=lambda name: (scores[name], name == "planted"))
        found.append(best == "planted")
        slope += {"planted": float(kind == "parallel"), "steep": strength, "loud": 0.0}[best]
        active += {"planted": 1.0, "steep": 0.0, "loud": strength}[best]
    return np.array(found)


def predicted_rates(kinds: Sequence[str], decoys: Sequence[str], strengths: Sequence[float],
                    blocks: int) -> pd.DataFrame:
    """:func:`predicted_recovery` averaged over blocks: ``kind, decoys, strength, value``."""
    return pd.DataFrame([{"kind": kind, "decoys": setting, "strength": strength,
                          "value": predicted_recovery(kind, setting, strength, blocks).mean()}
                         for kind, setting,
                         strength in itertools.product(kinds, decoys, strengths)])
