"""Whether key neurons read the object or what is beside it (the report's conclusion)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.chapters.key_neurons.measured import TOP, Read, over_classes
from neuronpath_core.neurons.keys import read_keys

if TYPE_CHECKING:
    from torch import Tensor


def background_row(read: Read, seed: int = 0) -> dict[str, float]:
    """How many of the first five key neurons are background neurons, that fire more outside the
    object than inside, on average over their class's images.

    Returns:
        ``value, low, high``, the share of neurons like them minus theirs, over classes; ``share``,
        ``alike``; ``gap`` and ``gap_alike``, activation inside minus outside in standard
        deviations, of the first; ``classes``.
    """
    table = read.of_class(read.gap)  # (class, block, neuron)
    block, neuron = np.moveaxis(read.written.best[:, :TOP], -1, 0)
    every, like = np.arange(read.classes)[:, None], read.alike[block, neuron]
    outside = (table < 0).astype(float)
    own = outside[every, block, neuron].mean(1)
    control = (np.where(like, outside[every, block], 0).sum(-1) / like.sum(-1)).mean(1)
    return {**over_classes(control - own, seed=seed), "share": own.mean(), "alike": control.mean(),
            "gap": read.of_class(read.of_key(read.gap)).mean(),
            "gap_alike": read.of_class(read.of_alike(read.gap)).mean(), "classes": read.classes}


def without_object_row(read: Read, empty: Tensor, seed: int = 0) -> dict[str, float]:
    """Whether key neurons fire more for a scene than for the same scene without its object.

    Args:
        read: of the scenes.
        empty: the same scenes without their objects.

    Returns:
        ``value, low, high``, the share of images in which the first key neuron's mean activation
        over patches is larger with the object, minus that of neurons like it, over classes;
        ``share, alike``, and ``change``, with minus without, in standard deviations.
    """
    bare = read_keys(read.target, empty).maps.mean(-1).transpose(0, 1).cpu().numpy()
    more = (read.patch > bare) + 0.5 * (read.patch == bare)
    own, like = (read.of_class(each(more)) for each in (read.of_key, read.of_alike))
    change = (read.patch - bare) / np.where(read.sd > 0, read.sd, 1)
    return {**over_classes(own - like, seed=seed), "share": own.mean(), "alike": like.mean(),
            "change": read.of_class(read.of_key(change)).mean(), "classes": read.classes}
