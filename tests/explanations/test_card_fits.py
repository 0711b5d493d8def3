"""What a card says of a concept's fit is what its table holds: beside chance by its own p, beside the
threshold, and whether that could be reached."""

from __future__ import annotations

import pytest

from book import neuron_cards
from neuronpath_core.explanations.card_fits import (
    above_chance,
    beside_chance,
    beside_threshold,
    detecting,
    overlap,
)
from neuronpath_core.explanations.card_words import summary

# the neuron that a reader found: above chance, below a threshold that it cannot reach
FOUND = {"iou": 0.0203523, "high": 0.0179335, "p": 0.03, "ceiling": 0.0227863, "detects": False}


@pytest.mark.parametrize("changed, chance, threshold, word", [
    ({}, "above chance (p = 0.03, uncorrected)",
     "below the 0.04 needed to count as a detector, which masks of these sizes cannot reach (at most 0.023)",
     "no, out of reach"),
    ({"ceiling": 0.5}, "above chance (p = 0.03, uncorrected)",
     "below the 0.04 needed to count as a detector, which masks of these sizes could reach (at most 0.500)", "no"),
    ({"ceiling": 0.5, "p": 0.2, "high": 0.03}, "not shown above chance (p = 0.2, uncorrected)",
     "below the 0.04 needed to count as a detector, which masks of these sizes could reach (at most 0.500)", "no"),
    ({"iou": 0.1, "ceiling": 0.5, "p": 0.2, "high": 0.3}, "not shown above chance (p = 0.2, uncorrected)",
     "though above the 0.04 needed to count as a detector", "no"),
    ({"iou": 0.1, "ceiling": 0.5, "p": 0.01, "high": 0.03, "detects": True},
     "above chance (p = 0.01, uncorrected)", "and above the 0.04 needed to count as a detector", "yes"),
    # few permutations: the quantile and the p part
    ({"iou": 0.1, "ceiling": 0.5, "p": 0.06, "high": 0.03, "detects": True},
     "above 95 % of other masks (p = 0.06, uncorrected)", "and above the 0.04 needed to count as a detector", "yes"),
    ({"p": None, "high": None}, "held against no other masks",
     "below the 0.04 needed to count as a detector, which masks of these sizes cannot reach (at most 0.023)",
     "no, out of reach"),
])
def test_words_of_a_fit(changed, chance, threshold, word):
    row = {**FOUND, **changed}
    assert (beside_chance(row), beside_threshold(row), detecting(row)) == (chance, threshold, word)


def test_overlaps_have_three_decimals():
    assert [overlap(each) for each in (0.000947, 0.0001, 0.0, 0.0204, None)] == [
        "0.001", "< 0.001", "0.000", "0.020", "–"]


def test_no_stored_card_says_the_opposite_of_its_table():
    """Counted anew from the tables of all cards of the book."""
    seen = {"above": 0, "not": 0, "out of reach": 0}
    for models in neuron_cards.stored().values():
        for card in (card for cards in models.values() for card in cards):
            if not (best := card["concepts"].numbers["best"]):
                continue
            row, said = best[0], summary(card)
            assert above_chance(row) == (row["p"] <= 0.05) == (", above chance" in said), card
            assert not (row["iou"] > row["high"] and "not shown above chance" in said), card
            reach = max(row["ceiling"], row["iou"]) > 0.04
            assert ("cannot reach" in said) == (not reach), card
            assert ("needed to count as a detector" in said) and ("and above the 0.04" in said) == row["detects"], card
            seen["above"] += above_chance(row)
            seen["not"] += "not shown above chance" in said
            seen["out of reach"] += not reach and above_chance(row)
    assert min(seen.values()) > 0, seen
