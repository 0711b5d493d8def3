"""Intervals of how well a concept fits a neuron: set arithmetic on drawn images, and coverage of
what was planted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from neuronpath_core.neurons.fit_intervals import fit_intervals


def planted(images, shift, seed):
    """Patches of which a fifth is covered, in which the neuron is stronger by ``shift``."""
    rng = np.random.default_rng(seed)
    covers = (rng.random((images, 16)) < 0.2).astype(float)
    return rng.standard_normal((images, 16)) + shift * covers, covers


def test_intervals_are_those_of_drawn_images():
    maps, covers = planted(12, 1, 0)
    covers[0] *= 0.25  # covered in part
    found = fit_intervals(maps, 1.0, covers, seed=3, resamples=40)
    drawn = np.random.default_rng(3).multinomial(12, np.full(12, 1 / 12), 40)
    every = []
    for counts in [np.ones(12, int), *drawn]:
        rows = np.repeat(np.arange(12), counts)
        bits, own = maps[rows] > 1, covers[rows]
        every.append(np.minimum(bits, own).sum() / np.maximum(bits, own).sum())
    assert found["iou"]["value"] == pytest.approx(every[0], abs=1e-12)
    assert [found["iou"][end] for end in ("low", "high")] == pytest.approx(
        list(np.quantile(every[1:], [0.025, 0.975])), abs=1e-12)
    area = roc_auc_score((covers >= 0.5).ravel(), maps.ravel())
    assert found["auroc"]["value"] == pytest.approx(area, abs=1e-12)


def test_a_planted_fit_is_told_from_none_and_more_images_tell_it_better():
    """Of 100 neurons without a fit about five intervals leave out one half."""
    wrong = 0
    for seed in range(100):
        row = fit_intervals(*_with_limit(*planted(60, 0, seed)))["auroc"]
        wrong += not row["low"] <= 0.5 <= row["high"]
    assert wrong <= 13  # 3.5 standard errors above
    few, many = (fit_intervals(*_with_limit(*planted(count, 1, 0)))["auroc"] for count in (20, 500))
    assert few["low"] > 0.5 and many["high"] - many["low"] < 0.5 * (few["high"] - few["low"])


def _with_limit(maps, covers):
    return maps, float(np.quantile(maps, 0.9)), covers


def test_what_is_not_defined_and_what_is_empty():
    maps, covers = planted(5, 0, 0)
    none = fit_intervals(maps, 99.0, np.zeros_like(covers))
    assert none["iou"] == {"value": 0, "low": 0, "high": 0}
    assert np.isnan(list(none["auroc"].values())).all()
