r"""The search for paths of units that are moved by factors: every layer's scores by one forward and
one backward pass from that layer on.

Of units the sum over the path in

.. math:: s_i = \Big[\sum_k q_k \Big(\Big\langle \frac{\partial F}{\partial w^l_i}, \bar w^l_i
    \Big\rangle + \sum_{j<l} \Big\langle \frac{\partial F}{\partial w^j_{p_j}}, \bar w^j_{p_j}
    \Big\rangle \Big)(\alpha_k)\Big] \, l

is the same for every candidate, so that :math:`\sum_k q_k \langle \partial F / \partial w^l_i,
\bar w^l_i \rangle` ranks them, and nothing need be passed back to the layers before.  Copies of the
image with the path so far at :math:`\alpha_k` are carried from layer to layer;
:mod:`neuronpath_core.search` finds the same paths on the model as it is called, and is the twin in
the tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core import finding
from neuronpath_core.forward import CleanPass
from neuronpath_core.found_paths import FoundPaths, wide
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.jas import joint_attribution_score
from neuronpath_core.quadrature import integrated, placed_rule
from neuronpath_core.ranking import chosen_neurons
from neuronpath_core.settings import SearchSettings
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

Rule = tuple[Tensor, Tensor]


def search(target: TargetModel, images: Float[Tensor, "batch channel height width"],
           labels: Int64[Tensor, "batch"], settings: SearchSettings, counts: Sequence[int],
           baseline: Tensor | None = None) -> list[FoundPaths]:
    """Paths of a batch, of units that all move by factors; one for each number of units a layer.

    Args:
        target, images, labels: a checked batch.
        settings: complete; drafts are not made.
        counts: numbers of units per layer.
        baseline: none.

    Raises:
        ValueError: a search other than ``"joint"``, ``steps="auto"``, or a baseline.
    """
    if settings.search != "joint" or settings.steps == "auto" or baseline is not None:
        found = ("a baseline" if baseline is not None else f"search {shown(settings.search)}"
                 if settings.search != "joint" else "steps 'auto'")
        raise ValueError(f"paths through a vision-language model have no {found}; accepted: search "
                         "'joint', numbers of steps, baseline None")
    steps = [settings.steps] if isinstance(settings.steps, int) else list(settings.steps)
    every = [steps[min(index, len(steps) - 1)] for index in range(target.n_blocks)]
    rules = {count: placed_rule(target, settings.quadrature, count, settings.nodes)
             for count in dict.fromkeys(every)}
    at_once = max(len(nodes) for nodes, _ in rules.values())
    return [_found(target, images, labels, settings, top, every, rules, at_once) for top in counts]


def unit_attributions(target: TargetModel, images: Float[Tensor, "batch channel height width"],
                      labels: Int64[Tensor, "batch"], steps: int = 4
                      ) -> Float[Tensor, "batch layer unit"]:
    r"""What every unit of every layer contributes, :math:`\int \langle \partial F / \partial w_i,
    \bar w_i \rangle d\alpha` with its whole layer at :math:`\alpha \bar w` and all others native;
    over a layer they add up to F(clean) - F(layer zeroed).

    Args:
        target, images, labels: as of :func:`~neuronpath_core.paths.find_paths`.
        steps: Gauss-Legendre nodes.

    Raises:
        ValueError: as of :func:`~neuronpath_core.paths.find_paths`.
    """
    target.check_batch(images, labels)
    rule = placed_rule(target, "gauss-legendre", steps)

    def of_rows(rows: Tensor) -> Tensor:
        clean = CleanPass.of(target, images[rows])
        return target.stacked([
            _scores(clean, clean.streams[index].repeat_interleave(steps, 0), labels[rows], index,
                    rule) for index in range(target.n_blocks)])

    with activation_gradients(target):
        return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, steps),
                                   of_rows))


def _found(target: TargetModel, images: Tensor, labels: Tensor, settings: SearchSettings, top: int,
           every: list[int], rules: dict[int, Rule], at_once: int) -> FoundPaths:
    with activation_gradients(target):
        parts = in_chunks(target, len(images), lambda: images_at_once(target, at_once),
                          lambda rows: _searched(target, images[rows], labels[rows], top, every,
                                                 rules))
    neurons, flat = (torch.cat(values) for values in zip(*parts, strict=True))
    score = joint_attribution_score(target, images, labels, neurons, settings.quadrature,
                                    every[-1], settings.nodes)
    return FoundPaths(neurons, score.to(wide(target)), torch.full_like(labels, every[-1]), flat)


def _searched(target: TargetModel, images: Tensor, labels: Tensor, top: int, every: list[int],
              rules: dict[int, Rule]
              ) -> tuple[Int64[Tensor, "image layer rank"], Bool[Tensor, "image layer"]]:
    clean = CleanPass.of(target, images)
    carried = {count: clean.streams[0].repeat_interleave(len(rules[count][0]), 0)
               for count in rules}
    path, gaps = [], []
    for index, count in enumerate(every):
        scores = _scores(clean, carried[count], labels, index, rules[count])
        chosen, gap = chosen_neurons(scores, top)
        path.append(chosen)
        gaps.append(gap)
        # of rules that a later layer has
        carried = {each: _moved_on(clean, stream, index, chosen, rules[each])
                   for each, stream in carried.items() if each in every[index + 1:]}
    return torch.stack(path, 1), torch.stack(gaps, 1) == -torch.inf


def _scores(clean: CleanPass, stream: Tensor, labels: Tensor, index: int, rule: Rule
            ) -> Float[Tensor, "image unit"]:
    """Integrated gradients of a layer's units, all scaled together, later layers native."""
    target, value, (nodes, weights) = clean.target, clean.activations[index], rule
    leaf = (nodes[:, None, None] * value[:, None]).flatten(0, 1).requires_grad_()
    out = target.run(stream, index, target.n_blocks, {index: leaf}, pooled=True)
    chance = target.probability(out, labels.repeat_interleave(len(nodes)))
    gradient, = torch.autograd.grad(chance.sum(), leaf)
    slopes = integrated(gradient.unflatten(0, (len(labels), -1)), weights)
    return target.layers[index].as_units(slopes, value)[0].sum(1)


@torch.no_grad()
def _moved_on(clean: CleanPass, stream: Tensor, index: int, chosen: Int64[Tensor, "image rank"],
              rule: Rule) -> Tensor:
    """The copies after a layer whose chosen units are at their nodes, all others clean."""
    target, value, nodes = clean.target, clean.activations[index], rule[0]
    members = target.layers[index].members(chosen)[:, None, None]
    members = members.expand(-1, len(nodes), value.shape[1], -1)
    copies = value[:, None].expand(-1, len(nodes), -1, -1)
    held = copies.scatter(3, members, nodes[:, None, None] * copies.gather(3, members))
    return target.run(stream, index, index + 1, {index: held.flatten(0, 1)})


def open_the_door() -> None:
    """Let :func:`~neuronpath_core.paths.find_paths` search targets of vision-language models by
    this module where it would take the fast engine; every other target goes the way it went."""
    if getattr(finding.ENGINES["fast"], "of_units", None):
        return
    others = finding.ENGINES["fast"]

    def by_kind(target: TargetModel, *given) -> list[FoundPaths]:
        return (search if target.sites == "vlm" else others)(target, *given)

    by_kind.of_units = True
    finding.ENGINES["fast"] = by_kind
