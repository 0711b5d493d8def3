"""Chapter 3: how removing and enhancing a path moves the true class's probability (Fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from neuronpath_core.chapters.effects import paired_difference
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row


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
        values = [row["value"] for row in found]
        rows.append({"claim": claim,
                     "text": f"median lead {report.span_text(values)} of the clean probability",
                     "tally": report.tally([report.verdict(row) for row in found])})
    return pd.DataFrame(rows)
