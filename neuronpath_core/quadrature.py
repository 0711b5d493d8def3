"""Quadrature rules on [0, 1], and a rule's own sum at fewer places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from neuronpath_core.support.memory import copies_at_once
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.target import TargetModel

Quadrature = Literal["left", "right", "midpoint", "gauss-legendre"]
MOST_STEPS = 10_000
QUADRATURES = ("left", "right", "midpoint", "gauss-legendre")


def check_quadrature(quadrature: str, steps: int, nodes: int | None = None) -> None:
    """Raise ``ValueError`` unless the rule is known, ``steps`` a positive whole number and
    ``nodes`` one of 1..steps."""
    if not is_one_of(quadrature, QUADRATURES):
        raise ValueError(f"unknown quadrature {shown(quadrature)}; accepted: "
                         f"{', '.join(QUADRATURES)}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"steps must be a whole number of at least 1, got {shown(steps)}")
    if steps > MOST_STEPS:
        raise ValueError(f"steps must be a whole number of at most {MOST_STEPS}, far beyond what "
                         f"any integral here needs, got {shown(steps)}")
    if nodes is not None and (isinstance(nodes, bool) or not isinstance(nodes, int)
                              or not 1 <= nodes <= steps):
        raise ValueError(f"nodes must be a whole number in 1..{steps}, the steps, got "
                         f"{shown(nodes)}")


def quadrature_rule(quadrature: Quadrature, steps: int,
                    nodes: int | None = None) -> tuple[Tensor, Tensor]:
    r"""Nodes and weights on [0, 1]: :math:`\int_0^1 f \approx \sum_k q_k f(\alpha_k)`, weights
    summing to one.

    ``left`` (:math:`\alpha_k = k/m`, as published, k = 0..m-1), ``right`` (k = 1..m, Eq. 6),
    ``midpoint``, and ``gauss-legendre`` (exact for polynomials up to degree 2m-1).

    Args:
        quadrature, steps: the rule and its m.
        nodes: evaluate the rule's own sum, its bias included, at fewer places: the Gauss quadrature
            of the discrete measure :math:`\sum_k q_k \delta_{\alpha_k}`, equal to the rule for
            polynomials up to degree 2 ``nodes`` - 1 (Golub and Welsch, 1969; the Jacobi matrix by
            Lanczos).  ``None`` evaluates the rule as it stands.

    Returns:
        float64 ``(steps,)`` or ``(nodes,)`` twice, on the CPU.
    """
    check_quadrature(quadrature, steps, nodes)
    if quadrature == "gauss-legendre":
        points, weights = np.polynomial.legendre.leggauss(steps)
        points, weights = (points + 1) / 2, weights / 2
    else:
        offset = {"left": 0.0, "right": 1.0, "midpoint": 0.5}[quadrature]
        points, weights = (np.arange(steps) + offset) / steps, np.full(steps, 1 / steps)
    if nodes is not None and nodes < steps:
        points, weights = _condensed(points, weights, nodes)
    return torch.from_numpy(points), torch.from_numpy(weights)


def placed_rule(target: TargetModel, quadrature: Quadrature, steps: int,
                nodes: int | None = None) -> tuple[Tensor, Tensor]:
    """:func:`quadrature_rule` for a model: nodes in its dtype, weights in at least single
    precision, on its device."""
    points, weights = quadrature_rule(quadrature, steps, nodes)
    wide = torch.promote_types(target.dtype, torch.float32)
    return points.to(target.device, target.dtype), weights.to(target.device, wide)


def node_parts(target: TargetModel, images: int, alphas: Tensor,
               weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Split a rule so that each piece, applied to that many images, fits into one chunk."""
    at_once = max(1, copies_at_once(target) // images)
    return zip(alphas.split(at_once), weights.split(at_once), strict=True)


def integrated(values: Float[Tensor, "batch step *rest"],
               weights: Float[Tensor, "step"]) -> Float[Tensor, "batch *rest"]:
    """Values at a rule's nodes, summed with its weights in at least single precision."""
    wide = torch.promote_types(values.dtype, torch.float32)
    return torch.einsum("bs...,s->b...", values.to(wide), weights.to(wide))


def _condensed(points: np.ndarray, weights: np.ndarray,
               nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss quadrature of a discrete measure of mass one."""
    basis, diagonal, beside = [np.sqrt(weights)], [], []
    for _ in range(nodes):
        moved = points * basis[-1]
        diagonal.append(basis[-1] @ moved)
        for _ in range(2):  # twice, because Lanczos loses orthogonality to rounding
            for vector in basis:
                moved = moved - (vector @ moved) * vector
        beside.append(np.linalg.norm(moved))
        basis.append(moved / beside[-1])
    values, vectors = eigh_tridiagonal(diagonal, beside[:-1])
    return values, vectors[0] ** 2
