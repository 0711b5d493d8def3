"""How well the paths of other rules and contexts agree with converged ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from neuronpath_core import metrics
from neuronpath_core.fast.contexts import CONTEXTS, resolve_context
from neuronpath_core.fast.engine import AUTO_STEPS
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.paths import Paths
from neuronpath_core.settings import SearchSettings
from neuronpath_core.study.study import Study


def path_agreement(study: Study, names: Sequence[str], images: ImageSet, ways: Mapping[str, dict],
                   reference: dict) -> pd.DataFrame:
    """How well the paths of several ways to search agree with those of a reference, and how many
    gradients each takes.

    Args:
        ways: settings of :func:`~neuronpath_core.paths.find_paths` by the name of the way; one that
            a model does not allow (such as a frozen context where it averages its tokens) is left
            out for it.
        reference: the settings to compare with.

    Returns:
        one row per model and way, its paths those of
        :meth:`~neuronpath_core.study.study.Study.paths`: ``model, way, evaluations`` (of the whole
        model's gradient at a block by the joint search, mean over blocks and images; NaN for
        others), ``neurons, paths`` (shares that agree), ``score`` (largest deviation of the score,
        of its mean size).
    """
    rows = []
    for model in study.check_models(list(names)):
        target, fine = study.target(model), study.paths(model, images, **reference)
        for way, settings in ways.items():
            try:
                resolve_context(target, settings.get("context", "auto"))
            except ValueError:
                if settings["context"] in CONTEXTS:
                    continue
                raise
            found = study.paths(model, images, **settings)
            same, whole = metrics.agreement(found.neurons, fine.neurons)
            deviation = ((found.score - fine.score).abs().max() / fine.score.abs().mean()).item()
            whole_settings = SearchSettings.of(**settings).complete(target).as_dict()
            evaluations = _evaluations(whole_settings, found, target.n_blocks)
            rows.append({"model": model, "way": way, "evaluations": evaluations, "neurons": same,
                         "paths": whole, "score": deviation})
    return pd.DataFrame(rows)


def _evaluations(settings: dict, found: Paths, blocks: int) -> float:
    if settings["method"] != "neuron_path" or settings["search"] != "joint":
        return math.nan
    if settings["context"] == "frozen":
        return 0.0
    if settings["steps"] == "auto":
        # every number of steps up to the one that settled was tried
        tried = torch.tensor([sum(steps for steps in AUTO_STEPS if steps <= taken)
                              for taken in found.steps.tolist()], dtype=torch.float64)
        return (
            tried.mean().item()
            if settings["context"] == "full"
            else _mean_by_block(settings["exact_steps"], blocks)
            * sum(steps <= taken for taken in found.steps.tolist() for steps in AUTO_STEPS)
            / len(found)
        )
    return _mean_by_block(settings["exact_steps"] if settings["context"] == "mixed"
                          else settings["nodes"] or settings["steps"], blocks)


def _mean_by_block(counts: int | Sequence[int], blocks: int) -> float:
    """The mean over blocks of counts per block, the last of which holds for all further blocks."""
    counts = [counts] if isinstance(counts, int) else counts
    return (sum(counts) + counts[-1] * (blocks - len(counts))) / blocks


def agreement_table(agreement: pd.DataFrame) -> pd.DataFrame:
    """``path_agreement`` for reading: per rule the evaluations a block, and per model
    "neurons / paths" that agree, in percent."""
    text = [f"{100 * row.neurons:.1f} / {100 * row.paths:.0f}" for row in agreement.itertuples()]
    table = agreement.assign(text=text).pivot(index="way", columns="model", values="text").reindex(
        index=agreement["way"].unique(), columns=agreement["model"].unique()).fillna("–")
    table.insert(0, "evaluations",
                 agreement.groupby("way", sort=False)["evaluations"].mean().round(1))
    return table.rename_axis(index="rule", columns=None)
