"""A model's neurons explained, from top samples, from random ones and without seeing where they
fire, and scored beside every control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from neuronpath_core.chapters.vlm_study import VlmStudy
from neuronpath_core.vlm.candidates import Patterns
from neuronpath_core.vlm.explained import KINDS, Explanation, Sample, scene_samples
from neuronpath_core.vlm.explained_neurons import (
    CONTROLS,
    EXPLAINED,
    MOST,
    ON_BOTH,
    ON_TOP,
    RANDOM,
    RAW,
    SCORED,
    TOP,
    Chosen,
    best_all,
    choose,
    explain_all,
    resampled_means,
    score_all,
)
from neuronpath_core.vlm.offline_explainer import OfflineExplainer, presence_rates
from neuronpath_core.vlm.offline_simulators import offline
from neuronpath_core.vlm.records import Records

DATA = "scenes"  # the data of every comparison
RESAMPLES = 1000
RATED = 300  # scenes that tell how often anything is there


@dataclass(frozen=True)
class Shown:
    """What all models are shown.

    Attributes:
        samples: the study's scenes with their captions.
        patterns: of these, shared by all that read them.
        rates: how often a sample has each concept.
    """

    samples: Sequence[Sample]
    patterns: Patterns = field(default_factory=Patterns)
    rates: dict[str, np.ndarray] = field(default_factory=dict)


def shown(study: VlmStudy) -> Shown:
    """The scenes that the study's records are of."""
    samples = scene_samples(study.scenes())
    return Shown(samples, rates=presence_rates(samples[:RATED]))


@dataclass(frozen=True)
class Read:
    """A model's explanations and their scores.

    Attributes:
        model: its name.
        chosen: its neurons that are explained.
        said: by what they are explained from, an explanation of each.
        scores: ``neuron, layer, kind, sample, own`` and the controls, with ``explained`` and
            ``scored``, what explanations are from and held against.
    """

    model: str
    chosen: Chosen
    said: dict[str, list[Explanation]]
    scores: pd.DataFrame


def read_model(name: str, records: Records, p: np.ndarray, seen: Shown, n_neurons: int = MOST,
               seed: int = 0) -> Read:
    """Choose, explain and score the neurons of one model.

    Args:
        name: of the model.
        records, p: of its neurons on the scenes of ``seen``, and their types.
        seen: the scenes.
        n_neurons: of each type at most.
        seed: of choice and swaps.
    """
    chosen = choose(records, seen.samples, p, n_neurons, seed, seen.patterns)
    shared, simulator = seen.patterns, offline(patterns=seen.patterns)
    sees = {TOP: (OfflineExplainer(patterns=shared), EXPLAINED),
            RANDOM: (OfflineExplainer(patterns=shared), chosen.random),
            RAW: (OfflineExplainer("raw", seen.rates, patterns=shared), EXPLAINED)}
    said = {source: explain_all(chosen, explainer, slots)
            for source, (explainer, slots) in sees.items()}
    best = best_all(chosen, simulator)
    tables = [score_all(chosen, said[source], simulator, slots, seed=seed, best=best).assign(
        explained=source, scored=ON_TOP) for source, (_, slots) in sees.items()]
    both = score_all(chosen, said[TOP], simulator, EXPLAINED, (*SCORED, *chosen.random), "pooled",
                     seed)
    return Read(name, chosen, said, pd.concat(
        [*tables, both.assign(explained=TOP, scored=ON_BOTH)], ignore_index=True))


def trained(study: VlmStudy, model: str) -> list[str]:
    """The trained models that have weights, the one that figures show first, no state of a training
    before its end.

    Raises:
        ValueError: that one has no weights, or no such model is known.
    """
    study.model(model)
    return [model, *(name for name in study.models if name != model and " step " not in name)]


def read_study(study: VlmStudy, models: Sequence[str], seen: Shown, seed: int = 0
               ) -> dict[str, Read]:
    """Every one of these models of a study, by name."""
    return {name: read_model(name, study.records(name), study.types(name), seen, seed=seed)
            for name in models}


def interval(table: pd.DataFrame, column: str, seed: int = 0) -> dict[str, float]:
    """``value, low, high`` of a column's mean, neurons and scenes resampled, ``neurons`` and
    ``images``, how many of each."""
    own = table.dropna(subset=[column])
    if own.empty:
        return {"value": np.nan, "low": np.nan, "high": np.nan, "neurons": 0, "images": 0}
    draws = resampled_means(own, [column], RESAMPLES, seed)[:, 0]
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"value": float(own[column].mean()), "low": float(low), "high": float(high),
            "neurons": own["neuron"].nunique(), "images": own["sample"].nunique()}


def mean_rows(read: Read) -> pd.DataFrame:
    """For each type, what explanations are from and what they are scored on: the mean scores of
    own explanation and controls, ``value, low, high`` of own minus swapped, ``low_own`` and
    ``high_own``, the share of correlations that were ``constant``, of neurons, scenes, and neurons
    that are not ``sure`` of their type."""
    rows = []
    for (kind, explained, scored), own in read.scores.groupby(
            ["kind", "explained", "scored"], sort=False):
        neurons = read.chosen.neurons
        neurons = neurons[neurons["kind"] == kind]
        alone = interval(own, "own")
        rows.append({
            "kind": kind, "explained": explained, "scored": scored,
            **{name: own[name].mean() for name in ("own", *CONTROLS, "constant")},
            **{f"{end}_own": alone[end] for end in ("low", "high")},
            **interval(own.assign(gap=own["own"] - own["swapped"]), "gap"),
            "images": _scenes(read, own, scored),
            "unsure": int((~neurons["sure"]).sum())})
    return pd.DataFrame(rows)


def _scenes(read: Read, own: pd.DataFrame, scored: str) -> int:
    """How many different scenes some neurons were scored on."""
    if scored == ON_TOP:
        return int(own["sample"].nunique())
    slots = [*SCORED, *read.chosen.random]
    return len(np.unique(read.chosen.records.samples[own["neuron"].to_numpy()][:, slots]))


def place_rows(read: Read) -> pd.DataFrame:
    """For each type how much better the own explanation from top samples is than a map of where the
    neuron fired in the very samples that it was explained from: ``value, low, high``, ``own`` and
    ``place``."""
    own = read.scores[(read.scores["explained"] == TOP) & (read.scores["scored"] == ON_TOP)]
    return pd.DataFrame([
        {"kind": kind, **interval(each.assign(gap=each["own"] - each["place"]), "gap"),
         "own": each["own"].mean(), "place": each["place"].mean()}
        for kind, each in own.groupby("kind", sort=False)])


def gap_rows(read: Read, first: str, second: str) -> pd.DataFrame:
    """For each type how much better explanations from ``first`` are than those from ``second``, of
    the same neurons on the same samples: ``value, low, high``, ``first`` and ``second``."""
    on_top = read.scores[read.scores["scored"] == ON_TOP]
    keys, rows = ["neuron", "kind", "sample"], []
    one, two = (on_top[on_top["explained"] == each].groupby(keys)["own"].mean()
                for each in (first, second))
    paired = pd.concat([one.rename("first"), two.rename("second")], axis=1).reset_index()
    for kind in KINDS:
        own = paired[paired["kind"] == kind]
        if len(own):
            rows.append({"kind": kind, **interval(own.assign(gap=own["first"] - own["second"]),
                                                  "gap"),
                         "first": own["first"].mean(), "second": own["second"].mean()})
    return pd.DataFrame(rows)


def twin_rows(read: Read, twin: Read, seed: int = 0) -> pd.DataFrame:
    """For each type how much further the own explanation exceeds swapped ones than in a network
    with random weights: ``value, low, high``, ``trained`` and ``random``; both are resampled by
    themselves."""
    rows = []
    for kind in KINDS:
        draws, means, counts = [], [], []
        for each in (read, twin):
            own = each.scores[(each.scores["kind"] == kind) & (each.scores["scored"] == ON_TOP)
                              & (each.scores["explained"] == TOP)]
            own = own.assign(gap=own["own"] - own["swapped"]).dropna(subset=["gap"])
            if own.empty:
                break
            draws.append(resampled_means(own, ["gap"], RESAMPLES, seed + len(draws))[:, 0])
            means.append(own["gap"].mean())
            counts.append(own["sample"].nunique())
        if len(draws) == 2:
            size = min(map(len, draws))
            low, high = np.quantile(draws[0][:size] - draws[1][:size], [0.025, 0.975])
            rows.append({"kind": kind, "value": means[0] - means[1], "low": low, "high": high,
                         "trained": means[0], "random": means[1], "images": counts[0]})
    return pd.DataFrame(rows)


def stacked(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of models below one another, with ``data`` and ``model``."""
    found = [table.assign(data=DATA, model=name) for name, table in tables.items() if len(table)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()
