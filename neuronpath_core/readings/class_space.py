"""What every token says of its image's class, block by block (Vilas et al., 2023, section 5), and
the rates that are made of it.

Readings are arrays with an axis of images, so that whoever makes a rate of them can take the image
for the unit.  A token *identifies* its class if it ranks the label strictly first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.readings.projection import (
    Scale,
    head_rows,
    of_ranks,
    project_vectors,
    ranks,
)
from neuronpath_core.readings.streams import over_images
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

    from neuronpath_core.readings.streams import Streams
    from neuronpath_core.target import TargetModel

Pooling = Literal["published", "corrected"]
POOLINGS = ("published", "corrected")


@dataclass(frozen=True)
class ClassReading:
    """What tokens say of their image's label after each block, on the CPU.

    Attributes:
        rank: of the label among the classes, 0 for the first, ties at the mean of their places.
        logit: the label's number.
        first: the class with the largest number.
        classes: C.
        groups: by name of a grouping of the classes, the rank of the label's group among the
            groups, by the sum of their classes' probabilities.
        sizes: by the same names, how many groups there are.
    """

    rank: Float[np.ndarray, "block image token"]
    logit: Float[np.ndarray, "block image token"]
    first: Int64[np.ndarray, "block image token"]
    classes: int
    groups: dict[str, Float[np.ndarray, "block image token"]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def identifiability(self, scale: Scale = "published") -> Float[np.ndarray,
                                                                   "block image token"]:
        """How high the label ranks, see
        :func:`~neuronpath_core.readings.projection.identifiability`."""
        return of_ranks(self.rank, self.classes, scale)

    def identified(self) -> Bool[np.ndarray, "block image token"]:
        """Whether the label is strictly first."""
        return self.rank == 0

    def of_group(self, name: str) -> Float[np.ndarray, "block image token"]:
        """How high the label's group ranks, from 0 (last) to 1 (first), one half by chance whatever
        the number of groups.

        Raises:
            ValueError: no such grouping.
        """
        if name not in self.groups:
            raise ValueError(f"no grouping {shown(name)} was read; accepted: "
                             f"{', '.join(self.groups) or 'none'}")
        return 1 - self.groups[name] / (self.sizes[name] - 1)


@torch.no_grad()
def read_classes(target: TargetModel, images: Float[Tensor, "image channel height width"],
                 labels: Int64[Tensor, "image"],
                 groups: Mapping[str, Int64[np.ndarray, "class"]] | None = None) -> ClassReading:
    """Read every token after every block by the ``"normed"`` projection, in one pass of the images.

    Args:
        target: the model.
        images, labels: as the model accepts them; as many at a time as memory admits.
        groups: by name, the group of each class, numbered from 0: the outline and the fill of a
            scene's class.  The probability of a group is the sum of its classes'.

    Raises:
        ValueError: groupings of another number of classes or of one group, and what
            :func:`~neuronpath_core.readings.projection.identifiability` refuses.
    """
    check_target(target)
    target.check_batch(images, labels)
    head_rows(target)
    members = {name: _membership(name, group, target.n_classes).to(images)
               for name, group in (groups or {}).items()}

    def reading(streams: Streams, rows: Tensor) -> dict[str, Tensor]:
        own, kept = labels[rows, None], {name: [] for name in ("rank", "logit", "first", *members)}
        for values in streams.blocks:
            logits = project_vectors(target, values)
            kept["rank"].append(ranks(logits, own))
            kept["logit"].append(logits.gather(-1, own[..., None].expand(
                *logits.shape[:2], 1))[..., 0])
            kept["first"].append(logits.argmax(-1))
            for name, member in members.items():
                kept[name].append(ranks(logits.softmax(-1) @ member, member.argmax(1)[own]))
        return {name: torch.stack(each).cpu() for name, each in kept.items()}

    parts = over_images(target, images, reading)
    whole = {name: torch.cat([part[name] for part in parts], 1).numpy() for name in parts[0]}
    return ClassReading(whole["rank"], whole["logit"], whole["first"], target.n_classes,
                        {name: whole[name] for name in members},
                        {name: member.shape[1] for name, member in members.items()})


def _membership(name: str, group: object, classes: int) -> Float[Tensor, "class group"]:
    numbers = np.asarray(group)
    if numbers.shape != (classes,) or numbers.dtype.kind not in "iu" or numbers.min(
            initial=0) < 0 or len(np.unique(numbers)) < 2:
        raise ValueError(f"grouping {shown(name)} must number the group of each of {classes} "
                         "classes, at least two groups from 0")
    return torch.nn.functional.one_hot(torch.from_numpy(numbers.astype(np.int64))).double()


def chance(classes: int, scale: Scale = "published") -> float:
    r"""Mean identifiability of a random order: :math:`\frac12 + \frac1{2C}` as published, one half
    of the ``"full"`` scale."""
    return float(of_ranks((classes - 1) / 2, classes, scale))


def chance_of_one(rate: float, tokens: int) -> float:
    r"""Share of images with at least one identifying token if P tokens were independent of one
    another, :math:`1 - (1 - q)^P` with the rate q."""
    return 1 - (1 - rate) ** tokens


def by_image(values: Float[np.ndarray, "*block image token"],
             where: Bool[np.ndarray, "image token"]) -> Float[np.ndarray, "*block image"]:
    """The mean over each image's own tokens; NaN for an image without one."""
    count = where.sum(-1)
    total = np.where(where, values, 0).sum(-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def logit_rises(logit: Float[np.ndarray, "block image token"]
                ) -> Bool[np.ndarray, "step image token"]:
    """Whether the label's number grows from one block to the next (published as the logit
    increment rate), from the second block on."""
    return np.diff(logit, axis=0) > 0


def difference(values: Float[np.ndarray, "block image token"],
               own: Bool[np.ndarray, "image token"],
               variant: Pooling = "corrected") -> Float[np.ndarray, "block *image"]:
    """The mean over tokens of one kind minus that over the others, after each block.

    Args:
        values: of the tokens that are compared, without the class token.
        own: which of them are of the first kind.
        variant: ``"corrected"``: for each image, NaN where it lacks one kind; ``"published"``: over
            the tokens of all images at once, so that images with many tokens count for more.

    Raises:
        ValueError: an unknown variant, or truth values of another shape.
    """
    if not is_one_of(variant, POOLINGS):
        raise ValueError(f"unknown variant {shown(variant)}; accepted: {', '.join(POOLINGS)}")
    if own.dtype != bool or own.shape != values.shape[1:]:
        raise ValueError(f"kinds of tokens are {own.dtype} {own.shape}; accepted: truth values "
                         f"{values.shape[1:]}")
    if variant == "published":
        return values[:, own].mean(1) - values[:, ~own].mean(1)
    return by_image(values, own) - by_image(values, ~own)


def within_rings(values: Float[np.ndarray, "block image token"],
                 own: Bool[np.ndarray, "image token"],
                 rings: Int64[np.ndarray, "token"]) -> Float[np.ndarray, "block image"]:
    r"""As :func:`difference` of each image, but between tokens that are equally far from the middle
    only: the mean over rings, each counted by :math:`n m / (n + m)` for its n tokens of one kind
    and m of the other.  NaN for an image without a ring of both kinds."""
    total, weight = np.zeros(values.shape[:2]), np.zeros(len(own))
    for ring in np.unique(rings):
        inside = rings == ring
        first, second = own & inside, ~own & inside
        n, m = first.sum(1), second.sum(1)
        share = np.divide(n * m, n + m, out=np.zeros(len(own)), where=(n > 0) & (m > 0))
        gap = by_image(values, first) - by_image(values, second)
        total += share * np.where(share > 0, gap, 0)
        weight += share
    return np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
