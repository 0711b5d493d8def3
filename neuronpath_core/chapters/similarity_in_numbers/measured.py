"""How similar the paths of classes are, and whether classes that have something in common have
similar paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core import metrics
from neuronpath_core.chapters.similarity_in_numbers.related import shared_value
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.stats.intervals import members, normal_row, resampled
from neuronpath_core.stats.mantel import Contrast, Relation, mantel
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def class_utilisation(neurons: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"],
                      n_neurons: int) -> Float[np.ndarray, "class layer neuron"]:
    """Utilisation matrices M_c (Eq. 20) of all classes, from the paths of images ordered in any
    way."""
    return np.stack([metrics.utilisation_matrix(neurons[labels == label], n_neurons)
                     for label in np.unique(labels)])


def method_paths(study: Study, models: Sequence[str], images: ImageSet,
                 methods: Sequence[str]) -> dict[str, dict[str, Int64[np.ndarray, "image layer"]]]:
    """The neurons of every model's paths by every method."""
    return {model: {method: study.paths(model, images, method).neurons.numpy()
                    for method in methods} for model in models}


def path_usage(
    study: Study, paths: Mapping[str, Mapping[str, np.ndarray]], labels: Int64[np.ndarray, "image"]
) -> dict[tuple[str, str], Float[np.ndarray, "class layer neuron"]]:
    """:func:`class_utilisation` of :func:`method_paths`, by model and method."""
    return {(model, method): class_utilisation(neurons, labels, study.target(model).n_neurons)
            for model, found in paths.items() for method, neurons in found.items()}


def block_similarity(
    utilisation: Float[np.ndarray, "class layer neuron"]
) -> Float[np.ndarray, "layer class class"]:
    """S (Eq. 21) of each block alone."""
    return np.stack([metrics.cosine_similarity(utilisation[:, [block]])
                     for block in range(utilisation.shape[1])])


def compare_similarity(
    paths: Mapping[str, Int64[np.ndarray, "image layer"]], labels: Int64[np.ndarray, "image"],
    n_neurons: int, relations: Mapping[str, Relation],
    permutations: int = 999, resamples: int = 400, seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each method's path similarity against each relation, and how far the first method is ahead of
    the others.

    Intervals are over images: each class's images are resampled, for all methods together, and
    utilisation, similarity and correlation are computed anew; value ± 1.96 standard deviations of
    the resamples (Davison and Hinkley, 1997, 5.2.1).  Quantiles would not do: a resample repeats
    images, which blurs the similarity and draws every correlation towards zero.  What is estimated
    is the correlation at this number of images a class, which is itself nearer to zero than with
    more of them.  The classes stay as they are; what others could give is what the permutation
    tells.

    Returns:
        ``method, relation, value, low, high, permuted_low, permuted_high, p``, and
        ``against, relation, value, low, high``.
    """
    contrasts = {name: Contrast(relation) for name, relation in relations.items()}

    def correlations(rows: np.ndarray) -> np.ndarray:
        similar = [metrics.cosine_similarity(class_utilisation(neurons[rows], labels[rows],
                                                               n_neurons))
                   for neurons in paths.values()]
        return np.array([[contrast.correlation(contrast.ranks(each))
                          for contrast in contrasts.values()] for each in similar])

    value = correlations(np.arange(len(labels)))
    draws = resampled(correlations, members(labels), resamples, seed)
    rows, leads = [], []
    for i, (method, neurons) in enumerate(paths.items()):
        similar = metrics.cosine_similarity(class_utilisation(neurons, labels, n_neurons))
        for j, (name, relation) in enumerate(relations.items()):
            test = mantel(similar, relation.matrix, relation.given, relation.groups, permutations,
                          seed)
            rows.append({"method": method, "relation": name,
                         **normal_row(value[i, j], draws[:, i, j]),
                         **{key: test[key] for key in ("permuted_low", "permuted_high", "p")}})
            if i:
                leads.append({"against": method, "relation": name,
                              **normal_row(value[0, j] - value[i, j],
                                           draws[:, 0, j] - draws[:, i, j])})
    return pd.DataFrame(rows), pd.DataFrame(leads,
                                            columns=["against", "relation", "value", "low", "high"])


def shuffled_rate(
    neurons: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"], n_neurons: int,
    relation: Relation, shuffles: int = 100,
    permutations: int = 199, level: float = 0.05, seed: int = 0
) -> float:
    """How often the relation shows, by its p below ``level``, when the images' labels are shuffled
    and so no class has paths of its own.

    A test that is what it says gives ``level``, up to the chance of so many shuffles.
    """
    rng, found = np.random.default_rng(seed), []
    for number in range(shuffles):
        similar = metrics.cosine_similarity(class_utilisation(neurons, rng.permutation(labels),
                                                              n_neurons))
        found.append(mantel(similar, relation.matrix, relation.given, relation.groups, permutations,
                            seed + number)["p"] < level)
    return float(np.mean(found))


def pair_means(similarity: Float[np.ndarray, "class class"],
               taxonomy: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Mean similarity of the pairs of classes that share each axis's value, and of those that share
    none (``"nothing"``)."""
    upper = np.triu_indices(len(similarity), 1)
    shared = {axis: shared_value(values) for axis, values in taxonomy.items()}
    chosen = {axis: matrix[upper] > 0 for axis, matrix in shared.items()}
    chosen["nothing"] = ~np.any(list(chosen.values()), axis=0)
    return {axis: float(np.asarray(similarity)[upper][own].mean()) for axis, own in chosen.items()}
