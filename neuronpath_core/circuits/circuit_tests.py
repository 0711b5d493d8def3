r"""Tests of the hypothesis that some neurons are a circuit (Shi et al., 2024, "Hypothesis testing
the circuit hypothesis in LLMs").

A circuit C is a set of neurons, of each image or the same for all.  Kept alone, all others
replaced, it has the score s(C) on an image; with it replaced and all others kept, its complement
has :math:`s(\bar C)`; the model has s(M).

=================  ===========================================================  ===================
test               null hypothesis                                              a circuit, if it is
=================  ===========================================================  ===================
equivalence        :math:`|P(s(C) > s(M)) - 1/2| < \epsilon`                    not rejected
independence       :math:`s(\bar C)` and s(M) are independent over images       not rejected
minimality         for every neuron e of C: its removal changes s(C) more than  not rejected
                   the removal of a random neuron does an inflated circuit's,
                   in a share of at least q of the inflated circuits
sufficiency        C is closer to M than a share of at most q of random         rejected
                   circuits of its size
partial necessity  without C the score is further from M than without a random  rejected
                   circuit of its size, for a share of at most q of them
=================  ===========================================================  ===================

*Change* and *distance* are the root of the mean squared difference of scores over images, which
ranks as the mean square does that the code of the paper takes.  The first three say that something
is *not* a circuit; where they do not reject, the images may only have been too few.  The other two
say that it is better than chance, which a part of a circuit is too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import stats
from scipy.spatial.distance import pdist, squareform
from torch import Tensor

from neuronpath_core.circuits.faithfulness import (
    MEASURES,
    MaskedModel,
    circuit_neurons,
    neuron_mask,
)
from neuronpath_core.layers import Layer
from neuronpath_core.stats.tests import LEVEL, holm
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

# of the share of images on which the circuit does better than the model; as in the paper's Table 1
EPSILON = 0.1
# q, the share of random circuits that a circuit must beat; the default of the paper's code
QUANTILE = 0.9
DRAWS = 100
PERMUTATIONS = 999
# scores that differ by no more than this, in units of the score, are equal: far below any effect,
# above what masks do to logits in double and in single precision (see interventions.LOGIT_MARGIN)
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4}
TESTS = ("equivalence", "independence", "minimality", "sufficiency", "partial necessity")


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


@dataclass(frozen=True)
class CircuitTests:
    """All tests of one circuit.

    Attributes:
        tests: by name.
        neurons: a row for each neuron of the circuit: ``layer, rank``, ``change`` of the score when
            it is removed from the circuit, in the unit of the score; the share of inflated circuits
            that it ``beats``; ``p`` and, by Holm's correction, ``adjusted``.
    """

    tests: dict[str, CircuitTest]
    neurons: pd.DataFrame

    @property
    def passes(self) -> bool:
        """Whether the circuit stands all tests."""
        return all(test.passes for test in self.tests.values())

    def to_frame(self) -> pd.DataFrame:
        """A row for each test: ``name, statistic, p, rejected, passes, n``."""
        return pd.DataFrame([asdict(test) for test in self.tests.values()])


# --- tests of scores ---


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
    _check_within("epsilon", epsilon, 0, 0.5)
    _check_within("margin", margin, 0, np.inf)
    _check_open("level", level)
    difference, count = circuit - model, len(model)
    better = ((difference > margin).sum() + 0.5 * (np.abs(difference) <= margin).sum()) / count
    # in whole halves of images, so that rounding moves none across the border
    reach, doubled = round(abs(2 * count * better - count)), 2 * np.arange(count + 1) - count
    extreme = np.flatnonzero(np.abs(doubled) >= reach)
    p = min(1.0, float(stats.binom.pmf(extreme, count, 0.5 + epsilon).sum()))
    return CircuitTest("equivalence", float(better), p, p <= level, p > level, count)


def hsic(first: Float[np.ndarray, "image image"], second: Float[np.ndarray, "image image"]
         ) -> float:
    r"""The Hilbert-Schmidt independence criterion of two kernel matrices,
    :math:`\mathrm{tr}(KHLH)/(n-1)^2` with :math:`H_{ij} = \delta_{ij} - 1/n` (Gretton et al.,
    2005)."""
    return float((_centred(first) * second).sum() / (len(first) - 1) ** 2)


def _centred(kernel: np.ndarray) -> np.ndarray:
    rows = kernel - kernel.mean(0)
    return rows - rows.mean(1, keepdims=True)


def gaussian_kernel(values: Float[np.ndarray, "image *feature"],
                    margin: float = 0.0) -> Float[np.ndarray, "image image"]:
    r""":math:`\exp(-|x - y|^2 / 2\sigma^2)` with σ the median distance of values that differ; all
    ones if none differ by more than ``margin``."""
    values = np.asarray(values, float)
    distances = pdist(values.reshape(len(values), -1))
    if not (distances > margin).any():
        return np.ones((len(values),) * 2)
    width = np.median(distances[distances > 0])
    return np.exp(-squareform(distances) ** 2 / (2 * width**2))


def same_kernel(names: Int64[np.ndarray, "image"]) -> Float[np.ndarray, "image image"]:
    """1 for two images of one name, such as a label, else 0."""
    names = np.asarray(names)
    return (names[:, None] == names[None]).astype(float)


def independence(model: Float[np.ndarray, "image"],
                 complement: Float[np.ndarray, "image *feature"],
                 permutations: int = PERMUTATIONS, seed: int = 0, margin: float = 0.0,
                 level: float = LEVEL) -> CircuitTest:
    r"""Permutation test of :func:`hsic` between what is left without the circuit and the model
    (the independence test of Shi et al., 2024).

    .. math:: p = \frac{1 + \#\{\text{permutations with HSIC at least that observed}\}}{1 + B}

    The kernels are Gaussian, each with the median distance of its own values for width (as Gretton
    et al., 2007, choose it; the code of Shi et al. has one width for both).  A complement whose
    scores are all the same depends on nothing, and p is 1.

    Args:
        model: s(M) of each image; whole numbers (labels) are compared by whether they are the same.
        complement: the complement's score, or its logits, of each image.
        permutations: B, at most; of few images all permutations.
        seed: of the permutations.
        margin: a complement whose scores all lie within so much of one another, in units of the
            score, is taken for constant.
        level: of the test.

    Raises:
        ValueError: fewer than three images, values that are not finite, or numbers out of range.
    """
    model, complement = np.asarray(model), np.asarray(complement, float)
    if model.ndim != 1 or len(model) < 3 or complement.ndim not in (1, 2) or len(
            complement) != len(model):
        raise ValueError(f"model and complement have shapes {model.shape} and {complement.shape}; "
                         "accepted: one value, or one row, of each of at least three images")
    if not (np.isfinite(model).all() and np.isfinite(complement).all()):
        raise ValueError("scores hold NaN or infinite values; accepted: finite ones")
    _check_whole("permutations", permutations, 1)
    _check_whole("seed", seed, 0)
    _check_within("margin", margin, 0, np.inf)
    _check_open("level", level)
    whole = np.issubdtype(model.dtype, np.integer)
    kernel = _centred(same_kernel(model) if whole else gaussian_kernel(model))
    other, scale = gaussian_kernel(complement, margin), (len(model) - 1) ** 2

    def statistic(order: np.ndarray) -> float:
        return float((kernel * other[np.ix_(order, order)]).sum() / scale)

    if (other == 1).all() or not kernel.any():
        return CircuitTest("independence", 0.0, 1.0, False, True, len(model))
    found = stats.permutation_test((np.arange(len(model)),), statistic, alternative="greater",
                                   permutation_type="pairings", n_resamples=permutations,
                                   vectorized=False, rng=np.random.default_rng(seed))
    p = float(found.pvalue)
    return CircuitTest("independence", float(found.statistic), p, p <= level, p > level,
                       len(model))


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
    _check_open("quantile", quantile)
    _check_open("level", level)
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
    _check_open("quantile", quantile)
    _check_open("level", level)
    p = float(stats.binomtest(int(won.sum()), len(won), quantile, "greater").pvalue)
    return CircuitTest(name, float(won.mean()), p, p <= level, p <= level, len(won))


# --- tests of neurons ---


def circuit_tests(
    target: TargetModel, images: Float[Tensor, "image channel height width"],
    labels: Int64[Tensor, "image"], neurons: Int64[Tensor, "image layer"],
    values: Float[Tensor, "*draw image layer token neuron"] | None = None,
    measure: str = "logit_difference", draws: int = DRAWS, seed: int = 0, margin: float = 0.0,
    epsilon: float = EPSILON, quantile: float = QUANTILE, level: float = LEVEL,
) -> CircuitTests:
    """All tests of whether paths, or other neurons, are the circuit of their images.

    The score is a measure of :mod:`~neuronpath_core.circuits.faithfulness`.  Of a circuit that
    differs from image to image a neuron is its place, layer and rank: minimality asks whether the
    neurons of a place are worth their while over the images.  A random circuit has as many neurons
    in every layer; an inflated one has one more, which the circuit lacks, in every layer, of which
    one is removed again.  Images with the same circuit are given the same random one, so that of a
    circuit for all images random ones are for all images too.

    It takes about four forward passes an image and drawn circuit, and one a neuron of the circuit.

    Args:
        target: the model.
        images, labels: a batch, whose images are the sample; classes may mix.
        neurons: int64 ``(image, layer)`` or ``(image, layer, rank)``, of each image, or of one for
            all.
        values: what replaces a neuron, see
            :meth:`~neuronpath_core.circuits.faithfulness.MaskedModel.of`.
        measure: the score, ``"logit_difference"`` or ``"probability"``.
        draws: R, random circuits of each kind, at least 1; with q = 0.9 and a level of 0.05 no
            circuit can be sufficient or necessary by fewer than 29.
        seed: of what is drawn.
        margin: in units of the score, differences that are none, see :func:`equivalence` and
            :func:`independence`; with 0, as published, only those of rounding.  A circuit that
            does 1 % better than the model on every image is otherwise as surely rejected as one
            that does nothing.
        epsilon, quantile, level: of the tests.

    Raises:
        ValueError: what does not fit, fewer than three images, or a layer without a neuron to
            inflate by.
    """
    if not is_one_of(measure, MEASURES):
        raise ValueError(f"unknown measure {shown(measure)}; accepted: {', '.join(MEASURES)}")
    _check_whole("draws", draws, 1)
    _check_whole("seed", seed, 0)
    _check_within("margin", margin, 0, np.inf)
    _check_within("epsilon", epsilon, 0, 0.5)
    _check_open("quantile", quantile)
    _check_open("level", level)
    model = MaskedModel.of(target, images, labels, values)
    ranked = circuit_neurons(target, neurons, len(images))
    if len(images) < 3:
        raise ValueError(f"independence cannot be tested on {len(images)} images; accepted: at "
                         "least three images")
    rounding = ROUNDING.get(target.dtype, ROUNDING[torch.float32])
    own = neuron_mask(target, ranked)

    def score(mask: Tensor | None) -> np.ndarray:
        return model.measures(mask)[measure]

    full, kept, left = score(None), score(own), score(~own)
    places = [(layer, rank) for layer in range(ranked.shape[1]) for rank in range(ranked.shape[2])]
    changes = [_apart(kept, score(_without(own, layer, ranked[:, layer, [rank]])))
               for layer, rank in places]
    close, necessary, inflated = [], [], []
    for draw in range(draws):
        random = neuron_mask(target, drawn_like(target, ranked, [seed, draw, 0]))
        close.append(_apart(full, score(random)))
        necessary.append(_apart(full, score(~random)))
        added = drawn_like(target, ranked, [seed, draw, 1], outside=True)
        larger = own | neuron_mask(target, added)
        # of every layer in turn, so that all have as many
        layer = draw % len(target.layers)
        inflated.append(_apart(score(larger), score(_without(larger, layer, added[:, layer]))))
    minimal, table = minimality(np.array(changes), np.array(inflated), quantile, rounding, level)
    table.insert(0, "layer", [layer for layer, _ in places])
    table.insert(1, "rank", [rank for _, rank in places])
    tests = (equivalence(full, kept, epsilon, max(margin, rounding), level),
             independence(full, left, PERMUTATIONS, seed, max(margin, rounding), level),
             minimal,
             sufficiency(_apart(full, kept), np.array(close), quantile, rounding, level),
             partial_necessity(_apart(full, left), np.array(necessary), quantile, rounding, level))
    return CircuitTests({test.name: test for test in tests}, table)


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    """The root of the mean squared difference, in the unit of the score."""
    return float(((first - second) ** 2).mean() ** 0.5)


def _without(mask: Tensor, layer: int, neurons: Int64[Tensor, "image rank"]) -> Tensor:
    mask = mask.clone()
    mask[:, layer] = mask[:, layer].scatter(1, neurons, False)
    return mask


def drawn_like(target: TargetModel, ranked: Int64[Tensor, "image layer rank"],
               seed: Sequence[int], outside: bool = False) -> Int64[Tensor, "image layer rank"]:
    """Random neurons, as many in every layer as circuits have; or, with ``outside``, one in every
    layer that a circuit lacks.

    The draw depends on the seed and on the circuit alone, so that images with the same circuit have
    the same draw.

    Raises:
        ValueError: a layer all of whose neurons are in the circuit, and ``outside``.
    """
    known: dict[bytes, np.ndarray] = {}
    drawn = []
    for own in ranked.cpu().sort(-1).values.numpy():
        key = own.astype("<i8").tobytes()
        if key not in known:
            rng = np.random.default_rng([*seed, int.from_bytes(hashlib.sha256(key).digest()[:8],
                                                               "big")])
            known[key] = np.stack([_drawn_of(layer, row, rng, outside)
                                   for layer, row in zip(target.layers, own, strict=True)])
        drawn.append(known[key])
    return torch.from_numpy(np.stack(drawn)).to(ranked.device)


def _drawn_of(layer: Layer, own: np.ndarray, rng: np.random.Generator,
              outside: bool) -> np.ndarray:
    if not outside:
        return rng.choice(layer.units, len(own), replace=False)
    free = np.setdiff1d(np.arange(layer.units), own)
    if not len(free):
        raise ValueError(f"all {layer.units} neurons of {layer.name} are in the circuit, so that "
                         "none can inflate it; accepted: circuits that leave one out")
    return rng.choice(free, 1)


# --- what is accepted ---


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


def _check_within(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value < high:
        raise ValueError(f"{name} must be a number in [{low}, {high}), got {shown(value)}")


def _check_open(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1:
        raise ValueError(f"{name} must be a number between 0 and 1, got {shown(value)}")


def _check_whole(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {shown(value)}")
