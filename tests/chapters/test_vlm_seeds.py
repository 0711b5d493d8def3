"""Measurements over trainings: Student's interval of several, a training's own interval of one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from neuronpath_core.chapters.vlm_seeds import over_seeds, seeds_table

SEEDS = ["staged", "staged seed 1", "staged seed 2"]
TABLE = pd.DataFrame([{"model": model, "condition": f"{kind} neurons", "against": "chance",
                       "value": value, "low": value - 0.1, "high": value + 0.1, "scenes": 60}
                      for kind, values in {"visual": (0.2, 0.3, 0.7), "text": (0.5, np.nan, 0.1)}
                      .items() for model, value in zip(SEEDS, values, strict=True)])


def test_of_one_training_its_own_interval_and_unit():
    rows = over_seeds({"more": TABLE}, SEEDS[:1], 100).set_index("of")
    row = rows.loc["visual neurons, against chance"]
    assert (row["value"], row["low"], row["high"]) == pytest.approx((20, 10, 30))
    assert row["unit"] == "scenes" and row["n"] == 60


def test_of_several_students_interval_over_trainings():
    rows = over_seeds({"more": TABLE}, SEEDS).set_index("of")
    row, values = rows.loc["visual neurons, against chance"], [0.2, 0.3, 0.7]
    wanted = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (row["low"], row["high"]) == pytest.approx(wanted, abs=1e-12)
    assert row["value"] == pytest.approx(0.4) and row["unit"] == "trainings" and row["n"] == 3
    assert rows.loc["text neurons, against chance", "n"] == 2  # one training has none of them


def test_what_is_not_there_is_left_out_and_a_table_has_a_row_each():
    other = TABLE.assign(model="joint")
    assert over_seeds({"more": other, "less": pd.DataFrame()}, SEEDS).empty
    plain = pd.DataFrame([{"model": "staged", "value": 1.0, "low": 0.5, "high": 1.5, "words": 3}])
    table = seeds_table(over_seeds({"all": plain}, SEEDS), over_seeds({"more": TABLE}, SEEDS))
    assert len(table) == 3 and table.loc[("all", ""), "interval over"] == "words"
    assert table.loc[("all", ""), "value"] == "1.00 [0.50, 1.50]"
    assert seeds_table(over_seeds({}, SEEDS)).empty
