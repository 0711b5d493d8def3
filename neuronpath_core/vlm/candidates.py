"""What an offline explainer can say of a neuron: concepts of the image with their masks, and
concepts of words with their tags, each as a pattern over the tokens of a sample."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.vlm.concepts import KINDS as IMAGE_KINDS
from neuronpath_core.vlm.concepts import concept_coverage
from neuronpath_core.vlm.explained import Concept, Modality, Sample
from neuronpath_core.vlm.words import CONCEPTS, KIND_OF, SPEECH, Word, grammar_words, tagged

if TYPE_CHECKING:
    from jaxtyping import Float

SPEECHES = (*SPEECH, "adjective", "numeral")
SENTENCES = 4  # that a caption has at most
NEXT = "next "  # before kinds that speak of the word after, which a causal model predicts
CONTENT = Concept("text", "class", "content")  # words that name a concept, and no others
ANYTHING = Concept("image", "part", "object")


def _said(word: Word, name: str) -> bool:
    return name in (word.text, word.concept)


# kind of concept -> its names, and whether a word is one; words of two as one concept too
WORD_KINDS: dict[str, tuple[tuple[str, ...], Callable[[Word, str], bool]]] = {
    "word": (tuple(dict.fromkeys((*grammar_words(), *KIND_OF))), _said),
    "class": ((*CONCEPTS, "content"), lambda word, name: bool(word.kind) if name == "content"
              else word.kind == name),
    "speech": (SPEECHES, lambda word, name: word.speech == name),
    "first": (("sentence",), lambda word, name: word.first),
}
IMAGE = tuple(Concept("image", kind, name) for kind, names in IMAGE_KINDS.items()
              for name in names)
TEXT = tuple(Concept("text", prefix + kind, name) for prefix in ("", NEXT)
             for kind, (names, _) in WORD_KINDS.items() for name in names) + tuple(
    Concept("text", "sentence", str(number)) for number in range(1, SENTENCES + 1))
CANDIDATES: dict[str, tuple[Concept, ...]] = {"image": IMAGE, "text": TEXT}

_IMAGE_PHRASES = {
    "part": {"object": "objects", "outline band": "the edges of objects",
             "fill area": "the insides of objects", "painted area": "painted regions"},
    "outline": "{}s", "fill": "{} regions", "colour": "{} regions",
    "background": "a {} background", "tone": "a {} background"}
_TEXT_PHRASES = {
    "word": "the word “{}”", "class": "words of {}", "speech": "every {}",
    "first": "the first word of a sentence", "sentence": "words of sentence {}"}


def phrase(concept: Concept) -> str:
    """What a concept is called in an explanation."""
    if concept.modality == "image":
        words = _IMAGE_PHRASES[concept.kind]
        return words[concept.name] if isinstance(words, dict) else words.format(concept.name)
    after = concept.kind.startswith(NEXT)
    words = _TEXT_PHRASES[concept.kind.removeprefix(NEXT)].format(concept.name)
    return f"what comes before {words}" if after else words


def tagged_words(answer: tuple[str, ...]) -> list[Word]:
    """The words of an answer with their tags, sentence by sentence; words of no known sentence get
    those that they have by themselves."""
    found: list[Word] = []
    start = number = 0
    for place, word in enumerate(answer):
        if word == "." or place + 1 == len(answer):
            found += tagged(" ".join(answer[start:place + 1]), number=number)
            start, number = place + 1, number + 1
    return found


def image_patterns(sample: Sample) -> Float[np.ndarray, "concept patch"]:
    """The share of each image token that shows each concept of ``IMAGE``, from 0 to 1.

    Raises:
        ValueError: an image of which it is not known what it shows, or tokens that are no patches
            of it.
    """
    if sample.scene is None or sample.grid is None:
        raise ValueError("it is not known what this image shows and where; accepted: samples of "
                         "composed scenes with a grid of image tokens")
    return concept_coverage([sample.scene], len(sample.scene.pixels) // sample.grid[0])[0]


def text_patterns(sample: Sample) -> Float[np.ndarray, "concept word"]:
    """At each word of the answer 1 for each concept of ``TEXT`` that it is, or that the word after
    it is; 0 elsewhere."""
    words = tagged_words(sample.answer)
    if not words:
        return np.zeros((len(TEXT), 0))
    now = np.stack([_row(word.text, word.concept, word.kind, word.first, word.speech)
                    for word in words], 1)
    after = np.concatenate([now[:, 1:], np.zeros((len(now), 1))], 1)
    sentence = np.array([word.sentence for word in words]) == np.arange(SENTENCES)[:, None]
    return np.concatenate([now, after, sentence])


@lru_cache(maxsize=4096)
def _row(text: str, concept: str, kind: str, first: bool, speech: str
         ) -> Float[np.ndarray, "concept"]:
    """Which concepts of ``WORD_KINDS`` a word is; there are few different words."""
    word = Word(text, concept, kind, -1, 0, first, speech)
    return np.array([float(test(word, name)) for names, test in WORD_KINDS.values()
                     for name in names])


class Patterns:
    """The patterns of samples, each computed once; a sample is known by its identity."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], tuple[object, np.ndarray]] = {}

    def of(self, sample: Sample, modality: Modality) -> Float[np.ndarray, "concept token"]:
        """The patterns of ``CANDIDATES[modality]`` over the tokens of that modality."""
        # a sample and its records share the arrays of their roles
        key = (id(sample.roles), modality)
        if key not in self._known:
            made = image_patterns(sample) if modality == "image" else text_patterns(sample)
            self._known[key] = (sample.roles, made)
        return self._known[key][1]
