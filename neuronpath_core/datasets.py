"""Image sets: what the models are trained on and what the experiments see, never the same images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


@dataclass(frozen=True)
class ImageSet:
    """Preprocessed images with their labels.

    Attributes:
        images: float64 ``(image, channel, height, width)``, normalised as the models expect.
        labels: int64 ``(image,)``.
        ids: int64 ``(image,)``, the position in the source data set; a path table refers to images by it.
        class_names: one name per class.
        pixels: uint8 ``(image, height, width)`` or ``(image, height, width, 3)``, the originals, for display.
    """

    images: Float[Tensor, "image channel height width"]
    labels: Int64[Tensor, "image"]
    ids: Int64[Tensor, "image"]
    class_names: tuple[str, ...]
    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: Tensor | np.ndarray) -> ImageSet:
        """The images at the given positions, in that order, or those that a mask names."""
        index = torch.as_tensor(index)
        index = index.nonzero()[:, 0] if index.dtype == torch.bool else index.to(torch.int64)
        return replace(self, images=self.images[index], labels=self.labels[index], ids=self.ids[index],
                       pixels=self.pixels[index.numpy()])

    def balanced(self, count: int, seed: int = 0) -> ImageSet:
        """``count`` images in all, as many of every class as of any other (give or take one), ordered by class and id.

        A smaller count with the same seed gives a subset.

        Raises:
            ValueError: fewer images than classes, or more than the smallest class can give its share of.
        """
        classes = len(self.class_names)
        available = int(np.bincount(self.labels.numpy(), minlength=classes).min())
        if isinstance(count, bool) or not isinstance(count, int) or not classes <= count <= classes * available:
            raise ValueError(f"the number of images cannot be {count!r}; accepted: a whole number from {classes} (one of each class) to {classes * available}")
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")
        rng, labels, chosen = np.random.default_rng(seed), self.labels.numpy(), []
        share, extra = divmod(count, classes)
        favoured = set(rng.permutation(classes)[:extra].tolist())
        for label in range(classes):
            members = rng.permutation(np.flatnonzero(labels == label))
            chosen.append(np.sort(members[: share + (label in favoured)]))
        return self.select(np.concatenate(chosen))

    def sha256(self) -> str:
        """Digest of images, labels and ids: what a path table was computed from."""
        digest = hashlib.sha256()
        for tensor in (self.images, self.labels, self.ids):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
        return digest.hexdigest()


def load_digits(train_images: int, split_seed: int = 0, image_size: int = 16) -> tuple[ImageSet, ImageSet]:
    """Scikit-learn's 1,797 scanned handwritten digits (8×8, 17 grey levels), split by class.

    The scans are scaled to ``[0, 1]``, enlarged bilinearly to ``image_size`` and normalised with mean = std = 0.5, as
    Google's ViT checkpoints are.

    Args:
        train_images: number of images for training; all others are held out.
        split_seed: seed of the stratified split.
        image_size: height and width in pixels.

    Returns:
        ``(train, held_out)``, without an image in common.
    """
    from sklearn.datasets import load_digits as load_scans
    from sklearn.model_selection import train_test_split

    scans = load_scans()
    if not 10 <= train_images <= len(scans.target) - 10:
        raise ValueError(f"train_images must be between 10 and {len(scans.target) - 10}, got {train_images}")
    grey = torch.from_numpy(scans.images)[:, None] / 16
    images = torch.nn.functional.interpolate(grey, size=(image_size, image_size), mode="bilinear", align_corners=False)
    everything = ImageSet(
        images=(images - 0.5) / 0.5,
        labels=torch.from_numpy(scans.target).long(),
        ids=torch.arange(len(scans.target)),
        class_names=tuple(str(name) for name in scans.target_names),
        pixels=np.round(255 - scans.images / 16 * 255).astype(np.uint8),
    )
    train, rest = train_test_split(np.arange(len(scans.target)), train_size=train_images, random_state=split_seed,
                                   stratify=scans.target)
    return everything.select(np.sort(train)), everything.select(np.sort(rest))


DATASETS = {"digits": load_digits}


def load_dataset(spec: Mapping) -> tuple[ImageSet, ImageSet]:
    """``(train, held_out)`` of a profile's ``dataset`` entry: its ``name`` and that loader's arguments."""
    settings = dict(spec)
    name = settings.pop("name", None)
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; accepted: {', '.join(DATASETS)}")
    return DATASETS[name](**settings)
