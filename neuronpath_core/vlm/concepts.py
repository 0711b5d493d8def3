"""What composed scenes show, and where: the concepts of :mod:`neuronpath_core.readings.concepts`
for several objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.images.drawing import FILLS, OUTLINES
from neuronpath_core.images.shapes import BACKGROUNDS, COLOURS, TONES
from neuronpath_core.readings.concepts import PARTS, ConceptSet
from neuronpath_core.vlm.scenes import Scene

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

# kind of concept -> its concepts; of an object the mask that shows them
KINDS: dict[str, tuple[str, ...]] = {
    "part": tuple(PARTS), "outline": tuple(OUTLINES), "fill": tuple(FILLS),
    "colour": tuple(COLOURS), "background": BACKGROUNDS, "tone": tuple(TONES)}
SHOWN_BY = {"outline": "object", "fill": "fill", "colour": "colour"}
NAMES = tuple(name for names in KINDS.values() for name in names)


def scene_masks(scene: Scene) -> Bool[np.ndarray, "concept height width"]:
    """Where a scene shows each of the 28 concepts ``NAMES``: object, outline band, fill area and
    painted area; each outline on its object, each fill on the fill area, each colour on the
    painted area; kind and tone of the background outside the objects."""
    whole = scene.masks["object"].any(0)
    nothing = np.zeros_like(whole)
    found = [scene.masks[mask].any(0) for mask in PARTS.values()]
    for kind, mask in SHOWN_BY.items():
        found += [np.any([nothing, *(scene.masks[mask][number] for number, thing in
                                     enumerate(scene.things) if getattr(thing, kind) == name)], 0)
                  for name in KINDS[kind]]
    found += [~whole & (name in scene.ground) for name in (*BACKGROUNDS, *TONES)]
    return np.stack(found)


def scene_concepts(scenes: Sequence[Scene]) -> ConceptSet:
    """The concepts of some scenes, pixel by pixel: 115 kB a scene.

    Raises:
        ValueError: no scene.
    """
    if not len(scenes):
        raise ValueError("no scenes; accepted: at least one")
    masks = np.stack([scene_masks(scene) for scene in scenes], 1)
    kinds = tuple(kind for kind, names in KINDS.items() for _ in names)
    return ConceptSet(NAMES, kinds, masks, masks.any((2, 3)))


def concept_coverage(scenes: Sequence[Scene], patch: int = 8
                     ) -> Float[np.ndarray, "scene concept patch"]:
    """The share of each patch's pixels that shows each concept, float32 from 0 to 1, patches row by
    row.

    Raises:
        ValueError: no scene, or a patch that does not divide the image.
    """
    if not len(scenes):
        raise ValueError("no scenes; accepted: at least one")
    side = len(scenes[0].pixels)
    if isinstance(patch, bool) or not isinstance(patch, int) or patch < 1 or side % patch:
        raise ValueError(f"patch cannot be {patch!r}; accepted: a divisor of {side}")
    count = side // patch
    return np.stack([scene_masks(scene).reshape(-1, count, patch, count, patch).mean(
        (2, 4), dtype=np.float32).reshape(-1, count * count) for scene in scenes])
