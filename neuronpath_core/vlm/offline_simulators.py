"""Simulators that need no other model: masks and tags that are known take the place of Grounded
SAM 2 and of GPT-4o (Xu et al., 2025, appendix A.2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.vlm.candidates import CANDIDATES, IMAGE, TEXT, Patterns
from neuronpath_core.vlm.explained import Concept, Explanation, Modality, Sample
from neuronpath_core.vlm.modality import FULL
from neuronpath_core.vlm.offline_explainer import JOINS

if TYPE_CHECKING:
    from jaxtyping import Float

HALF = 0.5  # of an image token that a mask must cover
_PLACES = {modality: {concept: place for place, concept in enumerate(concepts)}
           for modality, concepts in CANDIDATES.items()}


class _Simulator:
    modality: Modality

    def __init__(self, patterns: Patterns | None = None):
        self.patterns = patterns if patterns is not None else Patterns()

    def simulate(self, explanation: Explanation, sample: Sample) -> Float[np.ndarray, "token"]:
        """Values at the tokens of the simulator's modality, NaN at all others.

        What is known of concepts is taken from ``explanation.concepts``; an explanation that lists
        none, such as a language model's, is searched for their names.
        """
        named = explanation.named(self.modality) if explanation.concepts else concepts_in(
            explanation.text, self.modality)
        found = np.full(len(sample.roles), np.nan)
        table = self.patterns.of(sample, self.modality)
        value = np.zeros(table.shape[1])
        if named:
            rows = self.on(table[[_PLACES[self.modality][concept] for concept in named]])
            value = JOINS[explanation.joins.get(self.modality, "or")].reduce(rows)
        found[sample.counted(self.modality)] = FULL * value
        return found

    def on(self, rows: Float[np.ndarray, "concept token"]) -> Float[np.ndarray, "concept token"]:
        """How far each token counts as each concept, from 0 to 1."""
        return rows


class MaskSimulator(_Simulator):
    """Of an image: 10 at the tokens that the masks of what is named cover by half or more, 0
    elsewhere.

    Args:
        graded: the share that is covered in place of a threshold.
        patterns: shared with others, to compute each once.
    """

    modality: Modality = "image"

    def __init__(self, graded: bool = False, patterns: Patterns | None = None):
        super().__init__(patterns)
        self.graded = graded

    def on(self, rows: Float[np.ndarray, "concept token"]) -> Float[np.ndarray, "concept token"]:
        """The share that is covered, or whether it is at least half."""
        return rows if self.graded else (rows >= HALF).astype(float)


class TagSimulator(_Simulator):
    """Of words: 10 at the words whose tags are what is named, 0 elsewhere."""

    modality: Modality = "text"


class Together:
    """One simulator for the image and one for the text, each for its own tokens."""

    def __init__(self, image: object, text: object):
        self.image, self.text = image, text

    def simulate(self, explanation: Explanation, sample: Sample) -> Float[np.ndarray, "token"]:
        """The values of each at its own tokens."""
        seen, told = (each.simulate(explanation, sample) for each in (self.image, self.text))
        return np.where(sample.counted("image"), seen, told)


def offline(graded: bool = False, patterns: Patterns | None = None) -> Together:
    """Both simulators by what is known."""
    shared = patterns if patterns is not None else Patterns()
    return Together(MaskSimulator(graded, shared), TagSimulator(shared))


def concepts_in(text: str, modality: Modality) -> tuple[Concept, ...]:
    """The concepts of an image whose names occur in a text as words, or the words of a caption that
    it has between quotation marks, and otherwise those of its words that name a concept."""
    low = text.lower()
    if modality == "image":
        return tuple(concept for concept in IMAGE if concept.kind != "part" and _occurs(
            concept.name, low) or concept.name == "object" and _occurs("object", low))
    quoted = " ; ".join(re.findall(r"[\"“‘']([^\"“”‘’']+)[\"”’']", low))
    return tuple(concept for concept in TEXT if concept.kind == "word" and (
        _occurs(concept.name, quoted) if quoted else concept.name in _SAID and _occurs(
            concept.name, low)))


def _occurs(name: str, text: str) -> bool:
    """Whether a name is in a text as whole words, alone or as several."""
    return re.search(rf"(?<!\w){re.escape(name)}s?(?!\w)", text) is not None


_SAID = {concept.name for concept in IMAGE}
