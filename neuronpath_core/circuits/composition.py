"""How well what a neuron writes fits what a later one reads, by weights alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from timm.layers import GluMlp, RmsNorm, SwiGLU
from torch import Tensor, nn

from neuronpath_core.circuits.edge_ends import one_a_block
from neuronpath_core.examined import check_target
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64


def composition(target: TargetModel, neurons: Int64[Tensor, "batch layer"],
                partners: Int64[Tensor, "batch layer"] | None = None
                ) -> Float[Tensor, "batch layer layer"]:
    r"""How well what a neuron writes fits what a later one reads, by weights alone:

    .. math:: \cos\big(P v^l_p,\; P (\gamma^{l'} \odot k^{l'}_{p'})\big)

    with the source's value vector v (LayerScale included), the target's row k of ``fc1``, the
    weight :math:`\gamma` of the norm before it, and P that takes the mean off, as a LayerNorm does
    (none for RMSNorm).  Of a gated FFN k is the row of the gate, which enters the activation
    function.  It leaves out the target block's bias and whatever happens between the two blocks.

    Args:
        target: the model.
        neurons, partners: int64 ``(batch, layer)``, sources and targets; without partners the
            sources are the targets.

    Returns:
        ``(batch, source layer, target layer)`` in double precision, within -1..1, 0 where a vector
        is zero; NaN where the target's layer is not after the source's, or of a block whose rows
        or norm are of another kind.

    Raises:
        ValueError: neurons that do not fit the model, or several a block.
    """
    check_target(target)
    sources = one_a_block(target, neurons)
    targets = sources if partners is None else one_a_block(target, partners, len(sources))
    size = target.n_blocks
    found = torch.full((len(sources), size, size), torch.nan, dtype=torch.float64,
                       device=target.device)
    for later in range(1, size):
        if (rows := _keys(target.model.blocks[later])) is None:
            continue
        keys, centred = rows
        keys = keys.detach().double()[targets[:, later]]
        for earlier in range(later):
            vectors = target.value_vectors(earlier).double()[sources[:, earlier]]
            both = [each - each.mean(-1, keepdim=True) if centred else each
                    for each in (vectors, keys)]
            found[:, earlier, later] = F.cosine_similarity(*both)
    return found


def _keys(block: nn.Module) -> tuple[Tensor, bool] | None:
    """What each FFN neuron of a block reads of the normed stream, times the norm's weight, and
    whether the norm takes the mean off; ``None`` of a block of another kind."""
    ffn, norm = block.mlp, getattr(block, "norm2", None)
    linear = ffn.fc1_g if type(ffn) is SwiGLU else getattr(ffn, "fc1", None)
    if type(linear) is not nn.Linear:
        return None
    rows, width = linear.weight, ffn.fc2.in_features
    if type(ffn) is GluMlp:
        rows = rows.chunk(2)[1 if ffn.gate_last else 0]
    if len(rows) != width or not isinstance(norm, (nn.LayerNorm, nn.RMSNorm, RmsNorm, nn.Identity)):
        return None
    weight = getattr(norm, "weight", None)
    return rows if weight is None else rows * weight, isinstance(norm, nn.LayerNorm)
