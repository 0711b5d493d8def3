"""Whether the image tokens that a processor writes are as many as the features that the model makes
of an image, and which setting is wrong where they are not.

"Image features and image tokens do not match" is the failure that users of these models report
most (huggingface/transformers, issues 36002, 34447, 32395 and 30962).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from neuronpath_core.vlm.inputs import image_token

if TYPE_CHECKING:
    from neuronpath_core.vlm.inputs import Inputs


@torch.no_grad()
def check_image_tokens(model: nn.Module, processor: Any, inputs: Inputs) -> int:
    """The number of image tokens of a sample, which is that of the model's features.

    Raises:
        ValueError: numbers that differ, or a class token that is dropped where the tower has none;
            with the setting that is wrong: ``patch_size``, ``vision_feature_select_strategy`` or
            ``num_additional_image_tokens``.
    """
    counts = inputs.visual.sum(1).tolist()
    features = _features(model, inputs)
    # InternVL's configuration has a strategy too, but its processor counts by one number alone
    wrong = _wrong_setting(model, processor, inputs) if hasattr(
        model.config, "vision_feature_select_strategy") and hasattr(processor, "patch_size") else ""
    if sum(counts) != features or wrong:
        raise ValueError(f"the processor writes {counts[0]} image tokens for an image of which the "
                         f"model makes {features // len(counts)} features: "
                         f"{wrong or 'their settings disagree'}; accepted: the processor that "
                         f"belongs to the model (image token {image_token(model)})")
    return counts[0]


def _features(model: nn.Module, inputs: Inputs) -> int:
    """How many vectors the model puts in the place of image tokens, of all samples together."""
    given = {name: value for name, value in inputs.values.items()
             if name in ("pixel_values", "image_sizes", "image_grid_thw")}
    found = model.get_image_features(**given)
    found = getattr(found, "pooler_output", found)
    parts = found if isinstance(found, (list, tuple)) else [found]
    return sum(part.reshape(-1, part.shape[-1]).shape[0] for part in parts)


def _wrong_setting(model: nn.Module, processor: Any, inputs: Inputs) -> str:
    """Which of a Llava processor's three settings disagrees with the model; empty if none does."""
    config = model.config
    patch, size = config.vision_config.patch_size, inputs.values["pixel_values"].shape[-1]
    if processor.patch_size != patch:
        return f"patch_size is {processor.patch_size}, the tower's is {patch}"
    strategy = config.vision_feature_select_strategy
    if processor.vision_feature_select_strategy != strategy:
        return (f"vision_feature_select_strategy is {processor.vision_feature_select_strategy}, "
                f"the model's is {strategy}")
    extra = _tower_tokens(model, inputs) - (size // patch) ** 2
    if strategy == "default" and extra == 0:
        return ("vision_feature_select_strategy is default, which drops a class token, and the "
                "tower has none: it must be full")
    if processor.num_additional_image_tokens != extra:
        return (f"num_additional_image_tokens is {processor.num_additional_image_tokens}, the "
                f"tower has {extra} beside its patches")
    return ""


def _tower_tokens(model: nn.Module, inputs: Inputs) -> int:
    """How many tokens the tower has for one image."""
    pixels = inputs.values["pixel_values"]
    pixels = pixels.reshape(-1, *pixels.shape[-3:])[:1]
    return model.model.vision_tower(pixels).last_hidden_state.shape[1]


def grid_of(model: nn.Module, inputs: Inputs, tokens: int) -> tuple[int, int] | None:
    """Rows and columns of an image's tokens: of a dynamic grid as the processor tells it, else of a
    square; ``None`` where they make none, as with several crops or tokens between rows."""
    if "image_grid_thw" in inputs.values:
        merged = getattr(model.config.vision_config, "spatial_merge_size", 1)
        grids = {tuple(row[1:].tolist()) for row in inputs.values["image_grid_thw"]}
        rows, columns = next(iter(grids))
        return (rows // merged, columns // merged) if len(grids) == 1 else None
    if "image_sizes" in inputs.values:
        return None
    side = int(tokens ** 0.5)
    return (side, side) if side * side == tokens else None
