"""What Chapter 16 says of the masked autoencoder's inversion, over training seeds."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons

INVERTED = rules.below("The mean correlation of block shares over pairs of trained models",
                       interval="its 95 % jackknife interval over models",
                       more="Over all blocks the first one decides, which holds most neurons of "
                            "both kinds; so it is left out once.")


def made_from(cells: pd.DataFrame, contrast: pd.DataFrame, deeper: pd.DataFrame,
              shares: pd.DataFrame) -> list[Claim]:
    """The tables are those that
    :func:`~neuronpath_core.chapters.mae_against_supervised.words.kind_claims` takes; ``shares``
    that of ``mean_shares``."""
    trained = shares.groupby("data")["model"].nunique()
    trained["together"] = trained.sum()
    together = contrast[contrast["data"] == "together"]  # the test that so few models allow
    contrast = contrast if together.empty else together
    cells, contrast, deeper = (table.assign(n=table["data"].map(trained))
                               for table in (cells, contrast, deeper))
    cells = cells.assign(model=cells["first"] + " and " + cells["second"])
    contrast = contrast.replace({"data": {"together": " and ".join(shares["data"].unique())}})
    kinds = " and ".join(shares["kind"].unique())
    shared = {"of": "trained models"}
    return [
        *(Claim(key, "0", sentence, comparisons(rows, "n", condition="condition"),
                "correlation", control, INVERTED, "cells", by=by, **shared)
          for key, sentence, rows, control, by in (
            ("inversion", "Supervised models and masked autoencoders have almost inverted "
             "distributions of knowledge neurons over the blocks", cells[cells["own"]],
             "other training seeds", "paper"),
            ("one scope", "The inversion remains when both are read at the same tokens",
             cells[cells["differ"] == "kind"], "same tokens", "book"),
            ("scope alone", "Reading one model at other tokens inverts its distribution",
             cells[cells["differ"] == "scope"], "same weights", "book"))),
        Claim("kind", "0", "The kind of a model decides more than its training seed",
              comparisons(contrast, "n", {"model": kinds}), "correlation",
              "kinds exchanged between trained models",
              rules.above("The mean correlation within kinds minus between",
                          interval="its jackknife interval",
                          then=" and the permutation test is at most 0.05"), "contrast", by="book",
              **shared),
        Claim("depth", "0", "The knowledge neurons of the two kinds lie at different depths",
              comparisons(deeper, "n", {"model": kinds}), "depth", "other training seeds",
              rules.Rule("The difference of the mean relative depths; agrees if its 95 % jackknife "
                         "interval over models excludes zero."), "deeper", by="book", **shared),
    ]
