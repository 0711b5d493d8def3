"""What the figure of methods shows, from a small table."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from neuronpath_core import figures
from neuronpath_core.figures.methods import FADED, NO_PASS
from tests import figure_tables as small
from tests.figure_tables import panels
from tests.project.test_notebooks_static import svg_faults


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def letters(text):
    """Where the letters of a name stand, without the line to its mark."""
    text.get_window_extent()  # puts them in their place
    return Text.get_window_extent(text)


def marks(axis):
    """By label the large marks, as ``(passes, height)``."""
    return {line.get_label(): list(zip(line.get_xdata(), line.get_ydata(), strict=True))
            for line in axis.lines if not line.get_label().startswith("_")}


def test_means_and_models_lie_where_their_passes_and_shares_are():
    table = small.shares_of_methods()
    figure = figures.method_front(table, ["one", "three"], "budgets", finding="It holds")
    axes = panels(figure)
    assert [axis.get_title() for axis in axes] == ["zero", "mean", "other"]
    for axis in axes:
        shown = marks(axis)
        assert list(shown) == ["budgets", "search", "ranking", "chance"]
        # the line at the mean of passes and of shares, a method at the mean of its logarithms
        assert shown["budgets"] == pytest.approx(np.array([(1.5, 0.895),
                                                           (5.1, 0.975)]))
        assert shown["search"] == pytest.approx(np.array([(100 * 2**0.5, 0.795)]))
        assert shown["chance"][0][0] == pytest.approx(NO_PASS)
        small_marks = [line for line in axis.lines if line.get_markersize() < 4]
        assert sum(len(line.get_xdata()) for line in small_marks) == 10
        assert len({line.get_marker() for line in axis.lines}) == 5
        assert axis.get_xscale() == "log"
    shown = [text.get_text() for text in axes[0].texts]
    assert shown[:2] == ["89.5 %", "97.5 %"]
    assert sorted(shown[2:]) == ["budgets", "chance", "ranking", "search"]
    boxes = [letters(text) for text in axes[0].texts]
    assert not any(box.count_overlaps(boxes[:number]) for number, box in enumerate(boxes))
    assert not axes[1].texts
    assert list(svg_faults(figure._repr_svg_())) == []


def test_of_one_condition_there_is_one_panel():
    table = small.shares_of_methods()
    assert len(panels(figures.method_front(table[table["condition"] == "zero"], ["one", "three"],
                                           "budgets"))) == 1


def test_the_recommended_budget_is_named_and_only_what_is_compared_has_a_colour():
    figure = figures.method_front(small.shares_of_methods(), ["one", "three"], "budgets", "three",
                                  ["search"])
    large = panels(figure)[0]
    assert any(text.get_text() == "recommended (three): 97.5 %" for text in large.texts)
    colours = {line.get_label(): line.get_color() for line in large.lines}
    assert colours["ranking"] == colours["chance"] == FADED != colours["search"]


def test_a_name_that_stands_aslant_is_tied_to_its_mark():
    """Six methods at one place: there is no room beside it for the last names."""
    table = small.shares_of_methods()
    again = table[table["method"] == "search"]
    table = pd.concat([table, *(again.assign(method=f"search {word}") for word in (
        "again", "anew", "afresh", "later", "at last"))])
    figure = figures.method_front(table, ["one", "three"], "budgets")
    axis = panels(figure)[0]
    texts = [text for text in axis.texts if not text.get_text().endswith("%")]
    aslant = [text for text in texts if all(text.xyann)]
    assert aslant and all(text.arrow_patch is not None for text in aslant)
    assert all(text.arrow_patch is None for text in texts if text not in aslant)
    for text in aslant:
        # the line ends at the mark of the same name
        mark, = (line for line in axis.lines if line.get_label() == text.get_text())
        np.testing.assert_allclose(text.xy, mark.get_xydata()[-1])
