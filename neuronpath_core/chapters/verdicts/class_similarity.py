"""What Chapter 5 says of the paper's Figure 5."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict


def made_from(own: pd.DataFrame, look: pd.DataFrame, data: str, images: int,
              parts: pd.DataFrame, relabelled: int) -> list[Claim]:
    """The tables, a row per model, are those of
    :func:`~neuronpath_core.chapters.class_similarity.similar.split_half_similarity`,
    :func:`~neuronpath_core.chapters.class_similarity.similar.look_correlation` and, over so many
    ``relabelled`` images,
    :func:`~neuronpath_core.chapters.class_similarity.wrong_labels.label_part`."""
    own, look, parts = (table.rename_axis("model").reset_index() for table in (own, look, parts))
    look["verdict"] = (look["correlation"] > look["permuted_high"]).map(
        {True: "agrees", False: "not shown"})
    return [
        Claim("class", "3", "Two halves of a class have more similar paths than two classes have",
              comparisons(with_verdict(own), images, {"data": data}, value="difference"), "cosine",
              "halves of two classes",
              rules.above("The difference of two mean cosines of utilisation matrices"), "own"),
        Claim("label", "3", "Searched with a wrong label, an image's path shares more neurons with "
              "the images of that label than with those of third classes",
              comparisons(with_verdict(parts), relabelled,
                          {"data": data, "against": "images of third classes"}),
              "neurons", "images of third classes",
              rules.above("The difference of two mean shares of equal neurons",
                          interval=rules.OVER_IMAGES), "parts", by="book"),
        Claim("look", "4", "Classes that look alike have similar paths",
              comparisons(look, images,
                          {"data": data, "against": "the similarity of the classes' mean images"},
                          value="correlation", chance="permuted_high"), "correlation",
              "classes permuted",
              rules.Rule("The rank correlation over pairs of classes; agrees if it exceeds the "
                         "97.5 % quantile under permutation of the classes."), "look"),
    ]
