"""What the figures of certified class paths show, from small tables."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from neuronpath_core import figures
from neuronpath_core.figures.certified import ON_SOLID
from tests import figure_tables as small
from tests.figure_tables import MODELS, panels


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def test_shares_of_classes_with_their_intervals():
    table = small.shares_of_classes()
    figure = figures.certified_shares(table, "share of a path")
    for axis, data in zip(panels(figure), ("first", "second"), strict=True):
        assert (axis.get_title(), axis.get_xlabel()) == (data, "share of a path")
        assert [label.get_text() for label in axis.get_yticklabels()] == list(MODELS)
        assert axis.yaxis_inverted()
        for container, measure in zip(axis.containers, ("by count", "certified", "dealt"), strict=True):
            rows = table[(table["data"] == data) & (table["measure"] == measure)]
            line, _, (bars,) = container.lines
            assert line.get_xdata().tolist() == rows["value"].tolist()
            np.testing.assert_allclose(line.get_ydata().astype(float), [0, 1], atol=0.3)
            np.testing.assert_allclose([segment[:, 0] for segment in bars.get_segments()], rows[["low", "high"]])
        assert len({container.lines[0].get_marker() for container in axis.containers}) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["by count", "certified", "dealt"]


def test_a_cell_has_its_neuron_and_a_shade_for_what_it_stands():
    table = small.cells_of_classes()
    figure = figures.certified_map(table, 1)
    first, second = panels(figure)
    shades = {}
    for axis, data in ((first, "first"), (second, "second")):
        own = table[table["data"] == data]
        classes = list(dict.fromkeys(own["class"]))
        assert axis.get_title() == data and [label.get_text() for label in axis.get_yticklabels()] == classes
        assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "2", "3", "4"]
        inside = own[own["certified"] >= 1]
        places = {(text.get_position()[0] - 0.5, text.get_position()[1] - 0.5): text.get_text()
                  for text in axis.texts if text.get_text()}
        assert places == {(block - 1, classes.index(name)): str(neuron) for name, block, neuron
                          in zip(inside["class"], inside["block"], inside["neuron"], strict=True)}
        cells = {(round(each.get_x()), round(each.get_y())): each.get_facecolor()
                 for each in axis.patches if each.get_width() == 1}
        assert len(cells) == len(inside)
        for name, block, certified in zip(inside["class"], inside["block"], inside["certified"],
                                          strict=True):
            colour = cells[block - 1, classes.index(name)]
            assert shades.setdefault(certified, colour) == colour
        alone = own[(own["certified"] < 1) & (own["counted"] >= 1)]
        ring, = (line for line in axis.lines if line.get_marker() == "o")
        assert sorted(zip(ring.get_xdata() - 0.5, ring.get_ydata() - 0.5, strict=True)) == sorted(
            zip(alone["block"] - 1, [classes.index(name) for name in alone["class"]], strict=True))
    # one colour, the more solid the more is survived: on any page the strongest stands out most
    assert len({shades[number][:3] for number in (1, 2, 3)}) == 1
    solid = [shades[number][3] for number in (1, 2, 3)]
    assert solid == sorted(solid) and len(set(solid)) == 3
    letters = {text.get_color() for axis in (first, second) for text in axis.texts}
    assert letters == {"0.15", ON_SOLID}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *(f"certified to survive {number}" for number in (1, 2, 3)), "by count alone 1"]


def test_one_shade_is_enough_where_no_certificate_stands_more():
    table = small.cells_of_classes()
    figure = figures.certified_map(table.assign(certified=table["certified"].clip(upper=1)), 1)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["certified to survive 1", "by count alone 1"]
