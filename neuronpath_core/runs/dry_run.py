"""What a planned run would cost, notebook by notebook, before any of it is done."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
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
from neuronpath_core.cost.passes import Passes, knowledge_passes
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.file_images import FileImages
from neuronpath_core.models.preprocessing import model_preprocessing
from neuronpath_core.runs.notebooks import Run
from neuronpath_core.runs.parameters import own_parameters
from neuronpath_core.settings import SearchSettings
from neuronpath_core.study.profiles import load_profile, model_entries
from neuronpath_core.support.memory import memory_limit
from neuronpath_core.target import TargetModel

# a notebook's kernel, imports, tables and figures
NOTEBOOK_SECONDS = 10.0
# chapters whose searches are not counted one by one: the seconds that they took with their own
# parameters on two CPU cores, and those that one default search, with its draft, was estimated to
# take there for every model and image that their parameters name
REFERENCE = {
    "07_search_cost": (94, 1.2), "08_benchmarks": (8, None), "09_planted_paths": (97, None),
    "10_score_or_search": (254, 6.3), "11_controls": (116, 56.7),
    "12_as_published": (66, 20.4), "13_stability": (74, 24.5),
    "14_similarity_in_numbers": (56, 27.0), "15_pruning_honest": (106, 16.8),
    "16_mae_against_supervised": (64, 5.6), "17_attention_paths": (38, 2.0),
}
STORED_TABLES = 6  # of every model and image that such a chapter names
IMAGE_COUNTS = ("n_images", "agreement_images", "pool_images", "pruning_images")
TOTAL = "total"


@dataclass(frozen=True)
class Work:
    """What a chapter does with each of its models.

    Attributes:
        tables: ``(images, which of the data's, settings)`` of path tables, each searched once
            however many chapters want it.
        by_top: the same for numbers of neurons that are searched together after the last of
            ``tables``, and share its first block's scores.
        passes: ``(images, copies at once, passes for one image, how often it is read)``.
        drafted: the same where a draft is made in single precision.
    """

    tables: list[tuple[int, str, dict]] = field(default_factory=list)
    by_top: list[tuple[int, str, dict]] = field(default_factory=list)
    passes: list[tuple[int, int, Callable[[TargetModel], Passes],
                       int]] = field(default_factory=list)
    drafted: list[tuple[int, int, Callable[[TargetModel], Passes],
                        int]] = field(default_factory=list)


def _forwards(count: int) -> Callable[[TargetModel], Passes]:
    return lambda target: Passes(forward=count * target.n_blocks)


def _search_settings(values: Mapping[str, Any]) -> dict:
    return {name: values[name] for name in ("context", "quadrature", "steps", "nodes")
            if name in values}


def _knowledge(values: Mapping[str, Any]) -> Work:
    return Work(drafted=[(values["n_images"], values["steps"],
                          lambda target: knowledge_passes(target, values["steps"]), 1)])


def _interventions(values: Mapping[str, Any]) -> Work:
    count = values["n_images"]
    settings = _search_settings(values) | {"seed": values["seed"]}
    edits = 1 + 2 * len(values["methods"])
    return Work([(count, "all", {"method": method} | settings) for method in values["methods"]],
                passes=[(count, 1, _forwards(edits), edits)])


def _class_paths(values: Mapping[str, Any]) -> Work:
    settings, compared = _search_settings(values), values.get("agreement_images")
    ways = [settings, {"context": "full", "quadrature": "gauss-legendre",
                       "steps": [32, 16, 8, 4]}] if compared else []
    return Work([(values["n_images"], "all", settings), *((compared, "all", way) for way in ways)])


def _pruning(values: Mapping[str, Any]) -> Work:
    count, settings = values["n_images"], _search_settings(values)
    probing = round(0.8 * count)
    cells = len(values["tops"]) * len(values["shares"]) * values["repeats"]
    alone = [(count, "all", settings)] * (1 in values["tops"])
    together = [(probing, "probing", settings | {"top": top})
                for top in dict.fromkeys(values["tops"]) if top > 1]
    masked = (count - probing, 1, _forwards(3 * cells), cells)
    return Work(alone + together[:1], together[1:],
                [(probing, 1, _forwards(1), 1), (count - probing, 1, _forwards(1), 1)], [masked])


COUNTED = {"01_knowledge_neurons": _knowledge, "02_table1": _interventions,
           "03_probability_deviation": _interventions, "04_class_paths": _class_paths,
           "05_class_similarity": _class_paths, "06_pruning": _pruning}


def estimate_run(root: Path, runs: Iterable[Run], seconds: float = 1.0,
                 force: bool = False) -> pd.DataFrame:
    """What a planned run costs: every model is timed on its device for a moment, with random
    weights, and no notebook is executed.

    Chapters 1 to 6 are counted search by search, a path table that several of them want once.  The
    others are scaled from the seconds that they took with their own parameters, by what a default
    search of their images and models takes here and took there.

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
            self.entries[name] = load_profile(name, self.root)
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
            self.images[profile] = load_part(dataset, "held_out", base=self.root)
        if not isinstance(self.images[profile], FileImages):
            return 0.0
        overrides = {**(spec.get("data_config") or {}), **(dataset.get("preprocessing") or {})}
        return reading_seconds(self.images[profile], model_preprocessing(target.model, overrides))


def _cost(bench: _Bench, searched: set, notebook: str,
          values: Mapping[str, Any]) -> tuple[int, int, Estimate, str]:
    profiles = values.get("profiles") or ([values["profile"]] if "profile" in values else [])
    images = sum(values.get(name) or 0 for name in IMAGE_COUNTS)
    known, reference = REFERENCE.get(notebook, (0, 0))
    if reference is None or not profiles or (not images and notebook not in COUNTED):
        return 0, 0, Estimate(seconds=known or NOTEBOOK_SECONDS), "fixed"
    device, dtype = values.get("device", "cpu"), values.get("dtype", "float64")
    asked = [(profile, name) for profile in profiles for name in values.get("models")
             or list(bench.profile(profile)["models"])]
    cost = Estimate(seconds=NOTEBOOK_SECONDS)
    if notebook in COUNTED:
        work = COUNTED[notebook](values)
        for profile, name in asked:
            cost += _counted(bench.model(profile, name, device, dtype), work,
                             (profile, name, device, dtype, values.get("seed", 0)), searched)
        return len(asked), values["n_images"], cost, "counted"
    once = [estimate_paths(bench.model(profile, name, device, dtype), images, {}) for profile,
            name in asked]
    ratios = [(took - NOTEBOOK_SECONDS) / there for took, there in REFERENCE.values() if there]
    times = (known - NOTEBOOK_SECONDS) / reference if reference else statistics.median(ratios)
    for each in once:
        cost += Estimate(times * each.seconds, each.memory_bytes, STORED_TABLES * each.disk_bytes)
    return len(asked), images, cost, "scaled" if reference else "guessed"


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
