"""The main measurements of a chapter on a vision-language model over trainings from several seeds,
or, of a single training, with the intervals that they have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import jackknife_row

TRAININGS = "trainings"
# columns that say what a row is of, as far as a table has them
OF = ("condition", "type", "kind", "part", "word", "explained", "scored", "level", "fill",
      "way", "against")
# columns that say over what a row's interval is and how many, and what that is called
UNITS = {"words": "words", "questions": "questions", "images": "neurons and scenes",
         "scenes": "scenes"}


def over_seeds(tables: Mapping[str, pd.DataFrame], seeds: Sequence[str], times: float = 1
               ) -> pd.DataFrame:
    """The mean of every measurement over the trainings of one recipe with Student's 95 % interval
    over seeds; of a single training the value with its own interval.

    Args:
        tables: by what is measured, rows with ``model``, columns that say what they are of, and
            ``value, low, high``.
        seeds: the trainings.
        times: what values are multiplied by, 100 for points.

    Returns:
        ``measured, of, value, low, high, unit`` of the interval and ``n``, how many of it; rows
        without a value in any training are left out.
    """
    rows = []
    for measured, table in tables.items():
        if not len(table):
            continue
        named = [name for name in OF if name in table
                 and not ("condition" in table and name in ("type", "kind", "word", "part"))]
        own = table[table["model"].isin(list(seeds))].dropna(subset=["value"])
        groups = own.groupby(named, sort=False) if named else [((), own)]
        for keys, each in groups if len(own) else ():
            keys = keys if isinstance(keys, tuple) else (keys,)
            rows.append({"measured": measured, "of": ", ".join(map(_said, named, keys)),
                         **_row(each, times)})
    return pd.DataFrame(rows, columns=["measured", "of", "value", "low", "high", "unit", "n"])


def _row(own: pd.DataFrame, times: float) -> dict:
    values = times * own["value"].to_numpy(float)
    if len(values) > 1:
        return {**jackknife_row(lambda places: values[places].mean(), [len(values)]),
                "unit": TRAININGS, "n": len(values)}
    row = own.iloc[0]
    counted = next((name for name in UNITS if name in own), "")
    return {"value": values[0], "low": times * row.get("low", np.nan),
            "high": times * row.get("high", np.nan), "unit": UNITS.get(counted, "–"),
            "n": int(row[counted]) if counted else 0}


def _said(name: str, value: object) -> str:
    words = {"level": f"p ≥ {value}", "fill": f"set to {value}", "against": f"against {value}",
             "explained": f"explained from {value}", "scored": f"scored on {value}"}
    return words.get(name, str(value))


def seeds_table(*tables: pd.DataFrame, digits: int = 2) -> pd.DataFrame:
    """Tables of :func:`over_seeds` below one another, for reading."""
    rows = [{"measured": row["measured"], "of": row["of"],
             "value": f"{row['value']:.{digits}f}" if pd.isna(row["low"]) else
             report.interval_text(row, digits, signed=False), "interval over": row["unit"],
             "how many": row["n"]} for table in tables for row in table.to_dict("records")]
    return pd.DataFrame(rows, columns=None if rows else ["measured", "of"]).set_index(
        ["measured", "of"])
