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

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.circuits.curves import MEASURES
from neuronpath_core.circuits.independence import PERMUTATIONS, independence
from neuronpath_core.circuits.masked_model import MaskedModel
from neuronpath_core.circuits.random_circuits import drawn_like
from neuronpath_core.circuits.rankings import circuit_neurons, neuron_mask
from neuronpath_core.circuits.score_tests import (
    EPSILON,
    QUANTILE,
    CircuitTest,
    equivalence,
    minimality,
    partial_necessity,
    sufficiency,
)
from neuronpath_core.stats.tests import LEVEL
from neuronpath_core.support.numbers import check_open, check_whole, check_within
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

DRAWS = 100
# of so many random circuits the share that is beaten is known to 0.003 (95 %, near a half)
MOST_DRAWS = 10**5
# scores that differ by no more than this, in units of the score, are equal: far below any effect,
# above what masks do to logits in double and in single precision (see interventions.LOGIT_MARGIN)
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4}
TESTS = ("equivalence", "independence", "minimality", "sufficiency", "partial necessity")


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
            :meth:`~neuronpath_core.circuits.masked_model.MaskedModel.of`.
        measure: the score, ``"logit_difference"`` or ``"probability"``.
        draws: R, random circuits of each kind, 1..``MOST_DRAWS``; with q = 0.9 and a level of 0.05
            no circuit can be sufficient or necessary by fewer than 29.
        seed: of what is drawn.
        margin: in units of the score, differences that are none, see
            :func:`~neuronpath_core.circuits.score_tests.equivalence` and
            :func:`~neuronpath_core.circuits.independence.independence`; with 0, as published, only
            those of rounding.  A circuit that does 1 % better than the model on every image is
            otherwise as surely rejected as one that does nothing.
        epsilon, quantile, level: of the tests.

    Raises:
        ValueError: what does not fit, fewer than three images, or a layer without a neuron to
            inflate by.
    """
    if not is_one_of(measure, MEASURES):
        raise ValueError(f"unknown measure {shown(measure)}; accepted: {', '.join(MEASURES)}")
    check_whole("draws", draws, 1, MOST_DRAWS)
    check_whole("seed", seed, 0)
    check_within("margin", margin, 0, np.inf)
    check_within("epsilon", epsilon, 0, 0.5)
    check_open("quantile", quantile)
    check_open("level", level)
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
