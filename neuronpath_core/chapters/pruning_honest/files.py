"""Networks that are made smaller by a path, written to files and compared with masked ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from neuronpath_core import metrics
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.chapters.pruning_honest.comparison import (
    PUBLISHED_SHARE,
    masked_probabilities,
    probing_splits,
    searched_neurons,
    survivors,
)
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_neurons
from neuronpath_core.models.pruning import load_pruned, model_cost, prune_ffn, save_pruned
from neuronpath_core.study.study import Study

COSTS = ["neurons", "parameters", "multiply_adds", "bytes"]


def pruned_checkpoints(
    study: Study, model: str, images: ImageSet, tops: Sequence[int], folder: Path,
    share: float = PUBLISHED_SHARE, seed: int = 0, **settings
) -> pd.DataFrame:
    """The network with only the path's t neurons per block left, and the whole one, each written to
    a file and read back.

    The neurons are those of
    :func:`~neuronpath_core.chapters.pruning_honest.comparison.pruning_comparison`'s first split,
    one mask for all; nothing is trained again.

    Returns:
        one row per t, the whole network first:
        ``model, top, file, bytes, neurons, parameters, multiply_adds`` (per image), ``accuracy`` on
        the split's test images, ``masked`` (that of the whole network with all other neurons zeroed
        at every token) and ``agree``, whether all probabilities of the two are the same up to
        rounding.
    """
    target, searched = study.target(model), searched_neurons(study, model, images, tops, settings)
    probing, rows = probing_splits(images, 2, share, seed)[0], []
    pictures, labels = study.batch(images, model)[0][~probing], images.labels.numpy()[~probing]
    for top in (target.n_neurons, *tops):
        kept = [list(range(top))] * target.n_blocks if top == target.n_neurons else class_neurons(
            searched[top][probing], top)
        file = Path(folder) / f"{study.profile}_{model}_{top}.safetensors"
        save_pruned(file, prune_ffn(target.model, kept), kept, study.entries[model])
        loaded = load_pruned(file)[0].to(pictures.device)
        with torch.no_grad():
            found = numbers(loaded(pictures).softmax(-1))
        every = survivors(kept, target.n_neurons)[None, None].repeat(len(pictures), 1)
        masked = masked_probabilities(target, pictures, every, everywhere=True)[0]
        rows.append({"model": model, "top": top, "file": file, "bytes": file.stat().st_size,
                     **model_cost(loaded, pictures),
                     "accuracy": metrics.correct(found, labels).mean(),
                     "masked": metrics.correct(masked, labels).mean(),
                     "agree": bool(np.abs(found - masked).max()
                                   < 1e4 * torch.finfo(target.dtype).eps)})
    return pd.DataFrame(rows)


def cost_shares(written: pd.DataFrame) -> pd.DataFrame:
    """What each network of :func:`pruned_checkpoints` costs, of the whole network's cost; the
    table has a column ``data``."""
    return written[COSTS] / written.groupby(["data", "model"])[COSTS].transform("first")


def cost_text(written: pd.DataFrame) -> pd.DataFrame:
    """:func:`pruned_checkpoints` for reading: counts with their shares in brackets."""
    shares = cost_shares(written)
    texts = {name: [f"{count} ({share:.0%})" for count, share
                    in zip(written[name], shares[name], strict=True)] for name in COSTS}
    shown = written.assign(**texts, agree=written["agree"].map({True: "yes", False: "no"}))
    names = {"multiply_adds": "multiply-adds", "masked": "accuracy, masked"}
    return shown.set_index(["data", "model", "top"])[
        [*COSTS, "accuracy", "masked", "agree"]].rename(columns=names).round(3)
