"""What the figures of detecting neurons show, from small tables."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from neuronpath_core.figures import dissection as drawn
from tests.figure_tables import MODELS, panels, with_interval


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def by_block(data=("digits", "shapes"), blocks=6):
    return pd.DataFrame([{"data": name, "model": model, "depth": (block + 1) / blocks,
                          "value": 0.3 + block / 20, "dealt": 0.1}
                         for name in data for model in MODELS for block in range(blocks)])


def kinds(data="shapes", names=("colour", "outline", "part")):
    return pd.concat([by_block([data]).assign(kind=kind, value=lambda rows, place=place:
                                              rows["value"] / (place + 1))
                      for place, kind in enumerate(names)])


def test_a_panel_per_model_and_data_set_with_its_curves():
    table, found = pd.concat([kinds("digits", ("part", "class")), kinds()]), by_block()
    figure = drawn.kinds_by_depth(table, found, finding="Colours come first")
    shown = [axis for axis in panels(figure) if axis.get_visible()]
    titles = [axis.get_title() for axis in shown]
    assert sorted(titles) == sorted([*(f"shapes: {model}" for model in MODELS),
                                     "digits: detectors", "shapes: detectors"])
    axis = shown[titles.index(f"shapes: {MODELS[0]}")]
    assert len(axis.lines) == 3
    own = kinds()
    expected = own[(own["model"] == MODELS[0]) & (own["kind"] == "colour")]["value"]
    np.testing.assert_allclose(axis.lines[0].get_ydata(), expected)
    detectors = shown[titles.index("shapes: detectors")]
    assert len(detectors.lines) == 2 * len(MODELS)
    assert (detectors.lines[1].get_ydata() == 0.1).all()
    legend, = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["colours", "outlines", "all else", *MODELS, "masks of other images"]


def test_what_is_general_is_one_curve_and_the_legend_is_short():
    """Six kinds and four models would be eleven rows; they are nine names in several columns."""
    names = ("part", "colour", "tone", "fill", "background", "outline")
    found = by_block()
    more = pd.concat([found, *(found.assign(model=f"{name} too") for name in MODELS)])
    figure = drawn.kinds_by_depth(kinds(names=names), more)
    legend, = figure.legends
    assert len(legend.get_texts()) == 4 + 2 * len(MODELS) + 1 and legend._ncols > 1
    axis = next(each for each in panels(figure) if each.get_title() == f"shapes: {MODELS[0]}")
    own = kinds(names=names)
    own = own[(own["model"] == MODELS[0]) & own["kind"].isin(["part", "tone", "background"])]
    together = own.groupby("depth")["value"].sum()
    np.testing.assert_allclose(axis.lines[-1].get_ydata(), together)
    marks = [line.get_marker() for line in axis.lines]
    assert len(axis.lines) == 4 == len(set(marks))


def test_digits_alone_have_their_kinds():
    figure = drawn.kinds_by_depth(kinds("digits", ("part", "class")), by_block(["digits"]))
    assert any(axis.get_title() == f"digits: {MODELS[0]}" for axis in panels(figure))


def test_a_mark_per_model_and_labeler():
    rows = [{"data": data, "model": model, "condition": f"labels by {labeler}",
             "value": 0.1 * (place + 1)}
            for data in ("digits", "shapes") for model in MODELS
            for place, labeler in enumerate(("overlap", "correlation"))]
    truth = with_interval(pd.DataFrame(rows), 0.02)
    moved = truth[truth["data"] == "shapes"]
    figure = drawn.label_truth(truth, moved, finding="They are true")
    axes = panels(figure)
    assert [axis.get_title() for axis in axes] == ["digits", "shapes", "shapes, changed"]
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["overlap", "correlation"]
    for axis in axes:
        marks = axis.containers[0].lines[0]
        np.testing.assert_allclose(np.array(marks.get_xdata(), float), [0.1, 0.2])
    assert len(panels(drawn.label_truth(truth, moved.iloc[:0]))) == 2
