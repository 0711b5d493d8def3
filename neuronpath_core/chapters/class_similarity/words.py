"""What Chapter 5 says of its rows in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from neuronpath_core.stats import report


def similarity_claims(own: pd.DataFrame, look: pd.DataFrame) -> pd.DataFrame:
    """The paper's two claims, per model: ``key, claim, text, verdict``.

    ``own`` and ``look`` have a row per model of
    :func:`~neuronpath_core.chapters.class_similarity.similar.split_half_similarity` and
    :func:`~neuronpath_core.chapters.class_similarity.similar.look_correlation`. ``"look"`` agrees
    if the correlation exceeds its 97.5 % quantile under permutation.
    """
    rows = [{"key": "class", "claim": "Paths carry the class",
             "text": f"{model}: cosine {row['two halves of a class']:.3f} between two halves of a "
                     f"class, {row['halves of two classes']:.3f} between classes",
             "verdict": report.verdict(row)} for model, row in own.iterrows()]
    rows += [{"key": "look", "claim": "Semantically similar classes have similar paths",
              "text": f"{model}: rank correlation with the similarity of the classes' mean images "
                      f"{row['correlation']:+.2f}; 97.5 % quantile under permutation "
                      f"{row['permuted_high']:+.2f}",
              "verdict": "agrees" if row["correlation"] > row["permuted_high"] else "not shown"}
             for model, row in look.iterrows()]
    return pd.DataFrame(rows)


def extremes(similarity: np.ndarray, class_names: Sequence[str],
             share: float = 0.05) -> pd.DataFrame:
    """For each class the most and the least similar ones (Fig. 5):
    ``class, kind, other, similarity``.

    ``share`` of the other classes is shown at each end, at least one.
    """
    rows, count = [], max(1, round(share * (len(class_names) - 1)))
    for index, name in enumerate(class_names):
        order = [other for other in np.argsort(-similarity[index], kind="stable") if other != index]
        for kind, chosen in (("most similar", order[:count]),
                             ("least similar", order[::-1][:count])):
            rows += [{"class": name, "kind": kind, "other": class_names[other],
                      "similarity": float(similarity[index, other])} for other in chosen]
    return pd.DataFrame(rows)


def finding(own: pd.DataFrame, look: pd.DataFrame) -> str:
    """What the tables of :func:`similarity_claims` show, as a sentence."""
    alike = int((look["correlation"] > look["permuted_high"]).sum())
    own_paths = int((own["low"] > 0).sum())
    return (f"A class has paths of its own in {own_paths} of {len(own)} models; classes that look "
            f"alike have similar paths in {alike} of {len(look)} (rank correlation "
            f"{report.span_text(look['correlation'], 2)})")


def utilisation_finding(usage: Mapping[str, np.ndarray]) -> str:
    """How much of a block's selections its commonest neuron has, as a sentence; ``usage``: model →
    :func:`~neuronpath_core.chapters.class_similarity.similar.utilisation`."""
    shares = [float(matrices.max(2).mean()) for matrices in usage.values()]
    return f"A class's commonest neuron has {report.percent_span(shares)} of a block's selections"


def spread_finding(similarity: Mapping[str, np.ndarray]) -> str:
    """How far the similarities of different classes are apart, as a sentence."""
    others = np.concatenate([matrix[~np.eye(len(matrix), dtype=bool)]
                             for matrix in similarity.values()])
    return f"The cosine of two different classes runs from {others.min():.2f} to {others.max():.2f}"
