"""Relevance patching (RelP): attribution patching by the gradient of a linearised model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.forward import by_layer, check_baseline, of_images
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.hooks import hooked
from neuronpath_core.methods import Method, register
from neuronpath_core.scores.linearised import Gates, check_linear, linearised
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Of = Literal["probability", "logit"]
OF = ("probability", "logit")


def relevance_patching(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    of: Of = "probability",
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> Float[Tensor, "batch layer neuron"]:
    r"""RelP of every neuron (Rezaei Jafari et al., 2025, arXiv 2508.21258, Sec. 3).

    .. math::

        (\bar w^l_i - b^l_i)\, \frac{\partial \tilde F_x}{\partial w^l_i}

    with :math:`\tilde F` the model that has the same values on this image and is affine: what
    makes it curved is held at its clean value while derivatives pass (see
    :func:`~neuronpath_core.scores.linearised.linearised`, gates by the half rule). These
    derivatives are the propagation coefficients of layer-wise relevance propagation.

    What is linearised are the logits. F is their softmax, as everywhere in this library, and its
    derivative is taken at the clean logits:
    :math:`\sum_c \frac{\partial F}{\partial z_c} \frac{\partial \tilde z_c}{\partial w}`. With
    ``of="logit"`` the label's logit is scored itself, and then a block's scores add up: with b = 0
    to :math:`z` less what :math:`\tilde z` is without the block's scope neurons.

    Args:
        target: the model, of modules whose linear form is known. It is called, so that hooks of
            somebody's own take part; what they compute is differentiated as it stands.
        images, labels: a batch; classes may mix.
        of: ``"probability"`` or ``"logit"``.
        baseline: b, ``(image or 1, layer, token or 1, neuron)`` of the scope's tokens, in the
            model's dtype and on its device; ``None`` for zero.

    Returns:
        ``(batch, layer, neuron)`` on the model's device and in its dtype, for scope ``"patch"``
        summed over the patch tokens; positive where the neuron supports the label; smaller layers
        end in zeros.

    Raises:
        ValueError: images, labels or a baseline that do not fit, something else to score, or a
            module of the model's for which no linear form is known, by name.
    """
    return linear_attribution(target, images, labels, "half", of, baseline)


def linear_attribution(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"], gates: Gates, of: Of,
    baseline: Float[Tensor, "image layer token neuron"] | None,
) -> Float[Tensor, "batch layer neuron"]:
    """Height above the baseline times gradient of the
    :func:`~neuronpath_core.scores.linearised.linearised` model; arguments, result and errors are
    those of :func:`relevance_patching`."""
    check_target(target)
    target.check_batch(images, labels)
    if not is_one_of(of, OF):
        raise ValueError(f"unknown of {shown(of)}; accepted: {', '.join(OF)}")
    check_linear(target.model)
    images, baseline = images.detach(), check_baseline(target, baseline, len(images))

    def part(chosen: Tensor) -> Tensor:
        slopes, values = _slopes(target, images[chosen], labels[chosen], gates, of)
        if baseline is not None:
            values = [value - base for value, base in zip(
                values, by_layer(target, of_images(baseline, chosen)), strict=True)]
        return target.stacked([layer.by_unit(slope * value).sum(1) for layer, slope, value
                               in zip(target.layers, slopes, values, strict=True)])

    with activation_gradients(target):
        return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1), part))


def _slopes(target, images, labels, gates, of):
    """Per layer the gradient of the linearised model at the scope's neurons, and their values."""
    entering: list[Tensor] = []
    with hooked(target, dict.fromkeys(range(target.n_blocks), entering.append)):
        with linearised(gates):
            logits = target(images.requires_grad_())
        # in double precision, as TargetModel.probability says
        scored = logits.double() if of == "logit" else logits.double().softmax(-1)
        gradients = torch.autograd.grad(scored.gather(1, labels[:, None]).sum(), entering)
    return ([gradient[:, target.tokens] for gradient in gradients],
            [value.detach()[:, target.tokens] for value in entering])


def _relp(target, images, labels, _settings, baseline=None):
    return relevance_patching(target, images, labels, baseline=baseline)


def linear_passes(target: TargetModel, _settings: object = None) -> dict[str, float]:
    """Passes of one block that a :func:`linear_attribution` takes for one image, by kind."""
    return {"gradient": target.n_blocks}


register(Method("relp", "RelP", rank=_relp, passes=linear_passes, with_baseline=True))
