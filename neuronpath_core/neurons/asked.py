"""What neurons are held against: covers of concepts and places, and how masks are dealt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.neurons.tally import dealt
from neuronpath_core.readings.concepts import ConceptSet, positions
from neuronpath_core.readings.grids import Grid, coverage
from neuronpath_core.support.tensors import is_ordinary

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

AT_ONCE = 16  # neurons that are worked on at once
BYTES = 48_000_000  # of their masks' positions and what concepts cover there
ANY = "any"  # the null that deals masks among all images


@dataclass(frozen=True)
class Asked:
    """What a dissection holds neurons against.

    Attributes:
        grid: of the patches.
        quantile, level, threshold: as of :func:`~neuronpath_core.neurons.dissection.dissect`.
        covers: how much of each position every concept covers, in float64, or bits of pixels.
        inside: whether a concept covers half a patch.
        places: how much of each position every position control covers.
        deals: null -> whose masks each image gets, permutation after permutation.
        weights: how often every image is drawn in each resample.
        areas: whether areas under the ROC curve are wanted.
    """

    grid: Grid
    quantile: float
    level: str
    threshold: str
    covers: Float[Tensor, "image position concept"] | Bool[Tensor, "image position concept"]
    inside: Bool[np.ndarray, "image patch concept"]
    places: Float[Tensor, "position place"]
    deals: dict[str, Int64[np.ndarray, "permutation image"]]
    weights: Float[np.ndarray, "resample image"]
    areas: bool

    @cached_property
    def floats(self) -> Float[np.ndarray, "image position concept"]:
        """All covers to multiply with, where masks are dealt.  Counts of bits are whole numbers,
        which float32 adds exactly up to 2 ** 24."""
        if self.covers.dtype != torch.bool:
            return self.covers.numpy()
        few = self.covers[..., 0].numel() < 2 ** 24
        return self.covers.to(torch.float32 if few else torch.float64).numpy()

    @cached_property
    def inside_bits(self) -> Float[np.ndarray, "position concept"]:
        """``inside`` to multiply with, the images one after the other."""
        return self.inside.astype(float).reshape(-1, self.inside.shape[-1])

    @property
    def at_once(self) -> int:
        """How many neurons' masks are held at once, by what they and the covers under them take."""
        own = (1 - self.quantile) * self.covers[..., 0].numel()
        under = 3 * 8 + self.covers.shape[-1] * self.covers.element_size()
        return int(np.clip(BYTES / (own * under), 1, AT_ONCE))

    @cached_property
    def covered(self) -> Float[np.ndarray, "image concept"]:
        """How many positions each concept covers in every image."""
        # numpy casts some bits at a time, torch all of them
        return self.covers.numpy().sum(1, dtype=float)

    @property
    def density(self) -> Float[np.ndarray, "concept"]:
        """Share of all positions that each concept covers."""
        return self.covered.mean(0) / self.covers.shape[1]


def covers_of(grid: Grid, concepts: ConceptSet,
              level: str) -> Float[Tensor, "image position concept"]:
    """How much of each position every concept covers; of pixels as bits."""
    if level == "patch":
        found = torch.empty(concepts.masks.shape[1], grid.patches, len(concepts.masks),
                            dtype=torch.float64)
        for number, mask in enumerate(concepts.masks):
            found[..., number] = coverage(grid, mask)
        return found
    return torch.from_numpy(concepts.masks).flatten(2).permute(1, 2, 0).contiguous()


def place_names(grid: Grid) -> tuple[str, ...]:
    """What the position controls are called."""
    return positions(_blank(grid)).names


def _blank(grid: Grid) -> ImageSet:
    one = torch.zeros(1, dtype=torch.int64)
    return ImageSet(torch.zeros(1, 1, *grid.size), one, one, ("",), np.zeros((1, *grid.size)))


def places_of(grid: Grid, level: str) -> Float[Tensor, "position place"]:
    """How much of each position every position control covers."""
    return covers_of(grid, positions(_blank(grid)), level)[0].double()


def deals_of(images: int, labels: Tensor | None, count: int,
             seed: int) -> dict[str, Int64[np.ndarray, "permutation image"]]:
    """Whose masks each image gets, permutation after permutation: among the images of a class, if
    there are labels, and among all; nothing of no permutations.

    Raises:
        ValueError: labels that are not one class for each image.
    """
    if labels is not None and (not is_ordinary(labels) or labels.shape != (images,)):
        raise ValueError(f"labels must be a tensor of one class for each of {images} images; "
                         "accepted: those of the images, or None")
    groups = {} if labels is None else {"class": labels.cpu().numpy()}
    return {name: dealt(own, count, seed) for name, own in
            {**groups, ANY: np.zeros(images)}.items()} if count else {}
