"""Chapter 5: how similar the paths of classes are, and whether they look alike (Fig. 5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core import metrics
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row, percentile_row, resampled
from neuronpath_core.stats.mantel import mantel

if TYPE_CHECKING:
    from jaxtyping import Int64

    from neuronpath_core.paths import Paths
    from neuronpath_core.study.study import Study

WRONG_SHARE = 4  # one image in so many is searched with a wrong label


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


def similarity_claims(own: pd.DataFrame, look: pd.DataFrame) -> pd.DataFrame:
    """The paper's two claims, per model: ``key, claim, text, verdict``.

    ``own`` and ``look`` have a row per model of :func:`split_half_similarity` and
    :func:`look_correlation`.  ``"look"`` agrees if the correlation exceeds its 97.5 % quantile
    under permutation.
    """
    rows = [{"key": "class", "claim": "Paths carry the class",
             "text": f"{model}: cosine {row['two halves of a class']:.3f} between two halves of a "
                     f"class, {row['halves of two classes']:.3f} between classes",
             "verdict": report.verdict(row)} for model, row in own.iterrows()]
    rows += [{"key": "look", "claim": "Semantically similar classes have similar paths",
              "text": f"{model}: rank correlation with the similarity of the classes' mean images "
                      f"{row['correlation']:+.2f}; 97.5 % quantile under permutation "
                      f"{row['permuted_high']:+.2f}",
              "verdict": "agrees" if row["correlation"] > row["permuted_high"] else "not shown"}
             for model, row in look.iterrows()]
    return pd.DataFrame(rows)


def wrong_count(images: int, share: int = WRONG_SHARE) -> int:
    """How many of so many images are searched with a wrong label: one in ``share``, at least two.
    """
    return max(2, images // share)


def wrongly_labelled(images: ImageSet, share: int = WRONG_SHARE,
                     seed: int = 0) -> tuple[Int64[np.ndarray, "some"], Int64[np.ndarray, "some"]]:
    """:func:`wrong_count` of the images, and for each a label of another class of the images: their
    positions and these labels.

    Raises:
        ValueError: fewer than two classes.
    """
    labels, rng = images.labels.numpy(), np.random.default_rng(seed)
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(f"no wrong label can be drawn from {len(classes)} classes; accepted: at "
                         f"least two classes")
    chosen = np.sort(rng.permutation(len(labels))[:wrong_count(len(labels), share)])
    own = np.searchsorted(classes, labels[chosen])
    return chosen, classes[(own + rng.integers(1, len(classes), len(chosen))) % len(classes)]


def label_overlap(own: Int64[np.ndarray, "image layer"], again: Int64[np.ndarray, "some layer"],
                  chosen: Int64[np.ndarray, "some"], wrong: Int64[np.ndarray, "some"],
                  labels: Int64[np.ndarray, "image"]) -> pd.DataFrame:
    """What an image's path shares with others' when it is searched with a wrong label.

    Args:
        own: every image's path, searched with its label.
        again: the path of each of the images at ``chosen``, searched with the ``wrong`` label.

    Returns:
        a row per chosen image, the mean share of equal neurons of its path ``again`` with the own
        paths of ``"label"`` (images of the wrong label's class), ``"picture"`` (other images of its
        class) and ``"neither"``; and of its own path with ``"both"`` (other images of its class)
        and ``"other"`` (images of other classes).  NaN where there are no such images.
    """
    def mean(values: np.ndarray) -> float:
        return float(values.mean()) if len(values) else math.nan

    rows = []
    for path, place, label in zip(again, chosen, wrong, strict=True):
        others, found = np.arange(len(labels)) != place, (own == path).mean(1)
        alike, right = labels == labels[place], (own == own[place]).mean(1)
        rows.append({"label": mean(found[labels == label]),
                     "picture": mean(found[alike & others]),
                     "neither": mean(found[~alike & (labels != label)]),
                     "both": mean(right[alike & others]), "other": mean(right[~alike])})
    return pd.DataFrame(rows)


def label_part(overlap: pd.DataFrame, seed: int = 0) -> dict[str, float]:
    """How much of what images of a class share goes with the label that they are searched with.

    Args:
        overlap: of :func:`label_overlap`.

    Returns:
        the means of its columns; ``value, low, high``: ``label`` minus ``neither``, in shares of
        equal neurons, bootstrap over images; and ``part, part_low, part_high``: the same divided
        by ``both`` minus ``other``, which is what images of a class share beyond two classes.
        ``kept, kept_low, kept_high`` is the same part for ``picture`` instead of ``label``.
    """
    columns = overlap.to_numpy().T
    names = list(overlap.columns)

    def part(drawn: np.ndarray) -> np.ndarray:
        mean = dict(zip(names, columns[:, drawn].mean(1), strict=True))
        lead, kept = mean["label"] - mean["neither"], mean["picture"] - mean["neither"]
        whole = mean["both"] - mean["other"]
        return np.array([lead, *(each / whole if whole > 0 else math.nan
                                 for each in (lead, kept))])

    everyone = np.arange(len(overlap))
    value, draws = part(everyone), resampled(part, [everyone], seed=seed)
    lead, *shares = (percentile_row(*each) for each in zip(value, draws.T, strict=True))
    named = {f"{name}{end}": row[key] for name, row in zip(("part", "kept"), shares, strict=True)
             for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))}
    return {**overlap.mean().to_dict(), **lead, **named}


def label_parts(study: Study, paths: Mapping[str, Paths], images: ImageSet, seed: int = 0,
                **settings) -> pd.DataFrame:
    """:func:`label_part` of every model, a row each, over the images of :func:`wrongly_labelled`,
    which are searched again with these ``settings`` of
    :meth:`~neuronpath_core.study.study.Study.paths`; ``paths`` are those with the own labels."""
    chosen, wrong = wrongly_labelled(images, seed=seed)
    again = images.select(chosen).relabelled(torch.from_numpy(wrong))
    return pd.DataFrame({
        model: label_part(label_overlap(own.neurons.numpy(),
                                        study.paths(model, again, **settings).neurons.numpy(),
                                        chosen, wrong, images.labels.numpy()), seed)
        for model, own in paths.items()}).T


def label_table(parts: pd.DataFrame) -> pd.DataFrame:
    """:func:`label_part` of every model for reading, in per cent of the neurons."""
    def shares(name: str) -> list[str]:
        rows = parts[[name, f"{name}_low", f"{name}_high"]].to_numpy()
        return [report.points_text(dict(zip(("value", "low", "high"), row, strict=True)), 0, "%",
                                   signed=False) for row in rows]

    return pd.DataFrame({
        "another image of its class": 100 * parts["both"],
        "images of other classes": 100 * parts["other"],
        "wrong label: images of that label": 100 * parts["label"],
        "wrong label: other images of its class": 100 * parts["picture"],
        "wrong label: images of third classes": 100 * parts["neither"],
        "the label's lead": [report.points_text(row, unit="") for row in
                             parts[["value", "low", "high"]].to_dict("records")],
        "its part of what a class shares": shares("part"),
        "the picture's part": shares("kept"),
    }, index=parts.index)


def extremes(similarity: np.ndarray, class_names: Sequence[str],
             share: float = 0.05) -> pd.DataFrame:
    """For each class the most and the least similar ones (Fig. 5):
    ``class, kind, other, similarity``.

    ``share`` of the other classes is shown at each end, at least one.
    """
    rows, count = [], max(1, round(share * (len(class_names) - 1)))
    for index, name in enumerate(class_names):
        order = [other for other in np.argsort(-similarity[index], kind="stable") if other != index]
        for kind, chosen in (("most similar", order[:count]),
                             ("least similar", order[::-1][:count])):
            rows += [{"class": name, "kind": kind, "other": class_names[other],
                      "similarity": float(similarity[index, other])} for other in chosen]
    return pd.DataFrame(rows)


def finding(own: pd.DataFrame, look: pd.DataFrame) -> str:
    """What the tables of :func:`similarity_claims` show, as a sentence."""
    alike = int((look["correlation"] > look["permuted_high"]).sum())
    own_paths = int((own["low"] > 0).sum())
    return (f"A class has paths of its own in {own_paths} of {len(own)} models; classes that look "
            f"alike have similar paths in {alike} of {len(look)} (rank correlation "
            f"{report.span_text(look['correlation'], 2)})")


def utilisation_finding(usage: Mapping[str, np.ndarray]) -> str:
    """How much of a block's selections its commonest neuron has, as a sentence; ``usage``: model →
    :func:`utilisation`."""
    shares = [float(matrices.max(2).mean()) for matrices in usage.values()]
    return f"A class's commonest neuron has {report.percent_span(shares)} of a block's selections"


def spread_finding(similarity: Mapping[str, np.ndarray]) -> str:
    """How far the similarities of different classes are apart, as a sentence."""
    others = np.concatenate([matrix[~np.eye(len(matrix), dtype=bool)]
                             for matrix in similarity.values()])
    return f"The cosine of two different classes runs from {others.min():.2f} to {others.max():.2f}"
