r"""Both halves of a block as key-value memories, and whether their values agree with a class.

What a half of a block adds to a token's residual stream is a sum over its M *memories*,

.. math:: O = \sum_m k_m v_m + \text{bias},

with a coefficient :math:`k_m` that the token computes and a *value vector* :math:`v_m` that the
weights hold (Vilas et al., 2023, Eqs. 2-3).  Of the FFN a memory is a neuron and :math:`k_m` its
activation; of the attention it is an output channel of the heads, :math:`k_m = \sum_j a^h_{ij} (x_j
W_V^h)_m`, the input of ``attn.proj``.  Three questions are asked of them: do value vectors point
along a class (:func:`class_value_agreement`), do those that a token uses most
(:func:`agreement`), and does one of these alone say what all of them write together
(:func:`composition_match`).

All functions but :func:`coefficients` and :func:`value_matrix` take tensors, so that a measure can
be asked of any network's numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.fast.plain import is_plain
from neuronpath_core.support.tensors import is_real, kind_of
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel
from neuronpath_core.variants.halves import PlainHalves

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

Half = Literal["attention", "ffn"]
HALVES = ("attention", "ffn")
Agreement = Literal["published", "written", "all"]
AGREEMENTS = ("published", "written", "all")
ACTIVE = 5  # memories of a token that are looked at, as published


def check_half(half: object) -> None:
    """Raise ``ValueError`` unless this is ``"attention"`` or ``"ffn"``."""
    if not is_one_of(half, HALVES):
        raise ValueError(f"unknown half {shown(half)}; accepted: {', '.join(HALVES)}")


def _plain_block(target: TargetModel, block: object) -> PlainHalves:
    check_target(target)
    count = len(target.model.blocks)
    if isinstance(block, bool) or not isinstance(block, int) or not 0 <= block < count:
        raise ValueError(f"a block must be a whole number in 0..{count - 1}, got {shown(block)}")
    own = target.model.blocks[block]
    if target.differs is not None or not is_plain(own):
        why = target.differs or f"block {block} is not timm's plain pre-norm Block, or is hooked"
        raise ValueError(f"memories cannot be read of this model: {why}; accepted: a model of "
                         "plain pre-norm blocks that computes what its parts do")
    return PlainHalves(own, slice(0, None))


def value_matrix(target: TargetModel, block: int,
                 half: Half) -> Float[Tensor, "memory width"]:
    """Value vectors of a half's memories: what a unit of each coefficient adds to the stream.

    They are the columns of ``mlp.fc2`` or of ``attn.proj``, LayerScale included; without the
    half's bias, which no memory writes.

    Args:
        target: the model, whatever its scope.
        block: from 0.
        half: ``"attention"`` or ``"ffn"``.

    Returns:
        detached, on the model's device and in its dtype.

    Raises:
        ValueError: an unknown half or block, or a block that is not plain.
    """
    check_half(half)
    own, family = _plain_block(target, block).block, target.family
    weight, gamma = ((own.attn.proj.weight, family.attention_scale(own)) if half == "attention"
                     else (own.mlp.fc2.weight, family.ffn_scale(own)))
    return (weight.T if gamma is None else weight.T * gamma).detach()


@torch.no_grad()
def coefficients(target: TargetModel, block: int, half: Half,
                 entering: Float[Tensor, "image token width"],
                 before_activation: bool = False) -> Float[Tensor, "image token memory"]:
    r"""Memory coefficients of a half at every token.

    Args:
        target: the model.
        block: from 0.
        half: ``"attention"``: the inputs of ``attn.proj``; ``"ffn"``: those of ``mlp.fc2``.
        entering: the stream that enters the half, ``X^{b-1}`` of the attention and ``U^b`` of the
            FFN (:func:`~neuronpath_core.readings.streams.read_streams`).
        before_activation: of the FFN the outputs of ``mlp.fc1``, which the published code ranks.
            The largest are the same as long as they are positive; of negative ones GELU turns the
            order round.

    Returns:
        on the device and in the dtype of ``entering``.

    Raises:
        ValueError: as of :func:`value_matrix`; a stream of another width; or coefficients before
            the activation of a half that has none, or of a gated FFN, which has two.
    """
    check_half(half)
    form = _plain_block(target, block)
    width = form.block.attn.qkv.in_features
    if not is_real(entering) or entering.ndim != 3 or entering.shape[-1] != width:
        raise ValueError(f"the stream that enters a half is {kind_of(entering)}; accepted: (image, "
                         f"token, {width})")
    if before_activation:
        if half != "ffn" or type(form.block.mlp) is not Mlp:
            raise ValueError("coefficients before an activation are asked of a half without one; "
                             "accepted: the FFN of a model whose FFN is not gated")
        return form.block.mlp.fc1(form.block.norm2(entering))
    return (form.attention_activations if half == "attention" else form.ffn_activations)(
        entering)[1]


# --- along which class a value vector points ---


def class_value_agreement(rows: Float[Tensor, "class width"],
                          vectors: Float[Tensor, "*set memory width"]
                          ) -> Float[Tensor, "*set class"]:
    r"""Of each class the largest cosine that a value vector has with it,
    :math:`g_c = \max_m \cos(E_c, v_m)` (Vilas et al., 2023, §6), in [-1, 1].

    Args:
        rows: E, one direction a class: the head's own rows (as published), or those of
            :func:`~neuronpath_core.readings.projection.effective_rows`, by which a value vector
            moves the logits.
        vectors: value vectors, of one or of several sets of memories.

    Raises:
        ValueError: widths that differ.
    """
    if rows.shape[-1] != vectors.shape[-1]:
        raise ValueError(f"rows of width {rows.shape[-1]} and vectors of width "
                         f"{vectors.shape[-1]}; accepted: one width")
    cosines = F.normalize(vectors, dim=-1, eps=0) @ F.normalize(rows, dim=-1, eps=0).T
    # a vector of zeros points nowhere
    return cosines.nan_to_num(0).max(-2).values


# --- whether the memories that a token uses agree with a class ---


def most_active(values: Float[Tensor, "*batch memory"],
                count: int = ACTIVE) -> Int64[Tensor, "*batch count"]:
    """The memories with the largest coefficients, the largest first.

    Raises:
        ValueError: not between one memory and all of them.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= values.shape[-1]:
        raise ValueError(f"the most active memories must be 1 to {values.shape[-1]}, got "
                         f"{shown(count)}")
    return values.topk(count, -1).indices


def memory_classes(logits: Float[Tensor, "memory class"], variant: Agreement = "written",
                   kept: int = 1) -> Bool[Tensor, "memory class"]:
    """Which memory stands for which class.

    Args:
        logits: what a unit of each memory adds to each class, such as
            :func:`~neuronpath_core.readings.projection.project_vectors` of the value vectors.
        variant: ``"published"``: the ``kept`` memories with the largest logit for a class, so that
            every class has as many; ``"written"`` and ``"all"``: the ``kept`` classes with the
            largest logits of a memory, so that every memory has as many.
        kept: the published code and the text take 5. With few classes that is most of them:
            0.5 % of the classes, which 5 of 1,000 are, is at least one.

    Raises:
        ValueError: an unknown variant, fewer than three classes, or more kept than there are.
    """
    if not is_one_of(variant, AGREEMENTS):
        raise ValueError(f"unknown variant {shown(variant)}; accepted: {', '.join(AGREEMENTS)}")
    over, classes = 0 if variant == "published" else 1, logits.shape[1]
    if classes < 3:
        raise ValueError(f"{classes} classes; accepted: at least three, for of two every memory "
                         "that speaks against one speaks for the other")
    if isinstance(kept, bool) or not isinstance(kept, int) or not 1 <= kept <= logits.shape[over]:
        raise ValueError(f"what is kept must be 1 to {logits.shape[over]}, got {shown(kept)}")
    chosen = logits.topk(kept, over).indices
    return torch.zeros_like(logits, dtype=torch.bool).scatter(over, chosen, True)


def agreement(active: Int64[Tensor, "*batch count"], stands: Bool[Tensor, "memory class"],
              variant: Agreement = "written") -> Bool[Tensor, "*batch class"]:
    """Key-value agreement of tokens with every class (Vilas et al., 2023, §6): whether the memories
    that a token uses most stand for it.

    Args:
        active: of :func:`most_active`.
        stands: of :func:`memory_classes`, of the same variant.
        variant: ``"published"`` and ``"written"``: any of them does; ``"all"``: each does.

    Returns:
        the column of the image's label is its agreement; the mean of the other columns is what
        agrees with a class that is drawn at random from the others.
    """
    own = stands[active]
    return own.all(-2) if variant == "all" else own.any(-2)


def composition_match(active: Int64[Tensor, "*batch count"], top: Int64[Tensor, "memory"],
                      written: Int64[Tensor, "*batch"]) -> Bool[Tensor, "*batch count"]:
    """Of each memory that a token uses most whether the class that it raises most is the one that
    the whole half raises most.  The *compositionality* of Vilas et al. (2023, §6) is the share of
    tokens without any such memory.

    Args:
        active: of :func:`most_active`.
        top: the class that each value vector raises most.
        written: the class that what the half writes raises most, at each token.
    """
    return top[active] == written[..., None]


def without_bias(values: Float[Tensor, "*batch memory"],
                 vectors: Float[Tensor, "memory width"]) -> Float[Tensor, "*batch width"]:
    r"""What the memories of a half write together, :math:`\sum_m k_m v_m`: the half's output
    without its bias, which is no memory's.  To be read as the value vectors are, by
    ``"effective"``."""
    return values @ vectors
