"""Rules say the side that they keep."""

from __future__ import annotations

import pytest

from neuronpath_core.stats import rules
from neuronpath_core.stats.rules import Rule


@pytest.mark.parametrize(("rule", "sentence", "sides"), [
    (rules.above("The lead"),
     "The lead; agrees if its 95 % bootstrap interval lies above zero.", (0.0, None)),
    (rules.above("The share", 0.5, interval=rules.OVER_CLASSES, then=rules.OR_BELOW),
     "The share; agrees if its 95 % bootstrap interval over classes lies above one half, "
     "contradicts if below.", (0.5, None)),
    (rules.below(interval="the whole interval", more="It has no p."),
     "Agrees if the whole interval lies below zero. It has no p.", (None, 0.0)),
    (rules.below("The share", 0.05, called="a twentieth"),
     "The share; agrees if its 95 % bootstrap interval lies below a twentieth.", (None, 0.05))])
def test_the_sentence_and_the_side_are_made_of_one_value(rule, sentence, sides):
    assert rule.sentence == sentence
    assert (rule.above, rule.below) == sides


def test_an_effect_leans_to_a_side_and_one_on_the_value_to_none():
    above, below = rules.above("A", 0.5), rules.below("B", 0.5)
    assert [above.leans(value) for value in (0.4, 0.5, 0.6)] == [False, False, True]
    assert [below.leans(value) for value in (0.4, 0.5, 0.6)] == [True, False, False]
    assert Rule("Agrees if the permutation test finds nothing.").leans(0.6) is None


@pytest.mark.parametrize(("make", "said"), [
    (lambda: rules.above("A", 0.3), "accepted: called=..., or one of 0.0, 0.5"),
    (lambda: Rule("Both.", 0.1, 0.9), "accepted: one side, or none")])
def test_what_is_refused_says_what_is_accepted(make, said):
    with pytest.raises(ValueError, match=said) as caught:
        make()
    assert "\n" not in str(caught.value)
