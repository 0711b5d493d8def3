"""A vision Transformer written into a page: the text that ``vit.js`` reads, and the same numbers
read back in Python.

Every row of a weight (of a matrix, one output) is stored as whole numbers of 14 bits, three of them
in seven letters, in steps of the row's largest magnitude, which has 24 bits. A network of 200,000
weights takes about 480 kB so, a tenth less than in half precision; what that does to its
probabilities is measured by :func:`rounded`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from timm.layers import Mlp
from timm.models.vision_transformer import Attention, Block, VisionTransformer
from torch import Tensor, nn

from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
BITS, GROUP, GROUP_LETTERS = 14, 3, 7  # 3 × 14 = 7 × 6
STEPS = 2 ** (BITS - 1) - 1  # to each side of zero
SCALES = 2**24 - 1
_PLAIN = (nn.Identity, nn.Dropout)


def check_plain(target: TargetModel) -> VisionTransformer:
    """The network, if the page's own forward pass is all that it does.

    Raises:
        ValueError: it is no plain vision Transformer.
    """
    model = target.model
    plain = type(model) is VisionTransformer and target.differs is None and not (
        model.reg_token is not None or model.no_embed_class or model.cls_token is None
        or model.dynamic_img_size or model.attn_pool is not None)
    if not plain or not _has_plain_ends(model) or not all(map(_is_plain, model.blocks)):
        raise ValueError(f"a page cannot run {type(model).__name__} as it is; accepted: timm's "
                         f"VisionTransformer of plain blocks with a class token, for square "
                         f"images, pooled by the class token or by the mean of the patch tokens")
    return model


def _has_plain_ends(model: VisionTransformer) -> bool:
    """Whether there is nothing before the first block and after the last but the embedding of
    square patches, one norm of what is pooled, and a linear head."""
    norms = {"token": (model.norm, model.fc_norm), "avg": (model.fc_norm, model.norm)}
    used, unused = norms.get(model.global_pool, (None, None))
    shapes = (model.patch_embed.img_size, model.patch_embed.patch_size)
    return (isinstance(used, nn.LayerNorm) and isinstance(unused, nn.Identity)
            and all(isinstance(part, _PLAIN) for part in (model.norm_pre, model.patch_embed.norm))
            and all(len(set(shape)) == 1 for shape in shapes)
            and type(model.head) is nn.Linear and model.head.bias is not None)


def _is_plain(block: nn.Module) -> bool:
    parts = (block.attn.q_norm, block.attn.k_norm, block.attn.norm, block.ls1, block.ls2,
             block.mlp.norm) if type(block) is Block and type(block.attn) is Attention else ()
    return (bool(parts) and type(block.mlp) is Mlp and block.attn.gate is None
            and all(isinstance(part, _PLAIN) for part in parts)
            and isinstance(block.mlp.act, nn.GELU) and block.mlp.act.approximate == "none"
            and block.attn.qkv.bias is not None)


def settings(target: TargetModel) -> dict[str, Any]:
    """What a page must know of the network beside its weights."""
    model = check_plain(target)
    patch, = set(model.patch_embed.patch_size)
    side, = set(model.patch_embed.img_size)
    return {"side": side, "patch": patch, "channels": model.patch_embed.proj.in_channels,
            "width": model.embed_dim, "depth": len(model.blocks),
            "heads": model.blocks[0].attn.num_heads, "hidden": target.n_neurons,
            "classes": target.n_classes, "scope": target.scope, "pool": model.global_pool,
            "eps": model.blocks[0].norm1.eps}


def weights(model: VisionTransformer) -> Iterator[Tensor]:
    """The network's weights in the order in which ``vit.js`` reads them, a matrix as
    ``(output, input)``."""
    yield model.patch_embed.proj.weight.flatten(1)
    yield model.patch_embed.proj.bias
    yield model.cls_token.flatten()
    yield model.pos_embed[0]
    for block in model.blocks:
        for part in (block.norm1, block.attn.qkv, block.attn.proj, block.norm2, block.mlp.fc1,
                     block.mlp.fc2):
            yield part.weight
            yield part.bias
    last = model.norm if model.global_pool == "token" else model.fc_norm
    for part in (last, model.head):
        yield part.weight
        yield part.bias


def _letters(numbers: np.ndarray, count: int) -> np.ndarray:
    """Whole numbers as so many letters of six bits each, the highest first,
    ``(…, count)`` of characters."""
    shifts = 6 * np.arange(count - 1, -1, -1)
    return np.array(list(LETTERS))[numbers[..., None] >> shifts & 63]


def row_letters(columns: int) -> int:
    """How many letters a row of so many numbers takes."""
    return 4 + GROUP_LETTERS * -(-columns // GROUP)


def packed_rows(rows: Float[np.ndarray, "row column"], largest: float) -> str:
    """Rows of numbers as letters: four for each row's unit, then seven for every three numbers; the
    last three are filled up with zeros.

    Args:
        rows: finite numbers.
        largest: what the units are counted against, at least the largest magnitude.

    Raises:
        ValueError: a number that is not finite, or larger.
    """
    peaks = np.abs(rows).max(1)
    if not np.isfinite(rows).all() or peaks.max() > largest:
        raise ValueError(f"rows must be finite and at most {largest} in magnitude, got "
                         f"{peaks.max()}")
    units = np.ceil(peaks / largest * SCALES).astype(np.int64).clip(1, SCALES)
    numbers = np.rint(rows / (units * largest / SCALES / STEPS)[:, None]).astype(np.int64)
    filled = np.pad(numbers + STEPS, ((0, 0), (0, -rows.shape[1] % GROUP)))
    groups = filled.reshape(len(rows), -1, GROUP) @ 2 ** (BITS * np.arange(GROUP - 1, -1, -1))
    return "".join("".join(_letters(unit, 4)) + "".join(_letters(row, GROUP_LETTERS).ravel())
                   for unit, row in zip(units, groups, strict=True))


def unpacked_rows(text: str, columns: int, largest: float) -> Float[np.ndarray, "row column"]:
    """What :func:`packed_rows` wrote, as a page reads it."""
    places = np.full(128, -1)
    places[[ord(letter) for letter in LETTERS]] = np.arange(64)
    found = places[np.frombuffer(text.encode("ascii"), np.uint8)].reshape(-1, row_letters(columns))
    units = found[:, :4] @ 64 ** np.arange(3, -1, -1)
    groups = found[:, 4:].reshape(len(found), -1, GROUP_LETTERS) @ 64 ** np.arange(
        GROUP_LETTERS - 1, -1, -1)
    numbers = groups[..., None] >> BITS * np.arange(GROUP - 1, -1, -1) & 2**BITS - 1
    return (numbers.reshape(len(found), -1)[:, :columns] - STEPS) * (
        units * largest / SCALES / STEPS)[:, None]


def largest_weight(model: VisionTransformer) -> float:
    """The largest magnitude of all weights, as a page's settings name it."""
    return max(float(value.detach().abs().max()) for value in weights(model))


def packed(target: TargetModel) -> tuple[dict[str, Any], str]:
    """The settings of a network for a page, and its weights as one text.

    Raises:
        ValueError: a page cannot run this network.
    """
    model = check_plain(target)
    largest = largest_weight(model)
    text = "".join(packed_rows(_rows(value), largest) for value in weights(model))
    return {**settings(target), "largest": largest}, text


def _rows(value: Tensor) -> np.ndarray:
    found = value.detach().cpu().double().numpy()
    return found if found.ndim == 2 else found[None]


def rounded(target: TargetModel) -> TargetModel:
    """The network with the weights that a page has of it, so that what the rounding does can be
    measured."""
    model = copy.deepcopy(check_plain(target))
    largest = largest_weight(model)
    with torch.no_grad():
        for value in weights(model):
            rows = _rows(value)
            found = unpacked_rows(packed_rows(rows, largest), rows.shape[1], largest)
            value.copy_(torch.from_numpy(found).reshape(value.shape))
    return TargetModel(model, scope=target.scope)
