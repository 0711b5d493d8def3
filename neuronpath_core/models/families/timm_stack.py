"""What timm's networks of pre-norm blocks have in common, whatever their family.

Accepted are class token or none, registers, LayerScale, QK-norm, gated FFNs, a norm before the
blocks, any image size that the network itself takes, and every pooling that ends in one row of
logits an image.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from timm.layers import GatedMlp, GlobalResponseNormMlp, GluMlp, Mlp, PatchEmbed, SwiGLU
from torch import Tensor, nn

from neuronpath_core.families import Family, accepted, stands_for_linear
from neuronpath_core.models.zero_shot import ZeroShotHead

if TYPE_CHECKING:
    from jaxtyping import Float

# what enters fc2 is a vector of neurons for each token, and what leaves it goes to the residual
# stream
FFNS = (Mlp, GluMlp, SwiGLU, GatedMlp, GlobalResponseNormMlp)
GATED = (GluMlp, SwiGLU, GatedMlp)
# what timm calls image towers, whose head is a projection
TOWERS = ("clip", "pe_core")
# what ends a head that gives probabilities; a softmax of nn.LogSoftmax is the softmax itself
SQUASHING = (nn.Softmax, nn.Softmax2d, nn.Softmin, nn.Sigmoid, nn.Hardsigmoid, nn.LogSigmoid)
POOLED_SCOPES = {"token": "cls", "avg": "patch", "map": "patch", "max": "patch", "avgmax": "patch"}


class TimmStack(Family):
    """Questions that one timm network of pre-norm blocks answers as any other.

    Attributes:
        block: timm's class of the blocks.
    """

    block: type[nn.Module]

    def check(self, model: nn.Module) -> None:
        for name in ("forward", "forward_features"):
            if getattr(type(model), name) is not getattr(self.kind, name):
                raise ValueError(f"{type(model).__name__} has a {name} of its own; accepted: "
                                 f"{accepted()}")
        _check_ends(model)
        if not isinstance(model.blocks, Iterable):
            raise ValueError(f"model.blocks is {type(model.blocks).__name__}, of which no block "
                             "can be looked at; accepted: a container of blocks, such as "
                             "nn.Sequential")
        for index, block in enumerate(model.blocks):
            self._check_block(index, block)
        if len(widths := sorted({block.mlp.fc2.in_features for block in model.blocks})) != 1:
            raise ValueError(f"blocks have {', '.join(map(str, widths))} FFN neurons; accepted: "
                             f"the same number of FFN neurons in all blocks")
        if all(isinstance(head, nn.Identity) for head in self.heads(model)):
            raise ValueError("the model has no classification head; accepted: a model with "
                             "num_classes >= 1, or one inside neuronpath_core.zero_shot(...)")
        if squashed := next(filter(None, map(_squashed_by, self.heads(model))), None):
            raise ValueError(f"the head ends in {squashed}, of whose output the library would take "
                             "a softmax again; accepted: a head that gives logits, as this one "
                             "without its last module")
        if self.class_count(model) is None:
            kinds = ", ".join(type(head).__name__ for head in self.heads(model))
            raise ValueError(f"the head ({kinds}) gives no row of logits an image; accepted: a "
                             "head whose output is (batch, classes)")
        _warn_of_projection(model)

    def _check_block(self, index: int, block: nn.Module) -> None:
        ffn = getattr(block, "mlp", None)
        own = isinstance(block, self.block) and type(block).forward is self.block.forward
        if not own or not _is_ffn(ffn):
            raise ValueError(f"block {index} is {type(block).__name__} with FFN "
                             f"{type(ffn).__name__}; accepted: timm's pre-norm "
                             f"{self.block.__name__} whose FFN ends in a linear fc2 "
                             f"({', '.join(each.__name__ for each in FFNS)})")
        if not stands_for_linear(ffn.fc2):
            raise ValueError(f"fc2 of block {index} is {type(ffn.fc2).__name__}; accepted: a "
                             "linear layer, or a module in its place that has whole numbers "
                             "in_features and out_features")

    def run_block(self, model: nn.Module, index: int,
                  stream: Float[Tensor, "copy token embed"]) -> Float[Tensor, "copy token embed"]:
        return model.blocks[index](stream)

    def logits(self, model: nn.Module,
               stream: Float[Tensor, "batch token embed"]) -> Float[Tensor, "batch class"]:
        return model.forward_head(model.norm(stream))

    def class_count(self, model: nn.Module) -> int | None:
        heads = self.heads(model)
        if all(isinstance(head, (nn.Linear, ZeroShotHead)) for head in heads):
            counts = {head.out_features for head in heads}
            return counts.pop() if len(counts) == 1 else None
        if any(isinstance(head, nn.Identity) for head in heads):
            return None
        return self._counted(model)

    @torch.no_grad()
    def _counted(self, model: nn.Module) -> int | None:
        """Count the logits that a head of another kind gives, by running it."""
        try:
            weight = self.first_weight(model)
            stream = torch.zeros(2, self.prefix_tokens(model) + 1, model.embed_dim,
                                 dtype=weight.dtype, device=weight.device)
            logits = self.logits(model, stream)
        except (RuntimeError, TypeError, ValueError, AttributeError):
            return None
        return logits.shape[1] if isinstance(logits, Tensor) and logits.ndim == 2 else None

    def heads(self, model: nn.Module) -> list[nn.Module]:
        """Return the modules that classify."""
        return [model.head]

    def head_of(self, model: nn.Module) -> tuple:
        pooling = getattr(model, "global_pool", None)
        ends = tuple(map(_squashed_by, self.heads(model)))
        return isinstance(model.head, ZeroShotHead), self.class_count(model), pooling, ends

    def first_weight(self, model: nn.Module) -> Float[Tensor, "embed channel height width"]:
        return model.patch_embed.proj.weight

    def pooled_scope(self, model: nn.Module) -> str:
        if model.global_pool not in POOLED_SCOPES:
            raise ValueError(f"scope 'auto' does not know global_pool={model.global_pool!r}; "
                             f"accepted for it: scope='cls', scope='patch'")
        return POOLED_SCOPES[model.global_pool]

    def has_class_token(self, model: nn.Module) -> bool:
        return model.cls_token is not None

    def prefix_tokens(self, model: nn.Module) -> int:
        return model.num_prefix_tokens

    def classifies_alone(self, model: nn.Module) -> bool:
        own = type(model)
        plain_head = (own.forward_head is self.kind.forward_head and own.pool is self.kind.pool
                      and not {"forward_head", "pool"} & vars(model).keys())
        return (plain_head and model.global_pool == "token" and model.attn_pool is None
                and model.cls_token is not None)

    def token_count(self, model: nn.Module, size: tuple[int, int] | None = None) -> int:
        patches = model.patch_embed
        count = math.prod(patches.dynamic_feat_size(size)) if size else patches.num_patches or 0
        return model.num_prefix_tokens + count

    def image_sizes(self, model: nn.Module, size: tuple[int, int]) -> tuple[bool, str]:
        patches = model.patch_embed
        if patches.strict_img_size and patches.img_size:
            height, width = patches.img_size
            return tuple(size) == (height, width), f"{height}, {width})"
        steps = (1, 1) if patches.dynamic_img_pad else patches.patch_size
        fits = all(0 < side and side % step == 0 for side, step in zip(size, steps, strict=True))
        return fits, f"height, width), multiples of {steps[0]} and {steps[1]}"

    def kept_numbers(self, model: nn.Module, tokens: int) -> int:
        block = model.blocks[0]
        normed = not isinstance(getattr(block.mlp, "norm", nn.Identity()), nn.Identity)
        a_neuron = 3 + 2 * isinstance(block.mlp, GATED) + normed
        return (12 * model.embed_dim + a_neuron * block.mlp.fc2.in_features
                + 2 * block.attn.num_heads * tokens)

    def has_halves(self, block: nn.Module) -> bool:
        return isinstance(block, self.block) and type(block).forward is self.block.forward


def _warn_of_projection(model: nn.Module) -> None:
    """Warn if the head is that of an image tower, whose outputs are no classes: of timm's towers
    their names tell, as do those that were fine-tuned to classes."""
    known = getattr(model, "pretrained_cfg", None) or {}
    name, tag = str(known.get("architecture", "")), str(known.get("tag", ""))
    tower = any(word in name for word in TOWERS) and "_ft_" not in f"_{tag}_"
    if (tower and isinstance(model.head, nn.Linear)
            and model.head.out_features == known.get("num_classes")):
        warnings.warn(f"the head of {name} projects into the space that images share with texts; a "
                      f"softmax over its {model.head.out_features} outputs means nothing, nor do "
                      "paths found by it; npc.zero_shot(model, class_embeddings) makes it a "
                      "classifier", UserWarning, stacklevel=4)


def _squashed_by(head: nn.Module) -> str | None:
    """The name of the function by which a head ends that makes probabilities of its logits."""
    while isinstance(head, nn.Sequential) and len(head):
        head = head[-1]
    return type(head).__name__ if isinstance(head, SQUASHING) else None


def _check_ends(model: nn.Module) -> None:
    """Raise ``ValueError`` unless pixels become tokens at once and the head pools the tokens."""
    embed = model.patch_embed
    proj = getattr(embed, "proj", None)
    while hasattr(proj, "base_layer"):  # an adapter of peft's around it
        proj = proj.base_layer
    if not isinstance(embed, PatchEmbed) or not isinstance(proj, nn.Conv2d):
        of = f" of {type(proj).__name__}" if isinstance(embed, PatchEmbed) else ""
        raise ValueError(f"patch embedding {type(embed).__name__}{of} is not supported; accepted: "
                         f"timm's PatchEmbed of one Conv2d, pixels to tokens at once")
    if proj.kernel_size != proj.stride:
        raise ValueError(f"patches of {proj.kernel_size} at steps of {proj.stride} overlap; "
                         f"accepted: patches side by side")
    if model.global_pool == "":
        raise ValueError("global_pool='' gives logits per token; accepted: a model that pools, "
                         "such as 'token' or 'avg'")


def _is_ffn(ffn: nn.Module | None) -> bool:
    own_forward = type(ffn).forward in [each.forward for each in FFNS] if ffn is not None else False
    return own_forward and isinstance(ffn, FFNS)
