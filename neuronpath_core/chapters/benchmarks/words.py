"""What Chapter 8 says of its measurements in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.benchmarks.speed import (
    SIZE_TITLES,
    growth,
    percent,
    range_text,
    ratios,
)
from neuronpath_core.stats import report


def speed_finding(measured: dict) -> str:
    """What the benchmark of the trained models says, in one sentence."""
    rows = [row for row in measured["search"] if row["way"].startswith("exact")]
    same = sum(bool(row["identical"]) for row in rows)
    what = ("The same paths" if same == len(rows)
            else f"Paths that are the same on {same} of {len(rows)} models")
    ways = ratios(measured).groupby("way")["value"]
    text = f"{what} are found {range_text(ways.get_group('same 20 steps'))} times as fast"
    if "default, float32 first" not in ways.groups:
        return text
    default = range_text(ways.get_group("default, float32 first"), 0)
    return f"{text}; the default search is {default} times as fast"


def growth_finding(measured: dict) -> str:
    """With which size the gain grows most, in one sentence."""
    table = growth(measured)
    ends = table.groupby("varied", sort=False)["ratio"].agg(["first", "last"])
    most = (ends["last"] / ends["first"]).idxmax()
    first, last = ends.loc[most]
    if last <= first:
        return f"The gain grows with no size: {range_text(table['ratio'])} times as fast"
    sizes = table[table["varied"] == most]["size"]
    return (f"The gain grows most with {SIZE_TITLES[most]}: from {first:.1f} times as fast at "
            f"{sizes.iloc[0]} to {last:.1f} at {sizes.iloc[-1]}")


def agreement_finding(converged: Sequence[Mapping]) -> str:
    """How the default compares with the published rule, in one sentence: on how many models it is
    nearer to the reference, and the least of both."""
    table = pd.DataFrame(converged).pivot_table(index=["profile", "model"], columns="way",
                                                values="paths", sort=False)
    ours, theirs = table["default"], table["published rule"]
    nearer = int((ours > theirs).sum())
    head = ("The default finds more whole paths of the reference than the published rule" if nearer
            else "The default finds no more whole paths of the reference than the published rule")
    where = f" on {nearer} of {len(table)} models" if nearer else f" on any of {len(table)} models"
    return (f"{head}{where}: at least {100 * ours.min():.1f} % of them, the published rule "
            f"{100 * theirs.min():.1f} %")


def numbers(measured: dict) -> dict[str, str]:
    """The numbers that the book's pages quote, by name."""
    found = {}
    for row in measured["search"]:
        found[f"{row['way'].split(',')[0]} {row['model']}"] = f"{row['ratio']['median']:.1f}"
    for row in measured["architectures"]:
        found |= {f"exact {row['model']}": f"{row['exact_ratio']:.1f}",
                  f"default {row['model']}": f"{row['default_ratio']:.0f}",
                  f"default {row['model']} seconds": f"{row['default_seconds']:.1f}",
                  f"published {row['model']} seconds":
                      f"{20 * row['published_seconds_per_node']:.0f}",
                  f"frozen {row['model']}": f"{row['frozen_20_ratio']:.0f}"}
    single = [row for row in measured["precision"] if row["dtype"] == "float32"]
    ways = ratios(measured)
    exact = ways[ways["way"] == "same 20 steps"]["value"]
    found |= {"float32 paths": percent(min(row["paths"] for row in single)),
              "exact range": range_text(exact), "speed models": str(len(exact)),
              "speed images": str(measured["search"][0]["images"])}
    table = ways.pivot_table(index="model", columns="way", values="value", sort=False)
    if "default, float32 first" not in table:
        return found
    drafted = table["default, float32 first"]
    return found | {"drafted range": range_text(drafted, 0),
                    "draft gain": range_text(drafted / table["default, float64"])}


def agreement_numbers(converged: Sequence[Mapping], condensed: Sequence[Mapping]) -> dict[str, str]:
    """The agreement that the book's pages quote, by name: the least of every way over all models,
    and of the published sum at few places over each profile's models."""
    found, rows = {}, pd.DataFrame(converged)
    for way, of_way in rows.groupby("way"):
        found |= {f"least {way}": percent(of_way["neurons"].min()),
                  f"least {way} paths": percent(of_way["paths"].min())}
    ours, theirs = (rows[rows["way"] == way].set_index(["profile", "model"])[["neurons", "paths"]]
                    for way in ("default", "published rule"))
    close = (ours >= theirs).all(axis=1)
    for row in condensed:
        key = f"{row['way']}, {row['profile']}"
        found[key] = percent(min(other["paths"] for other in condensed if all(
            other[name] == row[name] for name in ("way", "profile"))))
    return found | {"at least as close": f"{close.sum()} of {len(close)}",
                    "agreement images": str(rows["images"].iloc[0]),
                    "agreement models": str(len(close))}


def conclusion(measured: dict, converged: Sequence[Mapping],
               counted: pd.DataFrame) -> pd.DataFrame:
    """What was asked and what was measured; ``counted`` as of ``long_runs.full_scale``."""
    exact = [row for row in measured["search"] if row["way"].startswith("exact")]
    same, found = sum(bool(row["identical"]) for row in exact), numbers(measured)
    agreed = agreement_numbers(converged, [])
    nearer, _, models = agreed["at least as close"].split()
    slowest = next(name for name in counted if name.startswith("hours"))
    hours = counted[counted["wanted"] == "Table 1"][slowest]
    faster = f"{found['exact range']} times as fast with the same 20 steps"
    if "drafted range" in found:
        faster += f", {found['drafted range']} times by default"
    return report.conclusion([
        ("Same paths from the same 20 steps",
         f"neuron for neuron on {same} of {len(exact)} models, {found['speed images']} images each",
         "yes" if same == len(exact) else "partly"),
        ("Faster than the published procedure", faster,
         "yes" if min(row["ratio"]["minimum"] for row in exact) > 1 else "partly"),
        ("Default as near to the converged integral as the published rule",
         f"on {agreed['at least as close']} models, {agreed['agreement images']} images each; of "
         f"whole paths at least {agreed['least default paths']}, the published rule "
         f"{agreed['least published rule paths']}",
         "yes" if nearer == models else "no" if nearer == "0" else "partly"),
        ("App. C of the paper: 10-20 hours an experiment on A40 GPUs",
         f"counted for Table 1: {range_text(hours)} hours a model at {slowest.split()[-1]}·10¹² "
         f"operations a second; no A40 was timed", "not measured"),
    ], "The question")
