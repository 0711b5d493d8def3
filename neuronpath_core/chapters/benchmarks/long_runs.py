"""Long runs as tables: what keeping paths and sharing the work cost, as measured, and what the full
scale takes, counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from neuronpath_core.chapters.benchmarks.speed import LONG_RUNS, spread_text
from neuronpath_core.cost.estimate import NEURON_BYTES, ROW_BYTES
from neuronpath_core.cost.passes import Passes, multiply_adds, path_passes
from neuronpath_core.study.profiles import load_profile
from neuronpath_core.study.targets import outline


def read(root: Path, what: str) -> dict:
    """The measurements of ``"agreement"`` (of quadrature rules), ``"store"`` or ``"scale"`` (Ray
    workers) in ``benchmarks/``.

    Raises:
        ValueError: there are none.
    """
    path = root / "benchmarks" / f"{what}.json"
    if what not in LONG_RUNS or not path.is_file():
        raise ValueError(f"no measurements of {what!r}; accepted: {', '.join(LONG_RUNS)}, which "
                         f"'python -m benchmarks.NAME' takes")
    return json.loads(path.read_text(encoding="utf-8"))


def store_table(measured: Mapping) -> pd.DataFrame:
    """What keeping the paths of a long run costs beside finding them."""
    ms = {name: 1000 * value for name, value in measured["part_seconds"].items()}
    rows = {
        f"a part of {measured['part_size']} images written": f"{spread_text(ms)} ms",
        "of the time its search takes (ViT-B/16, frozen context)": f"{measured['part_share']:.3%}",
        f"{measured['images']:,} images, {measured['blocks']} blocks, {measured['top']} neurons "
        f"each: table": f"{measured['table_bytes'] / 1e6:.0f} MB",
        "the finished run resumed": f"{spread_text(measured['read_seconds'], 2)} s",
        "a run resumed that lacks its last step": f"{measured['merge_seconds']:.1f} s",
        "all writing, of the time all searches take": f"{measured['whole_share']:.3%}",
    }
    return pd.DataFrame({"measured": rows}).rename_axis("what")


def worker_table(measured: Mapping) -> pd.DataFrame:
    """One process with one thread beside Ray workers of one thread each."""
    rows = {
        f"{measured['images']} images of {measured['model']}, one process":
            f"{spread_text(measured['seconds']['local'])} s",
        f"the same, {measured['workers']} workers": f"{spread_text(measured['seconds']['ray'])} s",
        "times as fast": spread_text(measured["ratio"], 2),
        "same table, bit for bit": "yes" if measured["identical"] else "no",
        "Ray and its workers started": f"{spread_text(measured['startup_seconds']['ray'])} s"}
    return pd.DataFrame({"measured": rows}).rename_axis("what")


# what is asked of a model: the published rule, the default, the recommended method, and all that
# Table 1 takes (three methods' paths, and seven forward passes of the whole model)
FULL_RULE = {"context": "full", "quadrature": "left", "steps": 20}
WANTED = {"paths by the published rule": [FULL_RULE], "paths by the default": [{}],
          "paths by the recommended method": [{"method": "recommended"}],
          "Table 1": [{"method": method, **FULL_RULE}
                      for method in ("activation", "influence_pattern", "neuron_path")]}


def full_scale(root: Path, profile: str, count: int = 50_000,
               sustained: Sequence[float] = (10, 100)) -> pd.DataFrame:
    """What the paths of many images take, counted from the models' sizes; nothing is measured, and
    no weights are needed.

    Two operations, one multiplication and one addition, for each of
    :func:`~neuronpath_core.cost.passes.multiply_adds`.

    Args:
        root, profile: whose models.
        count: number of images.
        sustained: speeds for which hours are given, 10¹² operations per second.

    Returns:
        one row per model and what is wanted: ``model, wanted, each`` (10¹² operations for one
        image), ``hours at …`` and ``megabytes`` of path tables.
    """
    rows = []
    for name, spec in load_profile(profile, root)["models"].items():
        target = outline(spec)
        costs = multiply_adds(target)
        for wanted, searches in WANTED.items():
            passes = sum((path_passes(target, settings, again=False) for settings in searches),
                         Passes())
            if len(searches) > 1:
                passes += Passes(forward=(1 + 2 * len(searches)) * target.n_blocks)
            each = 2 * passes.seconds(costs) / 1e12
            rows.append({"model": name, "wanted": wanted, "each": each,
                         **{f"hours at {speed}": each * count / speed / 3600
                            for speed in sustained},
                         "megabytes": len(searches) * count * (NEURON_BYTES * target.n_blocks
                                                               + ROW_BYTES) / 1e6})
    return pd.DataFrame(rows)


def scale_table(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`full_scale`, for reading."""
    hours = [name for name in table if name.startswith("hours")]
    return (
        table.assign(
            each=table["each"].round(2),
            megabytes=table["megabytes"].round(1),
            **{name: table[name].round(2) for name in hours},
        )
        .rename(
            columns={
                "each": "10¹² operations an image",
                **{name: f"{name}·10¹² a second" for name in hours},
                "megabytes": "tables, MB",
            }
        )
        .set_index(["model", "wanted"])
    )


def numbers(counted: pd.DataFrame, store: Mapping, workers: Mapping) -> dict[str, str]:
    """The numbers that the book's pages quote, by name."""
    found = {}
    slowest = next(name for name in counted if name.startswith("hours"))
    for row in counted.to_dict("records"):
        key = {"paths by the published rule": "published",
               "paths by the default": "default",
               "paths by the recommended method": "recommended"}.get(row["wanted"])
        if key:
            found |= {f"scale {row['model']} {key}": f"{row['each']:.2f}",
                      f"scale {row['model']} {key} hours": f"{row[slowest]:.1f}"}
    whole = counted[counted["wanted"] == "Table 1"]
    return found | {"scale table hours": f"{whole[slowest].sum():.0f}",
                    "scale table megabytes": f"{whole['megabytes'].sum():.0f}",
                    "store share": f"{store['part_share']:.3%}",
                    "store megabytes": f"{store['table_bytes'] / 1e6:.0f}",
                    "store resume": f"{store['read_seconds']['median']:.1f}",
                    "ray ratio": f"{workers['ratio']['median']:.2f}"}
