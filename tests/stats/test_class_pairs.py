"""Intervals over classes of correlations over pairs of classes: against a loop that draws classes
and leaves out pairs of a class with itself, and how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from neuronpath_core.stats.class_pairs import pair_interval
from neuronpath_core.stats.mantel import mantel

CLASSES = 8


def matrix(seed, classes=CLASSES, whole=False):
    """Symmetric; of whole numbers, with ties."""
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 3, (classes, classes)) if whole else rng.random((classes, classes))
    return (table + table.T).astype(float)


def by_hand(first, second, given, chosen):
    """The statistic of classes that were drawn, pair after pair."""
    pairs = [(one, other) for place, one in enumerate(chosen) for other in chosen[:place]
             if one != other]
    ranks = [stats.rankdata([table[pair] for pair in pairs]) for table in (first, second, *given)]
    design = np.stack([np.ones(len(pairs)), *ranks[2:]], 1)
    rest = [own - design @ np.linalg.lstsq(design, own)[0] for own in ranks[:2]]
    sizes = [np.linalg.norm(own) for own in rest]
    return rest[0] @ rest[1] / (sizes[0] * sizes[1]) if min(sizes) > 1e-6 else 0.0


@pytest.mark.parametrize("given", [(), (3,), (3, 4), (3, 3)])
def test_the_interval_is_that_of_a_loop(given):
    first, second = matrix(1), matrix(2, whole=True)
    given = tuple(matrix(seed, whole=seed == 4) for seed in given)
    found = pair_interval(first, second, given, resamples=60, seed=5)
    drawn = np.random.default_rng(5).multinomial(CLASSES, np.full(CLASSES, 1 / CLASSES), 60)
    slow = [by_hand(first, second, given, np.repeat(np.arange(CLASSES), own)) for own in drawn]
    assert [found["low"], found["high"]] == pytest.approx(np.quantile(slow, [0.025, 0.975]))
    assert found["value"] == pytest.approx(mantel(first, second, given)["value"])


def test_many_pairs_are_taken_a_few_resamples_at_a_time(monkeypatch):
    whole = pair_interval(matrix(1), matrix(2), resamples=50)
    monkeypatch.setattr("neuronpath_core.stats.class_pairs.KEPT", 100)
    assert pair_interval(matrix(1), matrix(2), resamples=50) == pytest.approx(whole)


def test_it_is_over_classes_and_holds_what_there_is():
    """A relation to a place of every class is found; without one zero lies within the interval at
    least as often as it says."""
    rng, held = np.random.default_rng(0), []
    for _ in range(60):
        places, others = rng.random(20), rng.random(20)
        found = pair_interval(*(np.abs(own[:, None] - own) for own in (places, others)),
                              resamples=300)
        held.append(found["low"] <= 0 <= found["high"])
    assert np.mean(held) >= 0.95
    noisy = np.abs(places[:, None] - places) + 0.1 * matrix(0, 20)
    assert pair_interval(noisy, np.abs(places[:, None] - places))["low"] > 0.5


def test_what_does_not_vary_and_what_is_too_little():
    flat = np.ones((CLASSES, CLASSES))
    assert pair_interval(flat, matrix(1)) == {"value": 0.0, "low": 0.0, "high": 0.0}
    # what the given matrix explains whole has nothing left
    assert pair_interval(matrix(1), matrix(2), (matrix(1),)) == {"value": 0, "low": 0, "high": 0}
    with pytest.raises(ValueError, match="at least 3 classes"):
        pair_interval(matrix(1, 2), matrix(2, 2))
    with pytest.raises(ValueError, match="finite"):
        pair_interval(matrix(1), np.full((CLASSES, CLASSES), np.nan))
    with pytest.raises(ValueError, match="one shape"):
        pair_interval(matrix(1), matrix(2, 7))
