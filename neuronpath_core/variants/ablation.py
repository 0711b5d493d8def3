"""Search by effect: the path whose removal costs the label's probability most, without any
integral."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core.forward import (
    CleanPass,
    check_baseline,
    of_images,
    stream_gradient,
    through,
)
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.ranking import select_neurons, top_neurons
from neuronpath_core.support.memory import copies_at_once, images_at_once, in_chunks
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

AblationSearch = Literal["progressive", "independent", "beam"]
ABLATION_SEARCHES = ("progressive", "independent", "beam")


def ablation_paths(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    top: int = 1,
    search: AblationSearch = "progressive",
    proposals: int = 12,
    width: int = 2,
    clamp: bool = False,
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> tuple[Int64[Tensor, "batch layer rank"], Float[Tensor, "batch"]]:
    r"""Paths by the effect of their removal, block by block.

    At block l the neuron is chosen that, zeroed in addition to the path so far, lowers the label's
    probability most:

    .. math::

        \arg\max_i \; F_x(\text{clean}) - F_x(w^1_{p_1} = \dots = w^{l-1}_{p_{l-1}} = w^l_i = 0)

    all other neurons running natively, or, with ``clamp``, those of the scope up to block l held at
    their clean values, which makes the effect the complete attribution of the partial path.  The
    effect is computed by a forward pass for the ``proposals`` best neurons by its first-order
    estimate :math:`w^l_i\, \partial F / \partial w^l_i`; with ``proposals`` equal to n nothing is
    estimated.

    With a baseline b neurons are set to b instead of zero: what they write is lessened by
    :math:`(w^l_i - b^l_i)` value vectors, where :math:`w^l_i` is the value that the neuron has
    after the earlier edits, and the estimate is :math:`(w^l_i - b^l_i)\, \partial F / \partial
    w^l_i`.

    Args:
        target: the model.
        images, labels: a batch; classes may mix.
        top: neurons kept per block, best first by the effect of each alone; all of them are zeroed
            in later blocks.  One for ``"beam"``.
        search: ``"progressive"``; ``"independent"``, every block by itself, nothing removed in the
            others; ``"beam"``, the ``width`` best partial paths are kept, which need not end in a
            larger effect.
        proposals: neurons per block and partial path whose effect is computed, top..n.
        width: partial paths that ``"beam"`` keeps, 1..n.
        clamp: hold the other scope neurons of the blocks up to the one searched at their clean
            values.
        baseline: b, ``(image or 1, layer, token or 1, neuron)`` of the scope's tokens; ``None`` for
            zero.

    Returns:
        int64 ``(batch, layer, top)``, and ``(batch,)``: the effect of the last block's best neuron
        together with the path before it (of ``"independent"`` that of this neuron alone).

    Raises:
        ValueError: images, labels or a baseline that do not fit, an unknown search, or numbers
            outside their range.
    """
    target.check_batch(images, labels)
    baseline = check_baseline(target, baseline, len(images))
    if not is_one_of(search, ABLATION_SEARCHES):
        raise ValueError(f"unknown search {shown(search)}; accepted: "
                         f"{', '.join(ABLATION_SEARCHES)}")
    for name, value, least in (("top", top, 1), ("proposals", proposals, top), ("width", width, 1)):
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not least <= value <= target.fewest_neurons:
            raise ValueError(f"{name} must be a whole number in "
                             f"{least}..{target.fewest_neurons}, got {shown(value)}")
    if search == "beam" and top != 1:
        raise ValueError(f"top must be 1 for search 'beam', which keeps one neuron a block, got "
                         f"{top}")
    images = images.detach()
    with activation_gradients(target):
        parts = in_chunks(target, len(images),
                          lambda: images_at_once(target, width if search == "beam" else 1),
                          lambda chosen: _chunk(target, images[chosen], labels[chosen], top, search,
                                                proposals, width, clamp,
                                                of_images(baseline, chosen)), side_by_side=True)
    neurons, effects = zip(*parts, strict=True)
    return torch.cat(neurons), torch.cat(effects)


def _chunk(target, images, labels, top, search, proposals, width, clamp, baseline):
    batch, device, held = len(images), target.device, 1
    clean = CleanPass.of(target, images, baseline)
    stream, paths = clean.streams[0], torch.empty(batch, 0, top, dtype=torch.int64, device=device)
    with torch.no_grad():
        whole = target.probability(clean.streams[-1], labels)
    for block in range(target.n_blocks):
        rows = torch.arange(batch, device=device).repeat_interleave(held)
        with torch.no_grad():
            if clamp:
                active = clean.activations[block][rows]
                stream = target.run(stream, block, block + 1, {block: active})
            else:
                stream, active = through(target, stream, block)
            # natively running neurons differ from clean ones, and so does what removal takes
            lost = active if clean.baseline is None else active - of_images(clean.baseline[block],
                                                                            rows)
        found, effects = _effects(target, stream, lost, labels[rows], whole[rows], block,
                                  proposals)
        effects = effects.reshape(batch, -1)
        if search == "beam":
            kept = top_neurons(effects, min(width, effects.shape[1]))
            flat = (kept + torch.arange(batch, device=device)[:, None] * effects.shape[1]).flatten()
            rows, chosen, held = flat // found.shape[1], found.flatten()[flat, None], kept.shape[1]
        else:
            kept = top_neurons(effects, top)
            rows, chosen = torch.arange(batch, device=device), found.gather(1, kept)
        paths, stream = torch.cat([paths[rows], chosen[:, None]], 1), stream[rows]
        if search != "independent":
            stream = _without(target, stream, lost[rows], chosen, block)
    best = torch.arange(batch, device=device) * held
    return paths[best], effects.gather(1, kept[:, :1])[:, 0]


def _without(target, stream, lost, neurons, block):
    """The stream after a block, less what these neurons ``(row, rank)`` of it write at the scope,
    of which ``lost`` is taken away: all of their activations, or what these exceed b by."""
    stream = stream.clone()
    members = target.layers[block].members(neurons)
    written = select_neurons(lost, members) @ target.value_vectors(block)[members]
    stream[:, target.tokens] -= written
    return stream


def _effects(target, stream, lost, labels, whole, block, proposals):
    """The proposals ``(partial path, proposal)``, best first by their estimates, and their effects.
    """
    size = copies_at_once(target)
    gradient = torch.cat([stream_gradient(target, *piece, block + 1)[:, target.tokens]
                          for piece in zip(stream.split(size), labels.split(size), strict=True)])
    slopes = lost * (gradient @ target.value_vectors(block).T)
    found = top_neurons(target.layers[block].by_unit(slopes).sum(1), proposals)
    edited = []
    with torch.no_grad():
        for index in range(found.shape[1]):
            pieces = zip(_without(target, stream, lost, found[:, [index]], block).split(size),
                         labels.split(size), strict=True)
            edited.append(
                torch.cat([target.probability(target.run(piece, block + 1, target.n_blocks,
                                                         pooled=True), label) for piece,
                           label in pieces]))
    return found, whole[:, None] - torch.stack(edited, 1)
