"""Tests of scores, of a model, a circuit and random circuits, see
:mod:`~neuronpath_core.circuits.circuit_tests`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from neuronpath_core.stats.tests import LEVEL, holm
from neuronpath_core.support.numbers import check_open, check_within

if TYPE_CHECKING:
    from jaxtyping import Float

# of the share of images on which the circuit does better than the model; as in the paper's Table 1
EPSILON = 0.1
# q, the share of random circuits that a circuit must beat; the default of the paper's code
QUANTILE = 0.9


@dataclass(frozen=True)
class CircuitTest:
    """The outcome of one test.

    Attributes:
        name: one of ``TESTS``.
        statistic: of equivalence the share of images on which the circuit does better, ties counted
            as halves; of independence HSIC; of minimality the least share, over neurons, of
            inflated circuits that the neuron beats; else the share of random circuits beaten.
        p: of the null hypothesis; of minimality the smallest after Holm's correction.
        rejected: whether p is at most the level.
        passes: whether the circuit stands.
        n: images, or circuits drawn.
    """

    name: str
    statistic: float
    p: float
    rejected: bool
    passes: bool
    n: int


def equivalence(model: Float[np.ndarray, "image"], circuit: Float[np.ndarray, "image"],
                epsilon: float = EPSILON, margin: float = 0.0,
                level: float = LEVEL) -> CircuitTest:
    r"""Sign test of whether the circuit does as well as the model (the equivalence test of Shi et
    al., 2024).

    With t the share of images on which the circuit does better,

    .. math::

        p = \sum_{k:\, |k/n - 1/2| \ge |t - 1/2|} \binom{n}{k}
        (1/2 + \epsilon)^k (1/2 - \epsilon)^{n - k} ,

    the largest under the null hypothesis.  Scores that differ by at most ``margin`` count half for
    either side, so that a circuit that does the very same as the model is never rejected.

    Args:
        model, circuit: s(M) and s(C) of each image.
        epsilon: in [0, 1/2).
        margin: in units of the score.
        level: of the test.

    Raises:
        ValueError: scores that are not one finite number an image, or numbers out of range.
    """
    model, circuit = _checked_pair(model, circuit)
    check_within("epsilon", epsilon, 0, 0.5)
    check_within("margin", margin, 0, np.inf)
    check_open("level", level)
    difference, count = circuit - model, len(model)
    better = ((difference > margin).sum() + 0.5 * (np.abs(difference) <= margin).sum()) / count
    # in whole halves of images, so that rounding moves none across the border
    reach, doubled = round(abs(2 * count * better - count)), 2 * np.arange(count + 1) - count
    extreme = np.flatnonzero(np.abs(doubled) >= reach)
    p = min(1.0, float(stats.binom.pmf(extreme, count, 0.5 + epsilon).sum()))
    return CircuitTest("equivalence", float(better), p, p <= level, p > level, count)


def minimality(changes: Float[np.ndarray, "neuron"], inflated: Float[np.ndarray, "draw"],
               quantile: float = QUANTILE, rounding: float = 0.0,
               level: float = LEVEL) -> tuple[CircuitTest, pd.DataFrame]:
    r"""Whether every neuron of a circuit is worth more than random ones in an inflated circuit (the
    minimality test of Shi et al., 2024).

    Of R inflated circuits a neuron's change exceeds K.  Under the null hypothesis K is at least
    binomial with share q, so that :math:`p = P(\mathrm{Bin}(R, q) \le K)`, which Holm's method
    corrects for the number of neurons.  The circuit is not minimal if one of them is rejected.

    Args:
        changes: of the circuit's score when each neuron of it is removed.
        inflated: of an inflated circuit's score when a neuron is removed that was added at random.
        quantile: q, in (0, 1).
        rounding: a change that is larger by no more does not exceed another.
        level: of the family of tests.

    Returns:
        the test; and of each neuron ``change, beats, p, adjusted``.

    Raises:
        ValueError: no changes, changes that are not finite, or numbers out of range.
    """
    changes, inflated = _checked_changes(changes), _checked_changes(inflated)
    check_open("quantile", quantile)
    check_open("level", level)
    beaten = (changes[:, None] > inflated + rounding).sum(1)
    p = stats.binom.cdf(beaten, len(inflated), quantile)
    table = pd.DataFrame({"change": changes, "beats": beaten / len(inflated), "p": p,
                          "adjusted": holm(p)})
    least = float(table["adjusted"].min())
    return CircuitTest("minimality", float(table["beats"].min()), least, least <= level,
                       least > level, len(inflated)), table


def sufficiency(distance: float, others: Float[np.ndarray, "draw"], quantile: float = QUANTILE,
                rounding: float = 0.0, level: float = LEVEL) -> CircuitTest:
    r"""Whether a circuit is closer to the model than random circuits (the sufficiency test of Shi
    et al., 2024): :math:`p = P(\mathrm{Bin}(R, q) \ge K)`, K of R random circuits being further
    away.

    A random circuit that is as far away counts against the circuit, so that in a model in which
    random circuits do nothing, one that does nothing either is not sufficient.

    Args:
        distance: of the circuit from the model.
        others: of random circuits.
        quantile: q, in (0, 1).
        rounding: distances that differ by no more are equal.
        level: of the test.

    Raises:
        ValueError: distances that are not finite, or numbers out of range.
    """
    others = _checked_changes(others)
    own, = _checked_changes([distance])
    return _better("sufficiency", own + rounding < others, quantile, level)


def partial_necessity(effect: float, others: Float[np.ndarray, "draw"],
                      quantile: float = QUANTILE, rounding: float = 0.0,
                      level: float = LEVEL) -> CircuitTest:
    """Whether the removal of a circuit takes the model further from itself than the removal of
    random circuits (the test of partial necessity of Shi et al., 2024); otherwise as
    :func:`sufficiency`."""
    others = _checked_changes(others)
    own, = _checked_changes([effect])
    return _better("partial necessity", own > others + rounding, quantile, level)


def _better(name: str, won: np.ndarray, quantile: float, level: float) -> CircuitTest:
    check_open("quantile", quantile)
    check_open("level", level)
    p = float(stats.binomtest(int(won.sum()), len(won), quantile, "greater").pvalue)
    return CircuitTest(name, float(won.mean()), p, p <= level, p <= level, len(won))


def _checked_pair(model, circuit) -> tuple[np.ndarray, np.ndarray]:
    model, circuit = np.asarray(model, float), np.asarray(circuit, float)
    if model.ndim != 1 or len(model) == 0 or model.shape != circuit.shape or not (
            np.isfinite(model).all() and np.isfinite(circuit).all()):
        raise ValueError(f"scores of the model and the circuit have shapes {model.shape} and "
                         f"{circuit.shape}; accepted: one finite number an image in both")
    return model, circuit


def _checked_changes(values) -> np.ndarray:
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"changes of scores have shape {values.shape}; accepted: one dimension of "
                         "at least one finite number")
    return values
