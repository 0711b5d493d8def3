"""Paths by the gradient of an edit, taken where the path is already edited: a few passes of the
whole model, whatever its depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core.edits import scaled
from neuronpath_core.examined import check_target
from neuronpath_core.factors import check_values, edit_factor
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.interventions import values_of
from neuronpath_core.ranking import layer_tops, top_neurons
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.numbers import check_whole
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Question = Literal["remove", "enhance", "keep"]
QUESTIONS = ("remove", "enhance", "keep")
DEFAULT_PASSES, MOST_PASSES = 3, 1000
# The gradients at which a second start is made, at the model with this share of the whole edit at
# every neuron, and from which the better start alone goes on.
SECOND_START, CHOICE, SHARE = 4, 7, 0.25


def conditional_gradient_paths(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    top: int = 1,
    passes: int = DEFAULT_PASSES,
    question: Question = "remove",
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> tuple[Int64[Tensor, "batch layer rank"], Float[Tensor, "batch"]]:
    r"""Paths whose edit moves the label's probability most, by gradients at edited models.

    An edit gives every neuron a factor f, which turns its value w into :math:`b + f\,(w - b)`. The
    effect of a path P is the change of F between two settings of the factors:

    * ``"remove"``: :math:`F(1) - F(f_P = 0)`, what is lost without the path;
    * ``"enhance"``: :math:`F(f_P = 2) - F(1)`, what is gained with the path doubled;
    * ``"keep"``: :math:`F(f_{\bar P} = 0) - F(0)`, what the path alone brings back where every
      other neuron is replaced.

    One pass, forward and back, gives :math:`\partial F / \partial f` of every neuron. At the
    unedited model that is gradient × activation, which says what a *small* edit of one neuron does.
    What is asked is what a whole edit of L neurons does, so the next passes are made at the edited
    models: the best neuron of each block by the gradient there is what the conditional gradient
    method (Frank and Wolfe 1956) takes, over paths as the vertices of a product of simplices. With
    :math:`P_1` of the first gradient,

    .. math::

        P_{k} = \Big(\arg\max_i \sum_{j=1}^{k-1}
        j\, \frac{\partial F}{\partial f^l_i}(P_j)\Big)_l ,

    a mean over the edits tried so far, as in fictitious play (Brown 1951), without which two paths
    can follow each other for ever; the j-th counts j times, which are the usual steps
    :math:`2/(k+1)` of the method. Where that path was tried before, the next is the one that
    differs from it in one block, was not tried, and has least to lose by the same sum (and, once
    none of these is left, the same path again).

    The first gradient may lead into a part of the edits that the next do not leave. From the fourth
    pass on a second start is made, at the model in which every neuron is edited by a quarter
    (:math:`f = 3/4` of a removal): its gradient is the fourth, those at two of its paths follow,
    and from the seventh on the start whose three paths did more goes on. Of all paths tried the one
    with the largest effect is returned, so that more passes never find less.

    The model itself is called, so that this holds for whatever it does.

    Args:
        target: the model, also a :class:`~neuronpath_core.variants.sites.SiteModel`.
        images, labels: a batch; classes may mix.
        top: neurons kept per block, best first; all of them are edited together.
        passes: gradients of the whole model, 1..1000; one gives the path of gradient × activation
            (of ``"keep"``, at the model without any neuron). Where no gradient follows at a path,
            its effect takes a forward: one up to three passes, two up to six, three beyond.
        question: ``"remove"``, ``"enhance"`` or ``"keep"``.
        baseline: b, ``(image or 1, layer, scope token or 1, neuron)``; ``None`` for zero.

    Returns:
        int64 ``(batch, layer, top)``, and the path's effect ``(batch,)``, in the model's dtype.

    Raises:
        ValueError: images, labels or values that do not fit, an unknown question, or numbers
            outside their range.
    """
    neurons, effects = conditional_gradient_by_passes(target, images, labels, [passes], top,
                                                      question, baseline)
    return neurons[:, 0], effects[:, 0]


def conditional_gradient_by_passes(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    passes: Sequence[int],
    top: int = 1,
    question: Question = "remove",
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> tuple[Int64[Tensor, "batch budget layer rank"], Float[Tensor, "batch budget"]]:
    """:func:`conditional_gradient_paths` for several numbers of passes, for the work of the most:
    the paths that few passes try are the first that more of them try.

    Args:
        passes: numbers of passes, at least one, in any order.
        target, images, labels, top, question, baseline: of :func:`conditional_gradient_paths`,
            whose errors these are too.

    Returns:
        int64 ``(batch, budget, layer, top)`` and ``(batch, budget)``, budgets in the order given.
    """
    check_target(target)
    target.check_batch(images, labels)
    _checked_question(question)
    if not isinstance(passes, (list, tuple, range)) or not len(passes):
        raise ValueError(f"passes are {shown(passes)}; accepted: at least one number, such as "
                         "[1, 3, 10]")
    for name, value, most in (("top", top, target.fewest_neurons),
                              *(("passes", each, MOST_PASSES) for each in passes)):
        check_whole(name, value, 1, most, of=int)
    if baseline is not None:
        baseline = check_values(target, baseline, len(images))
    images = images.detach()
    with activation_gradients(target):
        neurons, effects = zip(*in_chunks(
            target, len(images), lambda: images_at_once(target, 1),
            lambda chosen: _chunk(target, images[chosen], labels[chosen], top, passes, question,
                                  values_of(baseline, chosen)), side_by_side=True), strict=True)
    return torch.cat(neurons), torch.cat(effects)


def budget_and_question(budget: int | None, question: Question | None) -> tuple[int, Question]:
    """Passes and question of settings, the defaults where these leave them open."""
    budget = DEFAULT_PASSES if budget is None else budget
    check_whole("budget", budget, 1, MOST_PASSES, of=int)
    return budget, _checked_question(QUESTIONS[0] if question is None else question)


def _checked_question(question: object) -> Question:
    if not is_one_of(question, QUESTIONS):
        raise ValueError(f"unknown question {shown(question)}; accepted: {', '.join(QUESTIONS)}")
    return question


def _chunk(target, images, labels, top, passes, question, values):
    before = torch.full((len(images), target.n_blocks, target.n_neurons),
                        0.0 if question == "keep" else 1.0, dtype=target.dtype,
                        device=target.device)
    after = 1.0 if question == "keep" else edit_factor(question)
    # of a removal the effect is what is lost
    sign = -1.0 if question == "remove" else 1.0
    unedited, slopes = _probability_and_slopes(target, images, labels, before, values)
    path, _ = layer_tops(target, slopes, top)
    tried, total, found = path[:, None], torch.zeros_like(slopes), {}
    best, most = path, torch.full_like(unedited, -torch.inf)
    of_start, first = most, None

    def judge(number, reached):  # the path that so many gradients led to
        nonlocal best, most, of_start
        effect = sign * (reached - unedited)
        best = torch.where((effect > most)[:, None, None], path, best)
        most, of_start = torch.maximum(effect, most), torch.maximum(effect, of_start)
        found[number] = best, most

    def edited():
        return before.scatter(2, path, after)

    for number in range(2, max(passes) + 1):
        if number in (SECOND_START, CHOICE):
            judge(number - 1, _probability(target, images, labels, edited(), values))
        if number == SECOND_START:
            first = path, total, of_start
            slopes = _probability_and_slopes(target, images, labels,
                                             before + SHARE * (after - before), values)[1]
            total, of_start = torch.zeros_like(slopes), torch.full_like(most, -torch.inf)
            path = _untried(target, slopes, top, tried)
        else:
            if number == CHOICE:
                ahead = (first[2] >= of_start)[:, None, None]
                path, total = (torch.where(ahead, *each)
                               for each in ((first[0], path), (first[1], total)))
            reached, slopes = _probability_and_slopes(target, images, labels, edited(), values)
            if number != CHOICE:
                judge(number - 1, reached)
            total = total + _count(number) * slopes
            path = _untried(target, total, top, tried)
        tried = torch.cat([tried, path[:, None]], 1)
    judge(max(passes), _probability(target, images, labels, edited(), values))
    best, most = zip(*(found[number] for number in passes), strict=True)
    return torch.stack(best, 1), torch.stack(most, 1)


def _count(number: int) -> int:
    """Which of its start's edited paths the gradient of this number is taken at."""
    return number - 1 if number < SECOND_START else number - SECOND_START


def _untried(target: TargetModel, scores: Float[Tensor, "batch layer neuron"], top: int,
             tried: Int64[Tensor, "batch path layer rank"]) -> Int64[Tensor, "batch layer rank"]:
    """The best path by the scores or, where it was tried, the best of those that were not and have
    one other neuron in one block: the first that was left out in place of the last that was taken.
    """
    counts = torch.tensor([layer.units for layer in target.layers], device=scores.device)
    missing = torch.arange(scores.shape[2], device=scores.device) >= counts[:, None]
    scores = scores.masked_fill(missing, -torch.inf)
    ranked = top_neurons(scores, top + 1)
    path = ranked[..., :top]
    if ranked.shape[2] == top:  # every neuron is on the path
        return path
    last, spare = scores.gather(2, ranked[..., top - 1:]).unbind(2)
    # of a block without another neuron infinite, and last
    order = (last - spare).argsort(dim=1, stable=True)
    others = path[:, None].repeat(1, target.n_blocks, 1, 1)
    rows, places = (torch.arange(count, device=scores.device) for count in order.shape)
    others[rows[:, None], places, order, -1] = ranked[rows[:, None], order, top]
    every = torch.cat([path[:, None], others], 1)
    same = every.sort(-1).values[:, :, None] == tried.sort(-1).values[:, None]
    seen = same.all(-1).all(-1).any(-1)
    seen[:, 1:] |= (last - spare).gather(1, order) == torch.inf
    first = (~seen).to(torch.int8).argmax(1)  # of equal ones the first; of none the best path
    return every[rows, first]


def _probability(target, images, labels, factors, values) -> Float[Tensor, "batch"]:
    """F of the edited model, in double precision as :meth:`TargetModel.probability` has it."""
    with torch.no_grad(), scaled(target, factors, values=values):
        return _of_label(target(images), labels)


def _probability_and_slopes(target, images, labels, factors, values):
    """F of the edited model, and its derivative by every factor, ``(batch, layer, neuron)``."""
    factors = factors.detach().requires_grad_()
    with scaled(target, factors, values=values):
        probability = _of_label(target(images), labels)
        # with the edit in force: a model may compute its blocks again on the way back
        slopes, = torch.autograd.grad(probability.sum(), factors)
    return probability.detach(), slopes


def _of_label(logits, labels) -> Float[Tensor, "batch"]:
    return logits.double().softmax(-1).gather(1, labels[:, None])[:, 0]
