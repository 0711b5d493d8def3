r"""Other maps of the patches that matter, for comparison with those in class space.

=======================  ===========================================================================
:func:`chefer`           Chefer et al. (ICCV 2021, equations 5 and 6):
                         :math:`R \leftarrow R + \mathrm{mean}_h((\nabla A \odot A)^+) R`
:func:`rollout`          attention rollout (Abnar and Zuidema, 2020): the product over blocks of
                         :math:`\frac12 (\mathrm{mean}_h A + I)`
:func:`last_attention`   the last block's attention, mean over heads
:func:`of_pixels`        gradient × input and integrated gradients of the label's logit, by captum,
                         summed over a patch's pixels
=======================  ===========================================================================

Vilas et al. cite Chefer's earlier rule, which propagates relevance layer by layer (CVPR 2021); what
their code computes is this one.

A model that classifies from its class token is read at that token's row; of one that pools its
patch tokens the rows of all patch tokens are averaged, as its head averages them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.readings.attention_maps import attention, attention_maps, check_read
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    from neuronpath_core.target import TargetModel

PIXEL_METHODS = ("gradient_input", "integrated_gradients")


def chefer(
    target: TargetModel, images: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"]
) -> Float[Tensor, "image patch"]:
    r"""Compute the relevance of Chefer et al. (ICCV 2021), as Vilas et al. compare with it.

    From :math:`R = I`, block after block,
    :math:`R \leftarrow R + \frac1H \sum_h (\partial z_c / \partial A^h \odot A^h)^+ R`, with
    :math:`z_c` the model's logit of the label.

    Args:
        target: the model, which is called as it is.
        images, labels: a batch.

    Returns:
        the class token's row of R, or the mean of the patch tokens' rows of a model that pools
        them; at least 0, in the model's dtype, on its device, without a graph.

    Raises:
        ValueError: a batch that does not fit the model, or attention that cannot be read.
    """
    check_target(target)
    target.check_batch(images, labels)
    check_read(target, images)

    def compute(rows: Tensor) -> Tensor:
        def leaf(_: int, weights: Tensor) -> Tensor:
            # the first block's weights hang on nothing that needs a gradient
            return weights if weights.requires_grad else weights.requires_grad_()
        with torch.enable_grad(), attention(target, leaf) as kept:
            logits = target(images[rows])
            weights = [own[0] for own in kept]
            gradients = torch.autograd.grad(logits.gather(1, labels[rows, None]).sum(), weights)
        size = weights[0].shape[-1]
        found = torch.eye(size, dtype=logits.dtype, device=logits.device)
        for own, gradient in zip(weights, gradients, strict=True):
            found = found + (gradient * own.detach()).clamp(min=0).mean(1) @ found
        return read_row(target, found)
    return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1), compute))


def rollout(
    target: TargetModel, images: Float[Tensor, "image channel height width"]
) -> Float[Tensor, "image patch"]:
    r"""Compute attention rollout, :math:`\prod_b \frac12 (\mathrm{mean}_h A^b + I)` (Abnar and
    Zuidema, 2020); it knows nothing of a class.

    Args:
        target: the model, which is called as it is.
        images: a batch.

    Returns:
        the read token's row, which together with the prefix tokens' part sums to one.

    Raises:
        ValueError: as :func:`~neuronpath_core.readings.attention_maps.attention_maps`.
    """
    check_target(target)
    target.check_images(images)

    def compute(rows: Tensor) -> Tensor:
        found = None
        for weights in attention_maps(target, images[rows]).mean(2):
            mixed = 0.5 * (weights + torch.eye(weights.shape[-1]).to(weights))
            found = mixed if found is None else mixed @ found
        return read_row(target, found)
    return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1), compute))


def last_attention(
    target: TargetModel, images: Float[Tensor, "image channel height width"]
) -> Float[Tensor, "image patch"]:
    """Compute what the read token attends to in the last block, mean over heads; errors as of
    :func:`~neuronpath_core.readings.attention_maps.attention_maps`."""
    check_target(target)
    target.check_images(images)
    return torch.cat(in_chunks(
        target, len(images), lambda: images_at_once(target, 1),
        lambda rows: read_row(target, attention_maps(target, images[rows])[-1].mean(1))))


def of_pixels(
    target: TargetModel, images: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"],
    method: Literal["gradient_input", "integrated_gradients"] = "gradient_input", steps: int = 16
) -> Float[Tensor, "image patch"]:
    """Attribute the label's logit to pixels by captum, and sum the pixels of each patch.

    Args:
        target: the model, which is called as it is.
        images, labels: a batch.
        method: ``"gradient_input"``, or ``"integrated_gradients"`` from an image of zeros, which
            after preprocessing is the mean colour.
        steps: nodes of the Gauss-Legendre rule of integrated gradients.

    Returns:
        signed sums in units of the logit; those of integrated gradients sum to the logit less that
        of the image of zeros, as far as the rule goes.

    Raises:
        ValueError: an unknown method, or a batch that does not fit the model.
        ImportError: captum is not installed.
    """
    from captum.attr import InputXGradient, IntegratedGradients

    check_target(target)
    if not is_one_of(method, PIXEL_METHODS):
        raise ValueError(f"unknown method {shown(method)}; accepted: {', '.join(PIXEL_METHODS)}")
    target.check_batch(images, labels)

    def compute(rows: Tensor) -> Tensor:
        chosen, own = images[rows].clone(), labels[rows]
        if method == "gradient_input":
            found = InputXGradient(target).attribute(chosen.requires_grad_(), own)
        else:
            # captum makes its nodes in double precision and rounds them to the images' own
            found = IntegratedGradients(target).attribute(
                chosen, torch.zeros_like(chosen), own, n_steps=steps, method="gausslegendre")
        return patch_sums(target, found.detach())
    copies = 1 if method == "gradient_input" else steps
    return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, copies),
                               compute))


def patch_sums(target: TargetModel, pixels: Float[Tensor, "image channel height width"]
               ) -> Float[Tensor, "image patch"]:
    """Sum over the channels and pixels of each patch, patches row by row."""
    size = target.model.patch_embed.patch_size
    return F.avg_pool2d(pixels.sum(1, keepdim=True), size, divisor_override=1).flatten(1)


def read_row(target: TargetModel,
             maps: Float[Tensor, "image token token"]) -> Float[Tensor, "image patch"]:
    """The patch columns of the row that the head reads: the class token's, or the mean of the patch
    tokens' of a model that pools them."""
    first = target.family.prefix_tokens(target.model)
    row = maps[:, 0] if target.classifies_alone else maps[:, first:].mean(1)
    return row[:, first:]
