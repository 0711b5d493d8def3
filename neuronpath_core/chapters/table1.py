"""Chapter 2: Table 1, from the measurement of interventions, beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from neuronpath_core.chapters.effects import paired_difference
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.labels import TABLE1_DIGITS, TABLE1_METRICS, method_labels


def table1(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Table 1 from :func:`~neuronpath_core.chapters.effects.interventions`:
    ``metric, method, model, value, low, high``; accuracies in percentage points."""
    rows = []
    for (model, method), group in table.groupby(["model", "method"], sort=False):
        for metric, values in (("joint_attribution_score", group["score"]),
                               ("removal_accuracy_deviation_percent",
                                100 * group["removal_accuracy"]),
                               ("enhancement_accuracy_deviation_percent",
                                100 * group["enhancement_accuracy"])):
            rows.append({"metric": metric, "method": method, "model": model,
                         **interval_row(values.to_numpy(), seed=seed)})
    return pd.DataFrame(rows)


def with_paper(measured: pd.DataFrame, paper: pd.DataFrame,
               stand_for: Mapping[str, str]) -> pd.DataFrame:
    """Measured numbers with their intervals beside the paper's, as text: rows metric and method,
    two columns a model; ``stand_for``: model -> the model of the paper that it stands for."""
    text = measured.copy()
    digits = text["metric"].map(TABLE1_DIGITS)
    text["here"] = [report.interval_text(row, places) for row,
                    places in zip(text.to_dict("records"), digits, strict=True)]
    published = paper.melt(["metric", "method"], var_name="model", value_name="paper")
    text["of"] = text["model"].map(stand_for)
    merged = text.merge(published.rename(columns={"model": "of"}), how="left",
                        on=["metric", "method", "of"])
    merged["paper"] = ["–" if np.isnan(value) else f"{value:+.4f}"
                       if metric == "joint_attribution_score" else f"{value:+.2f}"
                       for value, metric in zip(merged["paper"], merged["metric"], strict=True)]
    merged["metric"] = merged["metric"].map(TABLE1_METRICS)
    merged["method"] = merged["method"].map(method_labels())
    models = list(dict.fromkeys(measured["model"]))
    wide = merged.pivot_table(index=["metric", "method"], columns="model", values=["here", "paper"],
                              aggfunc="first", sort=False)
    return wide.reindex(columns=[(column, model) for model in models
                                 for column in ("here", "paper")]).swaplevel(axis=1)


def method_differences(table: pd.DataFrame, models: Sequence[str], others: Sequence[str],
                       seed: int = 0) -> pd.DataFrame:
    """How far Neuron Path is ahead of each other method, paired over images, positive where the
    paper's claim holds.

    Returns:
        ``metric, against, model, value, low, high, text, verdict``; accuracies in percentage
        points.
    """
    rows = []
    for (metric, title), (column, sign) in zip(TABLE1_METRICS.items(),
                                               (("score", 1), ("removal_accuracy", -100),
                                                ("enhancement_accuracy", 100)), strict=True):
        ahead = table.assign(ahead=sign * table[column])
        for other in others:
            for model in models:
                row = paired_difference(ahead, "ahead", model, "neuron_path", other, seed=seed)
                rows.append({"metric": title, "column": metric, "against": method_labels()[other],
                             "method": other, "model": model, **row,
                             "text": report.interval_text(row, TABLE1_DIGITS[metric]),
                             "verdict": report.verdict(row)})
    return pd.DataFrame(rows)


def table1_summary(differences: pd.DataFrame, against: Sequence[str]) -> pd.DataFrame:
    """Per measure of Table 1: the claim, the smallest and largest lead over the given methods, and
    the tally of verdicts."""
    claims = ("finds paths of higher joint attribution score",
              "finds paths whose removal costs more accuracy",
              "finds paths whose enhancement gains more accuracy")
    rows = []
    for metric, claim in zip(TABLE1_METRICS, claims, strict=True):
        own = differences[(differences["column"] == metric) & differences["method"].isin(against)]
        digits = TABLE1_DIGITS[metric]
        unit = "" if metric == "joint_attribution_score" else " points"
        rows.append({"claim": claim,
                     "text": f"ahead by {report.span_text(own['value'], digits)}{unit}",
                     "tally": report.tally(list(own["verdict"]))})
    return pd.DataFrame(rows)


def differences_wide(differences: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """The leads as text, a column per model: rows ``measure, ahead of``."""
    named = differences.rename(columns={"metric": "measure", "against": "ahead of"})
    return named.pivot_table(index=["measure", "ahead of"], columns="model", values="text",
                             aggfunc="first", sort=False)[list(models)]


def lead_spans(differences: pd.DataFrame, against: Sequence[str]) -> dict[str, str]:
    """From where to where Neuron Path is ahead of the given methods: ``score``, ``removal`` and
    ``enhancement``, accuracies in percentage points."""
    used = differences[differences["method"].isin(against)]
    return {name: report.span_text(used[used["column"] == metric]["value"], TABLE1_DIGITS[metric])
            for name, metric in zip(("score", "removal", "enhancement"), TABLE1_METRICS,
                                    strict=True)}


def finding(differences: pd.DataFrame, against: Sequence[str]) -> str:
    """From where to where Neuron Path is ahead of the given methods, and how many of the intervals
    lie above zero."""
    used, spans = differences[differences["method"].isin(against)], lead_spans(differences, against)
    above = used[used["verdict"] == "agrees"].groupby("column").size()
    counts = [f"{above.get(metric, 0)} of {(used['column'] == metric).sum()} intervals above 0"
              for metric in TABLE1_METRICS]
    return (f"Lead of Neuron Path over its baselines: score {spans['score']} ({counts[0]}), "
            f"accuracy lost by removal {spans['removal']} points ({counts[1]}), gained by "
            f"enhancement {spans['enhancement']} points ({counts[2]})")


def typical_image(table: pd.DataFrame, model: str, images: Sequence[int]) -> int:
    """The position, among ``images``, of the one whose path, when removed, changes the probability
    of its class by the amount nearest to the model's median."""
    own = table[(table["model"] == model) & (table["method"] == "neuron_path")].set_index("image")[
        "removal_probability"]
    return int(np.abs(own.loc[list(images)].to_numpy() - own.median()).argmin())


def path_example(table: pd.DataFrame, model: str, image: int, blocks: int) -> str:
    """What removing the path of one image does to the probability of its class."""
    row = table[(table["model"] == model) & (table["method"] == "neuron_path")
                & (table["image"] == image)].iloc[0]
    after = row["probability"] * (1 + row["removal_probability"])
    moved = "falls" if after < row["probability"] else "does not fall"
    return (f"The probability of the true class {moved} when the path's {blocks} neurons are set "
            f"to zero: {row['probability']:.3f} before, {after:.3f} after")
