"""The rows of Chapter 20 for reading."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.chapters.faithfulness.measured import PATHS, RANKINGS, REPLACED, SCORES
from neuronpath_core.chapters.faithfulness.words import MEASURED
from neuronpath_core.stats import report
from neuronpath_core.stats.tests import LEVEL

# which way p is read: the first three look for what speaks against a circuit, the others for it
PASSES = (f"Equivalence, independence and minimality are passed if p is above {LEVEL} (nothing "
          f"speaks against it), sufficiency and partial necessity if p is at most {LEVEL}.")


def place_table(places: pd.DataFrame) -> pd.DataFrame:
    """What every path keeps alone, and what its removal leaves, for reading: a row per data set,
    model, path and replacement, a column per measure and side."""
    words = {"keep": "kept alone", "remove": "left without it"}
    rows = places.assign(
        text=[report.interval_text(row) for row in places.to_dict("records")],
        column=[f"{MEASURED[measure]}, {words[side]}" for measure, side
                in zip(places["measure"], places["side"], strict=True)],
        path=places["ranking"].map(PATHS), replaced=places["replaced"].map(REPLACED))
    return _wide(rows, ["data", "model", "path", "replaced"], "column")


def area_table(areas: pd.DataFrame) -> pd.DataFrame:
    """CPR, CMD and what is left when the best are removed first, for reading: a row per data set,
    model, replacement and ranking, a column per measure and area, a dash where that was not
    measured."""
    rows = areas.assign(
        text=[report.interval_text(row, signed=False) for row in areas.to_dict("records")],
        column=[f"{area}, {MEASURED[measure]}" for area, measure
                in zip(areas["area"], areas["measure"], strict=True)],
        ranking=areas["ranking"].map(RANKINGS), replaced=areas["replaced"].map(REPLACED))
    return _wide(rows, ["data", "model", "replaced", "ranking"], "column").fillna("–")


def lead_table(leads: pd.DataFrame) -> pd.DataFrame:
    """Leads of the scores for reading: a row per comparison, a column per measure and area with the
    smallest and the largest lead of all models and replacements and the tally."""
    rows = {}
    for (score, control), own in leads.groupby(["ranking", "against"], sort=False):
        rows[SCORES[score], RANKINGS[control]] = {
            f"{area}, {MEASURED[measure]}": f"{report.span_text(each['value'], 2)}; "
                                            f"{report.tally(list(each['verdict']))}"
            for (measure, area), each in own.groupby(["measure", "area"], sort=False)}
    table = pd.DataFrame(rows).T
    return table.rename_axis(["ranking by", "against"])


def apart_table(apart: pd.DataFrame) -> pd.DataFrame:
    """Which share of neurons differs, for reading: a row per model, a column per replacement."""
    rows = apart.assign(text=[report.interval_text(row, signed=False) for row
                              in apart.to_dict("records")],
                        column="replaced " + apart["replaced"].map(REPLACED))
    return _wide(rows, ["data", "model"], "column")


def test_table(tests: pd.DataFrame) -> pd.DataFrame:
    """The tests of the paths for reading: a row per data set, model and path, a column per test:
    whether it passes, and p."""
    rows = tests.assign(text=[f"{'passes' if row['passes'] else 'fails'} (p = {row['p']:.2g})"
                              for row in tests.to_dict("records")],
                        path=tests["path"].map(PATHS))
    return _wide(rows, ["data", "model", "path"], "test")


def random_table(random: pd.DataFrame) -> pd.DataFrame:
    """How many random paths pass each test, for reading: a row per model, a column per test."""
    rows = random.assign(text=[
        f"{row['passed']} of {row['paths']} [{row['low']:.2f}, {row['high']:.2f}]"
        for row in random.to_dict("records")])
    return _wide(rows, ["data", "model"], "test")


def large_table(large: pd.DataFrame) -> pd.DataFrame:
    """Whether a large share of all neurons passes, for reading: a row per model and choice."""
    rows = large.assign(text=[f"{'passes' if row['passes'] else 'fails'} (p = {row['p']:.2g})"
                              for row in large.to_dict("records")])
    return _wide(rows.rename(columns={"path": "kept or removed"}),
                 ["data", "model", "kept or removed"], "test")


def planted_table(planted: pd.DataFrame) -> pd.DataFrame:
    """In how many networks planted and random paths pass each test, for reading."""
    counted = planted.groupby(["kind", "path", "test"], sort=False)["passes"].agg(["sum", "size"])
    rows = counted.reset_index().assign(
        text=[f"{passed} of {count}" for passed, count in counted.to_numpy()])
    return _wide(rows, ["kind", "path"], "test")


def _wide(rows: pd.DataFrame, index: list[str], columns: str) -> pd.DataFrame:
    order = pd.MultiIndex.from_frame(rows[index].drop_duplicates())
    return rows.pivot(index=index, columns=columns, values="text").reindex(
        index=order, columns=list(dict.fromkeys(rows[columns]))).rename_axis(columns=None)
