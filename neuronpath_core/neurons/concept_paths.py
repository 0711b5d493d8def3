r"""Paths for a concept instead of a class: F is the probability of a group of classes.

The scenes' classes are pairs of an outline and a fill.  The probability that a model gives to an
outline is the sum over its classes, :math:`F_g = \sum_{c \in g} p_c`.  It is the softmax of the
*log-sum-exp* of each group's logits,

.. math:: \mathrm{softmax}_g\Big(\log \sum_{c \in g} e^{z_c}\Big) = \sum_{c \in g} p_c ,

so that a model whose head ends in it is a classifier of groups, of which every method finds paths
as of any other (:func:`grouped`).  Two concepts of one image have a path each; whether each is the
path of its own concept is a *double dissociation* (:func:`dissociation`).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from neuronpath_core.hooks import without_edits
from neuronpath_core.readings.projection import head_rows
from neuronpath_core.support.text import shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jaxtyping import Float, Int64


class GroupHead(nn.Module):
    """A head whose logits are the log-sum-exp of each group of another head's logits.

    Args:
        head: gives ``(batch, class)``.
        groups: the group of each class, numbered from 0 without a gap.
    """

    def __init__(self, head: nn.Module, groups: Int64[Tensor, "class"]):
        super().__init__()
        self.head, self.out_features = head, int(groups.max()) + 1
        outside = groups[None] != torch.arange(self.out_features, device=groups.device)[:, None]
        self.register_buffer("outside", outside)

    def forward(self, pooled: Float[Tensor, "batch width"]) -> Float[Tensor, "batch group"]:
        logits = self.head(pooled)[..., None, :]
        return logits.masked_fill(self.outside, -torch.inf).logsumexp(-1)


def grouped(target: TargetModel, groups: Sequence[int]) -> TargetModel:
    """The model as a classifier of groups of its classes, a copy: its softmax probability of a
    group is the sum over the group's classes.

    Args:
        target: a model with one linear head.
        groups: the group of each class, numbered from 0; every number has a class.

    Returns:
        a target of the same scope; the labels of its images are numbers of groups.

    Raises:
        ValueError: another head, a site model, or groups that do not number every class, fewer than
            two, or with a gap.
    """
    head_rows(target)
    if type(target) is not TargetModel:
        raise ValueError(f"groups are of the classes of a TargetModel, got "
                         f"{type(target).__name__}; accepted: npc.TargetModel(model)")
    numbers = check_groups(groups, target.n_classes)
    model = without_edits(copy.deepcopy(target.model))
    model.head = GroupHead(model.head, torch.from_numpy(numbers).to(target.device))
    return TargetModel(model, scope=target.scope)


def check_groups(groups: Sequence[int], classes: int) -> Int64[np.ndarray, "class"]:
    """The group of each class as an array; ``ValueError`` unless they are numbered from 0 without a
    gap, at least two."""
    try:
        numbers = np.asarray(groups)
    except ValueError:  # rows of different lengths
        numbers = np.empty(0)
    fits = numbers.shape == (classes,) and numbers.dtype.kind in "iu"
    if not fits or not np.array_equal(np.unique(numbers), np.arange(max(2, len(
            np.unique(numbers))))):
        raise ValueError(f"groups cannot be {shown(groups)}; accepted: a number for each of "
                         f"{classes} classes, from 0 without a gap, at least two groups")
    return numbers.astype(np.int64)


def dissociation(lost: Float[np.ndarray, "path concept image"]
                 ) -> dict[str, Float[np.ndarray, "image"]]:
    r"""Whether each of two paths is the path of its own concept.

    Args:
        lost: :math:`\ell_{pq}`, how much of concept q's probability is lost without the path of
            concept p, of two concepts.

    Returns:
        ``"first"``: :math:`\ell_{00} - \ell_{10}`, what the first concept's own path costs it
        beyond what the other path does; ``"second"``: :math:`\ell_{11} - \ell_{01}`; ``"both"``:
        their sum, which is zero for two paths that do the same, and for a concept that is easier to
        hurt, by whatever path.

    Raises:
        ValueError: other than two paths and two concepts.
    """
    lost = np.asarray(lost, float)
    if lost.ndim != 3 or lost.shape[:2] != (2, 2):
        raise ValueError(f"losses {lost.shape}; accepted: (2 paths, 2 concepts, image)")
    first, second = lost[0, 0] - lost[1, 0], lost[1, 1] - lost[0, 1]
    return {"first": first, "second": second, "both": first + second}
