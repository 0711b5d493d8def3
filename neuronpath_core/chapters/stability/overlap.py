"""How much of an image's path another rule, precision, view or checkpoint finds again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import pad

from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.paths import Paths
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from jaxtyping import Int64

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


def pixel_text(study: Study, models: Sequence[str], images: ImageSet) -> str:
    """What one pixel of the images is: ``1/16 of the width, 1/2 of a patch of tiny-B-16``."""
    sides = {model: study.target(model).model.patch_embed.patch_size[1] for model in models}
    parts = {side: [model for model in models if sides[model] == side]
             for side in dict.fromkeys(sides.values())}
    return ", ".join([f"1/{images.images.shape[-1]} of the width",
                      *(f"1/{side} of a patch of {' and '.join(names)}"
                        for side, names in parts.items())])


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


def found_text(row: Mapping[str, float]) -> str:
    """A share and its interval; in words where every image gives the same, so that the interval has
    no width."""
    if row["low"] == row["high"]:
        return f"{row['value']:.2f} (all images equal)"
    return report.interval_text(row, signed=False)


def overlap_text(summary: pd.DataFrame, by: Sequence[str] = ("data", "model", "condition"),
                 more: Sequence[str] = ()) -> pd.DataFrame:
    """:func:`overlap_summary` for reading, a row each: intervals in brackets behind their values,
    and before the verdict the columns ``more``."""
    leads = summary[["lead", "lead_low", "lead_high"]].set_axis(["value", "low", "high"],
                                                                axis=1).to_dict("records")
    return (
        summary.assign(
            **{
                "found again": [
                    found_text(row) for row in summary.to_dict("records")
                ],
                "lead": [report.interval_text(row) for row in leads],
            }
        )
        .rename(
            columns={
                "paths": "whole paths",
                "same_class": "another image of the class",
                "other_class": "another class",
            }
        )
        .set_index(list(by))[
            [
                "found again",
                "whole paths",
                "another image of the class",
                "another class",
                "lead",
                *more,
                "verdict",
            ]
        ]
        .round(2)
    )


def captioned_text(summary: pd.DataFrame, more: Mapping[str, str] | None = None) -> pd.DataFrame:
    """:func:`overlap_text` with words for headers.

    ``more``: further columns of ``summary``, and the words that head them.
    """
    more = dict(more or {})
    return overlap_text(summary, more=list(more)).rename(
        columns={**more, "verdict": "agreement"}).rename_axis(
        index={"condition": "changed"})


def block_overlaps(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """:func:`overlaps` averaged over images: ``by``, ``block, own, same_class, other_class``."""
    return table.groupby([*by, "block"],
                         sort=False)[["own", "same_class", "other_class"]].mean().reset_index()
