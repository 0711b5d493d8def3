"""Chapter 34 in sentences: its findings, and the numbers of its prose.

Tables are those of the modules beside this one, with ``data`` and ``model``.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from neuronpath_core.chapters.claims import turned
from neuronpath_core.chapters.vlm_paths.answers import CONTROLS
from neuronpath_core.chapters.vlm_paths.spared import PAPER, ZERO
from neuronpath_core.chapters.vlm_paths.walked import AS_ACTIVE, SAID
from neuronpath_core.chapters.vlm_paths.words import PLACES, own_row
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.vlm.pruning import LEAST


def models_said(names: Sequence[str]) -> str:
    """``one training``, or ``3 trainings``."""
    return "one training" if len(names) == 1 else f"{len(names)} trainings"


def blocks_shown(layers: pd.DataFrame, model: str, place: str) -> str:
    """``block 8 (+12.6 [+6.0, +19.2])``: the decoder's blocks without which answers of one model
    are shown to lose probability at a place, in points; ``no block`` where there are none."""
    rows = layers[(layers["model"] == model) & (layers["kind"] == SAID["question"])
                  & (layers["place"] == place) & (layers["low"] > 0)]
    return ", ".join(f"block {row['layer']} ({report.points_text(row, 1, '')})"
                     for row in rows.to_dict("records")) or "no block"


def gains_said(gains: pd.DataFrame, against: str, model: str) -> tuple[str, str]:
    """Of one model, over all levels and fillings, the smallest and the largest difference to one
    rule in points, ``-1.7 to +4.6``, and in how many comparisons it is shown."""
    rows = gains[(gains["model"] == model) & (gains["against"] == against)]
    return report.span_text(100 * rows["value"], 1), _tally(rows)


def scores_said(scores: pd.DataFrame, against: str, model: str) -> tuple[str, str]:
    """By how much captions of one model score worse without unknown neurons than without others:
    the smallest and the largest difference over levels, and in how many it is shown."""
    rows = turned(scores[(scores["model"] == model) & (scores["against"] == against)])
    return report.span_text(rows["value"], 2), _tally(rows)


def _tally(rows: pd.DataFrame) -> str:
    return report.in_words(list(with_verdict(rows)["verdict"]), "comparisons")


def paper_gaps(gains: pd.DataFrame, model: str) -> tuple[str, str]:
    """``1.2 to 4.6`` and ``1 of 4``: by how many points more LLaVA-1.5 answers in the paper without
    neurons of unknown type than without random ones, over levels, and at how many of them that lies
    within the interval of one model here."""
    gaps = {level: own - other for level, (_, own, _, other, _) in PAPER.items()}
    rows = gains[(gains["model"] == model) & (gains["against"] == "random")
                 & (gains["fill"] == ZERO)].to_dict("records")
    inside = sum(row["low"] <= gaps[row["level"]] / 100 <= row["high"] for row in rows)
    return f"{min(gaps.values()):.1f} to {max(gaps.values()):.1f}", f"{inside} of {len(rows)}"


def one_lost(lost: pd.DataFrame, model: str, kind: str, against: str) -> pd.Series:
    """The row of ``answers.lost_rows`` of one model, kind of word and control."""
    rows = lost[(lost["model"] == model) & (lost["kind"] == SAID[kind])
                & (lost["against"] == CONTROLS[against])]
    return rows.iloc[0]


def finding(gains: pd.DataFrame, layers: pd.DataFrame, model: str) -> str:
    """The first figure's title: what pruning shows against matched neurons, and which blocks are
    shown to be missed where."""
    told, _ = gains_said(gains, "matched", model)
    image, last = (blocks_shown(layers, model, place) for place in PLACES)
    return (f"Questions answered without unknown neurons, minus without matched ones: {told} "
            f"points; a silent block is shown to cost an answer, at the predicting position, "
            f"{last}, at the image tokens, {image}")


def lost_finding(lost: pd.DataFrame, model: str) -> str:
    """The second figure's title: what the path of an answer takes, and its hardest control."""
    rows = lost[(lost["model"] == model) & (lost["kind"] == SAID["question"])]
    hardest = rows.loc[rows["value"].idxmin()]
    own, other = (f"{100 * hardest[name]:.1f}" for name in ("own", "other"))
    return (f"The path of an answer takes {own} points of probability with it; nearest to it, "
            f"{hardest['against']}: {other}")


def prose(model: str, gains: pd.DataFrame, scores: pd.DataFrame, lost: pd.DataFrame,
          layers: pd.DataFrame, totals: pd.DataFrame) -> dict[str, str]:
    """What the chapter's prose takes from its tables, of one model: name -> text."""
    other, forced = (one_lost(lost, model, *which) for which in (
        ("question", "other image"), ("forced", "most active")))
    total = totals[(totals["model"] == model) & (totals["kind"] == SAID["question"])].iloc[0]
    found = {
        "own lost": f"{100 * other['own']:.1f}",
        "active lost": f"{100 * one_lost(lost, model, 'question', AS_ACTIVE)['other']:.1f}",
        "other image lost": f"{100 * other['other']:.1f}",
        "forced lead": report.points_text(forced, 1, "points"),
    }
    found["paper gaps"], found["gaps inside"] = paper_gaps(gains, model)
    for place, name in PLACES.items():
        found[f"{name} blocks"] = blocks_shown(layers, model, place)
        found[f"{name} total"] = report.points_text(own_row(total, name), 1, "points")
    for rule in ("random", "matched", LEAST):
        found[f"kept {rule}"], found[f"tally {rule}"] = gains_said(gains, rule, model)
    for rule in ("random", "matched"):
        found[f"captions {rule}"], found[f"tally captions {rule}"] = scores_said(scores, rule,
                                                                                model)
    return found
