"""What comparisons amount to: every rule on both sides of its threshold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from book.chapters import read
from book.claims_pages import collect
from neuronpath_core.stats import rules
from neuronpath_core.stats.claims import Claim, Comparison
from neuronpath_core.stats.grades import counted, effect, grade, leaning, short
from neuronpath_core.stats.units import UNITS

PROBABILITY, SCORE, CORRELATION = (UNITS[name] for name in ("probability", "score", "correlation"))
SIDE = re.compile(r"agrees if\b[^;]*?\blies (above|below)", re.IGNORECASE)
WORDS = {"a": "agrees", "n": "not shown", "c": "contradicts"}


def rows(letters: str, value: float = 0.2, **fields: str) -> list[Comparison]:
    """A comparison per letter: agrees, not shown, contradicts."""
    return [Comparison(**{"data": "digits", "model": "m", "value": value, "low": value - 0.01,
                          "high": value + 0.01, "n": 48, "verdict": WORDS[letter]} | fields)
            for letter in letters]


@pytest.mark.parametrize(("letters", "text"), [
    ("a" * 4, "Yes"), ("a" * 9 + "n", "Yes"),  # nine in ten
    ("a", "Yes, of 1 comparison"), ("aaa", "Yes, of 3 comparisons"),  # fewer than four say so
    ("a" * 8 + "nn", "Partly"), ("a" * 71 + "n", "Yes"),
    ("a" * 99 + "c", "Partly"),  # nothing contradicts a Yes
    ("ann", "Partly"), ("annn", "Partly"),  # one in four is not few
    ("ac", "Mixed"), ("acnn", "Mixed"), ("aaccc", "Mixed"), ("acccn", "No, the opposite"),
    ("aaacnn", "Partly"), ("aaac", "Mixed"),  # one in four contradicts
    ("annnn", "Undecided"), ("n", "Undecided"),
    ("cc", "No, the opposite"), ("ccn", "No, the opposite"),
    ("cnn", "No, in 1 of 3"), ("cn", "No, in 1 of 2"),  # half is not more than half
    ("cnnn", "No, in 1 of 4"), ("cnnnn", "Undecided"), ("acccnnnn", "No, in 3 of 8"),
    ("acccc", "No, the opposite")])
def test_the_word(letters, text):
    assert str(grade(rows(letters), SCORE)) == text


@pytest.mark.parametrize(("values", "unit", "text"), [
    ((0.049, 0.049, 0.4, 0.4, 0.01), PROBABILITY, "Yes, tiny"),
    ((0.051, 0.051, 0.051, 0.001), PROBABILITY, "Yes"),
    ((0.29,) * 4, CORRELATION, "Yes, weak"), ((0.31,) * 4, CORRELATION, "Yes"),
    ((1e-9,) * 4, SCORE, "Yes")])  # a score has no size that means something
def test_a_small_effect_is_called_so_by_the_median(values, unit, text):
    assert str(grade([row for value in values for row in rows("a", value)], unit)) == text


def test_an_opposite_that_is_small_is_called_so_too():
    assert str(grade(rows("ccc", -0.03), PROBABILITY)) == "No, the opposite, tiny"
    assert str(grade(rows("ccc", -0.06), PROBABILITY)) == "No, the opposite"
    assert str(grade(rows("cccc", -0.03) + rows("n", 0.9), PROBABILITY)) == "No, the opposite, tiny"


def claim(rule: rules.Rule, *values: float) -> Claim:
    return Claim("key", "beyond", "It is so", tuple(row for value in values
                                                    for row in rows("n", value)),
                 "probability", "chance", rule, "table")


@pytest.mark.parametrize(("rule", "count"), [
    (rules.above("The lead"), 3), (rules.below(), 1), (rules.above("The share", 0.5), 1),
    (rules.above("Accuracy", -0.05, called="-5 points"), 4),
    (rules.above("What is on the value is on no side", 0.03, called="0.03"), 1),
    (rules.Rule("Agrees if the permutation test finds nothing."), None)])
def test_which_way_effects_lean_is_told_by_the_rule(rule, count):
    assert leaning(claim(rule, 0.6, 0.03, 0.01, -0.01)) == count


def test_every_rule_of_the_stored_chapters_puts_its_own_verdicts_on_its_side():
    """What a rule says and keeps is held against the verdicts that its chapter gave by it."""
    held = 0
    for name, found in collect(read(Path(__file__).resolve().parents[2])).items():
        rule = found.claim.rule
        if said := SIDE.search(rule.sentence):
            assert getattr(rule, said[1]) is not None, (name, rule)
        for row in found.rows:
            lean = rule.leans(row.value)
            if row.verdict != "not shown" and lean is not None:
                held += 1
                assert lean == (row.verdict == "agrees"), (name, row)
    assert held > 1000


@pytest.mark.parametrize(("sizes", "said", "told"), [
    ({"digits": (0.009,) * 8, "photographs": (0.075,) * 6}, "Yes, tiny on digits",
     "on digits: +0.9\u00a0% of the probability in each; on photographs: +7.5\u00a0% of the "
     "probability in each"),  # the median of all would be tiny
    ({"digits": (0.009,) * 6, "photographs": (0.075,) * 8}, "Yes, tiny on digits",
     "on digits: +0.9\u00a0% of the probability in each; on photographs: +7.5\u00a0% of the "
     "probability in each"),  # that of all would not
    ({"digits": (0.01,) * 4, "shapes": (0.02,) * 4, "photographs": (0.06,) * 2},
     "Yes, tiny on digits and shapes",
     "on digits: +1.0\u00a0% of the probability in each; on shapes: +2.0\u00a0% of the probability "
     "in each; on photographs: +6.0\u00a0% of the probability in each"),
    ({"digits": (0.01,) * 4, "shapes": (0.02,) * 4}, "Yes, tiny",
     "median +1.5\u00a0% of the probability, range +1.0 to +2.0"),
    ({"digits": (0.06,) * 4, "shapes": (0.08,) * 4}, "Yes",
     "median +7.0\u00a0% of the probability, range +6.0 to +8.0"),
    ({**{f"set {n}": (0.01,) * 2 for n in range(4)}, "set 4": (0.09,)},
     "Yes, tiny on 4 of 5 data sets",
     "set 0"),
])
def test_a_size_is_said_of_each_data_set_that_has_it(sizes, said, told):
    found = [row for data, values in sizes.items() for value in values
             for row in rows("a", value, data=data, low=None, high=None)]
    assert str(grade(found, PROBABILITY)) == said
    if told == "set 0":  # of more than three places a row shows the first and the least
        assert short(found, PROBABILITY).count("on set") == 2
        assert effect(found, PROBABILITY).count("on set") == 5
    else:
        assert effect(found, PROBABILITY) == short(found, PROBABILITY) == told


def test_the_size_of_what_is_opposed_is_said_of_each_data_set_too():
    found = rows("cc", -0.03, data="digits") + rows("ccc", -0.07, data="photographs")
    assert str(grade(found, PROBABILITY)) == "No, the opposite, tiny on digits"
    assert effect(found, PROBABILITY).startswith("on digits: \u22123.0")


def test_what_does_not_agree_has_no_say_in_the_size():
    assert str(grade(rows("aa", 0.3) + rows("nnn", 0.001), PROBABILITY)) == "Partly"
    assert str(grade(rows("aa", 0.001) + rows("nnn", 0.3), PROBABILITY)) == "Partly, tiny"


@pytest.mark.parametrize(("groups", "text"), [
    ((("aann", "at the class token"), ("cccc", "at all tokens")),
     "Mixed, agrees at the class token only"),
    ((("aann", "at the class token"), ("ncnn", "at all tokens")),
     "Partly, at the class token only"),
    ((("a", "left"), ("a", "right"), ("c", "midpoint")), "Mixed, not midpoint"),
    ((("a", "without decoys"), ("n", "among loud decoys"), ("n", "among steep decoys")),
     "Partly, without decoys only"),
    ((("a", "left"), ("a", "right"), ("n", "midpoint")), "Partly, not midpoint"),
    (tuple((letter, f"at {place}") for place, letter in enumerate("aaaannnn")),
     "Partly, under 4 of 8 conditions only"),
    ((("an", "left"), ("an", "right")), "Partly")])
def test_where_it_is_so_alone(groups, text):
    found = [row for letters, condition in groups for row in rows(letters, condition=condition)]
    assert str(grade(found, SCORE)) == text


def test_data_are_named_where_conditions_do_not_tell():
    found = rows("aaaa", data="shapes") + rows("nn", data="digits")
    assert str(grade(found, SCORE)) == "Partly, on shapes only"
    found = rows("aa", data="shapes", condition="left") + rows("nn", data="digits",
                                                               condition="right")
    assert str(grade(found, SCORE)) == "Partly, left only"


def test_a_tally_hides_no_size_and_an_interval_has_its_unit_and_n():
    found = rows("aaan", 0.03) + rows("c", -0.01)
    assert grade(found, PROBABILITY).tally == "3 of 5 agree, 1 not shown, 1 contradict"
    assert effect(found, PROBABILITY) == "median +3.0\u00a0% of the probability, range " \
                                         "\u22121.0 to +3.0"
    assert effect(rows("a", 0.03), PROBABILITY) == "+3.0\u00a0% of the probability [+2.0, +4.0]"
    assert effect(rows("a", 0.5), CORRELATION) == "correlation +0.50 [+0.49, +0.51]"
    assert CORRELATION.span(-0.1, 0.5) == "correlation \u22120.10 to +0.50"
    # two that would be written alike get a decimal more
    assert CORRELATION.span(0.101, 0.104) == "correlation +0.101 to +0.104"
    bare = Comparison("digits", "m", 0.031, None, None, 48, "agrees")
    assert PROBABILITY.interval(bare) == "+3.1\u00a0% of the probability"
    assert counted(found, "images") == "n = 48 images"
    assert counted([*found, *rows("a", n=24)], "images") == "n = 24 to 48 images"


def test_where_it_is_so_alone_each_place_has_its_own_effect():
    found = rows("aa", 0.3, condition="at the class token") + rows("c", -0.8,
                                                                   condition="at all tokens")
    assert effect(found, CORRELATION) == (
        "at the class token: correlation +0.30 in each; at all tokens: "
        "correlation \u22120.80 [\u22120.81, \u22120.79]")


def test_of_many_places_a_row_has_the_one_where_it_is_so_and_the_least():
    found = (rows("a", 0.9, condition="first") + rows("n", 0.4, condition="second")
             + rows("nc", -0.3, condition="third"))
    assert short(found, SCORE) == effect(found, SCORE)  # three places are no more than a row holds
    found += rows("a", 0.8, condition="fourth")
    assert short(found, SCORE) == ("first: score +0.900 [+0.890, +0.910]; third: score "
                                   "\u22120.300 in each")
    assert short(rows("aan", 0.2), SCORE) == "score +0.200 in each"
    assert short(rows("a", 0.2), SCORE) == "score +0.200 [+0.190, +0.210]"
    assert short(rows("nnnn", 0.2) + rows("c", -0.9, condition="x"),
                 SCORE) == "median score +0.200, range \u22120.900 to +0.200"


def test_a_value_that_rounds_to_zero_has_a_plus_sign():
    assert PROBABILITY.number(-0.0001) == "+0.0"


def test_nothing_has_no_grade():
    with pytest.raises(ValueError, match="at least one"):
        grade([], SCORE)


def test_every_threshold_says_why():
    assert all(unit.why for unit in UNITS.values() if unit.small is not None)
