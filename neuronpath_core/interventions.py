"""Edited forward passes: paths removed, replaced or enhanced, and everything but chosen neurons
pruned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.edits import scaled
from neuronpath_core.examined import check_target
from neuronpath_core.factors import check_values, edit_factor
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.tensors import is_ordinary, kind_of
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

# under masks of each of eight trained models single precision moved the difference of an image's
# two largest logits by at most 3e-5
LOGIT_MARGIN = 1e-2


@torch.no_grad()
def class_probabilities(target: TargetModel,
                        images: Float[Tensor, "batch channel height width"]) -> Float[
        Tensor, "batch class"]:
    """Softmax probabilities, with whatever edits for a batch of one are in force."""
    check_target(target)
    target.check_images(images)
    return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1),
                               lambda chosen: target(images[chosen]).softmax(-1)))


@torch.no_grad()
def scaled_probabilities(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    factors: Float[Tensor, "batch layer neuron"], everywhere: bool = False,
    values: Float[Tensor, "image layer token neuron"] | None = None
) -> Float[Tensor, "batch class"]:
    r"""Softmax probabilities with each image's neurons multiplied by its own factors, at the scope
    or at every token (``everywhere``).

    With replacement values v an activation w becomes :math:`v + f\,(w - v)`: a factor f of 0
    replaces it, 1 leaves it, 2 doubles its distance from v.

    Args:
        target: the model.
        images: a batch.
        factors: f, one set an image; of heads and halves one a unit.
        everywhere: edit every token of the model, not those of the scope alone.
        values: v, ``(image or 1, layer, token, neuron)`` with the tokens that are edited, or one
            token for all of them; ``None`` is zero.

    Raises:
        ValueError: images, factors or values that do not fit the model or one another.
    """
    check_target(target)
    target.check_images(images)
    if not is_ordinary(factors) or factors.ndim != 3:
        raise ValueError(f"factors must be a dense tensor (batch, {target.n_blocks}, "
                         f"{target.n_neurons}), got {kind_of(factors)}")
    if len(factors) != len(images):
        raise ValueError(f"factors are for {len(factors)} images, the batch has {len(images)}; "
                         f"accepted: one set of factors an image")
    if values is not None:
        values = check_values(target, values, len(images))

    def probabilities(chosen: Tensor) -> Tensor:
        with scaled(target, factors[chosen], everywhere, values_of(values, chosen)):
            return target(images[chosen]).softmax(-1)

    return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1),
                               probabilities))


def values_of(values: Float[Tensor, "image layer token neuron"] | None,
              chosen: Int64[Tensor, "row"]) -> Float[Tensor, "row layer token neuron"] | None:
    """Replacement values of some of a batch's images; those for one image hold for all."""
    return values if values is None or len(values) == 1 else values[chosen]


def drafted_probabilities(
    target: TargetModel, draft: TargetModel | None,
    images: Float[Tensor, "batch channel height width"],
    factors: Float[Tensor, "batch layer neuron"],
    everywhere: bool = False,
    values: Float[Tensor, "image layer token neuron"] | None = None,
) -> Float[Tensor, "batch class"]:
    """:func:`scaled_probabilities` by a model in lower precision, and by the model itself where the
    two most probable classes are too close to tell apart.

    The predicted class is the model's own; probabilities have the draft's accuracy.

    Args:
        draft: the model in another precision; ``None`` leaves everything to the model itself.
        images, factors, everywhere, values: as of :func:`scaled_probabilities`.
    """
    if draft is None:
        return scaled_probabilities(target, images, factors, everywhere, values)
    if values is not None:
        values = check_values(target, values, len(images))
    found = scaled_probabilities(draft, images.to(draft.dtype), factors, everywhere,
                                 values).to(images.dtype)
    first, second = found.topk(2).values.log().unbind(1) if found.shape[1] > 1 else (found[:, 0],
                                                                                     -found[:, 0])
    # a comparison with NaN is false, so images that overflowed are included
    rows = torch.nonzero(~(first - second >= LOGIT_MARGIN))[:, 0]
    if len(rows):
        found[rows] = scaled_probabilities(target, images[rows], factors[rows], everywhere,
                                           values_of(values, rows))
    return found


def edited_probabilities(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    neurons: Int64[Tensor, "batch layer"],
    operation: str | float,
    values: Float[Tensor, "image layer token neuron"] | None = None,
) -> Float[Tensor, "batch class"]:
    r"""Softmax probabilities :math:`\tilde P` with each image's own path edited (Sec. 4.2, App.
    C.4), as :func:`~neuronpath_core.edits.edit` does it.

    Args:
        target: the model.
        images: a batch.
        neurons: its paths, int64 ``(batch, layer)`` or ``(batch, layer, rank)``.
        operation: ``"remove"``, ``"enhance"`` or a factor.
        values: what a removed neuron is set to, ``(image or 1, layer, scope token or 1, neuron)``;
            ``None`` is zero, as published.

    Raises:
        ValueError: images, paths or values that do not fit the model or one another, or an unknown
            operation.
    """
    check_target(target)
    target.check_images(images)
    ranked, factor = target.check_neurons(neurons, len(images)), edit_factor(operation)
    factors = torch.ones(len(images), target.n_blocks, target.n_neurons, dtype=images.dtype,
                         device=images.device)
    return scaled_probabilities(target, images, factors.scatter_(2, ranked, factor), values=values)


def class_neurons(neurons: Int64[Tensor, "image layer rank"], top: int,
                  rule: Literal["count", "rank-mode"] = "count") -> list[list[int]]:
    """The neurons that a class's paths share, per block (Sec. 4.4).

    Args:
        neurons: the paths of the class's images.
        top: neurons to keep per block.
        rule: ``"rank-mode"``, as published: the most frequent neuron at each rank, where a neuron
            that leads two ranks is kept once, so fewer than ``top`` may remain; ``"count"``: the
            ``top`` most frequent among the first ``top`` ranks.

    Returns:
        one list per block; ties go to the smaller index.

    Raises:
        ValueError: unknown rule, or paths with fewer than ``top`` neurons a block.
    """
    if not is_one_of(rule, ("count", "rank-mode")):
        raise ValueError(f"unknown rule {shown(rule)}; accepted: count, rank-mode")
    if neurons.ndim != 3 or not 1 <= top <= neurons.shape[2]:
        raise ValueError(f"top must lie in 1..rank of paths (image, layer, rank), got top {top} "
                         f"and paths {tuple(neurons.shape)}")
    kept = []
    for block in neurons[:, :, :top].unbind(1):
        if rule == "rank-mode":
            kept.append(sorted({int(np.bincount(rank).argmax()) for rank in block.T.cpu().numpy()}))
        else:
            counts = np.bincount(block.flatten().cpu().numpy())
            order = np.argsort(-counts, kind="stable")[:top]
            kept.append(sorted(int(index) for index in order if counts[index] > 0))
    return kept


def pruning_mask(kept: list[list[int]], n_neurons: int, share: float,
                 rng: np.random.Generator) -> np.ndarray:
    """Which neurons survive when every one that is not kept is zeroed with probability ``share``.

    Returns:
        bool ``(layer, neuron)``, True for survivors.

    Raises:
        ValueError: ``share`` outside 0..1 or a kept index outside the block.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the pruned share must lie in 0..1, got {share}")
    survives = rng.random((len(kept), n_neurons)) >= share
    for block, indices in enumerate(kept):
        if any(not 0 <= index < n_neurons for index in indices):
            raise ValueError(f"kept neurons of block {block} must lie in 0..{n_neurons - 1}, "
                             f"got {sorted(indices)}")
        survives[block, indices] = True
    return survives


@contextmanager
def pruned(target: TargetModel, survives: np.ndarray, everywhere: bool = False,
           values: Float[Tensor, "image layer token neuron"] | None = None) -> Iterator[
               TargetModel]:
    """Zero for every image, at the scope or at every token (``everywhere``), the neurons that do
    not survive, or set them to ``values``; ``survives`` is bool ``(layer, neuron)``.

    Raises:
        ValueError: ``survives`` or ``values`` of another shape, or (on the forward) values for
            another number of images or tokens.
    """
    with scaled(target, torch.from_numpy(survives[None]).to(target.dtype), everywhere, values):
        yield target
