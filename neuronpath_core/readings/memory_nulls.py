r"""What value vectors and memories show by chance.

With 144 memories in 36 dimensions some value vector points along any direction by a cosine of 0.42,
and with ten classes five memories stand for a class or two of every token.  So each measure of
:mod:`~neuronpath_core.readings.memories` has a level that it must exceed:

* the largest cosine of M directions drawn uniformly (:func:`largest_cosine`), in closed form;
* the same of the half's own value vectors after a random rotation among the memories
  (:func:`rotated`), which keeps the space that they span and what they are together: only a claim
  about *neurons* is refuted by it;
* agreement of as many memories drawn at random (:func:`any_by_chance`, :func:`all_by_chance`):
  coefficients permuted among the memories, over all permutations.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import integrate, stats
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


def largest_cosine_below(threshold: Float[np.ndarray, "*shape"] | float, memories: int,
                         width: int) -> Float[np.ndarray, "*shape"]:
    r"""Probability that none of M independent uniform directions in d dimensions has a cosine above
    t with a given one,

    .. math:: P(\max \cos \le t) = [1 - \tfrac12 I_{1-t^2}(\tfrac{d-1}{2}, \tfrac12)]^M
        \quad (t \ge 0).

    Args:
        threshold: t, in [-1, 1].
        memories: M, at least 1.
        width: d, at least 2; of directions that a norm has centred one less than the stream's.

    Raises:
        ValueError: no memory, or fewer than two dimensions.
    """
    if memories < 1 or width < 2:
        raise ValueError(f"{memories} memories in {width} dimensions; accepted: at least one "
                         "memory in two dimensions")
    t = np.asarray(threshold, float)
    # the upper tail of |t|, by the Beta law of a squared cosine
    tail = 0.5 * stats.beta.sf(np.clip(t * t, 0, 1), 0.5, (width - 1) / 2)
    return np.where(t >= 0, 1 - tail, tail) ** memories


@lru_cache(maxsize=64)
def largest_cosine(memories: int, width: int) -> dict[str, float]:
    """The largest cosine of M uniform directions with a given one: ``mean, low, median, high``, the
    last three the 2.5, 50 and 97.5 % quantiles of :func:`largest_cosine_below`."""
    grid = np.linspace(-1, 1, 20_001)
    below = largest_cosine_below(grid, memories, width)
    quantiles = np.interp((0.025, 0.5, 0.975), below, grid)
    # the mean of a variable that is at most 1 is 1 minus the integral of its distribution
    return {"mean": float(1 - integrate.trapezoid(below, grid)),
            **dict(zip(("low", "median", "high"), map(float, quantiles), strict=True))}


def rotations(memories: int, draws: int,
              seed: int = 0) -> Iterator[Float[Tensor, "memory memory"]]:
    """Random rotations of M memories among each other, one after the other: orthogonal matrices
    that are uniform over all of them (Haar), float64 on the CPU.

    One of a large model is big (75 MB of 3,072 neurons), so that no more than one is held.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        drawn = torch.randn(memories, memories, generator=generator, dtype=torch.float64)
        orthogonal, upper = torch.linalg.qr(drawn)
        # with the signs of R's diagonal the law of Q is uniform (Mezzadri, 2007)
        yield orthogonal * upper.diagonal().sign()


def rotated(vectors: Float[Tensor, "memory width"],
            turn: Float[Tensor, "memory memory"]) -> Float[Tensor, "memory width"]:
    """Value vectors W after a rotation Q among the memories, QᵀW.

    The space that they span, and what the half can write, stay as they are; that there are neurons
    does not.
    """
    return turn.to(vectors).T @ vectors


def any_by_chance(owned: np.ndarray | int, memories: int, count: int = 5) -> np.ndarray:
    """Probability that at least one of ``count`` different memories drawn at random is among the
    ``owned`` of M: 1 - C(M - n, k) / C(M, k).

    Raises:
        ValueError: more owned or drawn than there are.
    """
    return 1 - stats.hypergeom.pmf(0, memories, *_checked(owned, memories, count))


def all_by_chance(owned: np.ndarray | int, memories: int, count: int = 5) -> np.ndarray:
    """Probability that all of ``count`` memories drawn at random are among the ``owned`` of M:
    C(n, k) / C(M, k)."""
    return stats.hypergeom.pmf(count, memories, *_checked(owned, memories, count))


def _checked(owned: np.ndarray | int, memories: int, count: int) -> tuple[np.ndarray, int]:
    owned = np.asarray(owned)
    if not 1 <= count <= memories or (owned < 0).any() or (owned > memories).any():
        raise ValueError(f"{count} memories drawn, {owned.min()} to {owned.max()} owned, of "
                         f"{memories}; accepted: at most all of them")
    return owned, count
