"""A table of names for each class of transformers' that is accepted, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.layers import GELU, GELUTanh, LayerNorm, QuickGELU
from torch import Tensor, nn

# of transformers' names of activations, those that timm has too
ACTIVATIONS = {"gelu": GELU, "gelu_python": GELU, "gelu_new": GELUTanh, "gelu_fast": GELUTanh,
               "gelu_pytorch_tanh": GELUTanh, "gelu_python_tanh": GELUTanh,
               "quick_gelu": QuickGELU, "relu": nn.ReLU, "silu": nn.SiLU, "swish": nn.SiLU,
               "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
# timm has the three in one module, in this order
QUERY_KEY_VALUE = ("q", "k", "v")


@dataclass(frozen=True)
class ModelMapping:
    """What is known of one class of transformers'.

    Attributes:
        kind: the class's name.
        network: timm's class that takes its place, or the library's own.
        stem: by the name of a module or weight outside the blocks, timm's name of it.
        blocks: the name of the list of blocks.
        block: by the name of a module inside a block, timm's name of it; ``attn.q``, ``attn.k``
            and ``attn.v`` are put together as ``attn.qkv``.
        heads: names of the classifiers, which are linear and in ``stem`` too.
        embeddings: the module that knows the positions.
        positions: the name of the weight of positions, ``(token, embed)`` or with a 1 before.
        prefix: tokens before the patches that have positions.
        config: from the configuration, that of the vision tower.
        arguments: from the tower's configuration, what timm's class takes beside what all take.
        unused: beginnings of names of weights on which no logit depends.
        resamples: positions follow the size of the images without being asked to.
        registers: how many tokens without positions stand between class token and patches.
    """

    kind: str
    network: type[nn.Module]
    stem: Mapping[str, str]
    blocks: str
    block: Mapping[str, str]
    heads: tuple[str, ...]
    embeddings: str
    positions: str
    prefix: int
    config: Callable[[Any], Any] = lambda config: config
    arguments: Callable[[Any], dict] = lambda config: {}
    unused: tuple[str, ...] = ()
    resamples: bool = False
    registers: Callable[[Any], int] = lambda config: 0


def pair(size: Any) -> tuple[int, int]:
    """Height and width, of which transformers' configurations write one number if they agree."""
    return (size, size) if isinstance(size, int) else tuple(size)


def network_arguments(mapping: ModelMapping, config: Any, classes: int, neurons: int,
                      size: tuple[int, int]) -> dict:
    """The arguments of timm's class.

    Args:
        config: of the vision tower.
        neurons: of one block.
        size: height and width of the images, in pixels.

    Raises:
        ValueError: an activation, a number of heads or a width of heads that timm does not have.
    """
    name, width, heads = config.hidden_act, config.hidden_size, config.num_attention_heads
    if name not in ACTIVATIONS:
        raise ValueError(f"hidden_act cannot be {name!r}; accepted: {', '.join(ACTIVATIONS)}")
    if heads * getattr(config, "head_dim", width // heads) != width:
        raise ValueError(f"num_attention_heads cannot be {heads} with hidden_size {width}; "
                         "accepted: heads that are as wide together as the residual stream")
    ratio = neurons / width
    while int(width * ratio) < neurons:  # timm rounds down what it multiplies
        ratio = float(torch.nextafter(torch.tensor(ratio, dtype=torch.float64),
                                      torch.tensor(torch.inf, dtype=torch.float64)))
    return {"img_size": size, "patch_size": pair(config.patch_size),
            "in_chans": config.num_channels, "num_classes": classes, "embed_dim": width,
            "depth": config.num_hidden_layers, "num_heads": heads, "mlp_ratio": ratio,
            "qkv_bias": getattr(config, "qkv_bias", True), "act_layer": ACTIVATIONS[name],
            "norm_layer": partial(LayerNorm, eps=config.layer_norm_eps),
            **mapping.arguments(config)}


def renamed(state: Mapping[str, Tensor], mapping: ModelMapping,
            shared: bool = False) -> dict[str, Tensor]:
    """The weights by timm's names, but for the positions; copies unless they may be ``shared``, on
    the same device.

    Raises:
        ValueError: a weight that the table does not know, or of queries, keys and values not all.
    """
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        if name == mapping.positions or name.startswith(mapping.unused) or value.numel() == 0:
            continue  # of no registers there is a weight without numbers
        own = _renamed(name, mapping)
        if own is None:
            raise ValueError(f"{mapping.kind} has a weight {name} that no part of the class takes; "
                             "accepted: the class as transformers makes it")
        found[own] = value.detach() if shared else value.detach().clone()
    for name in [name for name in found if ".attn.q." in name]:
        parts = [name.replace(".attn.q.", f".attn.{letter}.") for letter in QUERY_KEY_VALUE]
        if missing := [part for part in parts if part not in found]:
            raise ValueError(f"{mapping.kind} lacks {missing[0]} (in timm's names); accepted: "
                             "queries, keys and values alike")
        found[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat([found.pop(part)
                                                                   for part in parts])
    return found


def _renamed(name: str, mapping: ModelMapping) -> str | None:
    """timm's name of one weight; ``None`` if the table does not have it."""
    if name in mapping.stem:
        return mapping.stem[name]
    before, table = "", mapping.stem
    if name.startswith(f"{mapping.blocks}."):
        index, _, name = name.removeprefix(f"{mapping.blocks}.").partition(".")
        before, table = f"blocks.{index}.", mapping.block
        if name in table:  # a weight of the block's own
            return before + table[name]
    module, _, weight = name.rpartition(".")
    return f"{before}{table[module]}.{weight}" if module in table else None
