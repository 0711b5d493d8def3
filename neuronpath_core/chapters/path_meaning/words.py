"""Chapter 30 in words: its findings, and its tables for reading.

Tables are those of the modules beside this one, with ``data`` and ``model``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.path_meaning import detects, failures, looks, pictures, wiring, writes
from neuronpath_core.chapters.path_meaning.measured import ACTIVE, LABELS, LIKE, LIKE_HERE
from neuronpath_core.settings import RECOMMENDED
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict

# what the main figure shows: panel -> its unit
SHOWN = {"writes its class": "share of the block below it",
         "is a key neuron of its class": "share of path neurons",
         "tells the class's outline and fill": "area under the ROC curve",
         "without it the label falls back": "rank of the label, 0 to 1",
         "reads what the one before wrote": "cosine",
         "looks where the class comes from": "rank correlation"}


MOST_ACTIVE = f"the path of {LABELS[ACTIVE]}"  # the control that can tell, first in tables
ADJUSTED = "* p at most 0.05 after Holm's correction over models and methods"


def verdicts_of(table: pd.DataFrame) -> pd.DataFrame:
    """The table with a ``verdict``: its own, where it was judged as a family, else by intervals."""
    return table if "verdict" in table else with_verdict(table)


def picked(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """The rows of a table in which columns have these values; no rows of an empty one."""
    for column, value in wanted.items():
        table = table[table[column] == value] if len(table) else table
    return table


def drawn(written: pd.DataFrame, overlaps: pd.DataFrame, detected: pd.DataFrame,
          evidence: pd.DataFrame, wired: pd.DataFrame, looked: pd.DataFrame,
          method: str = RECOMMENDED) -> pd.DataFrame:
    """What the main figure shows: ``panel, unit, data, model, value, low, high``, path neurons
    minus matched ones by one method."""
    own = {"method": method, "against": LIKE}
    tables = [picked(written, measure=writes.WRITES, **own),
              picked(overlaps, measure=writes.KEY, **own),
              picked(detected, measure=detects.BOTH, score=detects.PATCHES, **own),
              picked(evidence, blocks="last third", **own),
              picked(wired, route="direct", measure=wiring.SIZE, **own), picked(looked, **own)]
    columns = ["panel", "unit", "data", "model", "value", "low", "high", "verdict"]
    return pd.concat([verdicts_of(table).assign(panel=panel, unit=unit).reindex(columns=columns)
                      for (panel, unit), table in zip(SHOWN.items(), tables, strict=True)
                      if len(table)], ignore_index=True)


def finding(shown: pd.DataFrame) -> str:
    """The main figure in a sentence."""
    def told(place: int) -> str:
        own = shown[shown["panel"] == list(SHOWN)[place]]
        return f"{int((own['verdict'] == 'agrees').sum())} of {len(own)}"

    return (f"Path neurons write their class more than matched neurons in {told(0)} models, and "
            f"look more at where the class comes from in {told(5)}")


def depth_finding(depths: pd.DataFrame) -> str:
    """The figure by depth in a sentence, of ``writes.third_rows``."""
    own = picked(depths, method=RECOMMENDED)
    late, early = (picked(own, blocks=name)["verdict"] == "agrees"
                   for name in ("last third", "first third"))
    return (f"Path neurons are ahead of matched ones in the last third of the blocks in "
            f"{int(late.sum())} of {len(late)} models, in the first in {int(early.sum())}")


def effect_table(rows: pd.DataFrame, keys: Sequence[str], digits: int = 3) -> pd.DataFrame:
    """Effects for reading: a line for each model, method and value of ``keys``, the mean of path
    neurons and a column for each control with the difference, starred if it is shown; first of
    them the path of the most active neurons, if they are among them, because what stands last in a
    wide table is scrolled off."""
    named = rows.assign(method=[LABELS[name] for name in rows["method"]],
                        text=[starred(row, digits) for row in rows.to_dict("records")])
    index = ["data", "model", *keys, "method"]
    lines = []
    for key, own in named.groupby(index, sort=False):
        own = own.sort_values("against", key=lambda names: names != MOST_ACTIVE, kind="stable")
        lines.append({**dict(zip(index, key, strict=True)),
                      "path neurons": f"{own['path'].iloc[0]:.{digits}f}",
                      **{f"minus {row.against}": row.text for row in own.itertuples()}})
    return pd.DataFrame(lines).set_index(index)


def starred(row: Mapping[str, float | str], digits: int) -> str:
    """An effect with its interval, and a star if it is shown in its family (``ADJUSTED``)."""
    shown = row.get("verdict", "not shown") != "not shown"
    return report.interval_text(row, digits) + (" *" if shown else "")


def third_table(rows: pd.DataFrame) -> pd.DataFrame:
    """``writes.third_rows`` for reading: a column for each third."""
    named = rows.assign(method=[LABELS[name] for name in rows["method"]],
                        text=[starred(row, 2) for row in rows.to_dict("records")])
    order = pd.MultiIndex.from_frame(named[["data", "model", "method"]].drop_duplicates())
    wide = named.pivot(index=["data", "model", "method"], columns="blocks", values="text")
    return wide.reindex(order)[list(dict.fromkeys(rows["blocks"]))].rename_axis(columns=None)


def picture_text(rates: pd.DataFrame) -> pd.DataFrame:
    """``pictures.picture_rows`` for reading: a line for each model and reader, a column for each
    source."""
    named = rates.assign(text=[report.points_text(row, 0, "%", signed=False)
                               for row in rates.to_dict("records")])
    index = ["data", "model", "reader"]
    order = pd.MultiIndex.from_frame(named[index].drop_duplicates())
    wide = named.pivot(index=index, columns="source", values="text").reindex(order)
    return wide[[name for name in pictures.SOURCES if name in wide]].rename_axis(columns=None)


def picture_finding(rates: pd.DataFrame) -> str:
    """The figure of images in a sentence."""
    by = {name: picked(rates, reader=pictures.ITSELF, source=name)["value"]
          for name in (pictures.PATH, pictures.BEST, pictures.RANDOMLY)}
    path, best, random = (report.percent_span(own) for own in by.values())
    return (f"Images that drive all path neurons of a class are named as it for {path} of the "
            f"classes, those of its best value neuron for {best}, of random paths for {random}")


def cost_table(costs: pd.DataFrame) -> pd.DataFrame:
    """``concepts.loss_rows`` for reading: a column for each of the four losses."""
    named = costs.assign(column=[f"{row['removed']} removed: {row['probability of']}"
                                 for row in costs.to_dict("records")])
    index = ["data", "model", "paths"]
    order = pd.MultiIndex.from_frame(named[index].drop_duplicates())
    wide = named.pivot(index=index, columns="column", values="lost").reindex(order)
    return wide[list(dict.fromkeys(named["column"]))].rename_axis(columns=None)


def failure_table(rows: pd.DataFrame) -> pd.DataFrame:
    """``failures.failure_rows`` for reading."""
    return rows.assign(text=[report.interval_text(row, 3) for row in rows.to_dict("records")]
                       ).set_index(["data", "model", "measure", "label"])[
        [failures.RIGHT, failures.WRONG, "text", "images"]].rename(columns={
            failures.RIGHT: "images classified rightly", failures.WRONG: "wrongly",
            "text": "difference", "images": "images of each kind"})


def dissociation_table(rows: pd.DataFrame) -> pd.DataFrame:
    """``concepts.dissociation_rows`` for reading: a column for each kind of paths."""
    named = rows.assign(text=[report.interval_text(row, 3) for row in rows.to_dict("records")],
                        measure=[{"both": "both, summed", "shared": "blocks with one neuron"}.get(
                            name, f"{name}: own path minus the other") for name in rows["measure"]])
    order = pd.MultiIndex.from_frame(named[["data", "model", "measure"]].drop_duplicates())
    wide = named.pivot(index=["data", "model", "measure"], columns="paths", values="text")
    return wide.reindex(order)[list(dict.fromkeys(rows["paths"]))].rename_axis(columns=None)


def planted_table(rows: pd.DataFrame) -> pd.DataFrame:
    """``planted.planted_rows`` for reading."""
    text = [f"{round(row.value * row.networks)} of {row.networks}" for row in rows.itertuples()]
    tokens = {"cls": "class token", "patch": "patch tokens"}
    return rows.assign(text=text, scope=[tokens[name] for name in rows["scope"]]).set_index(
        ["kind", "scope", "measure"])[["path", "other", "difference", "expected", "text"]].rename(
            columns={"path": "planted neurons", "other": "matched neurons",
                     "expected": "planted neurons are", "text": "networks where this is found"})


def seed_table(rows: pd.DataFrame) -> pd.DataFrame:
    """``seeds.seed_rows`` for reading."""
    return rows.assign(text=[starred(row, 3) for row in rows.to_dict("records")]
                       ).set_index(["data", "model", "measure"])[["text", "models"]].rename(
        columns={"text": "path neurons minus matched neurons", "models": "trained models"})


def tally(rows: pd.DataFrame, noun: str = "models", **wanted: str) -> str:
    """How many effects of a table are above zero, as a sentence goes on with it; a dash without
    any."""
    own = picked(rows, **wanted)
    own = own.dropna(subset="value") if len(own) else own
    return report.in_words(list(verdicts_of(own)["verdict"]), noun) if len(own) else "–"


def glued(written: pd.DataFrame, overlaps: pd.DataFrame, detected: pd.DataFrame,
          evidence: pd.DataFrame, wired: pd.DataFrame, looked: pd.DataFrame, leads: pd.DataFrame,
          rates: pd.DataFrame, apart: pd.DataFrame, failed: pd.DataFrame, known: pd.DataFrame,
          method: str = RECOMMENDED) -> Mapping[str, str]:
    """What the text of the chapter says in numbers."""
    matched = {"method": method, "against": LIKE}
    active = {"method": method, "against": MOST_ACTIVE}
    own = picked(written, measure=writes.WRITES, **matched)
    named = picked(rates, reader=pictures.ITSELF)
    right = int((known["value"] == 1).sum())
    found = {
        "writes": tally(own), "writes span": report.percent_span(own["path"]),
        "matched span": report.percent_span(own["other"]),
        "writes here": tally(written, measure=writes.WRITES, method=method, against=LIKE_HERE),
        "writes active": tally(written, measure=writes.WRITES, **active),
        "key": tally(overlaps, measure=writes.KEY, **matched),
        "key active": tally(overlaps, measure=writes.KEY, **active),
        "key span": report.percent_span(picked(overlaps, measure=writes.KEY, **matched)["path"]),
        **{name: tally(detected, measure=detects.BOTH, score=score, method=method, against=against)
           for name, score, against in (
               ("detects", detects.PATCHES, LIKE), ("detects here", detects.PATCHES, LIKE_HERE),
               ("tells", detects.WHOLE, LIKE), ("tells here", detects.WHOLE, LIKE_HERE))},
        "detects colour": tally(detected, measure=detects.IRRELEVANT, score=detects.PATCHES,
                                **matched),
        "tells colour": tally(detected, measure=detects.IRRELEVANT, score=detects.WHOLE,
                              **matched),
        "evidence": tally(evidence, blocks="last third", **matched),
        "wires": tally(wired, route="direct", measure=wiring.SIZE, **matched),
        "wires active": tally(wired, route="direct", measure=wiring.SIZE, **active),
        "wires attention": tally(wired, route="attention", measure=wiring.SIZE, **matched),
        "looks": tally(looked, method=method, against=looks.OTHER_MAP),
        "pictures": tally(leads, reader=pictures.ITSELF, against=pictures.BEST),
        "transfer": tally(leads, reader=pictures.OTHERS, against=pictures.BEST),
        "path named": report.percent_span(picked(named, source=pictures.PATH)["value"]),
        "best named": report.percent_span(picked(named, source=pictures.BEST)["value"]),
        "outline": tally(apart, measure="outline", paths="outline and fill"),
        "fill": tally(apart, measure="fill", paths="outline and fill"),
        "apart dealt": tally(apart, measure="both", paths="beyond classes dealt anew"),
        "fails": tally(failed, measure=writes.WRITES, label=failures.TRUE),
        "known": f"{right} of {len(known)}"}
    return found | {f"agree {name}": told.partition(" models")[0] for name, told in found.items()
                    if " models" in told}
