"""What Chapter 11 says of an image's own path beside paths that should do less."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.claims import turned
from neuronpath_core.chapters.controls.paths import CONTROLS
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

HOLM = (" and a sign test, corrected by Holm's procedure over all models and controls, is below "
        "0.05")
SHARED = rules.Rule("The mean share of common neurons of two images, within classes minus between; "
                    "agrees if it exceeds the 97.5 % quantile under permutation.")
OVER_BOTH = f"{rules.BOOTSTRAP}, over misclassified and other images each by themselves,"
NINE = "nine weaker kinds of path"
# what the path found with the true label is held against, by the gain that is a difference
FOREIGN = {"true - random": CONTROLS["matched_random"],
           "true - another image": CONTROLS["same_class"]}
LABELS = {"true": "with the true label", "predicted": "with the predicted label"}


def made_from(lead: pd.DataFrame, own: pd.DataFrame, sane: pd.DataFrame, gain: pd.DataFrame,
              overlap: pd.DataFrame, images: int, pool: int) -> list[Claim]:
    """The tables are the chapter's: of
    :func:`~neuronpath_core.chapters.controls.leads.control_leads`, ``own_effects``, ``sanity``,
    ``label_gain`` and, a row per model, ``class_overlap``; ``images`` of a data set, and of the
    ``pool`` from which the misclassified ones are taken."""
    lead = lead.assign(against=lead["control"].map(CONTROLS))
    wide = {measure: lead[lead["measure"] == measure] for measure in lead["measure"].unique()}
    foreign = gain[gain["label"].isin(list(FOREIGN))]
    foreign = foreign.assign(against=foreign["label"].map(FOREIGN))
    gain = gain[gain["label"].isin(list(LABELS))]
    gain = gain.assign(condition=gain["label"].map(LABELS))
    # some controls are measured on a part of the images
    measured = lead[["data", "model", "control", "images"]].drop_duplicates()
    sane = sane.merge(measured, on=["data", "model", "control"], how="left")
    lost = with_verdict(turned(own))
    return [
        *(Claim(f"own {measure}", finding, sentence,
                comparisons(lost[lost["measure"] == measure], images), unit, "the whole model",
                rules.above(f"The {statistic} loss over images"), "own", statistic=statistic)
          for measure, finding, unit, statistic, sentence in (
            ("removal", "2", "probability", "median",
             "Removing an image's own path lowers the probability of its class"),
            ("removal accuracy", "1", "points", "mean",
             "Removing an image's own path costs accuracy"))),
        *(Claim(key, finding, sentence,
                comparisons(wide[measure], "images", against="against"), unit, NINE,
                rules.above(f"The {statistic} difference on the same images", then=HOLM), "lead",
                statistic=statistic)
          for key, measure, finding, unit, statistic, sentence in (
            ("score", "score", "1", "score", "mean",
             "An image's own path has a higher joint attribution score than weaker paths"),
            ("removal", "removal", "2", "probability", "median",
             "Removing an image's own path costs more of the probability than removing weaker "
             "paths"),
            ("enhancement", "enhancement", "2", "probability", "median",
             "Enhancing an image's own path gains more of the probability than enhancing weaker "
             "paths"),
            ("removal accuracy", "removal accuracy", "1", "points", "mean",
             "Removing an image's own path costs more accuracy than removing weaker paths"),
            ("enhancement accuracy", "enhancement accuracy", "1", "points", "mean",
             "Enhancing an image's own path gains more accuracy than enhancing weaker paths"))),
        Claim("label", "1", "Enhancing the path raises accuracy",
              comparisons(gain, pool, condition="condition"), "points",
              "a path searched with the predicted label, the only one known at test time",
              rules.above("Accuracy gained over all images", interval=OVER_BOTH), "gain"),
        Claim("label control", "1", "Enhancing the path found with the true label gains more "
              "accuracy than enhancing neurons that were not found for the image",
              comparisons(foreign, pool, against="against"), "points",
              "random neurons as active, and the path of another image of the class",
              rules.above("The difference of the gains on the same images", interval=OVER_BOTH),
              "gain", by="book"),
        *(Claim(control, "1", f"Less than half of {part} is left when {blocks} randomised",
                comparisons(sane[sane["control"] == control], "images"), "found",
                "weights permuted within each tensor",
                rules.below("The share of common neurons above chance", 0.5), "sane", by="book")
          for control, part, blocks in (
            ("randomised", "the path", "all blocks are"),
            ("late_randomised", "the path's earlier half", "the later half of the blocks is"))),
        Claim("class", "3", "Images of one class share more neurons than permuted labels would",
              comparisons(overlap, images, value="difference", chance="permuted_high"), "neurons",
              "class labels permuted",
              SHARED, "overlap"),
    ]
