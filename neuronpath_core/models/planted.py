r"""Networks with planted paths: timm ``VisionTransformer`` with hand-set weights, in which the
influential neurons are known.

A constant carrier in two embedding dimensions, (K, -K)/√2 with K = 24, dominates every token's
norm.  All other weights read and write the orthogonal complement of it and of the ones vector, so
that layer normalisation is nearly linear:

.. math:: \mathrm{LN}(x) = s \, (1 + |s|^2 / K^2)^{-1/2} + \text{carrier}

for the part s of the stream beside the carrier.  An image is noise, and in half of its patches the
cue of its class.  The first attention averages the cue over the tokens; the later ones do little.
From there on a class c has one planted neuron (or two) in every block:

* ``"chain"``: it reads what the block before wrote, and writes what the next one reads; the head
  reads the end.  Each is necessary.
* ``"parallel"``: it reads the cue and writes to the head.  Each adds 1/L of the class's logit.
* ``"redundant"``: a chain of two equal neurons a block in a saturated network.  Either one
  suffices, without both the class is lost.

Decoys are neurons that some measure likes and that influence nothing: ``"loud"`` ones are
``strength`` times as active as a planted neuron and write where nobody reads; ``"steep"`` ones are
all but silent, with a value vector ``strength`` times a last planted neuron's; ``"common"`` ones
are as loud as the loud ones and raise all logits alike.  All other neurons have small random
weights.  None of this is taken from an attribution: whether the planted neurons are the influential
ones is checked by removal, see :func:`verify`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from neuronpath_core.interventions import class_probabilities, scaled_probabilities
from neuronpath_core.models.build import parse_device, parse_dtype
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Kind = Literal["chain", "parallel", "redundant"]
KINDS = ("chain", "parallel", "redundant")
SCOPES = ("cls", "patch")
# which kinds of decoy a setting plants
DECOYS = {"none": (), "loud": ("loud",), "steep": ("steep",), "common": ("common",),
          "all": ("loud", "steep", "common")}
CARRIER, DRIVE, PATCH, PATCHES, CONTEXT = 24.0, 6.0, 4, 16, 4
LOGIT = {"chain": 3.0, "parallel": 3.0, "redundant": 12.0}


@dataclass(frozen=True)
class Planted:
    """A network, images, and the neurons that are known to be influential.

    Attributes:
        target, images, labels: the model, in eval mode, with its images.
        neurons: int64 ``(image, layer, alternative)``, the planted neurons of each image's class.
        decoys: per kind of decoy its neurons, int64 ``(layer, count)``.
        kind, setting: the kind of planting, and the setting of decoys.
    """

    target: TargetModel
    images: Float[torch.Tensor, "image channel height width"]
    labels: Int64[torch.Tensor, "image"]
    neurons: Int64[torch.Tensor, "image layer alternative"]
    decoys: dict[str, Int64[torch.Tensor, "layer count"]]
    kind: str
    setting: str


def _check(name: str, value: object, accepted: Sequence[str]) -> None:
    if value not in accepted:
        raise ValueError(f"unknown {name} {value!r}; accepted: {', '.join(accepted)}")


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def planted_model(
    kind: Kind = "chain", scope: Literal["cls", "patch"] = "cls", decoys: str = "none",
    seed: int = 0, n_images: int = 4, classes: int = 4,
    blocks: int = 5, neurons: int = 20, strength: float = 4.0, noise: float = 0.1,
    device: str = "cpu", dtype: str = "float64",
) -> Planted:
    """A network with a planted path for every class, and images of its classes.

    Two settings of decoys with one seed give the same network and images, but for the decoys' own
    weights.

    Args:
        kind: ``"chain" | "parallel" | "redundant"``, see the module.
        scope: ``"cls"``, it classifies from the class token; ``"patch"``, from the mean of the
            patch tokens.
        decoys: ``"none" | "loud" | "steep" | "common" | "all"``.
        seed: of everything that is random: weights, which neurons are planted, images.
        n_images: in all, classes in turn.
        classes, blocks, neurons: C, L and n.
        strength: of the decoys, relative to a planted neuron's activation or value vector.
        noise: standard deviation of the pixels, where the cue has norm 0.8 to 1.2 in a patch of 16
            pixels.
        device, dtype: as a profile has them.

    Raises:
        ValueError: an unknown name, a number out of range, or fewer neurons a block than are
            planted.
    """
    for name, value, accepted in (("kind", kind, KINDS), ("scope", scope, SCOPES),
                                  ("decoys", decoys, tuple(DECOYS))):
        _check(name, value, accepted)
    for name, value, least in (("seed", seed, 0), ("n_images", n_images, 1),
                               ("classes", classes, 2), ("blocks", blocks, 1),
                               ("neurons", neurons, 1)):
        _check_whole(name, value, least)
    copies = 2 if kind == "redundant" else 1
    taken = classes * (copies + 1) + 4
    if classes > PATCH * PATCH - CONTEXT or neurons < taken:
        raise ValueError(f"{classes} classes do not fit into {neurons} neurons a block; "
                         f"accepted: at most {PATCH * PATCH - CONTEXT} classes, and for so many "
                         f"at least {taken} neurons")
    if not (strength > 0 and noise >= 0):
        raise ValueError(f"strength must be positive and noise not negative, got {strength!r} and "
                         f"{noise!r}")
    rng = {name: np.random.default_rng([seed, index]) for index,
           name in enumerate(("basis", "weights", "slots", "decoys", "images"))}
    patterns = np.linalg.qr(rng["basis"].standard_normal((PATCH * PATCH, classes + CONTEXT)))[0].T
    slots = np.stack([rng["slots"].permutation(neurons) for _ in range(blocks)])
    planted = slots[:, :classes * copies].reshape(blocks, classes, copies)
    rest = slots[:, classes * copies:]
    places = {"steep": rest[:, :classes], "loud": rest[:, classes:classes + 2],
              "common": rest[:, classes + 2:classes + 4]}
    places = {name: places[name] for name in DECOYS[decoys]}
    model = _network(kind, scope, rng, patterns, planted, places, neurons,
                     strength).to(parse_device(device), parse_dtype(dtype))
    images, labels = _images(rng["images"], patterns[:classes], n_images, noise)
    target = TargetModel(model)
    return Planted(target, torch.from_numpy(images).to(target.device, target.dtype),
                   torch.from_numpy(labels).to(target.device),
                   torch.from_numpy(planted[:, labels].swapaxes(0, 1).copy()).to(target.device),
                   {name: torch.from_numpy(each.copy()) for name, each in places.items()}, kind,
                   decoys)


def _images(rng: np.random.Generator, cues: np.ndarray, count: int,
            noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and the class's cue in half of the patches, at an amplitude of each image's own."""
    labels, side = np.arange(count) % len(cues), int(PATCHES ** 0.5)
    patches = noise * rng.standard_normal((count, PATCHES, PATCH * PATCH))
    for image, label in zip(patches, labels, strict=True):
        image[rng.permutation(PATCHES)[:PATCHES // 2]] += rng.uniform(0.8, 1.2) * cues[label]
    tiled = patches.reshape(count, side, side, PATCH, PATCH).swapaxes(2, 3)
    return tiled.reshape(count, 1, side * PATCH, side * PATCH), labels


def _basis(rng: np.random.Generator, need: int) -> np.ndarray:
    """Orthonormal rows that are orthogonal to the ones vector and to the carrier, in as many
    dimensions as they and two heads need."""
    width = -(-(need + 2) // 8) * 8
    fixed = np.stack([np.ones(width), np.eye(width)[0] - np.eye(width)[1]])
    return np.linalg.qr(np.concatenate([fixed, rng.standard_normal((width - 2, width))]).T)[0].T[2:]


def _network(kind, scope, rng, patterns, planted, places, neurons, strength) -> VisionTransformer:
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


# --- the truth, by brute force ---


def removal_losses(planted: Planted, together: Int64[torch.Tensor, "image layer"]
                   | None = None) -> Float[np.ndarray, "image layer neuron"]:
    r"""The share of the label's probability that is lost when one neuron of one block is removed at
    the scope, everything else running natively.

    .. math:: 1 - \tilde p / p

    No attribution is involved.  A neuron's loss is the same if the blocks before it are clamped
    clean, for its removal does not reach them.

    Args:
        planted: network and images.
        together: int64 ``(image, layer)``, a neuron of each block that is removed along with every
            neuron of that block.
    """
    target, labels = planted.target, planted.labels
    clean = class_probabilities(target, planted.images).gather(1, labels[:, None])
    losses, n = [], target.n_neurons
    for block in range(target.n_blocks):
        factors = torch.ones(len(labels), n, target.n_blocks, n, dtype=target.dtype,
                             device=target.device)
        factors[:, range(n), block, range(n)] = 0
        if together is not None:
            factors[range(len(labels)), :, block, together[:, block]] = 0
        edited = scaled_probabilities(target, planted.images.repeat_interleave(n, 0),
                                      factors.flatten(0, 1))
        losses.append(1 - edited.gather(1,
                                        labels.repeat_interleave(n)[:, None]).reshape(len(labels),
                                                                                      n) / clean)
    return torch.stack(losses, 1).cpu().double().numpy()


def verify(planted: Planted) -> dict[str, float]:
    """Whether the planted neurons, and no others, are influential: :func:`removal_losses` of all
    neurons, and of pairs.

    Returns:
        ``probability`` (mean, of the label) and ``accuracy`` of the network; ``planted``, the least
        loss by removal of a block's planted neurons (both, where two back each other up), over
        images and blocks; ``one of two``, the largest by removal of one of two; ``other``, the
        largest absolute loss by removal of any other neuron, alone or along with one of two;
        ``known``: whether ``planted`` is more than twice any of the others.
    """
    clean = class_probabilities(planted.target, planted.images).cpu()
    labels, truth = planted.labels.cpu(), planted.neurons.cpu().numpy()
    single = removal_losses(planted)
    own = np.take_along_axis(single, truth, 2)
    others = np.ones(single.shape, bool)
    np.put_along_axis(others, truth, False, 2)
    least, one, other = own.min(), np.nan, np.abs(single[others]).max()
    if truth.shape[2] == 2:
        joined = [removal_losses(planted, planted.neurons[..., index]) for index in range(2)]
        least, one = np.take_along_axis(joined[0], truth[..., 1:], 2).min(), own.max()
        other = max(other, *(np.abs(each[others]).max() for each in joined))
    return {"probability": float(clean.gather(1, labels[:, None]).mean()),
            "accuracy": float((clean.argmax(1) == labels).double().mean()),
            "planted": float(least), "one of two": float(one), "other": float(other),
            "known": bool(least > 2 * np.nanmax([one, other]))}
