"""Figures of Chapter 32 draw what their tables hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from neuronpath_core.figures import modality as drawn
from neuronpath_core.vlm.modality import TYPES

MODELS = ("before training", "one", "one seed 1")
PAPER = {"A": (0.1, 0.2, 0.3, 0.4)}


def sure():
    return pd.DataFrame([{"model": model, "type": name, "value": 0.1 * place + 0.02 * number,
                          "low": 0.1 * place, "high": 0.1 * place + 0.05, "dealt": 0.07}
                         for number, model in enumerate(MODELS)
                         for place, name in enumerate(TYPES)])


def profiles():
    return pd.DataFrame([{"model": model, "type": name, "layer": layer, "value": layer / 10,
                          "dealt": 0.3} for model in MODELS for name in TYPES
                         for layer in range(1, 9)])


def test_shares_and_layers_lie_where_the_tables_say():
    figure = drawn.sure_and_layers(sure(), profiles(), PAPER, finding="A finding")
    rows, *panels = figure.axes
    assert [label.get_text() for label in rows.get_yticklabels()] == list(TYPES)
    marks = [np.round(np.array(line.get_xdata(), float), 6).tolist() for line in rows.lines]
    for _, own in sure().groupby("model"):
        assert (100 * own["value"]).round(6).tolist() in marks
    assert [10.0, 20.0, 30.0, 40.0] in marks and [7.0] * 4 in marks
    assert len(panels) == 4
    for axis, name in zip(panels, TYPES, strict=True):
        assert axis.get_title() == name
        # a line for each model, and one with dealt labels for each that was trained
        assert len(axis.lines) == 5
        np.testing.assert_allclose(np.array(axis.lines[0].get_ydata(), float), np.arange(1, 9) / 10)
    said = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert {*MODELS, "the same with dealt labels", "A, the paper"} <= said


def test_histograms_are_shares_of_live_neurons():
    p = np.array([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 0, 0, 1.0], [np.nan] * 4])
    figure = drawn.histograms({"ours": p, "theirs": p[:1]}, TYPES)
    visual = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(visual[[0, 5, 9]], [100 / 3] * 3)
    assert visual.sum() == pytest.approx(100)
    assert figure.axes[0].lines[1].get_ydata()[9] == 100


def test_examples_are_dark_where_a_neuron_is_weak():
    pixels = np.full((64, 64, 3), 200, np.uint8)
    level = np.zeros((8, 8))
    level[2, 3] = 1
    figure = drawn.examples([("visual\nlayer 1, 2", [(pixels, level, "a, red")] * 2),
                             ("text\nlayer 3, 4", [(pixels, level, "no word")])])
    shown = figure.axes[0].images[0].get_array()
    assert (shown[16:24, 24:32] == 200).all() and (shown[:16, :64] == 50).all()
    assert (shown[:, 64:67] == 255).all() and (shown[16:24, 67 + 24:67 + 32] == 200).all()  # rims
    first, second = figure.axes  # a panel for each neuron
    assert [text.get_text() for text in first.get_xticklabels()] == ["a, red", "a, red"]
    assert [text.get_text() for text in second.get_xticklabels()] == ["no word"]
    assert [text.get_text() for text in second.get_yticklabels()] == ["text\nlayer 3, 4"]


def test_matches_have_a_panel_for_each_reading_of_words():
    table = pd.DataFrame([{"model": model, "word": word, "group": group, "value": 0.02,
                           "low": 0.01, "high": 0.03} for model in MODELS
                          for word in ("read", "next") for group in ("both", "one")])
    figure = drawn.matches(table)
    assert [axis.get_title() for axis in figure.axes] == ["read", "next"]
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"both", "one"}
    marks = [line.get_xdata() for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(np.array(marks[0], float), 2.0)
