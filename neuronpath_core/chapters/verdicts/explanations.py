"""What Chapter 33 says of what neurons of a vision-language model are said to mean."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.claims import OURS, THEIRS, told
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, Comparison, comparisons, with_verdict
from neuronpath_core.stats.intervals import wilson_interval
from neuronpath_core.vlm.explained_neurons import ON_BOTH, ON_TOP, TOP

ABOVE = partial(rules.above, interval="its 95 % interval over resampled neurons and scenes",
                then=rules.OR_BELOW)
OF_OTHERS = "explanations of other neurons of the same type and layer"
# key: who says it, the sentence, unit, control, rule and the notebook's table
WORDS = {
    "own beyond swapped": (
        OURS, "An explanation predicts its neuron better than the explanation of another neuron "
        "does", "correlation", OF_OTHERS,
        ABOVE("The mean score of the own explanation minus that of swapped ones"), "means"),
    "own beyond swapped, silent samples too": (
        OURS, "So it does where samples in which the neuron may be silent count as well",
        "correlation", OF_OTHERS,
        ABOVE("The correlation over all tokens of five top and five random samples, own minus "
              "swapped", interval="its 95 % interval over neurons"), "means"),
    "own beyond places": (
        OURS, "An explanation predicts its neuron better than where it fired before",
        "correlation", "the mean map of the samples that the explanation is from",
        ABOVE("The mean score of the own explanation minus that of the map"), "places"),
    "top beyond random": (
        THEIRS, "Explanations from top samples predict a neuron better than explanations from "
        "random samples", "correlation", "explanations from as many random samples",
        ABOVE("The difference of the mean scores on the same samples"), "from_random"),
    "modulated beyond raw": (
        THEIRS, "Explanations are better where the explainer sees at which places a neuron fires",
        "correlation", "the same samples without the neuron's values",
        ABOVE("The difference of the mean scores on the same samples"), "raw"),
    "more than random weights": (
        OURS, "Training makes neurons more explicable than random weights do", "correlation",
        "the same network before training",
        ABOVE("Own minus swapped, of the trained network minus of the random one"), "twins"),
    "caused by what is named": (
        OURS, "Drawing a scene again with what an explanation names moves the neuron, more than "
        "what is named of others", "deviations",
        "what explanations of other neurons of the same type and layer name",
        ABOVE("The mean effect in standard deviations of the neuron, own minus swapped"), "caused"),
    "planted meanings are found": (
        OURS, "Of neurons with a planted meaning the explainer finds it", "found",
        "neurons whose meaning was planted, with noise and silence",
        ABOVE("The share of neurons whose planted meaning is recovered whole", 0.5,
              interval="Wilson's 95 % interval"), "synthetic", {"of": "neurons", "statistic": ""}),
}


def made_from(means: pd.DataFrame, places: pd.DataFrame, from_random: pd.DataFrame,
              raw: pd.DataFrame, twins: pd.DataFrame, caused: pd.DataFrame, planted: pd.DataFrame
              ) -> list[Claim]:
    """The tables are those of :mod:`neuronpath_core.chapters.explanations`, each with ``data`` and
    ``model``: of ``measured.mean_rows``, ``place_rows``, ``gap_rows`` against random samples and
    against raw images, ``twin_rows``, ``causes.cause_rows``; and of ``planted.planted_rows``."""
    return told(WORDS, {
        "own beyond swapped": _of(_where(means, explained=TOP, scored=ON_TOP)),
        "own beyond swapped, silent samples too": _of(_where(means, explained=TOP,
                                                             scored=ON_BOTH)),
        "own beyond places": _of(places),
        "top beyond random": _of(from_random),
        "modulated beyond raw": _of(raw),
        "more than random weights": _of(twins),
        "caused by what is named": _of(_where(caused, explained=TOP)),
        "planted meanings are found": _planted(planted),
    }, finding="vision-language", statistic="mean")


def _where(table: pd.DataFrame, **values: str) -> pd.DataFrame:
    for name, value in values.items():
        table = table[table[name] == value] if len(table) else table
    return table


def _of(table: pd.DataFrame) -> tuple[Comparison, ...]:
    """Comparisons by type, of types that a model has neurons of."""
    if table.empty or (table := table.dropna(subset=["value"])).empty:
        return ()
    told_of = with_verdict(table).assign(condition=[f"for {kind} neurons"
                                                    for kind in table["kind"]])
    return comparisons(told_of, "images", condition="condition")


def _planted(table: pd.DataFrame) -> tuple[Comparison, ...]:
    if table.empty:
        return ()
    rows = []
    for row in table[table["sees"] == "modulated"].to_dict("records"):
        low, high = wilson_interval(row["found"], row["neurons"])
        rows.append({**row, "value": row["found"], "low": low, "high": high, "data": "scenes",
                     "model": "synthetic neurons",
                     "condition": f"for {row['kind']} neurons of {row['meaning']}, {row['noise']}"})
    return comparisons(with_verdict(pd.DataFrame(rows), threshold=0.5), "neurons",
                       condition="condition")
