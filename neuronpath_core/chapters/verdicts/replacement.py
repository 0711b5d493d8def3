"""What Chapter 19 says of removal by something else than zero."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.replacement.claims import BLIND
from neuronpath_core.chapters.replacement.measured import EVERYWHERE, OWN, PAPER, PATH, RANDOM
from neuronpath_core.stats.claims import Claim, comparisons

MEAN = "The mean over images; agrees if its 95 % bootstrap interval lies above zero."
LEAD = ("The mean difference on the same images; agrees if its 95 % bootstrap interval lies above "
        "zero and a test that flips its signs, corrected by Holm's procedure over all models and "
        "weaker paths under a replacement, is below 0.05.")
KEPT = ("Accuracy minus the whole model's on the same images; agrees if the whole 95 % bootstrap "
        "interval lies above -5 points, contradicts if all of it lies below.")
# how a removed neuron is set, as an adverbial
REMOVED = {"zero": "when set to zero", "mean": "when set to the mean",
           "resample": "when set to another image's value",
           "class_resample": "when set to the value of another image of the class"}
# how all others are set where a few are kept
OTHERS = {kind: words.replace("when set", "with the others set") for kind, words in REMOVED.items()}
PLACES = {"class token": "at the class token", "patch tokens": "at patch tokens",
          EVERYWHERE: "at all tokens"}
SEEN = {("mean", OWN): "when set to the mean",
        ("resample", OWN): "when set to the values it was searched with"}
# measure: the paper's finding, the unit, what is lost and what more of it is
LOST = {"probability": ("2", "probability", "some of the probability", "more of the probability"),
        "accuracy": ("1", "points", "accuracy", "more accuracy")}


def made_from(lost: pd.DataFrame, lead: pd.DataFrame, gains: pd.DataFrame, sizes: pd.DataFrame,
              better: pd.DataFrame, top: int) -> list[Claim]:
    """The tables are those of :mod:`~neuronpath_core.chapters.replacement.claims`: ``losses``,
    ``leads``, ``searched_gains``, ``kept_sizes`` and ``kept_leads``; ``top`` neurons a block are
    kept."""
    lost, lead = (table.assign(condition=table["kind"].map(REMOVED)) for table in (lost, lead))
    sizes, better = (table.assign(place=table["tokens"].map(PLACES), condition=[
        f"{PLACES[row['tokens']]} {OTHERS[row['kind']]}" for row in table.to_dict("records")])
        for table in (sizes, better))
    gains = gains.assign(condition=[SEEN.get((row["kind"], row["seen"]),
                                             "when set to a new image's values")
                                    for row in gains.to_dict("records")])
    own = lost[lost["method"] == PATH]
    five = sizes[(sizes["kept"] == "neuron path") & sizes["kind"].isin(BLIND)]
    told = sizes[(sizes["kept"] == "none") & (sizes["kind"] == "class_resample")]
    fair = better[better["kind"].isin(BLIND)]
    where = {"condition": "condition"}
    claims = []
    for measure, (number, unit, some, more) in LOST.items():
        rows = lead[lead["measure"] == measure]
        claims += [
            Claim(measure, number, f"Removing the path takes {some}, whatever replaces its neurons",
                  comparisons(own[own["measure"] == measure], "images", **where), unit,
                  "what replaces a removed neuron", MEAN, "lost", by="book", statistic="mean"),
            *(Claim(f"{key} {measure}", number,
                    f"Removing the path takes {more} than {words}, whatever replaces them",
                    comparisons(rows[rows["method"].isin(names)], "images", against="against",
                                **where), unit, words, LEAD, "lead", by="book", statistic="mean")
              for key, names, words in (
                ("random", RANDOM, "removing random neurons"),
                ("baselines", PAPER, "removing the paths of the paper's baselines"))),
        ]
    return claims + [
        *(Claim(key, "5", f"Accuracy is kept if {top} neurons per block stay and all others are "
                f"replaced {at}, whatever replaces them",
                comparisons(rows, "images", **where), "kept accuracy", "the whole model", KEPT,
                "sizes", by="book", statistic="mean")
          for key, rows, at in (
            ("five", five[five["tokens"] == "class token"], "at the class token"),
            ("five patch tokens", five[five["tokens"] == "patch tokens"], "at the patch tokens"),
            ("five everywhere", five[five["tokens"] == EVERYWHERE], "at all tokens"))),
        *(Claim(f"five: {other}", "5", f"The path's {top} neurons keep more accuracy than {words}, "
                f"whatever replaces the others",
                comparisons(fair[fair["against"] == other], "images", **where), "accuracy", words,
                LEAD.replace("weaker paths", "kept neurons"), "better", by="book", statistic="mean")
          for other, words in (("random", "random ones"), ("activation", "the most active ones"))),
        Claim("class values", "5", "Values of another image of the class keep the accuracy with no "
              "neuron left", comparisons(told, "images", condition="place"),
              "kept accuracy", "no neuron of the image itself", KEPT, "sizes", by="book",
              statistic="mean"),
        Claim("searched", "beyond", "A path searched for the replacement takes more than one "
              "searched for zero, both removed by that replacement",
              comparisons(gains[(gains["measure"] == "gain") & (gains["method"] == PATH)],
                          "images", **where), "probability", "the path searched for zero",
              "The mean difference on the same images; agrees if its 95 % bootstrap interval lies "
              "above zero.", "gains", by="book", statistic="mean"),
        Claim("stay", "beyond", "Most neurons of the path stay when it is searched for another "
              "replacement",
              comparisons(gains[(gains["measure"] == "stay") & (gains["method"] == PATH)
                                & (gains["seen"] == OWN)], "images", **where), "found",
              "the path searched for zero",
              "The share of common neurons; agrees if its 95 % bootstrap interval lies above one "
              "half.", "gains", by="book", statistic="mean"),
    ]
