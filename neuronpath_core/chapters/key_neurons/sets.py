"""The image sets on which maps are held against masks."""

from __future__ import annotations

from collections.abc import Mapping

from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shapes import load_shapes
from neuronpath_core.study.study import Study

FREER = "freer places"  # the scenes of the shapes, drawn with more freedom of place
DIFFICULTY = 0.5


def freer(study: Study, count: int, seed: int = 0) -> ImageSet | None:
    """Held-out scenes at a difficulty at which the object's place varies more; ``None`` for a data
    set that is not rendered."""
    dataset = study.settings["dataset"]
    if dataset.get("name") != "shapes":
        return None
    scenes = load_shapes("held_out", dataset["held_out_images"], dataset.get("seed", 0),
                         DIFFICULTY)
    return scenes.balanced(count, seed)


def places(studies: Mapping[str, Study], images: Mapping[str, ImageSet], count: int,
           seed: int = 0) -> dict[str, tuple[Study, ImageSet]]:
    """The image sets on which maps are held against masks: each study's own, and scenes with freer
    places."""
    found = {name: (study, images[name]) for name, study in studies.items()}
    for study in studies.values():
        scenes = freer(study, count, seed)
        if scenes is not None:
            found[FREER] = (study, scenes)
    return found
