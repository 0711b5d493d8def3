"""What Chapter 33 says of what neurons of a vision-language model are said to mean."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.stats.claims import Claim, Comparison, comparisons, with_verdict
from neuronpath_core.vlm.explained_neurons import ON_BOTH, ON_TOP, TOP

FINDING = "vision-language"
OVER = "95 % interval over resampled neurons and scenes"
ABOVE = f"agrees if its {OVER} lies above zero, contradicts if below."


def made_from(means: pd.DataFrame, places: pd.DataFrame, from_random: pd.DataFrame,
              raw: pd.DataFrame, twins: pd.DataFrame, caused: pd.DataFrame, planted: pd.DataFrame
              ) -> list[Claim]:
    """The tables are those of :mod:`neuronpath_core.chapters.explanations`, each with ``data`` and
    ``model``: of ``measured.mean_rows``, ``place_rows``, ``gap_rows`` against random samples and
    against raw images, ``twin_rows``, ``causes.cause_rows``; and of ``planted.planted_rows``."""
    theirs = partial(Claim, finding=FINDING, by="companion")
    ours = partial(Claim, finding=FINDING, by="book")
    return [
        ours("own beyond swapped",
             sentence="An explanation predicts its neuron better than the explanation of another "
                      "neuron does",
             comparisons=_of(_where(means, explained=TOP, scored=ON_TOP)), unit="correlation",
             control="explanations of other neurons of the same type and layer",
             rule=f"The mean score of the own explanation minus that of swapped ones; {ABOVE}",
             table="means", statistic="mean"),
        ours("own beyond swapped, silent samples too",
             sentence="So it does where samples in which the neuron may be silent count as well",
             comparisons=_of(_where(means, explained=TOP, scored=ON_BOTH)), unit="correlation",
             control="explanations of other neurons of the same type and layer",
             rule="The correlation over all tokens of five top and five random samples, own minus "
                  "swapped; agrees if its 95 % interval over neurons lies above zero, contradicts "
                  "if below.", table="means", statistic="mean"),
        ours("own beyond places",
             sentence="An explanation predicts its neuron better than where it fired before",
             comparisons=_of(places), unit="correlation",
             control="the mean map of the samples that the explanation is from",
             rule=f"The mean score of the own explanation minus that of the map; {ABOVE}",
             table="places", statistic="mean"),
        theirs("top beyond random",
               sentence="Explanations from top samples predict a neuron better than explanations "
                        "from random samples",
               comparisons=_of(from_random), unit="correlation",
               control="explanations from as many random samples",
               rule=f"The difference of the mean scores on the same samples; {ABOVE}",
               table="from_random", statistic="mean"),
        theirs("modulated beyond raw",
               sentence="Explanations are better where the explainer sees at which places a neuron "
                        "fires",
               comparisons=_of(raw), unit="correlation",
               control="the same samples without the neuron's values",
               rule=f"The difference of the mean scores on the same samples; {ABOVE}",
               table="raw", statistic="mean"),
        ours("more than random weights",
             sentence="Training makes neurons more explicable than random weights do",
             comparisons=_of(twins), unit="correlation",
             control="the same network before training",
             rule="Own minus swapped, of the trained network minus of the random one; agrees if "
                  f"its {OVER} lies above zero, contradicts if below.", table="twins",
             statistic="mean"),
        ours("caused by what is named",
             sentence="Drawing a scene again with what an explanation names moves the neuron, more "
                      "than what is named of others",
             comparisons=_of(_where(caused, explained=TOP)), unit="deviations",
             control="what explanations of other neurons of the same type and layer name",
             rule=f"The mean effect in standard deviations of the neuron, own minus swapped; "
                  f"{ABOVE}", table="caused", statistic="mean"),
        ours("planted meanings are found",
             sentence="Of neurons with a planted meaning the explainer finds it",
             comparisons=_planted(planted), unit="found",
             control="neurons whose meaning was planted, with noise and silence",
             rule="The share of neurons whose planted meaning is recovered whole; agrees if "
                  "Wilson's 95 % interval lies above one half, contradicts if below.",
             table="synthetic", of="networks"),
    ]


def _where(table: pd.DataFrame, **values: str) -> pd.DataFrame:
    for name, value in values.items():
        table = table[table[name] == value] if len(table) else table
    return table


def _of(table: pd.DataFrame) -> tuple[Comparison, ...]:
    """Comparisons by type, of types that a model has neurons of."""
    if table.empty or (table := table.dropna(subset=["value"])).empty:
        return ()
    told = with_verdict(table).assign(condition=[f"for {kind} neurons" for kind in table["kind"]])
    return comparisons(told, "images", condition="condition")


def _planted(table: pd.DataFrame) -> tuple[Comparison, ...]:
    from neuronpath_core.stats.intervals import wilson_interval

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


