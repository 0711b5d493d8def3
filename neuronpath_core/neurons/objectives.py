r"""What an image is made to drive: weighted neurons, before or after the activation function.

An objective is a set of neurons j with weights :math:`w_j` that sum to 1 in size,

.. math:: J = \sum_j w_j \frac1T \sum_t a_{t, j},

with :math:`a_{t,j}` the pre-activation (the output of ``mlp.fc1``) or the activation (the input of
``mlp.fc2``) of neuron j at token t.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.fast.plain import is_plain
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.variants.halves import PlainHalves

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    from neuronpath_core.target import TargetModel

At = Literal["pre", "post"]
Tokens = Literal["all", "patch", "cls"]
Weights = Literal["equal", "score", "softmax"]
WORDS = {"at": ("pre", "post"), "tokens": ("all", "patch", "cls"),
         "weights": ("equal", "score", "softmax")}
# neurons (block, neuron), counted from 0, or the same with a score each: a class profile
Objective = Sequence[tuple[int, int]] | Mapping[tuple[int, int], float]


def check_words(**given: object) -> None:
    """Raise ``ValueError`` for an unknown ``at``, ``tokens`` or ``weights``."""
    for name, value in given.items():
        if not is_one_of(value, WORDS[name]):
            raise ValueError(f"unknown {name} {shown(value)}; accepted: {', '.join(WORDS[name])}")


@dataclass(frozen=True)
class Goals:
    """The neurons of several objectives.

    Attributes:
        count: how many objectives there are.
        weights: by block, counted from 0, the weight that each of its neurons has in each
            objective; of an objective the sizes sum to 1 over all blocks.
    """

    count: int
    weights: Mapping[int, Float[Tensor, "objective neuron"]]

    @property
    def last(self) -> Int64[Tensor, "objective"]:
        """The last block of each objective, after which its image need not be followed."""
        found = torch.zeros(self.count, dtype=torch.int64)
        for block, weight in sorted(self.weights.items()):
            found[(weight != 0).any(1).cpu()] = block
        return found

    def part(self, chosen: Int64[Tensor, "chosen"]) -> Goals:
        """Some of the objectives."""
        return Goals(len(chosen), {block: weight[chosen]
                                   for block, weight in self.weights.items()})


def goals_of(target: TargetModel, objectives: Sequence[Objective], weights: Weights = "equal",
             at: At = "pre") -> Goals:
    """Objectives as one table of neurons, held against the model.

    Args:
        target: a model of plain pre-norm blocks.
        objectives: each a list of neurons ``(block, neuron)``, or a class profile: the same with a
            score each.
        weights: ``"equal"``; ``"score"``: in proportion to the scores, whose sign stays;
            ``"softmax"`` of the scores.
        at: ``"pre"`` or ``"post"``.

    Raises:
        ValueError: no objective, a neuron that the model lacks or that no image can drive, scores
            that are missing or not finite, and, before the activation, a gated FFN.
    """
    check_words(weights=weights, at=at)
    check_target(target)
    if isinstance(objectives, (str, Mapping)) or not isinstance(
            objectives, Sequence) or not objectives:
        raise ValueError(f"objectives are {shown(objectives)}; accepted: a list, of which each "
                         "entry is a list of neurons (block, neuron)")
    found: dict[int, Tensor] = {}
    for owner, objective in enumerate(objectives):
        neurons = _neurons(target, objective, at)
        sizes = _weights(objective, len(neurons), weights).tolist()
        for (block, neuron), size in zip(neurons, sizes, strict=True):
            if block not in found:
                width = target.model.blocks[block].mlp.fc2.in_features
                found[block] = torch.zeros(len(objectives), width, dtype=target.dtype,
                                           device=target.device)
            found[block][owner, neuron] += size
    return Goals(len(objectives), found)


def _neurons(target: TargetModel, objective: Objective, at: At) -> list[tuple[int, int]]:
    if isinstance(objective, str) or not isinstance(objective, (Sequence, Mapping)) or not len(
            objective):
        raise ValueError(f"an objective is {shown(objective)}; accepted: a list of neurons "
                         "(block, neuron), or scores by neuron")
    found = []
    for each in objective:
        try:
            block, neuron = (int(part) for part in each)
        except (TypeError, ValueError):
            raise ValueError(f"a neuron is {shown(each)}; accepted: (block, neuron), counted from "
                             "0") from None
        check_neuron(target, block, neuron, at)
        found.append((block, neuron))
    return found


def check_neuron(target: TargetModel, block: int, neuron: int, at: At = "pre") -> None:
    """Raise ``ValueError`` unless images can drive this neuron before or after its activation."""
    blocks = target.model.blocks
    if not 0 <= block < len(blocks):
        raise ValueError(f"there is no block {block}; accepted: 0 to {len(blocks) - 1}")
    own = blocks[block]
    if target.differs is not None or not is_plain(own):
        why = target.differs or f"block {block} is not timm's plain pre-norm Block, or is hooked"
        raise ValueError(f"no images can be made for this model: {why}; accepted: a model of plain "
                         "pre-norm blocks that computes what its parts do")
    count = own.mlp.fc2.in_features
    if not 0 <= neuron < count:
        raise ValueError(f"block {block} has no neuron {neuron}; accepted: 0 to {count - 1}")
    if type(own.mlp) is not Mlp:
        if at == "pre":
            raise ValueError(f"the FFN of block {block} is gated: its neuron is the product "
                             "act(gate) * up, which has no pre-activation; accepted: at='post'")
        return
    reads = own.mlp.fc1.weight[neuron]
    reads = reads if own.norm2.weight is None else reads * own.norm2.weight
    if not bool((reads != 0).any()):
        raise ValueError(f"neuron {neuron} of block {block} is dead: all weights that it reads by "
                         "are zero, and no image drives it; accepted: a neuron that reads "
                         "something")


def _weights(objective: Objective, count: int, weights: Weights) -> Float[Tensor, "neuron"]:
    if weights == "equal":
        return torch.full((count,), 1 / count, dtype=torch.float64)
    if not isinstance(objective, Mapping):
        raise ValueError(f"weights by {weights} need scores; accepted: objectives that are scores "
                         "by neuron, {(block, neuron): score}")
    scores = torch.tensor([float(each) for each in objective.values()], dtype=torch.float64)
    if not bool(torch.isfinite(scores).all()) or (weights == "score" and not bool(scores.any())):
        raise ValueError(f"scores are {shown(scores.tolist())}; accepted: finite ones, not all "
                         "zero")
    return scores.softmax(0) if weights == "softmax" else scores / scores.abs().sum()


def token_places(target: TargetModel, tokens: Tokens) -> slice:
    """The tokens over which a neuron's value is averaged.

    Raises:
        ValueError: an unknown word, or the class token of a model that has none.
    """
    check_words(tokens=tokens)
    first = target.family.prefix_tokens(target.model)
    if tokens == "cls" and not target.family.has_class_token(target.model):
        raise ValueError("the model has no class token; accepted here: all, patch")
    return {"all": slice(0, None), "patch": slice(first, None), "cls": slice(0, 1)}[tokens]


def driven(target: TargetModel, images: Float[Tensor, "image channel height width"], goals: Goals,
           copies: int = 1, at: At = "pre", tokens: Tokens = "all", diversity: float = 0.0
           ) -> tuple[Float[Tensor, "objective copy"], Float[Tensor, "objective copy"]]:
    r"""J of each image, and what makes the copies of an objective differ; differentiable by images.

    Blocks run one after the other, each for the images that a later neuron still waits for.

    Args:
        target: the model.
        images: the copies of an objective follow one another.
        goals: of :func:`goals_of`.
        copies: images an objective.
        at, tokens: see the head of this module.
        diversity: whether the second is computed; zeros if not.

    Returns:
        J, and :math:`\sum_j w_j \sum_{i' \ne i} \sum_{patch} \cos(f_i, f_{i'})` of each copy i,
        with f the values that all neurons of j's block have at a patch.
    """
    places, last = token_places(target, tokens), goals.last
    patches = token_places(target, "patch")
    stream = target.family.embed(target.model, images)
    alive = torch.arange(goals.count)
    values = stream.new_zeros(goals.count, copies)
    alike = torch.zeros_like(values)
    for block in range(int(last.max()) + 1):
        kept = last[alive] >= block
        if not bool(kept.all()):
            alive, stream = alive[kept], stream.unflatten(0, (-1, copies))[kept].flatten(0, 1)
        stream, seen = _through(target, block, stream, at if block in goals.weights else None)
        if seen is not None:
            seen = seen.unflatten(0, (-1, copies))
            weight, index = goals.weights[block][alive], alive.to(images.device)
            own = torch.einsum("ocn,on->oc", seen[:, :, places].mean(2), weight)
            values = values.index_add(0, index, own)
            if diversity:
                alike = alike.index_add(0, index, weight.abs().sum(1, keepdim=True)
                                        * _alike(seen[:, :, patches]))
    return values, alike


def _through(target: TargetModel, block: int, stream: Float[Tensor, "image token width"],
             at: At | None) -> tuple[Tensor, Float[Tensor, "image token neuron"] | None]:
    """The stream after a block, and what its neurons have at every token, if asked for."""
    form = PlainHalves(target.model.blocks[block], slice(0, None))
    stream = form.attention(stream)
    if at is None:
        return form.ffn(stream), None
    if at == "post":
        return form.ffn_activations(stream)
    own = form.block
    before = own.mlp.fc1(own.norm2(stream))
    # a copy, because an activation function may work in place
    active = own.mlp.norm(own.mlp.act(before.clone()))
    return stream + own.ls2(own.mlp.fc2(active)), before


def _alike(features: Float[Tensor, "objective copy patch neuron"]
           ) -> Float[Tensor, "objective copy"]:
    """Of each copy the cosines with all others, summed over patches."""
    unit = F.normalize(features, dim=-1)
    together = torch.einsum("ecpn,edpn->ecd", unit, unit)
    return together.sum(-1) - together.diagonal(dim1=1, dim2=2)
