"""What a model can still do without neurons of unknown type, and without as many others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.vlm_study import VlmStudy
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.vlm_rows import Row, stored_rows
from neuronpath_core.vlm import abilities, pruning
from neuronpath_core.vlm.modality import TYPES, type_shares
from neuronpath_core.vlm.model import pixel_values
from neuronpath_core.vlm.path_search import unit_attributions
from neuronpath_core.vlm.path_target import VlmTarget
from neuronpath_core.vlm.questions import one_each

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

MODULES = ("neuronpath_core.vlm.pruning", "neuronpath_core.vlm.abilities",
           "neuronpath_core.vlm.path_target", "neuronpath_core.chapters.vlm_paths.spared")
# p_u of the paper's Table 3 with what its rows say: share pruned, accuracy and score of LLaVA-1.5
# without these neurons, and without as many at random
PAPER = {0.9: (0.032, 64.1, 3.40, 62.9, 3.37), 0.8: (0.064, 61.3, 3.37, 57.7, 3.24),
         0.7: (0.102, 60.3, 3.32, 55.9, 3.18), 0.6: (0.146, 58.9, 3.26, 54.3, 3.14)}
PAPER_WHOLE = (65.6, 3.46)
ZERO, MEAN = "zero", "mean"
WHOLE = "whole model"
INFLUENCE_STEPS = 2  # Gauss-Legendre nodes
MOST = 0.5  # of the neurons, of which a rule by level would leave too few to compare with


@dataclass(frozen=True)
class Run:
    """One pruning: which rule at which of the paper's levels, which draw, and what is put in the
    neurons' place."""

    rule: str
    level: float
    draw: int = 0
    fill: str = ZERO


@dataclass(frozen=True)
class Sizes:
    """How much is measured: questions answered, captions scored, questions of the influence, draws
    of each rule that draws."""

    questions: int
    captions: int
    influence: int
    draws: int


def neurons_of(study: VlmStudy, name: str, sizes: Sizes) -> pruning.Neurons:
    """What rules of pruning choose by: types and mean activations of the study's records, norms of
    value vectors, and mean sizes of complete attributions of right answers to questions."""
    records = study.records(name)
    return pruning.Neurons(study.types(name), records.layers, records.mean,
                           pruning.value_norms(study.model(name)),
                           influence(study, name, sizes.influence))


def influence(study: VlmStudy, name: str, count: int) -> Float[np.ndarray, "neuron"]:
    """For every neuron of the decoder, moved at all tokens, the mean over questions of the size of
    its complete attribution for the first word of the right answer."""
    model, scenes = study.model(name), study.scenes(count)

    def compute(rows: range) -> list[Row]:
        found = _attributed(model, scenes)
        return [(0, float(found[row]), count, [0]) for row in rows]

    total = sum(half.width for half in model.halves["decoder"])
    table = stored_rows(study.results_folder, "influence", name, model,
                        {"dataset": study.settings["dataset"], "questions": count}, total, compute,
                        total, MODULES)
    return table["score"].to_numpy()


def _attributed(model, scenes) -> np.ndarray:
    asked = one_each(scenes)
    total = 0.0
    for request in dict.fromkeys(question.text for question in asked):
        own = [place for place, question in enumerate(asked) if question.text == request]
        target = VlmTarget(model, request, at="all")
        images = pixel_values([scenes[place] for place in own]).to(target.device, target.dtype)
        words = target.numbers([asked[place].answer.split()[0] for place in own])
        found = unit_attributions(target, images, words, INFLUENCE_STEPS)
        decoder = [found[:, index, :layer.units] for index, layer in enumerate(target.layers)
                   if index >= target.tower_layers]
        total = total + np.concatenate([each.abs().sum(0).double().cpu().numpy()
                                        for each in decoder])
    return total / len(asked)


def taken(neurons: pruning.Neurons, level: float) -> Bool[np.ndarray, "neuron"]:
    """Neurons whose probability of the unknown type is at least ``level``; where these are none, or
    more than half of all, the surest ones, of the paper's share of the neurons."""
    found = pruning.at_least(neurons, level)
    if 0 < found.sum() <= MOST * len(found):
        return found
    count = max(1, round(PAPER[level][0] * len(found)))
    return pruning.surest(neurons, count, "unknown", np.random.default_rng(0))


def runs(draws: int) -> list[Run]:
    """Every pruning: all rules with zeros, those that draw so often, and the published rule and the
    matched one with means."""
    found = []
    for level in PAPER:
        for rule in pruning.RULES:
            found += [Run(rule, level, draw)
                      for draw in range(draws if rule in pruning.DRAWN else 1)]
        found.append(Run("unknown", level, 0, MEAN))
        found += [Run("matched", level, draw, MEAN) for draw in range(draws)]
    return found


def pruned_rows(study: VlmStudy, name: str, sizes: Sizes) -> pd.DataFrame:
    """A row for every pruning, the whole model first: ``rule, level, draw, fill, neurons`` (how
    many are taken away), ``total`` (how many there are) and ``right``, a flag for each question."""
    model, every = study.model(name), [None, *runs(sizes.draws)]
    scenes = study.scenes(sizes.questions)
    neurons = neurons_of(study, name, sizes)
    made: dict[str, object] = {}

    def compute(rows: range) -> list[Row]:
        if not made:
            made["asked"] = abilities.ask(model, scenes, one_each(scenes))
            made["means"] = abilities.mean_products(model, made["asked"])
        return [_measured(model, neurons, every[row], made) for row in rows]

    table = stored_rows(study.results_folder, "pruned", name, model,
                        {"dataset": study.settings["dataset"], "scenes": study.n_scenes,
                         **vars(sizes)}, len(every), compute, 8, MODULES)
    whole = Run(WHOLE, float("nan"))
    return pd.DataFrame([{**vars(run or whole), "neurons": int(row.label),
                          "total": len(neurons.layers), "right": np.asarray(row.neurons, bool)}
                         for run, row in zip(every, table.itertuples(), strict=True)])


def gone(neurons: pruning.Neurons, run: Run | None) -> Bool[np.ndarray, "neuron"]:
    """The neurons that a pruning takes away; none without one."""
    if run is None:
        return np.zeros(len(neurons.layers), bool)
    rng = np.random.default_rng([run.draw, pruning.RULES.index(run.rule),
                                 list(PAPER).index(run.level)])
    return pruning.chosen(neurons, run.rule, taken(neurons, run.level), rng)


def _measured(model, neurons: pruning.Neurons, run: Run | None, made: dict) -> Row:
    away = gone(neurons, run)
    values = made["means"] if run is not None and run.fill == MEAN else None
    with pruning.pruned(model, away, values):
        right = abilities.answered(model, made["asked"])
    return int(away.sum()), float("nan"), len(right), right.astype(int).tolist()


def table_rows(found: pd.DataFrame) -> pd.DataFrame:
    """What is left of the answers: for every rule, level and fill the mean over draws, ``value``
    with its interval over questions ``low, high``, ``neurons``, and of the rules in the paper's
    table ``paper`` and ``paper_score``."""
    rows = []
    keys = ["rule", "level", "fill"]
    for (rule, level, fill), own in found.groupby(keys, sort=False, dropna=False):
        right = np.mean([*own["right"]], axis=0)
        said = PAPER.get(level, (np.nan,) * 5)
        paper = {"unknown": said[1:3], "random": said[3:5], WHOLE: PAPER_WHOLE}
        accuracy, score = paper.get(rule, (np.nan, np.nan)) if fill == ZERO else (np.nan, np.nan)
        rows.append({"rule": rule, "level": level, "fill": fill, "draws": len(own),
                     "neurons": own["neurons"].mean(), **interval_row(right),
                     "paper": accuracy, "paper_score": score})
    return pd.DataFrame(rows)


def gain_rows(found: pd.DataFrame, against: Sequence[str] = ("random", "random of the same layers",
                                                             "matched", pruning.LEAST)
              ) -> pd.DataFrame:
    """By how much more questions are answered without neurons of unknown type than without as many
    others: ``value, low, high`` over questions, the mean over draws subtracted question by
    question; ``condition`` says which level and fill, ``against`` which others."""
    rows = []
    for (level, fill), own in found[found["rule"] != WHOLE].groupby(
            ["level", "fill"], sort=False):
        right = {rule: np.mean([*each["right"]], axis=0) for rule, each in own.groupby("rule")}
        for other in against:
            if other in right:
                gain = right["unknown"] - right[other]
                rows.append({"level": level, "fill": fill, "against": other,
                             "neurons": int(own.loc[own["rule"] == "unknown", "neurons"].iloc[0]),
                             "questions": len(gain), **interval_row(gain)})
    return pd.DataFrame(rows)


def type_rows(study: VlmStudy, name: str, neurons: pruning.Neurons) -> pd.DataFrame:
    """What neurons of each type are besides: ``type, neurons, mean`` activation, ``active`` share
    of tokens, ``norm`` of the value vector, ``influence``; neurons that tie count in parts."""
    shares = type_shares(np.nan_to_num(neurons.p)) * ~np.isnan(neurons.p[:, :1])
    records = study.records(name)
    rows = []
    for number, kind in enumerate(TYPES):
        weight = shares[:, number]
        if weight.sum() == 0:
            continue
        rows.append({"type": kind, "neurons": weight.sum(), **{
            key: float(np.average(values, weights=weight)) for key, values in (
                ("mean", neurons.mean), ("active", records.active), ("norm", neurons.norm),
                ("influence", neurons.influence))}})
    return pd.DataFrame(rows)
