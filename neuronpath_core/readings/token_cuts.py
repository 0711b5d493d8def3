"""What is left of the class in the tokens when they may not look at one another (Vilas et al.,
2023, section 5).

Two cuts of the attention are published.  ``"self_only"``: an image token sees nothing but itself;
``"no_cls"``: no image token sees the class token.  The class token's own row stays in both.  Text
and code differ in what becomes of the weights:

=============  ====================================  ==============================================
variant        ``"self_only"``                       ``"no_cls"``
=============  ====================================  ==============================================
published      rows become the identity after the    the column becomes 0 after the softmax; rows
               softmax                               sum to less than 1
written        all other weights become 0; a token   as published
               keeps less than 1 for itself
corrected      forbidden before the softmax, which   forbidden before the softmax: rows sum to 1
               is the identity too
=============  ====================================  ==============================================

A third cut takes patches away altogether, after positions were added.  It is computed as attention
in which nobody sees them, which is the same for the tokens that stay.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core.agreement import agree
from neuronpath_core.examined import check_target
from neuronpath_core.readings.attention_maps import (
    attention,
    check_read,
    check_readable,
    renormalised,
)
from neuronpath_core.readings.grids import grid_of
from neuronpath_core.readings.ledger import read_tokens
from neuronpath_core.readings.projection import head_rows, project_vectors, ranks
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.tensors import is_ordinary, kind_of
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

    from neuronpath_core.target import TargetModel

CutName = Literal["self_only", "no_cls"]
Variant = Literal["published", "written", "corrected"]
CUTS = ("self_only", "no_cls")
VARIANTS = ("published", "written", "corrected")


@dataclass(frozen=True)
class Cut:
    """What a model says of its images' labels with its attention cut, on the CPU.

    Attributes:
        rank: of the label in each token's last stream, 0 for strictly first; NaN where a token was
            taken away.
        predicted: the class that the cut model gives.
    """

    rank: Float[Tensor, "image token"]
    predicted: Int64[Tensor, "image"]

    def identified(self) -> Bool[Tensor, "image token"]:
        """Whether the label is strictly first."""
        return self.rank == 0


def cut_mask(cut: CutName, tokens: int, prefix: int) -> Bool[Tensor, "query key"]:
    """Which tokens each token may look at.

    Raises:
        ValueError: an unknown cut, or no class token to cut.
    """
    if not is_one_of(cut, CUTS):
        raise ValueError(f"unknown cut {shown(cut)}; accepted: {', '.join(CUTS)}")
    allowed = torch.ones(tokens, tokens, dtype=torch.bool)
    if cut == "self_only":
        allowed[prefix:] = torch.eye(tokens, dtype=torch.bool)[prefix:]
    elif prefix == 0:
        raise ValueError("no class token whose column could be cut; accepted: a model with one")
    else:  # the first prefix token
        allowed[prefix:, 0] = False
    return allowed


def cut_attention(target: TargetModel, images: Float[Tensor, "image channel height width"],
                  labels: Int64[Tensor, "image"], cut: CutName,
                  variant: Variant = "corrected") -> Cut:
    """Cut the attention of every block in one of the published ways, by the table at the head of
    this module.

    Args:
        target: a model whose attention can be read.
        images, labels: as the model accepts them.
        cut: ``"self_only"`` or ``"no_cls"``.
        variant: what becomes of the weights.

    Raises:
        ValueError: an unknown cut or variant, no class token to cut, and what :func:`forbid`
            refuses.
    """
    check_target(target)
    if not is_one_of(variant, VARIANTS):
        raise ValueError(f"unknown variant {shown(variant)}; accepted: {', '.join(VARIANTS)}")
    target.check_batch(images, labels)
    has_cls = target.family.has_class_token(target.model)  # or registers alone
    prefix = target.family.prefix_tokens(target.model) if has_cls or cut != "no_cls" else 0
    allowed = cut_mask(cut, target.n_tokens, prefix)
    keeps_sum = variant == "corrected" or (variant == "published" and cut == "self_only")
    return forbid(target, images, labels, allowed, renormalise=keeps_sum)


def forbid(target: TargetModel, images: Float[Tensor, "image channel height width"],
           labels: Int64[Tensor, "image"], allowed: Bool[Tensor, "*image query key"],
           renormalise: bool = True, blocks: Collection[int] | None = None) -> Cut:
    r"""Forbid some tokens to look at some others.

    Args:
        target: a model whose attention can be read and whose head is linear.
        images, labels: as the model accepts them.
        allowed: which key each query may look at, for all images or for each.
        renormalise: whether the weights that are left are divided by their sum, as a mask before
            the softmax does; else the forbidden ones are set to 0 after it.  A query with one
            allowed key has a weight of 1 on it then.
        blocks: in which this holds, counted from 0; ``None``: in all.

    Raises:
        ValueError: truth values of another shape, a query that may look at nothing, a block that
            there is not, attention that cannot be read, or what
            :func:`~neuronpath_core.readings.projection.head_rows` refuses.
    """
    _check(target, images, labels)
    tokens = (target.n_tokens,) * 2
    if not is_ordinary(allowed) or allowed.dtype != torch.bool or (
            allowed.shape not in (tokens, (len(images), *tokens))):
        raise ValueError(f"allowed must be truth values ({tokens[0]}, {tokens[0]}), or such for "
                         f"each of {len(images)} images, got {kind_of(allowed)}")
    if not allowed.any(-1).all():
        raise ValueError("a query may look at no key; accepted: at least one for each query")
    every = range(len(target.model.blocks))
    chosen = set(every if blocks is None else blocks)
    if not chosen <= set(every):
        raise ValueError(f"no such blocks as {sorted(chosen)[-1]}; accepted: 0..{every[-1]}")
    allowed = allowed.to(target.device)

    def compute(rows: Tensor) -> tuple[Tensor, Tensor]:
        here = allowed if allowed.ndim == 2 else allowed[rows, None]
        streams = _run(target, images[rows], here, renormalise, chosen)
        logits = target.family.logits(target.model, streams)
        rank = ranks(project_vectors(target, streams), labels[rows, None])
        return rank.cpu(), logits.argmax(-1).cpu()
    return _in_parts(target, len(images), compute)


def drop_tokens(target: TargetModel, images: Float[Tensor, "image channel height width"],
                labels: Int64[Tensor, "image"], keep: Bool[Tensor, "image patch"]) -> Cut:
    """Take patches away after positions were added, in each image its own: no token sees them in
    any block, and a head that pools leaves them out.

    Args:
        target: a model whose attention can be read and whose head is linear.
        images, labels: as the model accepts them.
        keep: which patch tokens stay; prefix tokens always do.

    Raises:
        ValueError: truth values of another shape, an image of which nothing stays, and what
            :func:`forbid` refuses.
    """
    _check(target, images, labels)
    grid = grid_of(target, images)
    if not is_ordinary(keep) or keep.dtype != torch.bool or (
            keep.shape != (len(images), grid.patches)):
        raise ValueError(f"keep must be truth values ({len(images)}, {grid.patches}), one a patch, "
                         f"got {kind_of(keep)}")
    if empty := int((~keep.any(1)).sum()):
        raise ValueError(f"of {empty} images no patch stays; accepted: at least one of each")
    stays = torch.ones(len(images), target.n_tokens, dtype=torch.bool, device=target.device)
    stays[:, grid.tokens] = keep.to(target.device)

    def compute(rows: Tensor) -> tuple[Tensor, Tensor]:
        streams = _run(target, images[rows], stays[rows, None, None], True,
                       range(len(target.model.blocks)))
        rank = ranks(project_vectors(target, streams), labels[rows, None]).cpu()
        rank[~stays[rows].cpu()] = torch.nan
        return rank, _pooled(target, streams, stays[rows]).argmax(-1).cpu()

    return _in_parts(target, len(images), compute)


def _in_parts(target: TargetModel, count: int,
              compute: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Cut:
    parts = in_chunks(target, count, lambda: images_at_once(target, 1), compute)
    return Cut(*(torch.cat(each) for each in zip(*parts, strict=True)))


def _check(target: TargetModel, images: Tensor, labels: Tensor) -> None:
    check_target(target)
    target.check_batch(images, labels)
    target.embed(images[:1])  # refuses a model that is not its blocks
    head_rows(target)
    check_readable(target)
    check_read(target, images)


@torch.no_grad()
def _run(target: TargetModel, images: Tensor, allowed: Tensor, renormalise: bool,
         blocks: Collection[int]) -> Float[Tensor, "image token width"]:
    """The last stream of the cut model, block by block; the logits of one image tell that the
    blocks put together are the cut model."""
    def replace(block: int, weights: Tensor) -> Tensor:
        if block not in blocks:
            return weights
        here = allowed[:len(weights)].expand(weights.shape)
        if not renormalise:
            return weights * here
        # a key that is alone has all the weight, however little the softmax left it
        alone = here.sum(-1, keepdim=True) == 1
        return renormalised(torch.where(alone, here.to(weights), weights), here)

    if allowed.ndim == 2:
        allowed = allowed[None, None]
    with attention(target, replace):
        stream = target.family.embed(target.model, images)
        for index in range(len(target.model.blocks)):
            stream = target.family.run_block(target.model, index, stream)
        logits = target(images[:1])
    again = target.family.logits(target.model, stream[:1])
    if not agree(again, logits, logits):
        raise ValueError("the cut model's logits are not those of its cut blocks put together; "
                         "accepted: a model that is its blocks")
    return stream


def _pooled(target: TargetModel, streams: Tensor, stays: Tensor) -> Float[Tensor, "image class"]:
    """The logits of the tokens that are there."""
    model = target.model
    if model.global_pool == "token":
        return target.family.logits(model, streams)
    read = read_tokens(target)
    there = stays[:, read, None].to(streams)
    pooled = (model.norm(streams)[:, read] * there).sum(1) / there.sum(1)
    return model.head(model.fc_norm(pooled))
