"""The orders in which patches are removed: maps in class space, what they are compared with, and
what they must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.readings import attributions
from neuronpath_core.readings.grids import grid_of
from neuronpath_core.readings.random_twins import random_weights
from neuronpath_core.readings.relevance import relevance

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    from neuronpath_core.target import TargetModel

OWN = {"own": "class space", "published": "class space, softmax twice",
       "block": "class space, of the block", "positive": "class space × attention, positive"}
OTHERS = {"chefer": "Chefer et al.", "rollout": "attention rollout",
          "last": "last block's attention", "gradient_input": "gradient × input",
          "integrated_gradients": "integrated gradients", "projection": "projection, summed",
          "probes": "linear probes, summed"}
CONTROLS = {"other image": "map of another image", "other class": "map of another class",
            "twin": "map of a random twin", "middle": "middle of the image first",
            "dealt": "probes of dealt labels"}
RANDOM = "random"
ORDERS = {**OWN, **OTHERS, **CONTROLS, RANDOM: "random order"}
# nodes of integrated gradients, each a pass forward and back: on 120 digits the sum of a map was
# off by 1.4 % of what it must be in the median (tiny-B-32), by 0.5 % (tiny-MAE-B-16)
STEPS = 8


def model_maps(target: TargetModel, pictures: Float[Tensor, "image channel height width"],
               labels: Int64[Tensor, "image"], seed: int = 0, draft: TargetModel | None = None
               ) -> dict[str, Float[Tensor, "image patch"]]:
    """Every map of ``ORDERS`` but those of probes and projections, and the random order.

    Another image is the next of the same class; another class is the one that the model holds
    likeliest but for the label; the random twin is the architecture with fresh weights.  Maps of
    pixels, many passes each, are taken of ``draft``: captum rounds to its precision anyway.
    """
    light = target if draft is None else draft
    own = {"own": {}, "published": {"loss": "published"}, "block": {"of": "block"},
           "positive": {"terms": "positive"}}
    found = {name: relevance(target, pictures, labels, **chosen) for name, chosen in own.items()}
    found |= {
        "chefer": attributions.chefer(target, pictures, labels),
        "rollout": attributions.rollout(target, pictures),
        "last": attributions.last_attention(target, pictures),
        **{name: attributions.of_pixels(light, pictures.to(light.dtype), labels, name, STEPS).to(
            target.dtype) for name in attributions.PIXEL_METHODS},
        "other image": found["own"][next_of_class(labels)],
        "other class": relevance(target, pictures, runners_up(target, pictures, labels)),
        "twin": relevance(random_weights(target, seed), pictures, labels),
    }
    away = torch.from_numpy(grid_of(target, pictures).from_middle()).to(found["own"])
    return found | {"middle": -away.expand_as(found["own"])}


def next_of_class(labels: Int64[Tensor, "image"]) -> Int64[Tensor, "image"]:
    """For each image the position of the next one of its class, of the last one the first; of an
    image that is alone in its class the next of any class."""
    found = torch.empty_like(labels)
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        found[own] = own.roll(-1) if len(own) > 1 else (own + 1) % len(labels)
    return found


@torch.no_grad()
def runners_up(target: TargetModel, pictures: Float[Tensor, "image channel height width"],
               labels: Int64[Tensor, "image"]) -> Int64[Tensor, "image"]:
    """The class of the largest logit but for the label's: of a wrong prediction the prediction."""
    logits = torch.cat([target(part) for part in pictures.split(64)])
    return logits.scatter(1, labels[:, None], -torch.inf).argmax(-1)
