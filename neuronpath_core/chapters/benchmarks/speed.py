"""What ``make bench`` stored, as tables: reading only, nothing is measured here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

# what 'python -m benchmarks.NAME' measures, which make bench does not run
LONG_RUNS = ("agreement", "store", "scale")


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


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def search_table(measured: dict) -> pd.DataFrame:
    """The trained models: seconds, ratio and agreement of each way."""
    return pd.DataFrame([{
        "model": row["model"], "way": row["way"],
        "ms per image": spread_text({name: 1000 * value for name, value in row["seconds"].items()}),
        "times faster": spread_text(row["ratio"]) if row["way"] != "published" else "",
        "neurons": _percent(row["neurons"]), "paths": _percent(row["paths"]),
        "identical": {True: "yes", False: "no", None: ""}[row["identical"]]
        if row["way"] != "published" else "",
    } for row in measured["search"]]).set_index(["model", "way"])


def agreement_table(agreement: Sequence[Mapping]) -> pd.DataFrame:
    """Neurons and whole paths equal to those of the reference, in percent, of every model of every
    profile."""
    rows = pd.DataFrame(agreement)
    rows["text"] = [f"{100 * row.neurons:.1f} / {100 * row.paths:.1f}" for row in rows.itertuples()]
    return rows.pivot_table(index=["profile", "model"], columns="way", values="text",
                            aggfunc="first", sort=False).fillna("–")


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
        "varied": table["varied"], "size": table["size"],
        "published, ms": (1000 * table["published"]).round(1),
        "exact, ms": (1000 * table["exact"]).round(1),
        "times faster": [spread_text({"median": row.ratio, "minimum": row.minimum,
                                      "maximum": row.maximum}) for row in table.itertuples()],
        "published, MB": table["published_memory"].round(),
        "exact, MB": table["exact_memory"].round(),
    }).set_index(["varied", "size"])


def architecture_table(measured: dict) -> pd.DataFrame:
    """The paper's architectures: seconds per image, 20 nodes for the published procedure, the exact
    search and frozen context."""
    return pd.DataFrame([{
        "model": row["model"], "published, s": f"{20 * row['published_seconds_per_node']:.1f}",
        "exact, s": f"{20 * row['exact_seconds_per_node']:.1f}",
        "exact, times faster": f"{row['exact_ratio']:.1f}",
        "default, s": f"{row['default_seconds']:.1f}",
        "default, times faster": f"{row['default_ratio']:.0f}",
        "frozen, s": f"{row['frozen_20_seconds']:.2f}",
        "frozen, times faster": f"{row['frozen_20_ratio']:.0f}",
    } for row in measured["architectures"]]).set_index("model").T


def precision_table(measured: dict) -> pd.DataFrame:
    """Agreement of paths in lower precision."""
    return pd.DataFrame([{
        "model": row["model"], "dtype": row["dtype"], "neurons": _percent(row["neurons"]),
        "paths": _percent(row["paths"]), "score": f"{row['score']:.1e}",
    } for row in measured["precision"]]).set_index(["model", "dtype"])


def captum_table(measured: dict) -> pd.DataFrame:
    """Integrated gradients of every block's neurons, by captum and by the library."""
    return pd.DataFrame([{
        "model": row["model"],
        "captum, ms": spread_text({name: 1000 * value for name, value in row["captum"].items()}),
        "library, ms": spread_text({name: 1000 * value for name, value in row["library"].items()}),
        "times faster": spread_text(row["ratio"]),
        "largest difference": f"{row['largest_difference']:.0e}",
    } for row in measured["captum"]]).set_index("model")


def numbers(measured: dict) -> dict[str, str]:
    """The numbers that the book's pages quote, by name."""
    found = {}
    for row in measured["search"]:
        found[f"{row['way'].split(',')[0]} {row['model']}"] = f"{row['ratio']['median']:.1f}"
    for row in measured["architectures"]:
        found |= {f"exact {row['model']}": f"{row['exact_ratio']:.1f}",
                  f"default {row['model']}": f"{row['default_ratio']:.0f}",
                  f"frozen {row['model']}": f"{row['frozen_20_ratio']:.0f}"}
    single = [row for row in measured["precision"] if row["dtype"] == "float32"]
    return found | {"float32 paths": _percent(min(row["paths"] for row in single))}


def agreement_numbers(converged: Sequence[Mapping], condensed: Sequence[Mapping]) -> dict[str, str]:
    """The agreement that the book's pages quote, by name: the least of every way over all models,
    and of the published sum at few places over each profile's models."""
    found, rows = {}, pd.DataFrame(converged)
    for way, of_way in rows.groupby("way"):
        found |= {f"least {way}": _percent(of_way["neurons"].min()),
                  f"least {way} paths": _percent(of_way["paths"].min())}
    ours, theirs = (rows[rows["way"] == way].set_index(["profile", "model"])[["neurons", "paths"]]
                    for way in ("default", "published rule"))
    close = (ours >= theirs).all(axis=1)
    for (way, profile), of_way in pd.DataFrame(condensed).groupby(["way", "profile"]):
        found[f"{way}, {profile}"] = _percent(of_way["paths"].min())
    return found | {"at least as close": f"{close.sum()} of {len(close)}",
                    "agreement images": str(rows["images"].iloc[0])}
