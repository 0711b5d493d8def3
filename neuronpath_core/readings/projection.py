r"""Vectors of the residual stream read in the space of classes (Vilas et al., 2023, section 4).

A head :math:`E \in \mathbb R^{C \times d}`, :math:`e \in \mathbb R^C` behind a final norm
:math:`\nu` with gain :math:`\gamma` and shift :math:`\beta` gives every vector v of the stream a
number for each class:

===============  ================================================  =================================
``"normed"``     :math:`E\,\nu(v) + e`                             what the model would answer if
                                                                   its head saw v alone
``"raw"``        :math:`E\,v`                                      neither norm nor bias
``"unit"``       :math:`\hat E\,\hat v`                            cosines: both at unit length
``"effective"``  :math:`E\,\mathrm{diag}(\gamma)(I - 11^\top/d)v`  the linear part of what v adds,
                                                                   before the norm divides
===============  ================================================  =================================

The norm makes ``"normed"`` blind to the size of v, so that the answers of two parts of a stream
cannot be added.  :func:`~neuronpath_core.readings.ledger.ledger` can add them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from neuronpath_core.examined import check_target
from neuronpath_core.model_state import is_touched
from neuronpath_core.readings.streams import check_block, check_place, over_images
from neuronpath_core.support.tensors import is_ordinary, kind_of
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float, Int64

    from neuronpath_core.readings.streams import Streams
    from neuronpath_core.target import TargetModel

Projection = Literal["normed", "raw", "unit", "effective"]
Place = Literal["block", "attention", "ffn"]
Scale = Literal["published", "full"]
PROJECTIONS = ("normed", "raw", "unit", "effective")
SCALES = ("published", "full")
POOLS = ("token", "avg")


def head_rows(target: TargetModel) -> tuple[Float[Tensor, "class width"], Float[Tensor, "class"]]:
    """E and e, a row and a bias for each class; a head without bias has zeros.

    Raises:
        ValueError: no target, or a head that is not linear in one normed token or in the mean of
            such: two heads, attention or maximum pooling, a zero-shot head, a head of one's own.
    """
    check_target(target)
    model = target.model
    head, pool = getattr(model, "head", None), getattr(model, "global_pool", None)
    if hasattr(model, "head_dist"):
        raise ValueError("the model has two heads, each behind a token of its own; accepted: a "
                         "model with one linear head")
    if getattr(model, "attn_pool", None) is not None or pool not in POOLS:
        raise ValueError(f"the head reads tokens pooled by {shown(pool)}, so that it is no linear "
                         f"function of a normed token; accepted: a model that pools by "
                         f"{', '.join(POOLS)}")
    if type(head) is not nn.Linear or is_touched([head]):
        raise ValueError(f"the head ({type(head).__name__}) is not linear in the normed token; "
                         "accepted: torch's own Linear, neither hooked nor replaced, such as one "
                         "whose rows are prototypes of the classes")
    own = next((kind for kind in (VisionTransformer, Eva) if isinstance(model, kind)), None)
    if own is None or type(model).forward_head is not own.forward_head or type(
            model).pool is not own.pool or {"forward_head", "pool"} & vars(model).keys():
        raise ValueError(f"{type(model).__name__} has a head or a pooling of its own; accepted: "
                         "timm's VisionTransformer and Eva")
    weight = head.weight.detach()
    bias = weight.new_zeros(len(weight)) if head.bias is None else head.bias.detach()
    return weight, bias


def norm_of(target: TargetModel) -> nn.LayerNorm | None:
    """The layer norm between stream and head, wherever it stands; ``None`` if there is none.

    Raises:
        ValueError: two norms, or a norm that does not centre.
    """
    norms = [norm for norm in (target.model.norm, target.model.fc_norm)
             if type(norm) is not nn.Identity]
    if len(norms) > 1 or not all(isinstance(norm, nn.LayerNorm) for norm in norms):
        found = " and ".join(type(norm).__name__ for norm in norms)
        raise ValueError(f"between stream and head stands {found}; accepted: one LayerNorm, or "
                         "none")
    return norms[0] if norms else None


def project_vectors(target: TargetModel, vectors: Float[Tensor, "*batch width"],
                    projection: Projection = "normed") -> Float[Tensor, "*batch class"]:
    r"""A number for each class from vectors of the residual stream, by one of the four formulas at
    the head of this module.

    Args:
        target: the model whose head reads; of a model that pools its tokens the head reads each
            vector by itself, as Vilas et al. do.
        vectors: tokens, value vectors or sums of them, in the model's dtype and on its device.
        projection: ``"normed"`` gives logits, ``"unit"`` cosines in [-1, 1] (0 for a vector of
            zeros), ``"raw"`` and ``"effective"`` parts of a logit.

    Raises:
        ValueError: vectors of another width, dtype or device, an unknown projection, or a head or a
            norm that the formula is not about.
    """
    rows, bias = head_rows(target)
    if not is_one_of(projection, PROJECTIONS):
        raise ValueError(f"unknown projection {shown(projection)}; accepted: "
                         f"{', '.join(PROJECTIONS)}")
    if not is_ordinary(vectors) or vectors.ndim < 1 or vectors.shape[-1] != rows.shape[1]:
        raise ValueError(f"vectors must be a dense tensor (..., {rows.shape[1]}), got "
                         f"{kind_of(vectors)}")
    if vectors.dtype != rows.dtype or vectors.device != rows.device:
        raise ValueError(f"vectors are {vectors.dtype} on {vectors.device}; accepted: the model's "
                         f"{rows.dtype} on {rows.device}")
    if projection == "normed":
        # a graph for whoever asks for derivatives by the vectors, none for the norm's weights
        with torch.set_grad_enabled(torch.is_grad_enabled() and vectors.requires_grad):
            return F.linear(target.model.fc_norm(target.model.norm(vectors)), rows, bias)
    if projection == "raw":
        return F.linear(vectors, rows)
    if projection == "unit":
        return F.linear(F.normalize(vectors, dim=-1), F.normalize(rows, dim=-1))
    return F.linear(vectors, effective_rows(target))


def effective_rows(target: TargetModel) -> Float[Tensor, "class width"]:
    r"""Rows :math:`E\,\mathrm{diag}(\gamma)\,(I - 11^\top/d)`: what a vector adds to the logits, up
    to the division by the norm's σ; E itself without a norm.

    Raises:
        ValueError: as :func:`head_rows` and :func:`norm_of`.
    """
    rows, _ = head_rows(target)
    norm = norm_of(target)
    if norm is None:
        return rows
    rows = rows if norm.weight is None else rows * norm.weight.detach()
    return rows - rows.mean(-1, keepdim=True)


@torch.no_grad()
def project(target: TargetModel, images: Float[Tensor, "image channel height width"], block: int,
            at: Place = "block",
            projection: Projection = "normed") -> Float[Tensor, "image token class"]:
    """What every token of some images says of every class, after a block or in what one of its
    halves adds (Vilas et al., 2023, section 4).

    Args:
        target: the model; results have its dtype and are on its device.
        images: as the model accepts them; as many at a time as memory admits.
        block: counted from 0.
        at: ``"block"``: the stream after the block; ``"attention"``, ``"ffn"``: what that half
            adds.
        projection: as of :func:`project_vectors`.

    Raises:
        ValueError: no such block or place, and what :func:`project_vectors` and
            :func:`~neuronpath_core.readings.streams.read_streams` refuse.
    """
    check_target(target)
    check_block(target, block)
    check_place(at)
    return torch.cat(over_images(target, images, lambda streams, rows: project_vectors(
        target, streams.at(at)[block], projection)))


def ranks(logits: Float[Tensor, "*batch class"],
          labels: Int64[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """The place of each label among the classes, 0 for the largest number; labels that tie share
    the mean of their places, so that 0 is strictly first.

    Args:
        logits: a number for each class.
        labels: of a shape that ``logits`` without classes can be made of by expansion, such as
            ``(image, 1)`` for tokens.
    """
    index = labels.expand(logits.shape[:-1])[..., None]
    own = logits.gather(-1, index)
    above, tied = (logits > own).sum(-1), (logits == own).sum(-1) - 1
    return above.to(logits.dtype) + 0.5 * tied.to(logits.dtype)


def of_ranks(rank: Float[Tensor, "*batch"] | Float[np.ndarray, "*batch"] | float, classes: int,
             scale: Scale = "published"
             ) -> Float[Tensor, "*batch"] | Float[np.ndarray, "*batch"] | float:
    r"""Identifiability of ranks: :math:`1 - r/C` as published, which reaches from 1/C to 1, or
    :math:`1 - r/(C - 1)` from 0 to 1 (``"full"``).

    Raises:
        ValueError: an unknown scale.
    """
    if not is_one_of(scale, SCALES):
        raise ValueError(f"unknown scale {shown(scale)}; accepted: {', '.join(SCALES)}")
    return 1 - rank / (classes if scale == "published" else classes - 1)


@torch.no_grad()
def identifiability(target: TargetModel, images: Float[Tensor, "image channel height width"],
                    labels: Int64[Tensor, "image"], block: int | None = None, at: Place = "block",
                    scale: Scale = "published") -> Float[Tensor, "*block image token"]:
    r"""How high each token ranks its image's label, :math:`1 - \mathrm{rank}/C` (Vilas et al.,
    2023, equation 1), rank 0 the largest of the ``"normed"`` projection.

    As published the lowest value is 1/C and a random order has :math:`\frac12 + \frac1{2C}` on
    average, not one half; ``scale="full"`` reaches from 0 to 1 and has one half.

    Args:
        target: the model; results have its dtype and are on its device.
        images, labels: as the model accepts them, of mixed classes.
        block: counted from 0; ``None``: all, as a first axis.
        at: ``"block"``: the stream after the block; ``"attention"``, ``"ffn"``: what that half
            adds.
        scale: ``"published"`` or ``"full"``.

    Returns:
        ``(image, token)``, or ``(block, image, token)`` of all blocks; equal numbers share the mean
        of their ranks.

    Raises:
        ValueError: no such block, place or scale, a model of one class, and what
            :func:`project_vectors` and :func:`~neuronpath_core.readings.streams.read_streams`
            refuse.
    """
    check_target(target)
    check_place(at)
    of_ranks(torch.zeros(0), 2, scale)
    if block is not None:
        check_block(target, block)
    target.check_batch(images, labels)
    head_rows(target)

    def reading(streams: Streams, rows: Tensor) -> Tensor:
        chosen = streams.at(at) if block is None else streams.at(at)[block:block + 1]
        # block by block: the projections of all of them are C numbers a token
        return torch.stack([of_ranks(ranks(project_vectors(target, values), labels[rows, None]),
                                     target.n_classes, scale) for values in chosen])

    found = torch.cat(over_images(target, images, reading), 1)
    return found if block is None else found[0]
