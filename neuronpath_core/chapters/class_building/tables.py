"""Chapter 25's tables for reading.

They are made of those of the other modules here, with ``data`` and ``model``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
import pandas as pd

from neuronpath_core.chapters.class_building import paper
from neuronpath_core.chapters.class_building.compared import CHANGES, thirds
from neuronpath_core.chapters.class_building.correctness import ANY, MATCHED, MEASURES, WRONG
from neuronpath_core.chapters.class_building.curves import NAMES, read_tokens
from neuronpath_core.chapters.class_building.places import OTHERS, OWN
from neuronpath_core.chapters.class_building.tokens import CLASS_TOKEN
from neuronpath_core.readings.change_rates import CHANGES as COMPARISONS
from neuronpath_core.readings.change_rates import SOURCES
from neuronpath_core.stats import report

Tables = Mapping[tuple[str, str], pd.DataFrame]
COMPARED = {"published": "as published", "written": "as written", "ledger": "by the ledger"}
PARTS = {0: "none", 1: "the previous alone", 2: "the attention alone", 4: "the FFN alone"}


def of_each(tables: Tables, rows: Callable[..., pd.DataFrame], *settings) -> pd.DataFrame:
    """``rows(table, *settings)`` of every table, by data set and model, one under the other; an
    empty one of none."""
    if not tables:
        return pd.DataFrame()
    return pd.concat([rows(table, *settings).assign(data=data, model=model)
                      for (data, model), table in tables.items()], ignore_index=True)


def change_table(changes: pd.DataFrame) -> pd.DataFrame:
    """``compared.change_rows`` for reading: a column per measure."""
    text = [report.interval_text(row) if row["measure"] in ("later", "lowers") else
            f"{row['rate']:.2f}; {report.interval_text(row)}" for row in changes.to_dict("records")]
    named = changes.assign(text=text, measure=changes["measure"].map(CHANGES))
    wide = named.pivot(index=["data", "model", "tokens"], columns="measure", values="text")
    order = pd.MultiIndex.from_frame(named[["data", "model", "tokens"]].drop_duplicates())
    return wide.reindex(order)[[*dict.fromkeys(named["measure"])]]


def comparison_table(tables: Tables, stand_for: Mapping[str, str]) -> pd.DataFrame:
    """Share of tokens of each kind whose class rises, by the three comparisons: means over the
    thirds of a model's blocks; and the last two blocks beside the paper's, of its class token."""
    rows = []
    for (data, model), table in tables.items():
        blocks = int(table["block"].max())
        for (half, name), tokens in product(NAMES.items(), dict.fromkeys(table["tokens"])):
            own = table[(table["half"] == half) & (table["tokens"] == tokens)]
            at = own.groupby("block")[[f"change {of}" for of in COMPARISONS]].mean()
            row = {"data": data, "model": model, "half": name, "tokens": tokens}
            for of, words in COMPARED.items():
                for part, span in zip(("first", "middle", "last"), thirds(blocks), strict=True):
                    row[f"{words}, {part} third"] = at.loc[list(span), f"change {of}"].mean()
            told = paper.CHANGE.get(stand_for.get(model, model), {}).get(
                half if tokens == CLASS_TOKEN else "", (np.nan, np.nan))
            for place, block, number in (("last but one", max(1, blocks - 1), told[0]),
                                         ("last", blocks, told[1])):
                row[f"block {place}, as published"] = at.loc[block, "change published"]
                row[f"block {place}, the paper"] = number
            rows.append(row)
    return pd.DataFrame(rows).set_index(["data", "model", "half", "tokens"])


def context_table(places: Tables, model: str) -> pd.DataFrame:
    """What the attention of one model does at the patches of the object minus the others, by block:
    with the image's own mask, with another image's, and in the paper."""
    rows = []
    for (data, name), table in places.items():
        if name != model:
            continue
        at = table[table["half"] == "attention"].groupby(["block", "mask"])[
            ["change published", "change ledger"]].mean().unstack("mask")
        same = len(at) == len(paper.CONTEXT) + 1
        for block, row in at.iterrows():
            rows.append({
                "data": data, "block": block,
                "logit, as published": row["change published", OWN],
                "logit, mask of another image": row["change published", OTHERS],
                "logit, the paper's B/32": paper.CONTEXT[block - 2] if same and block > 1
                else np.nan,
                "share that rises": row["change ledger", OWN],
                "share that rises, mask of another image": row["change ledger", OTHERS]})
    return pd.DataFrame(rows, columns=None if rows else ["data", "block"]).set_index(
        ["data", "block"])


def place_table(context: pd.DataFrame) -> pd.DataFrame:
    """``compared.place_rows`` for reading; of images without masks it is empty."""
    if context.empty:
        return pd.DataFrame(columns=["images", "difference"])
    named = context.assign(
        difference=[report.interval_text(row, 3) for row in context.to_dict("records")])
    return named.set_index(["data", "model", "against"])[["images", "difference"]]


def stream_table(tables: Tables) -> pd.DataFrame:
    """Whose class the stream has, in each third of the blocks: the published categories, which
    overlap, and a partition."""
    rows = []
    for (data, model), table in tables.items():
        own, blocks = table[table["tokens"] == read_tokens(table)], int(table["block"].max())
        for part, span in zip(("first", "middle", "last"), thirds(blocks), strict=True):
            mean = own[own["block"].isin(span)].mean(numeric_only=True)
            published = {f"{name}, as published": mean[f"match {name}"] for name in SOURCES} | {
                "none, as published": mean["none published"]}
            rows.append({"data": data, "model": model, "third": part, **published,
                         "sum, as published": sum(published.values()),
                         **{words: mean[f"made of {code}"] for code, words in PARTS.items()},
                         "several": sum(mean[f"made of {code}"] for code in (3, 5, 6, 7))})
    found = pd.DataFrame(rows).set_index(["data", "model", "third"])
    return found.rename(columns=lambda name: name.replace("ffn", "FFN"))


def value_lead_table(values: pd.DataFrame, stand_for: Mapping[str, str],
                     tables: Tables) -> pd.DataFrame:
    """``values.value_leads`` for reading: a row per half; beside it the agreement as published and
    the paper's."""
    rows = []
    for (data, model, half), own in values.groupby(["data", "model", "half"], sort=False):
        table, block = tables[data, model], int(own["block"].iloc[0])
        at = table[(table["half"] == half) & (table["block"] == block)]
        row = {"data": data, "model": model, "half": NAMES[half], "block": block,
               "as published": at["published"].mean(),
               "the paper": paper.reported(stand_for.get(model, model), "values", half),
               "agreement": own["agreement"].iloc[0]}
        for each in own.to_dict("records"):
            row[each["against"]] = each["level"]
            row[f"above {each['against']}"] = report.interval_text(each, 3)
        rows.append(row)
    return pd.DataFrame(rows).set_index(["data", "model", "half"])


def similar_table(similar: pd.DataFrame) -> pd.DataFrame:
    """``values.similar_rows``, with a verdict, for reading."""
    named = similar.assign(half=similar["half"].map(NAMES))
    return named.set_index(["data", "model", "half", "against"])[
        ["share", "level", "value", "chance", "adjusted", "verdict"]].rename(columns={
            "share": "share with similar classes", "level": "by chance", "value": "difference",
            "chance": "needed to exceed", "adjusted": "p after Holm", "verdict": "agreement"})


def example_table(examples: pd.DataFrame) -> pd.DataFrame:
    """``values.example_rows`` with ``data`` for reading."""
    named = examples.rename(columns={"cosine": "cosine with the first",
                                     "classes": "classes that it raises most"})
    return named.set_index(["data", "block", "neuron"])


def memory_table(rows: pd.DataFrame, tables: Tables, measure: str,
                 stand_for: Mapping[str, str]) -> pd.DataFrame:
    """``compared.memory_rows`` for reading, a row per half and kind of token; beside it the measure
    as published with its own chance, and the paper's.

    Args:
        tables: of ``tokens.token_tables``, by data set and model.
        measure: ``"agreement"`` or ``"match"``.
    """
    found, published = [], f"{measure} published"
    for (data, model, half, tokens), own in rows.groupby(["data", "model", "half", "tokens"],
                                                         sort=False):
        table, block = tables[data, model], int(own["block"].iloc[0])
        at = table[(table["half"] == half) & (table["block"] == block)
                   & (table["tokens"] == tokens)]
        row = {"data": data, "model": model, "half": NAMES[half], "tokens": tokens,
               "as published": at[published].mean(),
               "by chance, as published": at[f"{published}, permuted"].mean(),
               "the paper": paper.reported(stand_for.get(model, model), measure, half)}
        if measure == "agreement":
            row |= {f"{words}": at[f"agreement {name}"].mean()
                    for name, words in (("written", "any of 5, as written"),
                                        ("all", "all 5"))}
        row["corrected"] = own["rate"].iloc[0]
        for each in own.to_dict("records"):
            row[each["against"]] = each["level"]
            row[f"above {each['against']}"] = report.interval_text(each)
        found.append(row)
    return pd.DataFrame(found).set_index(["data", "model", "half", "tokens"])


def correct_table(rows: pd.DataFrame, stand_for: Mapping[str, str]) -> pd.DataFrame:
    """``correctness.correctness_rows`` for reading."""
    told = [paper.reported(stand_for.get(row["model"], row["model"]), "correct", row["half"])
            if row["measure"] == next(iter(MEASURES)) else np.nan
            for row in rows.to_dict("records")]
    named = rows.assign(half=rows["half"].map(NAMES), told=told, lead=[
        report.interval_text(row) for row in rows.to_dict("records")])
    return named.set_index(["data", "model", "half", "measure"])[
        ["images", WRONG, MATCHED, ANY, "apart", "told", "lead", "confidence wrong",
         "confidence matched"]].rename(columns={
             "images": "wrong images", "apart": "any correct minus wrong", "told": "the paper",
             "lead": "as confident minus wrong", "confidence wrong": "confidence of the wrong",
             "confidence matched": "of the matched"})


def pooled_table(rows: pd.DataFrame) -> pd.DataFrame:
    """``pooled.pooled_rows`` for reading."""
    named = rows.assign(half=rows["half"].map(NAMES),
                        lead=[report.interval_text(row, 3) for row in rows.to_dict("records")])
    return named.set_index(["data", "model", "half", "tokens"])[
        ["first", "second", "lead", "trained"]].rename(columns={
            "first": "with a class token", "second": "pooled", "lead": "difference",
            "trained": "trained models"}).rename_axis(index={"tokens": "measured of"})
