"""What the path explorer is made of: networks, pictures, and what each network makes of each
picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64, UInt8


@dataclass(frozen=True)
class Network:
    """A network of the explorer.

    Attributes:
        name: as a reader sees it.
        target: the network itself.
        classes: one name per class.
    """

    name: str
    target: TargetModel
    classes: tuple[str, ...]


@dataclass(frozen=True)
class ExploredPath:
    """A path of one picture.

    Attributes:
        neurons: one in each block.
        attribution: of each of them, by integrated gradients of single neurons.
        removed, doubled: class probabilities with the whole path removed and doubled.
    """

    neurons: Int64[np.ndarray, "layer"]
    attribution: Float[np.ndarray, "layer"]
    removed: Float[np.ndarray, "class"]
    doubled: Float[np.ndarray, "class"]


@dataclass(frozen=True)
class View:
    """What one network makes of a picture: class probabilities, and a path for each method, by its
    label."""

    clean: Float[np.ndarray, "class"]
    paths: Mapping[str, ExploredPath]


@dataclass(frozen=True)
class Picture:
    """A picture of the explorer.

    Attributes:
        name: as a reader sees it.
        pixels: for the eye.
        values: as the networks see it.
        label: its true class.
        views: by the key of the network.
    """

    name: str
    pixels: UInt8[np.ndarray, "height width ..."]
    values: Float[torch.Tensor, "channel height width"]
    label: int
    views: Mapping[str, View]


def check_explored(networks: Mapping[str, Network], pictures: Sequence[Picture]) -> None:
    """Raise ``ValueError`` unless there is a picture, each with a network and every network that a
    picture names, and the same methods everywhere."""
    if not pictures or not all(picture.views for picture in pictures):
        raise ValueError("nothing to explore; accepted: at least one picture, and for each a "
                         "network that sees it")
    for picture in pictures:
        if missing := set(picture.views) - set(networks):
            raise ValueError(f"pictures are seen by networks that are not there: "
                             f"{', '.join(sorted(missing))}; accepted: {', '.join(networks)}")
    methods = {tuple(view.paths) for picture in pictures for view in picture.views.values()}
    if len(methods) != 1 or methods == {()}:
        raise ValueError("every view must have paths by the same methods; accepted: at least one")


def methods_of(pictures: Sequence[Picture]) -> list[str]:
    return list(next(iter(pictures[0].views.values())).paths)
