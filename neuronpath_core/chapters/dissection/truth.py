"""Whether labels are true: on other images, and when what they name is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from neuronpath_core.chapters.dissection.depth import is_specific, shares
from neuronpath_core.chapters.dissection.measured import OVERLAP, RESAMPLES, Read, beyond_chance
from neuronpath_core.neurons import label_truth
from neuronpath_core.neurons.tally import dealt
from neuronpath_core.stats.intervals import TAILS, interval_row, members, normal_row, resampled

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

DEALS = 199  # of the images of a block within their classes


def truth_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """Of each labeler: on the images that had no part in labelling, how well the presence of what
    the label names predicts the neuron's score of the image (``value, low, high`` beyond labels
    dealt within blocks, ``own``, ``dealt``, ``neurons``); how well its mask predicts the neuron's
    value at a patch (``patch``, beyond dealt ``patch_value``, their 97.5 % quantile
    ``patch_chance``); ``named``, the share of neurons with a label; ``specific``, of these the
    share of specific ones; ``same``, the share with the label that overlap gives."""
    rows = []
    predictions = label_truth.prediction_rows(read.held_scores, read.present,
                                              list(read.labels.values()), seed)
    for (labeler, labels), predicted in zip(read.labels.items(), predictions, strict=True):
        patch = label_truth.truth_row(read.held.auroc, labels, seed=seed)
        named = labels >= 0
        rows.append({
            "condition": f"labels by {labeler}", **predicted, "patch": patch["own"],
            "patch_value": patch["value"], "patch_chance": patch["chance"], "named": named.mean(),
            "specific": is_specific(read.found.kinds)[labels[named]].mean(),
            "same": (labels == read.labels[OVERLAP])[named].mean()})
    return pd.DataFrame(rows)


def moved_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """Of each labeler how much what the label names moves the neuron, in its standard deviations:
    ``own``, ``dealt`` and ``value, low, high`` of the difference over scenes; ``neurons``, those
    whose label can be changed alone; and ``first``, the share of them that nothing of the same kind
    moves further up.  No rows of images that cannot be drawn again."""
    if read.moved is None:
        return pd.DataFrame()
    pairs, rows = read.moved.of(read.found.names), []
    for labeler, labels in read.labels.items():
        found = [label_truth.own_and_dealt(scene, labels) for scene in pairs]
        own, dealt = (np.array([pair[side].mean() for pair in found]) for side in (0, 1))
        rows.append({"condition": f"labels by {labeler}", "own": own.mean(),
                     "dealt": dealt.mean(), **interval_row(own - dealt, seed=seed),
                     "scenes": len(own), "neurons": len(found[0][0]),
                     "first": first_of_kind(pairs.mean(0), labels, read.found.kinds)})
    return pd.DataFrame(rows)


def first_of_kind(moves: Float[np.ndarray, "block neuron concept"],
                  labels: Int64[np.ndarray, "block neuron"], kinds: tuple[str, ...]) -> float:
    """The share of labelled neurons that no concept of the label's kind moves further up than the
    label itself; of kinds with two or more concepts."""
    kinds, hits = np.array(kinds), []
    for kind in dict.fromkeys(kinds):
        members = np.flatnonzero(kinds == kind)
        own = moves[..., members]
        here = np.isin(labels, members) & ~np.isnan(own).any(-1)
        if len(members) > 1 and here.any():
            hits.append(members[own[here].argmax(-1)] == labels[here])
    return float(np.concatenate(hits).mean()) if hits else float("nan")


def first_row(read: Read, labeler: str = OVERLAP, seed: int = 0) -> dict[str, float] | pd.DataFrame:
    """The share of neurons whose label moves them further up than all else of its kind, minus what
    labels drawn within their kind have: ``value, low, high`` with the interval over scenes,
    ``share`` and ``chance``; no row of images that cannot be drawn again."""
    if read.moved is None:
        return pd.DataFrame()
    labels, kinds = read.labels[labeler], read.found.kinds
    pairs = read.moved.of(read.found.names)
    flat, chance = pairs.reshape(len(pairs), -1), chance_of_kind(labels, kinds)

    def share(scenes: np.ndarray) -> float:
        weights = np.bincount(scenes, minlength=len(pairs)) / len(scenes)
        return first_of_kind((weights @ flat).reshape(pairs.shape[1:]), labels, kinds)

    whole = share(np.arange(len(pairs)))
    draws = resampled(share, [np.arange(len(pairs))], RESAMPLES, seed)
    return {"condition": f"labels by {labeler}", "share": whole, "chance": chance,
            **normal_row(whole - chance, draws), "scenes": len(pairs)}


def chance_of_kind(labels: Int64[np.ndarray, "block neuron"], kinds: tuple[str, ...]) -> float:
    """What :func:`first_of_kind` is of labels that are drawn at random within their kind: the mean
    of one over the number of the kind's concepts."""
    sizes = np.array([kinds.count(kind) for kind in kinds])
    named = labels[labels >= 0]
    named = named[sizes[named] > 1]
    return float((1 / sizes[named]).mean()) if len(named) else float("nan")


def few_row(read: Read, few: Int64[np.ndarray, "block neuron"], seed: int = 0) -> dict[str, float]:
    """Labels of images of all classes against labels of as many images of few: how much better the
    first predict scores of other images (``value, low, high``, ``first``, ``second``), and
    ``same``, the share of neurons that get the same label, and ``held``, how many images."""
    own = read.labels[OVERLAP]
    both = (own >= 0) & (few >= 0)
    return {**label_truth.prediction_gap(read.held_scores, read.present, own, few, seed),
            "same": (own == few)[both].mean(), "held": read.held.images,
            "specific": shares(few, is_specific(read.found.kinds)).mean()}


def sharing_row(read: Read, seed: int = 0) -> dict[str, float | str]:
    """How far exemplars are the same images (A11).

    A block uses an image as often as the image is an exemplar of its neurons.  Blocks that tell the
    same classes apart use images of the same classes; what counts is the rest, the correlation of
    two blocks' ranks minus its mean with one block's images dealt within their classes, which is
    the part between classes.

    Returns:
        ``neighbours``, Spearman's correlation over images of how often a block and the next use
        them, mean over blocks, and ``ends``, of the first and the last block; ``value, low, high``,
        the part of ``neighbours`` within classes, with the normal interval over images that are
        drawn within their classes, exemplars staying as they are; ``chance`` and ``against``, its
        97.5 and 2.5 % quantiles with images dealt within classes; ``verdict``; ``common``, the
        share of all places among exemplars that the tenth of the images takes that is shown most,
        and ``random``, the same of exemplars drawn at random.
    """
    images, count = read.exemplars.images, read.exemplars.scores.shape[-1]
    used = np.stack([np.bincount(own.ravel(), minlength=count) for own in images])
    drawn = np.bincount(np.random.default_rng(seed).integers(0, count, images.size),
                        minlength=count)
    tenth, ranks = max(1, count // 10), _ranks(used)
    value = within_classes(used, read.classes)
    neighbours = (ranks[:-1] * ranks[1:]).sum(1).mean()
    null = np.array([(ranks[:-1] * ranks[1:, deal]).sum(1).mean()
                     for deal in dealt(read.classes, DEALS, seed)]) - (neighbours - value)
    again = resampled(lambda chosen: within_classes(used[:, chosen], read.classes[chosen]),
                      members(read.classes), RESAMPLES, seed)
    low, high = np.quantile(null, TAILS)
    row = {**normal_row(value, again), "chance": high, "against": low}
    return {**row, "verdict": beyond_chance(row), "neighbours": neighbours,
            "ends": ranks[0] @ ranks[-1],
            "common": np.sort(used.sum(0))[-tenth:].sum() / images.size,
            "random": np.sort(drawn)[-tenth:].sum() / images.size}


def within_classes(used: Float[np.ndarray, "block image"],
                   classes: Int64[np.ndarray, "image"]) -> float:
    r"""The part within classes of Spearman's correlation of each block with the next, mean over
    blocks: with standardised ranks r,

    .. math:: \sum_i r_i r'_i - \sum_c n_c \bar r_c \bar r'_c .

    The second sum is what dealing the images of a block within their classes gives on average.  0
    of a block that uses all images alike.
    """
    ranks, sizes = _ranks(used), np.bincount(classes)
    sums = np.stack([np.bincount(classes, own) for own in ranks])
    between = (sums[:-1] * sums[1:] / np.maximum(sizes, 1)).sum(1)
    return float(((ranks[:-1] * ranks[1:]).sum(1) - between).mean())


def _ranks(used: Float[np.ndarray, "block image"]) -> Float[np.ndarray, "block image"]:
    """Mid-ranks of each block's images, of mean 0 and length 1; 0 where all are alike."""
    ranks = stats.rankdata(used, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    size = np.linalg.norm(ranks, axis=1, keepdims=True)
    return np.divide(ranks, size, out=np.zeros_like(ranks), where=size > 0)
