"""Classes for an image tower that has none: logits by the cosine of its image embedding with
embeddings of the classes' names."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Float


class ZeroShotHead(nn.Module):
    r"""Logits :math:`s \, \langle e / \lVert e \rVert, t_c / \lVert t_c \rVert \rangle + b_c`, e
    the tower's embedding of the image, t_c that of class c.

    F is the softmax over these classes, as CLIP classifies (Radford et al., 2021).  SigLIP is
    trained with a sigmoid for every pair instead (Zhai et al., 2023); here too F is the softmax
    over the classes, so that its scale matters and a bias common to all of them cancels.

    Args:
        projection: what the tower's head does with the pooled tokens: CLIP's linear projection, or
            nothing.
        class_embeddings: one row a class, of any length but zero, in the tower's dtype and on its
            device.
        scale: positive; CLIP and SigLIP store its logarithm.
        bias: one number, one a class, or none.
    """

    def __init__(self, projection: nn.Module, class_embeddings: Float[Tensor, "class embed"],
                 scale: float, bias: float | Tensor | None = None):
        super().__init__()
        self.projection, self.out_features = projection, len(class_embeddings)
        self.register_buffer("weight", scale * F.normalize(class_embeddings.detach(), dim=-1))
        shift = torch.zeros(()) if bias is None else torch.as_tensor(bias).detach()
        self.register_buffer("bias", shift.to(self.weight).expand(len(class_embeddings)).clone())

    def forward(self, pooled: Float[Tensor, "batch embed"]) -> Float[Tensor, "batch class"]:
        return F.linear(F.normalize(self.projection(pooled), dim=-1), self.weight, self.bias)


def zero_shot_head(
    model: nn.Module, class_embeddings: Float[Tensor, "class embed"], scale: float = 100.0,
    bias: float | Float[Tensor, "class"] | None = None
) -> ZeroShotHead:
    """The head of :func:`zero_shot`, which stays when it is set as ``model.head``.

    Args and errors are those of :func:`zero_shot`.
    """
    head = getattr(model, "head", None)
    kinds = (VisionTransformer, Eva)
    if not isinstance(model, kinds) or isinstance(model,
                                                  VisionTransformerDistilled) or not isinstance(
            head, (nn.Linear, nn.Identity)):
        raise ValueError(f"zero_shot needs an image tower with one head, got "
                         f"{type(model).__name__} with head {type(head).__name__}; accepted: a "
                         f"timm "
                         "VisionTransformer or Eva whose head is its projection, or num_classes=0")
    width = head.out_features if isinstance(head, nn.Linear) else model.embed_dim
    weight = model.patch_embed.proj.weight
    if not isinstance(class_embeddings,
                      Tensor) or class_embeddings.ndim != 2 or class_embeddings.shape[
            1] != width or len(class_embeddings) < 2:
        found = tuple(class_embeddings.shape) if isinstance(class_embeddings,
                                                            Tensor) else type(
            class_embeddings).__name__
        raise ValueError(f"class_embeddings must be a tensor (class, {width}) of at least two "
                         f"classes, got {found}")
    if class_embeddings.dtype != weight.dtype or class_embeddings.device != weight.device:
        raise ValueError(f"class_embeddings are {class_embeddings.dtype} on "
                         f"{class_embeddings.device}; accepted: the model's {weight.dtype} on "
                         f"{weight.device}")
    if not torch.isfinite(class_embeddings).all() or not class_embeddings.any(1).all():
        raise ValueError("class_embeddings hold NaN, infinite values or a row of zeros; accepted: "
                         "finite rows with a direction")
    if isinstance(scale, bool) or not isinstance(scale,
                                                 (int, float)) or not math.isfinite(
            scale) or scale <= 0:
        raise ValueError(f"scale must be a positive finite number, got {shown(scale)}")
    try:
        shift = torch.zeros(()) if bias is None else torch.as_tensor(bias)
        fits = shift.shape in ((), (len(class_embeddings),)) and torch.isfinite(shift).all()
    except (TypeError, ValueError, RuntimeError):  # of what is no number
        fits = False
    if not fits:
        raise ValueError(f"bias must be a finite number or a tensor ({len(class_embeddings)},), "
                         f"got {shown(bias)}".replace("\n", " "))
    return ZeroShotHead(head, class_embeddings, scale, bias)


@contextmanager
def zero_shot(
    model: nn.Module, class_embeddings: Float[Tensor, "class embed"], scale: float = 100.0,
    bias: float | Float[Tensor, "class"] | None = None
) -> Iterator[nn.Module]:
    """Inside, a CLIP or SigLIP image tower classifies by class embeddings; its own head is back
    when the context is left.

    A :class:`~neuronpath_core.target.TargetModel` of it is made, and used, inside.  See
    :class:`ZeroShotHead` for the logits.

    Args:
        model: a timm image tower, whose head is the projection into the shared space (CLIP) or
            absent (SigLIP, ``num_classes=0``).
        class_embeddings: ``(class, embed)``, of the text tower for the classes' names, or any other
            prototypes; brought to unit length here.
        scale: what multiplies the cosines, the exponential of the stored logarithm; CLIP's is about
            100, SigLIP's about 117.
        bias: added to the logits; SigLIP's single one changes no probability.

    Raises:
        ValueError: a model of another kind, embeddings of another width, dtype or device, or
            numbers that are not finite.
    """
    own, head = getattr(model, "head", None), zero_shot_head(model, class_embeddings, scale, bias)
    try:
        model.head = head.train(model.training)
        yield model
    finally:
        model.head = own.train(model.training)
