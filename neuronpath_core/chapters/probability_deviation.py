"""Chapter 3: how removing and enhancing a path moves the true class's probability (Fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from neuronpath_core.chapters.effects import paired_difference
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.labels import method_labels


def deviation_summary(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Mean and median probability deviation with intervals (Fig. 3):
    ``model, method, operation, statistic, value, low, high``."""
    rows = []
    for (model, method), group in table.groupby(["model", "method"], sort=False):
        for operation in ("removal", "enhancement"):
            for statistic in ("mean", "median"):
                rows.append({"model": model, "method": method, "operation": operation,
                             "statistic": statistic,
                             **interval_row(group[f"{operation}_probability"].to_numpy(), statistic,
                                            seed)})
    return pd.DataFrame(rows)


def deviation_checks(table: pd.DataFrame, models: Sequence[str], against: Sequence[str],
                     seed: int = 0) -> pd.DataFrame:
    """Figure 3's two claims, by the median of the paired difference in probability deviation:
    ``claim, text, tally``."""
    rows = []
    for claim, column, sign in (("The true class's probability falls more when the path is removed",
                                 "removal_probability", -1),
                                (
            "The true class's probability rises more when the path is enhanced",
            "enhancement_probability", 1)):
        found = [paired_difference(table.assign(ahead=sign * table[column]), "ahead", model,
                                   "neuron_path", other, "median", seed)
                 for model in models for other in against]
        values = [100 * row["value"] for row in found]
        rows.append({"claim": claim,
                     "text": f"median lead {report.span_text(values, 1)} % of the clean "
                             f"probability",
                     "tally": report.tally([report.verdict(row) for row in found])})
    return pd.DataFrame(rows)


def summary_wide(summary: pd.DataFrame, models: Sequence[str], digits: int = 1) -> pd.DataFrame:
    """The summary as text, in per cent, a column per model: rows ``operation, statistic,
    method``."""
    return summary.assign(
        method=summary["method"].map(method_labels()),
        text=[report.points_text(row, digits, "")
              for row in summary.to_dict("records")]).pivot_table(
        index=["operation", "statistic", "method"], columns="model", values="text",
        aggfunc="first", sort=False)[list(models)]


def median_span(summary: pd.DataFrame, operation: str, method: str = "neuron_path") -> str:
    """``-5.0 to -0.9 %``: the smallest and the largest median over models of what a method does."""
    own = summary[(summary["operation"] == operation) & (summary["statistic"] == "median")
                  & (summary["method"] == method)]
    return f"{report.span_text(100 * own['value'], 1)} %"


def finding(summary: pd.DataFrame) -> str:
    """How far a path moves the true class's probability at the median image, over models."""
    return (f"Removing a path moves the true class's probability by "
            f"{median_span(summary, 'removal')} at the median image, enhancing it by "
            f"{median_span(summary, 'enhancement')}")


def box_finding(table: pd.DataFrame, operation: str) -> str:
    """In how many models the middle half of Neuron Path's images lies on the expected side of 0."""
    sign = -1 if operation == "removal" else 1
    own = table[table["method"] == "neuron_path"]
    edge = (sign * own[f"{operation}_probability"]).groupby(own["model"]).quantile(0.25)
    direction = "falls" if sign < 0 else "rises"
    return (f"The probability {direction} for the middle half of Neuron Path's images in "
            f"{(edge > 0).sum()} of {len(edge)} models")


def lead_spans(checks: pd.DataFrame) -> list[str]:
    """The leads of :func:`deviation_checks` alone: ``+0.4 to +4.0 %``, for removal and
    enhancement."""
    return [text.removeprefix("median lead ").removesuffix(" of the clean probability")
            for text in checks["text"]]
