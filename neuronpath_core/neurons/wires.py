r"""Whether a neuron reads what another one writes, by weights alone: the wires between two blocks
that follow one another.

Neuron i of block b adds :math:`w_i v_i` to its token's stream, and neuron j of block b + 1 reads
the stream by the row :math:`k_j` of ``fc1``, behind a LayerNorm with gain :math:`\gamma_2`.  The
part of it that a single writer reaches is linear,

.. math:: \kappa_{ij} = \big|\cos\big(P v_i,\; P(\gamma_2 \odot k_j)\big)\big| ,

with P that takes the mean off.  Between the two lies one attention layer, and by it

.. math:: \kappa^{attn}_{ij} = \max_h \big|\cos\big(P\,\Lambda W_O^h W_V^h (\gamma_1 \odot P v_i),\;
          P(\gamma_2 \odot k_j)\big)\big| ,

where :math:`\Lambda` is LayerScale: what a token that attends to the writer's token gets of it.
Biases and attention weights are left out.  With n neurons a block and width d most pairs have a
:math:`\kappa` near :math:`\sqrt{2/(\pi d)}`, so that a value says little by itself:
:func:`pair_percentile` says how many of all pairs of the two blocks are below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor

from neuronpath_core.readings.memories import value_matrix
from neuronpath_core.stats.ranks import mid_ranks
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Route = Literal["direct", "attention"]
ROUTES = ("direct", "attention")


@torch.no_grad()
def compositions(target: TargetModel, block: int,
                 route: Route = "direct") -> Float[Tensor, "neuron next"]:
    r""":math:`\kappa` of every neuron of a block with every neuron of the next one.

    Args:
        target: the model, whatever its scope.
        block: of the writers, from 0; not the last.
        route: ``"direct"``, along the token's own stream, or ``"attention"``, through the next
            block's attention, the largest over its heads.

    Returns:
        within 0..1, 0 where a vector is zero; in the model's dtype, on its device.

    Raises:
        ValueError: an unknown route, a block that has no next one or is not plain, or a next block
            with a gated FFN, whose key is the product of gate and value and no row.
    """
    if not is_one_of(route, ROUTES):
        raise ValueError(f"unknown route {shown(route)}; accepted: {', '.join(ROUTES)}")
    vectors = value_matrix(target, block, "ffn")
    if block + 1 >= len(target.model.blocks):
        raise ValueError(f"block {block} is the last, no neuron reads what it writes; accepted: "
                         f"0..{len(target.model.blocks) - 2}")
    keys = key_rows(target, block + 1)
    if route == "direct":
        return _cosines(_centred(vectors), keys)
    return torch.stack([_cosines(written, keys)
                        for written in _through_heads(target, block + 1, vectors)]).amax(0)


def key_rows(target: TargetModel, block: int) -> Float[Tensor, "neuron width"]:
    r"""What each neuron of a block reads of its token's stream: :math:`P(\gamma_2 \odot k)`,
    detached.

    Raises:
        ValueError: a block that is not plain, or one with a gated FFN.
    """
    value_matrix(target, block, "ffn")  # refuses what is no plain block of the model
    own = target.model.blocks[block]
    if type(own.mlp) is not Mlp:
        raise ValueError(f"the key of block {block} ({type(own.mlp).__name__}) is the product of "
                         "gate and value, which no row reads; accepted: an FFN that is not gated")
    rows, gain = own.mlp.fc1.weight, own.norm2.weight
    return _centred(rows if gain is None else rows * gain).detach()


def _through_heads(target: TargetModel, block: int,
                   vectors: Float[Tensor, "neuron width"]) -> Float[Tensor, "head neuron width"]:
    """What each head of a block makes of vectors that another token wrote, mean taken off."""
    own = target.model.blocks[block]
    part, gain = own.attn, own.norm1.weight
    read = _centred(vectors) if gain is None else _centred(vectors) * gain
    values = part.qkv.weight.chunk(3)[2]
    mixed = (read @ values.T).unflatten(-1, (part.num_heads, -1)).transpose(0, 1)
    out = part.proj.weight.unflatten(1, (part.num_heads, -1))
    written = torch.einsum("hnc,dhc->hnd", mixed, out)
    scale = target.family.attention_scale(own)
    return _centred(written if scale is None else written * scale)


def _centred(vectors: Float[Tensor, "*set width"]) -> Float[Tensor, "*set width"]:
    return vectors - vectors.mean(-1, keepdim=True)


def _cosines(first: Float[Tensor, "neuron width"],
             second: Float[Tensor, "next width"]) -> Float[Tensor, "neuron next"]:
    # a vector of zeros has the cosine 0 with all
    return (F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).T).abs().clamp(max=1)


def pair_percentile(kappa: Float[Tensor, "neuron next"], sources: Int64[Tensor, "*set"],
                    targets: Int64[Tensor, "*set"]) -> Float[Tensor, "*set"]:
    r"""The share of all pairs of two blocks whose :math:`\kappa` is below that of given pairs, ties
    counted by half: one half for a pair that is drawn at random.

    Args:
        kappa: of :func:`compositions`.
        sources, targets: neurons of the two blocks, of shapes that fit each other.
    """
    place = mid_ranks(kappa.flatten()).view_as(kappa)
    return (place[sources, targets] + 0.5) / kappa.numel()


def neighbours(target: TargetModel, block: int, neuron: int, count: int = 5,
               route: Route = "direct") -> list[tuple[int, int, float, float]]:
    r"""The neurons of the blocks before and after with the strongest wires to one neuron.

    Args:
        target: the model.
        block, neuron: from 0.
        count: of neurons a block.
        route: of :func:`compositions`.

    Returns:
        ``(block, neuron, kappa, percentile)`` of each, the block before first, the strongest first;
        percentiles are of :func:`pair_percentile`.

    Raises:
        ValueError: a neuron that is not there, no neuron to count, and what :func:`compositions`
            refuses.
    """
    size = len(value_matrix(target, block, "ffn"))
    for name, value, most in (("neuron", neuron, size - 1), ("count", count, size)):
        least = 0 if name == "neuron" else 1
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"{name} must be a whole number in {least}..{most}, got "
                             f"{shown(value)}")
    found = []
    for first in (block - 1, block):
        if not 0 <= first < len(target.model.blocks) - 1:
            continue
        kappa = compositions(target, first, route)
        before = first < block
        best = (kappa[:, neuron] if before else kappa[neuron]).topk(count)
        own = torch.full_like(best.indices, neuron)
        pairs = (best.indices, own) if before else (own, best.indices)
        places = pair_percentile(kappa, *pairs)
        found += [(first if before else first + 1, int(other), float(value), float(place))
                  for other, value, place in zip(best.indices, best.values, places, strict=True)]
    return found
