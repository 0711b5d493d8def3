"""What the figure of the halves shows, from a small table."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from neuronpath_core.figures import class_building as drawn
from tests.figure_tables import panels

LABELS = {"rises": "share of tokens", "values": "cosine"}
CHANCE = {"another class": "", "FFN, rotated": "FFN"}


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def curves() -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for data in ("first", "second"):
        for panel, lines in (("rises", ("attention", "FFN", "another class")),
                             ("values", ("FFN", "FFN, rotated"))):
            for line in lines:
                for block in range(1, 13):
                    value = rng.random()
                    rows.append({"data": data, "panel": panel, "line": line, "block": block,
                                 "value": value, "low": value - 0.02, "high": value + 0.02})
    return pd.DataFrame(rows)


def test_lines_bands_and_levels_of_chance():
    table = curves()
    figure = drawn.class_curves(table, LABELS, CHANCE, finding="It rises")
    axes = panels(figure)
    places = [(data, panel) for data in ("first", "second") for panel in LABELS]
    colours = {}
    for axis, (data, panel) in zip(axes, places, strict=True):
        assert axis.get_title() == f"{data}: {panel}" and axis.get_ylabel() == LABELS[panel]
        own = table[(table["data"] == data) & (table["panel"] == panel)]
        lines = {line.get_label(): line for line in axis.lines if len(line.get_xdata())}
        assert set(lines) == set(own["line"])
        for name, line in lines.items():
            rows = own[own["line"] == name]
            assert line.get_xdata().tolist() == rows["block"].tolist()
            assert line.get_ydata().tolist() == rows["value"].tolist()
            assert (line.get_linestyle() == "--") == (name in CHANCE)
            assert colours.setdefault(name, line.get_color()) == line.get_color()
        # a band for each line that is no level of chance
        assert len(axis.collections) == len(set(own["line"]) - set(CHANCE))
        assert axis.get_ylim() == (0, 1.03) and axis.get_xticks().tolist() == [2, 4, 6, 8, 10, 12]
    assert colours["FFN"] == colours["FFN, rotated"] != colours["attention"]
    assert colours["another class"] == "0.45"
    marks = {name: line.get_marker() for name, line in lines.items()} | {
        line.get_label(): line.get_marker() for line in axes[0].lines}
    assert marks["attention"] != marks["FFN"]
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(named) == sorted(set(table["line"])) and "<title>It rises</title>" in \
        figure._repr_svg_()


def test_one_data_set_and_one_panel_are_enough():
    table = curves()
    table = table[(table["data"] == "first") & (table["panel"] == "rises")]
    figure = drawn.class_curves(table, {"rises": "share"}, {"another class": ""})
    assert len(panels(figure)) == 1
