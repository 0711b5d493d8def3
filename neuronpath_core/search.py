r"""Layer-progressive search for the path with the largest Joint Attribution Score (Sec. 3.3).

This page is the search as the paper writes it (``"literal"``, Algorithm 1) and as its code runs it
(``"joint"``, a relaxation): one image at a time, on the model itself, through hooks. It accepts
every :class:`~neuronpath_core.target.TargetModel` and is slow; ``neuronpath_core.fast`` gives
the same paths sooner and is held to this page by the tests. ``find_paths(..., engine="plain")``
runs it.

At block :math:`l` each candidate neuron i is scored together with the neurons chosen before it,

.. math::

    s_i = \Big[\sum_k q_k \Big(\frac{\partial F}{\partial w^l_i}
    + \sum_{j<l} \frac{\partial F}{\partial w^j_{p_j}}\Big)(\alpha_k)\Big]
    \Big(\bar w^l_i + \sum_{j<l} \bar w^j_{p_j}\Big),

and the largest score is chosen. The gradients are taken at :math:`\alpha_k` times the clean values
:math:`\bar w` of the candidate and the path; all other neurons of these blocks are clamped clean,
later blocks run natively. Algorithm 1 scales one candidate at a time; the relaxation scales all
neurons of the block together, which costs n times less and is another function.

With a baseline b in place of zero the neurons run along :math:`b + \alpha_k (\bar w - b)`, and
:math:`\bar w - b` takes the place of :math:`\bar w` in the second bracket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.edits import clamped
from neuronpath_core.forward import by_layer, of_images
from neuronpath_core.found_paths import FoundPaths, wide
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.hooks import reading
from neuronpath_core.quadrature import integrated, placed_rule
from neuronpath_core.ranking import chosen_neurons
from neuronpath_core.support.text import shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

    from neuronpath_core.settings import SearchSettings

Rule = tuple[Tensor, Tensor]  # nodes and weights


def search_path(
    target: TargetModel, image: Float[Tensor, "1 channel height width"], label: Int64[Tensor, "1"],
    rule_at: Callable[[int], Rule], top: int = 1, search: str = "joint",
    baseline: Float[Tensor, "1 layer token neuron"] | None = None,
) -> tuple[Int64[Tensor, "layer rank"], Float[Tensor, ""], Bool[Tensor, "layer"]]:
    """One image's path, its Joint Attribution Score, and in which layers all scores were the same.

    Args:
        target: the model.
        image, label: a batch of one.
        rule_at: the quadrature rule at a block; that of the final score at the number of blocks.
        top: neurons per block, best first; all of them are scaled in later blocks.
        search: ``"joint"`` or ``"literal"``.
        baseline: the image's, checked; ``None`` for zero.
    """
    path, gaps, base = [], [], by_layer(target, baseline)
    with torch.no_grad(), reading(target) as clean:
        target(image)
    for index, layer in enumerate(target.layers):
        units = torch.arange(layer.units, device=target.device)
        # each row of candidates is scaled together: all at once, or one after the other
        rows = units[None] if search == "joint" else units[:, None]
        rule = rule_at(index)
        scores = [_scores(target, image, label, clean, base, [*path, row], rule) for row in rows]
        chosen, gap = chosen_neurons(torch.cat(scores), top)
        path.append(chosen)
        gaps.append(gap)
    score = _path_score(target, image, label, clean, base, path, rule_at(len(path)))
    return torch.stack(path), score, torch.stack(gaps) == -torch.inf


def _path_score(target, image, label, clean, base, path, rule) -> Float[Tensor, ""]:
    own, along, height, below = _parts(target, image, label, clean, base, path, rule)
    return ((own.sum(-1) + along) * (height.sum(-1) + below)).mean()


def path_scores(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"], neurons: Int64[Tensor, "batch layer rank"], rule: Rule,
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> Float[Tensor, "batch"]:
    """The Joint Attribution Score of given paths, one image at a time on the model itself; what
    :func:`~neuronpath_core.jas.joint_attribution_score` takes where a model is not its blocks put
    together."""
    scores = []
    for row, path in enumerate(neurons):
        image, label, base = _one(target, images, labels, baseline, row)
        with torch.no_grad(), reading(target) as clean:
            target(image)
        scores.append(_path_score(target, image, label, clean, by_layer(target, base), list(path),
                                  rule))
    return torch.stack(scores)


def _one(target, images, labels, baseline, row) -> tuple[Tensor, Tensor, Tensor | None]:
    """One image of a batch, with its label and baseline."""
    place = torch.tensor([row], device=target.device)
    return images[place], labels[place], of_images(baseline, place)


def _scores(target, image, label, clean, base, path, rule) -> Float[Tensor, "unit"]:
    """The scores of the last block's units, summed over the scope's tokens."""
    own, along, height, below = _parts(target, image, label, clean, base, path, rule)
    return ((own + along[:, None]) * (height + below[:, None])).sum(0)


def _parts(target, image, label, clean, base,
           path, rule) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Integrated gradients and heights, clean values less the baseline, of the last block's units
    ``(token, unit)``, and the same of all blocks before it, summed ``(token,)``."""
    nodes, weights = rule
    held, leaves, own = {}, [], []
    for index, units in enumerate(path):
        members = target.layers[index].members(units)
        own.append(clean[index][..., members])
        moved = nodes[:, None, None] * own[-1]
        if base is not None:
            start = base[index][..., members]
            own[-1] = own[-1] - start
            moved = start + nodes[:, None, None] * own[-1]
        leaves.append(moved.requires_grad_())
        held[index] = clean[index].repeat(len(nodes), 1, 1).index_copy(2, members, leaves[-1])
    with activation_gradients(target), clamped(target, held):
        logits = target(image.expand(len(nodes), -1, -1, -1))
        chance = logits.double().softmax(-1)[:, label].to(logits.dtype)
        if not chance.requires_grad:
            raise ValueError("no gradient comes from the label's probability to the neurons; "
                             "accepted: a forward that does not run under torch.no_grad() or "
                             "detach() its stream")
        gradients = torch.autograd.grad(chance.sum(), leaves)
    slopes, heights = [], []
    for layer, value, gradient in zip(target.layers, own, gradients, strict=False):
        slope, height = layer.as_units(integrated(gradient[None], weights)[0], value[0])
        slopes.append(slope)
        heights.append(height)
    none = torch.zeros_like(slopes[-1][:, 0])
    return (slopes[-1], sum((each.sum(-1) for each in slopes[:-1]), none), heights[-1],
            sum((each.sum(-1) for each in heights[:-1]), none))


def search(target: TargetModel, images: Float[Tensor, "batch channel height width"],
           labels: Int64[Tensor, "batch"], settings: SearchSettings, counts: Sequence[int],
           baseline: Float[Tensor, "image layer token neuron"] | None = None) -> list[FoundPaths]:
    """Paths of a batch with several numbers of neurons per block, one image after the other.

    Args:
        target, images, labels: a checked batch.
        settings: complete.
        counts: numbers of neurons per block.
        baseline: of the batch, checked; ``None`` for zero.

    Raises:
        ValueError: settings that this page does not know, by name.
    """
    known = {"method": ("neuron_path",), "search": ("joint", "literal"), "context": ("full",),
             "draft": (None,)}
    for name, accepted in known.items():
        if getattr(settings, name) not in accepted or settings.steps == "auto":
            name = "steps" if settings.steps == "auto" else name
            found = shown(getattr(settings, name))
            raise ValueError(f"engine 'plain' has no {name} {found}; accepted: "
                             "method 'neuron_path', search 'joint' or 'literal', context 'full', "
                             "numbers of steps, no draft, as settings 'published' are")
    steps = [settings.steps] if isinstance(settings.steps, int) else list(settings.steps)

    def rule_at(block: int) -> Rule:
        count = steps[min(block, len(steps) - 1)]
        return placed_rule(target, settings.quadrature, count, settings.nodes)

    found = []
    for count in counts:
        each = []
        for row in range(len(images)):
            image, label, base = _one(target, images, labels, baseline, row)
            each.append(search_path(target, image, label, rule_at, count, settings.search, base))
        neurons, scores, flat = (torch.stack(values) for values in zip(*each, strict=True))
        found.append(FoundPaths(neurons, scores.to(wide(target)),
                                torch.full_like(labels, steps[-1]), flat))
    return found
