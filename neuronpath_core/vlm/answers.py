"""Words that a vision-language model is about to say of scenes: answers to questions, the same
words in captions, and words that the grammar forces whatever the image shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neuronpath_core.images.shapes import COLOURS
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.vlm.questions import DESCRIBE, FORMS
from neuronpath_core.vlm.scenes import Scene, compose_many
from neuronpath_core.vlm.words import Word, caption, text

KINDS = ("question", "caption", "forced")
GRAMMAR = 400  # training scenes whose captions tell which words are forced


@dataclass(frozen=True)
class Case:
    """A word that is about to be said.

    Attributes:
        kind: ``"question"``: the colour of an object, asked for; ``"caption"``: the colour of the
            same object in the scene's caption; ``"forced"``: a word of the caption that the two
            words before it allow no other for, and that no concept of the scene is in.
        scene: position among the scenes.
        request, before: what is asked, and the words of the answer that are said already.
        word: that is about to be said, true of the scene.
        other: another colour, of no object of the scene; of a forced word the word itself.
        colour: of the object.
    """

    kind: str
    scene: int
    request: str
    before: str
    word: str
    other: str
    colour: str


def cases(scenes: Sequence[Scene], kind: str, seed: int = 0) -> list[Case]:
    """A case of every scene, of an object that is drawn; the same object whatever the kind.  A
    scene whose caption has no forced word has no such case.

    Raises:
        ValueError: an unknown kind.
    """
    if not is_one_of(kind, KINDS):
        raise ValueError(f"unknown kind {shown(kind)}; accepted: {', '.join(KINDS)}")
    found = [_case(scene, place, kind, seed) for place, scene in enumerate(scenes)]
    return [case for case in found if case is not None]


def _case(scene: Scene, place: int, kind: str, seed: int) -> Case | None:
    rng = np.random.default_rng([seed, scene.index])
    number = int(rng.integers(len(scene.things)))
    colour = scene.things[number].colour
    absent = [each for each in COLOURS if each not in {thing.colour for thing in scene.things}]
    other = absent[int(rng.integers(len(absent)))]
    if kind == "question":
        request = FORMS["colour"].format(scene.things[number].outline)
        return Case(kind, place, request, "", colour, other, colour)
    words = caption(scene)
    if kind == "caption":
        said = next(here for here, word in enumerate(words)
                    if word.thing == number and word.kind == "colour")
        return Case(kind, place, DESCRIBE, text(words[:said]), colour, other, colour)
    forced = forced_places(words)
    if not forced:
        return None
    said = forced[int(rng.integers(len(forced)))]
    word = words[said].text
    return Case(kind, place, DESCRIBE, text(words[:said]), word, word, colour)


def forced_places(words: Sequence[Word]) -> list[int]:
    """The places of a caption's words that the two words before them allow no other for, in the
    same sentence and without a concept."""
    known = followers()
    return [place for place in range(2, len(words))
            if not words[place].concept and words[place].sentence == words[place - 2].sentence
            and words[place].speech != "punctuation"
            and len(known.get((words[place - 2].text, words[place - 1].text), ())) == 1]


@lru_cache(maxsize=1)
def followers() -> dict[tuple[str, str], frozenset[str]]:
    """After which two words which words occur in the captions of ``GRAMMAR`` training scenes."""
    found: dict[tuple[str, str], set[str]] = {}
    for scene in compose_many("train", GRAMMAR):
        said = [word.text for word in caption(scene)]
        for one, two, three in zip(said, said[1:], said[2:], strict=False):
            found.setdefault((one, two), set()).add(three)
    return {pair: frozenset(after) for pair, after in found.items()}
