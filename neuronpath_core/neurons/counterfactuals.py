"""Scenes drawn again with one attribute changed, as whole families: every value that an attribute
can have, all else equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.images.shape_pairs import DEFAULTS, PAIRED
from neuronpath_core.images.shapes import ATTRIBUTES, BACKGROUNDS, PARTS, TONES, render
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

OBJECT = "object"
# every change of a scene, the first of them none
CHANGES: tuple[dict[str, str | None], ...] = ({}, *(
    {attribute: value} for attribute, values in ATTRIBUTES.items() for value in values))
# what an attribute's value is called as a concept, with the kind of readings.concepts
KINDS = ("part", "outline", "fill", "colour", "background", "tone")


@dataclass(frozen=True)
class Contrast:
    """Which of a scene's changes show a concept, and which are the same without it.

    Attributes:
        name, kind: of the concept, as :func:`~neuronpath_core.readings.concepts.concepts` has them.
        with_it, without: of ``CHANGES``.
    """

    name: str
    kind: str
    with_it: Bool[np.ndarray, "change"]
    without: Bool[np.ndarray, "change"]


def contrasts() -> tuple[Contrast, ...]:
    """The concepts of a scene that can be changed alone: the object, and every outline, fill,
    colour, kind and tone of background; each value against all others of the same attribute."""
    values = [next(iter(change.items()), ("", "")) for change in CHANGES]
    found = [Contrast(OBJECT, "part", np.array([not change for change in CHANGES]),
                      np.array([name == "object" for name, _ in values]))]
    for kind in ("outline", "fill", "colour"):
        of_kind = np.array([name == kind for name, _ in values])
        for value in ATTRIBUTES[kind]:
            here = np.array([(name, each) == (kind, value) for name, each in values])
            found.append(Contrast(value, kind, here, of_kind & ~here))
    of_kind = np.array([name == "background" for name, _ in values])
    for kind, names, part in (("background", BACKGROUNDS, 0), ("tone", tuple(TONES), 2)):
        for name in names:
            here = of_kind & np.array([str(each).partition(" ")[part] == name
                                       for _, each in values])
            found.append(Contrast(name, kind, here, of_kind & ~here))
    return tuple(found)


def families(dataset: Mapping[str, Any], indices: Sequence[int],
             part: str = "held_out") -> Float[Tensor, "scene change channel height width"]:
    """Scenes with every change of ``CHANGES``, float64 in [-1, 1] as the models see them.

    Args:
        dataset: the ``dataset`` entry of a profile of rendered scenes.
        indices: numbers of the scenes in their part, as ``ImageSet.ids`` has them.
        part: ``"train"`` or ``"held_out"``.

    Raises:
        ValueError: another data set, an unknown part, or no scenes.
    """
    name = dataset.get("name") if isinstance(dataset, Mapping) else None
    if not is_one_of(name, PAIRED):
        raise ValueError(f"data set {shown(name)} cannot be drawn again; accepted: the dataset "
                         f"entry of a profile whose name is {', '.join(PAIRED)}")
    if not is_one_of(part, PARTS) or not len(indices):
        raise ValueError(f"{len(indices)} scenes of part {shown(part)}; accepted: at least one, of "
                         f"{', '.join(PARTS)}")
    settings = {key: dataset.get(key, value) for key, value in DEFAULTS.items()}
    pixels = np.stack([[render(part, int(index), **settings, change=change or None).pixels
                        for change in CHANGES] for index in indices])
    return torch.from_numpy(pixels).permute(0, 1, 4, 2, 3).double() / 127.5 - 1
