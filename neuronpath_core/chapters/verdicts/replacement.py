"""What Chapter 19 says of removal by something else than zero."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.replacement.effect_rows import BLIND, MARGIN
from neuronpath_core.chapters.replacement.kept_neurons import EVERYWHERE
from neuronpath_core.chapters.replacement.measured import OUTLINE, PAPER, PATH, RANDOM
from neuronpath_core.chapters.replacement.searched_paths import OWN
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons

MEAN = rules.above("The mean over images")
DIFFERENCE = rules.above("The mean difference on the same images")
LEAD, KEPT_LEAD = (rules.above(
    "The mean difference on the same images",
    then=f" and a test that flips its signs, corrected by Holm's procedure over all models and "
         f"{others} under a replacement, is below 0.05") for others in ("weaker paths",
                                                                        "kept neurons"))
KEPT = rules.above("Accuracy minus the whole model's on the same images", -MARGIN,
                   called="-5 points", interval="the whole 95 % bootstrap interval",
                   then=", contradicts if all of it lies below")
# how a removed neuron is set, as an adverbial
REMOVED = {"zero": "when set to zero", "mean": "when set to the mean",
           "resample": "when set to another image's value",
           "class_resample": "when set to the value of another image of the class"}
# what an enhanced neuron is taken away from
AWAY = {"zero": "away from zero", "mean": "away from the mean",
        "resample": "away from another image's value",
        "class_resample": "away from the value of another image of the class"}
# how all others are set where a few are kept
OTHERS = {kind: words.replace("when set", "with the others set") for kind, words in REMOVED.items()}
PLACES = {"class token": "at the class token", "patch tokens": "at patch tokens",
          EVERYWHERE: "at all tokens"}
SEEN = {("mean", OWN): "when set to the mean",
        ("resample", OWN): "when set to the values it was searched with"}
# measure: the paper's finding, the unit, what is lost and what more of it is
LOST = {"probability": ("2", "probability", "some of the probability", "more of the probability"),
        "accuracy": ("1", "points", "accuracy", "more accuracy")}
# operation: before a claim's key, what the claim says is done, to which paths, by which conditions,
# and the notebook's tables
DONE = {"remove": ("", "Removing the path takes", "removing", REMOVED, ("lost", "lead")),
        "enhance": ("enhanced ", "Enhancing the path gains", "enhancing", AWAY,
                    ("gained", "gained_lead"))}


def made_from(lost: pd.DataFrame, lead: pd.DataFrame, gained: pd.DataFrame,
              gained_lead: pd.DataFrame, nearer: pd.DataFrame, pair_lost: pd.DataFrame,
              pair_lead: pd.DataFrame, pair_less: pd.DataFrame, gains: pd.DataFrame,
              sizes: pd.DataFrame, better: pd.DataFrame, top: int) -> list[Claim]:
    """The tables are those of :mod:`~neuronpath_core.chapters.replacement.effect_rows`: ``losses``
    and ``leads`` of removal, the same of enhancement, ``by_distance``, ``losses`` and ``leads``
    with counterfactual scenes and ``less_background``, ``searched_gains``, ``kept_sizes`` and
    ``kept_leads``; ``top`` neurons a block are kept."""
    sizes, better = (table.assign(place=table["tokens"].map(PLACES), condition=[
        f"{PLACES[row['tokens']]} {OTHERS[row['kind']]}" for row in table.to_dict("records")])
        for table in (sizes, better))
    gains = gains.assign(condition=[SEEN.get((row["kind"], row["seen"]),
                                             "when set to a new image's values")
                                    for row in gains.to_dict("records")])
    five = sizes[(sizes["kept"] == "neuron path") & sizes["kind"].isin(BLIND)]
    told = sizes[(sizes["kept"] == "none") & (sizes["kind"] == "class_resample")]
    fair = better[better["kind"].isin(BLIND)]
    where = {"condition": "condition"}
    return [
        *_effect_claims("remove", lost, lead),
        *_effect_claims("enhance", gained, gained_lead),
        *_pair_claims(pair_lost, pair_lead, pair_less),
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
                KEPT_LEAD, "better", by="book", statistic="mean")
          for other, words in (("random", "random ones"), ("activation", "the most active ones"))),
        Claim("class distance", "2", "With the value of another image of the class the path loses "
              "less than the shorter distance accounts for",
              comparisons(nearer[nearer["kind"] == "class_resample"], "images"), "probability",
              "the loss with zero, scaled by how far the neurons are moved",
              rules.above("The mean loss with zero, times the ratio of the mean distances, minus "
                          "the mean loss", interval=rules.OVER_IMAGES), "nearer", by="book",
              statistic="mean"),
        Claim("class values", "5", "Values of another image of the class keep the accuracy with no "
              "neuron left", comparisons(told, "images", condition="place"),
              "kept accuracy", "no neuron of the image itself", KEPT, "sizes", by="book",
              statistic="mean"),
        Claim("searched", "beyond", "A path searched for the replacement takes more than one "
              "searched for zero, both removed by that replacement",
              comparisons(gains[(gains["measure"] == "gain") & (gains["method"] == PATH)],
                          "images", **where), "probability", "the path searched for zero",
              DIFFERENCE, "gains", by="book", statistic="mean"),
        Claim("stay", "beyond", "Most neurons of the path stay when it is searched for another "
              "replacement",
              comparisons(gains[(gains["measure"] == "stay") & (gains["method"] == PATH)
                                & (gains["seen"] == OWN)], "images", **where), "found",
              "the path searched for zero",
              rules.above("The share of common neurons", 0.5), "gains", by="book",
              statistic="mean"),
    ]


def _effect_claims(operation: str, sizes: pd.DataFrame, lead: pd.DataFrame) -> list[Claim]:
    """That an operation on the path does something under each replacement, and more than on
    others."""
    key, does, doing, conditions, tables = DONE[operation]
    sizes, lead = (table.assign(condition=table["kind"].map(conditions)) for table in (sizes, lead))
    own, where, claims = sizes[sizes["method"] == PATH], {"condition": "condition"}, []
    for measure, (number, unit, some, more) in LOST.items():
        rows = lead[lead["measure"] == measure]
        claims += [
            Claim(f"{key}{measure}", number, f"{does} {some}, whatever replaces its neurons"
                  if operation == "remove" else
                  f"{does} {some}, whatever its neurons are taken away from",
                  comparisons(own[own["measure"] == measure], "images", **where), unit,
                  "what replaces a removed neuron" if operation == "remove"
                  else "what an enhanced neuron is taken away from", MEAN, tables[0], by="book",
                  statistic="mean"),
            *(Claim(f"{key}{kind} {measure}", number,
                    f"{does} {more} than {doing} {words}, whatever "
                    + ("replaces them" if operation == "remove" else "they are taken away from"),
                    comparisons(rows[rows["method"].isin(names)], "images", against="against",
                                **where), unit, f"{doing} {words}", LEAD, tables[1], by="book",
                    statistic="mean")
              for kind, names, words in (("random", RANDOM, "random neurons"),
                                         ("baselines", PAPER,
                                          "the paths of the paper's baselines"))),
        ]
    return claims


def _pair_claims(lost: pd.DataFrame, lead: pd.DataFrame, less: pd.DataFrame) -> list[Claim]:
    """What removal takes with the values of the same scene with another outline; of data sets that
    have no such pairs there is no comparison."""
    sizes, ahead = (table[(table["kind"] == OUTLINE) & (table["measure"] == "probability")]
                    for table in (lost, lead))
    does = "With its values under another outline, all else drawn alike, the path loses"
    return [
        Claim("outline", "2", f"{does} some of the probability",
              comparisons(sizes[sizes["method"] == PATH], "images"), "probability",
              "the same scenes on another background", MEAN, "pair_lost", by="book",
              statistic="mean"),
        Claim("outline: background", "2", f"{does} more of the probability than with those on "
              "another background", comparisons(less, "images"), "probability",
              "the same scenes on another background", DIFFERENCE, "pair_less", by="book",
              statistic="mean"),
        *(Claim(f"outline: {key}", "2", f"{does} more of the probability than {words}",
                comparisons(ahead[ahead["method"].isin(names)], "images", against="against"),
                "probability", words, LEAD, "pair_lead", by="book", statistic="mean")
          for key, names, words in (("random", RANDOM, "random neurons"),
                                    ("baselines", PAPER, "the paths of the paper's baselines"))),
    ]
