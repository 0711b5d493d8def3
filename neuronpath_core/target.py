"""Where a neuron lives in a vision Transformer, and how the model runs from block to block.

A *neuron* is one input of ``blocks[l].mlp.fc2``: an output of the FFN's activation function, of a
gated FFN (SwiGLU) the product with its gate, after the FFN's own norm where it has one. It is read
and edited at the *token scope*: the class token alone (``"cls"``) or every patch token
(``"patch"``).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from neuronpath_core.as_called import Verdict
from neuronpath_core.edits import clamped
from neuronpath_core.examined import Examined
from neuronpath_core.families import family_of, resolve_scope
from neuronpath_core.gradients import forward_mode
from neuronpath_core.hooks import without_edits
from neuronpath_core.layers import BlockForm, Layer
from neuronpath_core.model_state import ModelState

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Scope = Literal["auto", "cls", "patch"]


class TargetModel(Examined):
    """A vision Transformer of a known family, seen as layers of FFN neurons.

    The model is not copied, and only its mode changes: it is put in eval mode, because dropout
    would make an attribution random. Everything is computed in the model's own dtype and on its
    device.

    Args:
        model: a network of a registered family, see :mod:`~neuronpath_core.families`.
        scope: ``"cls"``, ``"patch"``, or ``"auto"``: the class token if the model classifies from
            it (``global_pool="token"``; a distillation token beside it runs natively), the patch
            tokens if it pools them (``"avg"``, ``"map"``, ``"max"``, ``"avgmax"``).

    Attributes:
        layers: what each layer of a path is, see :class:`~neuronpath_core.layers.Layer`.
        n_classes: C.
        n_tokens: tokens per image; if the image size is dynamic, those of the last batch that was
            checked.
        scope: ``"cls"`` or ``"patch"``.
        tokens: slice of the token axis that the scope covers.

    Raises:
        ValueError: a network, patch embedding, block or head of another kind, no token in scope, or
            non-finite weights.
    """

    sites = "ffn"

    def __init__(self, model: nn.Module, scope: Scope = "auto"):
        self.family = family_of(model)
        self.model = model.eval()
        self.family.check(model)
        self.check_precision()
        self.scope = resolve_scope(model, scope)
        first = self.family.prefix_tokens(model)
        self.tokens = slice(0, 1) if self.scope == "cls" else slice(first, None)
        self.layers = [Layer(f"block {index + 1}", index, "ffn", block.mlp.fc2.in_features)
                       for index, block in enumerate(model.blocks)]
        self.n_classes = self.family.class_count(model)
        self.n_tokens = self.family.token_count(model)
        self._forms: dict[int, BlockForm] = {}
        self._head = self.family.head_of(model)
        self._state: ModelState | None = None
        self._verdict: Verdict | None = None
        self.is_draft = False
        self.check_weights()

    @property
    def n_blocks(self) -> int:
        """L, the number of layers of a path."""
        return len(self.layers)

    @property
    def n_neurons(self) -> int:
        """n, the number of neurons (units) of the largest layer."""
        return max(layer.units for layer in self.layers)

    @property
    def fewest_neurons(self) -> int:
        """Units of the smallest layer."""
        return min(layer.units for layer in self.layers)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of weights, images and results."""
        return self.family.first_weight(self.model).dtype

    @property
    def device(self) -> torch.device:
        """Device of weights, images and results."""
        return self.family.first_weight(self.model).device

    def in_dtype(self, dtype: torch.dtype) -> TargetModel:
        """The same, over a copy of the model in another floating-point type.

        The copy is the library's own: what was found of the model holds for it too.
        """
        other = copy.copy(self)
        other.model, other._forms = without_edits(copy.deepcopy(self.model)).to(dtype), {}
        other.is_draft = True
        return other

    def __call__(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch class"]:
        """Logits, with whatever edits are in force.

        Raises:
            ValueError: a model in training mode, or one that gives something else.
        """
        self.check_mode()
        logits = self.model(images)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] != self.n_classes:
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"the model gives {found}; accepted: a tensor of logits (batch, "
                             f"{self.n_classes})")
        return logits

    def embed(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch token embed"]:
        """The residual stream that enters the first block.

        Raises:
            ValueError: the model as it is called is another than its blocks put together.
        """
        self.examine(images)
        if self.differs is not None:
            raise ValueError(f"the model as it is called is not its blocks put together: "
                             f"{self.differs}; accepted here: a model of which this is not so; "
                             "find_paths finds paths of it by engine 'plain'")
        return self.family.embed(self.model, images)

    def run(
        self, stream: Float[Tensor, "copy token embed"], start: int, stop: int,
        held: Mapping[int, Float[Tensor, "image token neuron"]] | None = None, pooled: bool = False,
    ) -> Float[Tensor, "copy token embed"]:
        """The residual stream after blocks ``start .. stop-1``.

        Args:
            stream: what enters block ``start``; copies of one image follow one another.
            held: by block, the activations that the scope's neurons are clamped to, once an image
                or once a copy.
            pooled: of the last block return only the tokens that :meth:`probability` looks at, and
                compute no others.
        """
        for index in range(start, stop):
            clamp = (held or {}).get(index)
            only, plain = self._wanted(index, pooled), self.plain(index)
            if plain is not None:
                stream = plain(stream, clamp, only)
            else:
                with nullcontext() if clamp is None else self._clamped(index, clamp, len(stream)):
                    stream = self.layer(index, stream)
                stream = stream if only is None else stream[:, only]
        return stream

    def run_tangent(
        self, stream: Float[Tensor, "copy token embed"], tangent: Float[Tensor, "copy token embed"],
        index: int, held: Float[Tensor, "image token neuron"], pooled: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The stream after block ``index`` and its derivative along ``tangent``.

        The scope's neurons are clamped to ``held``; no graph is kept.
        """
        only, plain = self._wanted(index, pooled), self.plain(index)
        with torch.no_grad():
            if plain is not None:
                return plain.tangent(stream, tangent, held, only)
            with forward_mode(), self._clamped(index, held, len(stream)):
                moved = forward_ad.unpack_dual(
                    self.layer(index, forward_ad.make_dual(stream, tangent)))
            wanted = slice(None) if only is None else only
            return moved.primal[:, wanted], moved.tangent[:, wanted]

    def _clamped(self, index: int, held: Tensor, copies: int):
        """Clamped where what is held once an image serves all its copies."""
        return clamped(self, {index: held.repeat_interleave(copies // len(held), 0)})

    def layer(
        self, index: int, stream: Float[Tensor, "copy token embed"]
    ) -> Float[Tensor, "copy token embed"]:
        """The stream after a layer of the path, by the model's own modules."""
        return self.family.run_block(self.model, index, stream)

    def site(self, index: int) -> nn.Linear:
        """The module whose input holds the neurons of a layer."""
        return self.model.blocks[index].mlp.fc2

    def _wanted(self, index: int, pooled: bool) -> slice | None:
        """The class token, where nothing else of this block's output can reach the logits."""
        last = pooled and index == self.n_blocks - 1
        return slice(0, 1) if last and self.classifies_alone else None

    @property
    def classifies_alone(self) -> bool:
        """Whether the logits are a function of the class token's last stream."""
        alone = self._verdict is None or not self._verdict.not_alone
        return alone and self.family.classifies_alone(self.model)

    @property
    def side_by_side(self) -> bool:
        """Whether threads may run it at once: on a CPU, and only where no block needs a hook."""
        return self.device.type == "cpu" and all(
            self.plain(index) is not None for index in range(self.n_blocks))

    def numbers_kept(self, frozen: bool = False) -> int:
        """Estimate of how many numbers autograd keeps of one copy of one image.

        Args:
            frozen: only the class token moves.
        """
        of_a_token = self.family.kept_numbers(self.model, self.n_tokens)
        return len(self.model.blocks) * (1 if frozen else self.n_tokens) * of_a_token

    def probability(
        self, stream: Float[Tensor, "batch token embed"], labels: Int64[Tensor, "batch"]
    ) -> Float[Tensor, "batch"]:
        """F_x: the softmax probability of each image's label, from the last residual stream.

        A distilled model has two heads; as in timm's eval mode, the softmax is taken of the mean of
        their logits.
        """
        logits = self.family.logits(self.model, stream)
        # in double precision: where F is almost 1 its gradient is that of 1 - F, of which single
        # precision would keep nothing
        return logits.double().softmax(-1).gather(1, labels[:, None])[:, 0].to(logits.dtype)

    def stacked(
        self, values: Sequence[Float[Tensor, "batch *rest unit"]]
    ) -> Float[Tensor, "batch layer *rest unit"]:
        """Values of every layer's units side by side; smaller layers end in zeros."""
        most = self.n_neurons
        return torch.stack([F.pad(value, (0, most - value.shape[-1])) for value in values], 1)
