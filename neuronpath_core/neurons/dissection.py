"""Which concept a neuron lights for: its strongest positions held against masks of what images show
(network dissection; Bau et al., 2017).

With trained masks of a segmentation network or a captioner in place of known ones this is what
MILAN's exemplars and the report of Allert et al. (2024, §3.3) rest on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch import Tensor

from neuronpath_core.neurons.asked import Asked, covers_of, deals_of, place_names, places_of
from neuronpath_core.neurons.one_block import LEAST_IOU, BlockFound, dissect_some, one_block
from neuronpath_core.neurons.walk import check_blocks, walk
from neuronpath_core.readings.concepts import ConceptSet
from neuronpath_core.readings.grids import check_masks, grid_of
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

    from neuronpath_core.readings.grids import Grid
    from neuronpath_core.target import TargetModel

Level = Literal["patch", "pixel"]
LEVELS = ("patch", "pixel")
THRESHOLDS = ("neuron", "image")
MEASURES = ("iou", "auroc")
QUANTILE = 0.995  # of Bau et al.
PUBLISHED_QUANTILE = 0.8  # of Allert et al.'s code, in each image by itself
PERMUTATIONS = 99
LEAST_SIZE = 8  # pixels a side
# of a block, held at once at every token of all images: neurons at least, and values at least
HELD, HELD_VALUES = 48, 3_600_000


@dataclass(frozen=True)
class Null:
    """What masks of other images give.

    Attributes:
        high: the 95 % quantile of the IoU over permutations.
        p: (1 + permutations with at least the neuron's IoU) / (1 + permutations).
        label: ``"iou"`` -> the concept of the largest in every permutation, -1 for none; and
            ``"auroc"`` -> the same of the area, in the first 19 permutations of all images.
        detecting: in each permutation, how many neurons of a block would be called detectors.
    """

    high: Float[np.ndarray, "block neuron concept"]
    p: Float[np.ndarray, "block neuron concept"]
    label: dict[str, Int64[np.ndarray, "permutation block neuron"]]
    detecting: Int64[np.ndarray, "permutation block"]


@dataclass(frozen=True)
class Dissection:
    """Neurons held against concepts; blocks and neurons are counted from 0.

    Attributes:
        names, kinds: of the K concepts.
        quantile, level: that were asked for.
        iou: intersection over union of a neuron's mask and a concept's, both summed over all
            images; from 0 to 1.
        auroc: with which a neuron's value at a patch tells patches that the concept covers by half
            from all others, from 0 to 1 and a half by chance; ``nan`` where there are none of
            either.
        threshold: of every neuron's mask; the mean over images where each has its own.
        selected: share of the positions above it; 0 of neurons whose threshold selects nothing.
        density: share of all positions that each concept covers.
        dead: neurons that have one value everywhere.
        places, place_iou: the position controls, and their IoU.
        nulls: ``"class"``: masks dealt among the images of a class, if labels were given, and
            ``"any"``: among all images.
        drawn: ``"iou"`` and ``"auroc"`` -> the concept of the largest in every bootstrap resample
            of the images, with thresholds and ranks of the whole set; -1 for none.
        images: B, how many there were.
        blocks: which block each place of the arrays' block axis is of, counted from 0.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    quantile: float
    level: str
    iou: Float[np.ndarray, "block neuron concept"]
    auroc: Float[np.ndarray, "block neuron concept"]
    threshold: Float[np.ndarray, "block neuron"]
    selected: Float[np.ndarray, "block neuron"]
    density: Float[np.ndarray, "concept"]
    dead: Bool[np.ndarray, "block neuron"]
    places: tuple[str, ...]
    place_iou: Float[np.ndarray, "block neuron place"]
    nulls: dict[str, Null]
    drawn: dict[str, Int64[np.ndarray, "resample block neuron"]]
    images: int
    blocks: tuple[int, ...]

    def place_of(self, block: int) -> int:
        """Where a block stands in the arrays.

        Raises:
            ValueError: a block that was not asked for.
        """
        if isinstance(block, bool) or block not in self.blocks:
            raise ValueError(f"no neurons of block {shown(block)} were held against concepts; "
                             f"accepted: one of {', '.join(map(str, self.blocks))}")
        return self.blocks.index(block)

    @property
    def ceiling(self) -> Float[np.ndarray, "block neuron concept"]:
        """The largest IoU that masks of these sizes can have, the smaller over the larger: who
        selects 0.5 % of the positions cannot reach 0.04 with a concept that covers an eighth."""
        own = self.selected[..., None]
        large = np.maximum(own, self.density)
        return np.divide(np.minimum(own, self.density), large, out=np.zeros_like(large),
                         where=large > 0)

    def detects(self, null: str = "class",
                least: float = LEAST_IOU) -> Bool[np.ndarray, "block neuron concept"]:
        """Whether a neuron's IoU exceeds ``least`` and the 95 % quantile of a null.

        Raises:
            ValueError: a null that was not drawn.
        """
        if not is_one_of(null, self.nulls):
            raise ValueError(f"no permutations {shown(null)} of the masks; accepted: "
                             f"{', '.join(self.nulls) or 'none, for none were drawn'}")
        return (self.iou > least) & (self.iou > self.nulls[null].high)


def dissect(target: TargetModel, images: Float[Tensor, "image channel height width"],
            concepts: ConceptSet, quantile: float = QUANTILE, level: Level = "patch", *,
            labels: Int64[Tensor, "image"] | None = None, permutations: int = PERMUTATIONS,
            resamples: int = 0, seed: int = 0, site: str = "neuron",
            threshold: str = "neuron", blocks: Sequence[int] | None = None,
            areas: bool = True) -> Dissection:
    r"""Hold every FFN neuron of a model against concepts,

    .. math:: IoU_{n,k} = \frac{\sum_i |M_{n,i} \cap G_{k,i}|}{\sum_i |M_{n,i} \cup G_{k,i}|},

    where :math:`M_{n,i}` are the positions of image i at which neuron n exceeds its own q-quantile
    over all images, and :math:`G_{k,i}` those that concept k covers (Bau et al., 2017, Eq. 2).
    Tokens before the patches lie nowhere and are left out.

    Args:
        target: the model.  Of a gated FFN the neuron is the product of gate and value
            (:func:`~neuronpath_core.neurons.walk.key_of`).
        images: as the model accepts them, at least 8 pixels a side.
        concepts: of the same images, such as
            :func:`~neuronpath_core.readings.concepts.concepts` gives them.
        quantile: q, between 0 and 1.
        level: ``"patch"``: a position is a patch, covered in part or whole, so that intersections
            and unions are sums of minima and maxima; ``"pixel"``: a pixel, of a map that is
            enlarged bilinearly.
        labels: classes of the images; with them masks are also dealt among the images of a class.
        permutations: of the masks; 0 for none.
        resamples: of the images, for intervals of what labels are; 0 for none.
        seed: of both.
        site: ``"neuron"``, or ``"output"``: the outputs of ``fc2``, channels of the residual
            stream, which published code dissects in place of neurons.
        threshold: ``"neuron"``: one for all images, as above; ``"image"``: the quantile of each
            image by itself, which lights as much of every image, whatever it shows.
        blocks: whose neurons are held against concepts, counted from 0, in rising order; all by
            default.  What is found of a block does not depend on the others.
        areas: whether areas under the ROC curve are computed too, which takes longer than all else
            of patches; without, ``auroc`` is ``nan`` and the labels by it are -1.

    Returns:
        float64 numpy arrays on the CPU.  A neuron whose threshold selects nothing, as that of a
        dead one does, has IoU 0.

    Raises:
        ValueError: no masks or those of other images, a quantile outside (0, 1), images below 8
            pixels, unknown names, counts that are none, or blocks that the model does not have or
            that are out of order.
    """
    _check(quantile, level, threshold, permutations, resamples)
    grid = grid_of(target, images)
    _check_concepts(grid, concepts, len(images))
    patches = covers_of(grid, concepts, "patch")
    covers, inside = patches, patches.numpy() >= 0.5
    del patches  # of pixels it is not asked for again
    if level == "pixel":
        covers = covers_of(grid, concepts, level)
    asked = Asked(grid, float(quantile), level, threshold, covers, inside, places_of(grid, level),
                  deals_of(len(images), labels, permutations, seed),
                  np.random.default_rng([seed, 1]).multinomial(
                      len(images), np.full(len(images), 1 / len(images)), resamples).astype(float),
                  areas)
    chosen = check_blocks(target, blocks)
    parts = defaultdict(list)
    at_once = max(HELD, HELD_VALUES // inside[..., 0].size)
    for block, values in walk(target, images, site, chosen, at_once):
        parts[block] += dissect_some(asked, values[:, grid.tokens])
        del values  # or two portions would be held while the next one is read
    return _joined(asked, concepts, [one_block(asked, parts[block]) for block in chosen], chosen)


def _joined(asked: Asked, concepts: ConceptSet, found: list[BlockFound],
            blocks: tuple[int, ...]) -> Dissection:
    def of(name: str, axis: int = 0) -> np.ndarray:
        return np.stack([getattr(block, name) for block in found], axis)

    nulls = {name: Null(*(np.stack([getattr(block.nulls[name], part) for block in found])
                          for part in ("high", "p")),
                        {measure: np.stack([block.nulls[name].label[measure] for block in found], 1)
                         for measure in found[0].nulls[name].label},
                        np.stack([block.nulls[name].detects.sum(1) for block in found], 1))
             for name in asked.deals}
    drawn = {measure: np.stack([block.drawn[measure] for block in found], 1)
             for measure in MEASURES}
    return Dissection(concepts.names, concepts.kinds, asked.quantile, asked.level, of("iou"),
                      of("auroc"), of("threshold"), of("selected"), asked.density, of("dead"),
                      place_names(asked.grid), of("place_iou"), nulls, drawn,
                      len(asked.covers), blocks)


def _check(quantile: object, level: object, threshold: object, *counts: object) -> None:
    if isinstance(quantile, bool) or not isinstance(quantile, (int, float)) or not 0 < quantile < 1:
        raise ValueError(f"quantile cannot be {shown(quantile)}; accepted: a number between 0 and "
                         "1, both excluded")
    for name, value, accepted in (("level", level, LEVELS), ("threshold", threshold, THRESHOLDS)):
        if not is_one_of(value, accepted):
            raise ValueError(f"unknown {name} {shown(value)}; accepted: {', '.join(accepted)}")
    for value in counts:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"permutations and resamples cannot be {shown(value)}; accepted: "
                             "whole numbers of at least 0")


def _check_concepts(grid: Grid, concepts: object, images: int) -> None:
    if not isinstance(concepts, ConceptSet) or not len(concepts.names):
        raise ValueError(f"neurons are held against masks, got {type(concepts).__name__}; accepted:"
                         " a ConceptSet of at least one concept, as readings.concepts gives it")
    if min(grid.size) < LEAST_SIZE:
        raise ValueError(f"images of {grid.size[0]} by {grid.size[1]} pixels; accepted: at least "
                         f"{LEAST_SIZE} a side")
    if concepts.masks.shape[1] != images:
        raise ValueError(f"masks of {concepts.masks.shape[1]} images for {images} images; accepted:"
                         " masks of the same images")
    check_masks(grid, concepts.masks[0])
