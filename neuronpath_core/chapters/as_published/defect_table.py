"""The table of the published code's defects: paired differences with intervals, verdicts, and what
they come to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from neuronpath_core.chapters.as_published.cases import NUMBERS
from neuronpath_core.chapters.as_published.catalogue import DEFECTS
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row, members, percentile_row, resampled
from neuronpath_core.stats.tests import holm, sign_test

MATERIAL = 0.05
CHANGES, NOT_SHOWN = "changes the number", "not shown"
# shares and counts that a defect can move one way only: there is no sign to test
ONE_WAY = ("neurons", "paths", "kept", "spread")
ROUNDING = 1e-6


def defect_list(rows: pd.DataFrame) -> pd.DataFrame:
    """The known defects: what the code does, what is done instead, and on how many models of the
    data sets it was measured."""
    shown = {name: rows[rows["defect"].isin(defect.parts or (name,))].groupby(
        ["data", "model"]).ngroups for name, defect in DEFECTS.items()}
    return pd.DataFrame([{"defect": name, "as published": defect.published,
                          "corrected": defect.corrected,
                          "measured on": "no number" if defect.measure is None
                          else f"{shown[name]} models"} for name, defect in DEFECTS.items()])


def _spread(values: np.ndarray) -> float:
    return float(np.subtract(*np.quantile(values, [0.75, 0.25])))


def spread_row(published: np.ndarray, corrected: np.ndarray, items: np.ndarray, seed: int = 0,
               resamples: int = 2000) -> dict[str, float]:
    """``value, low, high``: difference of two interquartile ranges; the unit is the item (the
    class), drawn with all its values."""
    of_item = members(items)

    def difference(chosen: np.ndarray) -> float:
        values = np.concatenate([of_item[index] for index in chosen])
        return _spread(published[values]) - _spread(corrected[values])

    items = np.arange(len(of_item))
    return percentile_row(difference(items), resampled(difference, [items], resamples, seed))


def effect_table(rows: pd.DataFrame, seed: int = 0, level: float = 0.05) -> pd.DataFrame:
    """As published, corrected, and the paired difference (published minus corrected) with its 95 %
    bootstrap interval over images or classes.

    A difference within rounding counts as none.  The verdict is ``"changes the number"`` if the
    interval excludes zero and the sign test of the differences, after Holm's correction over all
    rows of a number, is below ``level``; of numbers that can move one way only, if the interval
    does.

    Args:
        rows: of :func:`~neuronpath_core.chapters.as_published.catalogue.effects`.

    Returns:
        one row per defect, number, data and model:
        ``defect, number, data, model, unit, count, published, corrected, value, low, high, p,
        adjusted, verdict, material``;
        ``material`` if also the whole interval is farther from zero than 5 % of the corrected
        value.
    """
    table = []
    for (defect, number, data, model), group in rows.groupby(["defect", "number", "data", "model"],
                                                             sort=False):
        published = group["published"].to_numpy()
        corrected = group["corrected"].to_numpy()
        statistic = NUMBERS[number][1]
        difference = published - corrected
        difference[np.abs(difference) <= ROUNDING * np.maximum(np.abs(published),
                                                               np.abs(corrected))] = 0
        middle = {"mean": np.mean, "median": np.median, "spread": _spread}[statistic]
        row = spread_row(published, corrected, group["item"].to_numpy(),
                         seed) if statistic == "spread" else interval_row(difference, statistic,
                                                                          seed)
        table.append({"defect": defect, "number": number, "data": data, "model": model,
                      "unit": group["unit"].iloc[0], "count": group["item"].nunique(),
                      "published": float(middle(published)), "corrected": float(middle(corrected)),
                      **row,
                      "p": 0.0 if number in ONE_WAY else sign_test(difference)})
    table = pd.DataFrame(table)
    table["adjusted"] = table.groupby("number")["p"].transform(holm)
    table.loc[table["number"].isin(ONE_WAY), ["p", "adjusted"]] = np.nan
    nearest = np.maximum(table["low"], -table["high"])
    changes = (nearest > 0) & ~(table["adjusted"] >= level)
    return table.assign(verdict=np.where(changes, CHANGES, NOT_SHOWN),
                        material=changes & (nearest > MATERIAL * table["corrected"].abs()))


def effect_text(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`effect_table` for reading, a row each."""
    many = np.where(table["unit"] == "class", "classes", "images")
    return pd.DataFrame({
        "defect": table["defect"], "number": [NUMBERS[number][0] for number in table["number"]],
        "data": table["data"], "model": table["model"],
        "as published": table["published"].map("{:+z.4f}".format),
        "corrected": table["corrected"].map("{:+z.4f}".format),
        "difference": [report.interval_text(row, 4) for row in table.to_dict("records")],
        "over": [f"{count} {unit}" for count, unit in zip(table["count"], many, strict=True)],
        "verdict": [f"{verdict}, by more than {MATERIAL:.0%}" if material else verdict
                    for verdict, material in zip(table["verdict"], table["material"], strict=True)],
    }).set_index(["defect", "number", "data", "model"])


def effect_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Per defect and number over the models: ``defect, number, title, models, changes, material``
    (how many), ``smallest, largest`` difference, ``text``."""
    rows = []
    for (defect, number), group in table.groupby(["defect", "number"], sort=False):
        rows.append({"defect": defect, "number": number, "title": NUMBERS[number][0],
                     "models": len(group),
                     "changes": int((group["verdict"] == CHANGES).sum()),
                     "material": int(group["material"].sum()),
                     "smallest": group["value"].min(), "largest": group["value"].max()})
    table = pd.DataFrame(rows)
    return table.assign(text=[
        f"{report.span_text(row[['smallest', 'largest']])}, changed in {row['changes']} of "
        f"{row['models']} models" for _, row in table.iterrows()])


def defect_conclusions(summary: pd.DataFrame) -> pd.DataFrame:
    """Per defect which numbers it moves materially, and by how much:
    ``defect, claim, text, short, verdict``."""
    part_of = {part: name for name, defect in DEFECTS.items() for part in (defect.parts or (name,))}
    rows = []
    for name, group in summary.groupby("defect", sort=False):
        moved, changed = group[group["material"] > 0], group[group["changes"] > 0]
        texts = [f"{row['title']}: {report.span_text(row[['smallest', 'largest']])}, material in "
                 f"{row['material']} of {row['models']} models"
                 for _, row in moved.iterrows()]
        short = (f"{len(moved)} of {len(group)} numbers by more than {MATERIAL:.0%} in some model, "
                 f"{len(changed)} at all")
        claim = name if name != part_of[name] else f"{name}: {DEFECTS[name].published}"
        rows.append({"defect": name, "claim": claim, "text": "; ".join(texts) or short,
                     "short": short, "verdict": CHANGES if len(changed) else NOT_SHOWN})
    return pd.DataFrame(rows)


def rows_of(summary: pd.DataFrame, defects: Sequence[str]) -> pd.DataFrame:
    """The summary for reading: ``"changes k of n models"`` and the range of differences, for some
    of the defects."""
    own = summary[summary["defect"].isin(defects)]
    return pd.DataFrame({
        "defect": own["defect"], "number": own["title"],
        "changes in": [f"{row.changes} of {row.models} models" for row in own.itertuples()],
        f"by more than {MATERIAL:.0%}": own["material"],
        "difference": [report.span_text(row, 4) for row in own[["smallest", "largest"]].to_numpy()],
    }).set_index(["defect", "number"])


def answers(summary: pd.DataFrame) -> dict[str, str]:
    """What the chapter's answer quotes of :func:`effect_summary`, in words.

    Returns:
        ``neurons moved``, ``removal moved``: how many defects move the share of neurons, and the
        effect of removal, materially in some model, of how many; ``worst neurons`` the one that
        changes most neurons, ``worst neurons share`` how many; ``nothing moved``: how many defects
        change no number at all.
    """
    neurons, removal = (summary[summary["number"] == number].set_index("defect")
                        for number in ("neurons", "removal_probability"))
    worst = neurons["smallest"].idxmin()
    still = summary.groupby("defect", sort=False)["changes"].sum() == 0
    return {"neurons moved": f"{(neurons['material'] > 0).sum()} of {len(neurons)}",
            "removal moved": f"{(removal['material'] > 0).sum()} of {len(removal)}",
            "worst neurons": worst,
            "worst neurons share": f"{100 * -neurons['smallest'][worst]:.0f} %",
            "nothing moved": f"{still.sum()} of {len(still)}"}


def finding(summary: pd.DataFrame) -> str:
    """The chapter's main figure in a sentence: how many defects change the neurons that are found,
    and which does so most."""
    found = answers(summary)
    if found["neurons moved"].startswith("0 "):
        return (f"None of {found['neurons moved'].split()[-1]} departures changes more than "
                f"{100 * MATERIAL:.0f} % of the neurons found")
    return (f"{found['neurons moved']} departures change more than {100 * MATERIAL:.0f} % of the "
            f"neurons found in some model; {found['worst neurons']} changes most, "
            f"{found['worst neurons share']} of them")
