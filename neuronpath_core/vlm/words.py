"""What is said of a composed scene: captions of a small grammar, every word with its tags.

Tags give for words the truth that masks give for images.  A causal model at word t predicts word
t + 1, so that :func:`tags` has both: those of the word that is read and those of the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.images.drawing import FILLS, OUTLINES
from neuronpath_core.images.shapes import BACKGROUNDS, COLOURS, PARTS, TONES
from neuronpath_core.vlm.scenes import CELLS, Scene, Thing

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = ("one", "two", "three")
# kind of concept -> the concepts, each a word or two
CONCEPTS: dict[str, tuple[str, ...]] = {
    "outline": tuple(OUTLINES), "fill": tuple(FILLS), "colour": tuple(COLOURS),
    "background": BACKGROUNDS, "tone": tuple(TONES), "place": CELLS, "number": NUMBERS,
}
KIND_OF = {concept: kind for kind, concepts in CONCEPTS.items() for concept in concepts}
# concepts that only looking tells; words of place and number are not of one object or ground
SEEN = ("outline", "fill", "colour", "background", "tone")
SPEECH = {"verb": "is are shows see", "determiner": "the a an", "pronoun": "it we",
          "preposition": "at in behind", "adverb": "there", "conjunction": "and",
          "punctuation": ".", "noun": "image shape shapes background corner ground"}
SPEECH_OF = {word: kind for kind, words in SPEECH.items() for word in words.split()}
CAPTION_STREAM = 1  # of the random numbers of a scene: its pixels have 0


@dataclass(frozen=True)
class Word:
    """A word of a caption.

    Attributes:
        text: the word.
        concept: the concept that it says, alone or with its neighbour ("dark grey"); empty if none.
        kind: of that concept, as in ``CONCEPTS``; empty if none.
        thing: number of the object that it speaks of; -1 if none.
        sentence: number of its sentence, from 0.
        first: whether it is the first of its sentence.
        speech: part of speech.
    """

    text: str
    concept: str
    kind: str
    thing: int
    sentence: int
    first: bool
    speech: str


def article(word: str) -> str:
    """The article before a word, ``a`` or ``an``."""
    return "an" if word[0] in "aeiou" else "a"


def _named(thing: Thing) -> str:
    return f"{article(thing.colour)} {thing.colour} {thing.fill} {thing.outline}"


# every way to say one thing; concepts in words that occur in no other meaning
OBJECT: tuple[Callable[[Thing], str], ...] = (
    lambda thing: f"{_named(thing)} is at the {thing.cell} .",
    lambda thing: f"at the {thing.cell} there is {_named(thing)} .",
    lambda thing: f"the {thing.outline} at the {thing.cell} is {thing.colour} and {thing.fill} .",
    lambda thing: f"in the {thing.cell} corner we see {_named(thing)} .",
)
COUNT: tuple[Callable[[str, str, str], str], ...] = (
    lambda number, shapes, are: f"the image shows {number} {shapes} .",
    lambda number, shapes, are: f"there {are} {number} {shapes} .",
    lambda number, shapes, are: f"{number} {shapes} {are} in the image .",
)
GROUND: tuple[Callable[[str, str], str], ...] = (
    lambda kind, tone: f"the background is {kind} and {tone} .",
    lambda kind, tone: f"behind it is a {kind} {tone} background .",
    lambda kind, tone: f"the ground is {tone} and {kind} .",
)


def caption(scene: Scene, variant: int = 0) -> tuple[Word, ...]:
    """Two to four sentences about a scene: a sentence for every object in the order of reading,
    before them its number and after them the background.

    Of three objects either the number or the background is left out, of fewer the number half of
    the time; each sentence has one of three or four forms.

    Args:
        scene: with at least one object, unless it was changed.
        variant: another choice of words for the same scene.
    """
    rng = np.random.default_rng([scene.seed, PARTS.index(scene.part), scene.index, CAPTION_STREAM,
                                 variant])
    coin, forms = rng.random() < 0.5, rng.random(8)
    said: list[tuple[str, int]] = []
    count = len(scene.things)
    if coin and count:
        plural = ("shape", "is") if count == 1 else ("shapes", "are")
        said.append((COUNT[int(forms[0] * len(COUNT))](NUMBERS[count - 1], *plural), -1))
    said += [(OBJECT[int(form * len(OBJECT))](thing), number) for number, (thing, form) in
             enumerate(zip(scene.things, forms[1:], strict=False))]
    if count < 3 or not coin:
        said.append((GROUND[int(forms[7] * len(GROUND))](*scene.ground), -1))
    return tuple(word for number, (sentence, thing) in enumerate(said)
                 for word in tagged(sentence, thing, number))


def tagged(sentence: str, thing: int = -1, number: int = 0) -> list[Word]:
    """The words of a sentence of the grammar with their tags."""
    words = sentence.split()
    concepts = _concepts(words)
    found = []
    for place, (word, concept) in enumerate(zip(words, concepts, strict=True)):
        kind = KIND_OF.get(concept, "")
        speech = SPEECH_OF.get(word) or ("numeral" if kind == "number" else "noun" if kind in (
            "outline", "place") else "adjective")
        found.append(Word(word, concept, kind, thing, number, place == 0, speech))
    return found


def _concepts(words: Sequence[str]) -> list[str]:
    """For each word the concept that it is, or is half of."""
    found = [word if word in KIND_OF else "" for word in words]
    for place, (one, two) in enumerate(zip(words, words[1:], strict=False)):
        if f"{one} {two}" in KIND_OF:
            found[place] = found[place + 1] = f"{one} {two}"
    return found


def text(words: Sequence[Word]) -> str:
    """The words with a space between each two."""
    return " ".join(word.text for word in words)


def tags(words: Sequence[Word]) -> pd.DataFrame:
    """A row for each word: its tags, and under ``next_…`` those of the word after it, which a
    causal model predicts there; behind the last word empty, -1 or ``False``."""
    import pandas as pd

    after = [*words[1:], Word("", "", "", -1, -1, False, "")]
    names = [field.name for field in fields(Word)]
    return pd.DataFrame({**{name: [getattr(word, name) for word in words] for name in names},
                         **{f"next_{name}": [getattr(word, name) for word in after]
                            for name in names}})


def grammar_words() -> tuple[str, ...]:
    """Every word that a caption can have, in the order of the alphabet."""
    said = [word for concept in KIND_OF for word in concept.split()]
    return tuple(sorted({*said, *SPEECH_OF}))
