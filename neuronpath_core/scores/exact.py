"""The exact effect of every single neuron: each replaced alone, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from neuronpath_core.edits import scaled
from neuronpath_core.examined import check_target
from neuronpath_core.forward import CleanPass, check_baseline, of_images
from neuronpath_core.found_paths import wide
from neuronpath_core.methods import Method, register
from neuronpath_core.support.memory import copies_at_once, images_at_once, in_chunks
from neuronpath_core.support.tensors import is_ordinary, kind_of
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Context = Literal["full", "frozen"]
CONTEXTS = ("full", "frozen")


def exact_effects(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    *,
    blocks: Sequence[int] | None = None,
    neurons: Int64[Tensor, "image layer candidate"] | None = None,
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
    context: Context = "full",
) -> Float[Tensor, "batch layer candidate"]:
    r"""What the label's probability loses where one neuron is replaced and nothing else is touched.

    .. math:: F_x(\text{clean}) - F_x(w^l_i = b^l_i)

    at the scope's tokens, every other neuron running natively: the effect that single-neuron
    scores estimate. The stream after a block is affine in its neurons, so that the replaced neuron
    changes it by :math:`-(\bar w^l_i - b^l_i)` times its value vector; from there on the blocks
    run on copies of the image, as many at a time as fit into memory.

    Args:
        target: the model. One that is not its blocks put together is called once for each neuron.
        images, labels: a batch; classes may mix.
        blocks: layers whose neurons are replaced, in this order; ``None`` for all.
        neurons: int64 ``(batch or 1, layer, candidate)``, of each of these layers the neurons that
            are replaced; ``None`` for all. Of a
            :class:`~neuronpath_core.variants.sites.SiteModel` of heads or halves, units.
        baseline: b, ``(image or 1, layer, token or 1, neuron)`` of the scope's tokens and all
            layers, in the model's dtype and on its device; ``None`` for zero.
        context: ``"full"``: all tokens feel the change, which is the model's own answer;
            ``"frozen"``: the class token alone moves, the other tokens stay as they are on the
            clean image, which is the number of tokens times cheaper and another quantity. It is for
            scope ``"cls"`` and blocks that are written out.

    Returns:
        ``(batch, layer, candidate)`` on the model's device, in its dtype and at least single
        precision, between -1 and 1; without ``neurons`` smaller layers end in zeros.

    Raises:
        ValueError: images, labels, layers, neurons or a baseline that do not fit, or a context
            that the model does not have.
    """
    check_target(target)
    target.check_batch(images, labels)
    images, every = images.detach(), range(target.n_blocks)
    baseline = check_baseline(target, baseline, len(images))
    chosen_blocks = list(every if blocks is None else _checked_blocks(target, blocks))
    if neurons is not None:
        neurons = _checked_neurons(target, neurons, chosen_blocks, len(images))
    _check_context(target, context)
    compute = _called if target.differs is not None else _chunk

    def part(chosen: Tensor) -> Tensor:
        found = []
        for index, effects in enumerate(compute(
                target, images[chosen], labels[chosen], of_images(baseline, chosen), chosen_blocks,
                of_images(neurons, chosen), context)):
            units = target.layers[chosen_blocks[index]].units
            surplus = 0 if neurons is not None else max(
                target.layers[block].units for block in chosen_blocks) - units
            found.append(F.pad(effects, (0, surplus)))
        return torch.stack(found, 1)

    with torch.no_grad():
        return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1), part,
                                   side_by_side=target.differs is None))


def _checked_blocks(target: TargetModel, blocks: Sequence[int]) -> list[int]:
    last = target.n_blocks - 1
    accepted = f"a list of different layers in 0..{last}"
    if not isinstance(blocks, (list, tuple, range)) or not blocks:
        raise ValueError(f"blocks are {shown(blocks)}; accepted: None, or {accepted}")
    whole = all(isinstance(block, int) and not isinstance(block, bool) and 0 <= block <= last
                for block in blocks)
    if not whole or len(set(blocks)) < len(blocks):
        raise ValueError(f"blocks are {shown(list(blocks))}; accepted: None, or {accepted}")
    return list(blocks)


def _checked_neurons(target: TargetModel, neurons: Tensor, blocks: list[int],
                     batch: int) -> Int64[Tensor, "image layer candidate"]:
    accepted = f"None, or an int64 tensor ({' or '.join(map(str, sorted({1, batch})))}, " \
               f"{len(blocks)}, candidate)"
    if not is_ordinary(neurons) or neurons.dtype != torch.int64:
        raise ValueError(f"neurons are {kind_of(neurons)}; accepted: {accepted}")
    shape = tuple(neurons.shape)
    if neurons.ndim != 3 or shape[0] not in (1, batch) or shape[1] != len(blocks) or not shape[2]:
        raise ValueError(f"neurons have shape {shape}; accepted: {accepted}")
    for block, least, most in zip(blocks, neurons.amin((0, 2)).tolist(),
                                  neurons.amax((0, 2)).tolist(), strict=True):
        if least < 0 or most >= target.layers[block].units:
            raise ValueError(f"neuron indices of {target.layers[block].name} must lie in "
                             f"0..{target.layers[block].units - 1}, got {least}..{most}")
    return neurons.to(target.device)


def _check_context(target: TargetModel, context: str) -> None:
    if not is_one_of(context, CONTEXTS):
        raise ValueError(f"unknown context {shown(context)}; accepted: {', '.join(CONTEXTS)}")
    if context == "frozen" and not (
            target.scope == "cls" and target.classifies_alone and target.differs is None
            and all(hasattr(target.plain(block), "frozen") for block in range(target.n_blocks))):
        raise ValueError("context 'frozen' needs scope 'cls', a model that classifies from its "
                         "class token alone, and timm's plain blocks; accepted here: full")


def _candidates(target, neurons, index, block, batch):
    """The units of one layer that are replaced, ``(image, candidate)``."""
    if neurons is None:
        units = torch.arange(target.layers[block].units, device=target.device)
        return units.expand(batch, -1)
    return neurons[:, index].expand(batch, -1)


def _chunk(target, images, labels, baseline, blocks, neurons, context):
    """Effects ``(batch, candidate)`` of one layer after the other."""
    clean, batch = CleanPass.of(target, images, baseline), len(images)
    whole = target.probability(clean.streams[-1], labels).to(wide(target))
    for index, block in enumerate(blocks):
        units = _candidates(target, neurons, index, block, batch)
        after = clean.streams[block + 1]
        if block == target.n_blocks - 1 and target.classifies_alone:
            if target.scope != "cls":  # nothing that the class token could still see
                yield torch.zeros_like(units, dtype=whole.dtype)
                continue
            after = after[:, :1]
        rows = torch.arange(batch, device=target.device).repeat_interleave(units.shape[1])
        edited = [_replaced(target, clean, after, labels, block, *piece, context)
                  for piece in zip(*(each.split(_copies(target, context))
                                     for each in (rows, units.flatten())), strict=True)]
        yield whole[:, None] - torch.cat(edited).to(whole.dtype).unflatten(0, (batch, -1))


def _copies(target, context):
    return copies_at_once(target, frozen=context == "frozen")


def _replaced(target, clean, after, labels, block, rows, units, context):
    """Probabilities of copies of images, one unit each replaced."""
    members = target.layers[block].members(units[:, None])
    lost = clean.heights[block].mT[rows[:, None], members].mT  # (copy, token, member)
    written = lost @ target.value_vectors(block)[members]
    if context == "frozen":
        return _with_others_clean(target, clean, after[rows, :1] - written, labels[rows], block,
                                  rows)
    stream = after[rows]
    stream[:, target.tokens] -= written
    return target.probability(target.run(stream, block + 1, target.n_blocks, pooled=True),
                              labels[rows])


def _with_others_clean(target, clean, stream, labels, block, rows):
    """Probabilities of copies of which the class token alone moves."""
    found = []
    for image in rows.unique():
        mine = rows == image
        moved = stream[mine].transpose(0, 1)  # one image, its copies side by side
        for later in range(block + 1, target.n_blocks):
            context = tuple(value[image:image + 1] for value in clean.keys_values[later])
            moved = target.plain(later).frozen(moved, context)
        found.append(target.probability(moved.transpose(0, 1), labels[mine]))
    return torch.cat(found)  # rows are in the order of their images


def _called(target, images, labels, baseline, blocks, neurons, _context):
    """The same for a model that is not its blocks put together, which is called."""
    def probability():
        # in double precision, as TargetModel.probability says
        logits = target(images)
        return logits.double().softmax(-1).gather(1, labels[:, None])[:, 0].to(wide(target))

    whole = probability()
    for index, block in enumerate(blocks):
        effects = []
        for units in _candidates(target, neurons, index, block, len(images)).T:
            factors = torch.ones(len(images), target.n_blocks, target.n_neurons,
                                 dtype=target.dtype, device=target.device)
            factors[torch.arange(len(images)), block, units] = 0
            with scaled(target, factors, values=baseline):
                effects.append(whole - probability())
        yield torch.stack(effects, 1)


def _exact(target, images, labels, _settings, baseline=None):
    return exact_effects(target, images, labels, baseline=baseline)


def exact_passes(target: TargetModel, _settings: object = None) -> dict[str, float]:
    """Passes of one block that :func:`exact_effects` of all neurons takes for one image, by
    kind."""
    forward, last = target.n_blocks, 0
    for index, layer in enumerate(target.layers):
        later = target.n_blocks - 1 - index
        alone = target.classifies_alone and later > 0
        forward, last = forward + layer.units * (later - alone), last + layer.units * alone
    return {"forward": forward, "last_forward": last} if last else {"forward": forward}


register(Method("exact", "Exact Effect", rank=_exact, passes=exact_passes, with_baseline=True))
