"""Where a neuron lives in a ViT, and how it is read, clamped, scaled and edited: the only module
that touches hooks.

A *neuron* is one input of ``blocks[l].mlp.fc2``: an output of the FFN's activation function, of a
gated FFN (SwiGLU) the product with its gate, after the FFN's own norm where it has one.  It is read
and edited at the *token scope*: the class token alone (``"cls"``) or every patch token
(``"patch"``).
"""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from neuronpath_core.families import family_of, resolve_scope
from neuronpath_core.fast.blocks import PlainBlock, forward_mode, is_plain, is_touched
from neuronpath_core.units import PathUnits

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

Scope = Literal["auto", "cls", "patch"]
OPERATIONS = {"remove": 0.0, "enhance": 2.0}


class TargetModel(PathUnits):
    """A network of a known family seen as blocks of FFN neurons; the network itself is neither
    copied nor changed.

    The model is put in eval mode, because dropout would make an attribution random.  Everything is
    computed in the model's own dtype and on its device.

    Args:
        model: a network of a registered family, see :mod:`~neuronpath_core.families`.
        scope: ``"cls"``, ``"patch"``, or ``"auto"``: the class token if the model classifies from
            it (``global_pool="token"``; a distillation token beside it runs natively), the patch
            tokens if it pools them (``"avg"``, ``"map"``, ``"max"``, ``"avgmax"``).

    Attributes:
        n_blocks, n_neurons, n_classes: L, n and C.
        n_tokens: tokens of an image; where the image size is dynamic, of the batch that was checked
            last.
        scope: ``"cls"`` or ``"patch"``.
        tokens: slice of the token axis that the scope covers.
        layer_names, layer_neurons, widths: per layer of a path its name, the number of its units,
            and of the neighbouring neurons that are one unit: blocks counted from 1, n and 1.

    Raises:
        ValueError: a network, patch embedding, block or head of another kind, no token in scope, or
            non-finite weights.
    """

    sites = "ffn"
    written_out = PlainBlock

    def __init__(self, model: nn.Module, scope: Scope = "auto"):
        self.family = family_of(model)
        self.family.check(model)
        self.model = model.eval()
        self.scope = resolve_scope(model, scope)
        first = self.family.prefix_tokens(model)
        self.tokens = slice(0, 1) if self.scope == "cls" else slice(first, None)
        self.n_blocks = len(model.blocks)
        self.n_neurons = model.blocks[0].mlp.fc2.in_features
        self.n_classes = self.family.class_count(model)
        self.n_tokens = self.family.token_count(model)
        self.layer_names = [f"block {index + 1}" for index in range(self.n_blocks)]
        self.layer_neurons, self.widths = [self.n_neurons] * self.n_blocks, [1] * self.n_blocks
        self._plain: dict[int, PlainBlock] = {}
        self._head = self.family.head_of(model)
        self.check_weights()

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of weights, images and results."""
        return self.family.first_weight(self.model).dtype

    @property
    def device(self) -> torch.device:
        """Device of weights, images and results."""
        return self.family.first_weight(self.model).device

    def in_dtype(self, dtype: torch.dtype) -> TargetModel:
        """The same, over a copy of the model in another floating-point type."""
        other = copy.copy(self)
        other.model, other._plain = copy.deepcopy(self.model).to(dtype), {}
        return other

    def __call__(self, images: Float[Tensor, "batch channel height width"]) -> Float[
            Tensor, "batch class"]:
        """Logits, with whatever edits are in force."""
        return self.model(images)

    def embed(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch token embed"]:
        """The residual stream that enters the first block."""
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
            only = self._wanted(index, pooled)
            plain = self.plain(index)
            if plain is not None:
                stream = plain(stream, clamp, only)
            else:
                with nullcontext() if clamp is None else clamped(self,
                                                                 {
                        index: clamp.repeat_interleave(len(stream) // len(clamp), 0)}):
                    stream = self.layer(index, stream)
                stream = stream if only is None else stream[:, only]
        return stream

    def run_tangent(
        self, stream: Float[Tensor, "copy token embed"], tangent: Float[Tensor, "copy token embed"],
        index: int,
        held: Float[Tensor, "image token neuron"], pooled: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The stream after block ``index`` and its derivative along ``tangent``, the scope's
        neurons clamped to ``held``; no graph."""
        only, plain = self._wanted(index, pooled), self.plain(index)
        with torch.no_grad():
            if plain is not None:
                return plain.tangent(stream, tangent, held, only)
            with forward_mode(), clamped(self,
                                         {index: held.repeat_interleave(len(stream) // len(held),
                                                                        0)}):
                moved = forward_ad.unpack_dual(self.layer(index,
                                                          forward_ad.make_dual(stream, tangent)))
            return (moved.primal, moved.tangent) if only is None else (moved.primal[:, only],
                                                                       moved.tangent[:, only])

    def layer(self, index: int,
              stream: Float[Tensor, "copy token embed"]) -> Float[Tensor, "copy token embed"]:
        """The stream after a layer of the path, by the model's own modules."""
        return self.family.run_block(self.model, index, stream)

    def site(self, index: int) -> nn.Linear:
        """The module whose input holds the neurons of a layer."""
        return self.model.blocks[index].mlp.fc2

    def plain(self, index: int) -> PlainBlock | None:
        """A block written out, unless it is of another kind, hooked or in training mode."""
        block, known = self.model.blocks[index], self._plain.get(index)
        if known is not None and known.parts == list(block.modules()):
            return None if is_touched(known.parts) else known
        # asked again each time that it is not: a hook may go, a part may be replaced
        self._plain.pop(index, None)
        if is_plain(block):
            self._plain[index] = self.written_out(block, self.tokens)
        return self._plain.get(index)

    def _wanted(self, index: int, pooled: bool) -> slice | None:
        """The class token, where nothing else of the stream after this block can reach the logits.
        """
        return slice(0,
                     1) if pooled and self.classifies_alone and index == self.n_blocks - 1 else None

    @property
    def classifies_alone(self) -> bool:
        """Whether the logits are a function of the class token's last stream."""
        return self.family.classifies_alone(self.model)

    def probability(self, stream: Float[Tensor, "batch token embed"],
                    labels: Int64[Tensor, "batch"]) -> Float[Tensor, "batch"]:
        """F_x: the softmax probability of each image's label, from the residual stream after the
        last block.

        Of a distilled model, which has two heads, the softmax of the mean of their logits: timm's
        answer in eval mode.
        """
        logits = self.family.logits(self.model, stream)
        # in double precision: where F is almost 1 its gradient is that of 1 - F, of which single
        # precision would keep nothing
        return logits.double().softmax(-1).gather(1, labels[:, None])[:, 0].to(logits.dtype)

    def value_vectors(self, block: int) -> Float[Tensor, "neuron embed"]:
        """What one unit of each neuron adds to its token's residual stream: the columns of ``fc2``,
        LayerScale included.

        In a pre-norm block the stream after the block is affine in the scope's neurons, with these
        vectors as slope.
        """
        weight = self.model.blocks[block].mlp.fc2.weight.T
        gamma = self.family.ffn_scale(self.model.blocks[block])
        return (weight if gamma is None else weight * gamma).detach()

    def check_weights(self) -> None:
        """Raise ``ValueError`` naming the first parameter that is not finite, or if the head has
        become one of another kind or number of classes."""
        for name, parameter in self.model.named_parameters():
            if not parameter.is_meta and not torch.isfinite(parameter).all():
                raise ValueError(f"the model's weights are not finite: {name}; accepted: finite "
                                 f"weights")
        if self.family.head_of(self.model) != self._head:
            raise ValueError("the model's head is no longer the one with which the TargetModel "
                             "was made; accepted: a head of the same kind and number of "
                             "classes, of a zero-shot tower inside its zero_shot(...)")

    def check_images(self, images: Tensor) -> None:
        """Raise ``ValueError`` unless images are of the shape, type and range that this model
        accepts."""
        channels = self.family.first_weight(self.model).shape[1]
        pictures = isinstance(images, Tensor) and images.ndim == 4
        size = tuple(images.shape[2:]) if pictures else (0, 0)
        fits, accepted = self.family.image_sizes(self.model, size)
        if not pictures or images.shape[1] != channels or not fits:
            found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
            raise ValueError(f"images must be a tensor of shape (batch, {channels}, {accepted}, "
                             f"got {found}")
        if len(images) == 0:
            raise ValueError("images must hold at least one image, got an empty batch")
        if images.dtype != self.dtype or images.device != self.device:
            raise ValueError(f"images are {images.dtype} on {images.device}; accepted: the "
                             f"model's {self.dtype} on {self.device}")
        if not torch.isfinite(images).all():
            raise ValueError("images hold NaN or infinite values; accepted: finite pixels only")
        self.n_tokens = self.family.token_count(self.model, tuple(images.shape[2:]))

    def check_batch(self, images: Tensor, labels: Tensor) -> None:
        """Raise ``ValueError`` unless weights, images and labels are all such that an attribution
        is defined."""
        self.check_weights()
        self.check_images(images)
        if not isinstance(labels,
                          Tensor) or labels.dtype != torch.int64 or labels.shape != (len(images),):
            found = f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else type(
                labels).__name__
            raise ValueError(f"labels must be an int64 tensor of shape ({len(images)},), got "
                             f"{found}")
        if labels.device != self.device:
            raise ValueError(f"labels are on {labels.device}; accepted: the model's {self.device}")
        if labels.min() < 0 or labels.max() >= self.n_classes:
            raise ValueError(f"labels must lie in 0..{self.n_classes - 1}, got "
                             f"{int(labels.min())}..{int(labels.max())}")

    def check_neurons(self, neurons: Tensor,
                      batch: int | None = None) -> Int64[Tensor, "batch layer rank"]:
        """Neuron indices as ``(batch, layer, rank)``; ``ValueError`` unless they fit this model.

        Args:
            neurons: int64 ``(batch, layer)``, one neuron a block, or ``(batch, layer, rank)``,
                several.
            batch: number of images they must belong to; ``None`` accepts any.
        """
        if not isinstance(neurons, Tensor) or neurons.dtype != torch.int64 or neurons.ndim not in (
                2, 3) or neurons.shape[1] != self.n_blocks:
            found = f"{neurons.dtype} {tuple(neurons.shape)}" if isinstance(neurons,
                                                                            Tensor) else type(
                neurons).__name__
            raise ValueError(f"neurons must be an int64 tensor (batch, {self.n_blocks}) or "
                             f"(batch, {self.n_blocks}, rank), got {found}")
        if batch is not None and len(neurons) != batch:
            raise ValueError(f"neurons hold paths of {len(neurons)} images, the batch has "
                             f"{batch}; accepted: one path an image")
        if neurons.numel() == 0 or neurons.min() < 0 or neurons.max() >= self.n_neurons:
            raise ValueError(f"neuron indices must lie in 0..{self.n_neurons - 1}")
        ranked = neurons.to(self.device).reshape(len(neurons), self.n_blocks, -1)
        for index, (largest, count) in enumerate(zip(ranked.amax((0, 2)).tolist(),
                                                     self.layer_neurons, strict=True)):
            if largest >= count:
                raise ValueError(f"neuron indices of layer {index} ({self.layer_names[index]}) "
                                 f"must lie in 0..{count - 1}, got {largest}")
        ordered = ranked.sort(-1).values
        if (ordered[..., 1:] == ordered[..., :-1]).any():
            raise ValueError("a block's neurons must differ from one another")
        return ranked


@contextmanager
def activation_gradients(target: TargetModel) -> Iterator[None]:
    """Inside, gradients flow to activations, also under a caller's ``no_grad``, and no graph is
    kept for the weights."""
    if torch.is_inference_mode_enabled():
        raise ValueError("attributions need gradients, which torch.inference_mode() rules out; "
                         "accepted: torch.no_grad(), or neither")
    wanted = [parameter for parameter in target.model.parameters() if parameter.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


@contextmanager
def hooked(target: TargetModel,
           functions: Mapping[int, Callable[[Tensor], Tensor | None]]) -> Iterator[None]:
    """Pass what enters ``fc2`` of the given blocks through functions; a returned tensor replaces
    it.

    The hooks are gone when the context is left, whatever happened inside.
    """
    def as_hook(function):
        def hook(_module, inputs):
            replaced = function(inputs[0])
            return None if replaced is None else (replaced,)
        return hook

    with ExitStack() as stack:
        for block, function in functions.items():
            handle = target.site(block).register_forward_pre_hook(as_hook(function))
            stack.callback(handle.remove)
        yield


@contextmanager
def reading(target: TargetModel) -> Iterator[dict[int, Tensor]]:
    """A dictionary that fills with every block's scope activations, ``(batch, token, neuron)``, as
    a forward runs."""
    store: dict[int, Tensor] = {}

    def keep(block):
        def function(value):
            store[block] = value[:, target.tokens]
        return function

    with hooked(target, {block: keep(block) for block in range(target.n_blocks)}):
        yield store


def _replace_scope(target: TargetModel, value: Tensor, scoped: Tensor) -> Tensor:
    before, after = value[:, :target.tokens.start], value[:, target.tokens.start + scoped.shape[1]:]
    return torch.cat([before, scoped.expand(len(value), -1, -1), after], dim=1)


@contextmanager
def clamped(target: TargetModel,
            values: Mapping[int, Float[Tensor, "batch token neuron"]]) -> Iterator[None]:
    """Hold the scope activations of the given blocks at ``values``; the other tokens run natively.
    """
    with hooked(target, {block: lambda value, held=held: _replace_scope(target, value, held)
                         for block, held in values.items()}):
        yield


def read_activations(target: TargetModel,
                     images: Float[Tensor, "batch channel height width"]) -> Float[
        Tensor, "batch layer token neuron"]:
    """Clean scope activations w̄ of every block; one token for scope ``"cls"``, every patch token
    for ``"patch"``.

    Raises:
        ValueError: images of another shape, dtype or device than the model's, or non-finite ones.
    """
    target.check_weights()
    target.check_images(images)
    with torch.no_grad(), reading(target) as store:
        target(images)
    return target.stacked([target.unit_sizes(block, store[block])
                           for block in range(target.n_blocks)])


@contextmanager
def scaled(target: TargetModel, factors: Float[Tensor, "batch layer neuron"],
           everywhere: bool = False) -> Iterator[None]:
    """Multiply each neuron's *current* value at the scope, or at every token (``everywhere``), by
    its factor; a batch of one holds for every image.

    Raises:
        ValueError: factors of another shape, or (on the forward) for another number of images.
    """
    if factors.ndim != 3 or factors.shape[1:] != (target.n_blocks, target.n_neurons):
        raise ValueError(f"factors must have shape (batch, {target.n_blocks}, "
                         f"{target.n_neurons}), got {tuple(factors.shape)}")
    every = factors.to(device=target.device, dtype=target.dtype)

    def scale(block):
        factors = every[:, block,
                        :target.layer_neurons[block]].repeat_interleave(target.widths[block],
                                                                        -1)[:, None]

        def function(value):
            if len(factors) not in (1, len(value)):
                raise ValueError(f"the edit is for {len(factors)} images, the batch has "
                                 f"{len(value)}; accepted: equal numbers, or an edit for one")
            if everywhere:
                return value * factors
            return _replace_scope(target, value, value[:, target.tokens] * factors)
        return function

    with hooked(target, {block: scale(block) for block in range(target.n_blocks)}):
        yield


def edit_factor(operation: str | float) -> float:
    """The factor of an operation: ``"remove"`` 0, ``"enhance"`` 2, or the finite number given."""
    if isinstance(operation, str):
        if operation not in OPERATIONS:
            raise ValueError(f"unknown operation {operation!r}; accepted: "
                             f"{', '.join(OPERATIONS)}, or a factor")
        return OPERATIONS[operation]
    if not isinstance(operation, numbers.Real) or not math.isfinite(operation):
        raise ValueError(f"unknown operation {operation!r}; accepted: {', '.join(OPERATIONS)}, or "
                         f"a finite factor")
    return float(operation)


@contextmanager
def edit(target: TargetModel, neurons: Int64[Tensor, "batch layer"],
         operation: str | float = "remove") -> Iterator[TargetModel]:
    r"""Edit each image's path: :math:`w^l_{p_l} \leftarrow c\, w^l_{p_l}` at the scope, block by
    block (Sec. 4.2).

    The *current* value is multiplied: a later block's neuron is scaled after it has felt the
    earlier edits.

    Args:
        target: the model; its forward passes inside the context are edited.
        neurons: int64 ``(batch, layer)`` or ``(batch, layer, rank)``; a batch of one holds for
            every image.
        operation: ``"remove"`` (c = 0), ``"enhance"`` (c = 2), or c itself.

    Raises:
        ValueError: unknown operation, indices out of range, or a forward of another number of
            images.
    """
    target.check_weights()
    ranked = target.check_neurons(neurons)
    factors = torch.ones(len(ranked), target.n_blocks, target.n_neurons, dtype=target.dtype,
                         device=target.device)
    factors.scatter_(2, ranked, edit_factor(operation))
    with scaled(target, factors):
        yield target
