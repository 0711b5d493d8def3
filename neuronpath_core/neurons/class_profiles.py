r"""Which neurons fire for a class, and how far apart the classes are in them (Allert et al., 2024,
section 4.2, figures 4 to 6).

The *profile* of class c in block b is the mean activation :math:`\mu_{c b n}` of its images.  The
report calls two classes near if the Euclidean distance of their profiles over their key neurons is
small, and says that few neurons carry a class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from typing import Literal

    from jaxtyping import Bool, Float, Int64

    Over = Literal["union", "all"]

OVER = ("union", "all")


def class_means(values: Float[np.ndarray, "image *rest"], labels: Int64[np.ndarray, "image"],
                classes: int) -> Float[np.ndarray, "class *rest"]:
    """The mean over each class's images.

    Raises:
        ValueError: labels of another number of images, or a class without an image.
    """
    labels = _checked(values, labels, classes)
    return np.stack([values[labels == label].mean(0) for label in range(classes)])


def spread_within(values: Float[np.ndarray, "image *rest"], labels: Int64[np.ndarray, "image"],
                  classes: int) -> Float[np.ndarray, "*rest"]:
    """The standard deviation of images about the mean of their class, all classes together, with
    B - C degrees of freedom; 0 where nothing varies.

    Raises:
        ValueError: as :func:`class_means`, or no class with two images.
    """
    labels = _checked(values, labels, classes)
    if len(labels) <= classes:
        raise ValueError(f"{len(labels)} images of {classes} classes; accepted: a class with two")
    about = values - class_means(values, labels, classes)[labels]
    return np.sqrt(np.square(about).sum(0) / (len(labels) - classes))


def _checked(values: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (len(values),) or set(np.unique(labels)) != set(range(classes)):
        raise ValueError(f"labels {labels.shape} of {len(values)} images, with classes "
                         f"{np.unique(labels).tolist()}; accepted: one label an image, each of 0 "
                         f"to {classes - 1} at least once")
    return labels


def participation_ratio(values: Float[np.ndarray, "*batch neuron"]) -> Float[np.ndarray, "*batch"]:
    r"""How many of the neurons share a profile, :math:`(\sum_n v_n^2)^2 / (n \sum_n v_n^4)`: 1/n if
    one neuron has all of it, 1 if all have the same, 1/3 of normal noise; NaN of zeros."""
    squares = np.square(values)
    fourth = np.square(squares).sum(-1)
    return np.divide(np.square(squares.sum(-1)), values.shape[-1] * fourth,
                     out=np.full(fourth.shape, np.nan), where=fourth > 0)


def profile_distances(means: Float[np.ndarray, "class neuron"],
                      top: Bool[np.ndarray, "class neuron"] | None = None, over: Over = "union",
                      spread: Float[np.ndarray, "neuron"] | None = None
                      ) -> Float[np.ndarray, "class class"]:
    r"""Euclidean distances of the classes' profiles in one block,
    :math:`\lVert \mu_c - \mu_{c'} \rVert_2`.

    Args:
        means: profiles.
        top: each class's key neurons, which ``over="union"`` needs.
        over: ``"union"``: the key neurons of either class, as published; ``"all"``: all neurons.
        spread: standard deviation of each neuron within the classes, by which differences are
            divided; a neuron that does not vary is left out.  ``None``: not divided, as published.

    Raises:
        ValueError: an unknown word, or tables of other shapes.
    """
    if not is_one_of(over, OVER):
        raise ValueError(f"unknown neurons {shown(over)}; accepted: {', '.join(OVER)}")
    if over == "union" and (top is None or top.shape != means.shape):
        found = None if top is None else top.shape
        raise ValueError(f"key neurons {found} for profiles {means.shape}; accepted: truth values "
                         "of one shape with the profiles")
    scale = np.ones(means.shape[1]) if spread is None else np.divide(
        1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    squares = np.square((means[:, None] - means[None]) * scale)
    if over == "union":
        squares = squares * (top[:, None] | top[None])
    return np.sqrt(squares.sum(-1))


def is_key(best: Int64[np.ndarray, "class rank"], neurons: int) -> Bool[np.ndarray, "class neuron"]:
    """Which neurons of a block are among each class's key neurons, of their numbers."""
    found = np.zeros((len(best), neurons), bool)
    np.put_along_axis(found, np.asarray(best), True, 1)
    return found
