"""How the time of the search grows with the sizes of a model, measured and counted (App. A)."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy import stats
from timm.models.vision_transformer import VisionTransformer

from neuronpath_core.cost.passes import search_operations
from neuronpath_core.models import build
from neuronpath_core.paths import find_paths
from neuronpath_core.stats import report
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

# one size is varied while the others stay here; small, so that the whole table takes seconds
COST_BASE = {"L": 6, "n": 128, "m": 8, "T": 17}
COST_SIZES = {"L": (3, 6, 12, 24), "n": (64, 128, 256, 512), "m": (4, 8, 16, 32),
              "T": (5, 17, 37, 65)}
COST_WIDTH = 32
SIZE_TITLES = {"L": "blocks L", "n": "neurons n", "m": "steps m", "T": "tokens T"}


def cost_model(
    sizes: Mapping[str, int], width: int, dtype: torch.dtype, device: torch.device | str,
    seed: int = 0, count: int = 1
) -> tuple[TargetModel, torch.Tensor, torch.Tensor]:
    """A ViT of L blocks, n neurons a block and T tokens of a ``width``, with random weights, and so
    many random images of class 0."""
    side = math.isqrt(sizes["T"] - 1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VisionTransformer(img_size=4 * side, patch_size=4, in_chans=1, num_classes=10,
                                  embed_dim=width, depth=sizes["L"], num_heads=2,
                                  mlp_ratio=sizes["n"] / width)
        images = torch.randn(count, 1, 4 * side, 4 * side)
    return TargetModel(model.to(device=device, dtype=dtype)), images.to(device=device,
                                                                        dtype=dtype), torch.zeros(
        count, dtype=torch.int64, device=device)


def search_cost(study: Study, repeats: int = 3, seed: int = 0,
                search: str = "joint") -> pd.DataFrame:
    """Time of the search for one image against L, n, m and T, each varied alone, beside two counts
    (App. A).

    Returns:
        ``varied, size, seconds`` (median of ``repeats``), ``published`` (the paper's count
        L·m·n·T·d²) and ``operations``
        (:func:`~neuronpath_core.cost.passes.search_operations` of the joint search).
    """
    device, dtype, rows = build.parse_device(study.device), build.parse_dtype(study.dtype), []
    for varied, sizes in COST_SIZES.items():
        for size in sizes:
            setting = COST_BASE | {varied: size}
            target, image, label = cost_model(setting, COST_WIDTH, dtype, device, seed)
            settings = {"search": search, "context": "full", "quadrature": "left",
                        "steps": setting["m"]}
            find_paths(target, image, label, **settings)
            seconds = []
            for _ in range(repeats):
                started = time.perf_counter()
                find_paths(target, image, label, **settings).score.cpu()  # waits for the device
                seconds.append(time.perf_counter() - started)
            rows.append({"varied": varied, "size": size, "seconds": statistics.median(seconds),
                         "published": math.prod(setting.values()) * COST_WIDTH**2,
                         "operations": search_operations(target, settings | {"search": "joint"})})
    return pd.DataFrame(rows)


def power_law(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent k of ``cost = c * size**k``, by least squares on logarithms."""
    return float(stats.linregress(np.log(np.asarray(sizes, float)),
                                  np.log(np.asarray(costs, float))).slope)


def scaled_formula(cost: pd.DataFrame) -> pd.DataFrame:
    """A cost table with both counts turned into seconds by the first measured point of each varied
    size."""
    first = cost.groupby("varied")[["seconds", "operations", "published"]].transform("first")
    return cost.assign(**{name: cost[name] / first[name] * first["seconds"]
                          for name in ("operations", "published")})


def cost_exponents(cost: pd.DataFrame) -> pd.DataFrame:
    """Exponents of measured time and of both counts in each varied size:
    ``measured, operations, published``."""
    return pd.DataFrame({varied: {name: power_law(own["size"], own[column]) for name, column in
                                  (("measured", "seconds"), ("operations", "operations"),
                                   ("published", "published"))}
                         for varied, own in cost.groupby("varied", sort=False)}).T


def growth_texts(cost: pd.DataFrame, exponents: pd.DataFrame) -> dict[str, str]:
    """By varied size, with what power the measured time grows; in words where it does not grow from
    every size to the next, so that a power would be read out of noise."""
    grows = {varied: bool(np.all(np.diff(own.sort_values("size")["seconds"]) > 0))
             for varied, own in cost.groupby("varied", sort=False)}
    return {varied: f"to the power {row['measured']:.1f}" if grows[varied]
            else "no growth measurable" for varied, row in exponents.iterrows()}


def counts_table(cost: pd.DataFrame) -> pd.DataFrame:
    """Both counts of every size, in millions of operations, for reading."""
    table = pd.DataFrame({
        "varied": cost["varied"].map(SIZE_TITLES), "size": cost["size"],
        "formula of App. A, million": cost["published"] / 1e6,
        "this search, million": cost["operations"] / 1e6})
    return table.set_index(["varied", "size"])


def exponents_table(exponents: pd.DataFrame) -> pd.DataFrame:
    """:func:`cost_exponents` with headers in words."""
    return exponents.rename(index=SIZE_TITLES, columns={
        "measured": "measured time", "operations": "count of this search",
        "published": "formula of App. A"}).rename_axis("size")


def growth_finding(exponents: pd.DataFrame) -> str:
    """How measured time grows beside the count of this search, in one sentence."""
    slower = [SIZE_TITLES[name] for name, row in exponents.iterrows()
              if row["measured"] < row["operations"]]
    most = exponents["measured"].idxmax()
    text = (f"Time grows most with {SIZE_TITLES[most]}, to the power "
            f"{exponents.loc[most, 'measured']:.1f}")
    if len(slower) == len(exponents):
        return f"{text}, and with every size more slowly than the count"
    if not slower:
        return f"{text}, and with no size more slowly than the count"
    return f"{text}, and more slowly than the count with {', '.join(slower)}"


def conclusion(exponents: pd.DataFrame) -> pd.DataFrame:
    """What the paper's appendix counts beside what was measured."""
    measured = ", ".join(f"{name} {row['measured']:.1f}" for name, row in exponents.iterrows())
    counted = ", ".join(f"{name} {row['operations']:.1f}" for name, row in exponents.iterrows())
    return report.conclusion([
        ("App. A: cost grows as L·m·n·T·d², so with each size to the power 1",
         f"powers of the measured time: {measured}; of this search's own count: {counted}",
         "not comparable: another algorithm for the published code's paths"),
        ("App. C: 10-20 hours an experiment on A40 GPUs", "no A40 was timed; chapter 08 counts the "
         "hours of Table 1", "not measured")])
