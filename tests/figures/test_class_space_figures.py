"""What the figures of tokens in class space show, from small tables."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from neuronpath_core.figures import class_space as drawn
from tests.figure_tables import MODELS, panels, with_interval


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def curves(blocks=6):
    rows = [{"data": data, "model": model, "tokens": tokens, "block": block,
             "depth": block / blocks, "value": 0.4 + block / 20 + number / 50, "chance": 0.55}
            for data in ("digits", "shapes")
            for number, (model, tokens) in enumerate(
                (model, tokens) for model in MODELS
                for tokens in ("image tokens", "class token", "random weights"))
            for block in range(1, blocks + 1)
            if (model, tokens) != (MODELS[1], "class token")]
    return with_interval(pd.DataFrame(rows), 0.02)


def test_a_panel_has_a_curve_for_each_kind_of_token_and_a_line_at_chance():
    table = curves()
    figure = drawn.identifiability_curves(table, finding="They rise")
    for axis, data in zip(panels(figure), ("digits", "shapes"), strict=True):
        assert axis.get_title() == data
        shown = {line.get_label(): line for line in axis.lines}
        for model in MODELS:
            own = table[(table["data"] == data) & (table["model"] == model)]
            line = shown[f"{model}, image tokens"]
            np.testing.assert_allclose(line.get_ydata(),
                                       own[own["tokens"] == "image tokens"]["value"])
        assert f"{MODELS[1]}, class token" not in shown
        assert list(shown["random order"].get_ydata()) == [0.55, 0.55]
        marks = {shown[f"{model}, image tokens"].get_marker() for model in MODELS}
        assert len(marks) == 2
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [*MODELS, "class token", "random weights", "random order"]
    assert figure._repr_svg_().count("They rise") >= 1


def test_cuts_stand_beside_one_another_with_their_intervals():
    table = with_interval(pd.DataFrame([
        {"data": data, "model": model, "cut": cut, "value": 0.1 * number + 0.1, "chance": 0.1}
        for data in ("digits", "shapes") for model in MODELS
        for number, cut in enumerate(("uncut", "self only", "no class token"))]), 0.03)
    figure = drawn.token_cuts(table)
    for axis in panels(figure):
        assert len(axis.containers) == 3
        for number, container in enumerate(axis.containers):
            line, _, (bars,) = container.lines
            np.testing.assert_allclose(line.get_xdata().astype(float), [0.1 * number + 0.1] * 2)
            ends = np.array([segment[:, 0] for segment in bars.get_segments()], float)
            np.testing.assert_allclose(ends, [[0.1 * number + 0.07, 0.1 * number + 0.16]] * 2)
        assert [label.get_text() for label in axis.get_yticklabels()] == list(MODELS)
        dashed, = (line for line in axis.lines if line.get_label() == "chance, 1/classes")
        assert list(dashed.get_xdata()) == [0.1, 0.1]
    assert [text.get_text() for text in figure.legends[0].get_texts()][-3:] == [
        "uncut", "self only", "no class token"]


@pytest.mark.parametrize("with_regions", [True, False])
def test_places_have_a_panel_per_data_set_and_per_attribute(with_regions):
    depth = np.linspace(0.25, 1, 4)
    gaps = with_interval(pd.DataFrame([
        {"data": data, "model": model, "depth": each, "value": -each, "dealt": -each / 2}
        for data in ("digits", "shapes") for model in MODELS for each in depth]))
    regions = with_interval(pd.DataFrame([
        {"group": group, "region": region, "depth": each, "value": 0.5 + 0.1 * number}
        for group in ("outline", "fill")
        for number, region in enumerate(("outline band", "fill area", "background"))
        for each in depth])) if with_regions else pd.DataFrame()
    figure = drawn.where_it_is_known(gaps, regions)
    shown = panels(figure)
    assert len(shown) == (4 if with_regions else 2)
    for axis in shown[:2]:
        lines = {line.get_label(): line for line in axis.lines}
        np.testing.assert_allclose(lines[MODELS[0]].get_ydata(), -depth)
        np.testing.assert_allclose(lines["mask of another image"].get_ydata(), -depth / 2)
    for axis in shown[2:]:
        lines = {line.get_label(): line for line in axis.lines}
        np.testing.assert_allclose(lines["fill area"].get_ydata(), 0.6)
        assert len({lines[name].get_color() for name in ("outline band", "fill area",
                                                          "background")}) == 3
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(labels) == len(set(labels)) == (6 if with_regions else 3)
