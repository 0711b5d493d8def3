"""Figure 5 in numbers: is the similarity of classes' paths that of their attributes, of their
embeddings, of their confusions?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import linalg, stats

from neuronpath_core import metrics
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


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


class _Contrast:
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
    contrast = _Contrast(relation)
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


def shared_value(values: Sequence[str]) -> Float[np.ndarray, "class class"]:
    """1 for two classes with the same value of an axis of the taxonomy, else 0."""
    names = np.array(list(values))
    return (names[:, None] == names).astype(float)


def embedding_similarity(weight: Float[np.ndarray, "class width"]) -> Float[np.ndarray,
                                                                            "class class"]:
    """Cosine between the class embeddings, the rows of the head's weight (Vilas et al., 2023), in
    -1..1."""
    return metrics.cosine_similarity(np.asarray(weight, dtype=float)[:, None])


def confusion_similarity(probabilities: Float[np.ndarray, "image class"],
                         labels: Int64[np.ndarray, "image"]) -> Float[np.ndarray, "class class"]:
    """How often two classes are taken for one another: mean of the two shares of images, in 0..1.

    Raises:
        ValueError: a class without images.
    """
    classes = probabilities.shape[1]
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, probabilities.argmax(1)), 1)
    if (counts.sum(1) == 0).any():
        raise ValueError(f"classes {np.flatnonzero(counts.sum(1) == 0).tolist()} have no images; "
                         f"accepted: at least one of each class")
    shares = counts / counts.sum(1, keepdims=True)
    return (shares + shares.T) / 2


def taxonomy_relations(taxonomy: Mapping[str, Sequence[str]]) -> dict[str, Relation]:
    """A relation for each axis, given the other axes and permuted among the classes that agree in
    them."""
    matrices = {axis: shared_value(values) for axis, values in taxonomy.items()}
    relations = {}
    for axis in taxonomy:
        others = [other for other in taxonomy if other != axis]
        groups = tuple(zip(*(taxonomy[other] for other in others), strict=True)) if others else None
        relations[axis] = Relation(matrices[axis], tuple(matrices[other] for other in others),
                                   groups)
    return relations


def class_relations(study: Study, model: str) -> dict[str, Relation]:
    """What a model's path similarity is compared with, by name.

    The axes of the data's taxonomy, each given the others; ``"embedding"`` and ``"confusions"`` (on
    all held-out images); and, where there is a taxonomy, ``"embedding given taxonomy"`` and
    ``"confusions given taxonomy"``: what they share with the paths beyond the attributes. A
    relation that does not vary, such as the confusions of a model that makes no mistake, is left
    out.
    """
    images, axes = study.held_out, taxonomy_relations(study.held_out.taxonomy)
    given = tuple(relation.matrix for relation in axes.values())
    weight = study.target(model).model.head.weight.detach().cpu().double().numpy()
    others = {"embedding": embedding_similarity(weight),
              "confusions": confusion_similarity(study.probabilities(model, images),
                                                 images.labels.numpy())}
    relations = axes | {name: Relation(matrix) for name, matrix in others.items()}
    if given:
        relations |= {f"{name} given taxonomy": Relation(matrix, given) for name,
                      matrix in others.items()}
    off = ~np.eye(len(weight), dtype=bool)
    return {name: relation for name, relation in relations.items() if np.ptp(relation.matrix[off])
            > 0}


def class_utilisation(neurons: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"],
                      n_neurons: int) -> Float[np.ndarray, "class layer neuron"]:
    """Utilisation matrices M_c (Eq. 20) of all classes, from the paths of images ordered in any
    way."""
    return np.stack([metrics.utilisation_matrix(neurons[labels == label], n_neurons)
                     for label in np.unique(labels)])


def block_similarity(
    utilisation: Float[np.ndarray, "class layer neuron"]
) -> Float[np.ndarray, "layer class class"]:
    """S (Eq. 21) of each block alone."""
    return np.stack([metrics.cosine_similarity(utilisation[:, [block]])
                     for block in range(utilisation.shape[1])])


def compare_similarity(
    paths: Mapping[str, Int64[np.ndarray, "image layer"]], labels: Int64[np.ndarray, "image"],
    n_neurons: int, relations: Mapping[str, Relation],
    permutations: int = 999, resamples: int = 400, seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each method's path similarity against each relation, and how far the first method is ahead of
    the others.

    Intervals are over images: each class's images are resampled, for all methods together, and
    utilisation, similarity and correlation are computed anew; value ± 1.96 standard deviations of
    the resamples (Davison and Hinkley, 1997, 5.2.1).  Quantiles would not do: a resample repeats
    images, which blurs the similarity and draws every correlation towards zero.  What is estimated
    is the correlation at this number of images a class, which is itself nearer to zero than with
    more of them.  The classes stay as they are; what others could give is what the permutation
    tells.

    Returns:
        ``method, relation, value, low, high, permuted_low, permuted_high, p``, and
        ``against, relation, value, low, high``.
    """
    contrasts = {name: _Contrast(relation) for name, relation in relations.items()}

    def correlations(rows: np.ndarray) -> np.ndarray:
        similar = [metrics.cosine_similarity(class_utilisation(neurons[rows], labels[rows],
                                                               n_neurons))
                   for neurons in paths.values()]
        return np.array([[contrast.correlation(contrast.ranks(each))
                          for contrast in contrasts.values()] for each in similar])

    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    value = correlations(np.arange(len(labels)))
    draws = np.stack([correlations(np.concatenate([rng.choice(own, len(own)) for own in members]))
                      for _ in range(resamples)])
    rows, leads = [], []
    for i, (method, neurons) in enumerate(paths.items()):
        similar = metrics.cosine_similarity(class_utilisation(neurons, labels, n_neurons))
        for j, (name, relation) in enumerate(relations.items()):
            test = mantel(similar, relation.matrix, relation.given, relation.groups, permutations,
                          seed)
            rows.append({"method": method, "relation": name,
                         **_interval(value[i, j], draws[:, i, j]),
                         **{key: test[key] for key in ("permuted_low", "permuted_high", "p")}})
            if i:
                leads.append({"against": method, "relation": name,
                              **_interval(value[0, j] - value[i, j],
                                          draws[:, 0, j] - draws[:, i, j])})
    return pd.DataFrame(rows), pd.DataFrame(leads,
                                            columns=["against", "relation", "value", "low", "high"])


def _interval(value: float, draws: np.ndarray) -> dict[str, float]:
    half = stats.norm.ppf(0.975) * draws.std(ddof=1)
    return {"value": float(value), "low": float(value - half), "high": float(value + half)}


def shuffled_rate(
    neurons: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"], n_neurons: int,
    relation: Relation, shuffles: int = 100,
    permutations: int = 199, level: float = 0.05, seed: int = 0
) -> float:
    """How often the relation shows, by its p below ``level``, when the images' labels are shuffled
    and so no class has paths of its own.

    A test that is what it says gives ``level``, up to the chance of so many shuffles.
    """
    rng, found = np.random.default_rng(seed), []
    for number in range(shuffles):
        similar = metrics.cosine_similarity(class_utilisation(neurons, rng.permutation(labels),
                                                              n_neurons))
        found.append(mantel(similar, relation.matrix, relation.given, relation.groups, permutations,
                            seed + number)["p"] < level)
    return float(np.mean(found))


def pair_means(similarity: Float[np.ndarray, "class class"],
               taxonomy: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Mean similarity of the pairs of classes that share each axis's value, and of those that share
    none (``"nothing"``)."""
    upper = np.triu_indices(len(similarity), 1)
    shared = {axis: shared_value(values) for axis, values in taxonomy.items()}
    chosen = {axis: matrix[upper] > 0 for axis, matrix in shared.items()}
    chosen["nothing"] = ~np.any(list(chosen.values()), axis=0)
    return {axis: float(np.asarray(similarity)[upper][own].mean()) for axis, own in chosen.items()}


def permutation_verdict(row: Mapping[str, float], level: float = 0.05) -> str:
    """Whether a correlation shows: its ``adjusted`` p, else its ``p``, below ``level`` and
    positive, the same and negative, or neither.

    The interval over images is not asked, because it takes the classes as given: with enough images
    it excludes zero for every relation, true or made up.
    """
    if row["adjusted" if "adjusted" in row else "p"] >= level:
        return "not shown"
    return "agrees" if row["value"] > 0 else "contradicts"
