"""Where the class is known, in words: the finding, and the tables of
:mod:`~neuronpath_core.chapters.class_space.where`, with ``data`` and ``model``, for reading."""

from __future__ import annotations

import numpy as np
import pandas as pd

from neuronpath_core.chapters.class_space.where import OWN
from neuronpath_core.chapters.class_space.words import indexed, of
from neuronpath_core.stats import report


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
    return indexed(rows, ["data", "model", "blocks"])


def covered_table(covered: pd.DataFrame) -> pd.DataFrame:
    """``where.coverage_rows`` for reading: a column for each share that the object covers."""
    if covered.empty:
        return indexed([], ["data", "model"])
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
