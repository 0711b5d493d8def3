"""Networks so small that every path can be tried: how far each method is from the best."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from neuronpath_core.chapters.which_method.measured import found_paths, path_effect
from neuronpath_core.chapters.which_method.method_names import (
    CONTROL,
    PUBLISHED,
    REFINED,
    REMOVAL,
    conditional,
)
from neuronpath_core.chapters.which_method.shares import share_row
from neuronpath_core.interventions import class_probabilities, scaled_probabilities
from neuronpath_core.paths import find_paths
from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.target import TargetModel
from neuronpath_core.variants.effect_refinement import refine_effects

BLOCKS, NEURONS, CLASSES, PIXELS = 3, 16, 5, 8
MOST_PATHS = 4096
# a toy's weights are so large that neurons of one block change what those of the next do
WEIGHT = 0.45
AT_ONCE = 1024
OF_TOYS = (conditional(1), conditional(3), conditional(10), REMOVAL, PUBLISHED, CONTROL)


def toy(seed: int, scope: str = "cls") -> TargetModel:
    """A network of 3 blocks of 16 neurons, in double precision, with normal weights."""
    with torch.random.fork_rng(devices=[]):  # the bias of the patch embedding is drawn here
        torch.manual_seed(seed)
        model = VisionTransformer(
            img_size=PIXELS, patch_size=4, embed_dim=NEURONS, depth=BLOCKS, num_heads=2,
            mlp_ratio=1.0, num_classes=CLASSES,
            global_pool="token" if scope == "cls" else "avg").double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(WEIGHT * torch.randn(parameter.shape, generator=generator,
                                                     dtype=torch.float64))
    return TargetModel(model, scope)


def best_effect(target: TargetModel, image: Tensor, label: int) -> float:
    """The largest loss of the label's probability by removal of any path there is.

    Raises:
        ValueError: a model of more than 4,096 paths.
    """
    count = int(np.prod([layer.units for layer in target.layers]))
    if count > MOST_PATHS:
        raise ValueError(f"the model has {count:,} paths; accepted: at most {MOST_PATHS:,}")
    every = torch.tensor(list(itertools.product(*(range(layer.units) for layer in target.layers))))
    whole = class_probabilities(target, image[None])[0, label]
    least = torch.inf
    for part in every.split(AT_ONCE):
        factors = torch.ones(len(part), target.n_blocks, target.n_neurons, dtype=target.dtype)
        factors.scatter_(2, part[..., None], 0.0)
        there = scaled_probabilities(target, image.expand(len(part), -1, -1, -1), factors)
        least = min(least, float(there[:, label].min()))
    return float(whole) - least


def toy_effects(toys: int, images: int, seed: int = 0) -> pd.DataFrame:
    """What removal of each method's path costs beside the best of all paths: ``toy, image, method,
    lost, best``, of normal images with the class that the network gives them."""
    rows = []
    for number in range(toys):
        target = toy(seed + number, ("cls", "patch")[number % 2])
        generator = torch.Generator().manual_seed(10_000 + seed + number)
        pictures = torch.randn(images, 3, PIXELS, PIXELS, generator=generator, dtype=torch.float64)
        labels = class_probabilities(target, pictures).argmax(1)
        published = find_paths(target, pictures, labels, settings="published").neurons
        found = {name: paths for name, paths in found_paths(
            target, pictures, labels, published=published, seed=seed).items() if name in OF_TOYS}
        found[REFINED] = refine_effects(target, pictures, labels, found[conditional(10)],
                                        target.n_neurons)[0]
        best = [best_effect(target, image, int(label)) for image, label in zip(pictures, labels,
                                                                               strict=True)]
        for name, paths in found.items():
            lost = path_effect(target, pictures, labels, paths)[0]
            rows += [{"toy": number, "image": image, "method": name, "lost": lost[image],
                      "best": best[image]} for image in range(images)]
    return pd.DataFrame(rows)


def toy_lead(table: pd.DataFrame, first: str, second: str, seed: int = 0) -> dict[str, float]:
    """By how much the first method's effect is above the second's on the same images, as a share of
    the best path's: ``value, low, high``."""
    own, other = (table[table["method"] == name].reset_index(drop=True)
                  for name in (first, second))
    return share_row((own["lost"] - other["lost"]).to_numpy(), own["best"].to_numpy(), seed)


def toy_shares(table: pd.DataFrame, least: float = 0.99, seed: int = 0) -> pd.DataFrame:
    """Per method the share of the best path's effect with its interval over all networks' images,
    and ``exact``, the share of the images on which it is the best path's: ``method, images, value,
    low, high, exact, verdict`` (whether it lies above ``least``)."""
    rows = []
    for method, own in table.groupby("method", sort=False):
        lost, best = own["lost"].to_numpy(), own["best"].to_numpy()
        rows.append({"method": method, "images": len(own), **share_row(lost, best, seed),
                     "exact": float(np.mean(lost >= best - 1e-9))})
    return with_verdict(pd.DataFrame(rows), threshold=least)
