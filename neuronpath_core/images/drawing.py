"""What rendered scenes are drawn by: outlines, fills, backgrounds and paint."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

SIZE = 32  # height and width of a scene
SUPERSAMPLING = 2
BAND = 1.7  # width of the outline, in pixels
# period of the stripes, period and radius of the dots, in pixels
STRIPE, DOT, DOT_RADIUS = 4.0, 4.4, 1.35


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    tenth, inner = np.pi / 5, 0.5
    angle = np.abs((np.arctan2(y, x) + tenth) % (2 * tenth) - tenth)  # folded onto half a ray
    along, across = inner * np.cos(tenth) - 1, inner * np.sin(tenth)
    radius, length = np.hypot(x, y), np.hypot(along, across)
    return (across * (radius * np.cos(angle) - 1) - along * radius * np.sin(angle)) / length


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - 0.95, y - 0.4), np.maximum(x - 0.4, y - 0.95))


# distance to the edge, negative inside, in coordinates in which the object fills the unit circle
OUTLINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda x, y: np.hypot(x, y) - 0.9,
    "square": lambda x, y: np.maximum(np.abs(x), np.abs(y)) - 0.75,
    "triangle": lambda x, y: np.maximum(-y, 0.8660254037844386 * np.abs(x) + 0.5 * y) - 0.5,
    "star": lambda x, y: _star(-y, x),
    "cross": _cross,
    "crescent": lambda x, y: np.maximum(np.hypot(x, y) - 0.95, 0.7 - np.hypot(x, y + 0.65)),
}
# distance to the edge of the painted pattern inside the outline, in pixels of the object's own axes
FILLS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "solid": lambda x, y: np.full_like(x, -np.inf),
    "hollow": lambda x, y: np.full_like(x, np.inf),
    "striped": lambda x, y: np.abs(y % STRIPE - STRIPE / 2) - STRIPE / 4,
    "dotted": lambda x, y: np.hypot(x % DOT - DOT / 2, y % DOT - DOT / 2) - DOT_RADIUS,
}
# the middles of finer pixels, in pixels from the upper left corner
_STEPS = (np.arange(SIZE * SUPERSAMPLING) + 0.5) / SUPERSAMPLING
Y, X = np.meshgrid(_STEPS, _STEPS, indexing="ij")


def covered(distance: np.ndarray) -> Float[np.ndarray, "height width"]:
    """Share of each pixel on the inner side of an edge, from the signed distance on the finer grid.
    """
    fine = np.clip(0.5 - distance * SUPERSAMPLING, 0, 1)
    return fine.reshape(SIZE, SUPERSAMPLING, SIZE, SUPERSAMPLING).mean((1, 3))


def background(kind: str, level: float, draws: np.ndarray, grain: np.ndarray,
               difficulty: float) -> Float[np.ndarray, "height width 3"]:
    """Plain, graded or noisy, around a level of 0 to 1, by draws from 0 to 1."""
    light = np.full((SIZE, SIZE), level)
    if kind == "graded":
        slope = 0.15 + 0.25 * difficulty * draws[0]
        turn, place = 2 * np.pi * draws[1], (np.arange(SIZE) + 0.5) / SIZE - 0.5
        light += slope * (np.cos(turn) * place[None] + np.sin(turn) * place[:, None])
    if kind == "noisy":
        light += (0.05 + 0.10 * difficulty) * np.kron(2 * grain - 1, np.ones((2, 2)))
    return light[..., None] + 0.05 * (draws[2:5] - 0.5)


def paint(image: np.ndarray, share: np.ndarray, colour: np.ndarray, contrast: float,
          level: float) -> np.ndarray:
    """An image with a colour laid over a share of each pixel, drawn towards the level by what it
    lacks of contrast."""
    return image + share[..., None] * (level + contrast * (colour - level) - image)
