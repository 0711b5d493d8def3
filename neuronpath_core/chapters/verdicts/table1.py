"""What Chapter 2 says of the paper's Table 1."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons

LEAD = rules.above("The mean difference on the same images")
SENTENCES = {
    "joint_attribution_score": ("score", "score", "The search finds paths of higher joint "
                                                  "attribution score than either baseline"),
    "removal_accuracy_deviation_percent": (
        "removal", "points", "Removing the path costs more accuracy than for either baseline"),
    "enhancement_accuracy_deviation_percent": (
        "enhancement", "points", "Enhancing the path gains more accuracy than for either baseline"),
}


def made_from(differences: pd.DataFrame, against: Sequence[str], data: str,
              images: int) -> list[Claim]:
    """``differences`` is that of :func:`~neuronpath_core.chapters.table1.method_differences`, of
    which the claims are about the methods ``against`` alone."""
    differences = differences[differences["method"].isin(against)]
    return [Claim(key, "1", sentence,
                  comparisons(differences[differences["column"] == column], images, {"data": data},
                              against="against"),
                  unit, "the paper's baselines: Activation and Influence Pattern", LEAD,
                  "differences", statistic="mean")
            for column, (key, unit, sentence) in SENTENCES.items()]
