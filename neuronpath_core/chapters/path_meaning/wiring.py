"""Whether a path is a wire: each neuron reads what the one before wrote (J5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core.chapters.path_meaning.measured import (
    FOUND,
    LABELS,
    LIKE,
    Case,
    gap_row,
    numbers,
)
from neuronpath_core.neurons.matched import over_matches
from neuronpath_core.neurons.wires import ROUTES, compositions, pair_percentile

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor

SIZE, PLACE = "composition", "percentile among all pairs"


def sizes(case: Case, route: str) -> list[Float[np.ndarray, "neuron next"]]:
    """Of every two blocks that follow one another the composition of all pairs."""
    return [numbers(compositions(case.target, block, route))
            for block in range(case.target.n_blocks - 1)]


def wires(case: Case, route: str) -> dict[str, list[Float[np.ndarray, "neuron next"]]]:
    """:func:`sizes` (``SIZE``), and the percentile of each pair among them (``PLACE``)."""
    found = sizes(case, route)
    return {SIZE: found, PLACE: [_places(torch.from_numpy(kappa)) for kappa in found]}


def _places(kappa: Tensor) -> Float[np.ndarray, "neuron next"]:
    rows, columns = torch.arange(len(kappa)), torch.arange(kappa.shape[1])
    return numbers(pair_percentile(kappa, rows[:, None], columns[None]))


def along(tables: list[Float[np.ndarray, "neuron next"]],
          neurons: Int64[np.ndarray, "image layer"]) -> Float[np.ndarray, "image pair"]:
    """A table of pairs along paths."""
    return np.stack([table[neurons[:, block], neurons[:, block + 1]]
                     for block, table in enumerate(tables)], 1)


def to_matched(tables: list[Float[np.ndarray, "neuron next"]], case: Case,
               method: str) -> Float[np.ndarray, "image pair"]:
    """The same from each neuron to those that are like the path's next one, their mean."""
    matches, neurons = case.matches(method), case.paths[method]
    return np.stack([over_matches(table[neurons[:, block]][:, None], matches[:, [block + 1]])[:, 0]
                     for block, table in enumerate(tables)], 1)


def wire_rows(case: Case, seed: int = 0) -> pd.DataFrame:
    """``route, measure, method, against, value, low, high, path, other, images``: pairs of a path
    against pairs from its neurons to matched ones, and against the paths of activation and of
    random; means over a path's pairs."""
    rows = []
    for route in ROUTES:
        for measure, tables in wires(case, route).items():
            for method in [name for name in FOUND if name in case.paths]:
                own = along(tables, case.paths[method])
                others = {LIKE: to_matched(tables, case, method)} | {
                    f"the path of {LABELS[name]}": along(tables, case.paths[name])
                    for name in case.paths if name not in FOUND}
                rows += [{"route": route, "measure": measure, "method": method,
                          "against": against, **gap_row(own, other, seed)}
                         for against, other in others.items()]
    return pd.DataFrame(rows)
