"""What Chapter 13 says of paths that are searched again."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.stats.claims import Claim, comparisons, with_verdict
from neuronpath_core.stats.rules import OR_BELOW, above

AGAIN = above("The share of a path's neurons found again", 0.5, then=OR_BELOW)
# table: (words of the claim, of a condition of it)
SEARCHES = {"rules": ("by another rule of integration", "with {}"),
            "precisions": ("in another precision", "in {}"),
            "views": ("on a slightly changed image", "with {}"),
            "checkpoints": ("in an earlier checkpoint of the training", "at {}")}
CONDITIONS = {"shifted by one pixel": "when shifted by one pixel",
              "brighter, less contrast": "when brighter, of less contrast"}
SEEDS = {"class similarity": "which classes have similar paths",
         "effect per block": "how the effect is spread over the blocks",
         "score per image": "which images have a high score",
         "removal per image": "which images lose most by removal"}


def _worded(table: pd.DataFrame, phrase: str) -> pd.DataFrame:
    """The table with its conditions as adverbials."""
    return table.assign(condition=[CONDITIONS.get(each, phrase.format(each))
                                   for each in table["condition"]])


def made_from(rules: pd.DataFrame, precisions: pd.DataFrame, views: pd.DataFrame,
              checkpoints: pd.DataFrame, seeds: pd.DataFrame, images: int,
              seed_images: int) -> list[Claim]:
    """The first four tables are those of
    :func:`~neuronpath_core.chapters.stability.overlap.overlap_summary`, ``seeds`` that of
    :func:`~neuronpath_core.chapters.stability.seeds.seed_agreement` with a ``verdict``."""
    tables = {"rules": rules, "precisions": precisions, "views": views, "checkpoints": checkpoints}
    seeds = seeds.assign(model=seeds["pair"])
    return [
        *(Claim(f"again: {name}", "beyond", f"Most of a path is found again {words}",
                comparisons(with_verdict(_worded(tables[name], phrase), threshold=0.5), images,
                            condition="condition"),
                "found", "one half of the neurons", AGAIN, name, by="book")
          for name, (words, phrase) in SEARCHES.items()),
        *(Claim(f"seeds: {measure}", "beyond", f"Models trained from other seeds agree in {words}",
                comparisons(seeds[seeds["measure"] == measure], seed_images), "correlation",
                "two halves of the images, or classes, blocks and images permuted",
                above("The correlation between two models", interval="its interval",
                      then=" and a permutation test, corrected by Holm's procedure, is below 0.05"),
                "seeds", by="book")
          for measure, words in SEEDS.items()),
    ]
