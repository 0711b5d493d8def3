"""Several comparisons in two phrases, for the tables that end the chapters."""

from __future__ import annotations

from collections.abc import Hashable

import pandas as pd

from neuronpath_core.stats import report


def spans(table: pd.DataFrame, by: str | list[str],
          digits: int | None = None) -> dict[Hashable, tuple[str, str]]:
    """Per group of ``by``, in the table's order: from where to where the column ``value`` goes, and
    the tally of the column ``verdict``.  Values are shares, and written in per cent, unless
    ``digits`` are asked for."""
    return {names: (f"{report.span_text(100 * own['value'], 1)} %" if digits is None
                    else report.span_text(own["value"], digits),
                    report.tally(list(own["verdict"])))
            for names, own in table.groupby(by, sort=False)}
