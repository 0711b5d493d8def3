"""What a mean score hides: the two modalities of multi-modal neurons each by itself, and how many
neurons are predicted as well as those that the paper shows.

Xu et al. (2025, appendix A.3) score multi-modal neurons by the mean of both modalities, and show
neurons with scores of 0.51 to 0.66 (Figures 8 and 13 to 16) beside means of 0.15 to 0.24.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from neuronpath_core.chapters.explanations.measured import RESAMPLES, Read, interval
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import percentile_row
from neuronpath_core.vlm.candidates import TEXT
from neuronpath_core.vlm.explained import KINDS, MODALITIES, Concept, Record
from neuronpath_core.vlm.explained_neurons import EXPLAINED, SCORED, TOP
from neuronpath_core.vlm.explanation_controls import swapped_with
from neuronpath_core.vlm.explanation_scores import pearson, score
from neuronpath_core.vlm.offline_simulators import offline

PARTS = {"image": "at image tokens", "text": "at words"}
SCORED_AS = {"image": "visual", "text": "text"}  # the type that is scored on one modality alone
AS_SHOWN = 0.51  # the smallest score of a neuron that the paper shows
FIRST = Concept("text", "first", "sentence")
BEST_WORD, UNTRAINED = "the single word that it follows best", "the best before training"
_FIRST = TEXT.index(FIRST)
_WORDS = [place for place, concept in enumerate(TEXT) if concept.kind == "word"]


def part_scores(read: Read, seed: int = 0) -> pd.DataFrame:
    """The scores of explanations from top samples on top samples, modality by modality: ``neuron,
    kind, modality, sample``, and under ``who`` -1 for the own explanation, from 0 on for each of
    another neuron of the type and layer, the very ones of the swapped scores."""
    neurons, simulator = read.chosen.neurons, offline(patterns=read.chosen.patterns)
    swaps = swapped_with(neurons["kind"].tolist(), neurons["layer"].to_numpy(), seed)
    rows = []
    for place, row in enumerate(neurons.to_dict("records")):
        held = read.chosen.records_of(row, SCORED)
        samples = read.chosen.records.samples[row["neuron"], list(SCORED)]
        for who, other in enumerate((place, *swaps[place]), -1):
            said = read.said[TOP][other]
            simulated = [simulator.simulate(said, record.unseen) for record in held]
            for modality in MODALITIES[row["kind"]]:
                parts = score(held, simulated, SCORED_AS[modality]).parts
                rows += [{"neuron": row["neuron"], "kind": row["kind"], "modality": modality,
                          "sample": sample, "who": who, "value": value}
                         for sample, value in zip(samples, parts, strict=True)]
    return pd.DataFrame(rows, columns=["neuron", "kind", "modality", "sample", "who", "value"])


def part_rows(scores: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Of multi-modal neurons, at image tokens and at words alone: ``part, value, low, high`` of own
    minus swapped, ``own, swapped, neurons, images``."""
    rows = []
    for modality, part in PARTS.items():
        own = scores[(scores["kind"] == "multi-modal") & (scores["modality"] == modality)]
        if own.empty:
            continue
        keys = ["neuron", "sample"]
        table = pd.concat([own[own["who"] < 0].groupby(keys)["value"].mean().rename("own"),
                           own[own["who"] >= 0].groupby(keys)["value"].mean().rename("swapped")],
                          axis=1).reset_index()
        rows.append({"kind": "multi-modal", "part": part,
                     **interval(table.assign(gap=table["own"] - table["swapped"]), "gap", seed),
                     "own": table["own"].mean(), "swapped": table["swapped"].mean()})
    return pd.DataFrame(rows)


def shown_rows(scores: pd.DataFrame, least: float = AS_SHOWN, seed: int = 0) -> pd.DataFrame:
    """Of each type the share of neurons that their own explanation predicts as well as the paper's
    shown ones, minus the share that one of another neuron does: ``kind, value, low, high`` over
    neurons, ``own, swapped, neurons`` and ``best``, the largest score."""
    rows = []
    for kind in KINDS:
        own = scores[scores["kind"] == kind]
        if own.empty:
            continue
        # the mean of modalities and samples, which is the score
        each = own.groupby(["neuron", "who"])["value"].mean().unstack("who")
        good = (each >= least).astype(float).where(each.notna())
        table = pd.DataFrame({"own": good[-1], "swapped": good.drop(columns=-1).mean(axis=1)})
        table = table.reset_index().assign(sample=-1, gap=table["own"].to_numpy()
                                           - table["swapped"].to_numpy())
        rows.append({"kind": kind, **interval(table, "gap", seed), "own": table["own"].mean(),
                     "swapped": table["swapped"].mean(), "best": each[-1].max()})
    return pd.DataFrame(rows)


def first_word_rows(read: Read, start: Read, seed: int = 0) -> pd.DataFrame:
    """The text neuron that follows first words of sentences best in the samples that neurons are
    explained from, in its other top samples: ``against, value, low, high`` over scenes of the
    correlation with first words minus that with the single word that it follows best, and minus
    the correlation of the neuron that is chosen in the same way before training; ``own, other,
    neuron, layer`` from 1, and ``images``."""
    found, before = (_follows_first(each) for each in (read, start))
    if found is None or before is None:
        return pd.DataFrame()
    rng = np.random.default_rng(seed)

    def row(against: str, first: np.ndarray, other: np.ndarray, is_paired: bool) -> dict:
        places = rng.integers(len(first), size=(RESAMPLES, len(first)))
        theirs = places if is_paired else rng.integers(len(other), size=(RESAMPLES, len(other)))
        drawn = first[places].mean(1) - other[theirs].mean(1)
        return {"against": against, **percentile_row(first.mean() - other.mean(), drawn),
                "own": first.mean(), "other": other.mean(), "images": len(first),
                "layer": found["layer"] + 1, "neuron": found["neuron"]}

    return pd.DataFrame([row(BEST_WORD, found["first"], found["word"], True),
                         row(UNTRAINED, found["first"], before["first"], False)])


def _follows_first(read: Read) -> dict | None:
    """The text neuron of the largest mean correlation with first words in the samples of
    ``EXPLAINED``, with ``first`` and ``word``, its correlations in its other top samples with first
    words and with the word that it follows best in those of ``EXPLAINED``; ``None`` without text
    neurons."""
    neurons = read.chosen.neurons
    rows = neurons[neurons["kind"] == "text"].to_dict("records")
    if not rows:
        return None
    known = [_followed(read, read.chosen.records_of(row, EXPLAINED)).mean(0) for row in rows]
    best = int(np.argmax([each[_FIRST] for each in known]))
    others = [slot for slot in range(read.chosen.records.top) if slot not in EXPLAINED]
    held = _followed(read, read.chosen.records_of(rows[best], others))
    word = _WORDS[int(known[best][_WORDS].argmax())]
    width = int((read.chosen.records.layers == 0).sum())
    return {"first": held[:, _FIRST], "word": held[:, word], "layer": rows[best]["layer"],
            "neuron": rows[best]["neuron"] - width * rows[best]["layer"]}


def _followed(read: Read, records: list[Record]) -> np.ndarray:
    """Each sample's correlations of a neuron with every concept of words, 0 where there is none,
    ``(sample, concept)``."""
    return np.nan_to_num(np.stack([
        pearson(read.chosen.patterns.of(record, "text"),
                record.values[record.counted("text")][None])
        for record in records]))


def part_table(parts: pd.DataFrame) -> pd.DataFrame:
    """:func:`part_rows` with ``model``, for reading."""
    return _table([{"model": row["model"], "correlated": row["part"], "neurons": row["neurons"],
                    "scenes": row["images"], "own": row["own"], "swapped": row["swapped"],
                    "own − swapped": report.interval_text(row, 2)}
                   for row in parts.to_dict("records")], ["model", "correlated"])


def shown_table(shown: pd.DataFrame) -> pd.DataFrame:
    """:func:`shown_rows` with ``model``, for reading."""
    return _table([{"model": row["model"], "type": row["kind"], "neurons": row["neurons"],
                    "own, %": f"{100 * row['own']:.0f}",
                    "swapped, %": f"{100 * row['swapped']:.0f}",
                    "own − swapped, points": report.points_text(row, 0, ""),
                    "best score": row["best"]}
                   for row in shown.to_dict("records")], ["model", "type"])


def first_word_table(first: pd.DataFrame) -> pd.DataFrame:
    """:func:`first_word_rows` with ``model``, for reading."""
    return _table([{"model": row["model"], "neuron": f"layer {row['layer']}, {row['neuron']}",
                    "against": row["against"], "scenes": row["images"],
                    "with first words": row["own"], "control": row["other"],
                    "difference": report.interval_text(row, 2)}
                   for row in first.to_dict("records")], ["model", "neuron", "against"])


def _table(rows: list[dict], keys: list[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=None if rows else keys).set_index(keys)
