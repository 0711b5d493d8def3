"""What of a path's class is the label that it was searched with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import percentile_row, resampled

if TYPE_CHECKING:
    from jaxtyping import Int64

    from neuronpath_core.paths import Paths
    from neuronpath_core.study.study import Study

WRONG_SHARE = 4  # one image in so many is searched with a wrong label


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


def part_texts(parts: pd.DataFrame) -> dict[str, str]:
    """Of :func:`label_part` of every model, what a sentence names: ``picture part``, ``label part``
    and ``both part``, the rest, which neither makes alone, from model to model; ``shown picture``
    and ``shown label``, in how many models the interval of the part lies above zero."""
    rest = 1 - parts["kept"] - parts["part"]
    texts = {"picture part": report.percent_span(parts["kept"]),
             "label part": report.percent_span(parts["part"]),
             "both part": report.percent_span(rest)}
    return texts | {f"shown {word}": f"{int((parts[f'{name}_low'] > 0).sum())} of {len(parts)}"
                    for word, name in (("picture", "kept"), ("label", "part"))}


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
