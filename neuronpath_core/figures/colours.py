"""One code of colours and marks for all figures: what has a colour in one figure has it in all.

A model has its colour and its mark, a method its own; a data set is told by how a mark is filled.
The path, and what is left without it, is vermilion, what is doubled blue, what is dealt at random
grey. Names that are not in the code, such as those of your own models, take what is free.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import seaborn as sns

from neuronpath_core.figures.style import MARKERS
from neuronpath_core.stats.labels import method_labels

# told apart by people who do not see red or green, and on paper
PALETTE = tuple(sns.color_palette("colorblind").as_hex())
BLUE, ORANGE, GREEN, VERMILION, PINK, BROWN, LIGHT, GREY, YELLOW, SKY = PALETTE
# of an image's probabilities: as they are, with the path removed, with it doubled
EDITS = ("#8c8c8c", VERMILION, BLUE)
# by the end of a model's name, whatever stands before it ("tiny-", "ViT-")
MODELS = {"B-16": (BLUE, "o"), "B-32": (ORANGE, "s"), "L-32": (GREEN, "D"), "L-16": (SKY, "v"),
          "MAE-B-16": (PINK, "^")}
METHODS = {"neuron_path": (VERMILION, "o"), "random": (GREY, "P"), "matched_random": (GREY, "s"),
           "activation": (BLUE, "X"), "influence_pattern": (ORANGE, "v"),
           "influence_pattern_eq9": (BROWN, "p"), "knowledge": (PINK, "D"),
           "gradient_activation": (GREEN, "*"), "complete": (YELLOW, "<"),
           "ablation": (SKY, "h"), "relp": (LIGHT, "d")}
# what else figures call a method
ALSO = {"matched": "matched_random", "matched random neurons": "matched_random",
        "matched random path": "matched_random",
        "single-neuron integrated gradients": "knowledge"}
OTHERS = {"attention": (SKY, "D"), "ffn": (BROWN, "s"),  # halves of a block
          "class labels": (VERMILION, "o"), "shuffled labels": (GREY, "s")}
# how the marks of the first, second, ... data set are filled
FILLS = ("full", "none", "left", "bottom")


class Look(NamedTuple):
    """Colour, mark and how it is filled (matplotlib's ``fillstyle``)."""

    colour: str
    mark: str
    fill: str = "full"

    @property
    def drawn(self) -> dict[str, str]:
        """As matplotlib's lines and error bars take it."""
        return {"color": self.colour, "marker": self.mark, "fillstyle": self.fill}


def looks(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, Look]:
    """The look of each model, method or part of a block, however its name is capitalised.

    Args:
        names: as they stand in a legend; a model may have a data set before or behind it
            (``tiny-B-16, digits``).
        taken: colours that something else in the figure has.
    """
    names = list(dict.fromkeys(names))
    data = list(dict.fromkeys(each for name in names for each in _parted(name)[1:]))
    found: dict[str, Look] = {}
    for name in names:
        model, *of = _parted(name)
        if (known := _known(model)) is None:
            continue
        look = Look(*known, FILLS[data.index(of[0]) % len(FILLS)] if of else "full")
        if look not in found.values():
            found[name] = look
    used = set(taken) | {look.colour for look in found.values()}
    colours = [each for each in PALETTE if each not in used] or list(PALETTE)
    shapes = {look.mark for look in found.values()}
    marks = [each for each in MARKERS if each not in shapes] or list(MARKERS)
    for number, name in enumerate(name for name in names if name not in found):
        found[name] = Look(colours[number % len(colours)], marks[number % len(marks)])
    return {name: found[name] for name in names}


def cell_looks(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Look]:
    """The look of each model on each data set, by ``(data, model)``."""
    pairs = list(dict.fromkeys(pairs))
    models = looks(model for _, model in pairs)
    data = list(dict.fromkeys(name for name, _ in pairs))
    return {(name, model): models[model]._replace(fill=FILLS[data.index(name) % len(FILLS)])
            for name, model in pairs}


def _parted(name: str) -> list[str]:
    """A name, and the data set that it has before or behind it if it is a model's."""
    first, comma, second = name.partition(", ")
    if comma and _end(first):
        return [first, second]
    return [second, first] if comma and _end(second) else [name]


def _known(name: str) -> tuple[str, str] | None:
    if end := _end(name):
        return MODELS[end]
    keys = ALSO | {title.casefold(): key for key, title in method_labels().items()}
    return (OTHERS | METHODS).get(keys.get(name.casefold(), name.casefold()))


def _end(name: str) -> str:
    """The longest known end of a model's name; ``""`` if there is none."""
    return max((end for end in MODELS if name == end or name.endswith(f"-{end}")), key=len,
               default="")
