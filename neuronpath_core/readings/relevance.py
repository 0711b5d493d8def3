r"""Which patches a block's class reading takes from: maps in class embedding space (Vilas et al.,
2023, section 7).

What the attention of block b writes to the class token, :math:`o^b`, is read as logits by the
model's own norm and head, and the label's cross-entropy :math:`\ell^b` of them is differentiated in
the attention weights.  The map of a head is

.. math:: r^{b,h}_j = -\frac{\partial \ell^b}{\partial a^{b,h}_{\mathrm{cls},j}},

positive where more attention to patch j would make the label likelier.  A model that pools its
patch tokens reads their mean, and its map sums the derivatives over the tokens that look.

Since :math:`o^b` is linear in the weights up to what follows the heads, each derivative is an inner
product with a value vector,

.. math:: r^{b,h}_j = \sum_i \Big\langle -\frac{\partial \ell^b}{\partial c^{b,h}_i},
          v^{b,h}_j \Big\rangle, \qquad c^{b,h}_i = \sum_j a^{b,h}_{ij} v^{b,h}_j ,

so that one small backward pass an image and block gives all of a block's maps: the closed form.
Nothing flows back through earlier blocks.

A derivative says what more attention would do, also to a patch that gets none.  Times the attention
it is what the patch does now, to first order, and of this Chefer et al. (2021) keep the positive
part, head by head.

========================  ==========================================================================
``of="attention"``        o is the attention's output without the residual, as the published code
                          has it
``of="block"``            o is the class token after the block, as the text says
``loss="corrected"``      one softmax, inside the cross-entropy
``loss="published"``      the published code takes a softmax first and its cross-entropy another one
``loss="logit"``          the label's logit in place of minus the cross-entropy, an option of the
                          code
``terms="derivative"``    the map above, as published
``terms="contribution"``  the derivative times the attention, :math:`\sum_i r_{ij} a_{ij}`
``terms="positive"``      the positive part of each head's contribution
========================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.readings.attention_maps import attention, check_read, check_readable
from neuronpath_core.readings.projection import head_rows
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    from neuronpath_core.target import TargetModel

Of = Literal["attention", "block"]
Loss = Literal["corrected", "published", "logit"]
Terms = Literal["derivative", "contribution", "positive"]
Reduce = Literal["head", "block", "global"]
CHOICES = {"of": ("attention", "block"), "loss": ("corrected", "published", "logit"),
           "terms": ("derivative", "contribution", "positive"),
           "reduce": ("head", "block", "global"), "form": ("auto", "closed", "autograd")}


def relevance(
    target: TargetModel, images: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], *, of: Of = "attention", reduce: Reduce = "global",
    loss: Loss = "corrected", terms: Terms = "derivative",
    form: Literal["auto", "closed", "autograd"] = "auto",
) -> Float[Tensor, "image *block patch"]:
    r"""Compute the relevance of every patch to a label, read in class space (Vilas et al., 2023).

    Args:
        target: a model that classifies from its class token, or from the mean of its patch tokens,
            by one linear head.
        images: a batch.
        labels: the class that each image's maps are of; any class, not only the true one.
        of: what of a block is read, ``"attention"`` or ``"block"``.
        reduce: ``"head"`` gives ``(image, block, head, patch)``; ``"block"`` their sum over heads
            ``(image, block, patch)``; ``"global"`` also over blocks ``(image, patch)``.
        loss: ``"corrected"``, ``"published"`` or ``"logit"``.
        terms: ``"derivative"``, as published, ``"contribution"`` or ``"positive"``, which ranks
            patches better in the small models of Chapter 26.
        form: ``"closed"`` takes inner products with value vectors, which timm's own attention
            allows; ``"autograd"`` differentiates in the weights themselves, which any readable
            attention allows; ``"auto"`` takes the first where every block allows it.

    Returns:
        relevance in units of the loss, per unit of attention of a derivative; signed unless
        ``"positive"``; patches row by row; in the model's dtype, on its device, without a graph.

    Raises:
        ValueError: an unknown choice, a batch that does not fit, a head that is not linear in a
            normed token, attention that cannot be read, blocks that are not two halves, or a model
            that as it is called is not its blocks put together.
    """
    check_target(target)
    for name, value in (("of", of), ("loss", loss), ("terms", terms), ("reduce", reduce),
                        ("form", form)):
        if not is_one_of(value, CHOICES[name]):
            raise ValueError(f"unknown {name} {shown(value)}; accepted: "
                             f"{', '.join(CHOICES[name])}")
    target.check_batch(images, labels)
    check_parts(target, images)
    closed = all(target.plain(index) is not None for index in range(len(target.model.blocks)))
    if form == "closed" and not closed:
        raise ValueError("the closed form needs timm's own attention in every block, neither "
                         "hooked nor replaced; accepted here: form='autograd'")
    maps = _closed_maps if closed and form != "autograd" else _graph_maps

    def compute(rows: Tensor) -> Tensor:
        found = [_reduced(own, reduce) for own in maps(target, images[rows], labels[rows], of,
                                                       loss, terms)]
        return sum(found) if reduce == "global" else torch.stack(found, 1)
    return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1), compute))


def check_parts(target: TargetModel,
                images: Float[Tensor, "image channel height width"]) -> None:
    """Raise ``ValueError`` unless maps in class space are defined: a linear head, readable
    attention, blocks of two halves whose parts put together are the model on these images."""
    head_rows(target)
    check_readable(target)
    for index, block in enumerate(target.model.blocks):
        if not target.family.has_halves(block):
            raise ValueError(f"block {index} ({type(block).__name__}) is not an attention half and "
                             "an FFN half, each added to the stream; accepted: timm's pre-norm "
                             "blocks")
    if target.differs is not None:
        raise ValueError(f"the model as it is called is not its blocks put together: "
                         f"{target.differs}; accepted here: a model of which this is not so")
    check_read(target, images)


def _reduced(maps: Float[Tensor, "image head patch"], reduce: Reduce) -> Tensor:
    return maps if reduce == "head" else maps.sum(1)


def _by_terms(derivative: Float[Tensor, "image head query patch"],
              weights: Float[Tensor, "image head query patch"],
              terms: Terms) -> Float[Tensor, "image head patch"]:
    """Sum over the tokens that look, of derivatives or of contributions."""
    if terms == "derivative":
        return derivative.sum(2)
    found = (derivative * weights).sum(2)
    return found if terms == "contribution" else found.clamp(min=0)


def _objective(target: TargetModel, written: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """The sum over images of minus the loss, whose gradient the maps are."""
    logits = target.family.logits(target.model, written)
    if loss == "logit":
        return logits.gather(1, labels[:, None]).sum()
    if loss == "published":
        logits = logits.softmax(-1)
    return -F.cross_entropy(logits, labels, reduction="sum")


def _closed_maps(target: TargetModel, images: Tensor, labels: Tensor, of: Of, loss: Loss,
                 terms: Terms) -> Iterator[Float[Tensor, "image head patch"]]:
    """The maps of each block in turn by inner products with value vectors."""
    first = target.family.prefix_tokens(target.model)
    # what other tokens write cannot reach the head of a block's own output
    read = slice(0, 1) if target.classifies_alone else slice(None)
    with torch.no_grad():
        stream = target.embed(images)
    for block in target.model.blocks:
        part = block.attn
        with torch.no_grad():
            # copies, heads and widths: (three, image, head, token, width of a head)
            query, key, value = part.qkv(block.norm1(stream)).unflatten(
                -1, (3, part.num_heads, part.head_dim)).permute(2, 0, 3, 1, 4)
            query, key = part.q_norm(query), part.k_norm(key)
            weights = (query @ key.mT * part.scale).softmax(-1)
            mixed = weights @ value
        with torch.enable_grad():
            leaf = mixed[:, :, read].requires_grad_()
            added = block.ls1(part.proj(leaf.transpose(1, 2).flatten(2)))
            written = added if of == "attention" else _after(block, stream[:, read] + added)
            gradient, = torch.autograd.grad(_objective(target, written, labels, loss), leaf)
        with torch.no_grad():
            if terms == "derivative":  # the sum over the tokens that look, before the product
                gradient = gradient.sum(2, keepdim=True)
            yield _by_terms(gradient @ value[:, :, first:].mT, weights[:, :, read, first:], terms)
            stream = stream + block.ls1(part.proj(mixed.transpose(1, 2).flatten(2)))
            stream = _after(block, stream)


def _after(block: torch.nn.Module, middle: Tensor) -> Tensor:
    """The stream after the FFN half of a plain block."""
    return middle + block.ls2(block.mlp(block.norm2(middle)))


def _graph_maps(target: TargetModel, images: Tensor, labels: Tensor, of: Of, loss: Loss,
                terms: Terms) -> Iterator[Float[Tensor, "image head patch"]]:
    """The maps of each block in turn by a backward pass to the weights that the block applied."""
    first, family, model = target.family.prefix_tokens(target.model), target.family, target.model
    with torch.no_grad():
        stream = target.embed(images)

    def tapped(block: int, weights: Tensor) -> Tensor:
        return weights.detach().requires_grad_()
    for index in range(len(model.blocks)):
        with torch.enable_grad(), attention(target, tapped) as kept:
            middle = family.run_half(model, index, "attention", stream.detach())
            written = middle - stream if of == "attention" else family.run_half(model, index, "ffn",
                                                                                middle)
            gradient, = torch.autograd.grad(_objective(target, written, labels, loss),
                                            kept[index][0])
        yield _by_terms(gradient[..., first:], kept[index][0].detach()[..., first:], terms)
        with torch.no_grad():
            stream = family.run_half(model, index, "ffn", middle.detach())
