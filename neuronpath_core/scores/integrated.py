"""Attribution patching with integrated gradients (EAP-IG, of nodes): the gradient is averaged on
the way from a baseline to the clean image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.forward import by_layer, check_baseline, of_images
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.hooks import hooked
from neuronpath_core.knowledge import knowledge_attribution
from neuronpath_core.methods import Method, register
from neuronpath_core.quadrature import Quadrature, integrated, node_parts, placed_rule
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Along = Literal["activations", "inputs"]
ALONG = ("activations", "inputs")


def eap_ig(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    along: Along = "activations",
    quadrature: Quadrature = "right",
    steps: int = 5,
    start: Float[Tensor, "image channel height width"] | None = None,
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> Float[Tensor, "batch layer neuron"]:
    r"""EAP-IG of single neurons (Hanna et al., 2024, "Have faith in faithfulness", Sec. 3).

    .. math::

        (\bar w^l_i - b^l_i) \int_0^1 \frac{\partial F_x(\alpha)}{\partial w^l_i}\, d\alpha

    along one of two lines:

    * ``"inputs"``, the source's: the image runs from :math:`x'` to x,
      :math:`x' + \alpha (x - x')`, and every neuron with it. The embedding of patches is affine in
      the pixels, so this is the source's line between embeddings.
    * ``"activations"``: of one block at a time the neurons of the scope run from b to
      :math:`\bar w`, all else natively on x (Marks et al., 2024, "Sparse feature circuits",
      Eq. 4). With b the activations of a counterfactual image this goes from counterfactual to
      clean. A block's scores add up to F(clean) less F with the block's neurons at b. It is
      :func:`~neuronpath_core.knowledge.knowledge_attribution` with this baseline, which is
      integrated gradients of the neurons. The source's code moves one block too, but averages
      the gradient of a neuron over the lines of all blocks, for which nothing adds up.

    One step of the rule ``"right"`` is attribution patching, the gradient at the clean image.

    Args:
        target: the model.
        images, labels: a batch; classes may mix.
        along: ``"activations"`` or ``"inputs"``.
        quadrature, steps: the rule; the source takes ``"right"`` with 5.
        start: :math:`x'` of ``"inputs"``, one image or one for each; ``None`` for the zero image,
            which is the mean colour after normalisation.
        baseline: b, ``(image or 1, layer, token or 1, neuron)`` of the scope's tokens, in the
            model's dtype and on its device; ``None`` for zero. The source takes the activations of
            :math:`x'`: ``replacement_values(target, "counterfactual", ..., pairs=start)[0]``.

    Returns:
        ``(batch, layer, neuron)`` on the model's device, in its dtype and at least single
        precision; for scope ``"patch"`` summed over the patch tokens.

    Raises:
        ValueError: images, labels, rule or baseline that do not fit, an unknown line, a start for
            ``"activations"``, or for these a model that is not its blocks put together.
    """
    check_target(target)
    if not is_one_of(along, ALONG):
        raise ValueError(f"unknown line {shown(along)}; accepted: {', '.join(ALONG)}")
    if along == "activations":
        if start is not None:
            raise ValueError("along 'activations' starts at the baseline; accepted: start=None")
        return knowledge_attribution(target, images, labels, quadrature, steps, baseline=baseline)
    start = _checked_start(target, images, labels, start)
    target.check_batch(images, labels)
    images = images.detach()
    baseline = check_baseline(target, baseline, len(images))
    alphas, weights = placed_rule(target, quadrature, steps)

    def part(chosen: Tensor) -> Tensor:
        return _along_inputs(target, images[chosen], labels[chosen], of_images(start, chosen),
                             of_images(baseline, chosen), alphas, weights)

    with activation_gradients(target):
        return torch.cat(in_chunks(target, len(images),
                                   lambda: images_at_once(target, len(alphas)), part))


def _checked_start(target: TargetModel, images: Tensor, labels: Tensor,
                   start: Tensor | None) -> Tensor:
    target.check_batch(images, labels)
    if start is None:
        return torch.zeros_like(images[:1])
    try:
        target.check_images(start)
    except ValueError as error:
        raise ValueError(f"start: {error}") from None
    if len(start) not in (1, len(images)) or start.shape[1:] != images.shape[1:]:
        raise ValueError(f"start has shape {tuple(start.shape)}, the images "
                         f"{tuple(images.shape)}; accepted: one image or one for each, of their "
                         "shape")
    return start.detach()


def _along_inputs(target, images, labels, start, baseline, alphas, weights):
    batch, slopes = len(images), 0
    for nodes, shares in node_parts(target, batch, alphas, weights):
        # so that the node 1 is the image, to the last bit
        placed = nodes[:, None, None, None]
        between = (placed * images[:, None] + (1 - placed) * start[:, None]).flatten(0, 1)
        gradients = _slopes(target, between, labels.repeat_interleave(len(nodes)))
        part = [integrated(each.unflatten(0, (batch, -1)), shares) for each in gradients]
        slopes = part if slopes == 0 else [sum(pair) for pair in zip(slopes, part, strict=True)]
    heights = _activations(target, images)
    if baseline is not None:
        heights = [value - base for value, base in zip(heights, by_layer(target, baseline),
                                                       strict=True)]
    return target.stacked([layer.by_unit(height * slope).sum(1) for layer, height, slope
                           in zip(target.layers, heights, slopes, strict=True)])


def _activations(target, images):
    """Of every layer the scope's activations, without a graph."""
    found: list[Tensor] = []
    with torch.no_grad(), hooked(target, dict.fromkeys(range(target.n_blocks), found.append)):
        target(images)
    return [value[:, target.tokens] for value in found]


def _slopes(target, images, labels):
    """Of every layer the gradient of the label's probability at the scope's neurons."""
    entering: list[Tensor] = []
    with hooked(target, dict.fromkeys(range(target.n_blocks), entering.append)):
        # in double precision, as TargetModel.probability says
        probability = target(images.requires_grad_()).double().softmax(-1).gather(
            1, labels[:, None])
        # a checkpointed block enters again on the way back
        gradients = torch.autograd.grad(probability.sum(), entering[:target.n_blocks])
    return [gradient[:, target.tokens] for gradient in gradients]


def _eap_ig_inputs(target, images, labels, settings, baseline=None):
    return eap_ig(target, images, labels, "inputs", settings.quadrature, settings.one_rule,
                  baseline=baseline)


def eap_ig_inputs_passes(target: TargetModel, settings) -> dict[str, float]:
    """Passes of one block that :func:`eap_ig` along inputs takes for one image, by kind."""
    nodes = len(placed_rule(target, settings.quadrature, settings.one_rule)[0])
    return {"forward": target.n_blocks, "gradient": nodes * target.n_blocks}


# along activations it is the method "knowledge", with its baseline
register(Method("eap_ig_inputs", "EAP-IG (inputs)", rank=_eap_ig_inputs,
                passes=eap_ig_inputs_passes, with_baseline=True))
