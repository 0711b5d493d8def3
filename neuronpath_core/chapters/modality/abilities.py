"""What the models of Chapter 32 can do, as it was measured when they were trained."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from neuronpath_core.chapters.vlm_study import VlmStudy
from neuronpath_core.study.vlm_reading import GENERATED
from neuronpath_core.vlm.abilities import caption_scores
from neuronpath_core.vlm.gates import passed

RECORD = "weights.json"


def ability_rows(study: VlmStudy) -> pd.DataFrame:
    """Of every model whose record lies beside its weights: ``model``, the shares ``captions`` of
    attribute words, ``questions`` and ``other``, of the same questions with another scene's image,
    ``chance``, ``scenes``, how many it was measured on, and ``fails``, the gates that do not
    hold."""
    rows = []
    for name in study.models:
        file = study.weights(name)
        found = _record(file.with_name(RECORD)).get(file.name, {})
        if "gates" not in found:
            continue
        gates = found["gates"]
        fails = [gate for gate, holds in passed(gates).items() if not holds]
        rows.append({"model": name, "captions": gates["captions"]["all"],
                     "questions": gates["questions"]["all"], "other": gates["other_image"],
                     "chance": gates["chance"], "scenes": found["held_out_scenes"],
                     "fails": ", ".join(fails)})
    return pd.DataFrame(rows, columns=["model", "captions", "questions", "other", "chance",
                                       "scenes", "fails"])


def own_captions(study: VlmStudy, name: str) -> float:
    """The mean score, from 0 to 5, of the captions that a model gives the study's scenes: five
    times F1 of the pairs of object and attribute."""
    return float(caption_scores(study.scenes(), study.captions(GENERATED, name)).mean())


def _record(file: Path) -> dict:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def ability_table(rows: pd.DataFrame) -> pd.DataFrame:
    """:func:`ability_rows` for reading."""
    return pd.DataFrame([{
        "model": row["model"], "attribute words of captions, %": f"{100 * row['captions']:.1f}",
        "questions, %": f"{100 * row['questions']:.1f}",
        "with another scene's image, %": f"{100 * row['other']:.1f}",
        "who never looks, %": f"{100 * row['chance']:.1f}", "scenes": row["scenes"],
        "what it was to reach and does not": row["fails"] or "–"}
        for row in rows.to_dict("records")], columns=None if len(rows) else ["model"]
    ).set_index("model")
