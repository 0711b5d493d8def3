"""Chapter 32 in words: its findings, and its tables for reading.

Tables are those of the modules beside this one, with ``data`` and ``model``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.modality import kinds
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.vlm.modality import TYPES

Row = Mapping[str, float]


def percent(value: float, digits: int = 0) -> str:
    """``12 %``, without the sign of a zero."""
    return "–" if pd.isna(value) else f"{100 * value:z.{digits}f} %"


def percents(values: Iterable[float], digits: int = 0) -> str:
    """``12 to 15 %``, or one share where all round to the same."""
    known = list(values)
    low, high = (f"{100 * each:z.{digits}f}" for each in (min(known), max(known)))
    return f"{low} %" if low == high else f"{low} to {high} %"


def points(row: Row, digits: int = 1) -> str:
    """``+1.2 [+0.8, +1.6]``, in points of a hundred."""
    return report.interval_text({name: 100 * row[name] for name in ("value", "low", "high")},
                                digits)


def _table(rows: Iterable[Mapping], keys: Sequence[str]) -> pd.DataFrame:
    rows = list(rows)
    return pd.DataFrame(rows, columns=None if rows else list(keys)).set_index(list(keys))


def sure_table(sure: pd.DataFrame) -> pd.DataFrame:
    """``kinds.sure_rows`` beside the paper's numbers: a row for each model, the share of neurons
    that are surely of each type and, behind it, with dealt labels."""
    rows = [{"model": f"{name} (the paper)", **{f"{kind}, %": f"{100 * share:.1f}" for kind, share
                                                in zip(TYPES, values, strict=True)}}
            for name, values in kinds.PAPER.items()]
    for model, own in sure.groupby("model", sort=False):
        rows.append({"model": named(model), **{
            f"{row['type']}, %": f"{100 * row['value']:.1f} [{100 * row['low']:.1f}, "
                                 f"{100 * row['high']:.1f}]; dealt {100 * row['dealt']:.1f}"
            for row in own.to_dict("records")}})
    return _table(rows, ["model"])


def named(model: str) -> str:
    """A model in words."""
    return "before training" if model == "random" else model


def most_table(sure: pd.DataFrame) -> pd.DataFrame:
    """The share of neurons of which each type is the most probable one, of every model."""
    return _table([{"model": named(model), **{
        f"{row['type']}, %": f"{100 * row['most']:.1f}; dealt {100 * row['most_dealt']:.1f}"
        for row in own.to_dict("records")}} for model, own in sure.groupby("model", sort=False)],
        ["model"])


def seed_table(seeds: pd.DataFrame) -> pd.DataFrame:
    """``kinds.seed_rows`` for reading."""
    return _table([{"neurons are": row["statistic"], "type": row["type"],
                    "mean, % of the neurons": _interval(row, 100, 1), "trainings": row["seeds"]}
                   for row in seeds.to_dict("records")], ["neurons are", "type"])


def _interval(row: Row, times: float = 1, digits: int = 2) -> str:
    value = f"{times * row['value']:.{digits}f}"
    return value if pd.isna(row["low"]) else (
        f"{value} [{times * row['low']:.{digits}f}, {times * row['high']:.{digits}f}]")


def beyond_table(*tables: pd.DataFrame) -> pd.DataFrame:
    """``kinds.beyond_dealt_rows`` and ``kinds.beyond_rows`` for reading."""
    return _table([{"beyond": row["against"], "model": row["model"], "of": row["condition"],
                    "more, points of the neurons": points(row)}
                   for table in tables for row in table.to_dict("records")],
                  ["beyond", "model", "of"])


def surer_table(surer: pd.DataFrame) -> pd.DataFrame:
    """``kinds.surer_rows`` for reading."""
    return _table([{"model": named(row["model"]), "of": row["condition"],
                    "sure, and not with dealt labels, %": f"{100 * row['own']:.1f}",
                    "beyond what deals differ by, points": points(row)}
                   for row in surer.to_dict("records")], ["model", "of"])


def variant_table(variants: pd.DataFrame) -> pd.DataFrame:
    """``kinds.variant_rows`` for reading."""
    return _table([{"variant": row["variant"],
                    **{f"{name}, %": f"{100 * row[name]:.1f}" for name in TYPES},
                    "positive nowhere, %": f"{100 * row['dead']:.1f}"}
                   for row in variants.to_dict("records")], ["variant"])


def changed_table(changed: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame:
    """``kinds.changed_rows`` and ``kinds.changed_lead_rows`` for reading."""
    rows = [{"what is read": row["condition"], "another type, % of the live neurons":
             _interval(row, 100, 1)} for row in changed.to_dict("records")]
    rows += [{"what is read": f"{row['condition']}, minus {row['against']}",
              "another type, % of the live neurons": points(row)}
             for row in leads.to_dict("records")]
    return _table(rows, ["what is read"])


def grid_table(grid: pd.DataFrame) -> pd.DataFrame:
    """How far shares go over a grid of thresholds: least, median and most of each type."""
    rows = []
    for name in TYPES:
        for words, column in (("surely", f"sure {name}"), ("most probably", name)):
            own = 100 * grid[column]
            rows.append({"neurons are": words, "type": name, "least, %": f"{own.min():.1f}",
                         "median, %": f"{own.median():.1f}", "most, %": f"{own.max():.1f}"})
    return _table(rows, ["neurons are", "type"])


def activity_table(activity: pd.DataFrame) -> pd.DataFrame:
    """``kinds.activity_rows`` for reading."""
    return _table([{"most probable type": row["type"], "neurons": row["neurons"],
                    "mean activation": f"{row['mean']:.3f}",
                    "its share of the largest, %": f"{100 * row['relative']:.1f}",
                    "tokens at which it is above 0, %": f"{100 * row['active']:.0f}",
                    "length of what it writes": f"{row['written']:.2f}"}
                   for row in activity.to_dict("records")], ["most probable type"])


def auroc_table(auroc: pd.DataFrame) -> pd.DataFrame:
    """``kinds.auroc_rows`` for reading."""
    return _table([{"model": named(row["model"]),
                    "larger at image tokens, % of neurons": f"{100 * row['visual']:.1f}",
                    "larger at words, % of neurons": f"{100 * row['text']:.1f}",
                    "median area under the curve": f"{row['median']:.2f}"}
                   for row in auroc.to_dict("records")], ["model"])


_TOP = {"value": "top", "low": "top_low", "high": "top_high"}


def top_table(profiles: pd.DataFrame) -> pd.DataFrame:
    """Of each type the share of its surest 3 % of neurons that lies in each layer, of
    ``layers.profile_rows``."""
    return _table([{"model": named(model), "type": kind, **{
        f"layer {row['layer']}, %": f"{100 * row['top']:.0f}" for row in own.to_dict("records")}}
        for (model, kind), own in profiles.groupby(["model", "type"], sort=False)],
        ["model", "type"])


def trend_table(trends: pd.DataFrame, deeper: pd.DataFrame) -> pd.DataFrame:
    """``layers.trend_rows`` and ``layers.twin_rows`` for reading."""
    known = {(row["model"], row["condition"]): row for row in deeper.to_dict("records")}
    rows = []
    for row in trends.to_dict("records"):
        twin = known.get((row["model"], f"{row['type']} neurons"))
        rows.append({"model": named(row["model"]), "type": row["type"],
                     "the paper": {1: "rises", -1: "falls"}.get(row["expected"], "–"),
                     "correlation with depth": report.interval_text(row, 2),
                     "of the surest 3 %": report.interval_text(
                         {name: row[key] for name, key in _TOP.items()}, 2),
                     "95 % of permuted layers": report.typeset(f"±{row['chance']:.2f}"),
                     "labels dealt": f"{row['dealt']:+.2f}",
                     "in the paper's direction, beyond the start":
                         "–" if twin is None else report.interval_text(twin, 2)})
    return _table(rows, ["model", "type"])


def match_table(matches: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame:
    """``meaning.match_rows`` and ``meaning.match_lead_rows`` for reading."""
    rows = [{"model": named(row["model"]), "word": row["word"], "neurons": row["group"],
             "number": str(row["neurons"]), "same concept, %": f"{100 * row['own']:.1f}",
             "dealt, %": f"{100 * row['dealt']:.1f}", "difference, points": points(row)}
            for row in matches.to_dict("records")]
    rows += [{"model": named(row["model"]), "word": row["condition"],
              "neurons": f"multi-modal, against {row['against']}", "number": "–",
              "same concept, %": "–", "dealt, %": "–", "difference, points": points(row)}
             for row in leads.to_dict("records")]
    return _table(rows, ["model", "word", "neurons"])


def few_table(few: pd.DataFrame) -> pd.DataFrame:
    """``meaning.few_rows`` for reading."""
    return _table([{"model": named(row["model"]), "winner among": _WINNERS[row["condition"]],
                    "control": row["against"], "first wins, % of top samples":
                        f"{100 * row['own']:.1f}", "control's, %": f"{100 * row['other']:.1f}",
                    "difference, points": points(row), "entropy, bits": f"{row['bits']:.2f}",
                    "of five top samples, %": f"{100 * row['top_few']:.0f}",
                    "of five at random, %": f"{100 * row['random_few']:.0f}"}
                   for row in few.to_dict("records")], ["model", "winner among", "control"])


_WINNERS = {"patches": "concepts in patches", "words": "words"}


def example_table(examples: pd.DataFrame) -> pd.DataFrame:
    """``meaning.example_rows`` for reading."""
    return _table([{"type": row["type"], "neuron": f"layer {row['layer']}, {row['neuron']}",
                    "probability": f"{row['p']:.2f}",
                    "in patches": f"{row['seen']} ({row['seen_r']:.2f})",
                    "in words": f"{row['said']} ({row['said_r']:.2f})",
                    "first concept wins, %": f"{100 * row['first_seen']:.0f}",
                    "first word wins, %": f"{100 * row['first_said']:.0f}"}
                   for row in examples.to_dict("records")], ["type", "neuron"])


def finding(sure: pd.DataFrame) -> str:
    """The main figure in a sentence, of the models whose training is over."""
    own = sure[~sure["model"].str.contains(" step ") & (sure["model"] != "random")]
    parts = []
    for name in ("visual", "text", "multi-modal"):
        rows = own[own["type"] == name]
        parts.append(f"{percents(rows['value'])} {name} ({percents(rows['dealt'])} with dealt "
                     "labels)")
    return f"Surely of a type: {parts[0]}, {parts[1]} and {parts[2]} neurons"


def match_finding(matches: pd.DataFrame) -> str:
    """Whether concepts agree, in a sentence, of multi-modal neurons."""
    own = matches[matches["group"] == "multi-modal neurons"]
    return (f"The best concept in patches is the best in words for {percents(own['own'])} of the "
            f"multi-modal neurons; dealt, {percents(own['dealt'])}")


def tally(table: pd.DataFrame, noun: str = "comparisons") -> str:
    """How many of a table's comparisons agree, for a sentence; by their intervals unless the table
    has verdicts of its own."""
    if not len(table):
        return f"none of the {noun}"
    verdicts = table["verdict"] if "verdict" in table else with_verdict(table)["verdict"]
    return report.in_words(list(verdicts), noun)
