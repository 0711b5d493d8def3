"""What a planned run would cost, notebook by notebook, before any of it is done."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from neuronpath_core.cost.estimate import (
    Estimate,
    Measured,
    estimate_passes,
    estimate_paths,
    measure,
    reading_seconds,
)
from neuronpath_core.cost.work import Work
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.declared import record_file
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.models.preprocessing import model_preprocessing
from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.choice import notebook_names
from neuronpath_core.runs.notebooks import Run
from neuronpath_core.runs.parameters import own_parameters
from neuronpath_core.settings import SearchSettings
from neuronpath_core.study.profiles import model_entries
from neuronpath_core.study.schema import is_image_count
from neuronpath_core.study.vlm_profiles import any_profile
from neuronpath_core.support.memory import memory_limit
from neuronpath_core.target import TargetModel

# a notebook's kernel, imports, tables and figures
NOTEBOOK_SECONDS = 10.0
STORED_TABLES = 6  # of every model and image that such a chapter names
TOTAL = "total"


def estimate_run(root: Path, runs: Iterable[Run], seconds: float = 1.0,
                 force: bool = False) -> pd.DataFrame:
    """What a planned run costs: every model is timed on its device for a moment, with random
    weights, and no notebook is executed.

    Chapters whose metadata name a ``cost`` are counted search by search, a path table that several
    of them want once.  The others are scaled from the seconds that, as their metadata say, they
    took with their own parameters, by what a default search of their images and models takes here
    and took there.

    Args:
        root: the study's folder.
        runs: of :func:`~neuronpath_core.runs.notebooks.plan`.
        seconds: for the timing of each model.
        force: count what would be kept from an earlier run too.

    Returns:
        one row per notebook and a last one, ``"total"``:
        ``notebook, models, images, seconds, memory, disk`` (bytes) and ``basis``, ``"counted"``,
        ``"scaled"``, ``"guessed"`` (a notebook of which nothing is known), ``"fixed"`` (without
        models of a profile) or ``"kept"``.  In total, seconds and disk are sums, memory the
        largest.

    Raises:
        ValueError: models, settings or images that do not fit.
    """
    bench, searched, rows = _Bench(root, seconds), set(), []
    for run in runs:
        names, images, cost, basis = _cost(bench, searched, run.notebook,
                                           own_parameters(root, run.notebook) | run.parameters)
        rows.append((run.notebook, names, images, *((Estimate(), "kept") if run.is_current
                                                    and not force else (cost, basis))))
    return _table("notebook", rows)


def estimate_searches(root: Path, profile: str, names: Iterable[str], count: int, settings: Mapping,
                      device: str = "cpu", dtype: str = "float64",
                      memory_budget: int | str | None = None, seconds: float = 1.0) -> pd.DataFrame:
    """The same for the search for the paths of ``count`` images by each of some models of a
    profile, one row a model; the first column is ``"model"``.

    Args:
        settings, memory_budget: of :func:`~neuronpath_core.paths.find_paths`.
    """
    bench, rows = _Bench(root, seconds), []
    for name in names:
        measured = bench.model(profile, name, device, dtype)
        with memory_limit(measured.target, memory_budget):
            rows.append((name, 1, count, estimate_paths(measured, count, settings), "counted"))
    return _table("model", rows)


def _table(title: str, rows: list[tuple[str, int, int, Estimate, str]]) -> pd.DataFrame:
    rows = [*rows, (TOTAL, 0, 0, sum((row[3] for row in rows), Estimate()), "")]
    return pd.DataFrame([{title: name, "models": names, "images": images, "seconds": cost.seconds,
                          "memory": cost.memory_bytes, "disk": cost.disk_bytes,
                          "basis": basis} for name, names, images, cost, basis in rows])


class _Bench:
    """The models of a run, each timed when it is first asked for."""

    def __init__(self, root: Path, seconds: float):
        self.root, self.seconds, self.known, self.entries, self.images = root, seconds, {}, {}, {}

    def profile(self, name: str) -> dict:
        if name not in self.entries:
            self.entries[name] = any_profile(name, self.root)
        return self.entries[name]

    def model(self, profile: str, model: str, device: str, dtype: str) -> Measured:
        key = (profile, model, device, dtype)
        if key not in self.known:
            entries = model_entries(self.profile(profile))
            if model not in entries:
                raise ValueError(f"unknown model {model!r}; accepted: {', '.join(entries)}")
            measured = measure(entries[model], device, dtype, self.seconds)
            self.known[key] = replace(measured,
                                      reading=self._reading(profile, entries[model],
                                                            measured.target))
        return self.known[key]

    def _reading(self, profile: str, spec: Mapping, target: TargetModel) -> float:
        dataset = self.profile(profile)["dataset"]
        if profile not in self.images:
            try:
                self.images[profile] = load_part(dataset, "held_out", base=self.root)
            except ValueError:  # how fast absent images would be read is not known
                if record_file(dataset, self.root) is None:
                    raise
                self.images[profile] = None
        if not isinstance(self.images[profile], FileImages):
            return 0.0
        overrides = {**(spec.get("data_config") or {}), **(dataset.get("preprocessing") or {})}
        return reading_seconds(self.images[profile], model_preprocessing(target.model, overrides))


def _cost(bench: _Bench, searched: set, notebook: str,
          values: Mapping[str, Any]) -> tuple[int, int, Estimate, str]:
    profiles = values.get("profiles") or ([values["profile"]] if "profile" in values else [])
    images = sum(values[name] or 0 for name in values if is_image_count(name))
    chapter = Chapter.read(bench.root, notebook)
    known, took = chapter.cost, chapter.notes.get("took", {})
    if not profiles or known is None and (not images or took and "search" not in took):
        return 0, 0, Estimate(seconds=took.get("seconds", NOTEBOOK_SECONDS)), "fixed"
    device, dtype = values.get("device", "cpu"), values.get("dtype", "float64")
    asked = [(profile, name) for profile in profiles for name in values.get("models")
             or list(bench.profile(profile)["models"])]
    cost = Estimate(seconds=NOTEBOOK_SECONDS)
    if known is not None:
        work = known(values)
        for profile, name in asked:
            cost += _counted(bench.model(profile, name, device, dtype), work,
                             (profile, name, device, dtype, values.get("seed", 0)), searched)
        return len(asked), values["n_images"], cost, "counted"
    times = _searches(took) if took else statistics.median(_known_searches(bench.root))
    for profile, name in asked:
        each = estimate_paths(bench.model(profile, name, device, dtype), images, {})
        cost += Estimate(times * each.seconds, each.memory_bytes, STORED_TABLES * each.disk_bytes)
    return len(asked), images, cost, "scaled" if took else "guessed"


def _searches(took: Mapping[str, float]) -> float:
    """How many default searches a chapter took."""
    return (took["seconds"] - NOTEBOOK_SECONDS) / took["search"]


def _known_searches(root: Path) -> list[float]:
    """Those of every chapter that was timed; of none, one."""
    took = [Chapter.read(root, name).notes.get("took", {}) for name in notebook_names(root)]
    return [_searches(each) for each in took if "search" in each] or [1.0]


def _counted(measured: Measured, work: Work, identity: tuple, searched: set) -> Estimate:
    cost = Estimate()
    for place, (count, which, settings) in enumerate(work.tables + work.by_top):
        own = estimate_paths(measured, count, settings, first=place < len(work.tables))
        key = (identity, count, which,
               str(sorted(SearchSettings.of(**settings).complete(measured.target).as_dict().items())))
        cost += Estimate(memory_bytes=own.memory_bytes) if key in searched else own
        searched.add(key)
    for place, (count, copies, passes, readings) in enumerate(work.passes + work.drafted):
        cost += estimate_passes(measured, count, passes(measured.target), copies, readings,
                                drafted=place >= len(work.passes))
    return cost


def seconds_text(seconds: float) -> str:
    """``"12 s"``, ``"34 min"``, ``"5.6 h"``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:,.1f} h"


def bytes_text(count: float) -> str:
    """``"0.3 MB"``, ``"120 MB"``, ``"3.4 GB"``."""
    if count < 999.5e6:
        return f"{count / 1e6:.{1 if 0 < count < 9.95e6 else 0}f} MB"
    return f"{count / 1e9:,.1f} GB"


def as_text(table: pd.DataFrame) -> str:
    """The table of :func:`estimate_run` for a terminal, and in two lines what it takes for granted.
    """
    left = (table.columns[0], "basis")
    shown = pd.DataFrame({
        left[0]: table[left[0]],
        "models": table["models"].map(lambda count: f"{count}" if count else "-"),
        "images": table["images"].map(lambda count: f"{count:,}" if count else "-"),
        "time": table["seconds"].map(seconds_text),
        "memory": table["memory"].map(bytes_text), "disk": table["disk"].map(bytes_text),
        "basis": table["basis"],
    })
    widths = {name: max(len(name), *shown[name].map(len)) for name in shown}
    lines = ["  ".join(text.ljust(widths[name]) if name in left else text.rjust(widths[name])
                       for name, text in zip(shown, row, strict=True)).rstrip()
             for row in [list(shown), *shown.to_numpy().tolist()]]
    return "\n".join([*lines, "", "Time: passes of a block, counted, times what one takes here "
                                  "now with random weights; on one device that does nothing else.",
                      "Memory: at once. Disk: path tables. Scaled: after what a chapter took with "
                      "its own parameters on two CPU cores."])
