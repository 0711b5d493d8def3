"""What the weights alone say: whether value vectors point along classes, and whether the classes
that one of them raises most are similar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.readings.memories import HALVES, class_value_agreement, value_matrix
from neuronpath_core.readings.memory_nulls import largest_cosine, rotated, rotations
from neuronpath_core.readings.projection import effective_rows, head_rows, norm_of
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64
    from torch import Tensor

UNIFORM, ROTATED = "uniform directions", "rotated neurons"
PERMUTED = "kinds of class permuted"
PERMUTATIONS = 999


def peak_block(half: str, blocks: int) -> int:
    """The block, from 1, at which Vilas et al. find the memories of a half to speak for classes
    most: the last of the attention, the one before of the FFN.  It is chosen by their paper, not by
    what is measured here."""
    return blocks if half == "attention" or blocks == 1 else blocks - 1


@torch.no_grad()
def value_table(target: TargetModel, draws: int, seed: int = 0) -> pd.DataFrame:
    """Class-value agreement of every class in every half of every block.

    Returns:
        ``block`` (from 1), ``half, class``; ``published`` (the largest cosine with the head's row)
        and ``uniform, published`` (of as many uniform directions, expected); ``corrected`` (with
        what moves the logits through the final norm), ``uniform`` (in the dimensions that the norm
        leaves) and ``rotated`` (mean over ``draws`` rotations of the half's own value vectors).
    """
    rows, moving = head_rows(target)[0], effective_rows(target)
    width = rows.shape[1]
    # a norm that subtracts the mean leaves one dimension less
    seen = width - (norm_of(target) is not None)
    vectors = {(block, half): value_matrix(target, block, half)
               for block in range(len(target.model.blocks)) for half in HALVES}
    turned = dict.fromkeys(vectors, 0)
    for size in sorted({len(own) for own in vectors.values()}):
        for turn in rotations(size, draws, seed):
            for place, own in vectors.items():
                if len(own) == size:
                    turned[place] = turned[place] + class_value_agreement(
                        moving, _centred(rotated(own, turn), seen < width))
    return pd.concat([pd.DataFrame({
        "block": block + 1, "half": half, "class": np.arange(len(rows)),
        "published": _numbers(class_value_agreement(rows, own)),
        "uniform, published": largest_cosine(len(own), width)["mean"],
        "corrected": _numbers(class_value_agreement(moving, _centred(own, seen < width))),
        "uniform": largest_cosine(len(own), seen)["mean"],
        "rotated": _numbers(turned[block, half] / draws)})
        for (block, half), own in vectors.items()], ignore_index=True)


def _centred(vectors: Tensor, wanted: bool) -> Tensor:
    return vectors - vectors.mean(-1, keepdim=True) if wanted else vectors


def _numbers(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()


def value_leads(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much closer value vectors come to classes than by chance, at the block that the paper
    names: ``half, block, against, level`` (by chance), ``agreement, value, low, high``; the
    interval is a bootstrap over ``classes``."""
    rows, blocks = [], int(table["block"].max())
    for half in HALVES:
        own = table[(table["half"] == half) & (table["block"] == peak_block(half, blocks))]
        for against, column in ((UNIFORM, "uniform"), (ROTATED, "rotated")):
            rows.append({"half": half, "block": peak_block(half, blocks), "against": against,
                         "agreement": own["corrected"].mean(), "level": own[column].mean(),
                         "classes": len(own),
                         **interval_row((own["corrected"] - own[column]).to_numpy(), seed=seed)})
    return pd.DataFrame(rows)


# --- whether a value vector collects similar classes ---


@torch.no_grad()
def example_rows(target: TargetModel, names: Sequence[str], count: int = 7,
                 top: int = 3) -> pd.DataFrame:
    """The value vectors of the FFN that point along a class most, at the block that the paper takes
    its examples from: ``block`` and ``neuron`` (its number, from 0), ``cosine`` with the nearest
    class (through the final norm) and ``classes``, that one and the next ones by name."""
    block = peak_block("ffn", len(target.model.blocks))
    moving = effective_rows(target)
    vectors = _centred(value_matrix(target, block - 1, "ffn"), norm_of(target) is not None)
    cosine = torch.nn.functional.normalize(vectors, dim=-1) @ torch.nn.functional.normalize(
        moving, dim=-1).T
    chosen = cosine.amax(-1).topk(min(count, len(cosine))).indices
    best = cosine[chosen].topk(min(top, cosine.shape[1]), -1)
    return pd.DataFrame([
        {"block": block, "neuron": int(neuron), "cosine": float(values[0]),
         "classes": ", ".join(names[place] for place in places.tolist())}
        for neuron, values, places in zip(chosen, best.values, best.indices, strict=True)])


def akin(taxonomy: Mapping[str, Sequence[str]]) -> Bool[np.ndarray, "class class"]:
    """Which two classes share one of their attributes, such as the outline or the fill; no class is
    akin to itself."""
    alike = np.any([np.equal.outer(values, values)
                    for values in map(np.asarray, taxonomy.values())], axis=0)
    return alike & ~np.eye(len(alike), dtype=bool)


def two_classes(logits: Float[Tensor, "*set memory class"]) -> Int64[np.ndarray, "*set memory 2"]:
    """The two classes that each memory raises most."""
    return logits.topk(2, -1).indices.cpu().numpy()


def share_akin(pairs: Int64[np.ndarray, "*set memory 2"],
               alike: Bool[np.ndarray, "class class"]) -> Float[np.ndarray, "*set"]:
    """Share of the memories whose two classes are akin."""
    return alike[pairs[..., 0], pairs[..., 1]].mean(-1)


@torch.no_grad()
def similar_rows(target: TargetModel, taxonomy: Mapping[str, Sequence[str]], draws: int,
                 seed: int = 0) -> pd.DataFrame:
    """Whether the two classes that a value vector raises most share an attribute, at the block that
    the paper names.

    Two things could make them do so without any neuron meaning it.  Classes that share an attribute
    may have similar rows in the head, so that every direction raises them together; against that
    the value vectors are rotated.  And some classes are raised by most memories; against that the
    attributes are dealt to the classes anew.

    Returns:
        ``half, block, against, share, level`` (mean by chance), ``value`` (their difference),
        ``chance`` (the 97.5 % quantile of what chance gives, minus its mean), ``p`` (one-sided),
        ``classes``.  Without a taxonomy it is empty.
    """
    columns = ["half", "block", "against", "share", "level", "value", "chance", "p", "classes"]
    if not taxonomy:
        return pd.DataFrame(columns=columns)
    alike, moving = akin(taxonomy), effective_rows(target)
    rng, rows = np.random.default_rng(seed), []
    for half in HALVES:
        block = peak_block(half, len(target.model.blocks))
        vectors = value_matrix(target, block - 1, half)
        pairs = two_classes(vectors @ moving.T)
        share = float(share_akin(pairs, alike))
        turned = np.array([share_akin(two_classes(rotated(vectors, turn) @ moving.T), alike)
                           for turn in rotations(len(vectors), draws, seed)])
        orders = [rng.permutation(len(alike)) for _ in range(PERMUTATIONS)]
        dealt = np.array([share_akin(pairs, alike[np.ix_(order, order)]) for order in orders])
        for against, chance in ((ROTATED, turned), (PERMUTED, dealt)):
            # shares of one number of memories: equal ones are equal to the last digit but one
            reached = (chance >= share - 1e-9).sum()
            rows.append({"half": half, "block": block, "against": against, "share": share,
                         "level": chance.mean(), "value": share - chance.mean(),
                         "chance": np.quantile(chance, 0.975) - chance.mean(),
                         "p": (1 + reached) / (1 + len(chance)), "classes": len(alike)})
    return pd.DataFrame(rows, columns=columns)
