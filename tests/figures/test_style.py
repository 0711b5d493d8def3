"""What stands above the panels of a figure: its finding on lines, and one legend for all of them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest

from neuronpath_core.figures.style import LEGEND, NARROW, WIDTH, in_lines, legend_outside, styled

FINDING = ("Removal costs more in 71 of 72 comparisons of an image's own path with weaker ones: "
           "median lead -0.4 to 8.8 % of the probability [-0.81, +0.92] (by 26.0 %)")


@pytest.mark.parametrize("letters", range(30, 130, 7))
def test_a_finding_breaks_neither_in_an_interval_nor_before_a_per_cent_sign(letters):
    lines = in_lines(FINDING, letters).split("\n")
    assert " ".join(lines) == FINDING.replace("-", "\u2212")
    assert all(len(line) <= letters for line in lines)
    assert not any(line.startswith(("%", "26.0", "+0.92")) for line in lines)
    assert sum("[\u22120.81, +0.92]" in line for line in lines) == 1


def test_lines_of_a_finding_are_about_equally_long():
    words = "a finding of words that are short and of a last one alone"
    first, second = in_lines(words, len(words) - 1).split("\n")
    assert abs(len(first) - len(second)) < 12
    assert in_lines("short", 80) == "short" and in_lines("", 80) == ""


@styled
def draw(series: int):
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.5))
    for number in range(series):
        for axis in axes:
            axis.plot([0, 1], [number, number], label=f"a series of some name, {number}")
    legend_outside(figure, axes[0])
    return figure


@pytest.mark.parametrize("finding", ["", FINDING])
@pytest.mark.parametrize("series", [1, 3, 9])
def test_the_legend_is_where_a_telephone_shows_it(series, finding):
    figure = draw(series, finding=finding)
    figure.draw_without_rendering()
    legend, = figure.legends
    box = legend.get_window_extent()
    assert legend.get_gid() == LEGEND and len(legend.get_texts()) == series
    assert 0 <= box.x0 and box.x1 <= (NARROW + 0.1) * figure.dpi
    # below the finding and above the panels
    top = figure._suptitle.get_window_extent().y0 if finding else figure.bbox.height
    assert box.y1 <= top + 0.01
    assert box.y0 >= max(axis.get_tightbbox().y1 for axis in figure.axes)
