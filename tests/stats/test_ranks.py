"""Ranks and areas under the ROC curve, held to counts of all pairs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from neuronpath_core.stats import ranks as ranked

CLOSE = 1e-12  # sums and quotients of at most a few hundred ranks in float64


def pairwise(values, inside):
    """The share of pairs in which the inner value is larger, ties one half."""
    pairs = list(itertools.product(values[inside], values[~inside]))
    return np.mean([(a > b) + (a == b) / 2 for a, b in pairs]) if pairs else np.nan


def drawn(ties: bool, rows: int = 20, places: int = 40):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, (rows, places)).astype(float) if ties else rng.normal(
        size=(rows, places))
    inside = rng.random((places, 4)) < 0.4
    inside[:, 2], inside[:, 3] = True, False
    return values, inside


@pytest.mark.parametrize("ties", [False, True])
def test_areas_are_the_share_of_pairs(ties):
    values, inside = drawn(ties)
    found = ranked.aurocs(values, inside)
    expected = [[pairwise(row, each) for each in inside.T] for row in values]
    np.testing.assert_allclose(found, expected, rtol=0, atol=CLOSE)
    assert np.isnan(found[:, 2:]).all() and np.isfinite(found[:, :2]).all()
    for row, area in zip(values, found, strict=True):
        assert area[0] == pytest.approx(roc_auc_score(inside[:, 0], row), abs=CLOSE)
        assert ranked.auroc(row, inside[:, 0]) == area[0]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ranks_are_scipys_and_mid_ranks_count_what_is_smaller(ties, dtype):
    values = drawn(ties)[0].reshape(2, 10, 40)
    np.testing.assert_array_equal(ranked.ranks(values), rankdata(values, axis=-1))
    tensor = torch.from_numpy(values).to(dtype)
    found = ranked.mid_ranks(tensor)
    smaller = (tensor[..., None] > tensor[..., None, :]).sum(-1)
    equal = (tensor[..., None] == tensor[..., None, :]).sum(-1) - 1
    assert found.dtype == dtype and torch.equal(found, (smaller + equal / 2).to(dtype))


def test_rows_are_ranked_alike_however_many_are_ranked_at_once(monkeypatch):
    values, inside = drawn(False, 35)
    monkeypatch.setattr(ranked, "RANKED", 16 * values.shape[1])
    assert [len(part) for part in ranked.few_rows(values)] == [16, 16, 3]
    np.testing.assert_array_equal(ranked.aurocs(values, inside)[-1],
                                  ranked.aurocs(values[-1:], inside)[0])


def test_rows_are_sorted_alike_however_many_are_sorted_at_once(monkeypatch):
    values = np.concatenate([drawn(False)[0], drawn(True)[0]])
    for at_once in (1, 16 * values.shape[1], 1 << 16):
        monkeypatch.setattr(ranked, "SORTED", at_once)
        np.testing.assert_array_equal(ranked.ranks(values), rankdata(values, axis=-1))
    assert ranked.ranks(np.empty((0, 4))).shape == (0, 4)
    assert ranked.ranks(np.empty((3, 0))).shape == (3, 0)


def test_of_nothing_there_is_no_area():
    assert np.isnan(ranked.auroc(np.zeros(0), np.zeros(0, bool)))
