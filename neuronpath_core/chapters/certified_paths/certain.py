"""How much of a class's path is certified, how much by count, and what is left of both where the
classes are made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.circuits.certified import CertifiedPath
from neuronpath_core.circuits.certified_classes import shuffled_certificates, split_agreement
from neuronpath_core.circuits.radii import largest_radius, plain_radius
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.tests import shuffled_labels

if TYPE_CHECKING:
    from jaxtyping import Int64

DEALS = 399  # the least p-value, 1/400, stays below 0.05 when eight models are corrected for
FEW_DEALS = 19  # enough for a mean


def chosen(certified: CertifiedPath, kind: str) -> set[tuple[int, int]]:
    """Pairs ``(block, neuron)`` of a class, blocks from 1: ``"certified"``, ``"voted"`` (by the
    plain vote of all images), ``"counted"`` (voted, and by count for as many edits as the
    certificate's) or ``"uncertified"`` (voted, not certified).

    Raises:
        ValueError: another kind.
    """
    table = certified.table
    inside, plain = table["decision"] == "in", table["plain_radius"]
    kinds = {"certified": inside, "voted": plain >= 0, "counted": plain >= certified.radius,
             "uncertified": (plain >= 0) & ~inside}
    if kind not in kinds:
        raise ValueError(f"unknown kind {kind!r}; accepted: {', '.join(kinds)}")
    rows = table[kinds[kind]]
    return set(zip(rows["block"].tolist(), rows["neuron"].tolist(), strict=True))


def class_shares(certified: Mapping[int, CertifiedPath]) -> pd.DataFrame:
    """How much of each class's path, one neuron a block, is certain: ``label`` and, each a share of
    the blocks, ``certified``, ``counted`` and ``voted`` as of :func:`chosen`."""
    return pd.DataFrame([
        {"label": label, **{kind: len(chosen(path, kind)) / path.blocks
                            for kind in ("certified", "counted", "voted")}}
        for label, path in certified.items()])


def share_rows(certified: Mapping[int, CertifiedPath], seed: int = 0) -> pd.DataFrame:
    """:func:`class_shares` over the classes: ``measure, classes, value, low, high`` for each share
    and for ``"certified - counted"``; the interval is a bootstrap over classes, each with its own
    images.
    """
    shares = class_shares(certified)
    shares["certified - counted"] = shares["certified"] - shares["counted"]
    return pd.DataFrame([{"measure": measure, "classes": len(shares),
                          **interval_row(shares[measure].to_numpy(), seed=seed)}
                         for measure in shares if measure != "label"])


def edit_shares(certified: Mapping[int, CertifiedPath]) -> pd.DataFrame:
    """Of all classes' blocks the share whose neuron stands so many edits: ``edits, certified,
    counted``, for every number up to the largest that a certificate can reach."""
    tables = [path.table for path in certified.values()]
    cells, one = sum(table["block"].max() for table in tables), next(iter(certified.values()))
    # of votes above one half the radius is that of being in
    inside = np.concatenate([table.loc[table["low"] > 0.5, "radius"] for table in tables])
    plain = np.concatenate([table["plain_radius"] for table in tables])
    return pd.DataFrame([{"edits": edits, "certified": (inside >= edits).sum() / cells,
                          "counted": (plain >= edits).sum() / cells}
                         for edits in range(largest_radius(one.keep, one.edits) + 1)])


def class_map(certified: Mapping[int, CertifiedPath], class_names: Sequence[str]) -> pd.DataFrame:
    """What the map of certain neurons shows: a row per class and block with ``class, block``,
    ``neuron`` and ``certified`` (the neuron with the largest vote, and the edits that its
    certificate stands, -1 without) and ``counted`` (the most that any neuron stands by count)."""
    rows = []
    for label, path in certified.items():
        for block, own in path.table.groupby("block"):
            best = own.loc[own["vote"].idxmax()]
            rows.append({"class": class_names[label], "block": block, "neuron": int(best["neuron"]),
                         "certified": int(best["radius"]) if best["low"] > 0.5 else -1,
                         "counted": int(own["plain_radius"].max())})
    return pd.DataFrame(rows)


def mean_counted(neurons: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"],
                 radius: int) -> float:
    """The share of all classes' blocks whose commonest neuron stands so many edits by count."""
    return float(np.mean([plain_radius(block).max() >= radius for label in np.unique(labels)
                          for block in neurons[labels == label].T]))


def shuffled_row(neurons: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"],
                 certified: Mapping[int, CertifiedPath], deals: int = DEALS,
                 seed: int = 0) -> dict[str, float]:
    """The control: how much more is certified of the classes than of classes that are dealt to the
    images at random.

    Returns:
        what :func:`~neuronpath_core.circuits.certified_classes.shuffled_certificates` returns;
        ``counted_shuffled``, the share of dealt classes' blocks that stand as many edits by count;
        ``value, low, high``, the lead over the mean deal with its interval over ``classes``.
    """
    one = next(iter(certified.values()))
    found = shuffled_certificates(neurons, labels, deals, seed, keep=one.keep, radius=one.radius)
    _, counted = shuffled_labels(partial(mean_counted, neurons, radius=one.radius), labels,
                                 min(deals, FEW_DEALS), seed)
    lead = class_shares(certified)["certified"].to_numpy() - found["shuffled"]
    return {**found, "counted_shuffled": float(counted.mean()), "classes": len(lead),
            **interval_row(lead, seed=seed)}


def half_rows(neurons: Int64[np.ndarray, "image layer"], labels: Int64[np.ndarray, "image"],
              repeats: int, seed: int = 0, **settings) -> dict[str, float]:
    """What one half of a class's images says of the other half's vote.

    Args:
        settings: ``keep, radius`` of the certificates of the halves.

    Returns:
        over classes, each first averaged over the splits: the columns of
        :func:`~neuronpath_core.circuits.certified_classes.split_agreement`; ``value, low, high``,
        the mean of ``again - uncertified_again`` with its interval over the ``classes`` that have
        either. NaN where fewer than two classes have.
    """
    table = split_agreement(neurons, labels, repeats, seed, **settings)
    classes = table.drop(columns="repeat").groupby("label").mean()
    lead = (classes["again"] - classes["uncertified_again"]).dropna()
    return {**classes.mean().to_dict(), "classes": len(lead), **interval_or_nan(lead, seed)}


def interval_or_nan(values: pd.Series, seed: int) -> dict[str, float]:
    """Mean and interval; NaN of fewer than two values."""
    if len(values) < 2:
        return dict.fromkeys(("value", "low", "high"), float("nan"))
    return interval_row(values.to_numpy(), seed=seed)


def among_leading(certified: Mapping[int, CertifiedPath]) -> float:
    """Of the certified neurons of all classes the share that is also among as many with the largest
    radii by count; of those that tie for the last places as many as are expected if lots are drawn.
    NaN where none is certified."""
    table = pd.concat([path.table for path in certified.values()])
    radii, inside = table["plain_radius"].to_numpy(), (table["decision"] == "in").to_numpy()
    if not inside.any():
        return float("nan")
    last = np.sort(radii)[-inside.sum()]
    above, tied = radii > last, radii == last
    share = (inside.sum() - above.sum()) / tied.sum()
    return float(((above & inside).sum() + share * (tied & inside).sum()) / inside.sum())


def leading_class(certified: Mapping[int, CertifiedPath]) -> int:
    """The class with the most certified neurons, the first of several."""
    return max(certified, key=lambda label: len(chosen(certified[label], "certified")))


def shared_pairs(neurons: Int64[np.ndarray, "image layer"]) -> dict[str, float]:
    r"""How often two images of a class go through the same neuron, and through the same two in
    blocks that follow one another.

    Returns:
        of all two different images, averaged over blocks: ``single``, the share :math:`a_l` that
        have the neuron of block l in common; ``both``, the share that have those of l and l + 1;
        ``dealt``, :math:`a_l a_{l+1}`, which is what ``both`` is expected to be if each block's
        neurons are dealt among the images anew.
    """
    same = neurons[:, None] == neurons[None]
    apart = ~np.eye(len(neurons), dtype=bool)
    single = same[apart].mean(0)
    both = (same[..., :-1] & same[..., 1:])[apart].mean(0)
    return {"single": float(single.mean()), "both": float(both.mean()),
            "dealt": float((single[:-1] * single[1:]).mean())}
