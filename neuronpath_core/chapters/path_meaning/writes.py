"""Whether path neurons write their class (J1), and whether they are among the key neurons of the
class and the memories that a token uses most (J2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.path_meaning.measured import (
    FOUND,
    LIKE,
    Case,
    compared,
    effect_rows,
    gap_row,
    numbers,
    thirds,
)
from neuronpath_core.neurons.matched import of_path, over_matches
from neuronpath_core.readings.memories import ACTIVE, most_active

if TYPE_CHECKING:
    from jaxtyping import Float

TOP = 5  # key neurons of a class in each block, and memories of a token
WRITES, DIRECTION = "writes the class", "points along the class"
LATER = "last third minus first"
KEY, USED = "key neuron of the class", "among the token's largest"


def key_neurons(case: Case, count: int = TOP) -> Float[np.ndarray, "layer neuron class"]:
    """Whether each neuron is among the ``count`` of its block that are aligned most with a class,
    as 0 and 1."""
    found = np.zeros_like(case.aligned)
    best = np.argsort(-case.aligned, 1, kind="stable")[:, :count]
    np.put_along_axis(found, best, 1.0, 1)
    return found


def used(case: Case, count: int = ACTIVE) -> Float[np.ndarray, "image layer neuron"]:
    """The share of the scope's tokens of which each neuron has one of the ``count`` largest
    coefficients of its block."""
    if case.target.scope == "cls":
        values = case.keys.first[..., None]
    else:
        values = case.keys.maps
    values = values.transpose(2, 3)  # block, image, token, neuron
    chosen = most_active(values, count)
    among = values.new_zeros(values.shape).scatter(-1, chosen, 1.0)
    return numbers(among.mean(2).transpose(0, 1))


def writing_rows(case: Case, seed: int = 0) -> pd.DataFrame:
    """:func:`~neuronpath_core.chapters.path_meaning.measured.effect_rows` of the two readings of
    J1: the percentile of the neuron's alignment with the label among its block's neurons, and among
    uniform directions; one half by chance."""
    return pd.concat([effect_rows(case, case.of_label(table), name, seed)
                      for name, table in ((WRITES, case.aligned), (DIRECTION, case.direction))],
                     ignore_index=True)


def overlap_rows(case: Case, seed: int = 0) -> pd.DataFrame:
    """The same of J2: whether a path's neurons are key neurons of the label, and for which share of
    the scope's tokens they are among the largest coefficients; ``chance``, of a neuron drawn from
    the block."""
    share = min(1.0, TOP / case.aligned.shape[1])
    return pd.concat([
        effect_rows(case, case.of_label(key_neurons(case)), KEY, seed),
        effect_rows(case, used(case), USED, seed)], ignore_index=True).assign(chance=share)


def block_rows(case: Case, seed: int = 0) -> pd.DataFrame:
    """J1 by depth: ``method, block, depth, value, low, high`` of the percentile minus that of
    matched neurons, over images."""
    rows = []
    for method in [name for name in FOUND if name in case.paths]:
        gaps = compared(case, method, case.of_label(case.aligned), LIKE)
        rows += [{"method": method, "block": block + 1, "depth": (block + 1) / gaps.shape[1],
                  **gap_row(gaps[:, [block]], np.zeros((len(gaps), 1)), seed)}
                 for block in range(gaps.shape[1])]
    return pd.DataFrame(rows)


def third_rows(case: Case, seed: int = 0) -> pd.DataFrame:
    """J1 in each third of the blocks: ``method, blocks``, the percentile of path and matched
    neurons and their difference; and how much larger the difference is in the last third than in
    the first (``LATER``)."""
    values, rows = case.of_label(case.aligned), []
    for method in [name for name in FOUND if name in case.paths]:
        own = of_path(values, case.paths[method])
        other = over_matches(values, case.matches(method))
        parts = thirds(own.shape[1])
        rows += [{"method": method, "blocks": name, **gap_row(own[:, part], other[:, part], seed)}
                 for name, part in parts.items()]
        first, *_, last = ((own - other)[:, part].mean(1, keepdims=True)
                           for part in parts.values())
        rows.append({"method": method, "blocks": LATER, **gap_row(last, first, seed)})
    return pd.DataFrame(rows)
