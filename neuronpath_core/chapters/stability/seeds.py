"""How far models from several training seeds agree in what does not depend on how their neurons are
numbered."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import stats

from neuronpath_core import metrics
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.chapters.similarity_in_numbers.measured import class_utilisation
from neuronpath_core.chapters.stability.overlap import overlaps
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_probabilities, scaled_probabilities
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row, members, normal_row, resampled
from neuronpath_core.stats.mantel import mantel
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


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
                  numbers(torch.stack(effects, 1)))


def _similarity(traits: Traits, labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return metrics.cosine_similarity(class_utilisation(traits.neurons[rows], labels[rows],
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
        (:func:`~neuronpath_core.stats.mantel.mantel`), blocks permuted, or
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

    everything = np.arange(len(labels))
    rows = [normal_row(value, drawn) for value, drawn in zip(
        values(everything), resampled(values, members(labels), resamples, seed).T, strict=True)]
    similar = [_similarity(each, labels, everything) for each in (first, second)]
    blocks = stats.permutation_test((first.effects.mean(0),),
                                    lambda order: _rank(order, second.effects.mean(0)),
                                    permutation_type="pairings",
                                    n_resamples=permutations,
                                    rng=np.random.default_rng(seed)).pvalue
    p = [mantel(*similar, permutations=permutations, seed=seed)["p"], blocks,
         stats.spearmanr(first.score, second.score).pvalue,
         stats.spearmanr(first.removal, second.removal).pvalue]
    return pd.DataFrame(rows).assign(p=p).set_axis(
        pd.Index(["class similarity", "effect per block", "score per image", "removal per image"],
                 name="measure")).reset_index()


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
    of_class = members(labels)
    if min(len(own) for own in of_class) < 2:
        raise ValueError("halves of a class are needed; accepted: at least two images of every "
                         "class")
    for _ in range(repeats):
        halves = [np.array_split(rng.permutation(own), 2) for own in of_class]
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
    drawn = []
    for _ in range(permutations):
        order = np.empty(len(labels), int)
        for own in members(labels):
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


def agreement_table(seeds: pd.DataFrame) -> pd.DataFrame:
    """:func:`seed_agreement` with a ``verdict``, over the pairs of models of each measure and data
    set, with words for headers."""
    return seeds.groupby(["measure", "data"], sort=False).agg(**{
        "pairs of models": ("value", "size"), "mean": ("value", "mean"), "least": ("value", "min"),
        "most": ("value", "max"), "yardstick": ("yardstick", "mean"),
        "halves between models": ("halves", "mean"),
        "agreement": ("verdict", lambda verdicts: report.tally(list(verdicts)))})


def finding(seeds: pd.DataFrame) -> str:
    """What models of different seeds share, as a sentence; the rows have a ``verdict``."""
    shared = seeds[seeds["measure"] != "neuron indices"]
    means = shared.groupby("measure", sort=False)["value"].mean()
    agree = int((shared["verdict"] == "agrees").sum())
    start = ("agree" if agree == len(shared) else "agree in part" if agree
             else "are not shown to agree")
    return (f"Models from other seeds {start}: mean correlation {report.span_text(means, 2)} over "
            f"{len(means)} measures, beyond chance in {agree} of {len(shared)} comparisons")
