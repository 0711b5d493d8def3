"""The rows of Chapter 23 for reading."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.chapters.certified_paths.certain import among_leading
from neuronpath_core.chapters.certified_paths.elsewhere import CHANGES, SETS
from neuronpath_core.chapters.certified_paths.words import SHARES
from neuronpath_core.circuits.certified import CertifiedPath
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row


def share_table(shares: pd.DataFrame, dealt: pd.DataFrame) -> pd.DataFrame:
    """``certain.share_rows`` and ``certain.shuffled_row`` for reading, a row per model."""
    text = shares.assign(text=[report.interval_text(row, 2, signed=False)
                               for row in shares.to_dict("records")])
    wide = text.pivot(index=["data", "model"], columns="measure", values="text")
    dealt = dealt.set_index(["data", "model"])
    order = dealt.index
    return pd.DataFrame({
        SHARES["voted"]: wide["voted"], SHARES["counted"]: wide["counted"],
        SHARES["certified"]: wide["certified"],
        SHARES["shuffled"]: dealt["shuffled"], "p after Holm": dealt["adjusted"],
        SHARES["counted_shuffled"]: dealt["counted_shuffled"]}).reindex(order)


def edits_table(edits: pd.DataFrame) -> pd.DataFrame:
    """``certain.edit_shares`` for reading: a column per number of edits, certified
    and by count."""
    text = [f"{row.certified:.2f}; {row.counted:.2f}" for row in edits.itertuples()]
    wide = edits.assign(text=text).pivot(index=["data", "model"], columns="edits", values="text")
    order = pd.MultiIndex.from_frame(edits[["data", "model"]].drop_duplicates())
    return wide.reindex(order).rename(columns=lambda number: f"{number} replaced")


def decision_table(certified: Mapping[tuple[str, str], Mapping[int, CertifiedPath]],
                   apart: Mapping[str, tuple[ImageSet, ImageSet]]) -> pd.DataFrame:
    """What is decided of the neurons on a class's paths, a row per data set and model: per class
    and block how many are in, out and abstained from, and the mean radius of those that are in, by
    certificate and, also the least, by count; last, ``certain.among_leading``."""
    rows = []
    for (data, model), own in certified.items():
        table = pd.concat([path.table for path in own.values()])
        cells = sum(path.blocks for path in own.values())
        inside = table[table["decision"] == "in"]
        rows.append({"data": data, "model": model, "images": len(apart[data][0]),
                     **{words: (table["decision"] == name).sum() / cells
                        for name, words in (("in", "in"), ("out", "out"),
                                            ("abstained", "abstained from"))},
                     "radius": inside["radius"].mean(),
                     "radius by count": inside["plain_radius"].mean(),
                     "least radius by count": inside["plain_radius"].min(),
                     "among as many by count": among_leading(own)})
    return pd.DataFrame(rows).set_index(["data", "model"])


def half_table(halves: pd.DataFrame) -> pd.DataFrame:
    """``certain.half_rows``, with a verdict, for reading."""
    lead = [report.interval_text(row) for row in halves.to_dict("records")]
    return halves.assign(lead=lead).set_index(["data", "model"])[
        ["size", "plain_size", "again", "uncertified_again", "lead", "certified", "plain",
         "verdict"]].rename(columns={
             "size": "certified neurons", "plain_size": "voted neurons",
             "again": "certified, voted by the other half",
             "uncertified_again": "not certified, voted by the other half",
             "certified": "Jaccard, certified", "plain": "Jaccard, voted",
             "verdict": "agreement"})


def again_table(again: pd.DataFrame) -> pd.DataFrame:
    """``elsewhere.again_rows``, with a verdict, for reading."""
    lead = [report.interval_text(row) for row in again.to_dict("records")]
    return again.assign(lead=lead).set_index(["data", "model", "condition"])[
        ["certified", "uncertified", "other", "lead", "verdict"]].rename(columns={
            "uncertified": "voted, not certified", "other": "certified of other classes",
            "verdict": "agreement"}).rename_axis(index={"condition": "found on"})


def effect_table(effects: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """``elsewhere.edited_effects`` for reading: per data set, model and set the mean
    number of neurons, the change of the probability when they are removed, and the accuracy when
    they are removed and when they alone are kept; first the whole model."""
    rows = []
    for (data, model), own in effects.groupby(["data", "model"], sort=False):
        first = own[own["set"] == "certified"].drop_duplicates("image")
        rows.append({"data": data, "model": model, "neurons of the class": "whole model",
                     "number": "", "probability, removed": "", "accuracy, removed": "",
                     "accuracy, kept alone": f"{first['clean'].mean():.2f}"})
        for name, words in SETS.items():
            parts = {operation: own[(own["set"] == name) & (own["operation"] == operation)]
                     for operation in ("remove", "keep")}
            rows.append({
                "data": data, "model": model, "neurons of the class": words,
                "number": f"{parts['keep']['neurons'].mean():.1f}",
                "probability, removed": report.interval_text(
                    interval_row(parts["remove"]["probability"].to_numpy(), seed=seed), 3),
                "accuracy, removed": f"{parts['remove']['correct'].mean():.2f}",
                "accuracy, kept alone": f"{parts['keep']['correct'].mean():.2f}"})
    return pd.DataFrame(rows).set_index(["data", "model", "neurons of the class"])


def lead_table(leads: pd.DataFrame) -> pd.DataFrame:
    """``elsewhere.effect_leads`` for reading: a column per operation and set."""
    words = {"remove": "probability lost", "keep": "accuracy kept"}
    text = [report.interval_text(row, 3) for row in leads.to_dict("records")]
    named = leads.assign(text=text, operation=leads["operation"].map(words),
                         against=leads["against"].map(SETS))
    wide = named.pivot(index=["data", "model"], columns=["operation", "against"], values="text")
    order = pd.MultiIndex.from_frame(leads[["data", "model"]].drop_duplicates())
    return wide.reindex(order)


def changed_table(effects: pd.DataFrame, leads: pd.DataFrame) -> pd.DataFrame:
    """``elsewhere.changed_effects`` and their leads for reading, a row per model and change:
    accuracy of the whole model, with the certified neurons removed, and with each set kept alone;
    the certified neurons' lead over random ones."""
    keys, rows = ["data", "model", "condition"], []
    if effects.empty:
        return pd.DataFrame(columns=["whole model"])
    told = leads[leads["against"] == "random"].set_index([*keys, "operation"])
    for names, own in effects.groupby(keys, sort=False):
        means = own.groupby(["set", "operation"])["correct"].mean()
        rows.append({
            **dict(zip(keys, names, strict=True)), "whole model": own["clean"].mean(),
            "certified removed": means["certified", "remove"],
            **{f"{words} alone": means[name, "keep"] for name, words in (
                ("certified", "certified"), ("random", "random"), ("other", "another class's"))},
            "lead over random, alone": report.interval_text(told.loc[(*names, "keep")], 3),
            "probability lost, lead over random": report.interval_text(
                told.loc[(*names, "remove")], 3)})
    table = pd.DataFrame(rows)
    return table.assign(condition=table["condition"].map(CHANGES)).rename(
        columns={"condition": "images"}).set_index(["data", "model", "images"])
