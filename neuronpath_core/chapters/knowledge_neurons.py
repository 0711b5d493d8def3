"""Chapter 1: where the neurons with the largest knowledge attribution lie (Fig. 2, App. B)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from neuronpath_core.fast.drafts import ATTRIBUTION_ROUNDING_UNITS, drafted_model
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.knowledge import knowledge_attribution
from neuronpath_core.stats.intervals import interval_row, percentile_row, resampled
from neuronpath_core.study.study import Study
from neuronpath_core.support.memory import images_at_once
from neuronpath_core.support.text import plain
from neuronpath_core.target import TargetModel


def knowledge_neurons(
    study: Study, names: Sequence[str], images: ImageSet, top: int = 5, quadrature: str = "right",
    steps: int = 20, scope: str | None = None
) -> pd.DataFrame:
    """Where the neurons with the largest knowledge attribution lie (Fig. 2, App. B).

    ``scope``: where neurons are read, ``"cls"`` or ``"patch"``; ``None`` for the model's own.

    Returns:
        one row per model, image and rank:
        ``model, image, label, rank, block, neuron, attribution``; blocks count from 1.
    """
    tables = []
    for model in study.check_models(list(names)):
        target = study.target(model) if scope is None else TargetModel(study.target(model).model,
                                                                       scope)
        if not 1 <= top <= target.n_blocks * target.n_neurons:
            raise ValueError(f"top must lie in 1..{target.n_blocks * target.n_neurons}, got {top}")
        draft, best = drafted_model(target, study.draft), []
        with tqdm(total=len(images), desc=f"{plain(model)} knowledge", unit="image",
                  disable=not study.progress) as bar:
            for _, pictures, labels in study.batches(images, model, images_at_once(target, steps)):
                best.append(_most_knowing(target, draft, pictures, labels, top, quadrature, steps))
                bar.update(len(labels))
        index, attribution = (torch.cat(parts).cpu().numpy() for parts in zip(*best, strict=True))
        tables.append(pd.DataFrame({
            "model": model, "image": np.repeat(images.ids.numpy(), top),
            "label": np.repeat(images.labels.numpy(), top),
            "rank": np.tile(np.arange(1, top + 1), len(images)), "block": index.ravel()
            // target.n_neurons + 1,
            "neuron": index.ravel() % target.n_neurons,
            "attribution": attribution.astype(np.float64).ravel(),
        }))
    return pd.concat(tables, ignore_index=True)


def _most_knowing(target, draft, pictures, labels, top, quadrature, steps):
    """The places of an image's largest knowledge attributions, and the attributions.  An image
    whose largest ones are too close for the draft is computed again in double precision."""
    lower = target if draft is None else draft
    found = knowledge_attribution(lower, pictures.to(lower.dtype), labels, quadrature,
                                  steps).flatten(1).to(pictures.dtype)
    if draft is not None:
        ranked = found.topk(min(top + 1, found.shape[1])).values
        gaps = (ranked[:, :-1] - ranked[:, 1:]) / found.abs().amax(1, keepdim=True)
        rows = torch.nonzero(~(gaps
                               >= ATTRIBUTION_ROUNDING_UNITS * torch.finfo(lower.dtype).eps).all(
            1))[:, 0]
        if len(rows):
            found[rows] = knowledge_attribution(target, pictures[rows], labels[rows], quadrature,
                                                steps).flatten(1)
    values, places = found.topk(top)
    return places, values


def block_shares(table: pd.DataFrame, blocks: int, seed: int = 0) -> pd.DataFrame:
    """Share of a model's knowledge neurons in each block, with intervals over images:
    ``model, block, value, low, high``."""
    rows = []
    for model, group in table.groupby("model", sort=False):
        counts = group.groupby("image")["block"].value_counts(normalize=True).unstack(
            fill_value=0.0)
        for block in range(1, blocks + 1):
            rows.append({"model": model, "block": block,
                         **interval_row(counts.get(block, pd.Series(0.0, counts.index)).to_numpy(),
                                        seed=seed)})
    return pd.DataFrame(rows)


def relative_depth(table: pd.DataFrame, blocks: dict[str, int], seed: int = 0) -> pd.DataFrame:
    """Mean over images of their knowledge neurons' mean block divided by the number of blocks:
    ``model, value, low, high``."""
    return pd.DataFrame([{"model": model,
                          **interval_row((group.groupby("image")["block"].mean()
                                          / blocks[model]).to_numpy(), seed=seed)}
                         for model, group in table.groupby("model", sort=False)])


def share_correlation(table: pd.DataFrame, first: str, second: str, blocks: int, seed: int = 0,
                      resamples: int = 2000) -> dict[str, float]:
    """Pearson correlation of two models' block shares, with a bootstrap interval over images:
    ``value, low, high``.

    It is near 1 if the distributions are alike and negative if blocks that are frequent in one are
    rare in the other.  An image is resampled in both models together.
    """
    shares = [table[table["model"] == model].groupby("image")["block"].apply(
        lambda block: np.bincount(block, minlength=blocks + 1)[1:] / len(block))
              for model in (first, second)]
    if not shares[0].index.equals(shares[1].index):
        raise ValueError(f"{first} and {second} must be measured on the same images")
    counts = [np.stack(rows.to_numpy()) for rows in shares]
    everyone = np.arange(len(counts[0]))

    def correlation(chosen: np.ndarray) -> float:
        return np.corrcoef(counts[0][chosen].mean(0), counts[1][chosen].mean(0))[0, 1]

    return percentile_row(correlation(everyone),
                          resampled(correlation, [everyone], resamples, seed))
