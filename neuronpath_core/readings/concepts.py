"""What an image shows, and where: concepts with a mask for each image, and positions as their
controls."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.images.drawing import FILLS, OUTLINES
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shapes import BACKGROUNDS, CLASS_NAMES, COLOURS, MASKS, TONES

if TYPE_CHECKING:
    from jaxtyping import Bool

INK = "ink"
# parts of a scene -> the mask that ImageSet has of them
PARTS = {"object": "object", "outline band": "outline", "fill area": "fill",
         "painted area": "colour"}
# what shapes.render says of a scene, whatever was changed in it
_CAPTION = re.compile(r"(?:no object|an? (?P<colour>\w+) (?P<fill>\w+) (?P<outline>\w+)) on a "
                      r"(?P<kind>\w+) (?P<tone>[\w ]+?) background")


@dataclass(frozen=True)
class ConceptSet:
    """K concepts of B images.

    Attributes:
        names: of the concepts.
        kinds: of each: ``part``, ``outline``, ``fill``, ``colour``, ``background``, ``tone`` or, of
            the controls, ``position``.
        masks: where each concept is; empty where it is not.
        present: whether an image has it.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    masks: Bool[np.ndarray, "concept image height width"]
    present: Bool[np.ndarray, "concept image"]

    def mask(self, name: str) -> Bool[np.ndarray, "image height width"]:
        """Where one concept is.

        Raises:
            ValueError: no such concept.
        """
        if name not in self.names:
            raise ValueError(f"unknown concept {name!r}; accepted: {', '.join(self.names)}")
        return self.masks[self.names.index(name)]


def foreground(images: ImageSet) -> Bool[np.ndarray, "image height width"]:
    """The pixels of what an image shows: of scenes the object, of digits the ink, which is darker
    than mid-grey.

    Args:
        images: of the data sets ``shapes`` or ``digits``, or of any that has a mask ``object``.

    Raises:
        ValueError: images without such a mask.
    """
    if images.masks and "object" in images.masks:
        return np.asarray(images.masks["object"], bool)
    if _are_digits(images):
        return ink(images)
    raise ValueError(f"{len(images)} images without a mask of what they show; accepted: an "
                     "ImageSet with masks['object'], or the scanned digits")


def _are_digits(images: ImageSet) -> bool:
    return (tuple(images.class_names) == tuple(map(str, range(10))) and images.images.ndim == 4
            and images.images.shape[1] == 1)


def ink(images: ImageSet) -> Bool[np.ndarray, "image height width"]:
    """The pixels that are darker than mid-grey, at the size at which models see them: of the
    digits, whose pixels are scaled so that 1 is ink and -1 is paper."""
    return images.images[:, 0].numpy() > 0


def concepts(images: ImageSet) -> ConceptSet:
    """The concepts of a data set whose images say what they show.

    Of scenes 28: object, outline band, fill area and painted area; each outline with the mask of
    the object, each fill with that of the fill area, each colour with that of the painted area;
    each kind and each tone of background outside the object.  Of digits one, the ink.

    Raises:
        ValueError: images of another data set.
    """
    if _are_digits(images):
        masks = ink(images)[None]
        return ConceptSet((INK,), ("part",), masks, masks.any((2, 3)))
    told = [_CAPTION.match(caption) for caption in images.captions or ()]
    if tuple(images.class_names) != CLASS_NAMES or not images.masks or not set(MASKS) <= set(
            images.masks) or len(told) != len(images) or not all(told):
        raise ValueError("concepts are known of rendered scenes, with their masks and captions, "
                         "and of the scanned digits; accepted: their ImageSet")
    where = {name: np.asarray(images.masks[mask], bool) for name, mask in PARTS.items()}
    rows = [("part", name, where[name], np.ones(len(images), bool)) for name in PARTS]
    outside = ~where["object"]
    for kind, group, values, mask in (
            ("outline", "outline", OUTLINES, where["object"]),
            ("fill", "fill", FILLS, where["fill area"]),
            ("colour", "colour", COLOURS, where["painted area"]),
            ("background", "kind", BACKGROUNDS, outside), ("tone", "tone", TONES, outside)):
        rows += [(kind, value, mask, np.array([each[group] == value for each in told]))
                 for value in values]
    masks = np.empty((len(rows), *outside.shape), bool)  # filled in place, or all are held twice
    for own, (_, _, mask, has) in zip(masks, rows, strict=True):
        np.logical_and(mask, has[:, None, None], out=own)
    return ConceptSet(tuple(name for _, name, _, _ in rows), tuple(kind for kind, *_ in rows),
                      masks, masks.any((2, 3)))


def positions(images: ImageSet, cells: int = 3) -> ConceptSet:
    """Concepts that are only places, the same in every image: ``cells`` by ``cells`` rectangles and
    the ring of the outermost ninth on each side.  They are controls: what fits them as well as a
    concept has found a place, not the concept.

    Raises:
        ValueError: no image, or more cells than pixels.
    """
    height, width = images.images.shape[2:]
    if len(images) == 0 or not 1 <= cells <= min(height, width):
        raise ValueError(f"{cells} cells a side for {len(images)} images of {height} by {width} "
                         "pixels; accepted: at least one image, and a pixel for each cell")
    down = np.arange(height) * cells // height
    across = np.arange(width) * cells // width
    number = down[:, None] * cells + across
    masks = [number == cell for cell in range(cells ** 2)]
    ring = np.ones((height, width), bool)
    top, left = max(1, height // 9), max(1, width // 9)
    ring[top:height - top, left:width - left] = False
    names = (*(f"cell {cell // cells + 1}, {cell % cells + 1}" for cell in range(cells ** 2)),
             "border ring")
    every = np.repeat(np.stack([*masks, ring])[:, None], len(images), 1)
    return ConceptSet(names, ("position",) * len(names), every, every.any((2, 3)))
