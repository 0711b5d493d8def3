"""Chapter 24 in words: its findings, and its tables for reading.

Tables are those of the modules beside this one, with ``data`` and ``model``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from neuronpath_core.chapters.class_space import cuts, published, tokens
from neuronpath_core.chapters.class_space.where import OWN
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
                ("tokens", published.RATE), ("images", published.WITH_ONE),
                ("accuracy", published.ACCURACY))},
            "nearest model of the paper": published.NEAREST.get(nearest, "–")})
    return pd.DataFrame(rows).set_index(["data", "model"])


def _percent(row: Mapping[str, float], digits: int = 1) -> str:
    value, low, high = (f"{100 * row[name]:.{digits}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _theirs(model: str, table: Mapping[str, float]) -> str:
    found = published.of(model, table)
    return "–" if found is None else f"{100 * found:.1f}"


def rates_finding(rates: pd.DataFrame) -> str:
    """The main figure in a sentence."""
    return (f"After the last block {shares(rates['value'])} of the image tokens rank their image's "
            f"class first, with random weights {shares(rates['random'])}")


def curve_table(curves: pd.DataFrame, effects: pd.DataFrame, spreads: pd.DataFrame) -> pd.DataFrame:
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
        row["class token ahead, middle third"] = _text(measured, "ahead")
        spread = of(spreads, data, model)
        row["image tokens vary more by"] = report.interval_text(
            spread.iloc[0], 3) if len(spread) else "–"
        rows.append(row)
    return pd.DataFrame(rows).set_index(["data", "model"])


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
                     "the paper, second to eleventh block": published.of(
                         stands_for[data, model], published.RISES) or "–"})
    return pd.DataFrame(rows).set_index(["data", "model"])


def training_table(trained: pd.DataFrame) -> pd.DataFrame:
    """``tokens.training_rows`` for reading."""
    grown = [report.interval_text(row, 3) for row in trained.to_dict("records")]
    return trained.assign(grown=grown).set_index(["data", "stage"])[
        ["accuracy", "rate", "curve", "grown"]].rename(columns={
            "rate": "tokens that rank their class first",
            "curve": "identifiability, mean over blocks", "grown": "more than the stage before"})


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


def cut_table(lost: pd.DataFrame) -> pd.DataFrame:
    """``cuts.lost_rows`` for reading, beside the paper's ViT-B/32."""
    rows = []
    for row in lost.to_dict("records"):
        theirs = published.CUT.get(row["cut"])
        rows.append({"data": row["data"], "model": row["model"], "attention": row["cut"],
                     "tokens that rank their class first, %": f"{100 * row['rate']:.1f}",
                     "lost, % of the tokens": "–" if row["cut"] == cuts.UNCUT else _percent(row),
                     "with the class token, as published, %": f"{100 * row['published']:.1f}",
                     "accuracy, %": f"{100 * row['correct']:.1f}",
                     "the paper, %": "–" if theirs is None else f"{100 * theirs:.2f}"})
    return pd.DataFrame(rows).set_index(["data", "model", "attention"])


def kept_table(kept: pd.DataFrame) -> pd.DataFrame:
    """``cuts.kept_rows`` for reading, beside the paper's ViT-B/32."""
    words = {cuts.OBJECT: "object", cuts.CONTEXT: "context"}
    rows = []
    for row in kept.to_dict("records"):
        before, after = published.KEPT.get(words.get(row["kept"], ""), (None, None))
        rows.append({"data": row["data"], "model": row["model"], "what stays": row["kept"],
                     "images": row["images"],
                     "rate before, %": f"{100 * row['before']:.1f}",
                     "rate after, %": f"{100 * row['rate']:.1f}",
                     "after, minus chance": _percent(row),
                     "accuracy, %": f"{100 * row['correct']:.1f}",
                     "the paper, before and after, %": "–" if before is None else
                     f"{100 * before:.1f}, {100 * after:.1f}"})
    return pd.DataFrame(rows).set_index(["data", "model", "what stays"])


def where_finding(thirds: pd.DataFrame, dissociation: pd.DataFrame) -> str:
    """The figure of where the class is known in a sentence."""
    last = thirds[thirds["condition"].str.contains("last")]
    below = int((last["high"] < 0).sum())
    told = (f"In the last third of the blocks tokens off the object know the class better than "
            f"those on it, in {below} of {len(last)} models")
    if not len(dissociation):
        return told
    late = dissociation[dissociation["condition"].str.contains("last")]
    ahead = int((late["low"] > 0).sum())
    return (f"{told}; the outline is known along its band and the fill inside in {ahead} of "
            f"{len(late)}")


def gap_table(thirds: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """``where.third_rows`` for reading, with the controls of ``where.gap_rows`` at each third's
    blocks."""
    rows = []
    for row in thirds.to_dict("records"):
        own = of(gaps, row["data"], row["model"])
        place = ("first", "middle", "last").index(row["condition"].split()[2])
        ends = np.round(np.linspace(0, len(own), 4)).astype(int)
        part = own.sort_values("block").iloc[ends[place]:ends[place + 1]]
        beyond = {name: row[f"beyond_{name}"] for name in ("value", "low", "high")}
        rows.append({"data": row["data"], "model": row["model"],
                     "blocks": row["condition"].removeprefix("in the ").removesuffix(
                         " of the blocks"), OWN: report.interval_text(row, 3),
                     "more than with another image's mask": report.interval_text(beyond, 3),
                     "with its place alone": part["place"].mean(),
                     "equally far from the middle": part["rings"].mean(),
                     "as published": part["published"].mean(),
                     "blocks with p < 0.05 after Holm":
                         f"{int((part['adjusted'] < 0.05).sum())} of {len(part)}"})
    return pd.DataFrame(rows).set_index(["data", "model", "blocks"])


def covered_table(covered: pd.DataFrame) -> pd.DataFrame:
    """``where.coverage_rows`` for reading: a column for each share that the object covers."""
    text = [f"{row.rate:.2f} ({row.tokens:.2f})" if row.rate == row.rate else "–"
            for row in covered.itertuples()]
    named = covered.assign(text=text)
    wide = named.pivot(index=["data", "model"], columns="covered", values="text")
    order = pd.MultiIndex.from_frame(covered[["data", "model"]].drop_duplicates())
    return wide.reindex(order)[list(dict.fromkeys(covered["covered"]))].rename_axis(
        columns=None)


def dissociation_table(dissociation: pd.DataFrame) -> pd.DataFrame:
    """``where.dissociation_rows`` for reading."""
    text = [report.interval_text(row, 3) for row in dissociation.to_dict("records")]
    return dissociation.assign(text=text, blocks=[
        words.removeprefix("in the ").removesuffix(" of the blocks")
        for words in dissociation["condition"]]).set_index(["data", "model", "blocks"])[
            ["outline", "fill", "text", "images"]].rename(columns={
                "outline": "outline: band minus fill area", "fill": "fill: band minus fill area",
                "text": "difference of the two", "images": "images with tokens of both"})
