r"""How each half of a block changes what tokens say of their class, block by block.

Two measures of Vilas et al. (2023, §6): whether what a half writes speaks for the class
(:func:`class_change`; the share of tokens for which it does is the *class similarity change rate*),
and whose top class the stream takes over (:func:`residual_match`, :func:`residual_partition`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core.readings.memories import check_half
from neuronpath_core.readings.projection import project_vectors
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

    from neuronpath_core.readings.streams import Streams
    from neuronpath_core.target import TargetModel

Change = Literal["published", "written", "ledger"]
CHANGES = ("published", "written", "ledger")
SOURCES = ("previous", "attention", "ffn")  # a bit each of a partition's number, 1, 2 and 4


@torch.no_grad()
def class_change(target: TargetModel, streams: Streams, block: int, half: str,
                 of: Change = "ledger") -> Float[Tensor, "image token class"]:
    r"""By how much a half of a block raises each class at each token.

    ============== ============================================================================
    ``of``         change
    ============== ============================================================================
    "published"    :math:`z(O^b) - z(X^{b-1})` of either half, :math:`z(v) = E\nu(v) + e`: the
                   published code compares the FFN with what enters the block, not with its own
                   input, and begins with the second block
    "written"      :math:`z(O^b)` minus z of the half's own input
    "ledger"       :math:`E\,\mathrm{diag}(\gamma)(I - 11^T/d)\,O^b`: what the half adds to the
                   logits, up to the final norm's :math:`\sigma`, which is positive
    ============== ============================================================================

    The norm makes z blind to the size of its argument, so that in the first two a half that writes
    next to nothing can change the class most.  Only the third can be added up.

    Args:
        target: the model.
        streams: :func:`~neuronpath_core.readings.streams.read_streams` of some images.
        block: from 0.
        half: ``"attention"`` or ``"ffn"``.
        of: one of the above.

    Returns:
        ``[..., c]`` is positive where class c rises; in the model's dtype, on its device.  A half
        that writes nothing changes no class by the ledger.

    Raises:
        ValueError: an unknown half or change, or a head that cannot be read
            (:func:`~neuronpath_core.readings.projection.project_vectors`).
    """
    check_half(half)
    if not is_one_of(of, CHANGES):
        raise ValueError(f"unknown change {shown(of)}; accepted: {', '.join(CHANGES)}")
    added = streams.at(half)[block]
    if of == "ledger":
        return project_vectors(target, added, "effective")
    own = half == "ffn" and of == "written"
    entering = streams.middle(block) if own else streams.before(block)
    return project_vectors(target, added) - project_vectors(target, entering)


@torch.no_grad()
def top_classes(target: TargetModel, streams: Streams,
                block: int) -> dict[str, Int64[Tensor, "image token"]]:
    """The class that each token puts first, by the projection ``"normed"``: ``after`` the block, in
    the stream ``previous`` to it, in what its ``attention`` and its ``ffn`` write."""
    parts = {"after": streams.blocks[block], "previous": streams.before(block),
             "attention": streams.attention[block], "ffn": streams.ffn[block]}
    return {name: project_vectors(target, value).argmax(-1) for name, value in parts.items()}


def residual_match(tops: dict[str, Int64[Tensor, "*batch"]],
                   published: bool = False) -> dict[str, Bool[Tensor, "*batch"]]:
    """Whether the stream's top class is that of each of its sources, or of ``none``.

    A token can match several, so that the shares add up to more than one.

    Args:
        tops: of :func:`top_classes`.
        published: ``none`` is what matches neither the previous stream nor the attention: the
            published code asks for the attention twice, and never for the FFN.
    """
    found = {name: tops[name] == tops["after"] for name in SOURCES}
    asked = SOURCES[:2] if published else SOURCES
    return {**found, "none": ~torch.stack([found[name] for name in asked]).any(0)}


def residual_partition(tops: dict[str, Int64[Tensor, "*batch"]]) -> Int64[Tensor, "*batch"]:
    """Which of the sources have the stream's top class, all at once: 1 for the previous stream, 2
    for the attention, 4 for the FFN, added; 0 if none has, so that the class is made of them
    together.  Every token falls into one of the eight."""
    return sum((tops[name] == tops["after"]).long() << place
               for place, name in enumerate(SOURCES))
