"""Neurons whose meaning is known because it was planted: every explainer is measured on them before
it is believed about others (after the synthetic neurons of Shaham et al., 2024, MAIA)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.vlm.candidates import CANDIDATES, IMAGE, Patterns, phrase
from neuronpath_core.vlm.explained import MODALITIES, Concept, Explanation, Kind, Sample
from neuronpath_core.vlm.modality import FULL
from neuronpath_core.vlm.offline_explainer import JOINS
from neuronpath_core.vlm.records import RANDOM, Records, TopSamples, side_by_side

if TYPE_CHECKING:
    from jaxtyping import Float

Shape = Literal["one", "or", "and"]
SHAPES = ("one", "or", "and")
SEEN_KINDS = ("outline", "fill", "colour", "background", "tone")
WORDS_OF = {"outline", "fill", "colour", "background", "tone", "place", "number"}


@dataclass(frozen=True)
class Plant:
    """What a synthetic neuron is about: its type and the truth, as an explanation."""

    kind: Kind
    shape: Shape
    truth: Explanation


def plants(count: int, kind: Kind, shape: Shape = "one", seed: int = 0) -> list[Plant]:
    """Meanings drawn at random: values of outline, fill, colour and background of the image, and
    words that say one or say anything about the scene, or what comes before these.

    Args:
        count: how many.
        kind: their type; multi-modal ones mean one thing of both modalities.
        shape: of one concept, of two of one kind joined by *or*, or of two of different kinds
            joined by *and*, such as red circles; words are joined by *or* alone.
        seed: of the draw.

    Raises:
        ValueError: an unknown kind or shape, or words joined by *and*, which no word is.
    """
    if not is_one_of(kind, MODALITIES) or not is_one_of(shape, SHAPES):
        raise ValueError(f"no synthetic neurons of {shown(kind)}, {shown(shape)}; accepted: "
                         f"{', '.join(MODALITIES)}; {', '.join(SHAPES)}")
    if shape == "and" and kind != "visual":
        raise ValueError("no word is two things at once; accepted: and for visual neurons")
    rng = np.random.default_rng([seed, SHAPES.index(shape), len(kind)])
    pool = _pool(kind, shape)
    return [_plant(kind, shape, pool[int(rng.integers(len(pool)))]) for _ in range(count)]


def _pool(kind: Kind, shape: Shape) -> list[tuple[Concept, ...]]:
    """The image concepts, or those of words, that a plant can be of."""
    if kind == "text":
        single = [concept for concept in CANDIDATES["text"]
                  if concept.kind in ("word", "next word", "class", "next class", "first")]
        single = [concept for concept in single if concept.kind.endswith(("class", "first"))
                  or concept.name in _said()]
    else:
        single = [concept for concept in IMAGE if concept.kind in SEEN_KINDS]
    if shape == "one":
        return [(concept,) for concept in single]
    pairs = combinations(single, 2)
    if shape == "and":  # of a red circle both are seen at once, of a red background neither
        return [pair for pair in pairs if pair[0].kind != pair[1].kind
                and {pair[0].kind, pair[1].kind} <= {"outline", "colour"}]
    return [pair for pair in pairs if pair[0].kind == pair[1].kind]


def _said() -> set[str]:
    """The words that say a concept of the scene."""
    return {concept.name for concept in IMAGE if concept.kind in SEEN_KINDS}


def _plant(kind: Kind, shape: Shape, concepts: tuple[Concept, ...]) -> Plant:
    if kind == "multi-modal":
        concepts = (*concepts, *(Concept("text", "word", each.name) for each in concepts))
    joins = {} if shape == "one" else dict.fromkeys(MODALITIES[kind], shape)
    return Plant(kind, shape, Explanation(", ".join(map(phrase, concepts)), concepts, joins))


def values_of(plant: Plant, sample: Sample, patterns: Patterns) -> Float[np.ndarray, "token"]:
    """What a neuron that is nothing but its meaning does: at each token from 0 to 10 how far it is
    what the neuron is about."""
    found = np.zeros(len(sample.roles))
    for modality in MODALITIES[plant.kind]:
        places = [CANDIDATES[modality].index(concept) for concept in plant.truth.named(modality)]
        rows = patterns.of(sample, modality)[places]
        found[sample.counted(modality)] = FULL * JOINS[
            plant.truth.joins.get(modality, "or")].reduce(rows)
    return found


def planted_records(plants: Sequence[Plant], samples: Sequence[Sample], noise: float = 0.0,
                    missing: float = 0.0, top: int = 50, seed: int = 0,
                    patterns: Patterns | None = None,
                    clean: Float[np.ndarray, "neuron sample token"] | None = None) -> Records:
    """Records of synthetic neurons, as :func:`neuronpath_core.vlm.records.collect` makes them of
    real ones.

    Args:
        plants: their meanings.
        samples: what all of them see.
        noise: standard deviation of what is added at every token that counts, of 10.
        missing: share of the tokens at which a neuron stays silent whatever they are.
        top: samples that are kept of each neuron, with ``RANDOM`` more.
        seed: of noise, silence and random samples.
        patterns: shared with others, to compute each once.
        clean: of :func:`clean_values`, where that is known.

    Raises:
        ValueError: fewer samples than ``top``, or a share outside 0..1.
    """
    if not 0 < top <= len(samples) or not 0 <= missing <= 1 or noise < 0:
        raise ValueError(f"{len(samples)} samples, {top} of each neuron, noise {noise}, missing "
                         f"{missing}; accepted: as many samples, noise of at least 0, a share")
    rng = np.random.default_rng(seed)
    patterns = patterns if patterns is not None else Patterns()
    visual, text = (side_by_side([sample.counted(modality) for sample in samples])
                    for modality in ("image", "text"))
    counted = visual | text
    table = clean_values(plants, samples, patterns) if clean is None else clean.copy()
    for row in table:
        row *= rng.random(row.shape) >= missing
        row += noise * FULL * rng.standard_normal(row.shape).astype(np.float32)
        row[~counted] = 0
    return _kept(table, visual, text, top, rng)


def clean_values(plants: Sequence[Plant], samples: Sequence[Sample], patterns: Patterns
                 ) -> Float[np.ndarray, "neuron sample token"]:
    """:func:`values_of` every neuron and sample, float32, 0 behind a sample's end."""
    table = np.zeros((len(plants), len(samples), max(len(each.roles) for each in samples)),
                     np.float32)
    for row, plant in zip(table, plants, strict=True):
        for own, sample in zip(row, samples, strict=True):
            own[:len(sample.roles)] = values_of(plant, sample, patterns)
    return table


def _kept(table: np.ndarray, visual: np.ndarray, text: np.ndarray, top: int,
          rng: np.random.Generator) -> Records:
    """Of a table ``(neuron, sample, token)`` each neuron's top samples and some at random."""
    import torch

    counted = visual | text
    best = TopSamples(top)
    best.add(torch.from_numpy(np.where(counted, table, -np.inf).max(2).T.copy()), 0)
    chosen = np.concatenate([best.samples.numpy(), rng.integers(
        len(visual), size=(len(table), RANDOM))], 1)
    tokens = counted.sum()
    return Records(np.take_along_axis(table, chosen[..., None], 1), chosen, top, visual, text,
                   best.values[:, 0].numpy(), table.sum((1, 2)) / tokens,
                   ((table > 0) & counted).sum((1, 2)) / tokens, np.zeros(len(table), int))
