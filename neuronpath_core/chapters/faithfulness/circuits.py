"""Tests of whether a path is the circuit of its images, beside planted truth and random paths."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.baselines import gradient_activation
from neuronpath_core.chapters.faithfulness.measured import AT, Case, ends
from neuronpath_core.circuits.circuit_tests import TESTS, CircuitTests, circuit_tests
from neuronpath_core.circuits.independence import independence
from neuronpath_core.circuits.random_circuits import drawn_like
from neuronpath_core.circuits.rankings import best_mask, neuron_mask, ranking
from neuronpath_core.circuits.score_tests import equivalence, partial_necessity, sufficiency
from neuronpath_core.models.planted import KINDS, SCOPES, planted_model
from neuronpath_core.random_paths import random_paths
from neuronpath_core.stats.intervals import wilson_interval

# differences that are taken for none, as a share of what all neurons do
MARGIN = 0.1
# minimality takes an inflated circuit a draw, so that of many random paths it is left out
OF_RANDOM = tuple(test for test in TESTS if test != "minimality")
PLANTED_IMAGES, PLANTED_BLOCKS = 12, 4
ALL = "all of them"
# of all neurons: so many that they should do what the model does, and leave nothing to do
LARGE = 0.3
BEST, RANDOM = "the best neurons", "random neurons"


def _frame(found: CircuitTests) -> pd.DataFrame:
    return found.to_frame().rename(columns={"name": "test"})[
        ["test", "statistic", "p", "passes", "n"]]


def path_tests(case: Case, found: Mapping[str, Mapping[str, Tensor]], draws: int = 30,
               seed: int = 0) -> pd.DataFrame:
    """Every test of the neuron path on every second image, neurons replaced by their mean:
    ``data, model, path, test, statistic, p, passes, n``.

    Differences of up to ``MARGIN`` of what all neurons do, in the mean over the images, are taken
    for none.
    """
    half, rows = case.select(slice(None, None, 2)), slice(None, None, 2)
    margin = MARGIN * abs(ends(half, AT))
    return half.named(_frame(circuit_tests(
        half.target, half.pictures, half.labels, found[AT]["neuron_path"][rows], half.values[AT],
        draws=draws, seed=seed, margin=margin)), path="neuron_path")


def random_tests(case: Case, draws: int = 30, seed: int = 0) -> pd.DataFrame:
    """The share of random paths that pass each of the tests, on every second image as in
    :func:`path_tests`.

    Of one random path more than ``draws`` each is tested against all others, which cost nothing
    more.

    Returns:
        ``data, model, test, passed, paths``; the last test is ``ALL``.
    """
    half = case.select(slice(None, None, 2))
    margin = MARGIN * abs(ends(half, AT))
    model = half.masked(AT)
    full = model.measures(None)["logit_difference"]
    kept, left = [], []
    for path in range(draws + 1):
        # each by a seed of its own, since several of one draw have no neuron in common
        mask = neuron_mask(half.target, random_paths(half.target, half.pictures, 1,
                                                     (draws + 1) * seed + path))
        kept.append(model.measures(mask)["logit_difference"])
        left.append(model.measures(~mask)["logit_difference"])
    return half.named(passing(full, np.array(kept), np.array(left), margin, seed))


def large_tests(case: Case, share: float = LARGE, seed: int = 0) -> pd.DataFrame:
    """Whether a large share of all neurons passes the two tests that need no others of its size: a
    positive control, the best by gradient × activation, and as many drawn at random.

    Returns:
        ``data, model, path`` (``BEST`` or ``RANDOM``), ``test, statistic, p, passes, n``, on every
        second image and with the margin of :func:`path_tests`.
    """
    half = case.select(slice(None, None, 2))
    margin = MARGIN * abs(ends(half, AT))
    model, target = half.masked(AT), half.target
    full = model.measures(None)["logit_difference"]
    scores = gradient_activation(target, half.pictures, half.labels, half.baseline(AT))
    drawn = torch.rand(scores.shape, generator=torch.Generator().manual_seed(seed)).to(scores)
    rows = []
    for path, own in ((BEST, scores), (RANDOM, drawn)):
        order = ranking(target, own, len(full))
        mask = best_mask(target, order, round(share * order.shape[1]))
        kept, left = (model.measures(each)["logit_difference"] for each in (mask, ~mask))
        rows += [{"path": path, "test": test.name, "statistic": test.statistic, "p": test.p,
                  "passes": test.passes, "n": test.n}
                 for test in (equivalence(full, kept, margin=margin),
                              independence(full, left, seed=seed, margin=margin))]
    return half.named(pd.DataFrame(rows))


def passing(full: np.ndarray, kept: np.ndarray, left: np.ndarray, margin: float,
            seed: int = 0) -> pd.DataFrame:
    """How many circuits pass each test, each beside all the others: ``test, passed, paths``.

    Args:
        full: the model's score, ``(image,)``.
        kept, left: that of every circuit and of its complement, ``(circuit, image)``.
        margin: in units of the score.
    """
    close, effect = (np.sqrt(((each - full) ** 2).mean(1)) for each in (kept, left))
    outcomes = []
    for path in range(len(kept)):
        tests = (equivalence(full, kept[path], margin=margin),
                 independence(full, left[path], seed=seed, margin=margin),
                 sufficiency(close[path], np.delete(close, path)),
                 partial_necessity(effect[path], np.delete(effect, path)))
        outcomes.append([test.passes for test in tests])
    passed = np.array(outcomes)
    return pd.DataFrame([
        {"test": test, "passed": int(own.sum()), "paths": len(passed)}
        for test, own in [*zip(OF_RANDOM, passed.T, strict=True), (ALL, passed.all(1))]])


def planted_tests(networks: int = 4, draws: int = 30, seed: int = 0) -> pd.DataFrame:
    """Every test of the planted path and of a random one in networks with planted paths.

    Neurons are replaced by zero there, where all others have small weights.

    Args:
        networks: of each kind, scopes in turn.

    Returns:
        ``kind, network, path`` (``"planted"`` or ``"random"``), ``test, statistic, p, passes, n``.
    """
    found = []
    for kind in KINDS:
        for number in range(networks):
            network = planted_model(kind, SCOPES[number % len(SCOPES)],
                                    seed=seed + number // len(SCOPES), n_images=PLANTED_IMAGES,
                                    blocks=PLANTED_BLOCKS)
            target, images, labels = network.target, network.images, network.labels
            zero = torch.zeros(1, 1, 1, 1, 1, dtype=target.dtype, device=target.device).expand(
                1, 1, target.n_blocks, 1, target.n_neurons)
            case = Case("planted", kind, target, images, labels, {"zero": zero})
            margin = MARGIN * abs(ends(case, "zero"))
            for path, neurons in (("planted", network.neurons),
                                  ("random", drawn_like(target, network.neurons, [seed, 9]))):
                tests = _frame(circuit_tests(target, images, labels, neurons, draws=draws,
                                             seed=seed, margin=margin))
                found.append(tests.assign(kind=kind, network=number, path=path))
    return pd.concat(found, ignore_index=True)


def planted_rates(table: pd.DataFrame) -> pd.DataFrame:
    """The share of networks in which the planted path passes all tests, and of those in which the
    random one does not: ``data, model`` (the kind), ``path, networks, value, low, high`` (Wilson).
    """
    rows = []
    for (path, kind), own in table.groupby(["path", "kind"], sort=False):
        passed = own.groupby("network")["passes"].all()
        right = float((passed == (path == "planted")).mean())
        low, high = wilson_interval(right, len(passed))
        rows.append({"data": "planted", "model": kind, "path": path, "networks": len(passed),
                     "value": right, "low": low, "high": high})
    return pd.DataFrame(rows)


def random_rates(table: pd.DataFrame) -> pd.DataFrame:
    """:func:`random_tests` as shares that pass, ``value, low, high`` (Wilson, over paths)."""
    share = table["passed"] / table["paths"]
    ends_ = [wilson_interval(value, count) for value, count in zip(share, table["paths"],
                                                                   strict=True)]
    return table.assign(value=share, low=[low for low, _ in ends_],
                        high=[high for _, high in ends_])
