r"""Whether a made image could be one of a data set: how far it lies from the training images in
what another network's head reads.

A network is easily fooled by its own gradient.  Two questions are harder to fool: do other networks
name the same class (:func:`recognised`), and does the image lie as near to a training image as
images do that were really taken (:func:`plausibility`)?
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.readings.projection import head_rows
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

    from neuronpath_core.target import TargetModel


@torch.no_grad()
def named(target: TargetModel,
          images: Float[Tensor, "image channel height width"]) -> Int64[Tensor, "image"]:
    """The class that a model takes each image for, on the CPU; -1 where several come first, so that
    equal logits name nothing.

    Args:
        target: the model that judges.
        images: in any floating-point type; they are given to the model in its own.

    Raises:
        ValueError: images that the model does not accept.
    """
    check_target(target)
    images = images.to(target.device, target.dtype)
    target.check_images(images)
    logits = torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1),
                                 lambda rows: target(images[rows])))
    most, first = logits.max(1)
    tied = (logits == most[:, None]).sum(1) > 1
    return torch.where(tied, -torch.ones_like(first), first).cpu()


def recognised(target: TargetModel, images: Float[Tensor, "image channel height width"],
               classes: Int64[Tensor, "image"]) -> Bool[Tensor, "image"]:
    """Whether a model classifies each image as the class that it was made for.

    Args:
        target, images: as of :func:`named`.
        classes: one an image.

    Raises:
        ValueError: images or classes that the model does not accept.
    """
    check_target(target)
    target.check_batch(images.to(target.device, target.dtype), classes.to(target.device))
    return named(target, images) == classes.cpu()


@torch.no_grad()
def head_features(target: TargetModel, images: Float[Tensor, "image channel height width"]
                  ) -> Float[Tensor, "image width"]:
    """What the linear head of a model reads of each image: the normed class token, or the normed
    mean of the patch tokens.

    Args:
        target: a model with one linear head.
        images: in any floating-point type.

    Raises:
        ValueError: images that the model does not accept, or a head of another kind.
    """
    check_target(target)
    head_rows(target)
    model, images = target.model, images.to(target.device, target.dtype)
    target.check_images(images)
    return torch.cat(in_chunks(
        target, len(images), lambda: images_at_once(target, 1),
        lambda rows: model.forward_head(model.forward_features(images[rows]), pre_logits=True)))


def nearest(features: Float[Tensor, "image width"], others: Float[Tensor, "other width"]
            ) -> tuple[Float[Tensor, "image"], Int64[Tensor, "image"]]:
    """The Euclidean distance of each row to the nearest of some others, and which one it is.

    Raises:
        ValueError: rows of different widths, or no others.
    """
    if features.ndim != 2 or others.ndim != 2 or not len(others) or (
            features.shape[1] != others.shape[1]):
        raise ValueError(f"no nearest of {tuple(others.shape)} can be found for "
                         f"{tuple(features.shape)}; accepted: rows of one width")
    return torch.cdist(features, others, compute_mode="donot_use_mm_for_euclid_dist").min(1)


def plausibility(distances: Float[Tensor, "image"], taken: Float[Tensor, "reference"]
                 ) -> Float[Tensor, "image"]:
    """The share of really taken images that are at least as far from the training images, in [0,
    1]: of images like them one half on average, of images unlike anything 0.

    Args:
        distances: of the made images, of :func:`nearest`.
        taken: of images that were not trained on, by the same features.

    Raises:
        ValueError: no images to compare with.
    """
    if taken.ndim != 1 or not len(taken):
        raise ValueError(f"images to compare with have distances {shown(tuple(taken.shape))}; "
                         "accepted: one an image, of at least one image")
    return (taken[None] >= distances[:, None]).to(distances.dtype).mean(1)
