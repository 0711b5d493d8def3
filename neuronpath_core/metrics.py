"""Measures of an intervention and of a set of paths: pure functions on arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64


def _check_probabilities(probabilities: np.ndarray, labels: np.ndarray) -> None:
    if probabilities.ndim != 2 or labels.shape != (len(probabilities),):
        raise ValueError(f"probabilities must be (image, class) with one label an image, got "
                         f"{probabilities.shape} and {labels.shape}")
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(f"labels must lie in 0..{probabilities.shape[1] - 1}, for at least one "
                         f"image, got {labels.tolist()[:5]} of {len(labels)}")


def correct(probabilities: Float[np.ndarray, "image class"],
            labels: Int64[np.ndarray, "image"]) -> Bool[np.ndarray, "image"]:
    """Whether the most probable class is the label (Eqs. 16-18)."""
    _check_probabilities(probabilities, labels)
    return probabilities.argmax(1) == labels


def accuracy_deviation(
    clean: Float[np.ndarray, "image class"], edited: Float[np.ndarray, "image class"],
    labels: Int64[np.ndarray, "image"]
) -> Float[np.ndarray, "image"]:
    r"""Per image, ``edited correct - clean correct``, in -1, 0, 1; its mean is
    :math:`\Delta\mathrm{Acc}` (Eq. 19)."""
    return correct(edited, labels).astype(float) - correct(clean, labels).astype(float)


def probability_deviation(
    clean: Float[np.ndarray, "image class"], edited: Float[np.ndarray, "image class"],
    labels: Int64[np.ndarray, "image"]
) -> Float[np.ndarray, "image"]:
    r"""Per image, :math:`(\tilde P - P)/P` of the true class (Eq. 12); at least -1, unbounded
    above."""
    _check_probabilities(clean, labels)
    _check_probabilities(edited, labels)
    rows = np.arange(len(labels))
    before, after = clean[rows, labels], edited[rows, labels]
    if (before <= 0).any():
        raise ValueError(f"the clean probability of {int((before <= 0).sum())} images is zero in "
                         f"this precision; accepted: positive ones (use a wider dtype)")
    return (after - before) / before


def utilisation_matrix(neurons: Int64[np.ndarray, "image layer"],
                       n_neurons: int) -> Float[np.ndarray, "layer neuron"]:
    """M_c (Eq. 20): how often each neuron was selected, divided by the block's number of
    selections; rows sum to one.

    Args:
        neurons: paths of one class's images, ``(image, layer)`` or ``(image, layer, rank)``.
        n_neurons: n, neurons per block.
    """
    neurons = np.asarray(neurons)
    shaped = neurons.ndim in (2, 3) and neurons.size > 0
    if not shaped or neurons.min() < 0 or neurons.max() >= n_neurons:
        raise ValueError(f"neurons must be (image, layer) or (image, layer, rank) with indices in "
                         f"0..{n_neurons - 1}, got shape {neurons.shape}")
    blocks = neurons.reshape(len(neurons), neurons.shape[1],
                             -1).transpose(1, 0, 2).reshape(neurons.shape[1], -1)
    return np.stack([np.bincount(block, minlength=n_neurons) for block in blocks]) / blocks.shape[1]


def cosine_similarity(matrices: Float[np.ndarray, "class layer neuron"]) -> Float[np.ndarray,
                                                                                  "class class"]:
    """S (Eq. 21): cosine between the flattened utilisation matrices of every two classes, in 0..1.
    """
    flat = np.asarray(matrices, dtype=float).reshape(len(matrices), -1)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return unit @ unit.T


def agreement(first: Int64[np.ndarray, "image layer"],
              second: Int64[np.ndarray, "image layer"]) -> tuple[float, float]:
    """Share of neurons, and share of whole paths, that two sets of paths have in common."""
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        raise ValueError(f"the two sets of paths must have one shape, got {first.shape} and "
                         f"{second.shape}")
    same = first == second
    return float(same.mean()), float(same.reshape(len(same), -1).all(1).mean())
