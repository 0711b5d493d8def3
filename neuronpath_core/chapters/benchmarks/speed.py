"""What ``make bench`` stored, as tables: reading only, nothing is measured here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from neuronpath_core.stats.intervals import wilson_interval

# what 'python -m benchmarks.NAME' measures, which make bench does not run
LONG_RUNS = ("agreement", "store", "scale")
# what a page calls the methods that the stored measurements name
METHOD_TITLES = {
    "published": "published procedure", "exact, 20 left nodes": "same 20 steps",
    "drafted default": "default, float32 first",
    "by block, single at last": "8-3-2-1 nodes", "frozen, 20 left nodes": "frozen context",
    "published rule": "published rule", "three nodes": "3 nodes",
    "8 of 20": "8 evaluations", "12 of 20": "12 evaluations",
}
SIZE_TITLES = {"L": "blocks L", "T": "tokens T", "n": "neurons n", "m": "steps m",
               "batch": "images at a time"}


def titled(way: str, timed: bool = False) -> str:
    """A method's name as pages have it; where it is timed, the default says its precision."""
    return "default, float64" if timed and way == "default" else METHOD_TITLES.get(way, way)


def devices(root: Path) -> list[str]:
    """Kinds of device that there are measurements of the search for."""
    return sorted(path.stem for path in (root / "benchmarks").glob("*.json")
                  if path.stem not in LONG_RUNS and path.name[0] not in ".#~" and path.is_file())


def read(root: Path, device: str = "cpu") -> dict:
    """The measurements stored for a kind of device.

    Raises:
        ValueError: there are none.
    """
    if device not in devices(root):
        raise ValueError(f"no measurements for {device!r}; accepted: "
                         f"{', '.join(devices(root)) or 'nothing yet, make bench takes them'}")
    return json.loads((root / "benchmarks" / f"{device}.json").read_text(encoding="utf-8"))


def spread_text(values: Mapping[str, float], digits: int = 1) -> str:
    shown = {name: f"{value:.{digits}f}" for name, value in values.items()}
    return f"{shown['median']} [{shown['minimum']}, {shown['maximum']}]"


def percent(value: float) -> str:
    """``97.4 %``: a share in per cent."""
    return f"{100 * value:.1f} %"


def search_table(measured: dict) -> pd.DataFrame:
    """The trained models: time and ratio of each method, and whether its paths are those of the
    published procedure; its agreement with the reference is in :func:`agreement_table`."""
    return pd.DataFrame([{
        "model": row["model"], "method": titled(row["way"], timed=True),
        "ms per image": spread_text({name: 1000 * value for name, value in row["seconds"].items()}),
        "times as fast": spread_text(row["ratio"]) if row["way"] != "published" else "1",
        "images at a time": row["images"],
        "same paths": {True: "yes", False: "no"}.get(row["identical"])
        if row["way"] != "published" else None,
    } for row in measured["search"]]).set_index(["model", "method"])


def ratios(measured: dict) -> pd.DataFrame:
    """How many times as fast as the published procedure each method is: ``model, way`` (as pages
    name it), ``value, low, high`` (median, minimum, maximum over repetitions)."""
    return pd.DataFrame([{
        "model": row["model"], "way": titled(row["way"], timed=True),
        "value": row["ratio"]["median"],
        "low": row["ratio"]["minimum"], "high": row["ratio"]["maximum"],
    } for row in measured["search"] if row["way"] != "published"])


def agreement_table(agreement: Sequence[Mapping]) -> pd.DataFrame:
    """Neurons and whole paths equal to those of the reference, in percent, of every model of every
    profile."""
    rows = pd.DataFrame(agreement)
    rows["text"] = [f"{100 * row.neurons:.1f} / {100 * row.paths:.1f}" for row in rows.itertuples()]
    rows["way"] = rows["way"].map(titled)
    return rows.rename(columns={"profile": "data"}).pivot_table(
        index=["data", "model", "images"], columns="way", values="text", aggfunc="first",
        sort=False).fillna("–").rename_axis(columns=None)


def agreement_shares(agreement: Sequence[Mapping]) -> pd.DataFrame:
    """Whole paths equal to those of the reference, in percent: ``profile, model, images, way,
    value, low, high``, with Wilson's 95 % interval over images."""
    rows = []
    for row in agreement:
        low, high = wilson_interval(row["paths"], row["images"])
        rows.append({name: row[name] for name in ("profile", "model", "images")}
                    | {"way": titled(row["way"]), "value": 100 * row["paths"], "low": 100 * low,
                       "high": 100 * high})
    return pd.DataFrame(rows)


def range_text(values: pd.Series, digits: int = 1) -> str:
    """``5.9 to 13.9``, or one number where both ends print alike."""
    low, high = f"{values.min():.{digits}f}", f"{values.max():.{digits}f}"
    return low if low == high else f"{low} to {high}"


def growth(measured: dict) -> pd.DataFrame:
    """Times, peak memory and ratio against each size: ``varied, size, published, exact`` (seconds
    per image), ``ratio, minimum, maximum`` and, in MB, ``published_memory, exact_memory``."""
    return pd.DataFrame([{
        "varied": row["varied"], "size": row["size"],
        "published": row["published"]["seconds"]["median"],
        "exact": row["exact"]["seconds"]["median"],
        "ratio": row["ratio"]["median"], "minimum": row["ratio"]["minimum"],
        "maximum": row["ratio"]["maximum"],
        "published_memory": row["published"]["peak_bytes"] / 1e6,
        "exact_memory": row["exact"]["peak_bytes"] / 1e6,
    } for row in measured["growth"]])


def growth_table(measured: dict) -> pd.DataFrame:
    """:func:`growth`, for reading."""
    table = growth(measured)
    return pd.DataFrame({
        "varied": table["varied"].replace(SIZE_TITLES), "size": table["size"],
        "published, ms": (1000 * table["published"]).round(1),
        "here, ms": (1000 * table["exact"]).round(1),
        "times as fast": [spread_text({"median": row.ratio, "minimum": row.minimum,
                                      "maximum": row.maximum}) for row in table.itertuples()],
        "published, MB": table["published_memory"].round(),
        "here, MB": table["exact_memory"].round(),
    }).set_index(["varied", "size"])


def architecture_table(measured: dict) -> pd.DataFrame:
    """The paper's architectures: seconds per image, 20 nodes for the published procedure, the exact
    search and frozen context."""
    return pd.DataFrame([{
        "model": row["model"], "published, s": f"{20 * row['published_seconds_per_node']:.1f}",
        "same steps, s": f"{20 * row['exact_seconds_per_node']:.1f}",
        "same steps, times as fast": f"{row['exact_ratio']:.1f}",
        "default, s": f"{row['default_seconds']:.1f}",
        "default, times as fast": f"{row['default_ratio']:.0f}",
        "frozen context, s": f"{row['frozen_20_seconds']:.2f}",
        "frozen context, times as fast": f"{row['frozen_20_ratio']:.0f}",
    } for row in measured["architectures"]]).set_index("model").T.rename_axis(
        index="measured", columns=None)


def precision_table(measured: dict) -> pd.DataFrame:
    """Agreement of paths in lower precision."""
    return pd.DataFrame([{
        "model": row["model"], "precision": row["dtype"],
        "same neurons": percent(row["neurons"]), "same whole paths": percent(row["paths"]),
        "deviation of the score": f"{row['score']:.1e}",
    } for row in measured["precision"]]).set_index(["model", "precision"])


def captum_table(measured: dict) -> pd.DataFrame:
    """Integrated gradients of every block's neurons, by captum and by the library."""
    return pd.DataFrame([{
        "model": row["model"],
        "Captum, ms": spread_text({name: 1000 * value for name, value in row["captum"].items()}),
        "here, ms": spread_text({name: 1000 * value for name, value in row["library"].items()}),
        "times as fast": spread_text(row["ratio"]),
        "largest difference": f"{row['largest_difference']:.0e}",
    } for row in measured["captum"]]).set_index("model")
