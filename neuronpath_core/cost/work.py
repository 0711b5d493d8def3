"""What a chapter does with each of its models, so that it can be counted before it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from neuronpath_core.cost.passes import Passes
from neuronpath_core.target import TargetModel


@dataclass(frozen=True)
class Work:
    """What a chapter does with each of its models.

    Attributes:
        tables: ``(images, which of the data's, settings)`` of path tables, each searched once
            however many chapters want it.
        by_top: the same for numbers of neurons that are searched together after the last of
            ``tables``, and share its first block's scores.
        passes: ``(images, copies at once, passes for one image, how often it is read)``.
        drafted: the same where a draft is made in single precision.
    """

    tables: list[tuple[int, str, dict]] = field(default_factory=list)
    by_top: list[tuple[int, str, dict]] = field(default_factory=list)
    passes: list[tuple[int, int, Callable[[TargetModel], Passes],
                       int]] = field(default_factory=list)
    drafted: list[tuple[int, int, Callable[[TargetModel], Passes],
                        int]] = field(default_factory=list)
