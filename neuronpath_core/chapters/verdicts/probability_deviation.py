"""What Chapter 3 says of the paper's Figure 3."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from neuronpath_core.chapters.effects import paired_difference
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict
from neuronpath_core.stats.labels import method_label


def made_from(table: pd.DataFrame, models: Sequence[str], against: Sequence[str], data: str,
              seed: int = 0) -> list[Claim]:
    """``table`` is that of :func:`~neuronpath_core.chapters.effects.interventions`, ``against`` the
    baselines among its methods."""
    images, claims = table["image"].nunique(), []
    for key, sign, words in (("removal", -1, "falls more when the path is removed"),
                             ("enhancement", 1, "rises more when the path is enhanced")):
        ahead = table.assign(ahead=sign * table[f"{key}_probability"])
        rows = pd.DataFrame([
            {"model": model, "against": method_label(other),
             **paired_difference(ahead, "ahead", model, "neuron_path", other, "median", seed)}
            for model in models for other in against])
        claims.append(Claim(
            key, "2", f"The true class's probability {words} than for either baseline",
            comparisons(with_verdict(rows), images, {"data": data}, against="against"),
            "probability", "the paper's baselines: Activation and Influence Pattern",
            rules.above("The median difference on the same images"), "summary",
            statistic="median"))
    return claims
