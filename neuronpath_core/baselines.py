"""The paths that the search is compared with; each returns ``(batch, layer, top)`` neurons, best
first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import forward_ad

from neuronpath_core.forward import by_layer, check_baseline, of_images
from neuronpath_core.gradients import activation_gradients, forward_mode
from neuronpath_core.hooks import hooked, read_activations
from neuronpath_core.quadrature import integrated, node_parts
from neuronpath_core.ranking import layer_tops, top_neurons
from neuronpath_core.support.memory import copies_at_once, images_at_once, in_chunks
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def activation_paths(target: TargetModel, images: Float[Tensor, "batch channel height width"],
                     top: int = 1) -> Int64[Tensor, "batch layer rank"]:
    r"""Activation (Eqs. 7-8): per block the neurons with the largest clean activation,
    :math:`\arg\max_i \bar w^l_i`.

    For scope ``"patch"`` the activation is summed over the patch tokens.
    """
    parts = in_chunks(target, len(images), lambda: images_at_once(target, 1),
                      lambda chosen: read_activations(target, images[chosen]).sum(2))
    return layer_tops(target, torch.cat(parts), top)[0]


def influence_pattern(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    nodes: Float[Tensor, "step"], weights: Float[Tensor, "step"],
) -> Float[Tensor, "batch layer neuron"]:
    r"""Influence Pattern as the published code has it, which takes the largest of every block: the
    mean gradient along the input path,

    .. math:: \int_0^1 \frac{\partial F_{\alpha x}}{\partial w^l_i}\, d\alpha .

    The neurons chosen so far have no influence and no product over blocks is formed.  The zero
    image is zero after normalisation.  For scope ``"patch"`` the gradient is summed over the patch
    tokens.
    """
    def slopes(chosen: Tensor) -> Tensor:
        return sum(part_of_slopes(chosen, *part)
                   for part in node_parts(target, len(chosen), nodes, weights))

    def part_of_slopes(chosen: Tensor, alphas: Tensor, shares: Tensor) -> Tensor:
        scaled_images = (alphas[:, None, None, None] * images[chosen][:, None]).flatten(0, 1)
        gradients, _ = _activation_slopes(target, scaled_images,
                                          labels[chosen].repeat_interleave(len(alphas)))
        return target.stacked([integrated(gradient.sum(1).unflatten(0, (len(chosen), -1)), shares)
                               for gradient in gradients])

    with activation_gradients(target):
        return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, len(nodes)),
                                   slopes))


def influence_pattern_eq9_paths(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    nodes: Float[Tensor, "step"], weights: Float[Tensor, "step"], top: int = 1,
) -> Int64[Tensor, "batch layer rank"]:
    r"""Influence Pattern as Eq. 9 defines it (Lu et al., 2021), greedily block by block:

    .. math::

        \mathcal I(x, P) = \int_0^1 \prod_{l}
        \frac{\partial w^l}{\partial w^{l-1}}(\alpha x)\, d\alpha

    :math:`w^0` is the input along the direction x, from the zero image; each factor is the total
    derivative of the next block's neuron with respect to the chosen one, which forward mode gives
    for all n candidates at once.  A neuron of scope ``"patch"`` is its mean over the patch tokens,
    moved at all of them together.

    With ``top`` neurons a block the best one carries the product on.
    """
    with torch.no_grad():
        return torch.cat(
            in_chunks(
                target,
                len(images),
                lambda: images_at_once(target, 2 * len(nodes)),
                lambda chosen: _eq9_chunk(
                    target, images[chosen], nodes, weights, top
                ),
            )
        )


def _eq9_chunk(target, images, nodes, weights, top):
    batch, steps = len(images), len(nodes)
    picture = (nodes[:, None, None, None] * images[:, None]).flatten(0, 1)
    neurons, seen = [], {}

    def block_derivative(stream, tangent, block):
        """The stream after the block, and the derivative of the block's neurons
        ``(batch, steps, neuron)``."""
        def keep(value):
            seen["tangent"] = forward_ad.unpack_dual(value[:, target.tokens]).tangent
        moved, derivatives = [], []
        for part in zip(stream.split(copies_at_once(target)), tangent.split(copies_at_once(target)),
                        strict=True):
            with forward_mode(), hooked(target, {block: keep}):
                moved.append(forward_ad.unpack_dual(target.run(forward_ad.make_dual(*part), block,
                                                               block + 1)).primal)
            derivatives.append(seen["tangent"].mean(1))
        return torch.cat(moved), torch.cat(derivatives).unflatten(0, (batch, steps))

    with forward_mode():
        embedded = target.embed(forward_ad.make_dual(picture, images.repeat_interleave(steps, 0)))
        stream, tangent = (value.clone() for value in forward_ad.unpack_dual(embedded))
    product = weights.expand(batch, steps)
    for block in range(target.n_blocks):
        stream, derivative = block_derivative(stream, tangent, block)
        chosen = top_neurons((product[..., None] * derivative).sum(1), top)
        neurons.append(chosen)
        best = chosen[:, :1]
        product = product * derivative.gather(2, best[:, None].expand(-1, steps, -1))[..., 0]
        # only the ranking matters, and the product of many small factors would underflow
        largest = product.abs().amax(1, keepdim=True)
        product = product / torch.where(largest > 0, largest, torch.ones_like(largest))
        # from here on only the chosen neuron moves, by one unit at every token of the scope
        tangent = torch.zeros_like(stream)
        tangent[:, target.tokens] = target.value_vectors(block)[best[:, 0]].repeat_interleave(
            steps, 0)[:, None]
    return torch.stack(neurons, 1)


def gradient_activation(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> Float[Tensor, "batch layer neuron"]:
    r"""Gradient times activation, :math:`\bar w^l_i\, \partial F_x/\partial w^l_i` at the clean
    image; for scope ``"patch"`` summed over the patch tokens.

    With a baseline b, ``(image or 1, layer, token or 1, neuron)``, it is
    :math:`(\bar w^l_i - b^l_i)\, \partial F_x/\partial w^l_i`, to first order what the label's
    probability loses where the neuron is set to b (attribution patching; Nanda, 2023).

    Raises:
        ValueError: a baseline that does not fit.
    """
    baseline = check_baseline(target, baseline, len(images))

    def attribution(chosen: Tensor) -> Tensor:
        gradients, values = _activation_slopes(target, images[chosen], labels[chosen])
        if baseline is not None:
            values = [value - base for value, base in zip(
                values, by_layer(target, of_images(baseline, chosen)), strict=True)]
        return target.stacked([layer.by_unit(gradient * value).sum(1) for layer, gradient, value
                               in zip(target.layers, gradients, values, strict=True)])

    with activation_gradients(target):
        return torch.cat(in_chunks(target, len(images), lambda: images_at_once(target, 1),
                                   attribution))


def conductance(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    nodes: Float[Tensor, "step"], weights: Float[Tensor, "step"],
) -> Float[Tensor, "batch layer neuron"]:
    r"""Conductance of every neuron (Dhamdhere et al., 2019) along the straight line from the zero
    image,

    .. math::

        \int_0^1 \frac{\partial F_{\alpha x}}{\partial w^l_i}\,
        \frac{d w^l_i(\alpha x)}{d\alpha}\, d\alpha ,

    the second factor by forward mode.  For scope ``"patch"`` summed over the patch tokens.
    """
    def attribution(chosen: Tensor) -> Tensor:
        return sum(part(chosen, *piece)
                   for piece in node_parts(target, len(chosen), nodes, weights))

    def part(chosen: Tensor, alphas: Tensor, shares: Tensor) -> Tensor:
        direction = images[chosen].repeat_interleave(len(alphas), 0)
        scaled_images = (alphas[:, None, None, None] * images[chosen][:, None]).flatten(0, 1)
        gradients, _ = _activation_slopes(target, scaled_images,
                                          labels[chosen].repeat_interleave(len(alphas)))
        tangents: list[Tensor] = []
        with (
            torch.no_grad(),
            forward_mode(),
            hooked(
                target,
                dict.fromkeys(
                    range(target.n_blocks),
                    lambda value: tangents.append(
                        forward_ad.unpack_dual(value[:, target.tokens]).tangent
                    ),
                ),
            ),
        ):
            target(forward_ad.make_dual(scaled_images, direction))
        found = [layer.by_unit(gradient * tangent).sum(1) for layer, gradient, tangent
                 in zip(target.layers, gradients, tangents, strict=True)]
        return target.stacked([integrated(value.unflatten(0, (len(chosen), -1)), shares)
                               for value in found])

    with activation_gradients(target):
        return torch.cat(in_chunks(target, len(images),
                                   lambda: images_at_once(target, 2 * len(nodes)), attribution))


def _activation_slopes(target, images, labels):
    """Per block the gradient of each image's label probability at the scope's neurons, and their
    values, ``(batch, scope token, neuron)``."""
    entering: list[Tensor] = []
    with hooked(target, dict.fromkeys(range(target.n_blocks), entering.append)):
        # in double precision, as TargetModel.probability says
        probability = target(images.detach().requires_grad_()).double().softmax(-1).gather(
            1, labels[:, None])
        # now: a checkpointed block enters again on the way back
        values = [value.detach()[:, target.tokens] for value in entering]
        gradients = torch.autograd.grad(probability.sum(), entering[:target.n_blocks])
    return [gradient[:, target.tokens] for gradient in gradients], values
