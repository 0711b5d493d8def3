"""Chapter 4: how far the paths of a class share their neurons (Fig. 4)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.paths import Paths
from neuronpath_core.stats import report
from neuronpath_core.stats.tests import shuffled_labels


def path_table(model: str, images: ImageSet, paths: Paths) -> pd.DataFrame:
    """Paths as a tidy table: ``model, image, label, block, neuron``; blocks count from 1."""
    count, blocks = paths.neurons.shape
    return pd.DataFrame({
        "model": model, "image": np.repeat(images.ids.numpy(), blocks),
        "label": np.repeat(images.labels.numpy(), blocks),
        "block": np.tile(np.arange(1, blocks + 1), count), "neuron": paths.neurons.numpy().ravel(),
    })


def path_tables(images: ImageSet, paths: Mapping[str, Paths]) -> pd.DataFrame:
    """:func:`path_table` of several models, by name, one below the other."""
    return pd.concat([path_table(model, images, found) for model, found in paths.items()],
                     ignore_index=True)


def concentration(table: pd.DataFrame, n_neurons: dict[str, int], seed: int = 0,
                  permutations: int = 200) -> pd.DataFrame:
    """How far each class's paths share a neuron, beside what the same paths give when their class
    labels are shuffled.

    The measure is the share of a class's images whose path goes through the block's commonest
    neuron (Fig. 4).

    Returns:
        one row per model and block: ``model, block, share`` (mean over classes), ``shuffled`` (mean
        over permutations), ``shuffled_high`` (97.5 % quantile over permutations), ``uniform``
        (1/n).
    """
    rng, rows = np.random.default_rng(seed), []
    for (model, block), group in table.groupby(["model", "block"], sort=False):
        labels, neurons = group["label"].to_numpy(), group["neuron"].to_numpy()
        share, shuffled = shuffled_labels(
            partial(_commonest_share, neurons), labels, permutations, rng)
        rows.append({"model": model, "block": block, "share": share,
                     "shuffled": float(shuffled.mean()),
                     "shuffled_high": float(np.quantile(shuffled, 0.975)),
                     "uniform": 1 / n_neurons[model]})
    return pd.DataFrame(rows)


def _commonest_share(neurons: np.ndarray, labels: np.ndarray) -> float:
    classes, of_class = np.unique(labels, return_inverse=True)
    width = neurons.max() + 1
    counts = np.bincount(of_class * width + neurons,
                         minlength=len(classes) * width).reshape(len(classes), width)
    return float(np.mean(counts.max(1) / counts.sum(1)))


def concentration_summary(shares: pd.DataFrame) -> pd.DataFrame:
    """Per model: mean share through the commonest neuron, the same under shuffled labels and if
    uniform, and the blocks above the band.

    The claim agrees if more than half of the blocks lie above the 97.5 % quantile of the
    permutations.
    """
    rows = {}
    for model, own in shares.groupby("model", sort=False):
        above = int((own["share"] > own["shuffled_high"]).sum())
        rows[model] = {"share": own["share"].mean(), "shuffled": own["shuffled"].mean(),
                       "uniform": own["uniform"].iloc[0],
                       "above": above, "blocks": len(own), "verdict": "agrees" if above > len(own)
                       / 2 else "not shown"}
    return pd.DataFrame(rows).T.infer_objects()


def finding(overview: pd.DataFrame) -> str:
    """What :func:`concentration_summary` shows, as a sentence."""
    ratio = overview["share"] / overview["shuffled"]
    short = int((overview["verdict"] != "agrees").sum())
    start = f"No more than by chance at most blocks of {short} of {len(overview)} models: "
    return (f"{start if short else ''}{report.percent_span(overview['share'])} of a class's "
            f"images share a block's commonest neuron, {ratio.min():.1f} to {ratio.max():.1f} "
            f"times the share with shuffled labels")


def conclusion(overview: pd.DataFrame) -> list[tuple[str, str, str]]:
    """The paper's claim, what :func:`concentration_summary` shows of it over all models, and the
    tally."""
    return [("At most blocks certain neurons are selected far more often by images of one class",
             f"{report.percent_span(overview['share'])} of a class's images pass a block's "
             f"commonest neuron, {report.percent_span(overview['shuffled'])} with shuffled labels; "
             f"above the 97.5 % quantile of the shuffles in {overview['above'].sum():.0f} of "
             f"{overview['blocks'].sum():.0f} blocks", report.tally(list(overview["verdict"])))]


def overview_table(overview: pd.DataFrame) -> pd.DataFrame:
    """:func:`concentration_summary` with words for headers."""
    return overview.assign(above=[f"{above} of {blocks}" for above, blocks
                                  in zip(overview["above"], overview["blocks"], strict=True)])[
        ["share", "shuffled", "uniform", "above", "verdict"]
    ].rename_axis("model").rename(columns={
        "share": "class labels", "shuffled": "shuffled labels", "uniform": "uniform, 1/n",
        "above": "blocks above shuffled", "verdict": "agreement"})


def commonest_finding(table: pd.DataFrame, model: str, label: int, class_name: str) -> str:
    """Which share of one class's images take the commonest neuron, over the blocks of a model, as a
    sentence; ``table`` as of :func:`path_table`."""
    own = table[(table["model"] == model) & (table["label"] == label)]
    shares = own.groupby("block")["neuron"].agg(
        lambda neurons: neurons.value_counts(normalize=True).iloc[0])
    return (f"{report.percent_span(shares)} of the images of class {class_name} take a block's "
            f"commonest neuron in {model}")
