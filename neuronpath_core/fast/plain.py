"""Which blocks are of the kind that is written out as functions."""

from __future__ import annotations

from timm.layers import (
    GELU,
    DropPath,
    GELUTanh,
    GluMlp,
    LayerNorm,
    LayerScale,
    Mlp,
    QuickGELU,
    SwiGLU,
)
from timm.models.vision_transformer import Attention, Block
from torch import nn

from neuronpath_core.hooks import is_touched

ELEMENTWISE = (nn.GELU, nn.ReLU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.ELU, GELU, GELUTanh,
               QuickGELU)
NORMS = (nn.LayerNorm, LayerNorm)  # not those that compute in another precision
# and the linear layers that they begin with
FFNS = {Mlp: ("fc1",), GluMlp: ("fc1",), SwiGLU: ("fc1_g", "fc1_x")}


def is_plain(block: nn.Module) -> bool:
    """Whether :class:`~neuronpath_core.fast.blocks.PlainBlock` computes what this module does:
    timm's own parts, in eval mode, none of them hooked or replaced."""
    attention, ffn = getattr(block, "attn", None), getattr(block, "mlp", None)
    if type(block) is not Block or type(attention) is not Attention or type(ffn) not in FFNS:
        return False
    linear = [attention.qkv, attention.proj, ffn.fc2,
              *(getattr(ffn, name) for name in FFNS[type(ffn)])]
    return (
        getattr(attention, "gate", None) is None
        and type(getattr(attention, "norm", nn.Identity())) is nn.Identity
        and all(type(part) in NORMS for part in (block.norm1, block.norm2))
        and all(type(part) in (*NORMS, nn.Identity)
                for part in (attention.q_norm, attention.k_norm, ffn.norm))
        and all(type(part) in (nn.Identity, LayerScale) for part in (block.ls1, block.ls2))
        and all(type(part) in (nn.Identity, nn.Dropout, DropPath)
                for part in (block.drop_path1, block.drop_path2, attention.attn_drop,
                             attention.proj_drop, ffn.drop1, ffn.drop2))
        and isinstance(ffn.act, ELEMENTWISE) and all(type(part) is nn.Linear for part in linear)
        and not is_touched(block.modules())
    )
