"""What Chapter 12 says of the published code's departures from the paper."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.as_published.catalogue import DEFECTS
from neuronpath_core.chapters.as_published.defect_table import CHANGES
from neuronpath_core.chapters.claims import turned
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, comparisons


def made_from(table: pd.DataFrame) -> list[Claim]:
    """A claim per departure that can change which neurons are found; ``table`` is that of
    :func:`~neuronpath_core.chapters.as_published.defect_table.effect_table`."""
    part_of = {part: name for name, defect in DEFECTS.items() for part in (defect.parts or (name,))}
    own = table[table["number"] == "neurons"]
    # the number is the share of neurons that stay, in place of a share of one
    own = turned(own).assign(verdict=(own["verdict"] == CHANGES).map(
        {True: "agrees", False: "not shown"}))
    return [Claim(f"defect: {name}", "code", f"{name[0].upper()}{name[1:]} changes which neurons "
                  f"are found ({DEFECTS[part_of[name]].published})", comparisons(rows, "count"),
                  "neurons", "the corrected code, same images",
                  rules.above("The share of neurons that differ from the corrected ones"),
                  "conclusions", by="book")
            for name, rows in own.groupby("defect", sort=False)]
