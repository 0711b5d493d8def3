"""What a model's captions still say without neurons of unknown type, and without as many others."""

from __future__ import annotations

import numpy as np
import pandas as pd

from neuronpath_core.chapters.vlm_paths import spared
from neuronpath_core.chapters.vlm_study import VlmStudy
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.vlm_rows import Row, stored_rows
from neuronpath_core.vlm import abilities, pruning

MODULES = (*spared.MODULES, "neuronpath_core.chapters.vlm_paths.captions")
OWN = "unknown"
AGAINST = ("random", "matched")  # captions are slow to decode: not those of the other rules


def runs(draws: int) -> list[spared.Run]:
    """The prunings whose captions are scored: with zeros, of every level and every draw."""
    return [run for run in spared.runs(draws)
            if run.fill == spared.ZERO and run.rule in (OWN, *AGAINST)]


def caption_rows(study: VlmStudy, name: str, sizes: spared.Sizes) -> pd.DataFrame:
    """A row for every pruning of :func:`runs`, the whole model first: ``rule, level, draw, fill``
    and ``scores``, from 0 to 5, of each scene's caption."""
    model, every = study.model(name), [None, *runs(sizes.draws)]
    scenes = study.scenes(sizes.captions)
    neurons = spared.neurons_of(study, name, sizes)
    made: dict[int, np.ndarray] = {}

    def compute(rows: range) -> list[Row]:
        for number in {row // len(scenes) for row in rows} - set(made):
            with pruning.pruned(model, spared.gone(neurons, every[number])):
                made[number] = abilities.caption_scores(scenes, abilities.captions(model, scenes))
        return [(row % len(scenes), float(made[row // len(scenes)][row % len(scenes)]), 0, [0])
                for row in rows]

    table = stored_rows(study.results_folder, "pruned_captions", name, model,
                        {"dataset": study.settings["dataset"], "scenes": study.n_scenes,
                         **vars(sizes)}, len(every) * len(scenes), compute, len(scenes), MODULES)
    whole = spared.Run(spared.WHOLE, float("nan"))
    scores = table["score"].to_numpy().reshape(len(every), len(scenes))
    return pd.DataFrame([{**vars(run or whole), "scores": own}
                         for run, own in zip(every, scores, strict=True)])


def scored(accuracy: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """``spared.table_rows`` with ``score``, the mean over draws and scenes of the captions; NaN
    where they are not scored."""
    means = {(rule, str(level), fill): float(np.mean([*own["scores"]])) for (rule, level, fill), own
             in found.groupby(["rule", "level", "fill"], dropna=False)}
    return accuracy.assign(score=[
        means.get((row["rule"], str(row["level"]), row["fill"]), np.nan)
        for row in accuracy.to_dict("records")])


def score_rows(found: pd.DataFrame) -> pd.DataFrame:
    """By how much captions score more without neurons of unknown type than without as many others:
    ``level, against, own, other, value, low, high, scenes``; the mean over draws subtracted scene
    by scene."""
    rows = []
    for level, each in found[found["rule"] != spared.WHOLE].groupby("level", sort=False):
        scores = {rule: np.mean([*own["scores"]], axis=0) for rule, own in each.groupby("rule")}
        for other in AGAINST:
            gain = scores[OWN] - scores[other]
            rows.append({"level": level, "against": other, "own": scores[OWN].mean(),
                         "other": scores[other].mean(), "scenes": len(gain),
                         **interval_row(gain)})
    return pd.DataFrame(rows)
