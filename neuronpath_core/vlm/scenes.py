"""Composed scenes: one to three objects, each in its own quarter of the image, in front of one
background, with masks and attributes for all that captions and questions can speak of.

The outlines, fills, colours and backgrounds are those of :mod:`neuronpath_core.images.shapes`.
Position is nearly free here, so that a map which finds an object has found more than a place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.images.drawing import BAND, FILLS, OUTLINES, STRIPE
from neuronpath_core.images.shapes import BACKGROUNDS, COLOURS, PARTS, TONES
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, UInt8

SIZE, CELL = 64, 32  # height and width of a scene and of one of its quarters, in pixels
FINE = 2  # samples along each side of a pixel
CELLS = ("top left", "top right", "bottom left", "bottom right")
MOST = 3  # objects in a scene
SMALLEST, LARGEST, JITTER = 9.0, 13.0, 3.0  # radius and shift of an object, in pixels
TURN = np.pi / 6  # an object is turned by at most this, in radians
REACH = 1.04  # of its radius, which an outline has at most in width and height when so turned
FADED = 0.4  # loss of contrast, at most
NOISE, GRAIN, SLOPE = 0.02, 0.06, 0.2  # of the pixels and the backgrounds, in units of their range
MASKS = ("object", "outline", "fill", "colour")
ATTRIBUTES = {"outline": tuple(OUTLINES), "fill": tuple(FILLS), "colour": tuple(COLOURS)}
GROUNDS = tuple(f"{kind} {tone}" for kind in BACKGROUNDS for tone in TONES)
# never in a training scene, nor in its captions and questions: colour and outline
HELD_OUT_PAIRS = (("red", "triangle"), ("blue", "star"), ("yellow", "circle"))

Change = Mapping[str, "Mapping[str, str] | str | None"]
_STEPS = (np.arange(CELL * FINE) + 0.5) / FINE - CELL / 2
_Y, _X = np.meshgrid(_STEPS, _STEPS, indexing="ij")


@dataclass(frozen=True)
class Thing:
    """An object of a scene: the quarter that it lies in, its outline, fill and colour."""

    cell: str
    outline: str
    fill: str
    colour: str


@dataclass(frozen=True)
class Scene:
    """A composed scene.

    Attributes:
        part, index, seed: what it was drawn from.
        pixels: uint8 ``(64, 64, 3)``.
        things: its objects in the order of reading; their outlines differ.
        ground: kind of the background, and its tone.
        masks: bool ``(thing, 64, 64)`` each.  ``object``: the pixels inside the edge; ``outline``:
            of these the band along the edge; ``fill``: the others; ``colour``: the painted pixels.
    """

    part: str
    index: int
    seed: int
    pixels: UInt8[np.ndarray, "height width 3"]
    things: tuple[Thing, ...]
    ground: tuple[str, str]
    masks: dict[str, Bool[np.ndarray, "thing height width"]]


def allowed_colours(part: str, outline: str) -> tuple[str, ...]:
    """The colours that an outline has in a part of the data: all, in training without those of the
    held-out pairs."""
    return tuple(colour for colour in COLOURS
                 if part != "train" or (colour, outline) not in HELD_OUT_PAIRS)


def compose(part: str, index: int, seed: int = 0, change: Change | None = None) -> Scene:
    """One scene from ``numpy.random.default_rng([seed, part, index])``: the same whatever else is
    drawn.

    Independent draws give the number of objects (one to three), their quarters, outlines (all
    different), fills, colours, radii (9 to 13 pixels), shifts (at most 3 pixels each way, none out
    of the quarter), turns (at most 30 degrees) and contrast, and kind and tone of the background.
    No training scene has one of ``HELD_OUT_PAIRS``.

    ``change`` gives attributes other values than those drawn; the random numbers and all else that
    is made of them stay.

    Args:
        part: ``"train"`` or ``"held_out"``, which have no scene in common.
        index: number of the scene in its part.
        seed: of the whole data set.
        change: ``{"top left": {"colour": "red"}}`` for the object of a quarter, ``{"top left":
            None}`` for the scene without it, ``{"background": "plain grey"}``; several at once.

    Raises:
        ValueError: an unknown part, quarter, attribute or value, a quarter without an object, an
            outline that the scene has already, an index or a seed that is no whole number of at
            least 0.
    """
    _check_draw(part, index, seed)
    rng = np.random.default_rng([seed, PARTS.index(part), index])
    own, cells, outlines = rng.random(10), rng.permutation(len(CELLS)), rng.permutation(
        len(OUTLINES))
    draws, grain = rng.random((MOST, 11)), rng.random((SIZE // 2, SIZE // 2))
    noise = rng.standard_normal((SIZE, SIZE, 3))
    things = [_thing(part, CELLS[cell], tuple(OUTLINES)[outline], row) for cell, outline, row in
              zip(sorted(cells[:1 + int(own[0] * MOST)]), outlines, draws, strict=False)]
    tone = tuple(TONES)[int(own[2] * len(TONES))]
    ground = (BACKGROUNDS[int(own[1] * len(BACKGROUNDS))], tone)
    changed, ground = _changed(things, ground, change or {})

    image = _ground(*ground, own, grain)
    masks = {name: np.zeros((len(things), SIZE, SIZE), bool) for name in MASKS}
    for number, (thing, row) in enumerate(zip(changed, draws, strict=False)):
        if thing is not None:
            # paint is faded towards the tone that was drawn, whatever lies there now
            _draw(image, masks, number, thing, row, TONES[tone])
    kept = [number for number, thing in enumerate(changed) if thing is not None]
    pixels = np.round(255 * np.clip(image + NOISE * noise, 0, 1)).astype(np.uint8)
    return Scene(part, index, seed, pixels, tuple(changed[number] for number in kept), ground,
                 {name: mask[kept] for name, mask in masks.items()})


def compose_many(part: str, count: int, seed: int = 0, first: int = 0) -> list[Scene]:
    """The scenes ``first`` to ``first + count - 1`` of a part, as :func:`compose` draws them."""
    return [compose(part, index, seed) for index in range(first, first + count)]


def covered(distance: Float[np.ndarray, "fine fine"]) -> Float[np.ndarray, "height width"]:
    """The share of each pixel on the inner side of an edge, from the signed distance to it, in
    pixels, on the finer grid."""
    fine = np.clip(0.5 - distance * FINE, 0, 1)
    return fine.reshape(len(fine) // FINE, FINE, -1, FINE).mean((1, 3))


def _check_draw(part: object, index: object, seed: object) -> None:
    if not is_one_of(part, PARTS):
        raise ValueError(f"unknown part {shown(part)}; accepted: {', '.join(PARTS)}")
    for name, value in (("index", index), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{name} cannot be {shown(value)}; accepted: a whole number of at "
                             "least 0")


def _thing(part: str, cell: str, outline: str, row: np.ndarray) -> Thing:
    colours = allowed_colours(part, outline)
    return Thing(cell, outline, tuple(FILLS)[int(row[0] * len(FILLS))],
                 colours[int(row[1] * len(colours))])


def _changed(things: list[Thing], ground: tuple[str, str], change: object
             ) -> tuple[list[Thing | None], tuple[str, str]]:
    """The objects, ``None`` where one is taken away, and the background after a change."""
    here = [thing.cell for thing in things]
    if not isinstance(change, Mapping) or not all(is_one_of(key, [*here, "background"])
                                                  for key in change):
        raise ValueError(f"change cannot be {shown(change)}; accepted: a mapping from background, "
                         f"{', '.join(here)} to what becomes of it")
    if "background" in change:
        if not is_one_of(change["background"], GROUNDS):
            raise ValueError(f"background cannot become {shown(change['background'])}; accepted: "
                             f"{', '.join(GROUNDS)}")
        kind, _, tone = change["background"].partition(" ")
        ground = (kind, tone)
    found = [_changed_thing(thing, change[thing.cell]) if thing.cell in change else thing
             for thing in things]
    outlines = [thing.outline for thing in found if thing is not None]
    if len(set(outlines)) < len(outlines):
        raise ValueError(f"a scene cannot have the outlines {', '.join(outlines)}; accepted: "
                         "outlines that differ")
    return found, ground


def _changed_thing(thing: Thing, values: object) -> Thing | None:
    if values is None:
        return None
    if not isinstance(values, Mapping) or not all(is_one_of(key, ATTRIBUTES) for key in values):
        raise ValueError(f"the object at the {thing.cell} cannot become {shown(values)}; accepted: "
                         f"a mapping from {', '.join(ATTRIBUTES)} to a value, or None")
    for name, value in values.items():
        if not is_one_of(value, ATTRIBUTES[name]):
            raise ValueError(f"{name} cannot become {shown(value)}; accepted: "
                             f"{', '.join(ATTRIBUTES[name])}")
    return Thing(**{**vars(thing), **values})


def _ground(kind: str, tone: str, own: np.ndarray, grain: np.ndarray
            ) -> Float[np.ndarray, "height width 3"]:
    light = np.full((SIZE, SIZE), TONES[tone] + 0.08 * (own[3] - 0.5))
    if kind == "graded":
        turn, place = 2 * np.pi * own[4], (np.arange(SIZE) + 0.5) / SIZE - 0.5
        light += SLOPE * (1 + own[5]) * (np.cos(turn) * place[None] + np.sin(turn) * place[:, None])
    if kind == "noisy":
        light += GRAIN * (1 + own[6]) * np.kron(2 * grain - 1, np.ones((2, 2)))
    return light[..., None] + 0.05 * (own[7:10] - 0.5)


def _draw(image: np.ndarray, masks: dict[str, np.ndarray], number: int, thing: Thing,
          row: np.ndarray, level: float) -> None:
    """Paint an object into its quarter of the image, and write its masks."""
    radius, turn = SMALLEST + (LARGEST - SMALLEST) * row[2], TURN * (2 * row[3] - 1)
    room = min(JITTER, CELL / 2 - REACH * radius)
    x, y = _X - room * (2 * row[4] - 1), _Y - room * (2 * row[5] - 1)
    x, y = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    edge = radius * OUTLINES[thing.outline](x / radius, y / radius)
    pattern = FILLS[thing.fill](x + STRIPE * row[6], y + STRIPE * row[6])
    painted = covered(np.maximum(edge, np.minimum(pattern, -BAND - edge)))
    colour = np.array(COLOURS[thing.colour]) + 0.1 * (row[7:10] - 0.5)
    faded = level + (1 - FADED * row[10]) * (colour - level)
    quarter = _quarter(thing.cell)
    image[quarter] += painted[..., None] * (faded - image[quarter])
    inside = covered(edge) > 0.5
    band = inside & (covered(np.maximum(edge, -BAND - edge)) > 0.5)
    for name, mask in zip(MASKS, (inside, band, inside & ~band, painted > 0.5), strict=True):
        masks[name][number][quarter] = mask


def _quarter(cell: str) -> tuple[slice, slice]:
    down, across = divmod(CELLS.index(cell), 2)
    return (slice(CELL * down, CELL * (down + 1)), slice(CELL * across, CELL * (across + 1)))
