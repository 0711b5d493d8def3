"""The similarity explorer: for a class, the others in order of how alike their paths are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronpath_core.figures.class_paths import _typical
from neuronpath_core.figures.explore.page import explorer_html, png, show, table
from neuronpath_core.images.image_set import ImageSet

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

SCRIPTS = ("page.js", "similar.js")


@dataclass(frozen=True)
class ClassSimilarity:
    """How alike the paths of classes are.

    Attributes:
        classes: their names.
        similarity: cosine of their utilisation matrices.
        typical: a picture of each class.
        each: how many pictures of a class the paths are of.
    """

    classes: tuple[str, ...]
    similarity: Float[np.ndarray, "class class"]
    typical: Sequence[UInt8[np.ndarray, "height width ..."]]
    each: int

    def __post_init__(self) -> None:
        count = len(self.classes)
        if self.similarity.shape != (count, count) or len(self.typical) != count or count < 2:
            raise ValueError(f"a similarity of shape {self.similarity.shape} and "
                             f"{len(self.typical)} pictures do not fit {count} classes; accepted: "
                             f"one row, one column and one picture for each of two or more")

    @classmethod
    def of(cls, similarity: Float[np.ndarray, "class class"], images: ImageSet) -> ClassSimilarity:
        """That of the classes of which there are images, with the picture of each class that is
        nearest to the class's mean."""
        labels, counts = np.unique(images.labels.numpy(), return_counts=True)
        return cls(tuple(images.class_names[label] for label in labels), similarity,
                   [_typical(images, label) for label in labels], int(counts.min()))


def similarity_html(sets: Mapping[str, ClassSimilarity], key: str, nearest: int = 3) -> str:
    """The similarity explorer of a page.

    Args:
        sets: by the name that a reader chooses.
        key: identifier on the page; letters, digits and hyphens.
        nearest: how many of the most similar classes the table without a script names.

    Raises:
        ValueError: nothing to explore, or a key that a page cannot use.
    """
    if not sets:
        raise ValueError("nothing to explore; accepted: the similarity of at least one set")
    data = {"sets": [{"name": name, "classes": list(own.classes), "each": own.each,
                      "similarity": np.round(own.similarity, 3).tolist(),
                      "images": [png(picture) for picture in own.typical]}
                     for name, own in sets.items()]}
    static = "".join(table(f"{name}: the classes with the most similar paths, and the least",
                           ["Class", "Most similar", "Least similar"], _rows(own, nearest))
                     for name, own in sets.items())
    return explorer_html(key, "similarityExplorer", SCRIPTS, data, static,
                         "All classes as a table")


def _rows(own: ClassSimilarity, nearest: int) -> list[list[Any]]:
    rows = []
    for index, name in enumerate(own.classes):
        order = [other for other in np.argsort(-own.similarity[index], kind="stable")
                 if other != index]
        words = [f"{own.classes[other]} {own.similarity[index, other]:.2f}" for other in order]
        rows.append([name, ", ".join(words[:nearest]), words[-1]])
    return rows


def explore_similarity(sets: Mapping[str, ClassSimilarity], key: str) -> None:
    """Display the similarity explorer; see `similarity_html` for arguments and errors."""
    show(f"an explorer of the similarity of classes in {', '.join(sets)}",
         similarity_html(sets, key))
