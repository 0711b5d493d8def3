"""What classes may have in common: attributes, embeddings, confusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core import metrics
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.stats.mantel import Relation
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


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
    # imported here, so that the package imports without it
    from sklearn.metrics import confusion_matrix

    counts = confusion_matrix(labels, probabilities.argmax(1),
                              labels=np.arange(probabilities.shape[1]))
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
    """The relations of classes that a model's path similarity is compared with, by name.

    The axes of the data's taxonomy, each given the others; ``"embedding"`` and ``"confusions"`` (on
    all held-out images); and, where there is a taxonomy, ``"embedding given taxonomy"`` and
    ``"confusions given taxonomy"``: what they share with the paths beyond the attributes. A
    relation that does not vary, such as the confusions of a model that makes no mistake, is left
    out.
    """
    images, axes = study.held_out, taxonomy_relations(study.held_out.taxonomy)
    given = tuple(relation.matrix for relation in axes.values())
    weight = numbers(study.target(model).model.head.weight)
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
