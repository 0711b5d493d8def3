"""What the models of Chapter 32 answer: one question a scene, as their gates ask, and all of them.

A scene with three objects has nine questions about objects, one with a single object three.  Asked
one question each, scenes of one object, which are easier, weigh as much as the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from neuronpath_core.chapters.vlm_study import VlmStudy
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import percentile_row
from neuronpath_core.study.vlm_rows import Row, stored_rows
from neuronpath_core.vlm.gates import is_right
from neuronpath_core.vlm.questions import TYPES, chance, one_each, questions
from neuronpath_core.vlm.scenes import Scene
from neuronpath_core.vlm.type_draws import scene_weights

SCENES = 420  # sixty of each kind of question when one is asked of each scene
DRAWS = 1000
PART = 42  # scenes of a part
MOST = 14  # questions of a scene, which has at most three objects
UNASKED = -1
MODULES = ("neuronpath_core.vlm.gates", "neuronpath_core.vlm.questions")
ONE, EVERY = "one a scene", "all of a scene"
OF_OBJECTS = ("colour", "fill", "place", "presence")


def answers(study: VlmStudy, name: str, count: int = SCENES) -> pd.DataFrame:
    """Every question about the study's first scenes: ``scene, objects`` (how many it has), ``type,
    answer, one`` (whether it is asked where one is asked of each scene) and ``right``, whether the
    model gives the very answer; from the store, or asked and kept there.

    Args:
        study: its held-out scenes.
        name: of the model.
        count: scenes, at most the study's.
    """
    scenes = study.scenes(min(count, study.n_scenes))
    model = study.model(name)

    def compute(rows: range) -> Sequence[Row]:
        part = scenes[rows.start:rows.stop]
        asked = [(scene, question) for scene in part for question in questions(scene)]
        right = iter(is_right(model.model, [scene for scene, _ in asked],
                              [(question.text, question.answer) for _, question in asked]))
        flags = [[int(next(right).all()) for _ in questions(scene)] for scene in part]
        return [(scene.index, float(np.mean(own)), len(own), own + [UNASKED] * (MOST - len(own)))
                for scene, own in zip(part, flags, strict=True)]

    table = stored_rows(study.results_folder, "answers", name, model,
                        {"dataset": study.settings["dataset"], "scenes": len(scenes)},
                        len(scenes), compute, PART, MODULES)
    return asked_rows(scenes, [list(row[:steps]) for row, steps in
                               zip(table["neurons"], table["steps"], strict=True)])


def asked_rows(scenes: Sequence[Scene], right: Sequence[Sequence[int]]) -> pd.DataFrame:
    """The rows of :func:`answers` from whether each question of each scene is answered."""
    rows = []
    for place, (scene, single, flags) in enumerate(zip(scenes, one_each(scenes), right,
                                                       strict=True)):
        rows += [{"scene": place, "objects": len(scene.things), "type": question.type,
                  "answer": question.answer, "one": question == single, "right": bool(flag)}
                 for question, flag in zip(questions(scene), flags, strict=True)]
    return pd.DataFrame(rows)


def way_rows(asked: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Accuracy by kind of question, ``"all"`` kinds first, and by way of asking: ``type, way,
    value, low, high`` over scenes, ``chance``, within each kind the most frequent answer,
    ``questions`` and ``scenes``; and under the way ``"difference"`` how much more is right when one
    question is asked of each scene."""
    rows = []
    weights = scene_weights(int(asked["scene"].max()) + 1, DRAWS, seed)
    for kind in ("all", *TYPES):
        own = asked if kind == "all" else asked[asked["type"] == kind]
        draws = {}
        for way, some in ((ONE, own[own["one"]]), (EVERY, own)):
            if some.empty:
                continue
            draws[way] = _drawn(some, weights)
            rows.append({"type": kind, "way": way, **percentile_row(some["right"].mean(),
                                                                    draws[way]),
                         "chance": _chance(some), "questions": len(some),
                         "scenes": some["scene"].nunique()})
        if len(draws) == 2:
            gap = own.loc[own["one"], "right"].mean() - own["right"].mean()
            rows.append({"type": kind, "way": "difference", **percentile_row(
                gap, draws[ONE] - draws[EVERY]), "chance": np.nan, "questions": len(own),
                "scenes": own["scene"].nunique()})
    return pd.DataFrame(rows)


def object_rows(asked: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Accuracy of all questions about objects by how many a scene has: ``type, objects, value, low,
    high`` over scenes, ``chance, questions, scenes``."""
    rows = []
    weights = scene_weights(int(asked["scene"].max()) + 1, DRAWS, seed)
    for (kind, objects), own in asked.groupby(["type", "objects"]):
        if kind in OF_OBJECTS:
            rows.append({"type": kind, "objects": int(objects), **percentile_row(
                own["right"].mean(), _drawn(own, weights)), "chance": _chance(own),
                "questions": len(own), "scenes": own["scene"].nunique()})
    return pd.DataFrame(rows)


def _drawn(asked: pd.DataFrame, weights: np.ndarray) -> np.ndarray:
    """The share of right answers with each scene counted as often as it was drawn; of a draw
    without any such question the share of all."""
    right, count = (np.bincount(asked["scene"], of, weights.shape[1])
                    for of in (asked["right"].astype(float), np.ones(len(asked))))
    total = weights @ count
    return np.divide(weights @ right, total, out=np.full(len(total), asked["right"].mean()),
                     where=total > 0)


def _chance(asked: pd.DataFrame) -> float:
    return chance(list(asked[["type", "answer"]].itertuples(index=False)))


def way_table(ways: pd.DataFrame) -> pd.DataFrame:
    """:func:`way_rows` with ``model``, for reading."""
    rows = []
    for (model, kind), own in ways.groupby(["model", "type"], sort=False):
        of = own.set_index("way").to_dict("index")
        row = {"model": model, "kind of question": kind}
        for way in (ONE, EVERY):
            if way in of:
                row[f"{way}, %"] = report.points_text(of[way], 1, "", signed=False)
                row[f"{way}, who never looks, %"] = f"{100 * of[way]['chance']:.1f}"
        if "difference" in of:
            row["one minus all, points"] = report.points_text(of["difference"], 1, "")
        row["questions"] = of[EVERY]["questions"]
        rows.append(row)
    return pd.DataFrame(rows).fillna("–").set_index(["model", "kind of question"])


def object_table(objects: pd.DataFrame) -> pd.DataFrame:
    """:func:`object_rows` with ``model``, for reading."""
    rows = []
    for (model, kind), own in objects.groupby(["model", "type"], sort=False):
        rows.append({"model": model, "kind of question": kind, **{
            f"of {row['objects']}, %": report.points_text(row, 1, "", signed=False)
            for row in own.to_dict("records")}})
    return pd.DataFrame(rows).fillna("–").set_index(["model", "kind of question"])


def said(ways: pd.DataFrame, way: str, models: Sequence[str]) -> str:
    """The accuracy of all kinds of question by one way of asking, from least to most over
    models."""
    own = ways[(ways["type"] == "all") & (ways["way"] == way) & ways["model"].isin(list(models))]
    return report.percent_span(list(own["value"]))
