"""A simulator of images that finds whatever an explanation names: GroundingDINO puts boxes around
it, SAM 2 turns boxes into masks, and a token that the masks cover by half is on (Xu et al., 2025,
appendix A.2, who use Grounded SAM 2).

Both are transformers' own classes.  Their weights are no part of the library, so that the tests run
the same code with tiny random ones; what it finds then means nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from neuronpath_core.support.text import one_line
from neuronpath_core.vlm.explained import Explanation, Modality, Sample
from neuronpath_core.vlm.modality import FULL
from neuronpath_core.vlm.offline_simulators import HALF
from neuronpath_core.vlm.tokens import check_installed

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

DETECTOR, SEGMENTER = "GroundingDinoForObjectDetection", "Sam2Model"
BOX, WORD = 0.4, 0.3  # GroundingDINO's own thresholds, of a box and of its words


class OpenVocabularySimulator:
    """Values at image tokens from masks of what an explanation names.

    Args:
        detector, detector_processor: ``GroundingDinoForObjectDetection`` and its processor.
        segmenter, segmenter_processor: ``Sam2Model`` and its processor.
        box, word: the least score of a box, and of a word that it is for.
        graded: the share of a token that masks cover, in place of whether it is at least half.

    Raises:
        ValueError: transformers is not installed, or models of other classes.
    """

    modality: Modality = "image"

    def __init__(self, detector: nn.Module, detector_processor: Any, segmenter: nn.Module,
                 segmenter_processor: Any, box: float = BOX, word: float = WORD,
                 graded: bool = False):
        check_installed()
        for model, wanted in ((detector, DETECTOR), (segmenter, SEGMENTER)):
            if type(model).__name__ != wanted:
                raise ValueError(f"model cannot be a {type(model).__name__}; accepted: {wanted}")
        self.detector, self.segmenter = detector.eval(), segmenter.eval()
        self.processors = detector_processor, segmenter_processor
        self.box, self.word, self.graded = box, word, graded

    def simulate(self, explanation: Explanation, sample: Sample) -> Float[np.ndarray, "token"]:
        """Values from 0 to 10 at the image tokens, 0 where nothing was found; NaN at all others,
        and everywhere without an explanation.

        Raises:
            ValueError: image tokens that are no grid that divides the image, or what the processors
                refuse.
        """
        found = np.full(len(sample.roles), np.nan)
        if not explanation.text:
            return found
        height, width = sample.image.shape[:2]
        if sample.grid is None or height % sample.grid[0] or width % sample.grid[1]:
            raise ValueError(f"image tokens of grid {sample.grid} are no patches of an image of "
                             f"{height} by {width} pixels; accepted: a grid that divides it")
        rows, columns = sample.grid
        shares = self.mask(explanation.text, sample.image).reshape(
            rows, height // rows, columns, width // columns).mean((1, 3)).ravel()
        found[sample.counted("image")] = FULL * (shares if self.graded else shares >= HALF)
        return found

    @torch.no_grad()
    def mask(self, text: str, image: np.ndarray) -> Bool[np.ndarray, "height width"]:
        """The pixels of whatever a text names: of an image of uint8 ``(height, width, 3)``.

        Raises:
            ValueError: what the processors refuse.
        """
        try:
            boxes = self._boxes(prompt(text), image)
            if not len(boxes):
                return np.zeros(image.shape[:2], bool)
            values = self.processors[1](images=image, input_boxes=[boxes.tolist()],
                                        return_tensors="pt").to(self.segmenter.device)
            masks = self.processors[1].post_process_masks(
                self.segmenter(**values, multimask_output=False).pred_masks.cpu(),
                values["original_sizes"].cpu())[0]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"this image cannot be searched: {one_line(error, 160)}; accepted: "
                             "the processors that belong to the models") from error
        return masks.bool().any(0).any(0).numpy()

    def _boxes(self, text: str, image: np.ndarray) -> Float[torch.Tensor, "box 4"]:
        """Boxes in pixels, left, top, right and bottom."""
        values = self.processors[0](images=image, text=text, return_tensors="pt").to(
            self.detector.device)
        found, = self.processors[0].post_process_grounded_object_detection(
            self.detector(**values), values["input_ids"], threshold=self.box,
            text_threshold=self.word, target_sizes=[image.shape[:2]])
        return found["boxes"].cpu()


def prompt(text: str) -> str:
    """A text as GroundingDINO wants it: small letters, each thing ended by a full stop."""
    things = [part.strip() for part in re.split(r",? or |[.;]", text.lower())]
    return "".join(f"{thing}. " for thing in things if thing).strip()
