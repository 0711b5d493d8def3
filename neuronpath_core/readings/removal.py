r"""Accuracy while patches are removed in an order, and one number for the curve.

Patch tokens are dropped after the positions are added, so that attention never sees them; prefix
tokens stay.  In the *negative* test the least relevant patches go first, and a good order keeps
accuracy; in the *positive* one the most relevant go first, and a good order loses it (Vilas et al.,
2023, section 7, after Chefer et al., 2021).

===============  ===================================================================================
as published     :math:`\sum_k \mathrm{acc}_k / (P \max_k \mathrm{acc}_k)` over :math:`k = 1 \dots
                 P-1` kept patches: each curve divided by its own maximum, and by P with P - 1
                 points, none of them the whole image
corrected        the trapezoid rule over the removed share s from 0 to :math:`1 - 1/P`, divided by
                 that width; accuracy is not rescaled, so that a constant accuracy is the area, and
                 an area can be had of every image by itself
===============  ===================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scipy.integrate import trapezoid
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.support.memory import copies_at_once, in_chunks
from neuronpath_core.support.tensors import is_ordinary, kind_of
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

    from neuronpath_core.target import TargetModel

# images with tokens missing that run at once: more of them leave the processor's cache (measured:
# 1.2 times as long for 1,800 at once, as long for 256)
AT_ONCE = 512
Test = Literal["negative", "positive"]
TESTS = ("negative", "positive")


def ranked(relevance: Float[Tensor, "*rest patch"], seed: int = 0) -> Int64[Tensor, "*rest patch"]:
    """Order patches from the most to the least relevant; ties are broken by a seeded draw.

    A map without values, such as zeros, gives a random order.

    Raises:
        ValueError: relevance that is not finite.
    """
    if not torch.isfinite(relevance).all():
        raise ValueError("relevance holds NaN or infinite values; accepted: finite numbers only")
    shuffled = torch.rand(relevance.shape, generator=torch.Generator().manual_seed(seed),
                          dtype=torch.float64).argsort(-1).to(relevance.device)
    order = relevance.gather(-1, shuffled).argsort(stable=True, dim=-1, descending=True)
    return shuffled.gather(-1, order)


def kept_counts(patches: int, steps: int | None = None) -> list[int]:
    """How many patches are kept at each point of a curve, from all of them to one.

    Args:
        patches: P.
        steps: removed shares from 0 to below 1 in so many equal steps; ``None``: one patch at a
            time.

    Raises:
        ValueError: fewer than two patches, or no whole number of at least 1.
    """
    if patches < 2 or steps is not None and (isinstance(steps, bool) or not isinstance(steps, int)
                                             or steps < 1):
        raise ValueError(f"a curve of {shown(steps)} steps over {patches} patches; accepted: at "
                         "least two patches, and a whole number of at least 1 or None")
    steps = patches if steps is None else min(steps, patches)
    counts = [round(patches * (1 - step / steps)) for step in range(steps)]
    return [*counts, *([1] if counts[-1] > 1 else [])]


def removal_curves(
    target: TargetModel, images: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], orders: Int64[Tensor, "order image patch"],
    kept: Sequence[int], test: Test
) -> Bool[Tensor, "order point image"]:
    """Say whether each image is still classified as its label, with only some patches kept.

    Args:
        target: a model whose blocks run on any number of tokens.
        images, labels: a batch; it is the label that counts, not the clean prediction.
        orders: for each order and image a permutation of the patches, most relevant first, of
            :func:`ranked`.
        kept: the numbers of patches kept, each from 1 to P, of :func:`kept_counts`.
        test: ``"negative"`` keeps the first of each order, ``"positive"`` the last.

    Returns:
        bool, a row for each order and number of patches.

    Raises:
        ValueError: a batch that does not fit, orders that are no permutations of the patches,
            another number or test, or a model whose blocks cannot run on some of the tokens.
    """
    check_target(target)
    target.check_batch(images, labels)
    patches = _check(target, images, orders, kept, test)
    first = target.family.prefix_tokens(target.model)
    with torch.no_grad():
        stream = torch.cat(in_chunks(target, len(images), lambda: copies_at_once(target),
                                     lambda rows: target.embed(images[rows])))
    front, found = torch.arange(first, device=stream.device), []
    for count in kept:
        chosen = orders[..., :count] if test == "negative" else orders[..., patches - count:]
        if count == patches:  # the whole image, whatever the order
            chosen = torch.arange(patches, device=orders.device).expand(1, len(images), patches)
        chosen = chosen.flatten(0, 1)

        def classify(rows: Tensor, chosen=chosen) -> Tensor:
            images_of = rows % len(images)
            tokens = torch.cat([front.expand(len(rows), first), chosen[rows] + first], 1)
            some = stream[images_of].gather(1, tokens[..., None].expand(-1, -1, stream.shape[-1]))
            with torch.no_grad():
                some = target.run(some, 0, target.n_blocks, pooled=True)
                return target.family.logits(target.model, some).argmax(-1) == labels[images_of]
        right = torch.cat(in_chunks(target, len(chosen),
                                    lambda: min(AT_ONCE, copies_at_once(target)), classify,
                                    side_by_side=True))
        found.append(right.view(-1, len(images)).expand(len(orders), len(images)))
    return torch.stack(found, 1)


def _check(target: TargetModel, images: Tensor, orders: Tensor, kept: Sequence[int],
           test: Test) -> int:
    """The number of patches, if all of this fits together."""
    patches = target.n_tokens - target.family.prefix_tokens(target.model)
    if not is_one_of(test, TESTS):
        raise ValueError(f"unknown test {shown(test)}; accepted: {', '.join(TESTS)}")
    if (not is_ordinary(orders) or orders.dtype != torch.int64 or orders.ndim != 3
            or orders.shape[1:] != (len(images), patches)
            or not (orders.sort(-1).values == torch.arange(patches, device=orders.device)).all()):
        raise ValueError(f"orders must be int64 permutations of {patches} patches, (order, "
                         f"{len(images)}, {patches}), got {kind_of(orders)}")
    if not kept or any(isinstance(count, bool) or not isinstance(count, int)
                       or not 1 <= count <= patches for count in kept):
        raise ValueError(f"kept patches must be whole numbers in 1..{patches}, got {shown(kept)}")
    if getattr(target.model, "rope", None) is not None:
        raise ValueError("the model's blocks take the positions of all patches, so that none can "
                         "be dropped; accepted: positions that are added before the blocks")
    return patches


def areas(right: Float[np.ndarray, "*rest point image"], kept: Sequence[int],
          patches: int) -> Float[np.ndarray, "*rest image"]:
    """The corrected area of each image's curve, from 0 to 1, whose mean over images is the area of
    the accuracy's curve.

    Args:
        right: whether an image is classified as its label, of :func:`removal_curves`.
        kept: the numbers of patches of its points; they must reach from all patches to one.
        patches: P.

    Raises:
        ValueError: points that are other than that.
    """
    right = np.asarray(right, float)
    if list(kept) != sorted(set(kept), reverse=True) or (kept[0], kept[-1]) != (patches, 1) \
            or right.shape[-2] != len(kept):
        raise ValueError(f"a curve of {right.shape[-2]} points at {shown(list(kept))} kept of "
                         f"{patches} patches; accepted: a point for each, from all patches down to "
                         "one")
    removed = 1 - np.asarray(kept) / patches
    return trapezoid(right, removed, axis=-2) / removed[-1]


def published_area(right: Float[np.ndarray, "*rest point image"]) -> Float[np.ndarray, "*rest"]:
    """The published area: of accuracies at 1 to P - 1 kept patches the sum, divided by their
    maximum and by P; NaN where no image is ever classified as its label.

    Args:
        right: a row for each number of kept patches from 1 to P - 1, in any order.
    """
    accuracy = np.asarray(right, float).mean(-1)
    most = accuracy.max(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return accuracy.sum(-1) / (most * (accuracy.shape[-1] + 1))
