"""What each replacement leaves of a path's effect, of its lead, and of the few neurons that should
suffice, with intervals over images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from neuronpath_core.chapters.replacement.measured import (
    BACKGROUND,
    MATCHED,
    MOVED,
    OUTLINE,
    PAPER,
    PATH,
    RANDOM,
)
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.stats.intervals import interval_row, percentile_row, resampled
from neuronpath_core.stats.labels import method_labels
from neuronpath_core.stats.tests import ROUNDING, judged, sign_flip_test

CELL = ["data", "model"]
# factor that a measure is written with, and its unit
MEASURES = {"probability": (1, "of the probability"), "accuracy": (100, "points")}
CONTROLS = (MATCHED, MOVED, *PAPER)  # what the path should do more than
MARGIN = 0.05  # of accuracy, within which it is called kept, as in chapters 6 and 15
# kinds under which the values themselves do not tell the class
BLIND = ("zero", "mean", "resample")


def named(method: str) -> str:
    """A method or a control as tables call it."""
    return RANDOM.get(method) or method_labels()[method]


def _exact(values: pd.Series) -> np.ndarray:
    """An array in which what rounding alone makes of nothing is nothing: else an interval around
    1e-17 would lie above zero."""
    array = values.to_numpy(dtype=float)
    return np.where(np.abs(array) <= ROUNDING, 0.0, array)


def losses(effects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """What removal costs, or enhancement gains, under each replacement, in the mean over images:
    ``data, model, method, kind, measure, images, value, low, high, verdict``, positive where
    something is lost, or gained.

    Args:
        effects: of :func:`~neuronpath_core.chapters.replacement.measured.replaced_effects` or
            :func:`~neuronpath_core.chapters.replacement.measured.counterfactual_effects`, of one
            operation.
    """
    if effects.empty:
        return pd.DataFrame(columns=[*CELL, "method", "kind", "measure", "images", "value", "low",
                                     "high", "verdict"])
    rows = [{**dict(zip([*CELL, "method", "kind"], names, strict=True)), "measure": measure,
             "images": len(own), **interval_row(factor * _exact(own[measure]), seed=seed)}
            for names, own in effects.groupby([*CELL, "method", "kind"], sort=False)
            for measure, (factor, _) in MEASURES.items()]
    return with_verdict(pd.DataFrame(rows))


def leads(effects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much more removal of the neuron path costs, or its enhancement gains, than that of every
    other path, under each replacement, paired over images.

    Args:
        effects: as of :func:`losses`.

    Returns:
        ``data, model, kind, method`` (the other), ``against`` (its name), ``measure, images, value,
        low, high`` (mean over images), ``p`` (signs of the differences flipped at random),
        ``adjusted`` (Holm, over all models and ``CONTROLS``, or all models and other methods, of a
        measure under one replacement) and ``verdict``.
    """
    if effects.empty:
        return pd.DataFrame(columns=[*CELL, "kind", "method", "against", "measure", "images",
                                     "value", "low", "high", "p", "adjusted", "verdict"])
    rows = []
    for (data, model, kind), group in effects.groupby([*CELL, "kind"], sort=False):
        wide = group.pivot(index="image", columns="method", values=list(MEASURES))
        for method in [name for name in group["method"].unique() if name != PATH]:
            for measure, (factor, _) in MEASURES.items():
                ahead = factor * _exact(wide[measure][PATH] - wide[measure][method])
                rows.append({"data": data, "model": model, "kind": kind, "method": method,
                             "against": named(method), "measure": measure, "images": len(ahead),
                             **interval_row(ahead, seed=seed), "p": sign_flip_test(ahead, seed),
                             "family": f"{measure} {kind} {method in CONTROLS}"})
    return judged(pd.DataFrame(rows), "family").drop(columns="family")


def by_distance(effects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    r"""How much less the path loses under a replacement than it would if its loss went with the
    distance that its neurons are moved, at the rate of zero:
    :math:`\frac{\bar d_k}{\bar d_0} \bar e_0 - \bar e_k` of the mean losses e and distances d with
    zero and under the replacement k.

    Args:
        effects: of removal.

    Returns:
        ``data, model, kind, images, value, low, high, verdict``; intervals are over images, of
        which all four means are taken together.
    """
    rows = []
    own = effects[effects["method"] == PATH]
    for (data, model), group in own.groupby(CELL, sort=False):
        wide = group.pivot(index="image", columns="kind", values=["probability", "moved"])
        for kind in [name for name in group["kind"].unique() if name != "zero"]:
            both = np.stack([_exact(wide[measure, name]) for name in ("zero", kind)
                             for measure in ("probability", "moved")])

            def less(chosen: np.ndarray, both: np.ndarray = both) -> float:
                lost, moved, lost_here, moved_here = both[:, chosen].mean(1)
                return moved_here / moved * lost - lost_here

            everyone = np.arange(both.shape[1])
            rows.append({"data": data, "model": model, "kind": kind, "images": len(everyone),
                         **percentile_row(less(everyone), resampled(less, [everyone], seed=seed))})
    return with_verdict(pd.DataFrame(rows))


def less_background(pairs: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much more of the probability the path loses with its values under another outline than
    with those on another background, paired over images: ``data, model, images, value, low, high,
    verdict``.

    Args:
        pairs: of :func:`~neuronpath_core.chapters.replacement.measured.counterfactual_effects`.
    """
    if pairs.empty:
        return pd.DataFrame(columns=[*CELL, "images", "value", "low", "high", "verdict"])
    rows = []
    for (data, model), own in pairs[pairs["method"] == PATH].groupby(CELL, sort=False):
        wide = own.pivot(index="image", columns="kind", values="probability")
        ahead = _exact(wide[OUTLINE] - wide[BACKGROUND])
        rows.append({"data": data, "model": model, "images": len(ahead),
                     **interval_row(ahead, seed=seed)})
    return with_verdict(pd.DataFrame(rows))


def searched_gains(searched: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """What a search for the replacement adds to the loss under it, and how many neurons it leaves:
    ``data, model, method, kind, seen, measure, images, value, low, high, verdict``.

    ``measure`` is ``"gain"``, the loss with the path for the replacement minus that with the path
    for zero, or ``"stay"``, the share of common neurons, which agrees if it is above one half.

    Args:
        searched: of :func:`~neuronpath_core.chapters.replacement.searched_paths.searched_effects`.
    """
    keys, rows = [*CELL, "method", "kind", "seen"], []
    for names, own in searched.groupby(keys, sort=False):
        for measure, values, least in (("gain", own["same"] - own["zero"], 0.0),
                                       ("stay", own["stay"], 0.5)):
            row = interval_row(_exact(values), seed=seed)
            rows.append({**dict(zip(keys, names, strict=True)), "measure": measure,
                         "images": len(own), **row,
                         "verdict": report.verdict({end: row[end] - least
                                                    for end in ("low", "high")})})
    return pd.DataFrame(rows)


def kept_sizes(kept: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Accuracy with a few neurons kept minus that of the whole model, paired over test images:
    ``data, model, tokens, kind, kept, images, value, low, high, verdict``.

    Agrees if the whole interval lies above -5 points, contradicts if all of it lies below.

    Args:
        kept: of :func:`~neuronpath_core.chapters.replacement.kept_neurons.kept_effects`.
    """
    keys = [*CELL, "tokens", "kind", "kept"]
    rows = [{**dict(zip(keys, names, strict=True)), "images": len(own),
             **interval_row((own["correct"].astype(float) - own["whole"]).to_numpy(), seed=seed)}
            for names, own in kept.groupby(keys, sort=False)]
    return with_verdict(pd.DataFrame(rows), threshold=-MARGIN)


def kept_leads(kept: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much accuracy the path's neurons keep beyond others, paired over test images: ``data,
    model, tokens, kind, against, images, value, low, high, p, adjusted, verdict``.

    Holm's correction covers all models and tokens under one replacement.
    """
    rows, keys = [], [*CELL, "tokens", "kind"]
    for names, group in kept.groupby(keys, sort=False):
        wide = group.pivot(index="image", columns="kept", values="correct").astype(float)
        for other in [name for name in group["kept"].unique() if name != "neuron path"]:
            ahead = (wide["neuron path"] - wide[other]).to_numpy()
            rows.append({**dict(zip(keys, names, strict=True)), "against": other,
                         "images": len(ahead), **interval_row(ahead, seed=seed),
                         "p": sign_flip_test(ahead, seed)})
    return judged(pd.DataFrame(rows), "kind")


def own_losses(lost: pd.DataFrame, measure: str) -> pd.DataFrame:
    """:func:`losses` of the neuron path alone."""
    return lost[(lost["method"] == PATH) & (lost["measure"] == measure)]
