"""Whether a model put together from its parts is the model as it is called.

Most of the library runs a network block by block. That is the network only as far as nothing
between, around or inside the parts does something else: a hook, a ``forward`` of one instance, a
container of one's own, an adapter, a class that somebody patched. So before a model is used, and
again whenever anything about it has changed, each part is held against what the model itself
computed of some images of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from neuronpath_core.agreement import agree
from neuronpath_core.hooks import check_rows, listening
from neuronpath_core.model_state import is_hooked, replaced_methods
from neuronpath_core.support.memory import is_out_of_memory
from neuronpath_core.support.text import one_line

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.target import TargetModel

# what a network raises that is given something else than it was made for
FOREIGN = (RuntimeError, TypeError, AttributeError, IndexError, KeyError, AssertionError)


class NotCalled(ValueError):
    """The model cannot be called on some of a batch's images."""


@dataclass
class Call:
    """What a model computed of some images when it was called.

    Attributes:
        images: the images.
        entered, left: by block, every stream that entered it and that left it.
        sizes: by layer, how many rows, tokens and neurons there were, every time that they were
            computed.
        logits: ``(image, class)``.
    """

    images: Float[Tensor, "image channel height width"]
    entered: list[list[Tensor]]
    left: list[list[Tensor]]
    sizes: list[list[tuple[int, int, int]]]
    logits: Float[Tensor, "image class"] | None = None


@dataclass(frozen=True)
class Vectors:
    """Value vectors of a block that is not written out.

    Attributes:
        made_of: the block's weights, with their versions, at the time.
        values: ``(neuron, embed)``; ``None`` for those of the weights.
    """

    made_of: tuple[tuple[int, int], ...]
    values: Float[Tensor, "neuron embed"] | None


@dataclass
class Verdict:
    """What was found when a model was held against itself.

    Attributes:
        differs: in words, the part by which the blocks put together are another model; ``None`` if
            they are the model.
        unsteady: the model answered otherwise when it was called again, with an image beside.
        cut: the gradients that the model passes back to its neurons are not its derivatives.
        not_plain: blocks that the written-out form does not compute.
        not_alone: the logits depend on more than the class token's last stream.
        vectors: by layer whose block is not written out, its value vectors.
        call: the model's own answer, which a draft of it must repeat.
    """

    differs: str | None = None
    unsteady: bool = False
    cut: bool = False
    not_plain: set[int] = field(default_factory=set)
    not_alone: bool = False
    vectors: dict[int, Vectors] = field(default_factory=dict)
    call: Call | None = None

    def after(self, other: Verdict) -> None:
        """Add what was found of other images."""
        self.differs = other.differs or self.differs
        self.unsteady |= other.unsteady
        self.cut |= other.cut
        self.not_plain |= other.not_plain
        self.not_alone |= other.not_alone


def called(target: TargetModel, images: Float[Tensor, "batch channel height width"]) -> Call:
    """Call the model on images, and keep what enters and leaves its blocks.

    Raises:
        ValueError: the model cannot be called on them, writes on them, or gives something else
            than finite logits.
    """
    blocks, layers = range(len(target.model.blocks)), range(target.n_blocks)
    # the caller's own pixels are not given away: the model may write on them
    call = Call(images.clone(), *([[] for _ in each] for each in (blocks, blocks, layers)))
    with torch.no_grad(), listening(target, call.entered, call.left, call.sizes):
        try:
            call.logits = target(call.images)
        except FOREIGN as error:
            if is_out_of_memory(error):
                raise
            raise NotCalled(f"the model cannot be called on some of these images: "
                            f"{type(error).__name__}: {one_line(error, 200)}; accepted: a model "
                            "for which model(images) gives logits, whatever the number of images"
                            ) from error
    if not torch.isfinite(call.logits).all():
        raise ValueError("the model's logits are not finite; accepted: finite logits, of a class "
                         "that is masked out a large negative one, such as -1e4, in place of -inf")
    if not torch.equal(call.images, images):
        raise ValueError("the model changes the images that it is given, in place, so that no "
                         "second pass sees the same ones; accepted: a model that works on a copy, "
                         "as by (images - mean) / std in place of images.sub_(mean).div_(std)")
    _check_sites(target, call)
    return call


def _check_sites(target: TargetModel, call: Call) -> None:
    """Raise ``ValueError`` unless a hook on every layer's neurons is called once in a pass, with
    one row an image and all the tokens that the model should have."""
    expected = target.family.token_count(target.model, tuple(call.images.shape[2:]))
    for index, (layer, sizes) in enumerate(zip(target.layers, call.sizes, strict=True)):
        if len(sizes) != 1:
            raise ValueError(f"the neurons of {layer.name} are computed {len(sizes)} times by "
                             "their own module in a forward pass; accepted: blocks whose mlp.fc2 "
                             "(attn.proj) is called once")
        rows, tokens, neurons = sizes[0]
        check_rows(layer.name, rows, len(call.images))
        if neurons != (width := target.site(index).in_features):
            raise ValueError(f"{layer.name} has {neurons} neurons where the in_features of their "
                             f"module are {width}; accepted: the number that enters it")
        if target.scope == "patch" and tokens != expected:
            raise ValueError(f"{layer.name} sees {tokens} tokens, patches and prefix are "
                             f"{expected}; accepted for scope 'patch': a model that adds and drops "
                             "no tokens")


def compare(target: TargetModel, images: Float[Tensor, "batch channel height width"]) -> Verdict:
    """Hold every part of a model against what the model computes when it is called.

    Each part is given what it was given in the call, and one image more, of other values, which
    must not change the rest of the batch.

    Args:
        target: the model, of which nothing is remembered.
        images: of the batch at hand.

    Raises:
        ValueError: the model cannot be called on them, or its logits are not finite.
    """
    call = called(target, images)
    verdict = Verdict(call=call)
    with torch.no_grad():
        verdict.differs = next(_differences(target, call, verdict), None)
        # of parts that do what they did in the call nothing else is to be feared
        verdict.unsteady = verdict.differs is not None and not _answers_again(target, call)
    return verdict


def _answers_again(target: TargetModel, call: Call) -> bool:
    """Whether the model gives the logits again that it gave; with one image more, or with the same
    ones where it takes no others."""
    for images in (_another(call.images), call.images):
        again = attempt(lambda images=images: target(images))
        if again is not None:
            return agree(again, call.logits, call.logits)
    return True


def _differences(target: TargetModel, call: Call, verdict: Verdict) -> Iterator[str]:
    """In words, what the parts do otherwise than the model, in the order of a forward pass."""
    for index in range(len(target.model.blocks)):
        count = len(call.entered[index])
        if count != 1 or not isinstance(call.left[index][0], Tensor):
            yield (f"block {index} runs {count} times in a forward pass" if count != 1 else
                   f"block {index} gives {type(call.left[index][0]).__name__}, not a tensor")
            return
    entered = [streams[0] for streams in call.entered]
    left = [streams[0] for streams in call.left]
    where = hooked_parts(target.model)
    embedded = attempt(lambda: target.family.embed(target.model, _another(call.images)))
    if not agree(embedded, entered[0], entered[0]):
        yield f"what enters block 0 is not made by its patch embedding and positions alone{where}"
    for index, (stream, out) in enumerate(zip(entered, left, strict=True)):
        yield from _block_differs(target, index, stream, out, verdict)
        following = entered[index + 1] if index + 1 < len(entered) else None
        if following is not None and not agree(out, following, out):
            yield f"something between block {index} and block {index + 1} changes the stream{where}"
    last = left[-1]
    again = attempt(lambda: target.family.logits(target.model, _another(last)))
    if not agree(again, call.logits, call.logits):
        yield f"its logits are not those of its norm, pooling and head{where}"
    if target.family.classifies_alone(target.model):
        alone = attempt(lambda: target.family.logits(target.model, last[:, :1]))
        verdict.not_alone = not agree(alone, call.logits, call.logits)


def _another(value: Tensor) -> Tensor:
    """A batch with one row more."""
    return torch.cat([value, 0.5 * value[:1]])


def attempt(run: Callable[[], Tensor]) -> Tensor | None:
    """What a part gives, or ``None`` if it cannot be run so."""
    try:
        return run()
    except FOREIGN as error:
        if is_out_of_memory(error):
            raise
        return None


def _block_differs(target: TargetModel, index: int, stream: Tensor, out: Tensor,
                   verdict: Verdict) -> Iterator[str]:
    """What a block does by itself, in each form in which the library runs it."""
    entering = _another(stream)
    written = out - stream if out.shape == stream.shape else out
    form = target.by_form(index)
    if form is not None:
        if agree(attempt(lambda: form(entering)), out, written):
            return
        verdict.not_plain.add(index)
    for words, run in target.runs(index, entering):
        if not agree(attempt(run), out, written):
            yield (f"{words} gives another stream when it is run by itself"
                   f"{hooked_parts(target.model.blocks[index])}")


def hooked_parts(part: nn.Module) -> str:
    """What is hooked or replaced about a part, as the end of a sentence."""
    seen = [name or type(part).__name__ for name, module in part.named_modules()
            if is_hooked(module) or replaced_methods(module)]
    return f" (hooks or methods of its own: {', '.join(seen[:3])})" if seen else ""
