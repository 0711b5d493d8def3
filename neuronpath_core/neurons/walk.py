"""Activations of all tokens, one block at a time, so that a model's neurons need not be held at
once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from neuronpath_core.agreement import agree
from neuronpath_core.examined import check_target
from neuronpath_core.hooks import reading
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.numbers import check_whole
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.target import TargetModel

SITES = ("neuron", "output")  # what enters fc2, or, as some published code has it, what leaves it


def walk(target: TargetModel, images: Float[Tensor, "image channel height width"],
         site: str = "neuron", blocks: Sequence[int] | None = None, at_once: int | None = None
         ) -> Iterator[tuple[int, Float[Tensor, "image token neuron"]]]:
    """Yield ``(block, values)`` of every block in turn, at every token.

    The stream is kept from block to block, so that the model runs once, however many blocks it has;
    what it gives at the end for the images that fit into memory at once is held against the model
    as it is called.  Edits that are in force act.

    Args:
        target: the model.  Of a gated FFN a neuron is the product of gate and value, see
            :func:`key_of`.
        images: as the model accepts them.
        site: ``"neuron"``: what enters ``mlp.fc2``; ``"output"``: what ``mlp.fc2`` gives, which are
            channels of the residual stream, not neurons.
        blocks: which are read, counted from 0, in rising order; all by default.  Blocks behind the
            last of them run for the images that are held against the model, and for no others.
        at_once: how many neurons of a block are held at once; the block runs again for the next
            ones, which come under the same number.  All by default.

    Raises:
        ValueError: images that the model does not accept, an unknown site, blocks that the model
            does not have or out of order, or a model that is not its blocks one after the other.
    """
    check_target(target)
    target.check_images(images)
    if not is_one_of(site, SITES):
        raise ValueError(f"unknown site {shown(site)} of a neuron; accepted: {', '.join(SITES)}")
    chosen = check_blocks(target, blocks)
    if at_once is not None:
        check_whole("at_once", at_once, 1)
    return _walk(target, images, site, chosen, at_once)


def check_blocks(target: TargetModel, blocks: object) -> tuple[int, ...]:
    """Blocks of a model, all for ``None``; ``ValueError`` unless they are there, in rising order,
    none twice."""
    if blocks is None:
        return tuple(range(target.n_blocks))
    chosen = tuple(blocks) if isinstance(blocks, Sequence) and not isinstance(blocks, str) else ()
    if not chosen or not all(isinstance(each, int) and not isinstance(each, bool)
                             and 0 <= each < target.n_blocks for each in chosen) or any(
            second <= first for first, second in pairwise(chosen)):
        raise ValueError(f"blocks cannot be {shown(blocks)}; accepted: None, or whole numbers in "
                         f"0..{target.n_blocks - 1} in rising order")
    return chosen


def _walk(target: TargetModel, images: Tensor, site: str, blocks: tuple[int, ...],
          at_once: int | None) -> Iterator[tuple[int, Float[Tensor, "image token neuron"]]]:
    stream = torch.cat(_chunked(target, len(images), lambda rows: target.embed(images[rows])))
    for block in range(blocks[-1] + 1):
        if block in blocks:
            own = target.site(block)
            width = own.in_features if site == "neuron" else own.out_features
            for start in range(0, width, at_once or width):
                part = slice(start, min(width, start + (at_once or width)))
                yield block, _one(target, stream, block, site, part, part.stop == width)
        else:
            _pass(target, stream, block)
    few = min(len(images), images_at_once(target, 1))
    last = stream[:few]
    for block in range(blocks[-1] + 1, target.n_blocks):
        _pass(target, last, block)
    agrees = _chunked(target, few, lambda rows: _ends_alike(target, images[rows], last[rows]))
    if not all(agrees):
        raise ValueError("the logits of these images are not those of the model's blocks run one "
                         "after the other; accepted: a model that is its blocks")


def _pass(target: TargetModel, stream: Tensor, block: int) -> None:
    """The stream goes on to a block's end."""
    def step(rows: Tensor) -> None:
        stream[rows] = target.layer(block, stream[rows])

    _chunked(target, len(stream), step)


def _one(target: TargetModel, stream: Tensor, block: int, site: str, part: slice,
         last: bool) -> Tensor:
    """Values of some neurons of one block; with the last of them the stream goes on to its end."""
    own = target.site(block)
    values = stream.new_empty(*stream.shape[:2], part.stop - part.start)

    def step(rows: Tensor) -> None:
        left = target.layer(block, stream[rows])
        read = store.pop(block)
        found = read if site == "neuron" else F.linear(read, own.weight, own.bias)
        values[rows] = found[..., part]
        if last:
            stream[rows] = left

    with reading(target, everywhere=True) as store:
        _chunked(target, len(stream), step)
    return values


def _ends_alike(target: TargetModel, images: Tensor, stream: Tensor) -> bool:
    given = target(images)
    return agree(target.family.logits(target.model, stream), given, given)


def _chunked(target: TargetModel, count: int, work: Callable[[Tensor], object]) -> list:
    with torch.no_grad():
        return in_chunks(target, count, lambda: images_at_once(target, 1), work)


def key_of(target: TargetModel) -> str:
    """What a neuron of this model reads as, in words: its activation or, where the FFN is gated,
    the product of gate and value, which is the only one of the three that ``fc2`` weighs."""
    check_target(target)
    widths = {(own.mlp.fc1.out_features if hasattr(own.mlp, "fc1") else None,
               own.mlp.fc2.in_features) for own in target.model.blocks}
    gated = any(hasattr(own.mlp, name) for own in target.model.blocks
                for name in ("fc1_g", "gate")) or any(first != second for first, second in widths)
    return "the product of gate and value" if gated else "the value after the activation function"
