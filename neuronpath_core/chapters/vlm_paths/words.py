"""Chapter 34 in words: its findings, and its tables for reading.

Tables are those of the modules beside this one, with ``data`` and ``model``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.vlm_paths.spared import MEAN, PAPER, WHOLE, ZERO
from neuronpath_core.chapters.vlm_paths.walked import SAID
from neuronpath_core.stats import report

DATA = "scenes"
FILLS = {ZERO: "zero", MEAN: "its mean"}


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


def models_said(names: Sequence[str]) -> str:
    """``one training``, or ``3 trainings``."""
    return "one training" if len(names) == 1 else f"{len(names)} trainings"


def pruning_table(table: pd.DataFrame, total: int) -> pd.DataFrame:
    """``spared.table_rows`` for reading.

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


def crossing_table(crossing: pd.DataFrame) -> pd.DataFrame:
    """``answers.crossing_row`` of kinds of words for reading."""
    return _table([{
        "model": row["model"], "word": row["kind"], "words": row["words"],
        "mean block at image tokens": row["image"],
        "mean block at the predicting position": row["last"],
        "difference, % of the depth": report.points_text(row, 0, "")}
        for row in crossing.to_dict("records")], ["model", "word"])


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


def first_gain(gains: pd.DataFrame, against: str, model: str) -> pd.Series:
    """Of one model the comparison at the lowest level, which takes the most neurons away, with
    zeros."""
    rows = gains[(gains["model"] == model) & (gains["against"] == against)
                 & (gains["fill"] == ZERO)]
    return rows.sort_values("level").iloc[0]


def finding(gains: pd.DataFrame, crossing: pd.DataFrame, model: str) -> str:
    """The first figure's title: what pruning shows against matched neurons, and where words cross
    to the predicting position."""
    told = report.points_text(first_gain(gains, "matched", model), 1)
    row = crossing[(crossing["model"] == model)
                   & (crossing["kind"] == SAID["question"])].iloc[0]
    return (f"Questions answered without unknown neurons, minus without matched ones: {told}; "
            f"image tokens work in block {row['image']:.1f}, the answer's position in block "
            f"{row['last']:.1f} of the decoder (means)")


def lost_finding(lost: pd.DataFrame, model: str) -> str:
    """The second figure's title: what the path of an answer takes, and its hardest control."""
    rows = lost[(lost["model"] == model) & (lost["kind"] == SAID["question"])]
    hardest = rows.loc[rows["value"].idxmin()]
    own, other = (f"{100 * hardest[name]:.1f}" for name in ("own", "other"))
    return (f"The path of an answer takes {own} points of probability with it; nearest to it, "
            f"{hardest['against']}: {other}")
