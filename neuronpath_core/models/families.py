"""Which timm networks are a stack of pre-norm blocks of FFN neurons, and what differs between their
families; the others are refused by name.

Accepted are timm's ``VisionTransformer`` (with ``VisionTransformerDistilled``) and ``Eva``, which
also builds DINOv3, EVA-02, RoPE-ViT and the Perception Encoder: with class token or without,
registers, a distillation token, LayerScale, QK-norm, rotary positions, gated FFNs, pre-norm before
the blocks, any image size that the network itself takes, and every pooling that ends in one row of
logits an image.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from timm.layers import GatedMlp, GlobalResponseNormMlp, GluMlp, Mlp, PatchEmbed, SwiGLU
from timm.models.deit import VisionTransformerDistilled
from timm.models.eva import Eva, EvaBlock
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from neuronpath_core.models.zero_shot import ZeroShotHead

if TYPE_CHECKING:
    from jaxtyping import Float

FAMILIES = {VisionTransformer: Block, Eva: EvaBlock}
# what enters fc2 is a vector of neurons for each token, and what leaves it goes to the residual
# stream
FFNS = (Mlp, GluMlp, SwiGLU, GatedMlp, GlobalResponseNormMlp)
POOLED_SCOPES = {"token": "cls", "avg": "patch", "map": "patch", "max": "patch", "avgmax": "patch"}


def family(model: nn.Module) -> type | None:
    """``VisionTransformer``, ``Eva``, or ``None`` for a network of another kind."""
    return next((each for each in FAMILIES if isinstance(model, each)), None)


def check_supported(model: nn.Module) -> None:
    """Raise ``ValueError``, in a line that names the part and what is accepted, unless the model is
    of a supported kind; looks at no weight."""
    kind = family(model)
    if kind is None:
        raise ValueError(f"a model of pre-norm blocks is needed, got {type(model).__name__}; "
                         f"accepted: timm's VisionTransformer, "
                         "VisionTransformerDistilled and Eva")
    for name in ("forward", "forward_features"):
        if getattr(type(model), name) is not getattr(kind, name):
            raise ValueError(f"{type(model).__name__} has a {name} of its own; accepted: timm's "
                             f"VisionTransformer, VisionTransformerDistilled and Eva")
    embed = model.patch_embed
    if not isinstance(embed, PatchEmbed) or not isinstance(embed.proj, nn.Conv2d):
        raise ValueError(f"patch embedding {type(embed).__name__} is not supported; accepted: "
                         f"timm's PatchEmbed, pixels to tokens at once")
    if embed.proj.kernel_size != embed.proj.stride:
        raise ValueError(f"patches of {embed.proj.kernel_size} at steps of {embed.proj.stride} "
                         f"overlap; accepted: patches side by side")
    if model.global_pool == "":
        raise ValueError("global_pool='' gives logits per token; accepted: a model that pools, "
                         "such as 'token' or 'avg'")
    for index, block in enumerate(model.blocks):
        _check_block(index, block, FAMILIES[kind])
    if len(widths := sorted({block.mlp.fc2.in_features for block in model.blocks})) != 1:
        raise ValueError(f"blocks have {', '.join(map(str, widths))} FFN neurons; accepted: the "
                         f"same number of FFN neurons in all blocks")
    if class_count(model) is None:
        raise ValueError("the model has no classification head; accepted: a model with "
                         "num_classes >= 1, or one inside neuronpath_core.zero_shot(...)")


def _check_block(index: int, block: nn.Module, accepted: type) -> None:
    ffn = getattr(block, "mlp", None)
    if not isinstance(block,
                      accepted) or type(block).forward is not accepted.forward or not _is_ffn(ffn):
        raise ValueError(f"block {index} is {type(block).__name__} with FFN {type(ffn).__name__}; "
                         f"accepted: timm's pre-norm {accepted.__name__} "
                         f"whose FFN ends in a linear fc2 "
                         f"({', '.join(each.__name__ for each in FFNS)})")


def _is_ffn(ffn: nn.Module | None) -> bool:
    return isinstance(ffn, FFNS) and type(ffn).forward in [each.forward
                                                           for each in FFNS] and isinstance(
        ffn.fc2, nn.Linear)


def class_count(model: nn.Module) -> int | None:
    """Number of classes of the head, or of both heads of a distilled model; ``None`` without one.
    """
    counts = {head.out_features if isinstance(head, (nn.Linear, ZeroShotHead)) else None
              for head in (model.head,
                           *((model.head_dist,) if isinstance(model, VisionTransformerDistilled)
                             else ()))}
    return counts.pop() if len(counts) == 1 else None


def head_of(model: nn.Module) -> tuple[bool, int | None]:
    """Whether the head classifies by class embeddings, and its number of classes."""
    return isinstance(model.head, ZeroShotHead), class_count(model)


def resolve_scope(model: nn.Module, scope: str) -> str:
    """``"auto"`` as the scope of the tokens that the model pools; ``"cls"`` and ``"patch"`` as they
    are.

    Raises:
        ValueError: unknown scope, a class token that is not there, or a pooling for which
            ``"auto"`` would be a guess.
    """
    if scope == "auto":
        scope = POOLED_SCOPES.get(model.global_pool, "")
        if not scope:
            raise ValueError(f"scope 'auto' does not know global_pool={model.global_pool!r}; "
                             f"accepted for it: scope='cls', scope='patch'")
    if scope not in ("cls", "patch"):
        raise ValueError(f"unknown scope {scope!r}; accepted: auto, cls, patch")
    if scope == "cls" and model.cls_token is None:
        raise ValueError("scope 'cls' needs a model with a class token; accepted here: patch")
    return scope


def classifies_alone(model: nn.Module) -> bool:
    """Whether the logits are a function of the class token's last stream; not so of a distilled
    model, whose second head reads another token."""
    own, kind = type(model), family(model)
    plain_head = own.forward_head is kind.forward_head and own.pool is kind.pool
    return (plain_head and model.global_pool == "token" and model.attn_pool is None
            and model.cls_token is not None)


def embed(model: nn.Module,
          images: Float[Tensor, "batch channel height width"]) -> Float[Tensor,
                                                                        "batch token embed"]:
    """The residual stream that enters the first block."""
    tokens = model._pos_embed(model.patch_embed(images))
    if isinstance(model, Eva):
        return model.norm_pre(tokens[0])
    return model.norm_pre(model.patch_drop(tokens))


def run_block(model: nn.Module, index: int,
              stream: Float[Tensor, "copy token embed"]) -> Float[Tensor, "copy token embed"]:
    """A block by its own module, with the rotary positions that it needs besides the stream."""
    if not isinstance(model, Eva):
        return model.blocks[index](stream)
    return model.blocks[index](stream, rope=rotary(model, index, stream.shape[1]))


def rotary(model: Eva, index: int, tokens: int) -> Tensor | None:
    """Rotary positions of a block, as timm makes them along with the tokens."""
    if model.rope is None:
        return None
    patches, weight = tokens - model.num_prefix_tokens, model.patch_embed.proj.weight
    shape = patch_grid(model, patches) if model.dynamic_img_size else (patches,)
    with torch.no_grad():
        rotary = model._pos_embed(weight.new_zeros(1, *shape, model.embed_dim))[1]
    return rotary[index] if model.rope_mixed else rotary


def patch_grid(model: nn.Module, patches: int) -> tuple[int, int]:
    """Rows and columns of so many patches: the model's own grid if it has as many, else a square.
    """
    own = model.patch_embed.grid_size
    return tuple(own) if own and math.prod(own) == patches else (math.isqrt(patches),) * 2


def image_sizes(model: nn.Module, size: tuple[int, int]) -> tuple[bool, str]:
    """Whether the model takes images of this height and width, and in words which it takes."""
    patches = model.patch_embed
    if patches.strict_img_size and patches.img_size:
        return size == tuple(patches.img_size), f"{patches.img_size[0]}, {patches.img_size[1]})"
    steps = (1, 1) if patches.dynamic_img_pad else patches.patch_size
    words = f"height, width), multiples of {steps[0]} and {steps[1]}"
    fits = all(0 < side and side % step == 0 for side, step in zip(size, steps, strict=True))
    if getattr(model, "rope", None) is None:
        return fits, words
    # the blocks see the stream alone: their rotary positions follow from the number of its tokens
    grid = patches.dynamic_feat_size(size)
    return fits and patch_grid(model,
                               math.prod(grid)) == tuple(grid), f"{words}, a square grid of patches"


def token_count(model: nn.Module, size: tuple[int, int] | None = None) -> int:
    """Tokens of an image of this height and width, of the model's own size unless given."""
    patches = model.patch_embed
    return model.num_prefix_tokens + (math.prod(patches.dynamic_feat_size(size)) if size
                                      else patches.num_patches or 0)


def ffn_scale(block: nn.Module) -> Tensor | None:
    """LayerScale of the FFN, ``(embed,)``."""
    return block.gamma_2 if isinstance(block, EvaBlock) else getattr(block.ls2, "gamma", None)


def ffn_width(block: nn.Module) -> int:
    """Numbers per neuron and token that autograd keeps of an FFN."""
    gated = 2 if isinstance(block.mlp, (GluMlp, SwiGLU, GatedMlp)) else 0
    return 3 + gated + (0 if isinstance(getattr(block.mlp, "norm", nn.Identity()), nn.Identity)
                        else 1)
