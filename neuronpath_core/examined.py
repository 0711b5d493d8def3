"""A model that is held against itself before it is used, and again when it has changed."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from neuronpath_core.agreement import rounding_unit
from neuronpath_core.as_called import Verdict, attempt, compare
from neuronpath_core.checks import Checked
from neuronpath_core.hooks import unedited
from neuronpath_core.layers import BlockForm
from neuronpath_core.model_state import is_touched
from neuronpath_core.value_vectors import ValueVectors, compare_slopes, passes_back

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.target import TargetModel

# The module that writes blocks out as functions. The core looks it up by name and does not import
# it at the top; a block without such a form is run by its own module, with the same numbers.
WRITTEN_OUT = "neuronpath_core.fast.blocks"
# by how much of their size a copy's logits in single precision may differ
DRAFT_TOLERANCE = 1e-3
IMAGES = 3  # of a batch: the first, the last and one between
PIECE = 32  # images at a time, where all are looked at
_EXAMINING = threading.RLock()


class Examined(Checked, ValueVectors):
    """What a :class:`~neuronpath_core.target.TargetModel`, which inherits this, finds of its model.
    """

    def examine(self, images: Float[Tensor, "batch channel height width"]) -> Verdict:
        """Hold the parts of the model against the model as it is called, unless that was done since
        it last changed; see :mod:`neuronpath_core.as_called`."""
        with _EXAMINING:
            if (found := self._verdict) is None:
                every = self._state is None or self._state.foreign
                # gradients are looked at, which inference mode rules out
                with torch.inference_mode(False), unedited():
                    for piece in looked_at(images, every):
                        found = self._look(piece, found, every)
        return found

    def _look(self, images: Tensor, before: Verdict | None, every: bool) -> Verdict:
        self._forms.clear()
        # not read again: another thread may find the model changed and forget it
        found = self._verdict = compare(self, images)
        if every:
            found.cut = not passes_back(self, images)
        if before is not None:
            found.after(before)
        # of blocks that turned out not to be plain
        compare_slopes(self, found)
        _warn_of_probabilities(found.call.logits)
        return found

    @torch.no_grad()
    def repeated_by(self, draft: TargetModel) -> bool:
        """Whether a copy of the model gives the logits that it gave itself, as far as the copy's
        precision goes; a copy may not be one, where a function of the model's is bound to it."""
        if self._verdict is None:
            return True
        call = self._verdict.call
        logits = attempt(lambda: draft.model(call.images.to(draft.dtype)).to(call.logits.dtype))
        if logits is None or logits.shape != call.logits.shape:
            return False
        size = call.logits.square().mean().sqrt()
        return bool(((logits - call.logits).abs() <= DRAFT_TOLERANCE * size).all())

    @property
    def differs(self) -> str | None:
        """In words, the part by which the model is another than its blocks put together; ``None``
        if it is not, or as long as no batch was seen."""
        return None if self._verdict is None else self._verdict.differs

    def plain(self, index: int) -> BlockForm | None:
        """A block written out, unless it is of another kind, hooked or in training mode."""
        if self._verdict is not None and index in self._verdict.not_plain:
            return None
        block, known = self.model.blocks[index], self._forms.get(index)
        if known is not None and known.is_of(block):
            return None if is_touched(known.parts) else known
        # no valid form: look again on every call, as a hook may go or a part may be replaced
        self._forms.pop(index, None)
        if (form := self.written(block)) is not None:
            self._forms[index] = form
        return form

    def written(self, block: nn.Module) -> BlockForm | None:
        """The block as functions, if it is of a kind that somebody wrote out."""
        return import_module(WRITTEN_OUT).written_out(block, self.tokens)

    def by_form(self, index: int) -> Callable[[Tensor], Tensor] | None:
        """The stream after a block, by its written-out form, if it has one."""
        return self.plain(index)

    def runs(self, index: int, stream: Tensor) -> list[tuple[str, Callable[[], Tensor]]]:
        """The ways in which the library runs a block by its own modules, with their names."""
        return [(f"block {index}", lambda: self.family.run_block(self.model, index, stream))]

    def entering(self, layer: int, streams: list[Tensor]) -> Tensor:
        """What enters a layer of the path, given what enters every block."""
        return streams[layer]


def _warn_of_probabilities(logits: Float[Tensor, "image class"]) -> None:
    """Warn if every row is one of probabilities: no number negative, their sum 1."""
    off = (logits.double().sum(1) - 1).abs().max()
    if logits.shape[1] > 1 and logits.min() >= 0 and off <= rounding_unit(logits) ** 0.5:
        warnings.warn("what the model gives looks like probabilities: every row lies in 0..1 and "
                      "sums to 1; the library takes a softmax of it again and explains something "
                      "else; a model that gives its logits is right", RuntimeWarning, stacklevel=2)


def looked_at(images: Float[Tensor, "batch channel height width"],
              every: bool) -> list[Float[Tensor, "image channel height width"]]:
    """The images of a batch on which a model is held against itself, in pieces: three, or every
    one where the model has parts of somebody's own, which may do anything with any image."""
    if every:
        return list(images.detach().split(PIECE))
    return [images[sorted({0, len(images) // 2, len(images) - 1})[:IMAGES]].detach()]


def check_target(target: object) -> None:
    """Raise ``ValueError`` unless this is a :class:`~neuronpath_core.target.TargetModel`."""
    if not isinstance(target, Examined):
        raise ValueError(f"a TargetModel is needed, got {type(target).__name__}; accepted: "
                         "npc.TargetModel(model), npc.SiteModel(model, sites=...)")
