"""Stability of paths: how much of an image's path another rule, precision, view, checkpoint or
training seed finds again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import pad

from neuronpath_core import metrics
from neuronpath_core.chapters import similarity_in_numbers
from neuronpath_core.chapters.analysis import interval_row
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_probabilities, scaled_probabilities
from neuronpath_core.paths import Paths
from neuronpath_core.stats import report
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

# the rules that are compared with a converged one; all of them integrate the same function, the
# dear ones at as many places as that one
CONVERGED = {"context": "full", "quadrature": "gauss-legendre", "steps": [32, 16, 8, 4]}
RULES = {
    "default": {}, "Gauss-Legendre, 4 steps": {"context": "full", "quadrature": "gauss-legendre",
                                               "steps": 4},
    **{f"left, {steps} steps": {"context": "full", "quadrature": "left", "steps": steps,
                                "nodes": min(steps, 12)} for steps in (10, 20, 40)},
}
# small changes that leave the class as it is; pixels are normalised to -1..1
AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "shifted by one pixel": lambda images, _: pad(images, (1, 0, 0, 0), mode="replicate")[..., :-1],
    "brighter, less contrast": lambda images, _: (0.9 * images + 0.1).clamp(-1, 1),
    "noise of 0.05": lambda images,
    draw: (images + 0.05 * torch.randn(images.shape, generator=draw,
                                       dtype=images.dtype)).clamp(-1, 1),
}


def augmented(images: ImageSet, kind: str, seed: int = 0) -> ImageSet:
    """The images after a change of ``AUGMENTATIONS``, with their labels and ids; pixels for display
    stay as they were.

    Raises:
        ValueError: unknown kind.
    """
    if kind not in AUGMENTATIONS:
        raise ValueError(f"unknown augmentation {kind!r}; accepted: {', '.join(AUGMENTATIONS)}")
    return replace(images, images=AUGMENTATIONS[kind](images.images,
                                                      torch.Generator().manual_seed(seed)))


def variant_names(study: Study, model: str, kind: str) -> list[str]:
    """A model's replicas (``kind`` ``"seed"``) or checkpoints (``"epoch"``); ``ValueError`` if the
    profile has none."""
    names = [name for name in study.variants(model) if f" {kind} " in name]
    if not names:
        having = [other for other in study.model_names
                  if any(f" {kind} " in name for name in study.variants(other))]
        raise ValueError(f"{model} has no variants by {kind} in profile {study.profile}; "
                         f"accepted: {', '.join(having) or 'no model of it'}")
    return names


def precision_paths(study: Study, model: str, images: ImageSet, dtypes: Sequence[str],
                    **settings) -> dict[str, Paths]:
    """Paths of the same weights rounded to each dtype and searched in it; errors are those of
    :class:`~neuronpath_core.study.study.Study`."""
    return {dtype: replace(study, dtype=dtype).paths(model, images, **settings) for dtype in dtypes}


def overlaps(first: Int64[np.ndarray, "image layer"], second: Int64[np.ndarray, "image layer"],
             images: ImageSet) -> pd.DataFrame:
    """Whether two sets of paths of the same images hold the same neurons, beside what other images'
    paths would hold.

    The yardsticks compare an image's path in one set with *another* image's path in the other set,
    both ways round: what an overlap owes to neurons that any image passes, and to those of its
    class, they show too.

    Returns:
        one row per image and block: ``image, label, block, own`` (0 or 1), ``same_class``,
        ``other_class`` (shares of the other images of the class, and of those of other classes).

    Raises:
        ValueError: paths that do not fit the images or one another, fewer than two images of a
            class, or one class.
    """
    first, second, labels = np.asarray(first), np.asarray(second), images.labels.numpy()
    if first.shape != second.shape or first.ndim != 2 or len(first) != len(labels):
        raise ValueError(f"accepted: two sets of paths (image, layer) of the {len(labels)} "
                         f"images, got {first.shape} and {second.shape}")
    alike = labels[:, None] == labels
    if alike.sum(1).min() < 2 or alike.all():
        raise ValueError("other paths of the class and of other classes are needed; accepted: at "
                         "least two images of every class, and two classes")
    same = (first[:, None] == second[None]).astype(float)
    other, apart = (same + same.swapaxes(0, 1)) / 2, ~np.eye(len(labels), dtype=bool)
    yardsticks = {name: (other * chosen[..., None]).sum(1) / chosen.sum(1)[:, None] for name,
                  chosen in
                  (("same_class", alike & apart), ("other_class", ~alike))}
    count, blocks = first.shape
    return pd.DataFrame({
        "image": np.repeat(images.ids.numpy(), blocks), "label": np.repeat(labels, blocks),
        "block": np.tile(np.arange(1, blocks + 1), count),
        "own": same[np.arange(count), np.arange(count)].ravel(),
        **{name: values.ravel() for name, values in yardsticks.items()},
    })


def overlap_tables(reference: Paths, others: Mapping[str, Paths], images: ImageSet) -> pd.DataFrame:
    """:func:`overlaps` of each set of paths with the reference, by its name in the column
    ``condition``."""
    return pd.concat([overlaps(found.neurons.numpy(), reference.neurons.numpy(),
                               images).assign(condition=name) for name, found in others.items()],
                     ignore_index=True)


def overlap_summary(table: pd.DataFrame, by: Sequence[str], chance: float,
                    seed: int = 0) -> pd.DataFrame:
    """Per group of ``by``: how much overlaps, and how far that is ahead of another path of the
    class.

    Args:
        table: of :func:`overlaps`, with the columns ``by``.
        chance: 1/n, of a neuron drawn at random.

    Returns:
        ``value, low, high`` (share of neurons found again, interval over images), ``paths`` (share
        of whole paths), ``same_class``, ``other_class``, ``chance``, ``lead, lead_low, lead_high``
        (``value`` minus ``same_class``, paired) and ``verdict``: whether that lead is above zero.
    """
    rows = []
    for keys, group in table.groupby(list(by), sort=False):
        images = group.groupby("image")
        means = images[["own", "same_class", "other_class"]].mean()
        lead = interval_row((means["own"] - means["same_class"]).to_numpy(), seed=seed)
        rows.append({**dict(zip(by, keys, strict=True)),
                     **interval_row(means["own"].to_numpy(), seed=seed),
                     "paths": float(images["own"].min().mean()),
                     "same_class": means["same_class"].mean(),
                     "other_class": means["other_class"].mean(), "chance": chance,
                     "lead": lead["value"], "lead_low": lead["low"], "lead_high": lead["high"],
                     "verdict": report.verdict(lead)})
    return pd.DataFrame(rows)


def overlap_text(summary: pd.DataFrame, by: Sequence[str] = ("data", "model", "condition"),
                 more: Sequence[str] = ()) -> pd.DataFrame:
    """:func:`overlap_summary` for reading, a row each: intervals in brackets behind their values,
    and before the verdict the columns ``more``."""
    leads = summary[["lead", "lead_low", "lead_high"]].set_axis(["value", "low", "high"],
                                                                axis=1).to_dict("records")
    return summary.assign(**{
        "found again": [report.interval_text(row, signed=False)
                        for row in summary.to_dict("records")],
        "lead": [report.interval_text(row) for row in leads]
    }).rename(columns={"paths": "whole paths", "same_class": "another image of the class",
                       "other_class": "another class"}).set_index(list(by))[[
"found again", "whole paths", "another image of the class", "another class", "lead", *more,
"verdict"]].round(2)


def block_overlaps(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """:func:`overlaps` averaged over images: ``by``, ``block, own, same_class, other_class``."""
    return table.groupby([*by, "block"],
                         sort=False)[["own", "same_class", "other_class"]].mean().reset_index()


@dataclass(frozen=True, eq=False)
class Traits:
    """What of a model's paths does not depend on how its neurons are numbered, and the paths.

    Attributes:
        neurons: the paths.
        n_neurons: n, neurons per block.
        score: joint attribution score of each image's path.
        removal: :math:`(\\tilde P - P)/P` of the true class with the path removed.
        effects: fall of the true class's probability with each block's neuron removed alone.
    """

    neurons: Int64[np.ndarray, "image layer"]
    n_neurons: int
    score: Float[np.ndarray, "image"]
    removal: Float[np.ndarray, "image"]
    effects: Float[np.ndarray, "image layer"]


@torch.no_grad()
def path_traits(study: Study, model: str, images: ImageSet, **settings) -> Traits:
    """Paths of a model with what can be compared with another model's; settings and errors are
    those of :meth:`~neuronpath_core.study.study.Study.paths`."""
    target = study.target(model)
    (pictures, labels) = study.batch(images, model)
    paths = study.paths(model, images, **settings)
    rows = torch.arange(len(images), device=pictures.device)
    neurons = paths.neurons.to(pictures.device)
    before, effects = class_probabilities(target, pictures)[rows, labels], []
    for block in range(target.n_blocks):
        factors = torch.ones(len(images), target.n_blocks, target.n_neurons, dtype=pictures.dtype,
                             device=pictures.device)
        factors[rows, block, neurons[:, block]] = 0
        effects.append(before - scaled_probabilities(target, pictures, factors)[rows, labels])
    removal = metrics.probability_deviation(study.probabilities(model, images),
                                            study.probabilities(model, images, paths, "remove"),
                                            images.labels.numpy())
    return Traits(paths.neurons.numpy(), target.n_neurons, paths.score.double().numpy(), removal,
                  torch.stack(effects, 1).cpu().double().numpy())


def _similarity(traits: Traits, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return metrics.cosine_similarity(similarity_in_numbers.class_utilisation(traits.neurons[rows],
                                                                             labels[rows],
                                                                             traits.n_neurons))


def _rank(first: np.ndarray, second: np.ndarray) -> float:
    value = stats.spearmanr(first,
                            second).statistic if np.ptp(first) > 0 and np.ptp(second) > 0 else 0.0
    return float(value)


def invariants(first: Traits, second: Traits, labels: Int64[np.ndarray, "image"],
               permutations: int = 999, resamples: int = 200, seed: int = 0) -> pd.DataFrame:
    """How far two models agree, on the same images, in what does not depend on the numbering of
    their neurons.

    Spearman correlations: of the class similarities over pairs of classes (Kriegeskorte et al.,
    2008), of the mean effects over blocks, and of score and effect of removal over images.

    Returns:
        one row per measure: ``measure, value, low, high`` (images resampled within classes, value
        ± 1.96 standard deviations) and ``p``, two-sided: classes permuted
        (:func:`~neuronpath_core.chapters.similarity_in_numbers.mantel`), blocks permuted, or
        Spearman's test over images.

    Raises:
        ValueError: traits of different images or different numbers of blocks.
    """
    if first.effects.shape != second.effects.shape or len(labels) != len(first.score):
        raise ValueError(f"accepted: the same {len(labels)} images and as many blocks, got "
                         f"effects {first.effects.shape} and {second.effects.shape}")
    upper = np.triu_indices(len(np.unique(labels)), 1)

    def values(rows: np.ndarray) -> np.ndarray:
        return np.array([_rank(*(_similarity(each, labels, rows)[upper].round(12)
                                 for each in (first, second))),
                         _rank(first.effects[rows].mean(0), second.effects[rows].mean(0)),
                         _rank(first.score[rows], second.score[rows]),
                         _rank(first.removal[rows], second.removal[rows])])

    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    everything = np.arange(len(labels))
    spread = np.std([values(np.concatenate([rng.choice(own, len(own)) for own in members]))
                     for _ in range(resamples)], axis=0, ddof=1)
    value, half = values(everything), stats.norm.ppf(0.975) * spread
    similar = [_similarity(each, labels, everything) for each in (first, second)]
    blocks = stats.permutation_test((first.effects.mean(0),),
                                    lambda order: _rank(order, second.effects.mean(0)),
                                    permutation_type="pairings",
                                    n_resamples=permutations,
                                    rng=np.random.default_rng(seed)).pvalue
    p = [similarity_in_numbers.mantel(*similar, permutations=permutations, seed=seed)["p"], blocks,
         stats.spearmanr(first.score, second.score).pvalue,
         stats.spearmanr(first.removal, second.removal).pvalue]
    return pd.DataFrame({"measure": ["class similarity", "effect per block", "score per image",
                                     "removal per image"], "value": value,
                         "low": value - half, "high": value + half, "p": p})


def split_similarity(first: Traits, second: Traits, labels: Int64[np.ndarray, "image"],
                     repeats: int = 20, seed: int = 0) -> float:
    """Spearman correlation of the first model's class similarity on half of each class's images
    with the second's on the other half, mean over splits.

    With the same model twice it is the most that another one can be expected to reach with so many
    images.

    Raises:
        ValueError: a class with fewer than two images.
    """
    rng, upper, found = np.random.default_rng(seed), np.triu_indices(len(np.unique(labels)), 1), []
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    if min(len(own) for own in members) < 2:
        raise ValueError("halves of a class are needed; accepted: at least two images of every "
                         "class")
    for _ in range(repeats):
        halves = [np.array_split(rng.permutation(own), 2) for own in members]
        rows = [np.concatenate([half[side] for half in halves]) for side in (0, 1)]
        found += [_rank(_similarity(first, labels, rows[side])[upper].round(12),
                        _similarity(second, labels, rows[1 - side])[upper].round(12))
                  for side in (0, 1)]
    return float(np.mean(found))


def _exchange_test(first: np.ndarray, second: np.ndarray, labels: np.ndarray, permutations: int,
                   seed: int) -> float:
    """Two-sided p of the overlap of an image's two paths, among those after the images of each
    class have changed places in one set."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    drawn = []
    for _ in range(permutations):
        order = np.empty(len(labels), int)
        for own in members:
            order[own] = rng.permutation(own)
        drawn.append((first == second[order]).sum())
    value, drawn = (first == second).sum(), np.array(drawn)
    return min(1.0, 2 * (min((drawn >= value).sum(), (drawn <= value).sum()) + 1)
               / (permutations + 1))


def seed_agreement(traits: Mapping[str, Traits], images: ImageSet, permutations: int = 999,
                   resamples: int = 200, seed: int = 0) -> pd.DataFrame:
    """:func:`invariants` of every two models, with the ``"neuron indices"`` that they have in
    common for comparison.

    Returns:
        one row per pair and measure: ``first, second, measure, value, low, high, p, yardstick``.
        Yardsticks: for the indices the overlap with other images' paths of the class (``p``: images
        exchanged within their classes); for the class similarity the correlation that halves of the
        images give within a model, beside ``halves``, what they give between the two.
    """
    labels, tables = images.labels.numpy(), []
    within = {name: split_similarity(own, own, labels, seed=seed) for name, own in traits.items()}
    for one, two in itertools.combinations(traits, 2):
        table = invariants(traits[one], traits[two], labels, permutations, resamples, seed)
        is_similarity = table["measure"] == "class similarity"
        table["yardstick"] = np.where(is_similarity, (within[one] + within[two]) / 2, 0.0)
        table["halves"] = np.where(is_similarity,
                                   split_similarity(traits[one], traits[two], labels, seed=seed),
                                   np.nan)
        means = overlaps(traits[one].neurons, traits[two].neurons,
                         images).groupby("image")[["own", "same_class"]].mean()
        index = {"measure": "neuron indices", **interval_row(means["own"].to_numpy(), seed=seed),
                 "yardstick": means["same_class"].mean(),
                 "p": _exchange_test(traits[one].neurons, traits[two].neurons, labels, permutations,
                                     seed)}
        tables.append(pd.concat([pd.DataFrame([index]), table],
                                ignore_index=True).assign(first=one, second=two))
    return pd.concat(tables, ignore_index=True)
