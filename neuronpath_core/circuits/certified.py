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
(:func:`exact_votes`) and not estimated, unless ``samples`` are asked for. And how many edits the
plain vote of all images stands is known without any subset (:func:`plain_radius`); it stands beside
the certificate in every table, as the simpler statement that a certificate has to be worth more
than.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy import stats
from torch import Tensor

from neuronpath_core.stats.tests import shuffled_labels
from neuronpath_core.support.text import is_one_of, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

Edits = Literal["any", "add", "remove"]
# by the vote, what q^r must exceed
NEEDED = {"any": lambda vote: 1.5 - vote, "add": lambda vote: 0.5 / np.maximum(vote, 0.5),
          "remove": lambda vote: 2 * (1 - vote)}
# by how much an exact vote may be off, which the tests hold against enumeration; and how much more
# than equal counts as more where q^r is compared
ROUNDING = 1e-12
ENDLESS = int(np.iinfo(np.int64).max)
DECISIONS = ("in", "out", "abstained")
SAMPLES_AT_ONCE = 4096


# --- votes ---


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
    votes = _votes_of_counts(tuple(held.tolist()), tuple(sizes.tolist()), keep, top)
    return seen, votes[group]


@lru_cache(maxsize=10_000)
def _votes_of_counts(held: tuple[int, ...], sizes: tuple[int, ...], keep: float,
                     top: int) -> Float[np.ndarray, "count"]:
    """The vote of a neuron for each of the different numbers of images ``held``, where ``sizes``
    neurons hold so many: it depends on nothing else, and blocks repeat it."""
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
            chosen[block] += _chosen(kept @ of_image, top).sum(0)
    return [(seen, votes) for (seen, _), votes in zip(columns, chosen, strict=True)]


def _chosen(counts: Float[np.ndarray, "subset neuron"],
            top: int) -> Bool[np.ndarray, "subset neuron"]:
    """Neurons with more images than the largest count but ``top``, and with any."""
    if counts.shape[1] <= top:
        return counts > 0
    return counts > -np.partition(-counts, top, axis=1)[:, top:top + 1]


# --- radii ---


def certified_radius(vote: float | Float[np.ndarray, "*shape"], keep: float,
                     edits: Edits = "any") -> Int64[np.ndarray, "*shape"]:
    """The largest number r of edits after which a vote of at least ``vote`` is still above 1/2, by
    the condition in the table above.

    Args:
        vote: P, or a bound that it is not below, in 0..1.
        keep: p, above 0 and below 1.

    Returns:
        int64; -1 where the vote is not above 1/2, and ``ENDLESS`` where no number of edits
        changes anything.
    """
    _check_settings(keep, edits)
    vote = np.asarray(vote, float)
    if not ((vote >= 0) & (vote <= 1)).all():
        raise ValueError("a vote lies outside 0..1; accepted: probabilities")
    # equal counts as less, whatever rounding does to a power
    needed, kept = NEEDED[edits](vote) + ROUNDING, 1 - keep
    radius = np.floor(np.log(np.minimum(needed, 1)) / np.log(kept)).astype(np.int64)
    radius -= kept ** radius <= needed  # where the quotient is whole, or was rounded up
    radius = np.where(vote > 0.5 + ROUNDING, np.maximum(radius, 0), -1)
    return np.where(vote >= 1, ENDLESS, radius) if edits == "remove" else radius


def largest_radius(keep: float, edits: Edits = "any") -> int:
    """The radius of a vote of 1: no certificate is larger. q^r > 1/2 for images that are added;
    for removed ones alone there is no bound, ``ENDLESS``."""
    return int(certified_radius(1.0, keep, edits))


def plain_radius(neurons: Int64[np.ndarray, "image"], top: int = 1,
                 edits: Edits = "any") -> Int64[np.ndarray, "seen"]:
    r"""How many edits the plain vote of all images of one block stands, exactly, for each neuron
    that is on a path, in order.

    Who removes d images and adds a does worst to a chosen neuron with m images by taking d of its
    own and giving others the new ones. It is no longer chosen if none of its own are left, or if
    the ``top`` others with most images can be brought to as many as are left:

    .. math:: \sum_{k} \max(0,\; m - d - m_k) \le a .

    Returns:
        int64, the largest r without such a change, for d and a as ``edits`` allow; -1 for a neuron
        that the images do not choose.
    """
    _check_settings(0.5, edits)
    images = np.unique(neurons, return_counts=True)[1]
    radii = np.full(len(images), -1)
    for index in np.flatnonzero(_chosen(images[None].astype(float), top)[0]):
        own = images[index]
        # neurons that are on no path yet may be given images too
        others = np.sort(np.append(np.delete(images, index), np.zeros(top, np.int64)))[-top:]
        radius = 0
        while True:
            left = own - (edits != "add") * (radius + 1)
            short = np.maximum(left - others, 0).sum()
            if left <= 0 or short <= (edits != "remove") * (radius + 1):
                break
            radius += 1
        radii[index] = radius
    return radii


# --- certificates ---


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
            bounds, as of a rule that can only be tried.
        alpha: of samples, the probability that any decision or radius of the table is not the one
            that holds: each of the two bounds of each of the M rows is at ``alpha / (2 M)``
            (Bonferroni), M all blocks' neurons that are on a path, which are known before anything
            is drawn. For several classes together give each its part.
        seed: of the samples.

    Raises:
        ValueError: paths of another form, several neurons a block, or numbers outside their range,
            such as a radius that no vote can reach.
    """
    paths = _as_paths(paths)
    _check_settings(keep, edits)
    for name, value, least in (("radius", radius, 0), ("top", top, 1), ("samples", samples, 1)):
        if not _whole(value, least) and not (name == "samples" and value is None):
            raise ValueError(f"{name} must be a whole number, at least {least}, got {shown(value)}")
    if not isinstance(alpha, (int, float)) or not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {shown(alpha)}")
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


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least


def _as_paths(paths: np.ndarray | Tensor) -> Int64[np.ndarray, "image layer"]:
    value = paths.detach().cpu().numpy() if isinstance(paths, Tensor) else paths
    fits = isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.integer)
    if not fits or value.ndim != 2 or value.size == 0 or value.min() < 0:
        found = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(
            paths).__name__
        raise ValueError(f"paths must be whole numbers from 0, (image, layer), one neuron a block "
                         f"of at least one image, got {found}")
    return value.astype(np.int64)


def _check_settings(keep: float, edits: str) -> None:
    if not isinstance(keep, (int, float)) or not 0 < keep < 1:
        raise ValueError(f"keep must lie between 0 and 1, got {shown(keep)}")
    if not is_one_of(edits, NEEDED):
        raise ValueError(f"unknown edits {shown(edits)}; accepted: {', '.join(NEEDED)}")


# --- of several classes: what a chapter measures ---


def certify_classes(paths: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"],
                    alpha: float = 0.001, **settings: Any) -> dict[int, CertifiedPath]:
    """:func:`certify` for each class, by label; ``alpha`` is that of all classes together."""
    paths, labels = _as_paths(paths), _as_labels(labels, len(paths))
    classes = np.unique(labels)
    return {int(label): certify(paths[labels == label], alpha=alpha / len(classes), **settings)
            for label in classes}


def _as_labels(labels: np.ndarray | Tensor, count: int) -> Int64[np.ndarray, "image"]:
    value = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if value.shape != (count,) or not np.issubdtype(value.dtype, np.integer):
        raise ValueError(f"labels are {value.dtype} {value.shape}; accepted: whole numbers "
                         f"({count},), one for each path")
    return value.astype(np.int64)


def certified_table(certified: Mapping[int, CertifiedPath]) -> pd.DataFrame:
    """One row for each class and block: ``label, block, seen`` (neurons on a path of the class),
    ``certified`` (in), ``abstained, out``, and the mean over those that are in of ``radius`` and
    ``plain_radius``, NaN where none is."""
    rows = []
    for label, path in certified.items():
        for block, own in path.table.groupby("block"):
            counts, inside = own["decision"].value_counts(), own[own["decision"] == "in"]
            rows.append({"label": label, "block": int(block), "seen": len(own),
                         "certified": int(counts.get("in", 0)),
                         "abstained": int(counts.get("abstained", 0)),
                         "out": int(counts.get("out", 0)), "radius": inside["radius"].mean(),
                         "plain_radius": inside["plain_radius"].mean()})
    return pd.DataFrame(rows)


def certified_mask(certified: Mapping[int, CertifiedPath], labels: Int64[np.ndarray, "image"],
                   n_neurons: int) -> Bool[np.ndarray, "image layer neuron"]:
    """Which neurons are certified to be in the path of each image's class, for images that need not
    be those of the certificate: as factors of ``scaled_probabilities``, ``mask`` keeps them alone
    and ``~mask`` removes them."""
    labels = _as_labels(labels, len(labels))
    if missing := sorted(set(labels.tolist()) - set(certified)):
        raise ValueError(f"class {missing[0]} has no certificate; accepted: labels of "
                         f"{shown(sorted(certified))}")
    masks = {}
    for label in np.unique(labels).tolist():
        path = certified[label]
        mask = masks[label] = np.zeros((path.blocks, n_neurons), bool)
        for block, chosen in enumerate(path.neurons):
            if chosen and chosen[-1] >= n_neurons:
                raise ValueError(f"neuron {chosen[-1]} of block {block + 1} is outside a layer of "
                                 f"{n_neurons}; accepted: the model's n_neurons")
            mask[block, chosen] = True
    return np.stack([masks[label] for label in labels.tolist()])


def shuffled_certificates(
    paths: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"],
    permutations: int = 99, seed: int = 0, **settings: Any,
) -> dict[str, float]:
    """The control: how many neurons are certified, and how many when the classes are dealt to the
    images anew.

    Neurons that most images of all classes share are certified of made-up classes too; what is
    about the classes is the difference.

    Args:
        settings: of :func:`certify_classes`.

    Returns:
        ``certified``, neurons that are in, per class and block; ``shuffled`` and ``shuffled_high``,
        the mean and the 97.5 % quantile of the same over permutations; ``p``, the share of deals
        with at least as many, the true one among them.
    """
    paths, labels = _as_paths(paths), _as_labels(labels, len(paths))
    certify_classes(paths, labels, **settings)  # which refuses settings that cannot be
    own, dealt = shuffled_labels(partial(_mean_certified, paths, settings=settings), labels,
                                 permutations, seed)
    return {"certified": own, "shuffled": float(dealt.mean()),
            "shuffled_high": float(np.quantile(dealt, 0.975)),
            "p": float((1 + (dealt >= own).sum()) / (1 + permutations))}


def _mean_certified(paths: np.ndarray, labels: np.ndarray, settings: dict[str, Any]) -> float:
    if settings.get("samples") is not None:
        found = certify_classes(paths, labels, **settings)
        return float(np.mean([(path.table["decision"] == "in").sum() / path.blocks
                              for path in found.values()]))
    return float(np.mean([_number_certified(paths[labels == label], **settings) / paths.shape[1]
                          for label in np.unique(labels)]))


def _number_certified(paths: Int64[np.ndarray, "image layer"], keep: float = 0.2, radius: int = 1,
                      top: int = 1, edits: Edits = "any", **_: Any) -> int:
    """How many neurons :func:`certify` has in by their exact votes, much faster where few are:
    classes that are dealt anew have nothing to be certified in most blocks."""
    blocks, width = paths.shape[1], int(paths.max()) + 2
    counts = np.bincount((paths + width * np.arange(blocks)).ravel(), minlength=blocks * width)
    leading = np.partition(counts.reshape(blocks, width), -2, axis=1)[:, -2:].tolist()
    # whoever has most images has the largest vote, and fewer rivals would only make it larger
    most = [_vote_of_two(*sorted(pair), keep, top) for pair in leading]
    can = np.flatnonzero(certified_radius(np.array(most), keep, edits) >= radius)
    votes = [exact_votes(paths[:, block], keep, top)[1] for block in can]
    return sum(int((certified_radius(np.clip(vote - ROUNDING, 0, 1), keep, edits) >= radius).sum())
               for vote in votes)


def _vote_of_two(fewer: int, more: int, keep: float, top: int) -> float:
    """The vote of a neuron with ``more`` images if one other neuron is there, with ``fewer``."""
    held = (more,) if fewer in (0, more) else (fewer, more)
    return float(_votes_of_counts(held, (2,) if fewer == more else (1,) * len(held), keep, top)[-1])


def split_agreement(
    paths: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"], repeats: int = 20,
    seed: int = 0, **settings: Any,
) -> pd.DataFrame:
    """How far the two halves of a class agree on its neurons, by certificate and by plain vote.

    The images of each class are split at random into halves as equal as can be, each half is
    certified on its own, and the neurons of all blocks are compared: by Jaccard's index, the common
    ones divided by those of either, and by the share of one half's that the other half's plain vote
    chooses too.

    Args:
        settings: of :func:`certify`.

    Returns:
        one row for each repeat and class: ``repeat, label``; ``certified, plain`` (Jaccard's index
        of the certified and of the plainly chosen neurons; NaN where neither half has any);
        ``size, plain_size`` (mean number of them in a half); ``again, uncertified_again`` (of the
        certified neurons of both halves, and of those that are plainly chosen but not certified,
        the share that the other half chooses plainly; NaN where there are none).

    Raises:
        ValueError: a class of one image, or what :func:`certify` refuses.
    """
    paths, labels = _as_paths(paths), _as_labels(labels, len(paths))
    rng, rows = np.random.default_rng(seed), []
    for repeat in range(repeats):
        for label in np.unique(labels).tolist():
            drawn = rng.permutation(np.flatnonzero(labels == label))
            if len(drawn) < 2:
                raise ValueError(f"class {label} has one image, which cannot be split; accepted: "
                                 "at least two")
            tables = [certify(paths[half], **settings).table
                      for half in np.array_split(drawn, 2)]
            certified = [_pairs(table[table["decision"] == "in"]) for table in tables]
            plain = [_pairs(table[table["plain_radius"] >= 0]) for table in tables]
            others = [voted - own for voted, own in zip(plain, certified, strict=True)]
            rows.append({"repeat": repeat, "label": label, "certified": _jaccard(*certified),
                         "plain": _jaccard(*plain), "size": sum(map(len, certified)) / 2,
                         "plain_size": sum(map(len, plain)) / 2,
                         "again": _chosen_again(certified, plain),
                         "uncertified_again": _chosen_again(others, plain)})
    return pd.DataFrame(rows)


def _chosen_again(own: list[set], plain: list[set]) -> float:
    """The share of each half's own that is in the other half's plain choice."""
    count = sum(map(len, own))
    common = sum(len(mine & other) for mine, other in zip(own, plain[::-1], strict=True))
    return common / count if count else float("nan")


def _pairs(table: pd.DataFrame) -> set[tuple[int, int]]:
    return set(zip(table["block"].tolist(), table["neuron"].tolist(), strict=True))


def _jaccard(first: set, second: set) -> float:
    either = first | second
    return len(first & second) / len(either) if either else float("nan")
