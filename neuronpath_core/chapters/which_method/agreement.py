"""How well scores of single neurons rank them: against the exact effect of removing each alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from neuronpath_core.chapters.effects import numbers
from neuronpath_core.chapters.which_method.measured import values_for
from neuronpath_core.chapters.which_method.method_names import ONE_PASS, REPLACED, SCORES
from neuronpath_core.chapters.which_method.shares import CELL, when
from neuronpath_core.hooks import read_activations
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.scores import METHODS
from neuronpath_core.scores.exact import exact_effects
from neuronpath_core.settings import SearchSettings
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

RELP = SCORES["relp"]
GRADDROP = SCORES["atp_graddrop"]
# it has no sign: it is held against the size of the exact effect too
SIZES = f"{GRADDROP}, with the size of the effect"
RANKED = {"gradient_activation": ONE_PASS, **SCORES}


def sampled_neurons(target: TargetModel, count: int, seed: int = 0) -> Int64[
        Tensor, "one layer candidate"]:
    """Neurons of every layer, drawn without replacement, or all of them where there are no more."""
    rng = np.random.default_rng(seed)
    most = min(count, target.fewest_neurons)
    return torch.stack([torch.from_numpy(rng.permutation(layer.units)[:most])
                        for layer in target.layers])[None].to(target.device)


def rank_correlations(exact: Float[np.ndarray, "image neuron"],
                      score: Float[np.ndarray, "image neuron"]) -> Float[np.ndarray, "image"]:
    """Spearman's correlation of each image's neurons; 0 where one of the two ranks nothing."""
    def one(own: np.ndarray, other: np.ndarray) -> float:
        if np.ptp(own) == 0 or np.ptp(other) == 0:
            return 0.0
        return float(stats.spearmanr(own, other).statistic)
    return np.array([one(*pair) for pair in zip(exact, score, strict=True)])


def agreements(study: Study, models: Sequence[str], images: ImageSet, count: int, pool_images: int,
               seed: int = 0, kinds: Sequence[str] = tuple(REPLACED)) -> pd.DataFrame:
    """Per model, replacement, score and image the correlation with the exact effect over some
    neurons of every block: ``data, model, replacement, score, image, correlation``; of AtP with
    GradDrop also with the size of the exact effect, as ``SIZES``.

    The exact effect replaces each neuron alone, and scores that have a baseline compare with what
    replaces.
    """
    rows = []
    for model in study.check_models(list(models)):
        target, batch = study.target(model), study.batch(images, model)
        chosen = sampled_neurons(target, count, seed)
        places = chosen.expand(len(images), -1, -1)
        for kind in kinds:
            values = values_for(study, model, images, kind, pool_images, seed)
            exact = numbers(exact_effects(target, *batch, neurons=chosen,
                                          baseline=values)).reshape(len(images), -1)
            for key, name in RANKED.items():
                score = _neuron_scores(target, *batch, key, values).gather(2, places)
                own = numbers(score).reshape(len(images), -1)
                compared = {name: exact} | ({SIZES: np.abs(exact)} if name == GRADDROP else {})
                rows += [{"data": study.profile, "model": model, "replacement": kind,
                          "score": each, "image": int(image), "correlation": value}
                         for each, effect in compared.items()
                         for image, value in zip(images.ids, rank_correlations(effect, own),
                                                 strict=True)]
    return pd.DataFrame(rows)


def _neuron_scores(target, images, labels, key, values) -> Tensor:
    if key == "activation":
        return read_activations(target, images).sum(2)
    method, settings = METHODS[key], SearchSettings(method=key).complete(target)
    given = {"baseline": values} if method.with_baseline else {}
    return method.rank(target, images, labels, settings, **given)


def agreement_rows(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Mean correlations over images with their intervals: ``data, model, replacement, score,
    images, value, low, high``."""
    keys = [*CELL, "score"]
    return pd.DataFrame([
        {**dict(zip(keys, names, strict=True)), "images": len(own),
         **interval_row(own["correlation"].to_numpy(), seed=seed)}
        for names, own in table.groupby(keys, sort=False)])


def agreement_leads(table: pd.DataFrame, first: str, second: str, seed: int = 0) -> pd.DataFrame:
    """By how much the first score's correlation is above the second's on the same images: ``data,
    model, replacement, condition, images, value, low, high, verdict``."""
    rows = []
    for cell, own in table.groupby(CELL, sort=False):
        wide = own.pivot(index="image", columns="score", values="correlation")
        row = interval_row((wide[first] - wide[second]).to_numpy(), seed=seed)
        rows.append({**dict(zip(CELL, cell, strict=True)), "condition": when(cell[2]),
                     "images": len(wide), **row, "verdict": report.verdict(row)})
    return pd.DataFrame(rows)


def glued_ranks(rows: pd.DataFrame) -> dict[str, str]:
    """``rank RelP``: from where to where a score's correlations of :func:`agreement_rows` go over
    models and replacements, of the scores that pages speak of."""
    named = {"RelP": RELP, ONE_PASS: ONE_PASS, "AtP": GRADDROP, "AtP size": SIZES}
    spans = {key: rows.loc[rows["score"] == score, "value"] for key, score in named.items()}
    return {f"rank {key}": f"{own.min():.2f} to {own.max():.2f}" for key, own in spans.items()}
