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
ones is checked by removal, see :func:`~neuronpath_core.models.planted_truth.verify`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from neuronpath_core.models.build import parse_device, parse_dtype
from neuronpath_core.models.planted_weights import CONTEXT, PATCH, PATCHES, planted_network
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Kind = Literal["chain", "parallel", "redundant"]
KINDS = ("chain", "parallel", "redundant")
SCOPES = ("cls", "patch")
# which kinds of decoy a setting plants
DECOYS = {"none": (), "loud": ("loud",), "steep": ("steep",), "common": ("common",),
          "all": ("loud", "steep", "common")}


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
    model = planted_network(kind, scope, rng, patterns, planted, places, neurons,
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
    # the cues' last bits are the linear algebra library's; random draws depend on every bit
    return np.round(tiled.reshape(count, 1, side * PATCH, side * PATCH), 9), labels


# --- the truth, by brute force ---
