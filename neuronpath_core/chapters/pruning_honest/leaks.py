"""Is the label in the mask?  Every test image under the path mask of every class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.chapters.pruning_honest.comparison import (
    EVERYWHERE,
    PUBLISHED_SHARE,
    masked_probabilities,
    probing_splits,
    scope_name,
    searched_neurons,
    survivors,
)
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_neurons, class_probabilities
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def foreign_masks(
    study: Study, model: str, images: ImageSet, top: int, splits: int = 4,
    share: float = PUBLISHED_SHARE, seed: int = 0, **settings
) -> pd.DataFrame:
    """Every test image under the path mask of every class, its own or not; splits as in
    :func:`~neuronpath_core.chapters.pruning_honest.comparison.pruning_comparison`.

    Returns:
        of :func:`mask_predictions`, for the scope and for all tokens, with
        ``model, split, tokens``.
    """
    target = study.target(model)
    draft = study.drafted(model)
    (pictures, _) = study.batch(images, model)
    labels = images.labels.numpy()
    tables = []
    searched = searched_neurons(study, model, images, [top], settings)[top]
    clean = class_probabilities(target, pictures).cpu().numpy().argmax(1)
    for split, probing in enumerate(probing_splits(images, splits, share, seed)):
        masks = {int(label): survivors(class_neurons(searched[probing & (labels == label)], top),
                                       target.n_neurons) for label in np.unique(labels)}
        for tokens in (scope_name(target), EVERYWHERE):
            table = mask_predictions(target, pictures[~probing], masks, tokens == EVERYWHERE, draft)
            place = np.flatnonzero(~probing)[table["image"]]
            tables.append(table.assign(image=images.ids.numpy()[place], label=labels[place],
                                       whole=clean[place], model=model, split=split, tokens=tokens))
    return pd.concat(tables, ignore_index=True)


def mask_predictions(
    target: TargetModel, images: Float[torch.Tensor, "batch channel height width"],
    masks: Mapping[int, Bool[np.ndarray, "layer neuron"]], everywhere: bool,
    draft: TargetModel | None = None,
) -> pd.DataFrame:
    """The predicted class of every image under each class's mask: ``image`` (position in the
    batch), ``mask`` (the class), ``predicted``."""
    every = np.stack([np.broadcast_to(mask, (len(images), *mask.shape)) for mask in masks.values()])
    predicted = masked_probabilities(target, images, every, everywhere, draft).argmax(2)
    return pd.DataFrame({"image": np.tile(np.arange(len(images)), len(masks)),
                         "mask": np.repeat(list(masks), len(images)),
                         "predicted": predicted.ravel()})


LEAK_MEASURES = ("own mask", "mask of the predicted class", "another class's mask",
                 "follows the mask", "elsewhere", "label gain", "leak")
DIGITS = {"leak": 2}  # of percentage points, where one is not enough


def leak_rates(table: pd.DataFrame) -> pd.DataFrame:
    """What the masks alone say about the class, per image, averaged over the splits that tested it.

    Args:
        table: of :func:`~neuronpath_core.chapters.pruning_honest.leaks.foreign_masks`, one
            model and kind of tokens.

    Returns:
        one row per image, with

        - ``own mask``, ``another class's mask``, ``mask of the predicted class``: share of right
          predictions with the true class's mask, with those of all other classes, and with the mask
          of the class that the whole model predicts (which needs no label);
        - ``follows the mask``: of the other classes' masks, the share under which the prediction
          *is the mask's class*;
        - ``elsewhere``: how often, under those masks, a class that is neither the image's nor the
          mask's is predicted, per such class: what a mask that only disturbs would give;
        - ``label gain``: own mask minus mask of the predicted class; ``leak``: follows the mask
          minus elsewhere.
    """
    classes = table["mask"].nunique()
    if classes < 3:
        raise ValueError(f"no leak can be told from masks of {classes} classes; accepted: at "
                         f"least three classes")
    own, told = table["mask"] == table["label"], table["mask"] == table["whole"]
    right, follows = (table["predicted"] == table[name] for name in ("label", "mask"))
    values = pd.DataFrame({
        "own mask": right.where(own), "mask of the predicted class": right.where(told),
        "another class's mask": right.where(~own),
        "follows the mask": follows.where(~own),
        "elsewhere": ((~right & ~follows) / (classes - 2)).where(~own)}).astype(float)
    found = values.groupby([table["image"], table["split"]]).mean().groupby("image").mean()
    return found.assign(**{"label gain": found["own mask"] - found["mask of the predicted class"],
                           "leak": found["follows the mask"] - found["elsewhere"]})


def leak_summary(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """:func:`leak_rates` averaged over test images, per model and tokens:
    ``model, tokens, measure, value, low, high``; intervals over images.

    An image for whose predicted class there is no mask is left out of what needs one.
    """
    return pd.DataFrame([{"model": model, "tokens": tokens, "measure": measure,
                          **interval_row(rates[measure].dropna().to_numpy(), seed=seed)}
                         for (model, tokens),
                         group in table.groupby(["model", "tokens"], sort=False)
                         for rates in [leak_rates(group)] for measure in LEAK_MEASURES])


def finding(summary: pd.DataFrame) -> str:
    """The figure of the masks in a sentence: in how many models, and how far, predictions follow
    the mask at the scope; ``summary`` is that of :func:`leak_summary` with ``data``."""
    rows = summary[(summary["measure"] == "leak") & (summary["tokens"] != EVERYWHERE)]
    told = rows[rows["low"] > 0]["value"]
    if told.empty:
        return f"The mask is not seen to tell the class in any of {len(rows)} models"
    return (f"In {len(told)} of {len(rows)} models the mask tells the class: under another class's "
            f"mask that class is predicted for {report.percent_span(told)} of images more than the "
            f"others")


def leak_table(summary: pd.DataFrame) -> pd.DataFrame:
    """:func:`leak_summary` with ``data`` for reading: a column per model and tokens. Leaks are
    small: their intervals have a digit more, so that their end shows its side of zero."""
    text = [report.points_text(row, DIGITS.get(row["measure"], 1), "", signed=False)
            for row in summary.to_dict("records")]
    return summary.assign(text=text).pivot_table(
        index="measure", columns=["data", "model", "tokens"], values="text", aggfunc="first",
        sort=False)
