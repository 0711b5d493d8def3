"""Effects of edges in a model that is its blocks put together, block by block: to first order by
forward mode, in parts by the routes along which tangents are carried, and exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import forward_ad

from neuronpath_core.agreement import agree
from neuronpath_core.circuits.edge_ends import EdgeEnds
from neuronpath_core.fast.blocks import PlainBlock
from neuronpath_core.forward import CleanPass, through
from neuronpath_core.gradients import forward_mode
from neuronpath_core.hooks import reading
from neuronpath_core.support.memory import copies_at_once
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float

# along which routes tangents are carried: all; those of each token by itself; its residual stream.
# What one has more than the next is a part
KINDS = ("total", "own", "residual")


def by_blocks(pairs: EdgeEnds, images, labels, split, exact) -> dict[str, Tensor]:
    """All effects of a model that is its blocks put together."""
    target = pairs.target
    clean = _Clean.of(target, images, split)
    lost = [pairs.lost(block, active) for block, active in enumerate(clean.whole.activations)]
    kinds = {kind: _tangents(clean, pairs, kind, lost)
             for kind in (KINDS if split else KINDS[:1])}
    found = {"total": kinds["total"], "target_activation": torch.stack([
        pairs.watched(block, active).double().mean(1)
        for block, active in enumerate(clean.whole.activations)], 1)}
    if split:
        found |= {"residual": kinds["residual"],
                  "attention": kinds["own"] - kinds["residual"],
                  "others": kinds["total"] - kinds["own"]}
    if exact:
        with torch.no_grad():
            found["exact"], found["exact_probability"] = _replaced(clean.whole, pairs, labels, lost)
    return found


@dataclass(frozen=True)
class _Clean:
    """A clean pass with what it has between a block's halves, and how tokens attend to themselves.

    Attributes:
        whole: streams that enter the blocks, and activations.
        between: per block the stream after its attention half; empty without parts.
        own: per block the attention of each token to itself, where the scope has several.
    """

    whole: CleanPass
    between: list[Tensor]
    own: list[_OwnAttention]

    @classmethod
    def of(cls, target: TargetModel, images: Tensor, split: bool) -> _Clean:
        whole, between, own = CleanPass.of(target, images), [], []
        for index in range(target.n_blocks if split else 0):
            stream, out = whole.streams[index:index + 2]
            with torch.no_grad():
                between.append(target.family.run_half(target.model, index, "attention", stream))
                again = target.family.run_half(target.model, index, "ffn", between[-1])
            if not agree(again, out, out - stream):
                raise ValueError(f"block {index}, half by half, gives another stream than as a "
                                 "whole; accepted for parts: a block that is its attention and its "
                                 "FFN, else split=False")
            if several_tokens(target):
                own.append(_OwnAttention(target.model.blocks[index], target.tokens))
        return cls(whole, between, own)

    def run(self, kind: str, block: int, rows: Tensor, stream: Tensor) -> Tensor:
        """The stream after a block along the routes of a kind; those of the rows' images are what
        is held."""
        target = self.whole.target
        if not self.between:
            return target.layer(block, stream)
        return target.family.run_half(target.model, block, "ffn",
                                      self._attended(kind, block, rows, stream))

    def _attended(self, kind: str, block: int, rows: Tensor, stream: Tensor) -> Tensor:
        target = self.whole.target
        entering, held = self.whole.streams[block][rows], self.between[block][rows]
        if kind == "residual":
            return stream + (held - entering)
        if kind == "own" and self.own:
            moved = self.own[block].alone(stream, entering)
        else:
            moved = target.family.run_half(target.model, block, "attention", stream)
        if kind == "total":
            return moved
        # what reaches other tokens stops there
        scope = torch.zeros(held.shape[1], 1, dtype=torch.bool, device=held.device)
        scope[target.tokens] = True
        return torch.where(scope, moved, held)


class _OwnAttention(PlainBlock):
    """A plain block's attention in which each token's query, key and value are seen by itself
    alone."""

    def alone(self, stream: Float[Tensor, "copy token embed"],
              held: Float[Tensor, "copy token embed"]) -> Tensor:
        """The stream after the attention half where every token sees all others as they are in
        ``held``."""
        query, key, value = self._query_key_value(self.block.norm1(stream), None)
        _, keys, values = self._query_key_value(self.block.norm1(held), None)
        query = self.block.attn.q_norm(query) * self.scale
        key, keys = self.block.attn.k_norm(key), self.block.attn.k_norm(keys)
        diagonal = torch.eye(stream.shape[1], dtype=torch.bool, device=stream.device)
        weight = torch.softmax(torch.where(diagonal, (query * key).sum(-1, keepdim=True),
                                           query @ keys.mT), -1)
        itself = weight.diagonal(dim1=-2, dim2=-1)[..., None]
        return stream + self._project(weight @ values + itself * (value - values))


def _tangents(clean: _Clean, pairs: EdgeEnds, kind: str, lost: list[Tensor]) -> Tensor:
    """The effects to first order along the routes of one kind, ``(image, source, target)``, by
    forward mode: every source's tangent joins those of the blocks before it."""
    target, batch = pairs.target, len(pairs.sources)
    found, tangent = pairs.empty(), clean.whole.streams[0][:0]
    for block in range(1, target.n_blocks):
        start = torch.zeros_like(clean.whole.streams[block])
        start[:, target.tokens] = lost[block - 1][..., None] * target.value_vectors(
            block - 1)[pairs.sources[:, block - 1], None]
        tangent = torch.cat([tangent, start])
        moved, effects = [], []
        for rows in torch.arange(len(tangent), device=target.device).split(copies_at_once(target)):
            after, effect = _tangent(clean, pairs, kind, block, rows % batch, tangent[rows])
            moved.append(after)
            effects.append(effect)
        tangent = torch.cat(moved)
        found[:, :block, block] = torch.cat(effects).reshape(block, batch).T
    return found


def _tangent(clean, pairs, kind, block, rows, tangent):
    """Tangents after a block, and the mean tangents of its targets, ``(row,)``."""
    target = pairs.target
    with torch.no_grad(), forward_mode(), reading(target) as active:
        stream = forward_ad.make_dual(clean.whole.streams[block][rows], tangent)
        moved, seen = (forward_ad.unpack_dual(value) for value in (
            clean.run(kind, block, rows, stream), active[block]))
        effect = pairs.watched(block, seen.tangent, rows)
    return moved.tangent, effect.double().mean(1)


def _replaced(clean: CleanPass, pairs: EdgeEnds, labels: Tensor,
              lost: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The exact effects on activations and on the probability, ``(image, source, target)``."""
    target, batch = pairs.target, len(labels)
    found, probability = pairs.empty(), pairs.empty()
    stream = clean.streams[0][:0]
    whole = target.probability(clean.streams[-1], labels).double()
    for block in range(1, target.n_blocks):
        earlier = clean.streams[block].clone()
        earlier[:, target.tokens] -= _written(pairs.sources, target, block - 1, lost[block - 1])
        stream, moved, after = torch.cat([stream, earlier]), [], []
        for rows in torch.arange(len(stream), device=target.device).split(copies_at_once(target)):
            images = rows % batch
            out, active = through(target, stream[rows], block)
            change = pairs.watched(block, clean.activations[block][images] - active, images)
            patched = clean.streams[block + 1][images].clone()
            patched[:, target.tokens] -= _written(pairs.targets[images], target, block, change)
            patched = target.run(patched, block + 1, target.n_blocks, pooled=True)
            moved.append(out)
            after.append(torch.stack([
                change.double().mean(1),
                whole[images] - target.probability(patched, labels[images]).double()]))
        stream = torch.cat(moved)
        effects = torch.cat(after, 1).reshape(2, block, batch)
        found[:, :block, block], probability[:, :block, block] = effects[0].T, effects[1].T
    return found, probability


def _written(neurons: Tensor, target: TargetModel, block: int, active: Tensor) -> Tensor:
    """What a block's neurons write at ``active`` ``(image, scope token)``."""
    return active[..., None] * target.value_vectors(block)[neurons[:, block], None]


def several_tokens(target: TargetModel) -> bool:
    """Whether tokens of the scope see one another."""
    return target.scope == "patch"
