"""Chapter 24 in words: its findings, and its tables for reading.

Tables are those of the modules beside this one, with ``data`` and ``model``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.class_space import cuts, paper, tokens
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.tests import holm

# the cuts that the figure shows
SHOWN = (cuts.UNCUT, cuts.SELF, cuts.OTHER, cuts.NO_CLS, cuts.NO_PATCH)


def shares(values: Sequence[float], digits: int = 0) -> str:
    """``4 to 10 %``, without the sign of a zero."""
    low, high = (f"{100 * share:z.{digits}f}" for share in (min(values), max(values)))
    return f"{low} %" if low == high else f"{low} to {high} %"


def rate_table(rates: pd.DataFrame) -> pd.DataFrame:
    """``tokens.rate_row`` of every model for reading, beside the paper's numbers; ``stands_for``:
    the model of the path paper that each stands for."""
    rows = []
    for row, p in zip(rates.to_dict("records"), holm(rates["p"]), strict=True):
        nearest = row["stands_for"]
        rows.append({
            "data": row["data"], "model": row["model"],
            "tokens that rank their class first, %": _percent(row),
            "chance, 1/classes, %": f"{100 * row['chance']:.1f}",
            "random weights, %": f"{100 * row['random']:.1f}",
            "labels permuted, p after Holm": f"{p:.3f}",
            "images with such a token, %": f"{100 * row['one']:.1f}",
            "the same of random weights, %": f"{100 * row['one_random']:.1f}",
            "if tokens were independent, %": f"{100 * row['independent']:.1f}",
            "accuracy, %": f"{100 * row['accuracy']:.1f}",
            **{f"the paper: {words}, %": _theirs(nearest, table) for words, table in (
                ("tokens", paper.RATE), ("images", paper.WITH_ONE),
                ("accuracy", paper.ACCURACY))},
            "nearest model of the paper": paper.NEAREST.get(nearest, "–")})
    return pd.DataFrame(rows).set_index(["data", "model"])


def paper_table() -> pd.DataFrame:
    """What the paper reports of each of its seven networks, in per cent, and of random weights."""
    columns = {"tokens that rank their class first, %": (paper.RATE, 2),
               "random weights, %": (paper.RANDOM_RATE, 3),
               "images with such a token, %": (paper.WITH_ONE, 2),
               "the same of random weights, %": (paper.RANDOM_ONE, 2),
               "accuracy, %": (paper.ACCURACY, 2)}
    return pd.DataFrame(
        {words: [f"{100 * table[model]:.{digits}f}" if model in table else "–"
                 for model in paper.RATE] for words, (table, digits) in columns.items()},
        index=pd.Index(list(paper.RATE), name="the paper's model"))


def _percent(row: Mapping[str, float], digits: int = 1) -> str:
    value, low, high = (f"{100 * row[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _theirs(model: str, table: Mapping[str, float]) -> str:
    found = paper.of(model, table)
    return "–" if found is None else f"{100 * found:.1f}"


def rates_finding(rates: pd.DataFrame) -> str:
    """The main figure in a sentence."""
    return (f"After the last block {shares(rates['value'])} of the image tokens rank their image's "
            f"class first, with random weights {shares(rates['random'])}")


def curve_table(curves: pd.DataFrame, effects: pd.DataFrame, spreads: pd.DataFrame,
                stands_for: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """``tokens.curve_rows`` at the first, the middle and the last block, and the effects over the
    blocks, for reading."""
    rows = []
    for (data, model), own in curves.groupby(["data", "model"], sort=False):
        row = {"data": data, "model": model, "random order": f"{own['chance'].iloc[0]:.3f}"}
        for name in (tokens.CLS, tokens.IMAGE, tokens.RANDOM):
            rows_of = own[own["tokens"] == name].sort_values("block")["value"].to_numpy()
            picked = [rows_of[place] for place in (0, (len(rows_of) - 1) // 2, -1)] if len(
                rows_of) else []
            row[f"{name}: first, middle, last block"] = ", ".join(
                f"{value:.2f}" for value in picked) or "–"
        measured = of(effects, data, model).set_index("measure")
        row["correlation with depth"] = _text(measured, "depth")
        row["above random weights, all blocks"] = _text(measured, "grown")
        row["class token ahead, middle third"] = _text(measured, "ahead")
        spread = of(spreads, data, model)
        row["image tokens vary more by"] = report.interval_text(
            spread.iloc[0], 3) if len(spread) else "–"
        row["the paper, middle block: class token, image tokens"] = paper.of(
            stands_for[data, model], paper.MIDDLE) or "–"
        rows.append(row)
    return pd.DataFrame(rows).set_index(["data", "model"])


def indexed(rows: Sequence[Mapping[str, object]], names: list[str]) -> pd.DataFrame:
    """Rows under their names; without rows, as without masks, an empty table."""
    return pd.DataFrame(rows, columns=None if rows else names).set_index(names)


def of(table: pd.DataFrame, data: str, model: str) -> pd.DataFrame:
    """The rows of one model."""
    return table[(table["data"] == data) & (table["model"] == model)]


def of_model(table: pd.DataFrame, model: str) -> pd.DataFrame:
    """The rows of a model of this name, of the first data set that has any."""
    own = table[table["model"] == model] if len(table) else table
    return own[own["data"] == own["data"].iloc[0]] if len(own) else own


def _text(measured: pd.DataFrame, name: str, digits: int = 2) -> str:
    return report.interval_text(measured.loc[name], digits) if name in measured.index else "–"


def rise_table(rises: pd.DataFrame, stands_for: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """``tokens.rise_rows`` for reading: the mean over blocks, the least and the most."""
    rows = []
    for (data, model), own in rises.groupby(["data", "model"], sort=False):
        least, most = own.loc[own["value"].idxmin()], own.loc[own["value"].idxmax()]
        rows.append({"data": data, "model": model, "mean over blocks": own["value"].mean(),
                     "least": f"{least['value']:.2f} (block {least['block']})",
                     "most": f"{most['value']:.2f} (block {most['block']})",
                     "last block": own["value"].iloc[-1],
                     "random weights, mean": own["random"].mean(),
                     "the paper": paper.of(
                         stands_for[data, model], paper.RISES) or "–"})
    return pd.DataFrame(rows).set_index(["data", "model"])


def training_table(trained: pd.DataFrame) -> pd.DataFrame:
    """``tokens.training_rows`` for reading."""
    rows = trained.to_dict("records")
    curves = [{end: row[f"curve_{end}"] for end in ("value", "low", "high")} for row in rows]
    return trained.assign(
        grown=[report.interval_text(row, 3) for row in rows],
        risen=[report.interval_text(row, 3) for row in curves]).set_index(["data", "stage"])[
            ["accuracy", "rate", "grown", "curve", "risen"]].rename(columns={
                "rate": "tokens that rank their class first", "grown": "more than before",
                "curve": "identifiability, mean over blocks", "risen": "higher than before"})


def seed_table(seeds: pd.DataFrame) -> pd.DataFrame:
    """``tokens.seed_row`` of every data set for reading; ``pooled`` and ``token`` name the models.
    """
    text = [report.interval_text(row, 3) for row in seeds.to_dict("records")]
    return seeds.assign(text=text).set_index("data")[
        ["pooled", "token", "first", "second", "text", "models"]].rename(columns={
            "pooled": "pools its patch tokens", "token": "classifies from its class token",
            "first": "rate, pooled", "second": "rate, class token",
            "text": "difference", "models": "trained models"})


def figure_cuts(lost: pd.DataFrame, images_cut: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """What the figure of the cuts shows: ``data, model, cut, value, low, high, chance``, the rates
    with intervals over images.

    Args:
        lost: ``cuts.lost_rows`` with ``data, model, chance``.
        images_cut: ``cuts.attention_cuts`` with ``data, model``.
    """
    chance = lost.drop_duplicates(["data", "model"]).set_index(["data", "model"])["chance"]
    rows = [{"data": data, "model": model, "cut": name, "chance": chance[data, model],
             **interval_row(own["rate"].to_numpy(), seed=seed)}
            for (data, model, name), own in images_cut[images_cut["cut"].isin(SHOWN)].groupby(
                ["data", "model", "cut"], sort=False)]
    return pd.DataFrame(rows)


def at(lost: pd.DataFrame, cut: str, column: str = "rate") -> pd.Series:
    """A column of ``cuts.lost_rows`` for one cut."""
    return lost.loc[lost["cut"] == cut, column]


def cut_finding(lost: pd.DataFrame) -> str:
    """The figure of the cuts in a sentence."""
    return (f"A token that sees only itself ranks its class first in "
            f"{shares(at(lost, cuts.SELF))} of cases instead of {shares(at(lost, cuts.UNCUT))}; "
            f"without the class token in {shares(at(lost, cuts.NO_CLS))}")


def cut_table(lost: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame:
    """``cuts.lost_rows`` for reading, beside the paper's ViT-B/32; ``leads``: ``cuts.against`` by
    the ``cut`` that is the control."""
    rows, controls = [], {cuts.SELF: cuts.OTHER, cuts.NO_CLS: cuts.NO_PATCH}
    for row in lost.to_dict("records"):
        theirs = paper.CUT.get(row["cut"])
        ahead = of(leads, row["data"], row["model"])
        ahead = ahead[ahead["cut"] == controls.get(row["cut"])].to_dict("records")
        rows.append({"data": row["data"], "model": row["model"], "attention": row["cut"],
                     "tokens that rank their class first, %": f"{100 * row['rate']:.1f}",
                     "lost, % of the tokens": "–" if row["cut"] == cuts.UNCUT else _percent(row),
                     "more than its control leaves, %": _percent(ahead[0]) if ahead else "–",
                     "with the class token, as published, %": f"{100 * row['published']:.1f}",
                     "accuracy, %": f"{100 * row['correct']:.1f}",
                     "the paper, %": "–" if theirs is None else f"{100 * theirs:.2f}"})
    return pd.DataFrame(rows).set_index(["data", "model", "attention"])


def kept_table(kept: pd.DataFrame) -> pd.DataFrame:
    """``cuts.kept_rows`` for reading, beside the paper's ViT-B/32."""
    words = {cuts.OBJECT: "object", cuts.CONTEXT: "context"}
    rows = []
    for row in kept.to_dict("records"):
        before, after = paper.KEPT.get(words.get(row["kept"], ""), (None, None))
        rows.append({"data": row["data"], "model": row["model"], "what stays": row["kept"],
                     "images": row["images"],
                     "rate before, %": f"{100 * row['before']:.1f}",
                     "rate after, %": f"{100 * row['rate']:.1f}",
                     "after, minus chance": _percent(row),
                     "before and after, as published, %":
                         f"{100 * row['published_before']:.1f}, {100 * row['published']:.1f}",
                     "accuracy, %": f"{100 * row['correct']:.1f}",
                     "the paper, before and after, %": "–" if before is None else
                     f"{100 * before:.1f}, {100 * after:.1f}"})
    return indexed(rows, ["data", "model", "what stays"])
