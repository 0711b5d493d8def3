"""Models that keep their values and are affine to derivatives: of which modules the linear form is
known, and the forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

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

from neuronpath_core.fast.plain import FORWARDS
from neuronpath_core.model_state import replaced_methods
from neuronpath_core.models.zero_shot import ZeroShotHead

Gates = Literal["half", "held"]
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
