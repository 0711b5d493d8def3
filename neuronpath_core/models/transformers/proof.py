"""That timm's network gives the logits that the model of transformers' gives, or a refusal."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from neuronpath_core.agreement import rounding_unit
from neuronpath_core.models.transformers.accepted import mapping_of
from neuronpath_core.models.transformers.convert import convert, logits

IMAGES = 2
# by how much of their size logits may differ where both models add up in double precision, and in
# single; random networks of 24 blocks did by 1e-15 and, with attention written out, by 4e-6
DOUBLE, SINGLE = 1e-10, 1e-5
# what rounding may make of deeper models, if their copies agree in double precision
LOOSE, UNITS = 1e-3, 64
# copies in double precision are made of models up to so many weights, twice those of ViT-B: of
# others only where single precision does not tell
MOST_WEIGHTS = 200_000_000


def prove(model: nn.Module, network: nn.Module) -> None:
    """Hold a network against the model that it was made of.

    Both are called as they are on two random images. Then, of models of up to 200 million
    weights and where the precision leaves a doubt, copies of both are called in double precision
    on one, their heads drawn at random, so that nothing hides behind a head of zeros.

    Args:
        model: of transformers'.
        network: of :func:`~neuronpath_core.models.transformers.convert.convert`.

    Raises:
        ValueError: logits that differ by more than rounding, or are not finite.
    """
    first = network.patch_embed.proj.weight
    images = _images(network).to(first)
    with torch.no_grad():
        found, wanted = network(images), logits(model, images)
    apart, exact = _apart(found, wanted), first.dtype == torch.float64
    large = sum(map(torch.numel, network.parameters())) > MOST_WEIGHTS
    tells = {torch.float64: DOUBLE, torch.float32: SINGLE}.get(first.dtype)
    if large and tells is not None and apart <= tells:
        return
    most = DOUBLE if exact else max(LOOSE, UNITS * rounding_unit(first))
    if not apart <= most:
        raise _refusal(model, apart, "as they are called", f"to {most:.0e}" + _eager(model, exact))
    apart = _in_double(model, tuple(images.shape[2:]))
    if not apart <= DOUBLE:
        raise _refusal(model, apart, "in double precision", f"to {DOUBLE:.0e}")


def _images(network: nn.Module) -> Tensor:
    embed = network.patch_embed
    shape = (IMAGES, embed.proj.in_channels, *embed.img_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, as a share of the logits' root mean square; NaN where one is."""
    found, wanted = found.detach().double(), wanted.detach().double()
    if found.shape != wanted.shape:
        return float("nan")
    largest, size = (found - wanted).abs().max(), wanted.square().mean().sqrt()
    return 0.0 if largest == 0 else float(largest / size)


@torch.no_grad()
def _in_double(model: nn.Module, size: tuple[int, int]) -> float:
    """How far copies in double precision are apart."""
    double = copy.deepcopy(model).double()
    for part in double.modules():
        # written out, attention takes the softmax of some classes in single precision
        if getattr(getattr(part, "config", None), "_attn_implementation", None) == "eager":
            part.config._attn_implementation = "sdpa"
    generator = torch.Generator().manual_seed(1)
    for name in mapping_of(double).heads:
        weight = getattr(double, name).weight
        weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64))
    # one image, as double precision tells parts apart on any; the weights lie in memory once
    network = convert(double, size, shared=True)
    images = _images(network)[:1].to(network.patch_embed.proj.weight)
    return _apart(network(images), logits(double, images))


def _refusal(model: nn.Module, apart: float, how: str, most: str) -> ValueError:
    return ValueError(f"model cannot be this {type(model).__name__}: {how}, timm's network with "
                      f"its weights gives logits that differ by {apart:.1e} of their size; "
                      f"accepted: a model that this network repeats {most}")


def _eager(model: nn.Module, exact: bool) -> str:
    """The likely cause: written out, attention takes its softmax in single precision."""
    config = mapping_of(model).config(model.config)
    eager = exact and getattr(config, "_attn_implementation", None) == "eager"
    return ", in double precision with model.set_attn_implementation('sdpa')" if eager else ""
