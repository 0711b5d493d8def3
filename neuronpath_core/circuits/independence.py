"""Whether what is left without a circuit still says anything about the model's scores: the
Hilbert-Schmidt independence criterion and its permutation test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from neuronpath_core.circuits.score_tests import CircuitTest
from neuronpath_core.stats.tests import LEVEL
from neuronpath_core.support.numbers import check_open, check_whole, check_within

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

PERMUTATIONS = 999


def hsic(first: Float[np.ndarray, "image image"], second: Float[np.ndarray, "image image"]
         ) -> float:
    r"""The Hilbert-Schmidt independence criterion of two kernel matrices,
    :math:`\mathrm{tr}(KHLH)/(n-1)^2` with :math:`H_{ij} = \delta_{ij} - 1/n` (Gretton et al.,
    2005)."""
    return float((_centred(first) * second).sum() / (len(first) - 1) ** 2)


def _centred(kernel: np.ndarray) -> np.ndarray:
    rows = kernel - kernel.mean(0)
    return rows - rows.mean(1, keepdims=True)


def gaussian_kernel(values: Float[np.ndarray, "image *feature"],
                    margin: float = 0.0) -> Float[np.ndarray, "image image"]:
    r""":math:`\exp(-|x - y|^2 / 2\sigma^2)` with σ the median distance of values that differ; all
    ones if none differ by more than ``margin``."""
    values = np.asarray(values, float)
    distances = pdist(values.reshape(len(values), -1))
    if not (distances > margin).any():
        return np.ones((len(values),) * 2)
    width = np.median(distances[distances > 0])
    return np.exp(-squareform(distances) ** 2 / (2 * width**2))


def same_kernel(names: Int64[np.ndarray, "image"]) -> Float[np.ndarray, "image image"]:
    """1 for two images of one name, such as a label, else 0."""
    names = np.asarray(names)
    return (names[:, None] == names[None]).astype(float)


def independence(model: Float[np.ndarray, "image"],
                 complement: Float[np.ndarray, "image *feature"],
                 permutations: int = PERMUTATIONS, seed: int = 0, margin: float = 0.0,
                 level: float = LEVEL) -> CircuitTest:
    r"""Permutation test of :func:`hsic` between what is left without the circuit and the model
    (the independence test of Shi et al., 2024).

    .. math:: p = \frac{1 + \#\{\text{permutations with HSIC at least that observed}\}}{1 + B}

    The kernels are Gaussian, each with the median distance of its own values for width (as Gretton
    et al., 2007, choose it; the code of Shi et al. has one width for both).  A complement whose
    scores are all the same depends on nothing, and p is 1.

    Args:
        model: s(M) of each image; whole numbers (labels) are compared by whether they are the same.
        complement: the complement's score, or its logits, of each image.
        permutations: B, at most; of few images all permutations.
        seed: of the permutations.
        margin: a complement whose scores all lie within so much of one another, in units of the
            score, is taken for constant.
        level: of the test.

    Raises:
        ValueError: fewer than three images, values that are not finite, or numbers out of range.
    """
    model, complement = np.asarray(model), np.asarray(complement, float)
    if model.ndim != 1 or len(model) < 3 or complement.ndim not in (1, 2) or len(
            complement) != len(model):
        raise ValueError(f"model and complement have shapes {model.shape} and {complement.shape}; "
                         "accepted: one value, or one row, of each of at least three images")
    if not (np.isfinite(model).all() and np.isfinite(complement).all()):
        raise ValueError("scores hold NaN or infinite values; accepted: finite ones")
    check_whole("permutations", permutations, 1)
    check_whole("seed", seed, 0)
    check_within("margin", margin, 0, np.inf)
    check_open("level", level)
    whole = np.issubdtype(model.dtype, np.integer)
    kernel = _centred(same_kernel(model) if whole else gaussian_kernel(model))
    other, scale = gaussian_kernel(complement, margin), (len(model) - 1) ** 2

    def statistic(order: np.ndarray) -> float:
        return float((kernel * other[np.ix_(order, order)]).sum() / scale)

    if (other == 1).all() or not kernel.any():
        return CircuitTest("independence", 0.0, 1.0, False, True, len(model))
    found = stats.permutation_test((np.arange(len(model)),), statistic, alternative="greater",
                                   permutation_type="pairings", n_resamples=permutations,
                                   vectorized=False, rng=np.random.default_rng(seed))
    p = float(found.pvalue)
    return CircuitTest("independence", float(found.statistic), p, p <= level, p > level,
                       len(model))
