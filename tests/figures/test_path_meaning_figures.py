"""What the figures of path neurons show, from small tables and pictures."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from neuronpath_core.figures import path_meaning as drawn
from tests.figure_tables import MODELS, panels, with_interval


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def test_each_question_has_a_panel_with_a_mark_for_each_model_and_data_set():
    table = with_interval(pd.DataFrame([
        {"panel": f"question {place}", "unit": "cosine", "data": data, "model": model,
         "value": place / 10 + number / 100}
        for place in range(5) for number, (data, model) in enumerate(
            (data, model) for data in ("digits", "shapes") for model in MODELS)
        if (place, data) != (2, "digits")]), 0.02)
    figure = drawn.meanings(table, finding="They write")
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title() for axis in shown] == [f"question {place}" for place in range(5)]
    for place, axis in enumerate(shown):
        own = table[table["panel"] == f"question {place}"]
        found = np.concatenate([container.lines[0].get_xdata() for container in axis.containers])
        np.testing.assert_allclose(np.sort(found.astype(float)), np.sort(own["value"]))
        assert axis.get_xlabel() == "cosine"
        sizes = [text.get_fontsize() for text in (axis.title, axis.xaxis.label,
                                                  *axis.get_xticklabels())]
        assert min(sizes) >= drawn.LEAST
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["digits", "shapes"]
    # a data set that a panel lacks keeps its colour and its place
    third = shown[2].containers
    assert len([each for each in third if len(each.lines[0].get_xdata())]) == 1
    assert figure._repr_svg_().count("They write") >= 1


def test_curves_over_depth_have_their_bands():
    table = with_interval(pd.DataFrame([
        {"data": data, "model": model, "depth": block / 6, "value": block / 10 + number}
        for data in ("digits", "shapes") for number, model in enumerate(MODELS)
        for block in range(1, 7)]), 0.05)
    figure = drawn.writing_by_depth(table)
    for axis, data in zip(panels(figure), ("digits", "shapes"), strict=True):
        assert axis.get_title() == data
        shown = {line.get_label(): line for line in axis.lines}
        for model in MODELS:
            own = table[(table["data"] == data) & (table["model"] == model)]
            np.testing.assert_allclose(shown[model].get_ydata(), own["value"])
        assert len(axis.collections) == len(MODELS)


def test_pictures_stand_in_rows_by_source_and_columns_by_class():
    rng = np.random.default_rng(0)
    pictures = {name: rng.integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)
                for name in ("all path neurons", "random path")}
    names = [f"class {number}" for number in range(12)]
    figure = drawn.path_pictures(pictures, names, most=4)
    axis, = panels(figure)
    sheet = np.asarray(axis.images[0].get_array())
    assert sheet.shape == (2 * 9 - 1, 4 * 9 - 1, 4)
    for row, name in enumerate(pictures):
        for column, label in enumerate((0, 4, 7, 11)):
            own = sheet[9 * row:9 * row + 8, 9 * column:9 * column + 8]
            assert np.array_equal(own[..., :3], pictures[name][label])
            assert (own[..., 3] == 255).all()
    assert (sheet[..., 3] > 0).sum() == 8 * 64
    assert [text.get_text() for text in axis.get_xticklabels()] == [
        f"class\n{label}" for label in (0, 4, 7, 11)]
    assert [text.get_text() for text in axis.get_yticklabels()] == list(pictures)
