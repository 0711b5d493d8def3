"""Paths by the gradient of an edit, taken where the path is already edited: a few passes of the
whole model, whatever its depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.factors import check_values, edit_factor
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.hooks import scaled
from neuronpath_core.interventions import values_of
from neuronpath_core.ranking import layer_tops
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Question = Literal["remove", "enhance", "keep"]
QUESTIONS = ("remove", "enhance", "keep")
DEFAULT_PASSES, MOST_PASSES = 3, 1000


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

        P_{k} = \Big(\arg\max_i \sum_{j=1}^{k-1} \frac{\partial F}{\partial f^l_i}(P_j)\Big)_l ,

    the mean over the edits tried so far, as in fictitious play (Brown 1951), without which two
    paths can follow each other for ever. Of all paths tried the one with the largest effect is
    returned, which a last forward of the last path decides.

    The model itself is called, so that this holds for whatever it does.

    Args:
        target: the model, also a :class:`~neuronpath_core.variants.sites.SiteModel`.
        images, labels: a batch; classes may mix.
        top: neurons kept per block, best first; all of them are edited together.
        passes: gradients of the whole model, 1..1000; one gives gradient × activation (of
            ``"keep"``, at the model without any neuron) and needs no last forward.
        question: ``"remove"``, ``"enhance"`` or ``"keep"``.
        baseline: b, ``(image or 1, layer, scope token or 1, neuron)``; ``None`` for zero.

    Returns:
        int64 ``(batch, layer, top)``, and the path's effect ``(batch,)``, in the model's dtype.

    Raises:
        ValueError: images, labels or values that do not fit, an unknown question, or numbers
            outside their range.
    """
    check_target(target)
    target.check_batch(images, labels)
    if not is_one_of(question, QUESTIONS):
        raise ValueError(f"unknown question {shown(question)}; accepted: {', '.join(QUESTIONS)}")
    for name, value, most in (("top", top, target.fewest_neurons), ("passes", passes, MOST_PASSES)):
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not 1 <= value <= most:
            raise ValueError(f"{name} must be a whole number in 1..{most}, got {shown(value)}")
    if baseline is not None:
        baseline = check_values(target, baseline, len(images))
    images = images.detach()
    with activation_gradients(target):
        neurons, effects = zip(*in_chunks(
            target, len(images), lambda: images_at_once(target, 1),
            lambda chosen: _chunk(target, images[chosen], labels[chosen], top, passes, question,
                                  values_of(baseline, chosen)), side_by_side=True), strict=True)
    return torch.cat(neurons), torch.cat(effects)


def _chunk(target, images, labels, top, passes, question, values):
    before = torch.full((len(images), target.n_blocks, target.n_neurons),
                        0.0 if question == "keep" else 1.0, dtype=target.dtype,
                        device=target.device)
    after = 1.0 if question == "keep" else edit_factor(question)
    # of a removal the effect is what is lost
    sign = -1.0 if question == "remove" else 1.0
    unedited, slopes = _probability_and_slopes(target, images, labels, before, values)
    path, _ = layer_tops(target, slopes, top)
    best, most, total = path, torch.full_like(unedited, -torch.inf), torch.zeros_like(slopes)

    def better(reached):
        effect = sign * (reached - unedited)
        ahead = effect > most
        return (torch.where(ahead[:, None, None], path, best), torch.where(ahead, effect, most))

    for _ in range(passes - 1):
        reached, slopes = _probability_and_slopes(target, images, labels,
                                                  before.scatter(2, path, after), values)
        best, most = better(reached)
        total += slopes
        path, _ = layer_tops(target, total, top)
    with torch.no_grad():
        best, most = better(_probability(target, images, labels, before.scatter(2, path, after),
                                         values))
    return best, most


def _probability(target, images, labels, factors, values) -> Float[Tensor, "batch"]:
    """F of the edited model, in double precision as :meth:`TargetModel.probability` has it."""
    with scaled(target, factors, values=values):
        logits = target(images)
    return logits.double().softmax(-1).gather(1, labels[:, None])[:, 0]


def _probability_and_slopes(target, images, labels, factors, values):
    """F of the edited model, and its derivative by every factor, ``(batch, layer, neuron)``."""
    factors = factors.detach().requires_grad_()
    probability = _probability(target, images, labels, factors, values)
    slopes, = torch.autograd.grad(probability.sum(), factors)
    return probability.detach(), slopes
