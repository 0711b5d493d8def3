"""What Chapter 23 says of neurons that a class's path is certain to have."""

from __future__ import annotations

from functools import partial

import pandas as pd

from neuronpath_core.chapters.certified_paths.elsewhere import CHANGES, SETS
from neuronpath_core.chapters.certified_paths.words import edits_text, of_measure
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

# accuracy that may be lost: the margin of the chapters on pruning
MARGIN = 0.05


def made_from(shares: pd.DataFrame, dealt: pd.DataFrame, halves: pd.DataFrame, again: pd.DataFrame,
              leads: pd.DataFrame, changed_leads: pd.DataFrame, images: int,
              radius: int) -> list[Claim]:
    """The tables are those of :mod:`~neuronpath_core.chapters.certified_paths.certain` and
    :mod:`~neuronpath_core.chapters.certified_paths.elsewhere`, each with ``data`` and ``model``: of
    ``share_rows``, ``shuffled_row`` (with a ``verdict``), ``half_rows``, ``again_rows``,
    ``effect_leads``, over ``images``, and ``changed_leads``; ``radius``: the edits that a
    certificate survives.
    """
    again = again.assign(condition=again["condition"].map(CHANGES))
    leads = leads.assign(against=leads["against"].map(SETS), which=leads["against"])
    changed = with_verdict(changed_leads.assign(
        condition=changed_leads["condition"].map(CHANGES),
        against=changed_leads["against"].map(SETS)))
    lost = leads[leads["operation"] == "remove"]
    kept = leads[leads["operation"] == "keep"]
    asked = partial(Claim, by="book", statistic="mean")
    of_classes = partial(rules.above, interval=rules.OVER_CLASSES)
    of_images = partial(rules.above, interval=rules.OVER_IMAGES)
    few, whole = ("random", "other"), ("voted",)
    stands = edits_text(radius)
    return [
        asked("share", "beyond", f"Most of a class's path is certified to survive {stands}",
              comparisons(with_verdict(of_measure(shares, "certified"), threshold=0.5), "classes"),
              "found", "class labels shuffled among the images",
              of_classes("The share of the blocks with a certified neuron", 0.5,
                         then=rules.OR_BELOW), "shares", of="classes"),
        asked("dealt", "beyond", "More is certified of a class's path than when class labels are "
                                 "shuffled",
              comparisons(dealt, "classes"), "neurons", "class labels permuted",
              of_classes("The share of the blocks with a certified neuron minus the mean over "
                         "permutations", then=" and the permutation test, corrected by Holm's "
                                              "procedure over all models, is below 0.05"),
              "dealt", of="classes"),
        asked("count", "beyond", "A certificate from random subsets vouches for more neurons than "
                                 "an exact count of the votes does",
              comparisons(with_verdict(of_measure(shares, "certified - counted")), "classes"),
              "neurons", f"the commonest neurons that survive {stands} by count",
              of_classes("The difference of the two shares of blocks", then=rules.OR_BELOW),
              "shares", of="classes"),
        asked("halves", "beyond", "What is certified from half of a class's images is voted for by "
                                  "the other half more often than what is voted for only",
              comparisons(halves, "classes"), "neurons", "voted neurons without a certificate",
              of_classes("The difference of the two shares that the other half chooses"),
              "halves", of="classes"),
        asked("again", "beyond", "Certified neurons are found on new images more often than "
                                 "neurons that are voted for only",
              comparisons(again, "images", condition="condition"), "neurons",
              "voted neurons without a certificate",
              of_images("The difference of the two shares that are on an image's path"), "again"),
        asked("remove", "beyond", "Removing a class's certified neurons takes more of the "
                                  "probability than removing other neurons",
              comparisons(with_verdict(lost[lost["which"].isin(few)]), images, against="against"),
              "probability", "random neurons, and those certified of another class",
              of_images("The mean difference of the losses on the same images"), "leads"),
        asked("keep", "beyond", "A class's certified neurons alone keep more accuracy than other "
                                "neurons alone",
              comparisons(with_verdict(kept[kept["which"].isin(few)]), images, against="against"),
              "accuracy", "random neurons, and those certified of another class",
              of_images("The mean difference on the same images"), "leads"),
        *(asked(f"changed: {operation}", "beyond", f"On changed images too, {words}",
                comparisons(changed[changed["operation"] == operation], "images",
                            against="against", condition="condition"),
                unit, "random neurons, and those certified of another class, on the same images",
                of_images("The mean difference on the same images"), "changed_leads")
          for operation, unit, words in (
            ("remove", "probability", "removing a class's certified neurons takes more of the "
                                      "probability than removing other neurons"),
            ("keep", "accuracy", "a class's certified neurons alone keep more accuracy than other "
                                 "neurons alone"))),
        asked("keep whole", "beyond", "The certified neurons alone keep as much accuracy as the "
                                      "whole voted path",
              comparisons(with_verdict(kept[kept["which"].isin(whole) & kept["telling"]],
                                       threshold=-MARGIN), images, against="against"),
              "kept accuracy", "the whole voted path, where it keeps more than random neurons",
              of_images("The mean difference on the same images", -MARGIN,
                        called=f"{-100 * MARGIN:.0f} points", then=rules.OR_BELOW), "leads"),
    ]
