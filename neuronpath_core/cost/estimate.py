"""What a search costs in time, memory and disk: its counted passes times what one pass takes on
this device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from neuronpath_core.cost.passes import Passes, path_passes
from neuronpath_core.cost.rates import measured_rates, stand_in
from neuronpath_core.fast.drafts import DRAFT
from neuronpath_core.fast.engine import AUTO_STEPS
from neuronpath_core.fast.integral import integral
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.quadrature import quadrature_rule
from neuronpath_core.scores import METHODS
from neuronpath_core.settings import SearchSettings
from neuronpath_core.study.study import IMAGES_AT_ONCE, IMAGES_PER_PART
from neuronpath_core.support.memory import copies_at_once, copy_bytes
from neuronpath_core.target import TargetModel

PROCESS_BYTES = 500_000_000  # Python and the libraries themselves
# a path table keeps a neuron as a whole number of 16 bits, compressed to 1.5 to 2 bytes, beside
# four numbers a row
NEURON_BYTES, ROW_BYTES, TABLE_BYTES = 2.0, 24, 20_000
# of a draft's images, in double precision: a guess; hardly any with one neuron a block (notebook
# 7), more with many
SEARCHED_AGAIN = 0.05
IN_MEMORY_BYTES = 8  # of a neuron while a chapter works on its table


@dataclass(frozen=True)
class Estimate:
    """What something costs; estimates add up, memory being needed one after the other.

    Attributes:
        seconds, memory_bytes, disk_bytes: of memory the most at once, on the device or, on a CPU,
            of the process.
    """

    seconds: float = 0.0
    memory_bytes: float = 0.0
    disk_bytes: float = 0.0

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.seconds + other.seconds, max(self.memory_bytes, other.memory_bytes),
                        self.disk_bytes + other.disk_bytes)


@dataclass(frozen=True)
class Measured:
    """A model that costs are estimated for.

    Attributes:
        target: it, or its :func:`~neuronpath_core.cost.rates.stand_in`.
        rates: see :func:`~neuronpath_core.cost.rates.measured_rates`.
        weight_bytes: of all its weights.
        reading: seconds to read and decode one image as it sees it; none for images that are in
            memory.
        draft_rates: of the same model in the precision of a ``draft``, if its own is double.
    """

    target: TargetModel
    rates: Mapping[str, float]
    weight_bytes: int
    reading: float = 0.0
    draft_rates: Mapping[str, float] | None = None

    def path_seconds(self, settings: Mapping, first: bool = True) -> float:
        """The search for one image's path, with complete settings; a draft and what is searched
        again in double precision."""
        passes = path_passes(self.target, settings, first=first)
        if settings["draft"] is None or self.draft_rates is None:
            return passes.seconds(self.rates)
        return passes.seconds(self.draft_rates) + SEARCHED_AGAIN * passes.seconds(self.rates)


def measure(spec: Mapping, device: str = "cpu", dtype: str = "float64",
            seconds: float = 1.0) -> Measured:
    """A profile entry's :func:`~neuronpath_core.cost.rates.stand_in` with its
    :func:`~neuronpath_core.cost.rates.measured_rates`; errors are those of the two."""
    target, weight_bytes = stand_in(spec, device, dtype)
    drafts = measured_rates(stand_in(spec, device, DRAFT)[0],
                            seconds) if target.dtype == torch.float64 else None
    return Measured(target, measured_rates(target, seconds), weight_bytes, draft_rates=drafts)


def reading_seconds(images: ImageSet, preprocessing: Mapping | None, few: int = 32) -> float:
    """Seconds to read, decode and preprocess one image, from a few that lie apart; none where they
    are in memory.

    Raises:
        ValueError: one of them that cannot be read, or a preprocessing that is none.
    """
    if type(images) is ImageSet:
        return 0.0
    chosen = images.select(torch.linspace(0, len(images) - 1,
                                          min(few, len(images))).round().long()).checked()
    started = time.perf_counter()
    chosen.loaded(preprocessing)
    return (time.perf_counter() - started) / len(chosen)


def estimate_paths(measured: Measured, count: int, settings: Mapping,
                   first: bool = True) -> Estimate:
    """Of :meth:`~neuronpath_core.study.study.Study.paths`: the search for the paths of ``count``
    images, and their table.

    Memory is weights, one chunk (what autograd keeps of as many copies as it holds), a part's
    images with the next part's, and the table.  While a table is put together from its parts, both
    are on disk.

    Args:
        measured: the model.
        count: number of images.
        settings: of :func:`~neuronpath_core.paths.find_paths`; its defaults are filled in.
        first: of :func:`~neuronpath_core.cost.passes.search_passes`.

    Raises:
        ValueError: settings that the model does not allow.
    """
    target = measured.target
    settings = SearchSettings.of(**{"draft": DRAFT} | settings).complete(measured.target).as_dict()
    numbers = target.n_blocks * (settings["top"] or 1)
    table = count * (NEURON_BYTES * numbers + ROW_BYTES) + TABLE_BYTES
    return Estimate(count * (measured.path_seconds(settings, first) + measured.reading),
                    _memory(measured, min(count, IMAGES_PER_PART), _copies(settings))
                    + count * IN_MEMORY_BYTES * numbers, table)


def estimate_passes(measured: Measured, count: int, passes: Passes, copies: int = 1,
                    readings: int = 1, drafted: bool = False) -> Estimate:
    """Of passes for each of ``count`` images, which are read so many times; nothing is stored.
    ``drafted``: in a draft's precision, if there is one."""
    rates = measured.draft_rates if drafted and measured.draft_rates is not None else measured.rates
    return Estimate(count * (passes.seconds(rates) + readings * measured.reading),
                    _memory(measured, min(count, IMAGES_AT_ONCE), copies))


def _copies(settings: Mapping) -> int:
    """Of an image, as many as the search holds at once if it can."""
    steps = AUTO_STEPS[-1] if settings["steps"] == "auto" else settings["steps"]
    if not METHODS[settings["method"]].with_search:
        return len(quadrature_rule(settings["quadrature"], steps, settings["nodes"])[0])
    terms = integral(settings["context"], settings["quadrature"], steps, settings["nodes"],
                     settings["exact_steps"])
    exact = [term for term in terms if not term.frozen]
    most = max(len(term.nodes) for term in exact or terms)
    return most * (settings["width"] ** 2 if settings["search"] == "beam" else 1)


def _memory(measured: Measured, images: int, copies: int) -> float:
    target, patch = measured.target, measured.target.model.patch_embed.proj
    pixels = (target.n_tokens - target.model.num_prefix_tokens) * patch.kernel_size[
        0] * patch.kernel_size[1]
    together = min(copies_at_once(target), images * copies)
    return PROCESS_BYTES + measured.weight_bytes + together * copy_bytes(
        target) + 2 * images * patch.in_channels * pixels * target.dtype.itemsize
