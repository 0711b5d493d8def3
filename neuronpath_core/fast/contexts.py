"""What surrounds the scaled neurons of a chunk of images: every token running natively, or only the
class token moving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Int64

    from neuronpath_core.forward import CleanPass

Context = Literal["auto", "full", "frozen", "mixed"]
CONTEXTS = ("auto", "full", "frozen", "mixed")


class FullContext:
    """Every token runs natively; a stream is ``(copy, token, embed)``, copies of one image after
    one another."""

    def __init__(self, clean: CleanPass):
        self.clean, self.target = clean, clean.target
        self.n_blocks = self.target.n_blocks
        self.tokens = self.target.tokens
        self.probability = self.target.probability

    def take(self, rows: Int64[Tensor, "row"]) -> FullContext:
        """The context of some of the images."""
        return type(self)(self.clean.take(rows))

    def enter(self, block: int, steps: int) -> Tensor:
        """The clean stream that enters a block, ``steps`` copies of each image."""
        return self.clean.streams[block].repeat_interleave(steps, 0)

    def run(self, stream: Tensor, start: int, stop: int, held=None, pooled: bool = False) -> Tensor:
        """As :meth:`~neuronpath_core.target.TargetModel.run`."""
        return self.target.run(stream, start, stop, held, pooled)

    def run_tangent(self, stream: Tensor, tangent: Tensor, index: int, held: Tensor,
                    pooled: bool = False) -> tuple[Tensor, Tensor]:
        """As :meth:`~neuronpath_core.target.TargetModel.run_tangent`."""
        return self.target.run_tangent(stream, tangent, index, held, pooled)


class FrozenContext(FullContext):
    """Only the class token moves: it attends to the other tokens' clean keys and values; a stream
    is ``(copy, 1, embed)``.

    Raises:
        ValueError: a scope other than the class token, a model that does not classify from it, or
            blocks of another kind.
    """

    def __init__(self, clean: CleanPass):
        super().__init__(clean)
        check_frozen(clean.target)

    def enter(self, block: int, steps: int) -> Tensor:
        """The clean class token's stream that enters a block, ``steps`` copies of each image."""
        return self.clean.streams[block][:, :1].repeat_interleave(steps, 0)

    def _apart(self, stream: Tensor) -> Tensor:
        return stream.reshape(len(self.clean.streams[0]), -1, stream.shape[-1])

    def run(self, stream: Tensor, start: int, stop: int, held=None, pooled: bool = False) -> Tensor:
        """As :meth:`~neuronpath_core.target.TargetModel.run`, the other tokens clean."""
        apart = self._apart(stream)
        for index in range(start, stop):
            apart = self.target.plain(index).frozen(apart, self.clean.keys_values[index],
                                                    (held or {}).get(index))
        return apart.reshape(stream.shape)

    def run_tangent(self, stream: Tensor, tangent: Tensor, index: int, held: Tensor,
                    pooled: bool = False) -> tuple[Tensor, Tensor]:
        """As :meth:`~neuronpath_core.target.TargetModel.run_tangent`, the other tokens clean."""
        with torch.no_grad():
            moved = self.target.plain(index).frozen_tangent(self._apart(stream),
                                                            self._apart(tangent),
                                                            self.clean.keys_values[index], held)
        return moved[0].reshape(stream.shape), moved[1].reshape(stream.shape)


def resolve_context(target: TargetModel, context: str) -> str:
    """``"auto"`` as ``"mixed"`` where the class token alone can move, else ``"full"``; the others
    as they are.

    Raises:
        ValueError: an unknown context, or one that this model does not allow.
    """
    if not is_one_of(context, CONTEXTS):
        raise ValueError(f"unknown context {shown(context)}; accepted: {', '.join(CONTEXTS)}")
    if context == "full":
        return context
    try:
        check_frozen(target)
    except ValueError:
        if context != "auto":
            raise
        return "full"
    return "mixed" if context == "auto" else context


def check_frozen(target: TargetModel) -> None:
    """Raise ``ValueError`` unless the class token alone can move in this model."""
    if target.sites != "ffn":
        raise ValueError(f"context 'frozen' and 'mixed' are for paths over FFN neurons alone; "
                         f"accepted for sites {shown(target.sites)}: full")
    if target.scope != "cls" or not target.classifies_alone:
        raise ValueError("context 'frozen' and 'mixed' need scope 'cls' in a model that "
                         "classifies from its class token; accepted here: full")
    if target.differs is not None:
        raise ValueError(f"context 'frozen' and 'mixed' need a model that is its blocks put "
                         f"together: {target.differs}; accepted here: full")
    for index in range(target.n_blocks):
        if target.plain(index) is None:
            raise ValueError(f"context 'frozen' and 'mixed' need timm's plain attention and FFN "
                             f"without hooks; block {index} is otherwise; accepted here: full")
