"""Questions about a composed scene with answers that are exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuronpath_core.images.drawing import OUTLINES
from neuronpath_core.images.shapes import COLOURS, PARTS
from neuronpath_core.vlm.scenes import HELD_OUT_PAIRS, Scene
from neuronpath_core.vlm.words import NUMBERS, article

TYPES = ("colour", "fill", "place", "number", "background", "tone", "presence")
# what is asked first says the type and no more
FORMS = {
    "colour": "what colour is the {} ?", "fill": "what fill has the {} ?",
    "place": "where is the {} ?", "number": "how many shapes are there ?",
    "background": "what kind is the background ?", "tone": "what tone has the background ?",
    "presence": "is there {} {} {} ?",
}
DESCRIBE = "describe the image ."  # what is asked for a caption
YES, NO = "yes", "no"
QUESTION_STREAM = 2  # of the random numbers of a scene


@dataclass(frozen=True)
class Question:
    """A question about a scene.

    Attributes:
        type: as in ``TYPES``.
        text, answer: words with a space between each two; the answer has one or two.
        pair: the colour and outline that the answer is about: of the object, or of what is asked
            for; empty if about the whole scene.
    """

    type: str
    text: str
    answer: str
    pair: tuple[str, ...] = ()

    @property
    def is_of_new_pair(self) -> bool:
        """Whether it is about a colour and an outline that never meet in training."""
        return self.pair in HELD_OUT_PAIRS


def questions(scene: Scene) -> tuple[Question, ...]:
    """Every question about a scene: three for each object, three for the whole, and two of
    presence, of which one answer is yes and one no.

    What is not there is drawn so that it is hard to tell: an outline of the scene in another
    colour, a colour of the scene with another outline, or both others, each a third of the time.
    In training nobody asks for a held-out pair.

    Raises:
        ValueError: a scene without objects.
    """
    if not scene.things:
        raise ValueError("there is nothing to ask about a scene without objects; accepted: a scene "
                         "with one to three")
    found = [Question(kind, FORMS[kind].format(thing.outline), answer,
                      (thing.colour, thing.outline)) for thing in scene.things
             for kind, answer in (("colour", thing.colour), ("fill", thing.fill),
                                  ("place", thing.cell))]
    found += [Question("number", FORMS["number"], NUMBERS[len(scene.things) - 1]),
              Question("background", FORMS["background"], scene.ground[0]),
              Question("tone", FORMS["tone"], scene.ground[1])]
    rng = np.random.default_rng([scene.seed, PARTS.index(scene.part), scene.index, QUESTION_STREAM])
    there = scene.things[int(rng.integers(len(scene.things)))]
    return (*found, _presence((there.colour, there.outline), YES),
            _presence(_absent(scene, rng), NO))


def one_each(scenes: Sequence[Scene]) -> list[Question]:
    """A question about every scene, the types in turn, the objects and yes and no in turn within a
    type: a balanced set to measure with."""
    found = []
    for number, scene in enumerate(scenes):
        kind, turn = TYPES[number % len(TYPES)], number // len(TYPES)
        fitting = [question for question in questions(scene) if question.type == kind]
        found.append(fitting[turn % len(fitting)])
    return found


def chance(asked: Sequence[Question]) -> float:
    """The accuracy of who never looks: within every type the most frequent answer."""
    right = 0
    for kind in {question.type for question in asked}:
        answers = [question.answer for question in asked if question.type == kind]
        right += max(map(answers.count, set(answers)))
    return right / len(asked)


def question_words() -> tuple[str, ...]:
    """Every word that a question, a request or its answer has and a caption has not."""
    return tuple(sorted({word for form in (*FORMS.values(), DESCRIBE, YES, NO)
                         for word in form.split() if word != "{}"}))


def _presence(pair: tuple[str, str], answer: str) -> Question:
    return Question("presence", FORMS["presence"].format(article(pair[0]), *pair), answer, pair)


def _absent(scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """A colour and an outline that no object of the scene has together."""
    here = {(thing.colour, thing.outline) for thing in scene.things}
    colours, outlines = {colour for colour, _ in here}, {outline for _, outline in here}
    absent = [(colour, outline) for colour in COLOURS for outline in OUTLINES
              if (colour, outline) not in here
              and (scene.part != "train" or (colour, outline) not in HELD_OUT_PAIRS)]
    wanted = ((False, True), (True, False), (False, False))[int(rng.integers(3))]
    fitting = [(colour, outline) for colour, outline in absent
               if (colour in colours, outline in outlines) == wanted]
    return fitting[int(rng.integers(len(fitting)))]
