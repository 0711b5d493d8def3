"""Scikit-learn's scanned digits as a set of images."""

from __future__ import annotations

import numpy as np
import torch

from neuronpath_core.images.classes import check_classes as check_classes
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
