"""Rendered scenes: one object in front of a background, with a mask for every concept that its
class is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from neuronpath_core.images.drawing import (
    BAND,
    FILLS,
    OUTLINES,
    SIZE,
    STRIPE,
    X,
    Y,
    background,
    covered,
    paint,
)
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, UInt8

LARGEST = 13.0  # radius of the largest object
PARTS = ("train", "held_out")
MASKS = ("object", "outline", "fill", "colour")
COLOURS = {"red": (0.90, 0.10, 0.10), "orange": (1.00, 0.55, 0.00), "yellow": (0.95, 0.90, 0.10),
           "green": (0.10, 0.70, 0.20),
           "cyan": (0.10, 0.85, 0.90), "blue": (0.15, 0.25, 0.95), "purple": (0.55, 0.10, 0.75),
           "pink": (1.00, 0.50, 0.75)}
TONES = {"dark grey": 0.12, "grey": 0.42, "light grey": 0.80}
BACKGROUNDS = ("plain", "graded", "noisy")


CLASS_NAMES = tuple(f"{fill} {outline}" for outline in OUTLINES for fill in FILLS)
TAXONOMY = {"outline": tuple(outline for outline in OUTLINES for _ in FILLS),
            "fill": tuple(fill for _ in OUTLINES for fill in FILLS)}
# what of a scene can be changed alone -> the values that it can have
ATTRIBUTES: dict[str, tuple[str | None, ...]] = {
    "object": (None,),
    "outline": tuple(OUTLINES),
    "fill": tuple(FILLS),
    "colour": tuple(COLOURS),
    "background": tuple(f"{kind} {tone}" for kind in BACKGROUNDS for tone in TONES),
}


@dataclass(frozen=True)
class Scene:
    """A rendered scene.

    Attributes:
        pixels: uint8 ``(32, 32, 3)``.
        label: class, the position in ``CLASS_NAMES``.
        masks: bool ``(32, 32)`` each.  ``object``: the pixels inside the edge; ``outline``: of
            these the band along the edge, which is always painted; ``fill``: the others, where the
            pattern shows; ``colour``: the painted pixels, which carry the object's colour.
        caption: colour, fill, outline and background in words.
        attributes: ``outline``, ``fill``, ``colour`` and ``background``, each as in ``ATTRIBUTES``;
            of a scene without an object ``background`` alone.
        painted: float64 ``(32, 32)``, the share of each pixel that the object's paint covers, from
            0 to 1; in between along the edges.
    """

    pixels: UInt8[np.ndarray, "height width 3"]
    label: int
    masks: dict[str, Bool[np.ndarray, "height width"]]
    caption: str
    attributes: dict[str, str]
    painted: Float[np.ndarray, "height width"]


def _check_change(change: Mapping[str, str | None]) -> None:
    if not isinstance(change, Mapping):
        raise ValueError(f"change cannot be {shown(change)}; accepted: a mapping from "
                         f"{', '.join(ATTRIBUTES)} to what it becomes")
    for name, value in change.items():
        if not is_one_of(name, ATTRIBUTES):
            raise ValueError(f"unknown attribute {shown(name)} of a scene; accepted: "
                             f"{', '.join(ATTRIBUTES)}")
        if not any(value is each or isinstance(value, str) and value == each
                   for each in ATTRIBUTES[name]):
            raise ValueError(f"{name} cannot become {shown(value)}; accepted: "
                             f"{', '.join(map(str, ATTRIBUTES[name]))}")


def render(part: str, index: int, seed: int = 0, difficulty: float = 0.5,
           change: Mapping[str, str | None] | None = None) -> Scene:
    """One scene of class ``index % 24``, from ``numpy.random.default_rng([seed, part, index])``:
    the same whatever else is rendered.

    Drawn at random are colour, position, radius, rotation and background (plain, graded or noisy).
    ``difficulty`` d is how far the draws reach: the middle of the object lies anywhere in a square
    of d times the width that the object leaves free, it is turned by at most 180 d degrees, its
    radius is 12 - 5 d to 13 pixels, its contrast 1 - 0.7 d to 1; each of six small discs and bars
    lies behind it with probability d, and the noise of the pixels has the standard deviation 0.12 d
    of their range.

    ``change`` gives attributes other values than those drawn; the random numbers and all that is
    made of them stay.  Where the background changes, what is painted on it keeps its colour, which
    loss of contrast has drawn towards the tone that was there before.  Without the object its
    place shows the background and what lies on it; the label is still that of the index.

    Args:
        part: ``"train"`` or ``"held_out"``, which have no scene in common.
        index: number of the scene in its part.
        seed: of the whole data set.
        difficulty: from 0 to 1; the draws do not depend on it.
        change: names of ``ATTRIBUTES`` with the values that they get, such as
            ``{"colour": "red"}`` or ``{"object": None}``.

    Raises:
        ValueError: an unknown part, attribute or value, an index or a seed that is no whole number
            of at least 0, or a difficulty outside the range.
    """
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}; accepted: {', '.join(PARTS)}")
    for name, value in (("index", index), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{name} cannot be {value!r}; accepted: a whole number of at least 0")
    if isinstance(difficulty, bool) or not isinstance(difficulty,
                                                      (int, float)) or not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty cannot be {difficulty!r}; accepted: a number from 0 to 1")
    if change is not None:
        _check_change(change)
    rng, label = np.random.default_rng([seed, PARTS.index(part), index]), index % len(CLASS_NAMES)
    own, scatter = rng.random(20), rng.random((6, 6))
    grain, noise = rng.random((SIZE // 2, SIZE // 2)), rng.standard_normal((SIZE, SIZE, 3))
    names = list(COLOURS)
    tone = list(TONES)[int(own[1] * len(TONES))]
    attributes = {
        "outline": TAXONOMY["outline"][label], "fill": TAXONOMY["fill"][label],
        "colour": names[int(own[0] * len(names))],
        "background": f"{BACKGROUNDS[int(own[2] * len(BACKGROUNDS))]} {tone}", **(change or {}),
    }
    outline, fill, colour = (attributes[name] for name in ("outline", "fill", "colour"))
    kind, _, ground = attributes["background"].partition(" ")
    # the tone towards which paint is faded is the one that was drawn, whatever lies there now
    level = TONES[tone] + 0.08 * (own[3] - 0.5)
    contrast = 1 - 0.7 * difficulty * own[4]

    image = background(kind, TONES[ground] + 0.08 * (own[3] - 0.5), own[5:10], grain, difficulty)
    for present, shade, x, y, turn, size in scatter:
        if present < difficulty:
            along = np.cos(2 * np.pi * turn) * (X - SIZE * x) + np.sin(2 * np.pi * turn) * (
                Y - SIZE * y)
            across = np.cos(2 * np.pi * turn) * (Y - SIZE * y) - np.sin(2 * np.pi * turn) * (
                X - SIZE * x)
            distance = np.hypot(along, across) - 1 - 2 * size if size < 0.5 else np.maximum(
                np.abs(along) - 6 * size, np.abs(across) - 0.7)
            image = paint(image, covered(distance),
                           np.array(COLOURS[names[int(shade * len(names))]]), contrast, level)

    radius = LARGEST - (1 + 5 * difficulty) * own[10]
    margin = 0.9 * radius
    room, turn = difficulty * (SIZE - 2 * margin), difficulty * np.pi * (2 * own[13] - 1)
    x, y = X - SIZE / 2 - room * (own[11] - 0.5), Y - SIZE / 2 - room * (own[12] - 0.5)
    cosine, sine = np.cos(turn), np.sin(turn)
    x, y = cosine * x + sine * y, cosine * y - sine * x
    edge = radius * OUTLINES[outline](x / radius, y / radius)
    pattern = np.minimum(FILLS[fill](x + STRIPE * own[14], y + STRIPE * own[15]), -BAND - edge)
    if "object" in attributes:  # there is none
        edge = np.full_like(edge, np.inf)
    whole, painted = covered(edge), covered(np.maximum(edge, pattern))
    image = paint(image, painted, np.array(COLOURS[colour]) + 0.1 * (own[16:19] - 0.5), contrast,
                   level)
    pixels = np.round(255 * np.clip(image + 0.12 * difficulty * noise, 0, 1)).astype(np.uint8)

    inside = whole > 0.5
    band = inside & (covered(np.maximum(edge, -BAND - edge)) > 0.5)
    masks = {"object": inside, "outline": band, "fill": inside & ~band, "colour": painted > 0.5}
    there = f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {fill} {outline}"
    if "object" in attributes:
        there, attributes = "no object", {"background": attributes["background"]}
    else:
        label = CLASS_NAMES.index(f"{fill} {outline}")
    return Scene(pixels, label, masks, f"{there} on a {kind} {ground} background", attributes,
                 painted)


def load_shapes(part: str, count: int, seed: int = 0, difficulty: float = 0.5) -> ImageSet:
    """The first ``count`` scenes of a part, as :func:`render` draws them: 24 classes in turn,
    six outlines with four fills.

    Pixels are scaled to ``[0, 1]`` and normalised with mean = std = 0.5; a scene is the same
    whatever the count.

    Args:
        part: ``"train"`` or ``"held_out"``, which have no scene in common.
        count: number of scenes.
        seed: of the whole data set.
        difficulty: from 0 to 1: noise, loss of contrast, distractors and range of sizes.

    Returns:
        Images ``(count, 3, 32, 32)`` with taxonomy (``outline``, ``fill``), masks (``object``,
        ``outline``, ``fill``, ``colour``) and captions.

    Raises:
        ValueError: fewer scenes than classes, or what :func:`render` refuses.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < len(CLASS_NAMES):
        raise ValueError(f"the number of scenes cannot be {count!r}; accepted: a whole number "
                         f"from {len(CLASS_NAMES)} (one of each class)")
    return scene_set([render(part, index, seed, difficulty) for index in range(count)],
                     range(count))


def scene_set(scenes: Sequence[Scene], ids: Iterable[int]) -> ImageSet:
    """Scenes as :func:`load_shapes` gives them: pixels of float64 in ``[-1, 1]``, with labels,
    taxonomy, masks and captions.

    Args:
        scenes: at least one.
        ids: the number of each scene in its part.
    """
    pixels = np.stack([scene.pixels for scene in scenes])
    return ImageSet(
        images=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().double() / 127.5 - 1,
        labels=torch.tensor([scene.label for scene in scenes]),
        ids=torch.tensor(list(ids)),
        class_names=CLASS_NAMES,
        pixels=pixels,
        taxonomy=TAXONOMY,
        masks={name: np.stack([scene.masks[name] for scene in scenes]) for name in MASKS},
        captions=tuple(scene.caption for scene in scenes),
    )
