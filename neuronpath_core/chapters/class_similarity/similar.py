"""How similar the paths of classes are, by the matrices of which neurons they use."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from neuronpath_core import metrics
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.mantel import mantel


def utilisation(table: pd.DataFrame, model: str, n_neurons: int) -> np.ndarray:
    """Utilisation matrices M_c of one model's classes (Eq. 20), ``(class, layer, neuron)``, from a
    tidy path table."""
    own = table[table["model"] == model]
    return np.stack([metrics.utilisation_matrix(group.pivot(index="image", columns="block",
                                                            values="neuron").to_numpy(), n_neurons)
                     for _, group in own.groupby("label")])


def split_half_similarity(table: pd.DataFrame, model: str, n_neurons: int,
                          seed: int = 0) -> dict[str, float]:
    """Is a class's utilisation its own?  Every class's images are split into two random halves and
    all halves compared.

    Returns:
        ``two halves of a class`` and ``halves of two classes``: mean cosine;
        ``difference, low, high``: the first minus the mean of the second, per class, with a
        bootstrap interval over classes.
    """
    own, rng = table[table["model"] == model], np.random.default_rng(seed)
    halves: tuple[list, list] = ([], [])
    for _, group in own.groupby("label"):
        neurons = rng.permutation(group.pivot(index="image", columns="block",
                                              values="neuron").to_numpy())
        for half, part in zip(halves, np.array_split(neurons, 2), strict=True):
            half.append(metrics.utilisation_matrix(part, n_neurons))
    classes = len(halves[0])
    cross = metrics.cosine_similarity(np.concatenate([np.stack(half) for half in halves]))[
        :classes, classes:]
    other = (cross.sum(1) + cross.sum(0) - 2 * np.diag(cross)) / (2 * (classes - 1))
    row = interval_row(np.diag(cross) - other, seed=seed)
    return {"two halves of a class": float(np.diag(cross).mean()),
            "halves of two classes": float(other.mean()),
            "difference": row["value"], "low": row["low"], "high": row["high"]}


def look_correlation(similarity: np.ndarray, images: ImageSet, permutations: int = 1000,
                     seed: int = 0) -> dict[str, float]:
    """Do classes that look alike have similar paths?  Rank correlation over pairs of classes, with
    a permutation control.

    The look is the cosine between the classes' mean images, each minus the mean of all.

    Returns:
        ``correlation`` (Spearman) and ``permuted_low``, ``permuted_high``, the 2.5 and 97.5 %
        quantiles when the classes of one of the two matrices are permuted, of
        :func:`~neuronpath_core.stats.mantel.mantel`; NaN for fewer than three
        classes and for similarities that do not vary.
    """
    labels = images.labels.numpy()
    seen = images.appearance()
    means = np.stack([seen[labels == label].mean(0) for label in np.unique(labels)])
    look = metrics.cosine_similarity((means - means.mean(0))[:, None])
    pairs = similarity[np.triu_indices(len(look), 1)]
    if len(pairs) < 2 or np.ptp(pairs) < 1e-9:
        return dict.fromkeys(("correlation", "permuted_low", "permuted_high"), math.nan)
    found = mantel(look, similarity, permutations=permutations, seed=seed)
    return {"correlation": found["value"], "permuted_low": found["permuted_low"],
            "permuted_high": found["permuted_high"]}
