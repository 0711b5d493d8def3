"""What a removed neuron is replaced by: zero, its mean, its value on another image or on a
counterfactual one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.factors import widest
from neuronpath_core.hooks import neurons_read, unedited
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.numbers import check_whole
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Replacement = Literal["zero", "mean", "resample", "class_resample", "counterfactual"]
REPLACEMENTS = ("zero", "mean", "resample", "class_resample", "counterfactual")
PROBED = 64  # pixels by which most images are told apart
MOST_DRAWS = 1000  # the error of a mean over so many is a thirtieth of one draw's spread


def replacement_values(
    target: TargetModel,
    kind: Replacement,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    *,
    pool: Float[Tensor, "other channel height width"] | None = None,
    pool_labels: Int64[Tensor, "other"] | None = None,
    pairs: Float[Tensor, "batch channel height width"] | None = None,
    draws: int = 1,
    seed: int = 0,
    everywhere: bool = False,
) -> Float[Tensor, "draw image layer token neuron"]:
    r"""The values v that replace a neuron's activation w when it is removed, and from which an
    attribution with a baseline integrates.

    ==================== =========================================================================
    kind                 v of image x
    ==================== =========================================================================
    ``"zero"``           0, as published (Sec. 4.2)
    ``"mean"``           :math:`\frac1m \sum_{j=1}^m \bar w(x_j)` over the pool, token by token
    ``"resample"``       :math:`\bar w(x')` of another image :math:`x' \neq x` of the pool
    ``"class_resample"`` the same of another image of x's label: what is not about the class stays
    ``"counterfactual"`` :math:`\bar w` of x's own pair, such as the same scene with one thing
                         changed
    ==================== =========================================================================

    Zero puts the model where it never was, and what is found depends on the choice (Miller et al.
    2024, arXiv 2407.08734; Li and Janson 2024, arXiv 2409.09951, who compare these kinds).
    :math:`\bar w` is what the model computes without the library's edits, whichever are in force
    around the call. All neurons of an image come from the same other image in one draw, so that
    their values belong together.

    Another image is one with other pixels: an image is never replaced by itself or by a copy of
    itself. Its draws go through all images that it may be replaced by, in random order, before one
    comes again, and fewer draws are the first of more. With a ``pool`` they depend on the seed, the
    pool and the image's own pixels alone, so that a batch gives what its images give one by one.

    Args:
        target: the model.
        kind: one of ``REPLACEMENTS``.
        images, labels: a batch; classes may mix.
        pool: images to take a mean over or to draw from, of the batch's shape, such as training
            images. ``None``: the batch itself, for the two kinds that draw.
        pool_labels: the pool's labels, int64, for ``"class_resample"``.
        pairs: one image for each of the batch, in its order, for ``"counterfactual"``.
        draws: number of draws, 1..1000, for the two kinds that draw; others always have one.
        seed: of the draws, at least 0.
        everywhere: v at every token, as an edit at every token needs, not at the scope's alone.

    Returns:
        ``(draw, image, layer, token, neuron)`` in the model's dtype and on its device, unattached.
        Of ``"zero"`` and ``"mean"`` the image dimension is 1, of ``"zero"`` the token dimension
        too. Layers with fewer neurons than the largest end in zeros; of heads and halves every
        member neuron has its own value. One draw is what :func:`~neuronpath_core.edits.edit` and
        ``baseline=`` take. All of it is held at once: ask for so many images as memory has room
        for.

    Raises:
        ValueError: images, labels, pool or pairs that do not fit the model or one another, an
            unknown kind, a kind that what was given cannot serve (a mean without a pool, a
            counterfactual without pairs, an image without another, a pool of one class), or
            numbers outside their range.
    """
    check_target(target)
    if not is_one_of(kind, REPLACEMENTS):
        raise ValueError(f"unknown replacement {shown(kind)}; accepted: {', '.join(REPLACEMENTS)}")
    check_whole("draws", draws, 1, MOST_DRAWS)
    check_whole("seed", seed, 0)
    if not isinstance(everywhere, bool):
        raise ValueError(f"everywhere must be True or False, got {shown(everywhere)}")
    target.check_batch(images, labels)
    if kind == "zero":
        return torch.zeros(1, 1, target.n_blocks, 1, widest(target), dtype=target.dtype,
                           device=target.device)
    if kind == "mean":
        if pool is None:
            raise ValueError("replacement 'mean' needs images to take the mean over; accepted: "
                             "pool=images of the batch's shape, such as training images")
        _check_like(target, "pool", pool, images)
        return _mean(target, pool, everywhere)[None, None]
    if kind == "counterfactual":
        if pairs is None:
            raise ValueError("replacement 'counterfactual' needs a pair for each image; accepted: "
                             "pairs=images of the batch's shape, one for each")
        _check_like(target, "pairs", pairs, images)
        if len(pairs) != len(images):
            raise ValueError(f"pairs are {len(pairs)}, the batch has {len(images)} images; "
                             "accepted: one pair for each image")
        return _taken(target, pairs, torch.arange(len(pairs))[None], everywhere)
    if pool is not None:
        _check_like(target, "pool", pool, images)
    others = images if pool is None else pool
    allowed = _others(images, others)
    if kind == "class_resample":
        allowed &= _of_the_class(target, labels, pool, pool_labels)
    return _taken(target, others, _drawn(images, allowed, labels, kind, draws, seed), everywhere)


def _check_like(target: TargetModel, name: str, others: Tensor, images: Tensor) -> None:
    """Raise ``ValueError`` unless these are images that the model accepts, of the batch's shape:
    at another size a token would be another place."""
    _named(name, lambda: target.check_images(others))
    if others.shape[1:] != images.shape[1:]:
        found = tuple(others.shape[1:])
        target.check_images(images)  # the model's number of tokens is again that of the batch
        raise ValueError(f"{name} holds images of shape {found}, the batch of "
                         f"{tuple(images.shape[1:])}; accepted: the batch's shape")


def _named(name: str, check: Callable[[], None]) -> None:
    try:
        check()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _mean(target: TargetModel, pool: Tensor, everywhere: bool) -> Float[
        Tensor, "layer token neuron"]:
    totals: list[Tensor] = []  # one, made when the number of tokens is known

    def add(chosen: Tensor) -> None:
        # in double precision, so that neither the number of images nor the chunks round it
        part = _read(target, pool[chosen], everywhere).double().sum(0)
        if totals:
            totals[0] += part
        else:
            totals.append(part)

    in_chunks(target, len(pool), lambda: images_at_once(target, 1), add)
    return (totals[0] / len(pool)).to(target.dtype)


def _taken(target: TargetModel, others: Tensor, choice: Int64[Tensor, "draw image"],
           everywhere: bool) -> Float[Tensor, "draw image layer token neuron"]:
    """The activations of the chosen images, each of which runs once."""
    needed, place = choice.to(target.device).unique(return_inverse=True)
    values: list[Tensor] = []  # made when the number of tokens is known

    def fill(chosen: Tensor) -> None:
        read = _read(target, others[needed[chosen]], everywhere)
        if not values:
            values.append(read.new_empty(*choice.shape, *read.shape[1:]))
        for position, value in zip(chosen, read, strict=True):
            values[0][place == position] = value

    in_chunks(target, len(needed), lambda: images_at_once(target, 1), fill)
    return values[0]


def _read(target: TargetModel, images: Tensor, everywhere: bool) -> Float[
        Tensor, "image layer token neuron"]:
    with unedited():
        read = neurons_read(target, images.detach(), everywhere)
    if len({value.shape[1] for value in read}) > 1:
        raise ValueError("the model's layers have neurons of different numbers of tokens, "
                         f"{', '.join(str(value.shape[1]) for value in read)}; accepted: a model "
                         "whose blocks keep all tokens, or everywhere=False")
    most = widest(target)
    return torch.stack([F.pad(value, (0, most - value.shape[-1])) for value in read], 1)


def _others(images: Tensor, others: Tensor) -> np.ndarray:
    """Bool ``(image, other)``: whether the other's pixels are not the image's own."""
    own, theirs = images.detach().flatten(1), others.detach().flatten(1)
    some = slice(None, None, max(1, own.shape[1] // PROBED))
    probes, found = theirs[:, some].contiguous(), np.ones((len(own), len(theirs)), dtype=bool)
    for index, image in enumerate(own):
        # few images share these pixels, so that few are compared as a whole
        for other in torch.nonzero((probes == image[some]).all(1))[:, 0].tolist():
            found[index, other] = not torch.equal(image, theirs[other])
    return found


def _generator(image: Tensor, seed: int) -> np.random.Generator:
    """Of random numbers, for one image: the same for the same pixels, in whatever precision."""
    # adding zero makes one of the two zeros
    pixels = (image.detach().to("cpu", torch.float64) + 0.0).numpy().tobytes()
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(pixels).digest()[:8],
                                                       "big")])


def _of_the_class(target: TargetModel, labels: Tensor, pool: Tensor | None,
                  pool_labels: Tensor | None) -> np.ndarray:
    """Bool ``(image, other)``: whether the other has the image's label.

    Raises:
        ValueError: no labels of the pool, or all the same: then nothing is left to tell a draw
            within a class from any other.
    """
    if pool is None:
        pool_labels = labels
    elif pool_labels is None:
        raise ValueError("replacement 'class_resample' needs the pool's labels; accepted: "
                         f"pool_labels=int64 tensor of shape ({len(pool)},)")
    else:
        _named("pool_labels", lambda: target.check_batch(pool, pool_labels))
    if (pool_labels == pool_labels[0]).all():
        where = "batch" if pool is None else "pool"
        raise ValueError(f"the {where} holds one class, {int(pool_labels[0])}, so that a draw "
                         "within the class is a draw from all; accepted: images of at least two "
                         "classes, or replacement 'resample'")
    return (labels[:, None] == pool_labels[None]).cpu().numpy()


def _drawn(images: Tensor, allowed: np.ndarray, labels: Tensor, kind: str, draws: int,
           seed: int) -> Int64[Tensor, "draw image"]:
    """Which other image replaces each, draw by draw."""
    choice = np.empty((draws, len(images)), dtype=np.int64)
    for index, (image, row) in enumerate(zip(images, allowed, strict=True)):
        candidates = np.flatnonzero(row)
        if not len(candidates):
            within = f" of its class {int(labels[index])}" if kind == "class_resample" else ""
            raise ValueError(f"image {index} has no other image{within} that could replace it; "
                             f"accepted: pool= with at least one{within or ' of other pixels'}")
        rng, rounds = _generator(image, seed), -(-draws // len(candidates))
        choice[:, index] = np.concatenate([rng.permutation(candidates)
                                           for _ in range(rounds)])[:draws]
    return torch.from_numpy(choice)
