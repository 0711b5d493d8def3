"""Relevance patching (RelP): attribution patching by the gradient of a linearised model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from timm.layers import (
    GELU,
    AttentionPoolLatent,
    AttentionRope,
    DropPath,
    GELUTanh,
    GluMlp,
    LayerNorm,
    LayerScale,
    Mlp,
    PatchDropout,
    PatchEmbed,
    QuickGELU,
    RmsNorm,
    RotaryEmbedding,
    RotaryEmbeddingCat,
    RotaryEmbeddingDinoV3,
    RotaryEmbeddingMixed,
    SwiGLU,
)
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva, EvaAttention, EvaBlock
from timm.models.vision_transformer import Attention, Block, VisionTransformer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from neuronpath_core.examined import check_target
from neuronpath_core.fast.plain import FORWARDS
from neuronpath_core.forward import by_layer, check_baseline, of_images
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.hooks import hooked
from neuronpath_core.methods import Method, register
from neuronpath_core.model_state import replaced_methods
from neuronpath_core.models.zero_shot import ZeroShotHead
from neuronpath_core.support.memory import images_at_once, in_chunks
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Gates = Literal["half", "held"]
Of = Literal["probability", "logit"]
OF = ("probability", "logit")

# modules whose forward is made of linear maps and of the functions in RULES
NETWORKS = (VisionTransformer, VisionTransformerDistilled, Eva)
PARTS = (Block, EvaBlock, Attention, AttentionRope, EvaAttention, AttentionPoolLatent, Mlp, GluMlp,
         SwiGLU, LayerNorm, nn.LayerNorm, RmsNorm, nn.RMSNorm, nn.GELU, GELU, GELUTanh, QuickGELU,
         nn.SiLU, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Tanh, nn.Sigmoid, LayerScale, ZeroShotHead,
         PatchEmbed, PatchDropout, RotaryEmbedding, RotaryEmbeddingCat, RotaryEmbeddingDinoV3,
         RotaryEmbeddingMixed, nn.Linear, nn.Conv2d, nn.Identity, nn.Dropout, DropPath,
         nn.ModuleList, nn.Sequential)
# as they are when this is imported; somebody may replace them later
OWN_FORWARDS = {kind: kind.forward for kind in (*NETWORKS, *PARTS)}


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
    makes it curved is held at its clean value while derivatives pass (see :func:`linearised`, gates
    by the half rule). These derivatives are the propagation coefficients of layer-wise relevance
    propagation.

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
    """Height above the baseline times gradient of the :func:`linearised` model; arguments, result
    and errors are those of :func:`relevance_patching`."""
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


def check_linear(model: nn.Module) -> None:
    """Raise ``ValueError`` unless the linear form of every module of a model is known."""
    if type(model) not in NETWORKS:
        raise ValueError(f"no linear form is known of {type(model).__name__}; accepted: timm's "
                         f"{', '.join(kind.__name__ for kind in NETWORKS)}")
    if getattr(model, "grad_checkpointing", False):
        raise ValueError("the model computes its blocks again on the way back, where they would "
                         "not be linear; accepted: model.set_grad_checkpointing(False)")
    for name, part in model.named_modules():
        kind = type(part)
        changed = replaced_methods(part) or kind in OWN_FORWARDS and kind.forward is not (
            FORWARDS.get(kind, OWN_FORWARDS[kind]))
        if kind not in OWN_FORWARDS or changed:
            what = f"{kind.__name__} with a method of its own" if changed else kind.__name__
            raise ValueError(f"no linear form is known of {name or 'the model'} ({what}); "
                             f"accepted: "
                             f"{', '.join(dict.fromkeys(each.__name__ for each in PARTS))}")


@contextmanager
def linearised(gates: Gates = "half") -> Iterator[None]:
    r"""Inside, forward passes of this thread keep their values and are affine to derivatives.

    ==================== =========================================================================
    part                 what derivatives see
    ==================== =========================================================================
    LayerNorm, RMSNorm   :math:`(x - \mathrm{mean}\,x) \cdot s`, the scale
                         :math:`s = (\mathrm{var}\,x + \epsilon)^{-1/2}` held; of RMSNorm and of a
                         zero-shot head's unit length likewise, without the mean
    GELU, SiLU, ReLU, …  :math:`x \cdot r`, the ratio :math:`r = \mathrm{act}(x) / x` held, at
                         x = 0 the derivative
    attention            :math:`A v`, the weights A held, and so queries and keys
    gate                 a product :math:`\mathrm{act}(g) \cdot v` has two ways back; ``"half"``
                         gives each half its derivative, ``"held"`` holds the gate
    sigmoid              held, as it is not zero at zero and so has no ratio: a gate of this kind
                         is a weight, as attention's are
    ==================== =========================================================================

    Matrices, biases, LayerScale, sums and pooling are affine as they are.
    """
    with _Linear(gates):
        yield


class _Linear(TorchFunctionMode):
    """Functions that modules call, each in its linear form."""

    def __init__(self, gates: Gates):
        super().__init__()
        self.gates = gates

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in PRODUCTS:
            return self._product(func, *args, **kwargs)
        rule = RULES.get(func)
        return func(*args, **kwargs) if rule is None else rule(func, *args, **kwargs)

    def _product(self, func, left, right):
        if any(getattr(each, "is_weight", False) for each in (left, right)):
            product = func(left, right)
            product.is_gate = True  # x times its own sigmoid is an activation
            return product
        gates = [each for each in (left, right) if getattr(each, "is_gate", False)]
        if not gates:
            return func(left, right)
        if self.gates == "half":
            product = func(left, right) / 2
            return product + product.detach()
        return func(*(each.detach() if each is gates[0] else each for each in (left, right)))


def _layer_norm(func, value, shape, weight=None, bias=None, eps=1e-5, *_):
    dims = tuple(range(-len(shape), 0))
    centred = value - value.mean(dims, keepdim=True)
    return _affine(centred * _scale(centred, dims, eps), weight, bias)


def _rms_norm(func, value, shape, weight=None, eps=None):
    dims = tuple(range(-len(shape), 0))
    eps = torch.finfo(value.dtype).eps if eps is None else eps
    return _affine(value * _scale(value, dims, eps), weight, None)


def _scale(value, dims, eps):
    return (value.detach().square().mean(dims, keepdim=True) + eps).rsqrt()


def _affine(value, weight, bias):
    value = value if weight is None else value * weight
    return value if bias is None else value + bias


def _normalize(func, value, p=2.0, dim=1, eps=1e-12, out=None):
    return value / value.detach().norm(p, dim, keepdim=True).clamp_min(eps)


def _activation(func, value, *args, **kwargs):
    with torch.no_grad():
        # of copies, as a function may work in place
        found = func(value.detach().clone(), *args, **kwargs)
        ratio = torch.where(value == 0, _at_zero(func, value, args, kwargs), found / value)
    result = value * ratio
    result.is_gate = True
    return result


def _at_zero(func, value, args, kwargs):
    with torch.enable_grad():
        zero = value.new_zeros(1).requires_grad_()
        return torch.autograd.grad(func(zero.clone(), *args, **kwargs), zero)[0]


def _held(func, *args, **kwargs):
    return func(*args, **kwargs).detach()


def _sigmoid(func, *args, **kwargs):
    result = func(*args, **kwargs).detach()
    result.is_weight = True
    return result


def _attention(func, query, key, value, *args, **kwargs):
    return func(query.detach(), key.detach(), value, *args, **kwargs)


PRODUCTS = {torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__}
RULES: dict[Callable, Callable] = {
    F.layer_norm: _layer_norm, torch.layer_norm: _layer_norm,
    F.rms_norm: _rms_norm, torch.rms_norm: _rms_norm,
    F.normalize: _normalize,
    F.scaled_dot_product_attention: _attention,
    **dict.fromkeys((torch.softmax, Tensor.softmax, F.softmax), _held),
    **dict.fromkeys((torch.sigmoid, Tensor.sigmoid, F.sigmoid), _sigmoid),
    **dict.fromkeys((F.gelu, F.silu, F.relu, torch.relu, F.leaky_relu, F.elu, torch.tanh,
                     Tensor.tanh, F.tanh), _activation),
}


def _relp(target, images, labels, _settings, baseline=None):
    return relevance_patching(target, images, labels, baseline=baseline)


def linear_passes(target: TargetModel, _settings: object = None) -> dict[str, float]:
    """Passes of one block that a :func:`linear_attribution` takes for one image, by kind."""
    return {"gradient": target.n_blocks}


register(Method("relp", "RelP", rank=_relp, passes=linear_passes, with_baseline=True))
