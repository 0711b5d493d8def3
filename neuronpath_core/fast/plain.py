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

from neuronpath_core.model_state import has_ordinary_weights, is_touched

ELEMENTWISE = (nn.GELU, nn.ReLU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.ELU, GELU, GELUTanh,
               QuickGELU)
NORMS = (nn.LayerNorm, LayerNorm)  # not those that compute in another precision
# and the linear layers that they begin with
FFNS = {Mlp: ("fc1",), GluMlp: ("fc1",), SwiGLU: ("fc1_g", "fc1_x")}


# as they are when this is imported; somebody may replace them later
FORWARDS = {kind: kind.forward for kind in
            (Block, Attention, *FFNS, *ELEMENTWISE, *NORMS, LayerScale, nn.Linear, nn.Identity,
             nn.Dropout, DropPath)}


def attention_heads(attention: Attention) -> tuple[int, int, float]:
    """Number of heads, width of all queries together, and what multiplies the products of queries
    and keys: torch's fused attention takes it from the width of a head, whatever the module says.
    """
    scale = attention.head_dim ** -0.5 if attention.fused_attn else attention.scale
    return attention.num_heads, attention.num_heads * attention.head_dim, scale


def is_plain(block: nn.Module) -> bool:
    """Whether :class:`~neuronpath_core.fast.blocks.PlainBlock` computes what this module does:
    timm's own parts, in eval mode, none of them hooked or replaced."""
    attention, ffn = getattr(block, "attn", None), getattr(block, "mlp", None)
    if type(block) is not Block or type(attention) is not Attention or type(ffn) not in FFNS:
        return False
    linear = [attention.qkv, attention.proj, ffn.fc2,
              *(getattr(ffn, name) for name in FFNS[type(ffn)])]
    if any(FORWARDS[type(part)] is not type(part).forward for part in block.modules()
           if type(part) in FORWARDS):
        return False
    return (
        getattr(attention, "gate", None) is None
        and attention.qkv.out_features == 3 * attention_heads(attention)[1]
        and type(getattr(attention, "norm", nn.Identity())) is nn.Identity
        and all(type(part) in NORMS for part in (block.norm1, block.norm2))
        and all(type(part) in (*NORMS, nn.Identity)
                for part in (attention.q_norm, attention.k_norm, ffn.norm))
        and all(type(part) in (nn.Identity, LayerScale) for part in (block.ls1, block.ls2))
        and all(type(part) in (nn.Identity, nn.Dropout, DropPath)
                for part in (block.drop_path1, block.drop_path2, attention.attn_drop,
                             attention.proj_drop, ffn.drop1, ffn.drop2))
        and type(ffn.act) in ELEMENTWISE and all(type(part) is nn.Linear for part in linear)
        and all(map(has_ordinary_weights, block.modules()))
        and not is_touched(block.modules())
    )
