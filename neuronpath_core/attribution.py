"""Quadrature rules and the three attributions of neurons: joint, complete, and single-neuron (knowledge)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from neuronpath_core.neurons import TargetModel, activation_gradients, clamped, reading

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Quadrature = Literal["left", "right", "midpoint", "gauss-legendre"]
QUADRATURES = ("left", "right", "midpoint", "gauss-legendre")

# Floating-point numbers that the copies of one chunk may hold; what bounds memory whatever the batch.
CHUNK_NUMBERS = 40_000_000


def check_quadrature(quadrature: str, steps: int) -> None:
    """Raise ``ValueError`` unless the rule is known and ``steps`` a positive whole number."""
    if quadrature not in QUADRATURES:
        raise ValueError(f"unknown quadrature {quadrature!r}; accepted: {', '.join(QUADRATURES)}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, got {steps!r}")


def quadrature_rule(quadrature: Quadrature, steps: int) -> tuple[Tensor, Tensor]:
    r"""Nodes and weights on [0, 1]: :math:`\int_0^1 f \approx \sum_k q_k f(\alpha_k)`, weights summing to one.

    ``left`` (:math:`\alpha_k = k/m`, as published, k = 0..m-1), ``right`` (k = 1..m, Eq. 6), ``midpoint``, and
    ``gauss-legendre`` (exact for polynomials up to degree 2m-1).

    Returns:
        float64 ``(steps,)`` and float64 ``(steps,)``, on the CPU.
    """
    check_quadrature(quadrature, steps)
    if quadrature == "gauss-legendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)
    offset = {"left": 0.0, "right": 1.0, "midpoint": 0.5}[quadrature]
    return (torch.arange(steps, dtype=torch.float64) + offset) / steps, torch.full((steps,), 1 / steps, dtype=torch.float64)


def images_at_once(target: TargetModel, copies: int) -> int:
    """How many images, each in ``copies`` copies, one chunk holds; at least one."""
    width = target.model.embed_dim
    tokens = target.model.patch_embed.num_patches + target.model.num_prefix_tokens
    numbers = target.n_blocks * tokens * (12 * width + 3 * target.n_neurons)
    return max(1, CHUNK_NUMBERS // (numbers * copies))


def select_neurons(activations: Float[Tensor, "batch token neuron"], ranked: Int64[Tensor, "batch rank"]) -> Float[Tensor, "batch token rank"]:
    """The activations of one block's chosen neurons."""
    return activations.gather(2, ranked[:, None].expand(-1, activations.shape[1], -1))


@contextmanager
def forward_mode() -> Iterator[None]:
    """Inside, ``forward_ad`` dual tensors carry a derivative along through a whole block."""
    # fused attention kernels have no forward derivative; the plain one has, through its parts
    with warnings.catch_warnings(), forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"torch\.jit")  # torch's own, on first use
        yield


def top_neurons(scores: Float[Tensor, "*batch neuron"], top: int) -> Int64[Tensor, "*batch rank"]:
    """The ``top`` largest, best first; of equal ones the smaller index, on every device."""
    return scores.argsort(dim=-1, descending=True, stable=True)[..., :top]


def _clean(target: TargetModel, images: Tensor) -> list[Tensor]:
    with torch.no_grad(), reading(target) as store:
        target(images)
    return [store[block] for block in range(target.n_blocks)]


def joint_attribution_score(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    neurons: Int64[Tensor, "batch layer"],
    quadrature: Quadrature = "left",
    steps: int = 20,
) -> Float[Tensor, "batch"]:
    r"""Joint Attribution Score of each image's path (Definition 1, Eqs. 1-3).

    .. math::

        \mathrm{JAS}(P) = \Big(\sum_l \bar w^l_{p_l}\Big) \int_0^1 \sum_l
        \frac{\partial F_x(\alpha)}{\partial w^l_{p_l}}\, d\alpha

    with every block's scope activations clamped to their clean values :math:`\bar w`, the path's own to
    :math:`\alpha\bar w`, everything else running natively; :math:`F_x` is the softmax probability of the label.  It is a
    product of two sums, so it is not bounded by F.  For scope ``"patch"`` the product is taken per patch token and
    averaged over them.

    Args:
        target: the model.
        images, labels: a batch; classes may mix.
        neurons: int64 ``(batch, layer)``, or ``(batch, layer, rank)`` for several neurons a block, all on the path.
        quadrature, steps: rule and number of nodes; the published code uses ``"left"`` and 20.

    Returns:
        ``(batch,)`` in the model's dtype and on its device.

    Raises:
        ValueError: images, labels, neurons, rule or steps that do not fit.
    """
    target.check_batch(images, labels)
    images = images.detach()
    ranked = target.check_neurons(neurons, len(images))
    alphas, weights = (value.to(device=images.device, dtype=images.dtype) for value in quadrature_rule(quadrature, steps))
    parts = []
    with activation_gradients(target):
        for chosen in torch.arange(len(images), device=images.device).split(images_at_once(target, steps)):
            parts.append(_joint_score(target, images[chosen], labels[chosen], ranked[chosen], alphas, weights))
    return torch.cat(parts)


def _joint_score(target, images, labels, ranked, alphas, weights):
    clean, steps = _clean(target, images), len(alphas)
    batch, tokens = len(images), clean[0].shape[1]
    shift = torch.zeros(batch, steps, tokens, 1, dtype=images.dtype, device=images.device, requires_grad=True)
    held, total = {}, torch.zeros(batch, tokens, dtype=images.dtype, device=images.device)
    for block, value in enumerate(clean):
        own = select_neurons(value, ranked[:, block])
        total = total + own.sum(-1)
        # one leaf moves every neuron of the path, so its gradient is the sum of theirs
        moved = alphas[:, None, None] * own[:, None] + shift
        index = ranked[:, block, None, None].expand(-1, steps, tokens, -1)
        held[block] = value[:, None].expand(-1, steps, -1, -1).scatter(3, index, moved).flatten(0, 1)
    with clamped(target, held):
        logits = target(images.repeat_interleave(steps, 0))
        probability = logits.softmax(-1).gather(1, labels.repeat_interleave(steps)[:, None])
        gradient, = torch.autograd.grad(probability.sum(), shift)
    return (total * (gradient[..., 0] * weights[:, None]).sum(1)).mean(1)


def complete_attribution(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    neurons: Int64[Tensor, "batch layer"],
) -> Float[Tensor, "batch"]:
    r"""The joint attribution without cross terms, exactly, from two forward passes.

    .. math::

        \sum_l \bar w^l_{p_l} \int_0^1 \frac{\partial F_x(\alpha)}{\partial w^l_{p_l}}\, d\alpha
        = F_x(\text{clean}) - F_x(\text{path zeroed, all other scope neurons clamped clean})

    by the fundamental theorem of calculus.  Unlike JAS it lies between -1 and 1.

    Args, returns and errors are those of :func:`joint_attribution_score`.
    """
    target.check_batch(images, labels)
    images = images.detach()
    ranked = target.check_neurons(neurons, len(images))
    parts = []
    with torch.no_grad():
        for chosen in torch.arange(len(images), device=images.device).split(images_at_once(target, 1)):
            picture, label = images[chosen], labels[chosen]
            with reading(target) as store:
                before = target(picture)
            held = {block: store[block].scatter(2, ranked[chosen, block, None].expand(-1, store[block].shape[1], -1), 0.0)
                    for block in range(target.n_blocks)}
            with clamped(target, held):
                after = target(picture)
            parts.append((before.softmax(-1) - after.softmax(-1)).gather(1, label[:, None])[:, 0])
    return torch.cat(parts)


def knowledge_attribution(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    quadrature: Quadrature = "right",
    steps: int = 20,
    scaling: Literal["block", "neuron"] = "block",
) -> Float[Tensor, "batch layer neuron"]:
    r"""Integrated gradients of single neurons (Appendix B, Eqs. 5-6; Dai et al., 2022).

    .. math::

        \mathrm{Attr}(w^l_i) = \bar w^l_i \int_0^1 \frac{\partial F_x(\alpha)}{\partial w^l_i}\, d\alpha

    Args:
        target: the model.
        images, labels: a batch; classes may mix.
        quadrature, steps: rule and number of nodes; Eq. 6 is ``"right"`` with 20.
        scaling: ``"block"`` scales all neurons of the block together, which is usual practice and costs one backward a
            block and node; ``"neuron"`` scales each alone, as Eq. 5 is written, and costs n of them.

    Returns:
        ``(batch, layer, neuron)``; for scope ``"patch"`` summed over the patch tokens.

    Raises:
        ValueError: images, labels, rule, steps or scaling that do not fit.
    """
    target.check_batch(images, labels)
    images = images.detach()
    if scaling not in ("block", "neuron"):
        raise ValueError(f"unknown scaling {scaling!r}; accepted: block, neuron")
    alphas, weights = (value.to(device=images.device, dtype=images.dtype) for value in quadrature_rule(quadrature, steps))
    parts = []
    with activation_gradients(target):
        for chosen in torch.arange(len(images), device=images.device).split(images_at_once(target, steps)):
            parts.append(_knowledge(target, images[chosen], labels[chosen], alphas, weights, scaling))
    return torch.cat(parts)


def stream_gradient(
    target: TargetModel, stream: Float[Tensor, "copy token embed"], labels: Int64[Tensor, "copy"], block: int
) -> Float[Tensor, "copy token embed"]:
    """Gradient of each copy's label probability with respect to its residual stream before ``block``."""
    stream = stream.detach().requires_grad_()
    probability = target.probability(target.run(stream, block, target.n_blocks), labels)
    return torch.autograd.grad(probability.sum(), stream)[0]


def _knowledge(target, images, labels, alphas, weights, scaling):
    clean, steps, batch = _clean(target, images), len(alphas), len(images)
    with torch.no_grad():
        stream = target.embed(images)
    copied, attributions = labels.repeat_interleave(steps), []
    for block, value in enumerate(clean):
        with torch.no_grad():
            stream = target.run(stream, block, block + 1)
        vectors = target.value_vectors(block)

        def integrated(written, stream=stream, block=block, vectors=vectors):
            """Gradients at the scope's neurons, integrated over α, when ``written`` (batch, token, embed) is scaled away."""
            copies = stream.repeat_interleave(steps, 0).unflatten(0, (batch, steps))
            copies[:, :, target.tokens] += (alphas - 1)[:, None, None] * written[:, None]
            gradient = stream_gradient(target, copies.flatten(0, 1), copied, block + 1)[:, target.tokens]
            return (gradient.unflatten(0, (batch, steps)) * weights[:, None, None]).sum(1) @ vectors.T

        if scaling == "block":
            slope = integrated(value @ vectors)
        else:
            slope = torch.stack([integrated(value[..., [i]] * vectors[i])[..., i] for i in range(target.n_neurons)], -1)
        attributions.append((value * slope).sum(1))
    return torch.stack(attributions, 1)
