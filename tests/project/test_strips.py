"""Effects of a claim as marks on a line: where each lies, which kind it is, what stands beside."""

import pytest
from bs4 import BeautifulSoup

from book import strips
from neuronpath_core.stats.claims import Comparison
from neuronpath_core.stats.units import UNITS


def row(value, verdict="agrees", data="digits", low=None, high=None, condition=""):
    return Comparison(data=data, model="m", condition=condition, against="", verdict=verdict,
                      value=value, low=low, high=high, chance=None, n=10)


def places(line):
    """Where marks, the median and zero lie, as shares of the scale."""
    picture = BeautifulSoup(line.picture, "html.parser")

    def share(x):
        return (float(x) - strips.EDGE) / (strips.WIDTH - 2 * strips.EDGE)

    return ([share(each["cx"]) for each in picture.find_all("circle")],
            [share(each["x1"]) for each in picture.select(".np-median")],
            [share(each["x1"]) for each in picture.select(".np-zero")])


def test_marks_lie_where_the_effects_are_on_one_scale_for_all_lines():
    rows = [row(0.10), row(0.30), row(0.20), row(-0.10, "not shown", "shapes")]
    digits, shapes = strips.lines(rows, UNITS["cosine"])
    assert (digits.place, shapes.place) == ("digits", "shapes")
    marks, middle, zero = places(digits)
    assert marks == pytest.approx([0.5, 1.0, 0.75], abs=0.01)  # from -0.1 to 0.3
    assert middle == pytest.approx([0.75], abs=0.01) and zero == pytest.approx([0.25], abs=0.01)
    assert places(shapes) == (pytest.approx([0.0]), [], pytest.approx([0.25], abs=0.01))
    assert (digits.size, digits.extent) == ("+0.20", "+0.10 to +0.30")
    assert (shapes.size, shapes.extent) == ("\u22120.10", "")  # it has no interval


def test_each_verdict_has_a_mark_of_its_own():
    (line,) = strips.lines([row(1.0), row(2.0, "contradicts"), row(3.0, "not shown")],
                           UNITS["score"])
    picture = BeautifulSoup(line.picture, "html.parser")
    assert [each["class"][1] for each in picture.select(".np-mark")] == [
        "np-for", "np-against", "np-open"]
    assert [each.name for each in picture.select(".np-mark")] == ["circle", "path", "circle"]
    assert len(strips.legend()) == 3


def test_the_interval_of_a_single_effect_is_drawn_and_the_scale_holds_it():
    (line,) = strips.lines([row(0.2, low=-0.2, high=0.6)], UNITS["cosine"])
    whisker = BeautifulSoup(line.picture, "html.parser").select_one(".np-whisker")
    assert float(whisker["x1"]) == strips.EDGE
    assert float(whisker["x2"]) == strips.WIDTH - strips.EDGE
    assert line.extent == "[\u22120.20, +0.60]"
    assert strips.heading([row(0.2)], UNITS["cosine"]) == "cosine: effect [95 % interval]"


def test_effects_that_are_alike_and_all_zero_have_a_place():
    (line,) = strips.lines([row(0.0), row(0.0)], UNITS["points"])
    assert (line.size, line.extent) == ("+0.0", "in each")
    assert places(line)[0] == pytest.approx([0.5, 0.5])


def test_conditions_under_which_it_holds_have_lines_of_their_own():
    rows = [row(0.3, condition="now"), row(0.2, condition="now"),
            row(-0.3, "contradicts", condition="later")]
    assert [line.place for line in strips.lines(rows, UNITS["cosine"])] == ["now", "later"]


def test_the_scale_holds_zero_where_all_effects_are_above_it():
    (line,) = strips.lines([row(0.2), row(0.4)], UNITS["cosine"])
    marks, _, zero = places(line)
    assert zero == [0.0] and marks == pytest.approx([0.5, 1.0], abs=0.01)
