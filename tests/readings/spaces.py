"""The networks of Vilas et al.'s published functions, ``space_a`` and ``space_b``, with what those
functions returned."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer

import neuronpath_core as npc
from tests import helpers
from tests.golden import recipe

SPACES = ("space_a", "space_b")


@cache
def space(name: str) -> tuple[npc.TargetModel, torch.Tensor, torch.Tensor, dict, dict]:
    """Target, images, labels, expected arrays and the specification of one case."""
    with np.load(helpers.GOLDEN / f"{name}.npz") as stored:
        case = {key: stored[key] for key in stored.files}
    spec = json.loads(str(case.pop("spec")))
    model = space_model(spec, spec["weight_seed"])
    pictures = torch.from_numpy(recipe.images(spec["batch"], spec["img_size"], spec["input_seed"]))
    return npc.TargetModel(model), pictures, torch.tensor(spec["labels"]), case, spec


def space_model(spec: dict, seed: int) -> VisionTransformer:
    """The network of a case with the weights of a seed: its own, or that of its control."""
    sizes = {key: spec[key] for key in ("img_size", "patch_size", "embed_dim", "depth", "num_heads",
                                        "mlp_ratio", "num_classes")}
    return helpers.fill(VisionTransformer(global_pool=spec["pool"], **sizes), seed)
