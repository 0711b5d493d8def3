"""Certificates (:mod:`~neuronpath_core.circuits.certified`) of several classes, and what they
are worth: neurons that are certified of made-up classes too, and how far the halves of a class
agree."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from neuronpath_core.circuits.certified import CertifiedPath, as_paths, certify
from neuronpath_core.circuits.radii import ROUNDING, Edits, certified_radius
from neuronpath_core.circuits.votes import exact_votes, votes_of_counts
from neuronpath_core.stats.tests import shuffled_labels
from neuronpath_core.support.tensors import kind_of, whole_array
from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64


def certify_classes(paths: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"],
                    alpha: float = 0.001, **settings: Any) -> dict[int, CertifiedPath]:
    """:func:`~neuronpath_core.circuits.certified.certify` for each class, by label; ``alpha`` is
    that of all classes together."""
    paths, labels = as_paths(paths), _as_labels(labels, len(paths))
    classes = np.unique(labels)
    return {int(label): certify(paths[labels == label], alpha=alpha / len(classes), **settings)
            for label in classes}


def _as_labels(labels: np.ndarray | Tensor, count: int) -> Int64[np.ndarray, "image"]:
    value = whole_array(labels if isinstance(labels, Tensor) else np.asarray(labels))
    if value is None or value.shape != (count,):
        raise ValueError(f"labels are {kind_of(labels)}; accepted: whole numbers ({count},), one "
                         "for each path")
    return value


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
    paths, labels = as_paths(paths), _as_labels(labels, len(paths))
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
    """How many neurons :func:`~neuronpath_core.circuits.certified.certify` has in by their exact
    votes, much faster where few are: classes that are dealt anew have nothing to be certified in
    most blocks."""
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
    return float(votes_of_counts(held, (2,) if fewer == more else (1,) * len(held), keep, top)[-1])


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
        settings: of :func:`~neuronpath_core.circuits.certified.certify`.

    Returns:
        one row for each repeat and class: ``repeat, label``; ``certified, plain`` (Jaccard's index
        of the certified and of the plainly chosen neurons; NaN where neither half has any);
        ``size, plain_size`` (mean number of them in a half); ``again, uncertified_again`` (of the
        certified neurons of both halves, and of those that are plainly chosen but not certified,
        the share that the other half chooses plainly; NaN where there are none).

    Raises:
        ValueError: a class of one image, or what
            :func:`~neuronpath_core.circuits.certified.certify` refuses.
    """
    paths, labels = as_paths(paths), _as_labels(labels, len(paths))
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
