"""What one pass of one block takes on this device, measured on a network with random weights."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from neuronpath_core.cost.passes import KINDS
from neuronpath_core.fast.contexts import check_frozen
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.models import build
from neuronpath_core.study.targets import as_target
from neuronpath_core.support.memory import copies_at_once, in_chunks, memory_limit
from neuronpath_core.target import TargetModel

MOST_COPIES, MOST_REPEATS = 1024, 9
FROZEN_COPIES, EXACT_COPIES = 6, 2  # of an image, in the default mixed context


def stand_in(spec: Mapping, device: str = "cpu", dtype: str = "float64") -> tuple[TargetModel, int]:
    """A network of a profile entry's sizes with random weights, all its blocks one and the same,
    and the bytes that the real one's weights take.

    No weights file is looked for, and of a large network one block is made.

    Raises:
        ValueError: an entry that cannot be built, or an unknown device or dtype.
    """
    place, kind = build.parse_device(device), build.parse_dtype(dtype)
    try:
        with torch.device("meta"):
            model = build.build_model(spec)
    # a network that computes while it is built, or one that cannot be built at all
    except ValueError:
        model = build.build_model(spec)
    count = sum(value.numel() for value in model.state_dict().values())
    if blocks := len(getattr(model, "blocks", ())):
        model.blocks = _alike(model.blocks)
    model = model.to_empty(device=place).to(kind)
    if blocks:
        model.blocks = _alike(model.blocks)  # which were given weights of their own
    generator = torch.Generator(place).manual_seed(0)
    with torch.no_grad():
        for value in (*model.parameters(), *model.buffers()):
            if value.is_floating_point():
                value.copy_(torch.randn(value.shape, generator=generator, device=place,
                                        dtype=torch.float32) * 0.02)
    return as_target(model, spec), count * kind.itemsize


def _alike(blocks: nn.Sequential) -> nn.Sequential:
    """Blocks that are modules of their own and share the weights of the first."""
    first = blocks[0]
    weights = {id(value): value for value in (*first.parameters(), *first.buffers())}
    return nn.Sequential(first, *(copy.deepcopy(first, dict(weights)) for _ in blocks[1:]))


def measured_rates(target: TargetModel, seconds: float = 1.0) -> dict[str, float]:
    """Seconds of one pass of one block by one copy of an image, for every kind of
    :class:`~neuronpath_core.cost.passes.Passes` that the model allows.

    As in a search, as many copies are passed together as a chunk holds, on a CPU in as many
    threads; frozen passes six copies of an image together. Each is the median of a few repetitions
    after one that does not count, the device's queue being empty before and after.

    Args:
        target: weights do not matter; see :func:`stand_in`.
        seconds: for all kinds together; each is repeated at least once.
    """
    with memory_limit(target), activation_gradients(target):
        try:
            check_frozen(target)
            frozen = True
        except ValueError:
            frozen = False
        works = _works(target, min(copies_at_once(target), MOST_COPIES), frozen)
        rates = {kind: _median(target, *work, seconds / len(works)) for kind, work in works.items()}
    if target.device.type == "cuda":
        # what is kept for later would count as taken when the next chunk is planned
        torch.cuda.empty_cache()
    if "held_backward" in rates:  # which was timed there and back again
        rates["held_backward"] = max(0.0, rates["held_backward"] - rates["held_forward"])
    return {kind: rates[kind] for kind in KINDS if kind in rates}


def _works(target: TargetModel, copies: int,
           frozen: bool) -> dict[str, tuple[Callable[[Tensor], object], int, int, int]]:
    """By kind: what is done to some copies or images, how many there are, how many passes each is,
    and how many copies it counts in memory."""
    # layers of a path need not be whole blocks, and then differ from one to the next: two of them
    # are timed
    first = min(1, target.n_blocks - 1)
    span = 1 if target.n_blocks == len(target.model.blocks) else min(2, target.n_blocks - first)
    layers, last = range(first, first + span), target.n_blocks - 1
    like = {"device": target.device, "dtype": target.dtype}
    stream, tangent = (torch.randn(copies, target.n_tokens, target.model.embed_dim, **like)
                       for _ in range(2))
    scope = len(range(target.n_tokens)[target.tokens])

    def held(count: int, moving: bool = False) -> dict[int, Tensor]:
        return {index: torch.zeros(count, scope, target.site(index).in_features, **like,
                                   requires_grad=moving) for index in (*layers, last)}

    def forward(rows: Tensor, start: int = first, stop: int = first + span,
                pooled: bool = False) -> Tensor:
        with torch.no_grad():
            return target.run(stream[rows], start, stop, pooled=pooled)

    def gradient(rows: Tensor, start: int = first, stop: int = first + span,
                 clamps: Mapping[int, Tensor] | None = None, pooled: bool = False) -> object:
        entering = stream[rows].requires_grad_()
        left = target.run(entering, start, stop, clamps, pooled=pooled)
        moving = [clamp for index, clamp in (clamps or {}).items() if start <= index < stop
                  and clamp.requires_grad]
        return torch.autograd.grad(left, [entering, *moving], left.detach())

    def moved(rows: Tensor, indices: range = layers, pooled: bool = False) -> None:
        pair, clamps = (stream[rows], tangent[rows]), held(1)
        for index in indices:
            pair = target.run_tangent(*pair, index, clamps[index], pooled)

    whole = (copies, span, 1)
    works = {
        "forward": (forward, *whole),
        "gradient": (gradient, *whole),
        "tangent": (moved, *whole),
        "held_gradient": (lambda rows: gradient(rows, clamps=held(len(rows), True)), *whole),
    }
    if target.scope == "patch":
        works["held_forward"] = (lambda rows: target.run(stream[rows].requires_grad_(), first,
                                                         first + span, held(1)), *whole)
        works["held_backward"] = (lambda rows: gradient(rows, clamps=held(1)), *whole)
    if target.classifies_alone:
        works["last_forward"] = (lambda rows: forward(rows, last, last + 1, True), copies, 1, 1)
        works["last_gradient"] = (lambda rows: gradient(rows, last, last + 1, pooled=True), copies,
                                  1, 1)
        works["last_tangent"] = (lambda rows: moved(rows, range(last, last + 1), True), copies, 1,
                                 1)
    if frozen:
        images, block = max(1, copies // EXACT_COPIES), target.plain(first)
        entering, along = (torch.randn(images, FROZEN_COPIES, target.model.embed_dim, **like)
                           for _ in range(2))

        with torch.no_grad():
            stored = block.keys_values(stream[:images])

        def frozen_gradient(rows: Tensor) -> object:
            own = entering[rows].requires_grad_()
            left = block.frozen(own, tuple(value[rows] for value in stored))
            return torch.autograd.grad(left, own, left.detach())

        def frozen_tangent(rows: Tensor) -> None:
            with torch.no_grad():
                block.frozen_tangent(entering[rows], along[rows],
                                     tuple(value[rows] for value in stored), held(len(rows))[first])

        def keys_values(rows: Tensor) -> None:
            with torch.no_grad():
                block.keys_values(stream[rows])

        works["frozen_gradient"] = (frozen_gradient, images, FROZEN_COPIES, EXACT_COPIES)
        works["frozen_tangent"] = (frozen_tangent, images, FROZEN_COPIES, EXACT_COPIES)
        works["keys_values"] = (keys_values, images, 1, EXACT_COPIES)
    return works


def _median(target: TargetModel, work: Callable[[Tensor], object], count: int, each: int, held: int,
            seconds: float) -> float:
    def once() -> float:
        _wait(target)
        started = time.perf_counter()
        in_chunks(target, count, lambda: max(1, copies_at_once(target) // held), work,
                  side_by_side=True)
        _wait(target)
        return time.perf_counter() - started

    once()
    times = [once()]
    while sum(times) + times[-1] < seconds and len(times) < MOST_REPEATS:
        times.append(once())
    return statistics.median(times) / (count * each)


def _wait(target: TargetModel) -> None:
    if target.device.type == "cuda":
        torch.cuda.synchronize(target.device)
