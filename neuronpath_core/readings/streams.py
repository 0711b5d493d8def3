"""The residual stream of every token after every block, and what each half of a block adds to it.

A chapter that reads tokens needs all of them, not those of the scope alone.  The model's own parts
are called one after the other, embedding, attention half, FFN half, head, and what comes out at the
end is held against what the model gives when it is called.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from timm.models.vision_transformer import Block
from torch import Tensor

from neuronpath_core.agreement import agree
from neuronpath_core.examined import check_target
from neuronpath_core.model_state import is_touched
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.target import TargetModel

HALVES = ("attention", "ffn")
PLACES = ("block", *HALVES)  # where a reading is taken: the stream, or what a half adds
Part = TypeVar("Part")


@dataclass(frozen=True)
class Streams:
    r"""What is in the residual stream of some images: :math:`X^b = X^{b-1} + O^b_{attn} +
    O^b_{ffn}`.

    Blocks are counted from 0, so that ``blocks[b]`` leaves block ``b`` and ``before(b)`` enters it.

    Attributes:
        embedded: X before the first block.
        blocks: X after each block.
        attention: what the attention half of each block adds, bias and LayerScale included.
        ffn: what the FFN half of each block adds, bias and LayerScale included.
    """

    embedded: Float[Tensor, "image token width"]
    blocks: Float[Tensor, "block image token width"]
    attention: Float[Tensor, "block image token width"]
    ffn: Float[Tensor, "block image token width"]

    def before(self, block: int) -> Float[Tensor, "image token width"]:
        """The stream that enters a block."""
        return self.embedded if block == 0 else self.blocks[block - 1]

    def middle(self, block: int) -> Float[Tensor, "image token width"]:
        """The stream between the two halves of a block."""
        return self.before(block) + self.attention[block]

    def at(self, place: str) -> Float[Tensor, "block image token width"]:
        """The streams (``"block"``), or what the halves add (``"attention"``, ``"ffn"``)."""
        check_place(place)
        return {"block": self.blocks, "attention": self.attention, "ffn": self.ffn}[place]


def check_place(place: str) -> None:
    """Raise ``ValueError`` unless this names a place of a block."""
    if not is_one_of(place, PLACES):
        raise ValueError(f"unknown place {shown(place)} of a block; accepted: {', '.join(PLACES)}")


def check_block(target: TargetModel, block: int) -> None:
    """Raise ``ValueError`` unless the model has such a block, counted from 0."""
    count = len(target.model.blocks)
    if isinstance(block, bool) or not isinstance(block, int) or not 0 <= block < count:
        raise ValueError(f"a block must be a whole number in 0..{count - 1}, got {shown(block)}")


def read_streams(target: TargetModel,
                 images: Float[Tensor, "image channel height width"]) -> Streams:
    """Every token's residual stream after each block, and what each half of the block adds.

    Edits that are in force act, as they do on the model.  Nothing is split: four numbers are kept
    for each image, token, block and channel; :func:`over_images` keeps fewer.

    Args:
        target: the model; results have its dtype and are on its device.
        images: as :class:`~neuronpath_core.target.TargetModel` accepts them.

    Raises:
        ValueError: images that the model does not accept, blocks that do not add two halves to the
            stream, or a model whose parts put together are not the model as it is called.
    """
    check_target(target)
    target.check_images(images)
    return _read(target, images)


@torch.no_grad()
def _read(target: TargetModel, images: Tensor) -> Streams:
    model, family = target.model, target.family
    for index, block in enumerate(model.blocks):
        if not family.has_halves(block):
            raise ValueError(f"block {index} ({type(block).__name__}) is not an attention half and "
                             "an FFN half, each added to the stream; accepted: timm's pre-norm "
                             "blocks")
        if is_touched([block]):  # hooks on its parts act, one on the block itself would not
            raise ValueError(f"block {index} is hooked or has a forward of its own, which its "
                             "halves by themselves are without; accepted: hooks on parts of blocks")
    stream = embedded = target.embed(images)  # refuses a model that is not its blocks
    kept: dict[str, list[Tensor]] = {"attention": [], "ffn": [], "block": []}
    for index in range(len(model.blocks)):
        for half in HALVES:
            kept[half].append(_added(target, index, half, stream))
            stream = stream + kept[half][-1]
        kept["block"].append(stream)
    logits = target(images)
    if not agree(family.logits(model, stream), logits, logits):
        raise ValueError("the logits of these images are not those of the model's halves put "
                         "together; accepted: a model that is its blocks, attention and FFN in "
                         "turn")
    return Streams(embedded, *(torch.stack(kept[place]) for place in PLACES))


def _added(target: TargetModel, index: int, half: str, stream: Tensor) -> Tensor:
    """What a half of a block adds; of other classes than timm's Block as a difference, which loses
    what is small beside the stream."""
    block = target.model.blocks[index]
    if not isinstance(block, Block):
        return target.family.run_half(target.model, index, half, stream) - stream
    if half == "attention":
        return block.drop_path1(block.ls1(block.attn(block.norm1(stream))))
    return block.drop_path2(block.ls2(block.mlp(block.norm2(stream))))


def over_images(target: TargetModel, images: Float[Tensor, "image channel height width"],
                reading: Callable[[Streams, Tensor], Part]) -> list[Part]:
    """``reading(streams, rows)`` of as many images at a time as the memory in force admits.

    Args:
        target: the model.
        images: all of them.
        reading: is given the streams of some images and their positions, and returns what is to be
            kept, such as a tensor ``(image, token)``.

    Returns:
        what it returned, in the order of the images.

    Raises:
        ValueError: as :func:`read_streams`.
    """
    check_target(target)
    target.check_images(images)
    return in_chunks(target, len(images), lambda: images_at_once(target, 1),
                     lambda rows: reading(_read(target, images[rows]), rows))
