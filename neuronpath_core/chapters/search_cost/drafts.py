"""How far single precision moves the scores that a search chooses by, and what a draft in it makes
of the paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.fast.drafts import DRAFT, DRAFTS, ROUNDING_UNITS, WIDE_ROUNDING_UNITS
from neuronpath_core.fast.integral import integral
from neuronpath_core.fast.search import search_paths
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.paths import find_paths
from neuronpath_core.settings import SearchSettings
from neuronpath_core.study.study import Study
from neuronpath_core.support.memory import memory_limit


def draft_agreement(study: Study, names: Sequence[str], images: ImageSet,
                    **settings) -> pd.DataFrame:
    r"""How many paths stay the same when they are searched in single precision, with and without a
    check in double precision.

    Args:
        study: gives models and device; the reference is double precision, whatever the study's.
        names, images: models and images.
        settings: of :func:`~neuronpath_core.paths.find_paths`, for a joint search.

    Returns:
        one row per model: ``model, images``; ``single, draft`` (shares of paths equal to those of
        double precision); ``again`` (share of images of which the draft makes a choice again in
        double); ``units``, how far rounding moves :attr:`~neuronpath_core.fast.found.Found.gap` of
        the images whose path is the same, at most, in units of the single precision; ``score``, the
        largest deviation of the score, of its size.

    Raises:
        ValueError: unknown models, or settings that do not fit.
    """
    study = study if study.dtype == "float64" else replace(study, dtype="float64")
    rows, unit = [], torch.finfo(DRAFTS[DRAFT]).eps
    for model in study.check_models(list(names)):
        target, (pictures, labels) = study.target(model), study.batch(images, model)
        complete = SearchSettings.of(**settings | {"draft": DRAFT}).complete(target).as_dict()
        terms = integral(*(complete[name] for name in ("context", "quadrature", "steps", "nodes",
                                                       "exact_steps")))
        found = {}
        terms = [term.on(target.device) for term in terms]
        for way, searched in (("double", target), ("single", target.in_dtype(DRAFTS[DRAFT]))):
            with memory_limit(target, study.memory_budget):
                found[way] = search_paths(searched, pictures.to(searched.dtype), labels, terms,
                                          complete["top"] or 1)
        drafted = find_paths(target, pictures, labels, **complete | {"top": complete["top"] or 1},
                             memory_budget=study.memory_budget)
        double, single = found["double"], found["single"]
        same = _same(single.neurons, double.neurons)
        least = ROUNDING_UNITS if double.neurons.shape[2] == 1 else WIDE_ROUNDING_UNITS
        moved = (single.gap.double() - double.gap).abs()[same & double.gap.isfinite()]
        rows.append({
            "model": model, "images": len(images), "single": same.double().mean().item(),
            "draft": _same(drafted.neurons, double.neurons).double().mean().item(),
            "again": (~(single.gap >= least * unit)).double().mean().item(),
            "units": (moved.max() / unit).item() if len(moved) else 0.0,
            "score": ((drafted.score - double.score).abs() / double.score.abs()).max().item(),
        })
    return pd.DataFrame(rows)


def draft_table(drafted: pd.DataFrame) -> pd.DataFrame:
    """:func:`draft_agreement` for reading."""
    return pd.DataFrame({
        "model": drafted["model"], "images": drafted["images"],
        "paths right in float32 alone": [f"{100 * value:.1f} %" for value in drafted["single"]],
        "paths right after the check": [f"{100 * value:.1f} %" for value in drafted["draft"]],
        "images searched again": [f"{100 * value:.1f} %" for value in drafted["again"]],
        "gap moved at most, units": [f"{value:.0f}" for value in drafted["units"]],
        "score moved at most, relative": [f"{value:.0e}" for value in drafted["score"]],
    }).set_index("model")


def _same(paths: Tensor, others: Tensor) -> Tensor:
    """``(batch,)``: whether an image's paths take the same neurons, several of a block in any
    order."""
    return (paths.sort(-1).values == others.sort(-1).values).flatten(1).all(1)
