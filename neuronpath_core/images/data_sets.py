"""Image sets: what the models are trained on and what the experiments see, never the same images.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from neuronpath_core.images import shapes
from neuronpath_core.images.classes import check_classes as check_classes
from neuronpath_core.images.classes import load_files
from neuronpath_core.images.image_set import ImageSet


def load_digits(train_images: int, split_seed: int = 0,
                image_size: int = 16) -> tuple[ImageSet, ImageSet]:
    """Scikit-learn's 1,797 scanned handwritten digits (8×8, 17 grey levels), split by class.

    The scans are scaled to ``[0, 1]``, enlarged bilinearly to ``image_size`` and normalised with
    mean = std = 0.5, as Google's ViT checkpoints are.

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
        raise ValueError(f"train_images must be between 10 and {len(scans.target) - 10}, got "
                         f"{train_images}")
    grey = torch.from_numpy(scans.images)[:, None] / 16
    images = torch.nn.functional.interpolate(grey, size=(image_size, image_size), mode="bilinear",
                                             align_corners=False)
    everything = ImageSet(
        images=(images - 0.5) / 0.5,
        labels=torch.from_numpy(scans.target).long(),
        ids=torch.arange(len(scans.target)),
        class_names=tuple(str(name) for name in scans.target_names),
        pixels=np.round(255 - scans.images / 16 * 255).astype(np.uint8),
    )
    train, rest = train_test_split(np.arange(len(scans.target)), train_size=train_images,
                                   random_state=split_seed,
                                   stratify=scans.target)
    return everything.select(np.sort(train)), everything.select(np.sort(rest))


def load_shapes(part: str, count: int, seed: int = 0, difficulty: float = 0.5) -> ImageSet:
    """The first ``count`` scenes of a part, as :func:`neuronpath_core.images.shapes.render` draws
    them: 24 classes in turn, six outlines with four fills.

    Pixels are scaled to ``[0, 1]`` and normalised with mean = std = 0.5; a scene is the same
    whatever the count.

    Args:
        part: ``"train"`` or ``"held_out"``, which have no scene in common.
        count: number of scenes.
        seed: of the whole data set.
        difficulty: from 0 to 1: noise, loss of contrast, distractors and range of sizes.

    Returns:
        Images ``(count, 3, 32, 32)`` with taxonomy (``outline``, ``fill``), masks (``object``,
        ``outline``, ``fill``, ``colour``) and captions.

    Raises:
        ValueError: fewer scenes than classes, or what :func:`~neuronpath_core.images.shapes.render`
            refuses.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < len(shapes.CLASS_NAMES):
        raise ValueError(f"the number of scenes cannot be {count!r}; accepted: a whole number "
                         f"from {len(shapes.CLASS_NAMES)} (one of each class)")
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
DATASETS = {"digits": _digits_part, "shapes": _shapes_part, "files": load_files}
PLACES = ("base", "index_folder", "threads")  # of files; not a profile's to say


def load_part(spec: Mapping, part: str, *, base: Path | None = None,
              index_folder: Path | None = None, threads: int | None = None) -> ImageSet:
    """One part, ``"train"`` or ``"held_out"``, of a profile's ``dataset`` entry: its ``name`` and
    that data set's settings.

    The other part is neither read nor rendered where that is possible.

    Args:
        base: the folder that a relative ``root`` of image files starts from; by default the working
            directory.
        index_folder: where to keep what is known of image files; see
            :func:`~neuronpath_core.images.classes.load_files`.
        threads: that read image files side by side; by default as many as there are cores, up to
            16.

    Raises:
        ValueError: an unknown data set or part, or settings that the data set refuses.
    """
    settings = dict(spec)
    name = settings.pop("name", None)
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; accepted: {', '.join(DATASETS)}")
    if part not in PARTS:
        raise ValueError(f"unknown part {part!r}; accepted: {', '.join(PARTS)}")
    if name != "files":
        return DATASETS[name](part, **settings)
    known = [setting for setting, value in inspect.signature(load_files).parameters.items()
             if value.default is not value.empty and setting not in PLACES]
    if unknown := set(settings) - set(known):
        raise ValueError(f"unknown settings of image files: "
                         f"{', '.join(map(str, sorted(unknown)))}; accepted: {', '.join(known)}")
    return load_files(part, **settings, base=base, index_folder=index_folder, threads=threads)


def load_dataset(spec: Mapping) -> tuple[ImageSet, ImageSet]:
    """``(train, held_out)`` of a profile's ``dataset`` entry."""
    return load_part(spec, "train"), load_part(spec, "held_out")
