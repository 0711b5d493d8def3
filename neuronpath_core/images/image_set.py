"""A set of preprocessed images with their labels: what every experiment is given."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64


@dataclass(frozen=True)
class ImageSet:
    """Preprocessed images with their labels, in memory;
    :class:`~neuronpath_core.images.file_images.FileImages` are read when asked for.

    Attributes:
        images: float64 or float32 ``(image, channel, height, width)``, normalised as the models
            expect.
        labels: int64 ``(image,)``.
        ids: int64 ``(image,)``, the position in the source data set; a path table refers to images
            by it.
        class_names: one name per class.
        pixels: uint8 ``(image, height, width)`` or ``(image, height, width, 3)``, the originals,
            for display.
        taxonomy: axis -> its value for every class, such as ``{"outline": ("circle", …)}``; empty
            where classes have no parts.
        masks: concept -> bool ``(image, height, width)``, the pixels that show it; empty where none
            are known.
        captions: one sentence per image, or none at all.
    """

    images: Float[Tensor, "image channel height width"]
    labels: Int64[Tensor, "image"]
    ids: Int64[Tensor, "image"]
    class_names: tuple[str, ...]
    pixels: np.ndarray
    taxonomy: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    masks: Mapping[str, Bool[np.ndarray, "image height width"]] = field(default_factory=dict)
    captions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor | np.ndarray) -> ImageSet:
        """The images at the given positions, in that order, or those that a mask names."""
        index = positions(index)
        return replace(self, images=self.images[index], labels=self.labels[index],
                       ids=self.ids[index],
                       pixels=self.pixels[index.numpy()],
                       masks={name: mask[index.numpy()] for name, mask in self.masks.items()},
                       captions=tuple(self.captions[place] for place in index.tolist())
                       if self.captions else ())

    def balanced(self, count: int, seed: int = 0, of_each: int = 0) -> ImageSet:
        """``count`` images in all, as many of every class that is there as of any other (give or
        take one), ordered by class and id.

        A smaller count with the same seed gives a subset; one below the number of classes, an image
        of so many of them.

        Args:
            count: of images.
            seed: of the draw.
            of_each: how many images of every class are needed, for what is measured by class.

        Raises:
            ValueError: fewer images than are needed, or more than the smallest class can give its
                share of.
        """
        labels, chosen = self.labels.numpy(), []
        present, available = np.unique(labels, return_counts=True)
        classes = len(present)
        most = classes * int(available.min()) if classes else 0
        least = max(1, of_each * classes)
        if isinstance(count, bool) or not isinstance(count, int) or not least <= count <= most:
            why = f" ({'one' if of_each == 1 else of_each} of each class)" if of_each else ""
            raise ValueError(f"the number of images cannot be {count!r}; accepted: a whole number "
                             f"from {least}{why} to {most}")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")
        rng = np.random.default_rng(seed)
        share, extra = divmod(count, classes)
        favoured = set(rng.permutation(classes)[:extra].tolist())
        for place, label in enumerate(present):
            members = rng.permutation(np.flatnonzero(labels == label))
            chosen.append(np.sort(members[: share + (place in favoured)]))
        return self.select(np.concatenate(chosen))

    def relabelled(self, labels: Int64[Tensor, "image"]) -> ImageSet:
        """The same images with other labels."""
        return replace(self, labels=labels)

    def checked(self, progress: bool = False) -> ImageSet:
        """The set itself: its images are in memory, and those that could not be read are not among
        them."""
        return self

    def loaded(self, preprocessing: Mapping | None = None, progress: bool = False) -> ImageSet:
        """The set itself, whatever is asked for: its images are preprocessed already."""
        return self

    def appearance(self) -> np.ndarray:
        """What the images look like, ``(image, feature)``: their values, flattened."""
        return self.images.flatten(1).numpy()

    def files(self) -> list[str]:
        """The name of each image's file; empty where the images are no files."""
        return []

    def sha256(self) -> str:
        """Digest of images, labels and ids: what a path table was computed from."""
        digest = hashlib.sha256()
        for tensor in (self.images, self.labels, self.ids):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
        return digest.hexdigest()


def positions(index: Tensor | np.ndarray | list[int]) -> Int64[Tensor, "chosen"]:
    """Positions, of positions or of a mask."""
    index = torch.as_tensor(index)
    return index.nonzero()[:, 0] if index.dtype == torch.bool else index.to(torch.int64)
