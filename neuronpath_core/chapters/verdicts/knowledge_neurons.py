"""What Chapter 1 says of the paper's claim on the masked autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.stats.claims import Claim, comparisons, with_verdict


def made_from(correlation: Mapping[str, float], alone: Mapping[str, float], models: Sequence[str],
              data: str, images: int, alone_images: int) -> list[Claim]:
    """``correlation`` and ``alone`` have ``value, low, high``, of the block shares of the first two
    models with whole blocks scaled and with single neurons, by Eq. 5."""
    table = with_verdict(pd.DataFrame([
        {**row, "data": data, "model": " and ".join(models[:2]), "condition": condition, "n": count}
        for row, condition, count in ((correlation, "with the whole block scaled", images),
                                      (alone, "with one neuron scaled, Eq. 5", alone_images))]), -1)
    return [Claim(
        "inversion", "0", "A supervised model and a masked autoencoder have almost inverted "
        "distributions of knowledge neurons over the blocks",
        comparisons(table, "n", condition="condition"),
        "correlation", "one model of each kind",
        "Agrees if the 95 % bootstrap interval of the correlation lies below zero.",
        "correlation")]
