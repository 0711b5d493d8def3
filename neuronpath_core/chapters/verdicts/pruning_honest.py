"""What Chapter 15 says of keeping a few neurons per block."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.pruning_honest.comparison import EVERYWHERE, NOTHING, ONE, OWN
from neuronpath_core.chapters.pruning_honest.effect_rows import MARGIN
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

KEPT = rules.above(
    "Accuracy minus the whole model's", -MARGIN, called="-5 points",
    interval="the whole 95 % interval over test images",
    then=", contradicts if all of it lies below",
    more="These intervals hold for the neurons that were chosen; those over splits, in the "
         "chapter's tables, allow for other choices, are wider and decide nothing.")
LEAD = rules.above("The difference of accuracies at equal size",
                   interval="its 95 % interval over test images",
                   then=" and a permutation test, corrected by Holm's procedure, is below 0.05")


def made_from(sizes: pd.DataFrame, settings: pd.DataFrame, leads: pd.DataFrame,
              leaking: pd.DataFrame, tables: dict[str, pd.DataFrame], top: int,
              control: pd.DataFrame) -> list[Claim]:
    """The tables are those of
    :func:`~neuronpath_core.chapters.pruning_honest.effect_rows.size_effects`, ``setting_effects``,
    ``path_leads`` and
    :func:`~neuronpath_core.chapters.pruning_honest.leaks.leak_summary`, each with ``data``;
    ``tables`` has the measurements of each data set; ``control`` is that of
    :func:`~neuronpath_core.chapters.pruning_honest.effect_rows.control_sizes`."""
    images = {name: table["image"].nunique() for name, table in tables.items()}
    sizes, settings, leads, leaking = (
        table.assign(n=table["data"].map(images)) for table in (sizes, settings, leads, leaking))
    few = sizes[sizes["top"] == top]
    published = few[(few["mask"] == OWN) & (few["tokens"] != EVERYWHERE)]
    honest = few[(few["mask"] == ONE) & (few["tokens"] == EVERYWHERE)]
    few = pd.concat([published.assign(condition="at the class token, with a mask of the class"),
                     honest.assign(condition="at all tokens, with one mask")])
    control = control.assign(n=control["data"].map(images))
    published_leads = leads[(leads["mask"] == OWN) & (leads["tokens"] != EVERYWHERE)
                            & (leads["top"] == top) & (leads["against"] == "random")]
    free = leads[(leads["mask"] == ONE) & (leads["tokens"] == EVERYWHERE)]
    label = settings[(settings["effect"] == "label") & (settings["top"] == top)
                     & (settings["at"] != EVERYWHERE)]
    gain = with_verdict(leaking[(leaking["measure"] == "label gain")
                                & (leaking["tokens"] != EVERYWHERE)])
    return [
        Claim("few", "5", f"Accuracy is kept if {top} neurons per block stay and all others are "
              f"zeroed", comparisons(few, "n", condition="condition"), "kept accuracy",
              "one mask for all images, at all tokens", KEPT, "sizes"),
        *(Claim(key, "5", f"Accuracy is kept as well if {words}",
                comparisons(control[control["kept"] == kept], "n"), "kept accuracy",
                "the path's neurons, at the same tokens", KEPT, "control", by="book")
          for key, kept, words in (
            ("few: random", "random", f"{top} random neurons per block stay at the class token, "
             f"each class its own"),
            ("few: none", NOTHING, "no neuron stays at the class token"))),
        Claim("few: lead", "5", f"At the class token, with a mask of the class, the path's {top} "
              f"neurons keep more accuracy than random ones", comparisons(published_leads, "n"),
              "accuracy", f"{top} random neurons per block, each class its own, at the class token",
              LEAD, "leads", by="book"),
        Claim("label", "5", "A mask per class gains accuracy over one mask for all",
              comparisons(label, "n"), "accuracy", "one mask for all images", LEAD, "settings",
              by="book"),
        Claim("label gain", "5", "The mask of the true class gains accuracy over that of the "
              "predicted class", comparisons(gain, "n"), "accuracy",
              "the mask of the predicted class",
              rules.above(interval="the 95 % interval over test images"), "leaking", by="book"),
        *(Claim(f"lead: {against}", "5", f"The path's neurons are better to keep than those by "
                f"{against}" if against != "random" else "The path's neurons are better to keep "
                "than random ones",
                comparisons(rows.assign(condition=[f"with {kept} kept" for kept in rows["top"]]),
                            "n", condition="condition"),
                "accuracy", "same number of neurons, one mask for all, at all tokens", LEAD,
                "leads", by="book")
          for against, rows in free.groupby("against", sort=False)),
    ]
