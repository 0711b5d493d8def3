r"""Which neurons of a class's paths stay whatever few images are added to the class or removed.

The method is deletion subsampling, as in Certified Circuits (Anani et al., 2026, arXiv 2602.22968),
which builds on smoothing by deletion (RS-Del, Huang et al., 2023). It needs stored paths alone and
no pass of the model. A random subset S of the class's images X holds each image with probability p,
independently. Of S, block by block, the ``top`` neurons are *chosen* that most of its images have
on their paths. A tie chooses none: a neuron is chosen if fewer than ``top`` others are on at least
as many paths of S, and it is on one. The *vote* of a neuron is the probability

.. math:: P_X = \Pr[\text{chosen of } S], \qquad S \subseteq X .

**How far it can move.** Let X' differ from X: d images are gone and a are new. Write q = 1 - p, and
C for the images that both hold. S misses the d images that are gone with probability q^d, and then
is a random subset of C; of X' likewise with q^a. With P_C for the vote of C,

.. math::

    P_X \ge q^d P_C, \quad P_X \le q^d P_C + 1 - q^d, \quad
    P_{X'} \ge q^a P_C, \quad P_{X'} \le q^a P_C + 1 - q^a ,

because a probability lies in 0..1. Without P_C, by the second and the third,

.. math:: P_{X'} \ge q^a \Big(1 - \frac{1 - P_X}{q^d}\Big) .

It falls with a and with d. So a vote above 1/2 stays above 1/2 for every X' that r edits lead to if

==============  ==============================================  =======================
``edits``       an edit is                                      condition
==============  ==============================================  =======================
``"any"``       one image added, removed, or replaced           q^r > 3/2 - P    (a = d = r)
``"add"``       one image added                                 q^r > 1 / (2 P)  (a = r, d = 0)
``"remove"``    one image removed                               q^r > 2 (1 - P)  (a = 0, d = r)
==============  ==============================================  =======================

The rule that chooses may be any function of S; of what is not chosen the same holds with 1 - P.
Nothing can be said of added images where q <= 1/2, that is ``keep`` of a half or more.

**What is assumed.** An image's path does not depend on which other images are there; a path found
against a replacement value that is computed from the class's images, such as their mean, does. The
images added are arbitrary, so are their paths. The statement is about the vote and so about these
images, this model and this method, not about images to come.

**What a count allows besides.** The rule counts, so that the vote is computed exactly
(:func:`~neuronpath_core.circuits.votes.exact_votes`) and not estimated, unless ``samples`` are
asked for. And how many edits the plain vote of all images stands is known without any subset
(:func:`~neuronpath_core.circuits.radii.plain_radius`); it stands beside the certificate in every
table, as the simpler statement that a certificate has to be worth more than.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from neuronpath_core.circuits.radii import (
    ENDLESS,
    ROUNDING,
    Edits,
    certified_radius,
    check_settings,
    largest_radius,
    plain_radius,
)
from neuronpath_core.circuits.votes import exact_votes, sampled_votes
from neuronpath_core.support.numbers import check_open, check_whole
from neuronpath_core.support.tensors import whole_numbers
from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Int64

DECISIONS = ("in", "out", "abstained")
# Subsets. With so many the two bounds of a vote near 1/2 are 0.0033 apart at alpha = 0.001 for one
# row, and 0.0049 for a thousand rows together; ten times as many would only bring them to a third.
MOST_SAMPLES = 10**6


@dataclass(frozen=True)
class CertifiedPath:
    """What can be said of a class's path whatever few images are added or removed.

    Attributes:
        table: one row for each block and neuron that is on a path of the class: ``block`` (from 1),
            ``neuron``, ``count`` (images whose path holds it), ``vote`` (P, or its share of the
            samples), ``low, high`` (bounds of P), ``decision`` (``"in"``, ``"out"`` or
            ``"abstained"``), ``radius`` (of the side on which the vote lies, -1 if its bounds lie
            on both), ``plain_radius`` (of the plain vote of all images, -1 if that does not choose
            it). All other neurons of the layer are out, with vote 0 and the largest radius.
        radius: of the decisions: they hold after so many edits.
        keep, top, edits, samples, alpha, images: what the certificate was made with.
    """

    table: pd.DataFrame
    radius: int
    keep: float
    top: int
    edits: str
    samples: int | None
    alpha: float
    images: int

    @property
    def blocks(self) -> int:
        """L, layers of the paths."""
        return int(self.table["block"].max())

    @property
    def neurons(self) -> list[list[int]]:
        """Per block the neurons that are certified to be in the class's path, in order."""
        return self._of("in")

    @property
    def abstained(self) -> list[list[int]]:
        """Per block the neurons of which nothing is certified, in order."""
        return self._of("abstained")

    @property
    def votes(self) -> list[dict[int, float]]:
        """Per block the votes of the neurons that are on a path."""
        return [dict(zip(rows["neuron"].tolist(), rows["vote"].tolist(), strict=True))
                for _, rows in self.table.groupby("block")]

    def _of(self, decision: str) -> list[list[int]]:
        rows = self.table[self.table["decision"] == decision]
        return [rows.loc[rows["block"] == block, "neuron"].tolist()
                for block in range(1, self.blocks + 1)]

    def to_frame(self) -> pd.DataFrame:
        """A copy of the table."""
        return self.table.copy()


def certify(
    paths: Int64[np.ndarray, "image layer"] | Int64[Tensor, "image layer"], *, keep: float = 0.2,
    radius: int = 1, top: int = 1, edits: Edits = "any", samples: int | None = None,
    alpha: float = 0.001, seed: int = 0,
) -> CertifiedPath:
    """Certify which neurons are in the path of a class, and which are out, from its images' paths.

    A neuron is *in* if its vote stays above 1/2 for every set of images that ``radius`` edits lead
    to, *out* if it stays below; of the others the certificate abstains.

    Args:
        paths: whole numbers ``(image, layer)``, one neuron a block.
        keep: p, the probability with which a subset keeps an image. The smaller, the larger the
            radius that can be reached, and the harder it is for a neuron to win in so few images:
            q^r > 1/2 allows 3 edits at 0.2, 6 at 0.1, none at 0.5.
        radius: edits that the decisions stand, from 0 (only which side of 1/2 the vote is on).
        top: neurons that a subset chooses in a block.
        edits: ``"any"``, ``"add"`` or ``"remove"``, see above.
        samples: ``None`` for exact votes; a number of random subsets for the votes' Clopper-Pearson
            bounds, as of a rule that can only be tried, up to ``MOST_SAMPLES``.
        alpha: of samples, the probability that any decision or radius of the table is not the one
            that holds: each of the two bounds of each of the M rows is at ``alpha / (2 M)``
            (Bonferroni), M all blocks' neurons that are on a path, which are known before anything
            is drawn. For several classes together give each its part.
        seed: of the samples.

    Raises:
        ValueError: paths of another form, several neurons a block, or numbers outside their range,
            such as a radius that no vote can reach.
    """
    paths = as_paths(paths)
    check_settings(keep, edits)
    check_whole("radius", radius, 0)
    check_whole("top", top, 1)
    if samples is not None:
        check_whole("samples", samples, 1, MOST_SAMPLES, ", or None for exact votes")
    check_whole("seed", seed, 0)
    check_open("alpha", alpha)
    most = min(largest_radius(keep, edits), len(paths) if edits == "remove" else ENDLESS)
    if radius > most:
        raise ValueError(f"no vote can stand {radius} edits {shown(edits)} with keep {keep:g} and "
                         f"{len(paths)} images; accepted: a radius of at most {most}, or a "
                         "smaller keep")
    found = _with_bounds(paths, keep, top, samples, alpha, seed)
    columns: dict[str, list] = {}
    for block, (seen, votes, low, high) in enumerate(found):
        inside = np.minimum(certified_radius(low, keep, edits), most)
        outside = np.minimum(certified_radius(1 - high, keep, edits), most)
        of_block = {
            "block": np.full(len(seen), block + 1), "neuron": seen,
            "count": np.unique(paths[:, block], return_counts=True)[1], "vote": votes,
            "low": low, "high": high,
            "decision": np.select([inside >= radius, outside >= radius], DECISIONS[:2],
                                  DECISIONS[2]),
            "radius": np.maximum(inside, outside),
            "plain_radius": plain_radius(paths[:, block], top, edits)}
        for name, values in of_block.items():
            columns.setdefault(name, []).append(values)
    table = pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})
    return CertifiedPath(table, radius, keep, top, edits, samples, alpha, len(paths))


def _with_bounds(paths: np.ndarray, keep: float, top: int, samples: int | None, alpha: float,
                 seed: int) -> list[tuple[np.ndarray, ...]]:
    """Per block the neurons that are on a path, their votes, and bounds of these."""
    if samples is None:
        exact = [exact_votes(block, keep, top) for block in paths.T]
        return [(seen, votes, np.clip(votes - ROUNDING, 0, 1), np.clip(votes + ROUNDING, 0, 1))
                for seen, votes in exact]
    from statsmodels.stats.proportion import proportion_confint

    drawn = sampled_votes(paths, keep, samples, top, seed)
    tests = sum(len(seen) for seen, _ in drawn)
    return [(seen, votes / samples,
             *map(np.asarray, proportion_confint(votes, samples, alpha / tests, method="beta")))
            for seen, votes in drawn]


def as_paths(paths: np.ndarray | Tensor) -> Int64[np.ndarray, "image layer"]:
    """Paths on the host; ``ValueError`` unless they are whole numbers ``(image, layer)``."""
    return whole_numbers("paths", paths, (2,),
                         "(image, layer), one neuron a block of at least one image")
