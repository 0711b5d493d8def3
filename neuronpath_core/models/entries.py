"""What the entry of a model in a profile may hold, and of which type; loads neither torch nor timm
unless a key is unknown."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from neuronpath_core.support.typed import (
    MOST_SEED,
    Entry,
    Name,
    Text,
    Truth,
    number,
    one_of,
    said,
    text_like,
    unfit,
    whole,
)

CROPS = ("center", "squash", "border")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
MOST_PIXELS = 8192  # of a side
Side = whole(1, MOST_PIXELS)
Size = Annotated[Side | Annotated[list[Side], Field(min_length=2, max_length=2)],
                 said(f"a whole number of at least 1, up to {MOST_PIXELS}, or height and width")]
Channels = Annotated[list[number(-1e6, 1e6)], Field(min_length=1, max_length=3),
                     said("a list of 1 or 3 finite numbers")]
Spreads = Annotated[list[number(0, 1e6, above=True)], Field(min_length=1, max_length=3),
                    said("a list of 1 or 3 finite numbers above 0")]
Share = number(0, 1)


class Preprocessing(Entry):
    """What overrides a model's own preprocessing of pictures."""

    input_size: Annotated[list[Side], Field(min_length=3, max_length=3),
                          said("channels, height and width")] = None
    interpolation: one_of(*INTERPOLATIONS) = None
    mean: Channels = None
    std: Spreads = None
    crop_pct: number(0, 1, above=True) = None
    crop_mode: one_of(*CROPS) = None


class _Network(Entry):
    img_size: Size = None
    patch_size: Size = None
    in_chans: whole(1, 64) = None
    num_classes: whole(1, 10**6) = None
    embed_dim: whole(1, 65536) = None
    depth: whole(1, 1000) = None
    num_heads: whole(1, 4096) = None
    mlp_ratio: number(0, 64, above=True) = None
    global_pool: Text = None


class Architecture(_Network):
    """Arguments of timm's ``VisionTransformer``."""

    qkv_bias: Truth = None
    qk_norm: Truth = None
    scale_attn_norm: Truth = None
    scale_mlp_norm: Truth = None
    proj_bias: Truth = None
    init_values: number(0, 1e6) | None = None
    class_token: Truth = None
    pos_embed: Text = None
    no_embed_class: Truth = None
    reg_tokens: whole(0, 1000) = None
    pre_norm: Truth = None
    final_norm: Truth = None
    fc_norm: Truth | None = None
    pool_include_prefix: Truth = None
    dynamic_img_size: Truth = None
    dynamic_img_pad: Truth = None
    drop_rate: Share = None
    pos_drop_rate: Share = None
    patch_drop_rate: Share = None
    proj_drop_rate: Share = None
    attn_drop_rate: Share = None
    drop_path_rate: Share = None
    weight_init: Text = None
    fix_init: Truth = None
    norm_layer: Text | None = None
    act_layer: Text | None = None
    embed_norm_layer: Text | None = None

    @classmethod
    def others(cls) -> set[str]:
        """Arguments that the installed timm has beside these."""
        import inspect

        from timm.models.vision_transformer import VisionTransformer

        return set(inspect.signature(VisionTransformer).parameters) - {"device", "dtype"}

    @model_validator(mode="after")
    def _check_sizes(self) -> Architecture:
        width, heads = self.embed_dim or 768, self.num_heads or 12
        if width % heads:
            raise unfit(("num_heads",), f"cannot be {heads} with embed_dim {width}; accepted: a "
                                        f"number that divides it")
        sides, patches = _pair(self.img_size or 224), _pair(self.patch_size or 16)
        if not self.dynamic_img_pad and any(side % patch for side, patch
                                            in zip(sides, patches, strict=True)):
            raise unfit(("patch_size",), f"cannot be {self.patch_size or 16} with img_size "
                                         f"{self.img_size or 224}; accepted: a number that divides "
                                         f"it")
        return self


class Arguments(_Network):
    """Arguments of ``timm.create_model``, which itself refuses what a family does not have."""

    FREE: ClassVar[bool] = True


class Training(Entry):
    """How the weights are trained, for whoever trains them."""

    seed: whole(0, MOST_SEED) = None
    epochs: whole(1, 10**6) = None
    pretrain_epochs: whole(0, 10**6) = None
    batch: whole(1, 10**6) = None
    rate: number(0, 1e3, above=True) = None
    muon: number(0, 1e3) | None = None
    mirror: Truth = None
    checkpoint: whole(0, 10**6) = None


class ModelEntry(Entry):
    """A model: what it is made of, where its weights are, what tells them, how it is looked at."""

    architecture: Architecture = None
    timm: Name = None
    arguments: Arguments | None = None
    weights: Name = None
    pretrained: Truth = None
    format: one_of("timm", "mae") = None
    wrapper: Name | None = None
    url: Text | None = None
    unencrypted: Truth | None = None
    sha256: text_like("[0-9a-fA-F]{64}", "64 hexadecimal digits, in quotes") = None
    sha256_prefix: text_like("[0-9a-fA-F]{6,64}", "6 to 64 hexadecimal digits, in quotes") = None
    md5_prefix: text_like("[0-9a-fA-F]{4,32}", "4 to 32 hexadecimal digits, in quotes") = None
    bytes: whole(1, 10**13) = None
    data_config: Preprocessing | None = None
    training: Training = None
    stands_for: Name = None
    scope: one_of("auto", "cls", "patch") = None
    sites: Name = None

    @model_validator(mode="after")
    def _check_source(self) -> ModelEntry:
        if (self.architecture is None) == (self.timm is None):
            raise unfit((), "names no model, or two; accepted: either architecture, arguments of "
                            "timm's VisionTransformer, or timm, a timm model name")
        return self


def _pair(size: int | list[int]) -> list[int]:
    return [size, size] if isinstance(size, int) else size


def sides(network: Any) -> list[int] | None:
    """Height and width of the images that a network is built for; ``None`` where that is open."""
    if network is None or network.img_size is None and isinstance(network, Arguments):
        return None
    if getattr(network, "dynamic_img_size", False):
        return None
    return _pair(network.img_size or 224)
