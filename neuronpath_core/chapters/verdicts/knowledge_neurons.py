"""What Chapter 1 says of the paper's claim on the masked autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict


def made_from(correlations: Mapping[str, Mapping[str, float]], models: Sequence[str],
              data: str) -> list[Claim]:
    """``correlations`` of the block shares of the first two models, as of
    :func:`~neuronpath_core.chapters.knowledge_neurons.scaling.by_condition`."""
    table = with_verdict(pd.DataFrame([
        {**row, "data": data, "model": " and ".join(models[:2]), "condition": condition}
        for condition, row in correlations.items()]), -1)
    return [Claim(
        "inversion", "0", "A supervised model and a masked autoencoder have almost inverted "
        "distributions of knowledge neurons over the blocks",
        comparisons(table, "n", condition="condition"),
        "correlation", "one model of each kind",
        rules.below(interval="the 95 % bootstrap interval of the correlation",
                    more="Over all blocks the first one decides, which holds most neurons of both "
                         "models; so it is left out once."), "correlations")]
