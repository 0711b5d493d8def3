"""What the weights alone say: in which blocks the value vectors of the classes lie, and whether
they point along classes more than chance does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from scipy import stats

from neuronpath_core.chapters.key_neurons.measured import Written, written
from neuronpath_core.neurons.key_neurons import best_neurons
from neuronpath_core.readings.memories import class_value_agreement, value_matrix
from neuronpath_core.readings.memory_nulls import largest_cosine, rotated, rotations
from neuronpath_core.readings.projection import PROJECTIONS, effective_rows, norm_of
from neuronpath_core.stats.intervals import interval_row, normal_row, resampled
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

PERMUTATIONS = 999
RESAMPLES = 1000
BY_SUM, BY_DIRECTION = "by what value vectors add", "by their direction alone"


def best_blocks(aligned: Float[np.ndarray, "block neuron class"]) -> Int64[np.ndarray, "class"]:
    """The block of each class's best neuron, from 0."""
    return best_neurons(torch.from_numpy(aligned))[:, 0, 0].numpy()


def modal_share(blocks: Int64[np.ndarray, "class"]) -> float:
    """The largest share of the classes that one block has."""
    return np.bincount(blocks).max() / len(blocks)


def histogram_rows(says: Written, projections: Sequence[str] = PROJECTIONS) -> pd.DataFrame:
    """How many classes have their best neuron in each block (figure 3 of the report):
    ``projection, block`` (from 1), ``classes``."""
    rows = []
    for name in projections:
        aligned = says.aligned[name]
        counts = np.bincount(best_blocks(aligned), minlength=len(aligned))
        rows += [{"projection": name, "block": block + 1, "classes": int(count)}
                 for block, count in enumerate(counts)]
    return pd.DataFrame(rows)


def block_row(aligned: Float[np.ndarray, "block neuron class"], seed: int = 0) -> dict[str, float]:
    """Whether the classes' best neurons lie in one block, and in a late one.

    Returns:
        ``modal`` (block, from 1), ``share`` of the classes that it has, ``expected`` if each
        class's block were drawn uniformly, ``value, low, high`` (the difference, over classes),
        ``chance`` (its 97.5 % quantile), ``p``; ``depth_value, depth_low, depth_high``: the blocks'
        mean depth, from 0 (first) to 1 (last), minus one half, with an interval over classes.
        The interval of the share is the normal one of bootstrap resamples in which the commonest
        block is sought anew, because the largest of several counts only grows by resampling; it
        has no width where all classes have one block.

    Raises:
        ValueError: fewer than two classes.
    """
    blocks, count = best_blocks(aligned), len(aligned)
    rng = np.random.default_rng(seed)
    drawn = np.array([modal_share(each) for each in rng.integers(
        0, count, (PERMUTATIONS, len(blocks)))])
    share, expected = modal_share(blocks), drawn.mean()
    depth = interval_row(blocks / (count - 1) - 0.5, seed=seed)
    again = resampled(lambda chosen: modal_share(blocks[chosen]), [np.arange(len(blocks))],
                      RESAMPLES, seed)
    return {"modal": int(np.bincount(blocks).argmax()) + 1, "share": share, "expected": expected,
            **normal_row(share - expected, again), "chance": np.quantile(drawn, 0.975) - expected,
            "p": (1 + (drawn >= share).sum()) / (1 + PERMUTATIONS),
            **{f"depth_{name}": each for name, each in depth.items()}}


def block_rows(says: Written, seed: int = 0) -> pd.DataFrame:
    """:func:`block_row` by what value vectors add (``"effective"``) and by their direction alone
    (``"unit"``), because long vectors add more whatever their direction: with ``condition`` and
    ``classes``."""
    return pd.DataFrame([
        {"condition": words, **block_row(says.aligned[name], seed), "classes": len(says.best)}
        for name, words in (("effective", BY_SUM), ("unit", BY_DIRECTION))])


def blocks_of_others(targets: Sequence[TargetModel]) -> str:
    """The blocks, from 1, that most classes have in other networks: ``"12, 11, 12"``."""
    return ", ".join(str(np.bincount(best_blocks(
        written(target).effective)).argmax() + 1) for target in targets)


def replicas_of(study: Study, model: str) -> list[TargetModel]:
    """The same architecture trained again from other seeds."""
    return [study.target(name) for name in study.variants(model) if " seed " in name]


# --- beyond directions that are drawn at random ---


@torch.no_grad()
def direction_rows(target: TargetModel, draws: int, seed: int = 0) -> pd.DataFrame:
    """The largest cosine of a value vector with each class, in each block and in all of them.

    Returns:
        ``block`` (from 1; 0 for all), ``class``, ``cosine`` (with what moves the logits through the
        final norm), ``uniform``, ``uniform_low``, ``uniform_high`` (of as many uniform directions:
        mean, 2.5 and 97.5 % quantile) and ``rotated`` (mean over ``draws`` rotations of the
        neurons of each block).
    """
    rows, centred = effective_rows(target), norm_of(target) is not None
    # a norm that subtracts the mean leaves one dimension less, of the value vectors too
    vectors = [value_matrix(target, block, "ffn") for block in range(len(target.model.blocks))]
    vectors = [own - own.mean(-1, keepdim=True) if centred else own for own in vectors]
    found = torch.stack([class_value_agreement(rows, own) for own in vectors]).cpu().numpy()
    turned = np.mean([[class_value_agreement(rows, rotated(own, turn)).cpu().numpy()
                       for own in vectors]
                      for turn in rotations(len(vectors[0]), draws, seed)], 0)
    tables, width = [], rows.shape[1] - centred
    for block, (own, other, size) in enumerate(
            [(found.max(0), turned.max(0), len(vectors[0]) * len(vectors)),
             *((own, other, len(vectors[0])) for own, other in zip(found, turned, strict=True))]):
        level = largest_cosine(size, width)
        tables.append(pd.DataFrame({
            "block": block, "class": np.arange(len(own)), "cosine": own, "rotated": other,
            "uniform": level["mean"], "uniform_low": level["low"],
            "uniform_high": level["high"]}))
    return pd.concat(tables, ignore_index=True)


def beyond_rows(directions: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How far the best neuron of all blocks exceeds chance, mean over classes with an interval:
    ``against, value, low, high, classes``."""
    every = directions[directions["block"] == 0]
    return pd.DataFrame([
        {"against": words, **interval_row((every["cosine"] - every[name]).to_numpy(), seed=seed),
         "classes": len(every)}
        for name, words in (("uniform", "uniform directions"), ("rotated", "rotated neurons"))])


def name_row(says: Written, target: TargetModel, draws: int, seed: int = 0) -> dict[str, object]:
    """Whether a class's first key neuron itself says the class (A19): the share of classes whose
    key neuron is aligned with no other class more.

    Returns:
        ``value, low, high``, the share minus that of rotated neurons, over classes; ``share``,
        ``rotated`` and, by projection, the share of the key neurons that it finds.
    """
    own = names(says.effective)
    turned = np.mean([names(_turned(target, turn)) for turn in rotations(
        says.norms.shape[1], draws, seed)], 0)
    return {**interval_row(own - turned, seed=seed), "share": own.mean(), "rotated": turned.mean(),
            **{f"share_{name}": names(says.aligned[name]).mean() for name in PROJECTIONS}}


def names(aligned: Float[np.ndarray, "block neuron class"]) -> Float[np.ndarray, "class"]:
    """1 for a class whose best neuron is aligned with it most among the classes, else 0."""
    block, neuron = best_neurons(torch.from_numpy(aligned))[:, 0].numpy().T
    return (aligned[block, neuron].argmax(1) == np.arange(aligned.shape[2])).astype(float)


def _turned(target: TargetModel,
            turn: torch.Tensor) -> Float[np.ndarray, "block neuron class"]:
    rows = effective_rows(target)
    return torch.stack([rotated(value_matrix(target, block, "ffn"), turn) @ rows.T
                        for block in range(len(target.model.blocks))]).cpu().numpy()


def projection_row(says: Written) -> dict[str, float]:
    """How alike the projections order all neurons: Spearman's correlation with ``"effective"``,
    mean over classes, and ``same ...``, the share of classes that get the same first key neuron."""
    base = says.effective.reshape(-1, says.effective.shape[2])
    row = {}
    for name in PROJECTIONS:
        other = says.aligned[name].reshape(base.shape)
        row[name] = float(np.mean([stats.spearmanr(base[:, label], other[:, label]).statistic
                                   for label in range(base.shape[1])]))
        row[f"same {name}"] = (other.argmax(0) == base.argmax(0)).mean()
    return row
