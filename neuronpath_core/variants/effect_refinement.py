"""Paths with a larger effect than a search found: coordinate ascent over blocks, where edited
forwards decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.factors import edit_factor
from neuronpath_core.forward import by_layer, check_baseline, of_images, through
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.ranking import top_neurons
from neuronpath_core.support.memory import copies_at_once, images_at_once, in_chunks
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel
from neuronpath_core.variants.conditional_gradient import QUESTIONS, Question

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

MOST_SWEEPS = 1000


def refine_effects(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    neurons: Int64[Tensor, "batch layer"],
    proposals: int = 16,
    sweeps: int = 2,
    question: Question = "remove",
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> tuple[Int64[Tensor, "batch layer"], Float[Tensor, "batch"]]:
    r"""Coordinate ascent on the effect of an edit: one block after another gets the best neuron
    given those of all others.

    The effect is that of
    :func:`~neuronpath_core.variants.conditional_gradient.conditional_gradient_paths`: what is lost
    without the path (``"remove"``), gained with it doubled (``"enhance"``), or brought back by it
    alone (``"keep"``). At block l the candidates are the ``proposals`` largest by the slope at the
    model edited in all other blocks,

    .. math::

        (w^l_i - b^l_i)\, \frac{\partial F_x}{\partial w^l_i} ,

    summed over the scope's tokens, and a forward of each, edited in all blocks, decides. A
    candidate takes the current neuron's place where its effect is larger, so that the effect never
    falls. With ``proposals`` equal to n, what a sweep leaves as it was cannot be bettered by any
    change of one neuron; changes of two might.

    The stream after a block is affine in its neurons, so that an edit adds value vectors and the
    blocks before are not run again.

    Args:
        target: the model; a :class:`~neuronpath_core.variants.sites.SiteModel` too.
        images, labels: a batch; classes may mix.
        neurons: int64 ``(batch, layer)``, the paths to start from.
        proposals: candidates a block, 1..n of the smallest layer.
        sweeps: passes over all blocks at most, 1..1000; an image is done when a whole sweep changes
            nothing.
        question: ``"remove"``, ``"enhance"`` or ``"keep"``.
        baseline: b, ``(image or 1, layer, scope token or 1, neuron)``; ``None`` for zero.

    Returns:
        int64 ``(batch, layer)``, and the path's effect ``(batch,)``, float64 in -1..1, on the
        model's device.

    Raises:
        ValueError: images, labels, paths or values that do not fit, paths of several neurons a
            block, an unknown question, numbers outside their range, or a model that is not its
            blocks put together.
    """
    check_target(target)
    target.check_batch(images, labels)
    ranked = target.check_neurons(neurons, len(images))
    if ranked.shape[2] != 1:
        raise ValueError(f"paths to refine must have one neuron a block, got {ranked.shape[2]}")
    if not is_one_of(question, QUESTIONS):
        raise ValueError(f"unknown question {shown(question)}; accepted: {', '.join(QUESTIONS)}")
    for name, value, most in (("proposals", proposals, target.fewest_neurons),
                              ("sweeps", sweeps, MOST_SWEEPS)):
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 1 <= value <= most:
            raise ValueError(f"{name} must be a whole number in 1..{most}, got {shown(value)}")
    baseline = check_baseline(target, baseline, len(images))
    images, paths = images.detach(), ranked[..., 0].expand(len(images), -1)
    with activation_gradients(target):
        found, effects = zip(*in_chunks(
            target, len(images), lambda: images_at_once(target, 1),
            lambda chosen: _chunk(target, images[chosen], labels[chosen], paths[chosen], question,
                                  of_images(baseline, chosen), proposals, sweeps),
            side_by_side=True), strict=True)
    return torch.cat(found), torch.cat(effects)


def _chunk(target, images, labels, paths, question, baseline, proposals, sweeps):
    with torch.no_grad():
        streams = target.embed(images)
        edit = _Edit(target, question, baseline)
        unedited = edit.probability(streams, labels, paths, 0, edited=False)
        effect = edit.sign * (edit.probability(streams, labels, paths, 0) - unedited)
    paths, rows = paths.clone(), torch.arange(len(images), device=target.device)
    for _ in range(sweeps):
        found, best = _sweep(edit.of(rows), streams[rows], labels[rows], paths[rows],
                             unedited[rows], effect[rows], proposals)
        changed = (found != paths[rows]).any(1)
        paths[rows], effect[rows], rows = found, best, rows[changed]
        if not len(rows):
            break
    return paths, effect


def _sweep(edit, stream, labels, paths, unedited, effect, proposals):
    """Paths and effects after every block had its turn; ``stream`` enters the first."""
    target = edit.target
    for block in range(target.n_blocks):
        with torch.no_grad():
            stream, heights = edit.natively(stream, block)
        found = top_neurons(edit.slopes(stream, heights, labels, paths, block), proposals)
        with torch.no_grad():
            tried = torch.stack([
                edit.sign * (edit.probability(edit.moved(stream, heights, candidate, block), labels,
                                              paths, block + 1) - unedited)
                for candidate in found.T], 1)
            best = top_neurons(tried, 1)
            gain, neuron = tried.gather(1, best)[:, 0], found.gather(1, best)[:, 0]
            better = gain > effect
            paths = paths.clone()
            paths[:, block] = torch.where(better, neuron, paths[:, block])
            effect = torch.where(better, gain, effect)
            stream = edit.moved(stream, heights, paths[:, block], block)
    return paths, effect


class _Edit:
    """One kind of edit of a chunk's paths, on streams instead of by hooks."""

    def __init__(self, target: TargetModel, question: Question, baseline: Tensor | None):
        self.target, self.question, self.values = target, question, baseline
        self.base = by_layer(target, baseline)
        self.keeps = question == "keep"
        # by how much the factor of a path's neuron differs from that of all others
        self.change = 1.0 if self.keeps else edit_factor(question) - 1.0
        # of a removal the effect is what is lost
        self.sign = -1.0 if question == "remove" else 1.0

    def of(self, rows: Tensor) -> _Edit:
        """The same for some of the images."""
        return _Edit(self.target, self.question, of_images(self.values, rows))

    def natively(self, stream: Tensor, block: int) -> tuple[Tensor, Tensor]:
        """The stream after a block of whose neurons none is on the path, and how far they are from
        their baseline ``(row, token, neuron)``."""
        stream, heights = through(self.target, stream, block)
        if self.base is not None:
            heights = heights - self.base[block]
        if self.keeps:
            stream = self._added(stream, -heights @ self.target.value_vectors(block))
        return stream, heights

    def moved(self, stream: Tensor, heights: Tensor, neurons: Tensor, block: int) -> Tensor:
        """The same with one unit of each row on the path."""
        members = self.target.layers[block].members(neurons[:, None])
        taken = heights.gather(2, members[:, None].expand(-1, heights.shape[1], -1))
        return self._added(stream,
                           self.change * taken @ self.target.value_vectors(block)[members])

    def _added(self, stream: Tensor, written: Tensor) -> Tensor:
        scope = self.target.tokens
        stop = scope.start + written.shape[1]
        return torch.cat([stream[:, :scope.start], stream[:, scope.start:stop] + written,
                          stream[:, stop:]], 1)

    def slopes(self, stream: Tensor, heights: Tensor, labels: Tensor, paths: Tensor,
               block: int) -> Float[Tensor, "row unit"]:
        """What each unit of a block would change to first order, as the question counts it."""
        size, found = copies_at_once(self.target), []
        for place in torch.arange(len(stream), device=stream.device).split(size):
            leaf = stream[place].detach().requires_grad_()
            probability = self.of(place).probability(leaf, labels[place], paths[place], block + 1)
            found.append(torch.autograd.grad(probability.sum(), leaf)[0][:, self.target.tokens])
        slopes = heights * (torch.cat(found) @ self.target.value_vectors(block).T)
        return self.sign * self.change * self.target.layers[block].by_unit(slopes).sum(1)

    def probability(self, stream: Tensor, labels: Tensor, paths: Tensor, start: int,
                    edited: bool = True) -> Float[Tensor, "row"]:
        """F from what enters block ``start``, the blocks from there on edited."""
        target = self.target
        for block in range(start, target.n_blocks):
            stream, heights = self.natively(stream, block)
            if edited:
                stream = self.moved(stream, heights, paths[:, block], block)
        return target.probability(stream, labels).double()
