"""The neurons of a model that know an image's class best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from neuronpath_core.fast.drafts import ATTRIBUTION_ROUNDING_UNITS, drafted_model
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.knowledge import knowledge_attribution
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
                best.append(most_knowing(target, draft, pictures, labels, top, quadrature, steps))
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


def most_knowing(target, draft, pictures, labels, top, quadrature, steps):
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
