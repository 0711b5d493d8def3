"""The known defects of the authors' published code: what the code does, what is done instead, and
how the difference is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from torch import nn

from neuronpath_core.chapters.as_published.cases import Case
from neuronpath_core.chapters.as_published.defects import (
    class_means,
    last_of_rank,
    left_sum,
    mixed_batch,
    normalisation,
    positions,
    pruning,
    pure_batch,
    relaxation,
    second_norm,
    skipped_blocks,
    squash,
)
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel


@dataclass(frozen=True)
class Defect:
    """A defect of the published code.

    Attributes:
        number: its place in the list of the known ones.
        published, corrected: what the code does, and what is done instead.
        measure: from a :class:`~neuronpath_core.chapters.as_published.cases.Case` to its tidy rows;
            ``None`` if it moves no number.
        applies: whether a model, by name and target, has it.
        images: which image set it is measured on, ``"search"`` or ``"pruning"``.
        parts: names of the defects in its rows, where there are several.
    """

    number: int
    published: str
    corrected: str
    measure: Callable[[Case], pd.DataFrame] | None
    applies: Callable[[str, TargetModel], bool] = lambda name, target: True
    images: str = "search"
    parts: tuple[str, ...] = ()


def _class_token(name: str, target: TargetModel) -> bool:
    return target.scope == "cls"


def _averaging(name: str, target: TargetModel) -> bool:
    return target.scope == "patch" and not isinstance(target.model.fc_norm, nn.Identity)


def _resampled(name: str, target: TargetModel) -> bool:
    # the checkpoints that were fine-tuned at another resolution
    return target.scope == "cls" and name.endswith("-32")


DEFECTS = {
    "normalisation": Defect(1, "ImageNet's mean and deviation",
                            "0.5 and 0.5, as the weights expect", normalisation, _class_token),
    "squash": Defect(1, "picture squashed to a square", "shorter side resized, centre cropped",
                     squash),
    "positions": Defect(2, "another resolution, positions interpolated",
                        "the resolution of training", positions, _resampled),
    "relaxation": Defect(3, "joint relaxation", "Algorithm 1 as written", relaxation, _class_token),
    "left sum": Defect(4, "20 left Riemann steps", "converged integral", left_sum),
    "repeated passes": Defect(5, "a backward per block and earlier block, repeated clean passes",
                              "the same numbers at lower cost", None),
    "batch label, classes mixed": Defect(6, "the first image's label for a mixed batch",
                                         "each image's own label", mixed_batch),
    "batch label, one class": Defect(6, "the first image's label for a batch of one class",
                                     "each image's own label", pure_batch),
    "second norm": Defect(7, "norm after pooling applied twice", "applied once", second_norm,
                          _averaging),
    "skipped blocks": Defect(8, "Influence Pattern leaves out the blocks on the path",
                             "all blocks run", skipped_blocks, _averaging),
    "last of rank": Defect(9, "of several neurons a block the last one counts", "all count",
                           last_of_rank, _class_token),
    "pruning": Defect(10, "leaking split, mode of each rank, bars of another t, probability for "
                          "accuracy", "each put right alone", pruning, _class_token,
                      "pruning", ("leaking split", "mode of each rank", "mislabelled bars",
                                  "probability for accuracy")),
    "class means": Defect(10, "box plots of class means", "box plots of images", class_means,
                          _class_token, "pruning"),
    "no resume, tests, pins": Defect(11, "results appended to files, no tests, no pinned versions",
                                     "stored tables, tests, constraints", None),
}


def effects(study: Study, names: Sequence[str], images: Mapping[str, ImageSet],
            pruned: Sequence[str]) -> pd.DataFrame:
    """Every defect of ``DEFECTS`` on every model that has it.

    Args:
        names: models of the study.
        images: ``"search"``, and ``"pruning"``, which are split into probing and test images.
        pruned: the models that what is measured on the latter is limited to.

    Returns:
        tidy rows, as of :mod:`~neuronpath_core.chapters.as_published.cases`.

    Raises:
        ValueError: a model that the study does not have, or images that cannot be split.
    """
    names, pruned, rows = study.check_models(list(names)), study.check_models(list(pruned)), []
    for model in dict.fromkeys([*names, *pruned]):
        cases = {kind: Case(study, model, images[kind]) for kind,
                 chosen in (("search", names), ("pruning", pruned)) if model in chosen}
        rows += [defect.measure(cases[defect.images]) for defect in DEFECTS.values()
                 if defect.measure is not None and defect.images in cases
                 and defect.applies(model, study.target(model))]
    return pd.concat(rows, ignore_index=True)
