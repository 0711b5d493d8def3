"""Mantel's test: does one similarity of classes go with another?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import linalg, stats

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Relation:
    """What the similarity of paths is compared with.

    Attributes:
        matrix: ``(class, class)``, symmetric; its diagonal is never read.
        given: matrices of the same kind that compete with it; the correlation is then the partial
            one.
        groups: one value per class; under permutation only classes of equal value change places.
            ``None``: all do.
    """

    matrix: Float[np.ndarray, "class class"]
    given: tuple[Float[np.ndarray, "class class"], ...] = ()
    groups: tuple | None = None


class Contrast:
    """The pairs of classes, and the ranks of a relation with what the given matrices explain of
    them taken out."""

    def __init__(self, relation: Relation):
        matrices = [np.asarray(each, dtype=float) for each in (relation.matrix, *relation.given)]
        self.classes = len(matrices[0])
        if self.classes < 3 or any(each.shape != (self.classes, self.classes)
                                   or not np.isfinite(each).all() for each in matrices):
            raise ValueError(f"accepted: finite matrices (class, class) of one shape for at least "
                             f"3 classes, got {[each.shape for each in matrices]}")
        self.pairs = np.triu_indices(self.classes, 1)
        ranks, *given = (stats.rankdata(each[self.pairs]) for each in matrices)
        ranks = ranks - ranks.mean()
        # centred first, so that no rounding of the large mean is left in the basis
        self.basis = linalg.orth(np.stack([each - each.mean() for each in given], 1),
                                 rcond=1e-9) if given else np.zeros((len(ranks), 0))
        rest = ranks - self.basis @ (self.basis.T @ ranks)
        if np.linalg.norm(rest) <= 1e-9 * len(rest):
            raise ValueError("nothing of the relation varies over the pairs of classes, or beyond "
                             "the given matrices; accepted: one that does")
        self.direction = rest / np.linalg.norm(rest)

    def ranks(self, similarity: Float[np.ndarray, "*stack class class"]) -> Float[np.ndarray,
                                                                                  "*stack pair"]:
        """Centred ranks of the similarities of all pairs."""
        similarity = np.asarray(similarity, dtype=float)
        if similarity.shape[-2:] != (self.classes,
                                     self.classes) or not np.isfinite(similarity).all():
            raise ValueError(f"the similarity must be finite and of {self.classes} classes as the "
                             f"relation is, got shape {similarity.shape}")
        # cosines that are equal but for rounding must tie
        ranks = stats.rankdata(np.round(similarity[..., *self.pairs], 12), axis=-1)
        return ranks - ranks.mean(-1, keepdims=True)

    def correlation(self, ranks: Float[np.ndarray, "*stack pair"]) -> Float[np.ndarray, "*stack"]:
        """Correlation of the two residuals; 0 where nothing of the ranks is left to explain."""
        rest = np.square(ranks).sum(-1) - np.square(ranks @ self.basis).sum(-1)
        varies = rest > 1e-9 * ranks.shape[-1]
        # rounded, so that permutations that change nothing tie with what was measured
        return np.where(varies,
                        np.round(ranks @ self.direction / np.sqrt(np.where(varies, rest, 1)), 12),
                        0.0)


def block_mantel(
    similarities: Float[np.ndarray, "block class class"], relation: Relation,
    permutations: int = 999, seed: int = 0
) -> pd.DataFrame:
    """:func:`mantel` for several similarities of the same classes, such as each block's, corrected
    for their number.

    All are permuted together, and each is held against the largest and the smallest of the permuted
    correlations (Westfall and Young, 1993), so that under the null hypothesis 5 % of such tables,
    not of their rows, hold a p below 0.05.

    Returns:
        one row per similarity: ``block`` (from 1), ``value``, ``permuted_low``, ``permuted_high``,
        ``p``.
    """
    contrast = Contrast(relation)
    ranks = contrast.ranks(similarities)
    if ranks.ndim != 2:
        raise ValueError(f"similarities must be (block, class, class), got shape "
                         f"{np.shape(similarities)}")
    square = np.zeros((len(ranks), contrast.classes, contrast.classes))
    square[:, *contrast.pairs] = ranks
    square += square.swapaxes(1, 2)
    members = _exchangeable(relation.groups, contrast.classes)

    def statistic(*orders: np.ndarray, axis: int = -1) -> np.ndarray:
        order = np.empty((*orders[0].shape[:-1], contrast.classes), int)
        for own, moved in zip(members, orders, strict=True):
            order[..., own] = moved
        rows, columns = order[..., contrast.pairs[0]], order[..., contrast.pairs[1]]
        return np.stack([contrast.correlation(block[rows, columns]) for block in square], -1)

    found = stats.permutation_test(members, statistic, permutation_type="pairings", vectorized=True,
                                   n_resamples=permutations, batch=200,
                                   rng=np.random.default_rng(seed))
    value = found.statistic
    largest = found.null_distribution.max(1)
    smallest = found.null_distribution.min(1)
    # all permutations hold the measured one, a sample has it added
    counted = 0 if len(largest) < permutations else 1
    above, below = ((largest[:, None] >= value).sum(0), (smallest[:, None] <= value).sum(0))
    return pd.DataFrame({"block": np.arange(1, len(value) + 1), "value": value,
                         "permuted_low": np.quantile(smallest, 0.025),
                         "permuted_high": np.quantile(largest, 0.975),
                         "p": np.minimum(1, 2 * (np.minimum(above, below) + counted)
                                         / (len(largest) + counted))})


def _exchangeable(groups: Sequence | None, classes: int) -> list[np.ndarray]:
    """The classes of each group."""
    codes = np.zeros(classes,
                     int) if groups is None else np.unique([str(group) for group in groups],
                                                           return_inverse=True)[1]
    members = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    sizes = [len(each) for each in members]
    if len(codes) != classes or len(set(sizes)) > 1 or sizes[0] < 2:
        raise ValueError(f"groups of {sizes} classes were given; accepted: groups of one size, at "
                         f"least 2 each, {classes} classes in all")
    return members


def mantel(
    first: Float[np.ndarray, "class class"], second: Float[np.ndarray, "class class"],
    given: Sequence[np.ndarray] = (), groups: Sequence | None = None,
    permutations: int = 999, seed: int = 0
) -> dict[str, float]:
    r"""Spearman correlation of two matrices over the pairs of classes, tested by permuting the
    classes of the first (Mantel, 1967).

    With ``given``, the partial correlation (Smouse, Long and Sokal, 1986): of the residuals of both
    matrices' ranks :math:`r` after least squares on those of the given ones,

    .. math::

        \rho = \frac{\langle Q r_1, Q r_2\rangle}{\lVert Q r_1\rVert\,\lVert Q r_2\rVert},\quad
        Q = 1 - G(G^\top G)^{-1}G^\top .

    Args:
        first, second: symmetric matrices of one shape; the diagonals are not read.
        given: matrices whose part is taken out of both.
        groups: one value per class; only classes of equal value change places.  Two axes that
            compete, such as outline and fill, are separated exactly by permuting within the classes
            of one fill.
        permutations: number drawn; if there are no more than so many in all, each is taken once and
            the test is exact.

    Returns:
        ``value`` in -1..1 (0 if the first matrix is constant or explained by the given ones);
        ``permuted_low``, ``permuted_high``, the 2.5 and 97.5 % quantiles under permutation; ``p``,
        two-sided.

    Raises:
        ValueError: matrices that do not fit one another, a second one that does not vary, or
            unequal groups.
    """
    row = block_mantel(np.asarray(first, dtype=float)[None], Relation(second, tuple(given), groups),
                       permutations, seed).iloc[0]
    return {name: float(row[name]) for name in ("value", "permuted_low", "permuted_high", "p")}
