"""What Chapter 17 says of paths through attention."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons

LEAD = rules.above("The median difference on the same images",
                   then=" and a sign test, corrected by Holm's procedure, is below 0.05")
# key: (sites, against, sentence, control)
LEADS = {
    "attention": ("attention neurons", "Activation", "A path over attention neurons does more than "
                  "the most active ones", "a path by activation over the same sites"),
    "both halves": ("both halves", "Apart", "A search through both halves finds more than two "
                    "searches apart", "the two paths put together"),
    "heads": ("heads", "Random", "The heads of the path do more than random heads",
              "random heads"),
}


def made_from(lead: pd.DataFrame, between: pd.DataFrame, difference: pd.DataFrame, data: str,
              images: int) -> list[Claim]:
    """The tables are those of
    :func:`~neuronpath_core.chapters.attention_paths.over_sites.method_leads`, ``site_leads`` and
    ``half_difference``; the first's ``data`` are the sites."""
    lead, between = (table[table["measure"] == "removal"] for table in (lead, between))
    more = between[(between["first"] == "attention neurons") & (between["second"] == "FFN neurons")]
    return [
        *(Claim(key, "beyond", sentence,
                comparisons(lead[(lead["data"] == sites) & (lead["control"] == against)]
                            .assign(data=data), images),
                "probability", control, LEAD, "lead", by="book", statistic="median")
          for key, (sites, against, sentence, control) in LEADS.items()),
        Claim("attention or FFN", "beyond", "A path over attention neurons does more than one over "
              "FFN neurons", comparisons(more, images, {"data": data}), "probability",
              "same images", LEAD, "between", by="book", statistic="median"),
        Claim("halves", "beyond", "Attention halves cost more than FFN halves when removed",
              comparisons(difference, images, {"data": data}), "lost probability",
              "half by half, same images",
              rules.above("The mean difference of the probability lost, over blocks"),
              "difference", by="book", statistic="mean"),
    ]
