"""How much is computed at once: a budget that splits images, nodes and candidates, and what happens
when memory runs out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from neuronpath_core.support.text import shown

# Without a budget: on a CPU what one block works on stays near the caches, which is fastest; on a
# GPU a share of what is free.
AUTOMATIC_CPU_BYTES_PER_BLOCK = 40_000_000
AUTOMATIC_FREE_SHARE = 0.4
MOST_WORKERS = 4  # more would wait for Python's interpreter lock
UNITS = {"": 1, "B": 1, "BYTES": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10,
         "MIB": 2**20, "GIB": 2**30}

Part = TypeVar("Part")


class Sized(Protocol):
    """What is computed with, as far as memory is concerned: a model seen as layers of neurons."""

    model: torch.nn.Module
    dtype: torch.dtype
    device: torch.device
    n_blocks: int
    side_by_side: bool

    def numbers_kept(self, frozen: bool) -> int: ...



@dataclass
class _Limit:
    bytes: float
    warned: list[bool] = field(default_factory=list)  # shared by those that work side by side


_active: ContextVar[_Limit | None] = ContextVar("memory_limit", default=None)


def parse_memory(budget: int | float | str) -> int:
    """Bytes of ``6_000_000_000``, ``"6GB"`` or ``"512 MiB"``.

    Raises:
        ValueError: anything else, or nothing left.
    """
    text = f"{budget:f}" if isinstance(budget, float) else str(budget).strip() if isinstance(
        budget, (str, int, float)) and not isinstance(budget, bool) else ""
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([A-Za-z]*)", text)
    if match is None or match[2].upper() not in UNITS or float(match[1]) * UNITS[
            match[2].upper()] < 1:
        raise ValueError(f"memory_budget must be a positive number of bytes or a text like '6GB' "
                         f"or '512MiB', got {shown(budget)}")
    return int(float(match[1]) * UNITS[match[2].upper()])


def copy_bytes(target: Sized, frozen: bool = False) -> int:
    """Estimate of what one copy of one image needs while its gradient is computed, by a count of
    what autograd keeps.

    Args:
        frozen: only the class token moves.
    """
    return target.numbers_kept(frozen) * torch.finfo(target.dtype).bits // 8


def _automatic(target: Sized) -> float:
    if target.device.type == "cuda":
        return AUTOMATIC_FREE_SHARE * torch.cuda.mem_get_info(target.device)[0]
    return AUTOMATIC_CPU_BYTES_PER_BLOCK * len(target.model.blocks)


@contextmanager
def memory_limit(target: Sized, budget: int | float | str | None = None) -> Iterator[None]:
    """Inside, no chunk is planned to need more than ``budget``; ``None`` chooses by the device, or
    keeps what is in force.

    Raises:
        ValueError: not an amount of memory, or too little for one copy of one image.
    """
    if budget is None and _active.get() is not None:
        yield
        return
    if budget is not None:
        budget, least = parse_memory(budget), copy_bytes(target)
        if budget < least:
            raise ValueError(f"memory_budget of {budget / 1e6:,.1f} MB is too small for one copy "
                             f"of one image; accepted: at least {least} bytes")
    token = _active.set(_Limit(_automatic(target) if budget is None else budget))
    try:
        yield
    finally:
        _active.reset(token)


def copies_at_once(target: Sized, frozen: bool = False) -> int:
    """How many copies of an image one chunk holds; at least one."""
    limit = _active.get()
    allowed = _automatic(target) if limit is None else limit.bytes
    return max(1, int(allowed // copy_bytes(target, frozen)))


def images_at_once(target: Sized, copies: int, frozen: bool = False) -> int:
    """How many images, each in ``copies`` copies, one chunk holds; at least one."""
    return max(1, copies_at_once(target, frozen) // copies)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that an allocation failed, on a GPU or a CPU."""
    return isinstance(error,
                      (torch.OutOfMemoryError, MemoryError)) or (isinstance(error, RuntimeError)
                                                                 and "can't allocate memory" in str(
        error))


def in_chunks(target: Sized, count: int, size: Callable[[], int],
              compute: Callable[[Tensor], Part], side_by_side: bool = False) -> list[Part]:
    """``compute(indices)`` over ``0..count-1``, ``size()`` of them at a time; results in order.

    With ``side_by_side``, on a CPU, spans of images are computed side by side, one thread of torch
    each: the matrices are small, and threads that share every one of them spend much of their time
    waiting for one another (measured: 1.2x on two cores).  Only for what puts no hook on the model
    and enters no forward mode: both would be seen by the other threads.

    When memory runs out the same indices are done again with half the limit, down to one copy of
    one image, so that a long run does not end there; a warning says so once.
    """
    with memory_limit(target):
        limit, threads = _active.get(), torch.get_num_threads()
        spans = torch.arange(count,
                             device=target.device).tensor_split(_workers(target, count, limit.bytes)
                                                                if side_by_side else 1)
        if len(spans) == 1:
            return _in_turn(target, spans[0], size, compute)
        share, grad = limit.bytes / len(spans), torch.is_grad_enabled()

        def work(span: Tensor) -> list[Part]:
            torch.set_num_threads(max(1, threads // len(spans)))
            token = _active.set(_Limit(share, limit.warned))
            try:
                with torch.set_grad_enabled(grad):
                    return _in_turn(target, span, size, compute)
            finally:
                _active.reset(token)

        try:
            with ThreadPoolExecutor(len(spans)) as pool:
                return [part for parts in pool.map(work, spans) for part in parts]
        finally:
            # of threads that others start later; this one's own was never changed
            torch.set_num_threads(threads)


def _workers(target: Sized, count: int, limit: float) -> int:
    """How many spans are computed side by side."""
    if not target.side_by_side:
        return 1
    return max(1, min(MOST_WORKERS, torch.get_num_threads(), count,
                      int(limit // copy_bytes(target))))


def _in_turn(target: Sized, indices: Tensor, size: Callable[[], int],
             compute: Callable[[Tensor], Part]) -> list[Part]:
    parts, start, limit = [], 0, _active.get()
    while start < len(indices):
        chosen = indices[start:start + size()]
        try:
            parts.append(compute(chosen))
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            # at least one copy is always tried: from there on half the limit would change nothing
            if not is_out_of_memory(error) or limit.bytes < copy_bytes(target, frozen=True):
                raise
            limit.bytes /= 2
            if not limit.warned:
                limit.warned.append(True)
                warnings.warn(f"out of memory: going on with at most {limit.bytes / 1e6:,.0f} MB "
                              f"at once", RuntimeWarning, stacklevel=2)
        else:
            start += len(chosen)
            continue
        # outside of the handler, so that the error's traceback no longer holds the tensors that
        # were in the way
        if target.device.type == "cuda":
            torch.cuda.empty_cache()
    return parts
