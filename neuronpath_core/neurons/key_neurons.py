r"""Key neurons: the neurons whose value vectors write a class (Allert et al., 2024, sections 3-4).

The FFN of block b adds :math:`\sum_n k_n v_n` to a token's stream.  Neuron n *reads* by its key,
the activation :math:`k_n`, and *writes* its value vector :math:`v_n`.  The alignment of a neuron
with a class is what its value vector says of the class,

.. math:: a_{b n c} = \mathrm{project}(v^b_n)_c,

and the *key neurons* of a class are those of the largest alignment.  Allert et al. write
:math:`W_{out} E` (``"raw"``) and compute what the whole head answers to a value vector alone
(``"normed"``); :mod:`~neuronpath_core.readings.projection` has both, cosines (``"unit"``) and what
a value vector adds to the logits before the norm divides (``"effective"``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.readings.memories import value_matrix
from neuronpath_core.readings.projection import Projection, project_vectors
from neuronpath_core.stats.ranks import mid_ranks
from neuronpath_core.support.tensors import is_ordinary, is_real, kind_of
from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

    from neuronpath_core.target import TargetModel


@torch.no_grad()
def alignment(target: TargetModel,
              projection: Projection = "effective") -> Float[Tensor, "block neuron class"]:
    """What every neuron's value vector says of every class.

    Args:
        target: the model, whatever its scope; one that pools its tokens reads each value vector as
            a token by itself.
        projection: as of :func:`~neuronpath_core.readings.projection.project_vectors`.

    Returns:
        detached, in the model's dtype and on its device; cosines in [-1, 1] of ``"unit"``.

    Raises:
        ValueError: blocks that are not plain, and what
            :func:`~neuronpath_core.readings.projection.project_vectors` refuses.
    """
    check_target(target)
    values = [value_matrix(target, block, "ffn") for block in range(len(target.model.blocks))]
    return project_vectors(target, torch.stack(values), projection)


def best_neurons(aligned: Float[Tensor, "block neuron class"], by_block: bool = False,
                 count: int = 1) -> Int64[Tensor, "*block class rank 2"]:
    """The neurons of the largest alignment with each class, the first rank the largest; of equal
    ones the earlier block and the smaller number come first.

    Args:
        aligned: of :func:`alignment`.
        by_block: of each block by itself instead of all blocks together.
        count: ranks that are kept.

    Returns:
        block and neuron, both from 0: ``(class, rank, 2)``, or ``(block, class, rank, 2)`` of
        ``by_block``.

    Raises:
        ValueError: no table of blocks, neurons and classes, or more ranks than neurons.
    """
    check_aligned(aligned)
    blocks, neurons, classes = aligned.shape
    most = neurons if by_block else blocks * neurons
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= most:
        raise ValueError(f"count must be 1 to {most}, got {shown(count)}")
    rows = aligned if by_block else aligned.reshape(1, most, classes)
    order = rows.sort(dim=1, descending=True, stable=True).indices[:, :count].transpose(1, 2)
    if not by_block:
        return torch.stack([order[0] // neurons, order[0] % neurons], -1)
    block = torch.arange(blocks, device=order.device)[:, None, None].expand_as(order)
    return torch.stack([block, order], -1)


def check_aligned(aligned: object) -> None:
    """Raise ``ValueError`` unless this is a table of blocks, neurons and classes, all finite."""
    if not is_real(aligned) or aligned.ndim != 3 or 0 in aligned.shape:
        raise ValueError("an alignment must be a tensor (block, neuron, class), got "
                         f"{kind_of(aligned)}")
    if not torch.isfinite(aligned).all():
        raise ValueError("an alignment has values that are not finite; accepted: finite numbers")


def percentiles(aligned: Float[Tensor, "block neuron class"]) -> Float[Tensor,
                                                                       "block neuron class"]:
    """The share of a block's other neurons that are aligned less with a class, from 0 (the least)
    to 1 (the most); ties count one half."""
    check_aligned(aligned)
    return mid_ranks(aligned.transpose(1, 2)).transpose(1, 2) / max(1, aligned.shape[1] - 1)


def sharing(best: Int64[Tensor, "class rank 2"]) -> Int64[Tensor, "class"]:
    """How many other classes have the same first key neuron (A16: failures are said to share their
    value vector with other classes)."""
    if not is_ordinary(best) or best.ndim != 3 or best.shape[-1] != 2:
        raise ValueError(f"key neurons must be a tensor (class, rank, 2), got {kind_of(best)}")
    first = best[:, 0]
    return (first[:, None] == first[None]).all(-1).sum(1) - 1
