"""Scenes with their captions, batch by batch, as a vision-language model is called with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from neuronpath_core.vlm.questions import DESCRIBE
from neuronpath_core.vlm.scenes import Scene
from neuronpath_core.vlm.words import caption, text

if TYPE_CHECKING:
    from neuronpath_core.vlm.adapter import VisionLanguageModel
    from neuronpath_core.vlm.inputs import Inputs
    from neuronpath_core.vlm.records import Batches

BATCH = 100


def caption_batches(model: VisionLanguageModel, scenes: Sequence[Scene],
                    captions: Sequence[str] | None = None, size: int = BATCH) -> Batches:
    """Batches for :func:`~neuronpath_core.vlm.records.collect`: each scene, the request to describe
    it, and a caption as the answer.

    Args:
        model: that is to be called.
        scenes: at least one.
        captions: one for each scene, such as the model's own (``model.generate``) or those of other
            scenes; ``None``: each scene's own, teacher-forced.
        size: scenes of a batch.

    Raises:
        ValueError: no scenes, another number of captions, or a size below 1.
    """
    said = [text(caption(scene)) for scene in scenes] if captions is None else list(captions)
    if not len(scenes) or len(said) != len(scenes):
        raise ValueError(f"{len(scenes)} scenes and {len(said)} captions; accepted: as many of "
                         "each, at least one")
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"size cannot be {size!r}; accepted: a whole number of at least 1")

    def made() -> Iterator[Inputs]:
        for start in range(0, len(scenes), size):
            part = scenes[start:start + size]
            yield model.encode([scene.pixels for scene in part], [DESCRIBE] * len(part),
                               said[start:start + size])
    return made
