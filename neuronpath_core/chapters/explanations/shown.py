"""Single neurons to look at: what they do in a sample, what is said of them, and what is simulated
from that (Figures 8 and 13 to 16 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from neuronpath_core.chapters.explanations.measured import Read
from neuronpath_core.vlm.candidates import NEXT
from neuronpath_core.vlm.explained import KINDS, Explanation, Record
from neuronpath_core.vlm.explained_neurons import ON_TOP, SCORED, TOP
from neuronpath_core.vlm.offline_simulators import offline

QUANTILE = 0.75  # of a type's scores: better than most, and not the best


@dataclass(frozen=True)
class Example:
    """A neuron in one of its scored samples.

    Attributes:
        kind, layer, neuron: which.
        said: its explanation, from other samples.
        record: the sample with the neuron's values.
        simulated: values from 0 to 10 at the tokens.
        value: the neuron's score.
    """

    kind: str
    layer: int
    neuron: int
    said: Explanation
    record: Record
    simulated: Sequence[float]
    value: float


def examples(read: Read, quantile: float = QUANTILE) -> list[Example]:
    """Of each type the neuron whose score is at a quantile of its type, in its first scored
    sample; chosen by that rule and not by looking."""
    scores = read.scores[(read.scores["explained"] == TOP) & (read.scores["scored"] == ON_TOP)]
    found, simulator = [], offline(patterns=read.chosen.patterns)
    rows = read.chosen.neurons.to_dict("records")
    for kind in KINDS:
        own = scores[scores["kind"] == kind].groupby("neuron")["own"].mean().sort_values()
        if own.empty:
            continue
        neuron = int(own.index[round(quantile * (len(own) - 1))])
        place = next(number for number, row in enumerate(rows)
                     if row["neuron"] == neuron and row["kind"] == kind)
        record, = read.chosen.records_of(rows[place], SCORED[:1])
        said = read.said[TOP][place]
        found.append(Example(kind, rows[place]["layer"], neuron, said, record,
                             simulator.simulate(said, record.unseen), float(own[neuron])))
    return found


def extreme_rows(read: Read) -> pd.DataFrame:
    """Of each type, among neurons that are sure of it, the one that its explanation from top
    samples predicts best and the one that it predicts worst: ``kind, which, value``, the score,
    ``layer`` from 1, ``neuron`` within it, ``said`` and ``neurons``, among how many; of equal
    scores the first neuron counts."""
    scores = read.scores[(read.scores["explained"] == TOP) & (read.scores["scored"] == ON_TOP)]
    means = scores.groupby(["kind", "neuron"])["own"].mean()
    width = int((read.chosen.records.layers == 0).sum())
    rows = []
    for kind in KINDS:
        own = [(float(means[kind, row["neuron"]]), row, said) for row, said in zip(
            read.chosen.neurons.to_dict("records"), read.said[TOP], strict=True)
            if row["kind"] == kind and row["sure"]]
        for which, of in (("highest", max), ("lowest", min)) if own else ():
            value, row, said = of(own, key=lambda each: each[0])
            rows.append({"kind": kind, "which": which, "value": value, "layer": row["layer"] + 1,
                         "neuron": row["neuron"] - width * row["layer"], "said": said.text,
                         "neurons": len(own)})
    return pd.DataFrame(rows)


def naming_rows(read: Read) -> pd.DataFrame:
    """What explanations from top samples name: for each type the share of neurons that are called
    after each kind of concept first, ``kind, named, value``; of words whether it is the word that
    is read or the one after it, which the model is about to say; ``nothing`` where no candidate
    fits."""
    rows = []
    neurons = read.chosen.neurons
    for kind in KINDS:
        own = [said for said, each in zip(read.said[TOP], neurons["kind"], strict=True)
               if each == kind]
        for modality in ("image", "text"):
            named = [said.named(modality)[0].kind if said.named(modality) else "nothing"
                     for said in own]
            if not own or set(named) == {"nothing"}:
                continue
            counts = pd.Series(named).value_counts(normalize=True)
            rows += [{"kind": kind, "modality": modality, "named": _in_words(name),
                      "value": value, "neurons": len(own)} for name, value in counts.items()]
    return pd.DataFrame(rows)


def first_words(read: Read) -> list[str]:
    """Which text neurons are said to fire on, or before, first words of sentences, as the paper
    shows one: ``layer 3, neuron 17``, the layer counted from 1, the neuron within it."""
    width = int((read.chosen.records.layers == 0).sum())
    return [f"layer {row['layer'] + 1}, neuron {row['neuron'] - width * row['layer']}"
            for said, row in zip(read.said[TOP], read.chosen.neurons.to_dict("records"),
                                 strict=True)
            if any(concept.kind.removeprefix(NEXT) == "first" for concept in said.concepts)]


def _in_words(kind: str) -> str:
    after = kind.startswith(NEXT)
    word = {"word": "one word", "class": "a class of words", "speech": "a part of speech",
            "first": "first words of sentences", "sentence": "a sentence's number",
            "part": "objects or their parts"}.get(kind.removeprefix(NEXT),
                                                  kind.removeprefix(NEXT))
    return f"the next word: {word}" if after else word
