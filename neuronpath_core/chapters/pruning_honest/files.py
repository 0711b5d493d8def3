"""Networks that are made smaller by a path, written to files and compared with masked ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from neuronpath_core.models.pruning import (
    latencies,
    load_pruned,
    model_cost,
    prune_ffn,
    save_pruned,
)
from neuronpath_core.stats import report
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


def of_studies(studies: Mapping[str, Study], models: Sequence[str], images: Mapping[str, ImageSet],
               tops: Sequence[int], seed: int = 0, **settings) -> pd.DataFrame:
    """:func:`pruned_checkpoints` of every study and model, written into the studies' results, in
    one table; the column ``data`` names the study."""
    return pd.concat([pruned_checkpoints(study, model, images[name], tops,
                                         study.results_folder / "pruned", seed=seed,
                                         **settings).assign(data=name)
                      for name, study in studies.items() for model in models], ignore_index=True)


def physical_claim(written: pd.DataFrame, top: int) -> tuple[str, str, str]:
    """Whether the smaller networks compute what the masked ones do, and how large the file with
    ``top`` neurons a block is: claim, what was measured, verdict."""
    small = cost_shares(written)["bytes"][written["top"] == top]
    return ("A path can be turned into a smaller network that computes what the masked one does",
            f"{report.percent_span(small)} of the whole network's file with {top} "
            f"neurons per block", "agrees" if written["agree"].all() else "contradicts")


def latency_table(written: pd.DataFrame, studies: Mapping[str, Study],
                  images: Mapping[str, ImageSet], repeats: int, batch: int = 64) -> pd.DataFrame:
    """Median time of a forward pass of each network of ``written``, by data set, model and neurons
    kept per block: milliseconds per image, and the share of the whole network's time."""
    rows = []
    for (name, model), own in written.groupby(["data", "model"], sort=False):
        pictures = studies[name].batch(images[name], model)[0][:batch]
        networks = {top: load_pruned(file)[0].to(pictures.device)
                    for top, file in zip(own["top"], own["file"], strict=True)}
        seconds = latencies(networks, pictures, repeats)
        rows += [{"data": name, "model": model, "kept": top,
                  "ms per image": 1000 * each / len(pictures),
                  "of the whole": each / seconds[own["top"].iloc[0]]}
                 for top, each in seconds.items()]
    return pd.DataFrame(rows).set_index(["data", "model", "kept"])
