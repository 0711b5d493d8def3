"""What Chapter 28 says of what neurons detect."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

FINDING = "key neurons"
OVER_IMAGES = "its 95 % interval over images"


def made_from(depth: pd.DataFrame, twins: pd.DataFrame, order: pd.DataFrame,
              detectors: pd.DataFrame, truth: pd.DataFrame, first: pd.DataFrame,
              few: pd.DataFrame, sharing: pd.DataFrame) -> list[Claim]:
    """The tables are those of the modules of :mod:`neuronpath_core.chapters.dissection`, each with
    ``data`` and ``model``: of ``depth.depth_rows``, ``twin_rows`` and ``order_rows``, of
    ``detectors.detector_rows``, of ``truth.truth_rows``, ``first_row``, ``few_row`` and
    ``sharing_row``; with ``images``, how many labels are from, and ``held``, how many others they
    are held against."""
    theirs = partial(Claim, finding=FINDING, by="companion")
    ours = partial(Claim, finding=FINDING, by="book")
    above = partial(rules.above, interval=OVER_IMAGES, then=rules.OR_BELOW)
    fewer = few.assign(condition="") if len(few) else few
    return [
        theirs("early general, late specific",
               sentence="Labels of later blocks are more specific",
               comparisons=comparisons(depth, "images", condition="condition", chance="chance",
                                       constant={"against": "masks of other images"}),
               unit="correlation", control="masks dealt among all images",
               rule=above("Spearman's correlation of block and share of specific labels",
                          then=" and it exceeds the 97.5 % quantile of dealt masks, contradicts if "
                               "it lies below zero and below their 2.5 % quantile"),
               table="trends"),
        ours("more than random weights",
             sentence="The share of specific labels rises more with depth than in a network with "
                      "random weights",
             comparisons=comparisons(with_verdict(twins) if len(twins) else twins, "images",
                                     condition="condition"),
             unit="correlation", control="the same architecture with random weights",
             rule=above("The difference of the two correlations on the same images"),
             table="twins"),
        ours("colour first", sentence="Neurons called after outlines lie deeper than those called "
                                      "after colours",
             comparisons=comparisons(with_verdict(order) if len(order) else order, "images",
                                     condition="condition"),
             unit="depth", control="neurons called after colours, which are as specific",
             rule=above("The difference of the mean depths"), table="order"),
        ours("detectors", sentence="More neurons detect a concept than with masks of other images",
             comparisons=comparisons(detectors, "images", against="condition", chance="chance"),
             unit="neurons", control="masks dealt among the images of a class, or among all",
             rule=above("The share of neurons with an IoU above 0.04 and above the 95 % quantile "
                        "of dealt masks, minus the mean share that dealt masks give",
                        then=" and it exceeds the 97.5 % quantile of permutations, contradicts if "
                             "it lies below zero and below their 2.5 % quantile"), table="found"),
        ours("true on other images",
             sentence="On other images a neuron's label predicts its value better than the labels "
                      "of other neurons of its block do",
             comparisons=comparisons(with_verdict(truth) if len(truth) else truth, "held",
                                     condition="condition"),
             unit="separation", control="labels dealt among the neurons of a block",
             rule=above("The area under the ROC curve with the own label minus that with dealt "
                        "ones, mean over neurons"), table="truths", statistic="mean"),
        ours("moved by what it names",
             sentence="Of all things of its kind, what a label names moves the neuron most",
             comparisons=comparisons(with_verdict(first) if len(first) else first, "scenes",
                                     condition="condition"),
             unit="neurons", control="a label drawn from the same kind",
             rule=above("The share of labelled neurons that nothing of the label's kind moves "
                        "further up in scenes that are drawn again with it, minus chance",
                        interval=f"{rules.BOOTSTRAP} over scenes"), table="first", of="scenes"),
        theirs("few classes", sentence="Labels from images of few classes are less true",
               comparisons=comparisons(with_verdict(fewer) if len(few) else few, "held"),
               unit="separation", control="as many images of all classes",
               rule=above("How much better labels from all classes predict scores of other images "
                          "than labels from three"), table="few", statistic="mean"),
        theirs("shared images",
               sentence="The images that excite the neurons of a block most also excite those of "
                        "the next",
               comparisons=comparisons(sharing, "images", chance="chance"),
               unit="correlation", control="images of the next block, dealt within their class",
               rule=above("Spearman's correlation over images of how often two blocks use them as "
                          "exemplars, beyond its mean with the images of one block dealt within "
                          "their classes, mean over blocks",
                          then=" and it exceeds the 97.5 % quantile of such deals, contradicts if "
                               "it lies below zero and below their 2.5 % quantile"),
               table="sharing"),
    ]
