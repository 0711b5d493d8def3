"""Tiny random models of every class of transformers' that is accepted, made without a download."""

from __future__ import annotations

import pytest
import torch

transformers = pytest.importorskip(
    "transformers", reason="models of transformers are tested where it is installed")

WIDTH, BLOCKS, NEURONS, CLASSES = 24, 3, 40, 5
SIZES = {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": 3,
         "image_size": 16, "patch_size": 4}
FFN = {"intermediate_size": NEURONS}

# name -> (class, configuration, its arguments)
CASES = {
    "vit": ("ViTForImageClassification", "ViTConfig", FFN),
    "vit-no-qkv-bias": ("ViTForImageClassification", "ViTConfig", FFN | {"qkv_bias": False}),
    "vit-grey-oblong": ("ViTForImageClassification", "ViTConfig",
                        FFN | {"num_channels": 1, "image_size": (16, 24), "hidden_act": "relu"}),
    "vit-odd-width": ("ViTForImageClassification", "ViTConfig", {"intermediate_size": 41}),
    "deit": ("DeiTForImageClassification", "DeiTConfig", FFN),
    "deit-two-heads": ("DeiTForImageClassificationWithTeacher", "DeiTConfig", FFN),
    "dinov2": ("Dinov2ForImageClassification", "Dinov2Config", {"mlp_ratio": 2}),
    "dinov2-gated": ("Dinov2ForImageClassification", "Dinov2Config",
                     {"mlp_ratio": 2, "use_swiglu_ffn": True, "qkv_bias": False}),
    "dinov2-registers": ("Dinov2WithRegistersForImageClassification", "Dinov2WithRegistersConfig",
                         {"mlp_ratio": 2}),
    "dinov2-no-registers": ("Dinov2WithRegistersForImageClassification",
                            "Dinov2WithRegistersConfig",
                            {"mlp_ratio": 2, "num_register_tokens": 0}),
    "dinov2-registers-gated": ("Dinov2WithRegistersForImageClassification",
                               "Dinov2WithRegistersConfig",
                               {"mlp_ratio": 2, "use_swiglu_ffn": True}),
    "clip": ("CLIPForImageClassification", "CLIPConfig", FFN),
    "siglip": ("SiglipForImageClassification", "SiglipConfig", FFN),
    "siglip-without-pooling-head": ("SiglipForImageClassification", "SiglipConfig",
                                    FFN | {"vision_use_head": False}),
}


def make(name: str, seed: int = 0, dtype: torch.dtype = torch.float64, **changed):
    """A model with normal weights large enough that attention is not uniform and no gate closed."""
    kind, config, arguments = CASES[name]
    arguments = {**SIZES, **arguments, **changed}
    others = {key: arguments.pop(key) for key in ("id2label", "problem_type", "num_labels")
              if key in arguments}
    others = {"num_labels": CLASSES} | others if "id2label" not in others else others
    tower = config in ("CLIPConfig", "SiglipConfig")
    arguments = {"vision_config": arguments} if tower else arguments
    model = getattr(transformers, kind)(getattr(transformers, config)(**arguments, **others))
    return drawn(model, seed).to(dtype).eval()


def drawn(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """The model in double precision with normal weights, norms and LayerScale around 1."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    with torch.no_grad():
        for key, weight in model.named_parameters():
            scale = ("norm" in key or "lambda1" in key) and not key.endswith("bias")
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator, dtype=torch.float64)
                         + scale)
    return model


def pictures(model: torch.nn.Module, count: int = 3, size: tuple[int, int] | None = None,
             seed: int = 9) -> torch.Tensor:
    """Normal images of the model's size, channels and precision."""
    config = getattr(model.config, "vision_config", model.config)
    own = config.image_size
    size = size or ((own, own) if isinstance(own, int) else tuple(own))
    shape = (count, config.num_channels, *size)
    weight = next(model.parameters())
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed),
                       dtype=torch.float64).to(weight)
