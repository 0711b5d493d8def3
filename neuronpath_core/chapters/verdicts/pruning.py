"""What Chapter 6 says of the paper's Figure 6, as it was published."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

MARGIN = 0.05  # of the accuracy, within which it is called kept
HALF = 0.5  # of the other neurons, which the paper zeroes in its milder setting
PLACE = "at the class token"


def made_from(accuracy: pd.DataFrame, whole: Mapping[str, Mapping[str, float]], data: str,
              images: int, top: int = 5) -> list[Claim]:
    """``accuracy`` is that of :func:`~neuronpath_core.chapters.pruning.pruning_summary`, ``whole``
    of :func:`~neuronpath_core.chapters.pruning.whole_model`."""
    own = accuracy[(accuracy["kept"] == "neuron path") & (accuracy["top"] == top)].copy()
    reference = own["model"].map(whole["correct"])
    for end in ("value", "low", "high"):
        own[end] -= reference
    claims = []
    for key, share, words in (("robust", HALF, f"{HALF:.0%} of the others are"),
                              ("sparse", accuracy["share"].max(), "all others are")):
        rows = with_verdict(own[own["share"] == share], threshold=-MARGIN)
        claims.append(Claim(
            key, "5", f"Accuracy is kept if {top} neurons per block stay and {words} zeroed",
            comparisons(rows, images, {"data": data, "condition": PLACE}), "kept accuracy",
            "the whole model",
            rules.above("Accuracy minus the whole model's", -MARGIN, called="-5 points",
                        interval="the whole 95 % bootstrap interval",
                        then=", contradicts if all of it lies below"), "accuracy"))
    return [*claims, _best(accuracy[accuracy["kept"] == "neuron path"], data, images, top)]


def _best(own: pd.DataFrame, data: str, images: int, top: int) -> Claim:
    """Whether ``top`` neurons per block are the best number, all others zeroed."""
    rows = []
    for model, strict in own[own["share"] == own["share"].max()].groupby("model", sort=False):
        value = strict.set_index("top")["value"]
        lead = value[top] - value.drop(top).max()
        rows.append({"model": model, "value": lead,
                     "verdict": "agrees" if lead > 0 else "not shown"})
    return Claim(
        "best", "5", f"Keeping {top} neurons per block is best, and more is worse",
        comparisons(pd.DataFrame(rows), images, {"data": data, "condition": PLACE}), "accuracy",
        "other numbers of neurons kept, all others zeroed",
        rules.Rule(f"The accuracy with {top} kept minus the best with another number; agrees if it "
                   f"is above zero. It has no interval."), "accuracy")
