"""What the figures of key neurons show, from small tables and small pictures."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from neuronpath_core.figures import key_neurons as drawn
from tests.figure_tables import MODELS, panels, with_interval


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def test_what_maps_find_stands_beside_its_controls():
    table = with_interval(pd.DataFrame([
        {"data": data, "model": model, "of": of, "value": 0.4 + 0.1 * number}
        for data in ("digits", "shapes", "places") for model in MODELS
        for number, of in enumerate(("key neuron", "neurons like it"))]), 0.05)
    figure = drawn.found_objects(table, finding="They do not")
    shown = panels(figure)
    assert [axis.get_title() for axis in shown] == ["digits", "shapes", "places"]
    for axis in shown:
        for number, container in enumerate(axis.containers):
            np.testing.assert_allclose(container.lines[0].get_xdata().astype(float),
                                       [0.4 + 0.1 * number] * 2)
        level, = (line for line in axis.lines if line.get_label() == "chance")
        assert list(level.get_xdata()) == [0.5, 0.5]
    assert [label.get_text() for label in shown[0].get_yticklabels()] == list(MODELS)
    assert not any(label.get_text() for label in shown[1].get_yticklabels())
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["chance", "key neuron", "neurons like it"]


def test_best_blocks_are_shares_that_add_up():
    table = pd.DataFrame([{"data": data, "model": model, "block": block, "classes": block % 3}
                          for data in ("digits", "shapes") for model in MODELS
                          for block in range(1, 7)])
    for axis in panels(drawn.best_blocks(table)):
        lines = {line.get_label(): line for line in axis.lines}
        np.testing.assert_allclose(lines[MODELS[0]].get_ydata(),
                                   np.array([0, 1, 3, 3, 4, 6, 6]) / 6)
        np.testing.assert_allclose(lines[MODELS[0]].get_xdata(), np.arange(7) / 6)
        assert list(lines["drawn uniformly"].get_ydata()) == [0, 1]


def test_curves_over_depth_keep_their_colour_where_one_is_missing():
    table = with_interval(pd.DataFrame([
        {"data": data, "of": of, "depth": depth, "value": number + depth}
        for data in ("digits", "shapes") for number, of in enumerate(("own", "shared", "others"))
        for depth in (0.5, 1.0) if (data, of) != ("digits", "shared")]))
    figure = drawn.over_depth(table, "activation", 0.0)
    digits, shapes = panels(figure)
    colours = [{line.get_label(): line.get_color() for line in axis.lines} for axis in (
        digits, shapes)]
    assert colours[0]["others"] == colours[1]["others"] and "shared" not in colours[0]
    assert digits.get_ylabel() == "activation"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["own", "others", "shared"]  # as they come in the table


def test_examples_show_the_image_and_two_maps():
    mask = np.zeros((8, 8), bool)
    mask[2:5, 3:7] = True
    example = drawn.Example("a cross", np.zeros((8, 8, 3), np.uint8), mask,
                            ("block 3, neuron 7", "block 1, neuron 0"),
                            np.stack([mask, ~mask]).astype(float), (0.91, 0.12))
    nothing = drawn.Example("nothing", np.zeros((8, 8), np.uint8), np.zeros((8, 8), bool),
                            example.neurons, example.maps, (0.5, 0.5))
    figure = drawn.map_examples([example, nothing], finding="Chosen")
    shown = panels(figure)
    assert len(shown) == 6
    np.testing.assert_allclose(shown[1].images[0].get_array(), mask)
    np.testing.assert_allclose(shown[2].images[0].get_array(), ~mask)
    assert shown[1].get_title() == "block 3, neuron 7: AUROC 0.91"
    assert shown[0].get_ylabel() == "a cross"
    assert len(shown[0].collections) == 1 and not shown[3].collections
