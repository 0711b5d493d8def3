"""What the figures of relevance maps show, from small tables and maps."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from neuronpath_core.figures import relevance as drawn
from tests.figure_tables import panels

MODELS, ORDERS, TESTS, DATA = ("a", "b"), ("own", "other"), ("least", "most"), ("first", "second")


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def gains():
    rng = np.random.default_rng(0)
    rows = [{"data": data, "test": test, "model": model, "order": order, "value": value, "low": value - 1,
             "high": value + 2} for data in DATA for test in TESTS for model in MODELS for order, value in zip(
                 ORDERS, rng.normal(size=2), strict=True)]
    return pd.DataFrame(rows)


def test_gains_have_a_mark_a_model_with_its_interval_beside_the_line_of_chance():
    table = gains()
    figure = drawn.removal_gains(table, "points")
    axes = panels(figure)
    assert [axis.get_title() for axis in axes] == [f"{data}, {test}" for data in DATA for test in TESTS]
    for axis, (data, test) in zip(axes, [(data, test) for data in DATA for test in TESTS], strict=True):
        own = table[(table["data"] == data) & (table["test"] == test)]
        for container, model in zip(axis.containers, MODELS, strict=True):
            rows = own[own["model"] == model]
            line, _, (bars,) = container.lines
            assert line.get_xdata().tolist() == rows["value"].tolist()
            np.testing.assert_allclose(line.get_ydata().astype(float), [0, 1], atol=0.3)
            np.testing.assert_allclose([segment[:, 0] for segment in bars.get_segments()], rows[["low", "high"]])
        chance, = (line for line in axis.lines if line.get_label() == "random order")
        assert list(chance.get_xdata()) == [0, 0]
        assert len({container.lines[0].get_marker() for container in axis.containers}) == 2
    assert [label.get_text() for label in axes[0].get_yticklabels()] == list(ORDERS) and axes[0].yaxis_inverted()
    assert [axis.get_xlabel() for axis in axes] == ["", "", "points", "points"]
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"random order", *MODELS}


def test_lines_are_the_accuracies_and_chance_is_dotted():
    table = pd.DataFrame([{"data": data, "test": test, "order": order, "removed": removed, "accuracy": 1 - removed / scale,
                           "chance": 0.1} for data in DATA for test in TESTS
                          for scale, order in enumerate(ORDERS, 1) for removed in (0.0, 0.5, 0.9)])
    figure = drawn.removal_lines(table)
    axes = panels(figure)
    assert len(axes) == 4
    for axis in axes:
        own, other, chance = axis.lines
        np.testing.assert_allclose(own.get_ydata(), [1, 0.5, 0.1])
        np.testing.assert_allclose(other.get_ydata(), [1, 0.75, 0.55])
        assert set(chance.get_ydata()) == {0.1} and chance.get_linestyle() == ":"
        assert own.get_marker() != other.get_marker() and own.get_linestyle() != other.get_linestyle()


def test_a_sheet_has_a_row_a_head_and_a_column_a_block_on_one_scale():
    rng = np.random.default_rng(0)
    one, two = (drawn.Map(np.full((8, 8, 3), 200, np.uint8), title, scale * rng.normal(size=(5, 2, 3, 4)))
                for title, scale in (("label", 1), ("other", 3)))
    figure = drawn.head_maps([(one, two)])
    picture, *sheets = panels(figure)
    assert np.array_equal(picture.images[0].get_array(), one.picture)
    most = max(np.abs(each.values).max() for each in (one, two))
    for axis, each in zip(sheets, (one, two), strict=True):
        shown = axis.images[0].get_array()
        assert shown.shape == (2 * 4 - 1, 5 * 5 - 1) and axis.get_title() == each.title
        np.testing.assert_array_equal(shown[4:7, 15:19], each.values[3, 1])  # block 4, head 2
        assert np.ma.getmaskarray(shown)[3].all()
        assert axis.images[0].get_clim() == (-most, most)
        assert [label.get_text() for label in axis.get_yticklabels()] == ["1", "2"]
        assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "2", "3", "4", "5"]
        assert axis.get_xticks()[3] == 15 + 1.5


def test_maps_lie_over_their_faint_pictures():
    maps = [drawn.Map(np.full((8, 8), 50, np.uint8), str(number), np.eye(4) * (number - 1)) for number in range(4)]
    figure = drawn.global_maps(maps)
    axes = panels(figure)
    assert [axis.get_title() for axis in axes] == ["0", "1", "2", "3"]
    for axis, each in zip(axes, maps, strict=True):
        picture, over = axis.images
        assert (picture.get_array() == 255 - 0.6 * 205).all()
        np.testing.assert_array_equal(over.get_array(), each.values)
        most = np.abs(each.values).max() or 1
        assert over.get_clim() == (-most, most) and list(over.get_extent()) == [-0.5, 7.5, 7.5, -0.5]


def test_shares_of_probes_are_means_over_models_with_their_range():
    table = pd.DataFrame([{"data": "first", "place": place, "reader": reader, "model": model, "block": 1, "depth": depth,
                           "value": value * depth, "chance": 0.04} for place in ("stream", "output")
                          for reader in ("projection", "probe") for model, value in (("a", 0.2), ("b", 0.6))
                          for depth in (0.5, 1.0)])
    figure = drawn.probe_shares(table)
    for axis in panels(figure):
        first, second, chance = axis.lines
        for line in (first, second):
            np.testing.assert_allclose(line.get_ydata(), [0.2, 0.4])
        band = axis.collections[0].get_paths()[0].vertices
        np.testing.assert_allclose([band[:, 1].min(), band[:, 1].max()], [0.1, 0.6])
        assert set(chance.get_ydata()) == {0.04}


@pytest.mark.parametrize("draw", [
    lambda: drawn.removal_gains(gains(), "points", finding="It holds"),
    lambda: drawn.global_maps([drawn.Map(np.zeros((8, 8)), "one", np.eye(2))], finding="It holds")])
def test_figures_fit_a_page_and_say_what_they_show(draw):
    figure = draw()
    assert figure.get_figwidth() == 7.0 and "<title>It holds</title>" in figure._repr_svg_()
