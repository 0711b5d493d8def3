"""Names of models, data sets and classes appear in figures as they are written, whatever is in
them; powers of ten stay mathematics."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from functools import cache

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.text import Text

from neuronpath_core import figures
from neuronpath_core.figures.names import shown
from neuronpath_core.figures.style import styled
from neuronpath_core.images.image_set import ImageSet
from tests import figure_tables as small
from tests.figure_tables import MODELS, png
from tests.figures.test_figures import CALLS

OLD = (*MODELS, *"abcd", "first", "second", "one", "two")
NAMES = ["$\\frac$", "cost $5 or $6", "_a_ *b* `c`|d", "<b>&amp;</b>", "x\x1b[31mred", "\\$a\\$",
         "\u202eabc", "猫🐈", "a\\", "%s {} {0}", "$", "$$"]
SHOWN = [*NAMES[:4], "x\\x1b[31mred", "\\$a\\$", "\\u202eabc", "\\u732b\\U0001f408", *NAMES[8:]]


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def renamed(thing, names: dict[str, str]):
    """Arguments of a figure with other names, wherever they stand."""
    if isinstance(thing, str):
        # classes are given as a text of letters
        return [names[letter] for letter in thing] if thing == "abcd" else names.get(thing, thing)
    if isinstance(thing, dict):
        return {renamed(key, names): renamed(value, names) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return type(thing)(renamed(each, names) for each in thing)
    if isinstance(thing, ImageSet):
        return replace(thing, class_names=renamed(thing.class_names, names))
    if isinstance(thing, pd.DataFrame):
        texts = [name for name in thing if not pd.api.types.is_numeric_dtype(thing[name])]
        return thing.assign(**{name: [renamed(each, names) for each in thing[name]]
                               for name in texts}).rename(names, axis=0)
    return thing


def drawn(name: str, names: list[str], monkeypatch) -> tuple[str, list[str], bytes]:
    """All that a figure says once it is drawn, what is warned of, and its picture."""
    function, swaps = getattr(figures, name), dict(zip(OLD, names, strict=False))
    monkeypatch.setattr(figures, name, lambda *given: function(*renamed(list(given), swaps)))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        figure = CALLS[name]()
        picture = png(figure)
    said = [str(each.message) for each in told
            if not issubclass(each.category, matplotlib.MatplotlibDeprecationWarning)]
    return "\n".join(text.get_text() for text in figure.findobj(Text)), said, picture


@cache
def names_of(name: str) -> set[str]:
    """Which of the old names the figure says."""
    # by others that no figure says of itself, as it does say "one" and "two"
    others = [f"Zz{number}" for number in range(len(OLD))]
    with pytest.MonkeyPatch.context() as patch:
        text = drawn(name, others, patch)[0]
    return {old for old, other in zip(OLD, others, strict=True)
            if re.search(rf"(?<!\w){other}(?![\w-])", text)}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("turn", [0, 6])
def test_names_appear_as_they_are_written(name, turn, monkeypatch):
    names, ends = ((*every[turn:], *every[:turn]) for every in (NAMES, SHOWN))
    expected = {ends[OLD.index(old)] for old in names_of(name) if len(old) > 1}
    text, said, _ = drawn(name, names, monkeypatch)
    assert not said
    flat = text.replace("\n", " ")
    assert not [each for each in expected if each not in flat]
    # what is left is printed as it is
    assert all(letter.isprintable() for letter in flat.replace("\u2060", ""))


def test_a_dollar_sign_is_a_dollar_sign():
    figure = figures.knowledge_blocks(small.shares().replace({MODELS[0]: "$x^2$",
                                                              MODELS[1]: "a $5, $6"}))
    for axis, title in zip(figure.axes, ("$x^2$", "a $5, $6"), strict=True):
        assert axis.get_title() == title and not axis.title.get_parse_math()


def test_powers_of_ten_stay_mathematics():
    @styled
    def powers():
        figure, axes = plt.subplots()
        axes.plot([1, 2], [1e-3, 1e3])
        axes.set(yscale="log")
        return figure

    figure = powers()
    png(figure)
    labels = [label for label in figure.axes[0].get_yticklabels()
              if "mathdefault" in label.get_text()]
    assert labels and all(label.get_parse_math() for label in labels)


@pytest.mark.parametrize("name", ["cost_curves", "benchmark_ratios", "integrand_curves",
                                  "search_speed", "site_forest"])
def test_logarithmic_axes_say_decimals_that_can_be_read(name):
    figure = CALLS[name]()
    png(figure)
    labels = [label.get_text() for axes in figure.axes
              for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels()]
    assert labels and not [label for label in labels if "mathdefault" in label]


def test_a_legend_names_what_begins_with_a_line():
    table = small.curvature().replace({MODELS[0]: "_child", MODELS[1]: "__b"})
    figure = figures.integrand_curves(table)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["_child", "__b"]


@pytest.mark.parametrize(("name", "expected"), [
    ("café", "café"), ("Ω−±", "Ω−±"), ("two\nlines", "two\nlines"), ("tab\t", "tab\\t"),
    ("\x00\n", "\\x00\n"), ("\u200b", "\\u200b"), ("中文", "\\u4e2d\\u6587"), ("\ud800", "\\ud800"),
])
def test_what_no_font_has_is_written_out(name, expected):
    assert shown(name) == expected
