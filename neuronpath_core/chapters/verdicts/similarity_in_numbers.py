"""What Chapter 14 says of the paper's Figure 5, in numbers."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.similarity_in_numbers.words import distinct
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons

SENTENCES = {
    "embedding": "Classes of similar embeddings have similar paths",
    "confusions": "Classes that the model confuses have similar paths",
    "embedding given taxonomy": "Classes of similar embeddings have similar paths, shared "
                                "attributes taken out",
    "confusions given taxonomy": "Classes that the model confuses have similar paths, shared "
                                 "attributes taken out",
}
MANTEL = rules.Rule("The rank correlation over all pairs of classes, of an attribute given the "
                    "others; agrees if a permutation test of the classes, corrected by Holm's "
                    "procedure over the models, is below 0.05.")


def made_from(own: pd.DataFrame, control: pd.DataFrame, baselines: pd.DataFrame, data: str,
              images: int) -> list[Claim]:
    """``own`` are the neuron path's rows, ``control`` those of random paths of
    :func:`~neuronpath_core.chapters.similarity_in_numbers.measured.compare_similarity` with a
    ``verdict``, and ``baselines`` its leads over the baselines."""
    blind = distinct(control)
    return [
        *(Claim(name, "4", SENTENCES.get(name, f"Classes of the same {name} have similar paths"),
                comparisons(rows, images, {"data": data}, chance="permuted_high",
                            against="relation"),
                "correlation", "classes permuted", MANTEL, "table")
          for name, rows in own.groupby("relation", sort=False)),
        Claim("random", "4", "Random paths show no such similarity (a control)",
              comparisons(blind.assign(verdict=blind["verdict"].map(
                  {"agrees": "contradicts", "not shown": "agrees", "contradicts": "contradicts"})),
                  images, {"data": data}, chance="permuted_high", against="relation"),
              "found correlation", "classes permuted",
              rules.Rule("Agrees if the permutation test finds nothing."), "control", by="book"),
        *(Claim(f"lead: {against}", "4", f"Neuron paths show more of it than paths by {against}",
                comparisons(rows, images, {"data": data}, against="relation"), "correlation",
                "same images",
                rules.above("The difference of two correlations", interval=rules.OVER_IMAGES),
                "leads", by="book")
          for against, rows in baselines.groupby("against", sort=False)),
    ]
