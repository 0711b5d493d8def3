"""What the figures of made images show, from small tables and images."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from neuronpath_core.figures import stimuli as drawn
from tests.figure_tables import MODELS, with_interval


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def test_own_and_other_models_stand_above_one_another_with_chance():
    table = with_interval(pd.DataFrame([
        {"data": data, "model": model, "measure": measure, "condition": condition, "chance": 0.1,
         "value": 0.1 + 0.2 * number + 0.3 * (measure == "own")}
        for data in ("digits", "shapes") for model in MODELS for measure in ("own", "transfer")
        for number, condition in enumerate(("best", "random"))]), 0.05)
    figure = drawn.recognition(table, finding="They do")
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["digits, its own model", "shapes, its own model", "digits, other models",
                      "shapes, other models"]
    for axis in figure.axes:
        shift = 0.3 * ("own" in axis.get_title())
        for number, container in enumerate(axis.containers):
            np.testing.assert_allclose(container.lines[0].get_xdata().astype(float),
                                       [0.1 + 0.2 * number + shift] * 2)
        assert any(list(line.get_xdata()) == [0.1, 0.1] for line in axis.lines)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(labels) == {"best", "random", "chance, 1/classes"}


def test_a_mosaic_holds_every_image_where_its_class_is():
    rows = [np.full((3, 8, 8, 1), shade) + np.arange(3)[:, None, None, None] / 100
            for shade in (0.2, 0.6)]
    whole = drawn.mosaic(rows)
    assert whole.shape == (16, 24)
    for row, shade in enumerate((0.2, 0.6)):
        for column in range(3):
            part = whole[8 * row:8 * row + 8, 8 * column:8 * column + 8]
            assert part[4, 4] == pytest.approx(shade + column / 100)
    wide = drawn.mosaic([np.zeros((2, 32, 32, 3))])
    assert wide.shape == (36, 72, 3) and bool((wide[:2] == 1).all())


def test_frames_and_dots_stand_where_an_image_is_recognised():
    images = {"digits": {"best": np.zeros((4, 8, 8, 1)), "random": np.ones((4, 8, 8, 1))},
              "shapes": {"best": np.zeros((24, 8, 8, 3)), "random": np.ones((24, 8, 8, 3))}}
    marks = pd.DataFrame([
        {"data": data, "condition": "best", "class": number, "own": float(number == 1),
         "transfer": 0.6 * (number == 2)} for data in images for number in range(4)])
    names = {"digits": list("0123"), "shapes": [f"solid {number}" for number in range(24)]}
    figure = drawn.gallery(images, names, marks)
    digits, shapes = figure.axes
    assert [patch.get_x() for patch in digits.patches] == pytest.approx([1.02])
    assert [line.get_xdata()[0] for line in digits.lines] == pytest.approx([2.88])
    assert len(shapes.get_xticks()) == drawn.COLUMNS
    assert [text.get_text() for text in digits.get_yticklabels()] == ["best", "random"]


def test_the_slope_of_gelu_is_drawn_beside_what_images_reach():
    table = pd.DataFrame({"data": ["digits"] * 4, "start": [-2, -1, 0, 1],
                          "reached": [-3, 0.1, 0.9, 1.0], "failed": [True, True, False, False]})
    figure = drawn.after_activation(table)
    (axis,) = figure.axes
    lines = {line.get_label(): line for line in axis.lines}
    assert lines["less: failed"].get_ydata().tolist() == [-1, 0.1]
    assert lines["at least half"].get_xdata().tolist() == [0, 1]
    places = lines["slope of GELU"].get_xdata()
    step = 1e-6

    def gelu(x):
        return x * norm.cdf(x)

    np.testing.assert_allclose(lines["slope of GELU"].get_ydata(),
                               (gelu(places + step) - gelu(places - step)) / 2 / step, atol=1e-7)
