"""What Chapter 1 says of the paper's claim on the masked autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.stats.claims import Claim, comparisons, with_verdict


def made_from(correlation: Mapping[str, float], models: Sequence[str], data: str,
              images: int) -> list[Claim]:
    """``correlation`` has ``value, low, high``, of the block shares of the first two models."""
    table = with_verdict(pd.DataFrame([{**correlation, "data": data,
                                        "model": " and ".join(models[:2])}]), -1)
    return [Claim(
        "inversion", "0", "A supervised model and a masked autoencoder have almost inverted "
        "distributions of knowledge neurons over the blocks", comparisons(table, images),
        "correlation", "one model of each kind",
        "Agrees if the 95 % bootstrap interval of the correlation lies below zero.",
        "correlation")]
