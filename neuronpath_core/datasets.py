"""Image sets: what the models are trained on and what the experiments see, never the same images."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neuronpath_core import shapes

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64


@dataclass(frozen=True)
class ImageSet:
    """Preprocessed images with their labels.

    Attributes:
        images: float64 ``(image, channel, height, width)``, normalised as the models expect.
        labels: int64 ``(image,)``.
        ids: int64 ``(image,)``, the position in the source data set; a path table refers to images by it.
        class_names: one name per class.
        pixels: uint8 ``(image, height, width)`` or ``(image, height, width, 3)``, the originals, for display.
        taxonomy: axis -> its value for every class, such as ``{"outline": ("circle", …)}``; empty where classes have no parts.
        masks: concept -> bool ``(image, height, width)``, the pixels that show it; empty where none are known.
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
        index = torch.as_tensor(index)
        index = index.nonzero()[:, 0] if index.dtype == torch.bool else index.to(torch.int64)
        return replace(self, images=self.images[index], labels=self.labels[index], ids=self.ids[index],
                       pixels=self.pixels[index.numpy()], masks={name: mask[index.numpy()] for name, mask in self.masks.items()},
                       captions=tuple(self.captions[place] for place in index.tolist()) if self.captions else ())

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


def load_shapes(part: str, count: int, seed: int = 0, difficulty: float = 0.5) -> ImageSet:
    """The first ``count`` scenes of a part, as :func:`neuronpath_core.shapes.render` draws them: 24 classes in turn, six outlines with four fills.

    Pixels are scaled to ``[0, 1]`` and normalised with mean = std = 0.5; a scene is the same whatever the count.

    Args:
        part: ``"train"`` or ``"held_out"``, which have no scene in common.
        count: number of scenes.
        seed: of the whole data set.
        difficulty: from 0 to 1: noise, loss of contrast, distractors and range of sizes.

    Returns:
        Images ``(count, 3, 32, 32)`` with taxonomy (``outline``, ``fill``), masks (``object``, ``outline``, ``fill``, ``colour``) and captions.

    Raises:
        ValueError: fewer scenes than classes, or what :func:`~neuronpath_core.shapes.render` refuses.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < len(shapes.CLASS_NAMES):
        raise ValueError(f"the number of scenes cannot be {count!r}; accepted: a whole number from {len(shapes.CLASS_NAMES)} (one of each class)")
    scenes = [shapes.render(part, index, seed, difficulty) for index in range(count)]
    pixels = np.stack([scene.pixels for scene in scenes])
    return ImageSet(
        images=torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().double() / 127.5 - 1,
        labels=torch.tensor([scene.label for scene in scenes]),
        ids=torch.arange(count),
        class_names=shapes.CLASS_NAMES,
        pixels=pixels,
        taxonomy=shapes.TAXONOMY,
        masks={name: np.stack([scene.masks[name] for scene in scenes]) for name in shapes.MASKS},
        captions=tuple(scene.caption for scene in scenes),
    )


def _digits_part(part: str, **settings) -> ImageSet:
    return load_digits(**settings)[PARTS.index(part)]


def _shapes_part(part: str, train_images: int, held_out_images: int, **settings) -> ImageSet:
    return load_shapes(part, {"train": train_images, "held_out": held_out_images}[part], **settings)


PARTS = shapes.PARTS
DATASETS = {"digits": _digits_part, "shapes": _shapes_part}


def load_part(spec: Mapping, part: str) -> ImageSet:
    """One part, ``"train"`` or ``"held_out"``, of a profile's ``dataset`` entry: its ``name`` and that data set's settings.

    The other part is neither read nor rendered where that is possible.

    Raises:
        ValueError: an unknown data set or part, or settings that the data set refuses.
    """
    settings = dict(spec)
    name = settings.pop("name", None)
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; accepted: {', '.join(DATASETS)}")
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}; accepted: {', '.join(PARTS)}")
    return DATASETS[name](part, **settings)


def load_dataset(spec: Mapping) -> tuple[ImageSet, ImageSet]:
    """``(train, held_out)`` of a profile's ``dataset`` entry."""
    return load_part(spec, "train"), load_part(spec, "held_out")
