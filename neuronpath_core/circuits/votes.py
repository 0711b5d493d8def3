"""The votes of neurons over random subsets of images, see
:mod:`~neuronpath_core.circuits.certified`: exactly, and by sampling."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

SAMPLES_AT_ONCE = 4096


def exact_votes(neurons: Int64[np.ndarray, "image"], keep: float,
                top: int = 1) -> tuple[Int64[np.ndarray, "seen"], Float[np.ndarray, "seen"]]:
    r"""Neurons of one block that are on a path, in order, and their votes P, without sampling.

    An image has one neuron in a block, so that the counts of different neurons in S are
    independent, :math:`c_j \sim \mathrm{Binomial}(m_j, p)` with m_j the neuron's images, and

    .. math:: P = \sum_{x \ge 1} \Pr[c_j = x]\, \Pr[\#\{k \ne j : c_k \ge x\} < \mathrm{top}] ,

    the second factor by convolution over the others. All terms are positive, so that nothing
    cancels.
    """
    seen, images = np.unique(neurons, return_counts=True)
    held, group, sizes = np.unique(images, return_inverse=True, return_counts=True)
    votes = votes_of_counts(tuple(held.tolist()), tuple(sizes.tolist()), keep, top)
    return seen, votes[group]


@lru_cache(maxsize=10_000)
def votes_of_counts(held: tuple[int, ...], sizes: tuple[int, ...], keep: float,
                     top: int) -> Float[np.ndarray, "count"]:
    """The vote of a neuron for each of the different numbers of images ``held``, where ``sizes``
    neurons hold so many: it depends on nothing else, and blocks repeat it."""
    top = min(top, sum(sizes))  # more can never be chosen
    equal, at_least = _binomial(int(np.dot(held, sizes)), keep)
    votes, counts = np.zeros(len(held)), np.array(held)
    for least in range(1, held[-1] + 1):
        can = np.flatnonzero(counts >= least)  # the others cannot reach so many
        fewer = np.zeros((len(can), top))  # by number of others that reached as many
        fewer[:, 0] = 1
        for row, other in enumerate(can):
            chance = at_least[held[other], least]
            among = np.tile(_few(sizes[other], chance, top), (len(can), 1))
            among[row] = _few(sizes[other] - 1, chance, top)  # of itself it is no other
            before, fewer = fewer, np.zeros_like(fewer)
            for happened in range(top):
                fewer[:, happened:] += before[:, :top - happened] * among[:, happened:happened + 1]
        votes[can] += equal[counts[can], least] * fewer.sum(1)
    votes.setflags(write=False)
    return votes


def _few(count: int, chance: float, top: int) -> Float[np.ndarray, "top"]:
    """The probability that 0 .. top - 1 of ``count`` independent events happen, each of which does
    with ``chance``."""
    return np.array([math.comb(count, happened) * chance ** happened
                     * (1 - chance) ** max(count - happened, 0) for happened in range(top)])


@lru_cache(maxsize=8)
def _binomial(most: int, keep: float) -> tuple[np.ndarray, np.ndarray]:
    """``(trials, successes)``: the probability of so many, and of at least so many."""
    trials, successes = np.meshgrid(*2 * [np.arange(most + 1)], indexing="ij")
    return (stats.binom.pmf(successes, trials, keep),
            stats.binom.sf(successes - 1, trials, keep))


def sampled_votes(
    paths: Int64[np.ndarray, "image layer"], keep: float, samples: int, top: int = 1, seed: int = 0
) -> list[tuple[Int64[np.ndarray, "seen"], Int64[np.ndarray, "seen"]]]:
    """Per block the neurons that are on a path, in order, and in how many of ``samples`` random
    subsets each is chosen; the subsets are the same for every block."""
    rng = np.random.default_rng(seed)
    columns = [np.unique(block, return_inverse=True) for block in paths.T]
    member = [np.eye(len(seen), dtype=np.float32)[of_image] for seen, of_image in columns]
    chosen = [np.zeros(len(seen), dtype=np.int64) for seen, _ in columns]
    for start in range(0, samples, SAMPLES_AT_ONCE):
        count = min(SAMPLES_AT_ONCE, samples - start)
        kept = (rng.random((count, len(paths))) < keep).astype(np.float32)
        for block, of_image in enumerate(member):
            chosen[block] += chosen_of_counts(kept @ of_image, top).sum(0)
    return [(seen, votes) for (seen, _), votes in zip(columns, chosen, strict=True)]


def chosen_of_counts(counts: Float[np.ndarray, "subset neuron"],
            top: int) -> Bool[np.ndarray, "subset neuron"]:
    """Neurons with more images than the largest count but ``top``, and with any."""
    if counts.shape[1] <= top:
        return counts > 0
    return counts > -np.partition(-counts, top, axis=1)[:, top:top + 1]
