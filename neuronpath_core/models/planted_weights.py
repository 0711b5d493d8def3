"""The hand-set weights of a network with planted paths; :mod:`~neuronpath_core.models.planted` says
what they are meant to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

if TYPE_CHECKING:
    pass


CARRIER, DRIVE, PATCH, PATCHES, CONTEXT = 24.0, 6.0, 4, 16, 4
LOGIT = {"chain": 3.0, "parallel": 3.0, "redundant": 12.0}
def _basis(rng: np.random.Generator, need: int) -> np.ndarray:
    """Orthonormal rows that are orthogonal to the ones vector and to the carrier, in as many
    dimensions as they and two heads need."""
    width = -(-(need + 2) // 8) * 8
    fixed = np.stack([np.ones(width), np.eye(width)[0] - np.eye(width)[1]])
    return np.linalg.qr(np.concatenate([fixed, rng.standard_normal((width - 2, width))]).T)[0].T[2:]


def planted_network(kind, scope, rng, patterns, planted, places, neurons,
                    strength) -> VisionTransformer:
    """The weights; everything that is read or written is a combination of the basis' rows."""
    blocks, classes, copies = planted.shape
    basis = _basis(rng["basis"], classes * (blocks + 2) + 2 * CONTEXT + 1)
    width = basis.shape[1]
    raw, cue, *chain = np.split(basis[:classes * (blocks + 2)], blocks + 2)
    context, unread, common = np.split(basis[classes * (blocks + 2):][:2 * CONTEXT + 1],
                                       [CONTEXT, 2 * CONTEXT])
    draw = rng["weights"].standard_normal

    def mixed(rows: int, norm: float) -> np.ndarray:
        values = draw((rows, len(basis)))
        return norm * values / np.linalg.norm(values, axis=1, keepdims=True) @ basis

    with torch.random.fork_rng(devices=[]):  # timm draws weights, which are not used
        model = VisionTransformer(img_size=PATCH * int(PATCHES ** 0.5), patch_size=PATCH,
                                  in_chans=1, num_classes=classes, embed_dim=width, depth=blocks,
                                  num_heads=2, mlp_ratio=(neurons + 0.5) / width,
                                  global_pool={"cls": "token",
                                               "patch": "avg"}[scope]).double().eval()
    weights = {name: np.zeros(tuple(value.shape)) for name, value in model.state_dict().items()}
    weights["patch_embed.proj.weight"] = np.einsum("kd,kp->dp", np.concatenate([raw, context]),
                                                   patterns).reshape(width, 1, PATCH, PATCH)
    weights["pos_embed"][0] = mixed(PATCHES + 1, 0.1)
    weights["pos_embed"][0, :, :2] += CARRIER / 2 ** 0.5 * np.array([1, -1])
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            weights[f"{name}.weight"] += CARRIER / width ** 0.5
    for block in range(blocks):
        own = {part: weights[f"blocks.{block}.{part}"]
               for part in ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc1.bias",
                            "mlp.fc2.weight")}
        own["attn.qkv.weight"][:] = mixed(3 * width, 0.3)
        own["attn.proj.weight"][:] = mixed(width, 0.1).T
        # undoes that uniform attention spreads the cue of half of the patches over all tokens
        if block == 0:
            own["attn.qkv.weight"][2 * width:2 * width + classes] = raw
            own["attn.proj.weight"][:, :classes] = (PATCHES + 1) / (PATCHES // 2) * cue.T
        reads = cue if block == 0 or kind == "parallel" else chain[block - 1]
        writes = chain[-1] if kind == "parallel" else chain[block]
        own["mlp.fc1.weight"][:] = mixed(neurons, 0.3)
        own["mlp.fc1.bias"][:] = 0.3 * rng["weights"].uniform(-1, 1, neurons)
        own["mlp.fc2.weight"][:] = mixed(neurons, 0.05).T
        for copy in planted[block].T:
            own["mlp.fc1.weight"][copy], own["mlp.fc1.bias"][copy] = DRIVE * reads, 0
            own["mlp.fc2.weight"][:, copy] = writes.T / (DRIVE * copies)
        for name, place in places.items():
            index = place[block]
            if name == "steep":
                own["mlp.fc1.weight"][index] /= 3
                own["mlp.fc1.bias"][index] = -4
                own["mlp.fc2.weight"][:, index] = strength / (DRIVE * copies) * chain[-1].T
            else:
                aim = common[[0] * len(index)] if name == "common" else _directions(rng["decoys"],
                                                                                    len(
                    index), unread)
                own["mlp.fc1.weight"][index] = 0.5 * _directions(rng["decoys"], len(index), context)
                own["mlp.fc1.bias"][index] = strength * DRIVE
                own["mlp.fc2.weight"][:, index] = 0.3 / (strength * DRIVE) * aim.T
    weights["head.weight"] = LOGIT[kind] / (blocks if kind == "parallel"
                                            else 1) * chain[-1] + common
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return model


def _directions(rng: np.random.Generator, count: int, rows: np.ndarray) -> np.ndarray:
    values = rng.standard_normal((count, len(rows)))
    return values / np.linalg.norm(values, axis=1, keepdims=True) @ rows
