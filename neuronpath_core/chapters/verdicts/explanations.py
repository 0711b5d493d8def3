"""What Chapter 33 says of what neurons of a vision-language model are said to mean."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.claims import OURS, THEIRS, told
from neuronpath_core.chapters.explanations.parts import AS_SHOWN
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
              "swapped", interval="its 95 % interval over neurons"), "means", {"of": "neurons"}),
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
    "each modality": (
        OURS, "What multi-modal neurons are scored by, the mean of both modalities, holds in each "
        "of them", "correlation", OF_OTHERS,
        ABOVE("The mean correlation at the tokens of one modality, own minus swapped"), "by_part"),
    "as good as shown": (
        THEIRS, "Some neurons of each type are predicted as well as those that the paper shows",
        "neurons", OF_OTHERS,
        ABOVE(f"The share of neurons with a score of at least {AS_SHOWN} by the own explanation "
              "minus that by one of another neuron", interval="its 95 % interval over neurons"),
        "as_shown", {"of": "neurons"}),
    "first words": (
        THEIRS, "There is a text neuron that fires on first words of sentences", "correlation",
        "the word that it follows best; the neuron chosen in the same way before training",
        ABOVE("The correlation with first words of the neuron that follows them best in other "
              "samples, minus that of the control", interval=f"{rules.BOOTSTRAP} over scenes"),
        "first"),
}


def made_from(means: pd.DataFrame, places: pd.DataFrame, from_random: pd.DataFrame,
              raw: pd.DataFrame, twins: pd.DataFrame, caused: pd.DataFrame, planted: pd.DataFrame,
              by_part: pd.DataFrame, as_shown: pd.DataFrame, first: pd.DataFrame) -> list[Claim]:
    """The tables are those of :mod:`neuronpath_core.chapters.explanations`, each with ``data`` and
    ``model``: of ``measured.mean_rows``, ``place_rows``, ``gap_rows`` against random samples and
    against raw images, ``twin_rows``, ``causes.cause_rows``; of ``planted.planted_rows``; and of
    ``parts.part_rows``, ``shown_rows`` and ``first_word_rows``."""
    return told(WORDS, {
        "own beyond swapped": _of(_where(means, explained=TOP, scored=ON_TOP)),
        # pooled over a neuron's samples, so that neurons alone are resampled
        "own beyond swapped, silent samples too": _of(_where(
            means, explained=TOP, scored=ON_BOTH), "neurons"),
        "own beyond places": _of(places),
        "top beyond random": _of(from_random),
        "modulated beyond raw": _of(raw),
        "more than random weights": _of(twins),
        "caused by what is named": _of(_where(caused, explained=TOP)),
        "planted meanings are found": _planted(planted),
        "each modality": _of(by_part, condition="part"),
        "as good as shown": _of(as_shown, "neurons"),
        "first words": comparisons(with_verdict(first) if len(first) else first, "images",
                                   against="against"),
    }, finding="vision-language", of="scenes", statistic="mean")


def _where(table: pd.DataFrame, **values: str) -> pd.DataFrame:
    for name, value in values.items():
        table = table[table[name] == value] if len(table) else table
    return table


def _of(table: pd.DataFrame, n: str = "images", condition: str = "") -> tuple[Comparison, ...]:
    """Comparisons by type, or by another column, of types that a model has neurons of; ``n`` counts
    the scenes that these were scored on (``images``), or the neurons."""
    if table.empty or (table := table.dropna(subset=["value"])).empty:
        return ()
    told_of = with_verdict(table).assign(condition=table[condition] if condition else [
        f"for {kind} neurons" for kind in table["kind"]])
    return comparisons(told_of, n, condition="condition")


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
