r"""Attribution patching with GradDrop: first-order effects of neurons, kept from cancelling.

Attribution patching itself, :math:`(\bar w - b)\,\partial F/\partial w` (Nanda, 2023; Syed et
al., 2023), is :func:`~neuronpath_core.baselines.gradient_activation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.forward import CleanPass, check_baseline, of_images, stream_gradient
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.methods import Method, register
from neuronpath_core.support.memory import copies_at_once, images_at_once, in_chunks
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def graddrop(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    signed: bool = False,
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
) -> Float[Tensor, "batch layer neuron"]:
    r"""Attribution patching with GradDrop (Kramár et al., 2024, AtP*, Sec. 3).

    What a neuron does directly and what it does through a later block may cancel to first order and
    not in truth. So every block j in turn is left out of the way back, as if what it adds to the
    residual stream, :math:`x_{j+1} = x_j + \mathrm{sg}(x_{j+1} - x_j)`, did not depend on what
    entered it:

    .. math::

        \frac{L}{L-1} \cdot \frac1L \sum_{j=1}^{L} \Big|
        (\bar w^l_i - b^l_i)\, \Big(\frac{\partial F_x}{\partial w^l_i}\Big)_{\text{without } j}
        \Big|

    at the clean image, the term of the neuron's own block being zero, hence the factor. For scope
    ``"patch"`` the term is summed over the patch tokens before its size is taken. It is a size: it
    does not tell a neuron that supports the label from one that opposes it.

    Args:
        target: the model, of at least two layers. Of a
            :class:`~neuronpath_core.variants.sites.SiteModel` a layer is left out, with what runs
            before it.
        images, labels: a batch; classes may mix.
        signed: give the size the sign of the sum of its terms, which is positive where the neuron
            supports the label. This is not part of the source.
        baseline: b, ``(image or 1, layer, token or 1, neuron)`` of the scope's tokens, in the
            model's dtype and on its device; ``None`` for zero.

    Returns:
        ``(batch, layer, neuron)`` on the model's device and in its dtype, at least 0 unless
        ``signed``; smaller layers end in zeros. One way back through the model for every block:
        :math:`\tfrac12 L(L-1)` blocks, each there and back, for all neurons together.

    Raises:
        ValueError: images, labels or a baseline that do not fit, a model of one layer, or one that
            is not its blocks put together.
    """
    check_target(target)
    target.check_batch(images, labels)
    baseline = check_baseline(target, baseline, len(images))
    if target.n_blocks < 2:
        raise ValueError("GradDrop leaves out one block after another, which in a model of one "
                         "layer leaves nothing; accepted: a model of at least two")
    images = images.detach()
    with activation_gradients(target):
        # as many ways back as there are layers go through the second block together
        parts = in_chunks(target, len(images), lambda: images_at_once(target, target.n_blocks - 1),
                          lambda chosen: _chunk(target, images[chosen], labels[chosen],
                                                of_images(baseline, chosen), signed),
                          side_by_side=True)
    return torch.cat(parts)


def _chunk(target, images, labels, baseline, signed):
    clean, last = CleanPass.of(target, images, baseline), target.n_blocks - 1
    # (way back, batch, token, embed): the first leaves out nothing, each other one block
    ways = stream_gradient(target, clean.streams[-1], labels, last + 1)[None]
    sizes = []
    for block in range(last, -1, -1):
        slopes = ways[:, :, target.tokens] @ target.value_vectors(block).T
        terms = target.layers[block].by_unit(clean.heights[block] * slopes).sum(2)
        # the blocks before this one change nothing of its way back
        share = torch.ones(len(ways), 1, 1, dtype=terms.dtype, device=terms.device)
        share[0] = block
        size = (share * terms.abs()).sum(0) / last
        sizes.append(size * (share * terms).sum(0).sign() if signed else size)
        if block > 0:
            ways = torch.cat([_back(target, clean.streams[block], ways, labels, block), ways[:1]])
    return target.stacked(sizes[::-1])


def _back(target, stream, ways, labels, block):
    """The ways back through one block."""
    if block == target.n_blocks - 1:  # one way, and of the last block perhaps one token alone
        return stream_gradient(target, stream, labels, block)[None]
    found = []
    copies = stream.expand(len(ways), *stream.shape).flatten(0, 1)
    size = copies_at_once(target)
    for piece, gradient in zip(copies.split(size), ways.flatten(0, 1).split(size), strict=True):
        piece = piece.detach().requires_grad_()
        found.append(torch.autograd.grad(target.run(piece, block, block + 1), piece, gradient)[0])
    return torch.cat(found).unflatten(0, ways.shape[:2])


def _graddrop(target, images, labels, _settings, baseline=None):
    return graddrop(target, images, labels, baseline=baseline)


def graddrop_passes(target: TargetModel, _settings: object = None) -> dict[str, float]:
    """Passes of one block that :func:`graddrop` takes for one image, by kind."""
    blocks, alone = target.n_blocks, target.classifies_alone
    found = {"forward": blocks, "gradient": blocks * (blocks - 1) // 2 - alone,
             "last_gradient": int(alone)}
    return {kind: count for kind, count in found.items() if count}


register(Method("atp_graddrop", "AtP with GradDrop", rank=_graddrop, passes=graddrop_passes,
                with_baseline=True))
