"""What Chapter 9 says of networks whose influential neurons are known."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from neuronpath_core.chapters.planted_paths.words import HALF, LEADS
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons, with_verdict

DECOYS = {"none": "without decoys", "loud": "among loud decoys", "steep": "among steep decoys",
          "all": "among all decoys"}
MARGIN = 0.05  # of the neurons, within which a search is called as good
PLACE = {"data": "planted", "model": "planted networks"}
OVER_NETWORKS = "its 95 % interval over networks"
LEAD = rules.above("The difference of the shares found", interval=OVER_NETWORKS)


def made_from(plain: pd.DataFrame, loss: pd.DataFrame, lead: Mapping[str, Mapping[str, float]],
              networks: int) -> list[Claim]:
    """The tables are those that `recovery_claims` of the chapter's own claims takes."""
    rate, loss = (table.rename_axis("decoys").reset_index() for table in (plain, loss))
    for table in (rate, loss):
        table["condition"] = table["decoys"].map(DECOYS)
    ahead = pd.DataFrame([{**row, "against": LEADS[name][2].rpartition(" more than ")[2]}
                          for name, row in lead.items() if LEADS[name][0] == "neuron_path"])
    literal, recommended = (pd.DataFrame([lead[name]] if name in lead else [])
                            for name in ("literal", "conditional"))
    shared = {"by": "book", "of": "networks"}
    return [
        Claim("recovery", "1", "The search finds most of the neurons that are known to matter",
              comparisons(with_verdict(rate, threshold=HALF), networks, PLACE,
                          condition="condition"), "found",
              "one half of the planted neurons; decoys, which influence nothing",
              rules.above("The share of planted neurons found", HALF, then=rules.OR_BELOW,
                          interval=f"{rules.BOOTSTRAP} over networks"), "plain", **shared),
        Claim("decoys", "1", "Decoys that influence nothing leave the search as good as it "
              "was, or better",
              comparisons(with_verdict(loss, threshold=-MARGIN), networks, PLACE,
                          condition="condition"), "neurons",
              "the same networks without decoys",
              rules.above("The change of the share found", -MARGIN, called="minus five points",
                          interval=OVER_NETWORKS, then=", contradicts if it lies below"),
              "harm", **shared),
        Claim("planted lead", "1", "Among all decoys the search finds more than other methods",
              comparisons(with_verdict(ahead), networks, PLACE, against="against"), "neurons",
              "two baselines and two stronger methods", LEAD, "lead", **shared),
        Claim("conditional", "1", "Among all decoys conditional gradient finds more than the "
              "published search",
              comparisons(with_verdict(recommended), networks,
                          PLACE | {"condition": "among all decoys"}), "neurons",
              "the default search, on the same networks", LEAD, "lead", **shared),
        Claim("literal", "1", "Algorithm 1 as the paper writes it finds more than the code's "
              "relaxation of it",
              comparisons(with_verdict(literal), networks,
                          PLACE | {"condition": "among all decoys"}), "neurons",
              "the default search, which relaxes it as the code does", LEAD, "lead", **shared),
    ]
