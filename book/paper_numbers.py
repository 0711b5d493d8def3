"""The paper's own numbers, to stand beside those of page one.

Its Table 1 is all that the paper gives in numbers (``data/paper/table1.csv``); what else it shows
is drawn.  A card of ``cards.yml`` says which it is:

* ``paper: {metric: removal_accuracy_deviation_percent, sign: -1, over: [activation]}``: the path's
  value, or its lead over other methods of the table, per model; ``sign`` -1 where less is more;
* ``paper: {figure: 3}``: drawn there, without a number;
* ``paper: {}``: not asked by the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from neuronpath_core.stats.units import Unit

TABLE = Path(__file__).parents[1] / "data" / "paper" / "table1.csv"
OWN = "neuron_path"
PERCENT = "_percent"  # the ending of metrics in hundredths


def paper_values(metric: str, over: tuple[str, ...] = (), sign: int = 1,
                 table: Path = TABLE) -> list[float]:
    """Per model of Table 1 the path's value or, per model and method of ``over``, its lead.

    Args:
        metric: a row's.  Accuracies are in points, as the table has them.
        over: methods that the path is compared with.
        sign: -1 where the smaller value is the better.

    Raises:
        ValueError: there is no such metric or method.
    """
    rows = pd.read_csv(table).set_index(["metric", "method"])
    known = rows.index.get_level_values("metric").unique().tolist()
    if metric not in known:
        raise ValueError(f"Table 1 has no metric {metric!r}; accepted: {', '.join(known)}")
    values = rows.loc[metric]
    if missing := [name for name in over if name not in values.index]:
        raise ValueError(f"Table 1 has no method {missing[0]!r}; accepted: "
                         f"{', '.join(values.index)}")
    own = values.loc[OWN]
    leads = [own - values.loc[name] for name in over] or [own]
    return [sign * float(value) for lead in leads for value in lead]


def said_by_paper(entry: Mapping[str, Any], unit: Unit) -> str:
    """What the paper has for a card, in the unit of the card's own effect.

    >>> said_by_paper({"figure": 3}, Unit("%"))
    'drawn in its Figure 3, without numbers'
    """
    if "figure" in entry:
        return f"drawn in its Figure {entry['figure']}, without numbers"
    if not entry:
        return "does not ask"
    metric = entry["metric"]
    # claims have accuracies as shares or in points already, as their unit says
    points = unit.factor if metric.endswith(PERCENT) else 1
    values = [value / points for value in
              paper_values(metric, tuple(entry.get("over", ())), entry.get("sign", 1))]
    return (f"median {unit.text(median(values))}, range {unit.number(min(values))} to "
            f"{unit.number(max(values))}")
