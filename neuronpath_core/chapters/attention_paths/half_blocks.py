"""What whole halves of blocks cost when they are removed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from neuronpath_core import metrics
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_probabilities, scaled_probabilities
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.study import IMAGES_AT_ONCE, Study
from neuronpath_core.variants.sites import SiteModel


def half_effects(study: Study, names: Sequence[str], images: ImageSet) -> pd.DataFrame:
    """What it costs to remove what a whole half of a block writes at the scope, its bias excepted,
    everything after it running natively.

    By the fundamental theorem of calculus the loss of probability is the half's attribution by
    integrated gradients (:func:`~neuronpath_core.knowledge.knowledge_attribution` of
    ``sites="halves"``).

    Returns:
        one row per model, block, half and image: ``model, block`` (from 1), ``half, image, label``,
        ``loss`` (of the true class's probability, -1..1) and ``removal_accuracy`` (deviation).
    """
    tables = []
    for model in study.check_models(list(names)):
        own = study.target(model)
        target = SiteModel(own.model, own.scope, "halves")
        for place, pictures, labels in study.batches(images, model, IMAGES_AT_ONCE):
            truth = labels.cpu().numpy()
            clean = numbers(class_probabilities(target, pictures))
            for layer, (block, half) in enumerate((each.block, each.half)
                                                  for each in target.layers):
                factors = torch.ones(len(pictures), target.n_blocks, 1, dtype=pictures.dtype,
                                     device=pictures.device)
                factors[:, layer] = 0
                edited = numbers(scaled_probabilities(target, pictures, factors))
                tables.append(pd.DataFrame({
                    "model": model, "block": block + 1, "half": "FFN" if half == "ffn" else half,
                    "image": images.ids[place].numpy(), "label": truth,
                    "loss": (clean - edited)[np.arange(len(truth)), truth],
                    "removal_accuracy": metrics.accuracy_deviation(clean, edited, truth)}))
    return pd.concat(tables, ignore_index=True)


def half_summary(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Mean loss of probability per model, half and block, with its bootstrap interval:
    ``model, half, block, value, low, high``."""
    return pd.DataFrame([{"model": model, "half": half, "block": block,
                          **interval_row(group["loss"].to_numpy(), seed=seed)}
                         for (model, half, block),
                         group in table.groupby(["model", "half", "block"], sort=False)])


def half_difference(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much more the attention halves cost than the FFN halves: an image's loss of probability,
    averaged over blocks, and its mean over images.

    Returns:
        ``model, attention, FFN`` (mean losses), ``value, low, high`` of their difference, positive
        where attention costs more, and ``verdict``.
    """
    rows = []
    for model, group in table.groupby("model", sort=False):
        cost = group.pivot_table(index="image", columns="half", values="loss", aggfunc="mean")
        row = interval_row((cost["attention"] - cost["FFN"]).to_numpy(), seed=seed)
        rows.append({"model": model, "attention": cost["attention"].mean(),
                     "FFN": cost["FFN"].mean(), **row, "verdict": report.verdict(row)})
    return pd.DataFrame(rows)
