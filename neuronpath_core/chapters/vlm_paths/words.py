"""Chapter 34 in words: its tables for reading.

Tables are those of the modules beside this one, with ``data`` and ``model``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.vlm_paths.spared import MEAN, PAPER, WHOLE, ZERO
from neuronpath_core.stats import report

DATA = "scenes"
FILLS = {ZERO: "zero", MEAN: "its mean"}
# where the decoder's blocks are silent, and what columns of such a place begin with
PLACES = {"image tokens": "image", "predicting position": "last"}


def stacked(models: Sequence[str], rows_of: Callable[[str], pd.DataFrame | Mapping]
            ) -> pd.DataFrame:
    """The tables of all models below one another, with ``data`` and ``model`` in front."""
    parts = []
    for name in models:
        found = rows_of(name)
        table = pd.DataFrame([found]) if isinstance(found, Mapping) else found
        table = table.drop(columns=["data", "model"], errors="ignore")
        table.insert(0, "data", DATA)
        table.insert(1, "model", name)
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def _table(rows: Iterable[Mapping], keys: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(list(rows)).set_index(list(keys))


def _number(value: float, digits: int, factor: float = 1) -> str:
    return "–" if pd.isna(value) else f"{factor * value:.{digits}f}"


def curves(accuracy: pd.DataFrame, model: str, total: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of one model the rows of ``spared.table_rows`` with zeros, with ``share`` of the ``total``
    neurons, and the row of the whole model."""
    own = accuracy[(accuracy["model"] == model) & (accuracy["fill"] == ZERO)]
    own = own.assign(share=own["neurons"] / total)
    whole = own["rule"] == WHOLE
    return own[~whole], own[whole]


def pruning_table(table: pd.DataFrame, total: int) -> pd.DataFrame:
    """``captions.scored`` for reading.

    Args:
        table: of the models.
        total: neurons of a decoder.
    """
    return _table([{
        "model": row["model"], "neurons taken away": row["rule"],
        "p of the unknown type, at least": _number(row["level"], 1),
        "set to": "–" if row["rule"] == WHOLE else FILLS[row["fill"]],
        "neurons": _number(row["neurons"], 0), "% of all": _number(row["neurons"], 1, 100 / total),
        "questions answered, %": report.points_text(row, 1, "", signed=False),
        "captions, 0 to 5": _number(row["score"], 2),
        "LLaVA-1.5, % of neurons": _number(_share_of_paper(row), 1, 100),
        "LLaVA-1.5, %": _number(row["paper"], 1),
        "LLaVA-1.5, score": _number(row["paper_score"], 2)}
        for row in table.to_dict("records")],
        ["model", "p of the unknown type, at least", "neurons taken away"])


def _share_of_paper(row: Mapping) -> float:
    """The share of its neurons that LLaVA-1.5 lacks in the paper's row of the same rule and level,
    NaN where it has none."""
    if pd.isna(row["paper"]):
        return float("nan")
    return 0.0 if row["rule"] == WHOLE else PAPER[row["level"]][0]


def gain_table(gains: pd.DataFrame) -> pd.DataFrame:
    """``spared.gain_rows`` for reading."""
    return _table([{
        "model": row["model"], "p, at least": row["level"], "set to": FILLS[row["fill"]],
        "against": row["against"], "neurons": row["neurons"],
        "answers kept, unknown minus others, points": report.points_text(row, 1, "")}
        for row in gains.to_dict("records")], ["model", "p, at least", "set to", "against"])


def score_table(scores: pd.DataFrame) -> pd.DataFrame:
    """``captions.score_rows`` for reading."""
    return _table([{
        "model": row["model"], "p, at least": row["level"], "against": row["against"],
        "scenes": row["scenes"], "score without unknown neurons": _number(row["own"], 2),
        "without the others": _number(row["other"], 2),
        "difference": report.interval_text(row, 2)}
        for row in scores.to_dict("records")], ["model", "p, at least", "against"])


def type_table(types: pd.DataFrame) -> pd.DataFrame:
    """``spared.type_rows`` for reading."""
    return _table([{
        "model": row["model"], "type": row["type"], "neurons": round(row["neurons"]),
        "mean activation": row["mean"], "active at, % of tokens": 100 * row["active"],
        "norm of the value vector": row["norm"],
        "mean influence, points of probability": f"{100 * row['influence']:.3f}"}
        for row in types.to_dict("records")], ["model", "type"])


def lost_table(lost: pd.DataFrame) -> pd.DataFrame:
    """``answers.lost_rows`` for reading."""
    return _table([{
        "model": row["model"], "word": row["kind"], "removed instead": row["against"],
        "words": row["words"], "probability of the word, %": _number(row["chance"], 1, 100),
        "lost without its path": _number(row["own"], 1, 100),
        "lost without the other": _number(row["other"], 1, 100),
        "difference, points": report.points_text(row, 1, "")}
        for row in lost.to_dict("records")], ["model", "word", "removed instead"])


def part_table(parts: pd.DataFrame) -> pd.DataFrame:
    """``answers.part_rows`` for reading."""
    return _table([{
        "model": row["model"], "word": row["kind"], "removed": row["part"], "words": row["words"],
        "lost, points of probability": report.points_text(row, 1, "")}
        for row in parts.to_dict("records")], ["model", "word", "removed"])


def layer_table(layers: pd.DataFrame) -> pd.DataFrame:
    """``answers.layer_rows`` of the decoder for reading, a row for each block."""
    rows: dict[tuple, dict] = {}
    for row in layers[layers["part"] == "decoder"].to_dict("records"):
        key = row["model"], row["kind"], row["layer"]
        rows.setdefault(key, {"model": key[0], "word": key[1], "block": key[2],
                              "words": row["words"], **{f"at the {place}": "–" for place in PLACES}
                              })[f"at the {row['place']}"] = report.points_text(row, 1, "")
    return _table(rows.values(), ["model", "word", "block"])


def total_table(totals: pd.DataFrame) -> pd.DataFrame:
    """``answers.total_row`` of kinds of words for reading."""
    return _table([{
        "model": row["model"], "word": row["kind"], "words": row["words"],
        **{f"sum at the {place}": report.points_text(own_row(row, name), 2, "")
           for place, name in PLACES.items()},
        "difference, points": report.points_text(row, 2, ""),
        **{f"mean block at the {place}": _number(row[f"{name}_layer"], 1)
           for place, name in PLACES.items()},
        "difference, % of the depth": report.points_text(own_row(row, "depth"), 0, "")}
        for row in totals.to_dict("records")], ["model", "word"])


def own_row(row: Mapping, name: str) -> dict[str, float]:
    """The value and interval that a row has under a name of its own."""
    return {"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]}


def neuron_table(multi: pd.DataFrame) -> pd.DataFrame:
    """``answers.multi_rows`` for reading."""
    return _table([{
        "model": row["model"], "word": row["kind"], "words": row["words"],
        "multi-modal, % of the path": _number(row["own"], 0, 100),
        "of units as active": _number(row["other"], 0, 100),
        "of all neurons": _number(row["all"], 0, 100),
        "difference, points": report.points_text(row, 0, "")}
        for row in multi.to_dict("records")], ["model", "word"])


def colour_table(colours: pd.DataFrame) -> pd.DataFrame:
    """``answers.colour_rows`` for reading."""
    return _table([{
        "model": row["model"], "word": row["kind"], "neurons": row["part"],
        "against": row["against"], "words": row["words"], "own": row["own"],
        "control": row["other"], "difference": report.interval_text(row, 3)}
        for row in colours.to_dict("records")], ["model", "word", "neurons", "against"])


def shared_table(shared: pd.DataFrame) -> pd.DataFrame:
    """``answers.shared_rows`` for reading."""
    return _table([{
        "model": row["model"], "neurons": row["part"], "against": row["against"],
        "words": row["words"],
        "shared by answer and caption, % of the layers": _number(row["own"], 0, 100),
        "shared with the control": _number(row["other"], 0, 100),
        "difference, points": report.points_text(row, 0, "")}
        for row in shared.to_dict("records")], ["model", "neurons", "against"])
