"""Whether the kind of a model, its seed or the tokens that are read decide where its knowledge
neurons lie."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import jackknife_row
from neuronpath_core.stats.labels import SCOPE_LABELS
from neuronpath_core.stats.tests import kind_contrast, kind_test

if TYPE_CHECKING:
    from jaxtyping import Float

# block 1 holds most of the neurons of either kind, so that Pearson's correlation is about it alone
BLOCKS = {"over all blocks": 0, "without block 1": 1}


def _vectors(shares: pd.DataFrame) -> tuple[pd.DataFrame, Float[np.ndarray, "model block"]]:
    """One row per data, kind, scope and model, and its shares."""
    wide = shares.pivot_table(index=["data", "kind", "scope", "own", "model"], columns="block",
                              values="value", sort=False)
    return wide.index.to_frame(index=False), wide.to_numpy()


def _correlations(first: np.ndarray, second: np.ndarray) -> Float[np.ndarray, "first second"]:
    """Pearson correlations between the rows of two matrices."""
    return np.corrcoef(first, second)[:len(first), len(first):]


def model_pairs(shares: pd.DataFrame) -> pd.DataFrame:
    """Correlation of block shares for every two models of a data set, each at its own scope.

    Returns:
        ``data, first, second, relation, value``; relation is ``"within <kind>"`` or, in the last
        rows of a data set, ``"between"``.
    """
    tables = []
    for data, group in shares[shares["own"]].groupby("data", sort=False):
        models, vectors = _vectors(group)
        correlation, rows = np.corrcoef(vectors), []
        for first, second in combinations(range(len(models)), 2):
            kinds = models["kind"][first], models["kind"][second]
            rows.append({"data": data, "first": models["model"][first],
                         "second": models["model"][second],
                         "relation": f"within {kinds[0]}" if kinds[0] == kinds[1] else "between",
                         "value": correlation[first, second]})
        tables.append(pd.DataFrame(rows).sort_values("relation", key=lambda names: names
                                                     == "between", kind="stable"))
    return pd.concat(tables, ignore_index=True)


def kind_matrices(shares: pd.DataFrame,
                  kinds: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per data set what :func:`~neuronpath_core.stats.tests.kind_test` takes, for two kinds at
    their own scopes."""
    found = {}
    for data, group in shares[shares["own"] & shares["kind"].isin(kinds)].groupby("data",
                                                                                  sort=False):
        models, vectors = _vectors(group)
        found[data] = (np.corrcoef(vectors), (models["kind"] == kinds[0]).to_numpy())
    return found


def kind_rows(shares: pd.DataFrame, kinds: Sequence[str], level: float = 0.05) -> pd.DataFrame:
    """Does the kind of a model decide where its knowledge neurons lie?  Two kinds, each model at
    its own scope.

    Returns:
        one row per data set and, of several, one for ``"together"``: ``data``, ``value, low, high``
        (:func:`~neuronpath_core.stats.tests.kind_contrast` with
        :func:`~neuronpath_core.stats.intervals.jackknife_row`), ``p, deals, smallest``
        (:func:`~neuronpath_core.stats.tests.kind_test`) and ``verdict``: ``"agrees"`` if p is at
        most ``level`` and the interval above zero.
    """
    matrices = kind_matrices(shares, kinds)
    parts = {data: [data] for data in matrices} | ({"together": list(matrices)} if len(matrices) > 1
                                                   else {})
    rows = []
    for name, members in parts.items():
        own = [matrices[data] for data in members]
        groups = [np.flatnonzero(is_first == side) for _, is_first in own for side in (True, False)]

        def contrast(*chosen: np.ndarray, own=own, groups=groups) -> float:
            kept = [np.sort(np.concatenate([group[part] for group,
                                            part in zip(groups[2 * at:2 * at + 2],
                                                        chosen[2 * at:2 * at + 2], strict=True)]))
                    for at in range(len(own))]
            return float(np.mean([kind_contrast(matrix[np.ix_(rest, rest)], is_first[rest])
                                  for (matrix, is_first), rest in zip(own, kept, strict=True)]))

        found, row = kind_test(own), jackknife_row(contrast, [len(group) for group in groups])
        verdict = "agrees" if found["p"] <= level and row["low"] > 0 else "not shown"
        rows.append({"data": name, **found, **row, "verdict": verdict})
    return pd.DataFrame(rows)[["data", "value", "low", "high", "p", "deals", "smallest", "verdict"]]


def cell_correlations(shares: pd.DataFrame) -> pd.DataFrame:
    """Mean correlation of block shares between every two cells, a cell being a kind of model read
    at a scope, over all blocks and without the first (``BLOCKS``).

    Two scopes of one kind are compared model by model, the weights being the same; two kinds over
    all pairs of models.

    Returns:
        ``data, condition`` (one of ``BLOCKS``), ``first, second, differ`` (``"scope"``,
        ``"kind"`` or ``"kind and scope"``), ``own`` (both at their own scope, as in the paper),
        ``models``, ``value, low, high`` (within -1..1, of
        :func:`~neuronpath_core.stats.intervals.jackknife_row`) and ``verdict`` on inversion:
        ``"agrees"`` if the interval is below zero.
    """
    rows = []
    groups = shares.groupby("data", sort=False)
    for (condition, skip), (data, group) in product(BLOCKS.items(), groups):
        models, vectors = _vectors(group[group["block"] > skip])
        cells = {key: part.index.to_numpy() for key,
                 part in models.groupby(["kind", "scope", "own"], sort=False)}
        for (one, first), (two, second) in combinations(cells.items(), 2):
            table = _correlations(vectors[first], vectors[second])
            if one[0] == two[0]:
                paired = np.diag(table)
                row = jackknife_row(lambda chosen, paired=paired: float(paired[chosen].mean()),
                                    [len(paired)])
            else:
                row = jackknife_row(lambda rows, columns,
                                    table=table: float(table[np.ix_(rows, columns)].mean()),
                                    table.shape)
            row = {name: float(np.clip(value, -1, 1)) for name, value in row.items()}
            differ = " and ".join(word for word,
                                  is_same in (("kind", one[0] == two[0]),
                                              ("scope", one[1] == two[1])) if not is_same)
            titles = [f"{kind}, {SCOPE_LABELS[scope]}" for kind, scope, _ in (one, two)]
            rows.append({"data": data, "condition": condition, "first": titles[0],
                         "second": titles[1], "differ": differ, "own": one[2] and two[2],
                         "models": f"{len(first)}, {len(second)}", **row,
                         "verdict": report.verdict(row, expected=-1)})
    return pd.DataFrame(rows)


def depth_difference(depth: pd.DataFrame, kinds: Sequence[str]) -> pd.DataFrame:
    """Mean relative depth of the knowledge neurons, first kind minus second; the unit is the
    training seed.

    Args:
        depth: ``data, kind, model, value``, one row per model.

    Returns:
        ``data``, ``first``, ``second`` (means over models), ``spread first``, ``spread second``
        (standard deviation over seeds), ``value, low, high`` and ``verdict``: ``"agrees"`` if the
        depths differ, whichever is larger.
    """
    rows = []
    for data, group in depth.groupby("data", sort=False):
        first, second = (group.loc[group["kind"] == kind, "value"].to_numpy() for kind in kinds[:2])
        row = jackknife_row(lambda one, two, first=first,
                            second=second: float(first[one].mean() - second[two].mean()),
                            [len(first), len(second)])
        rows.append({"data": data, "first": first.mean(), "second": second.mean(),
                     "spread first": first.std(ddof=1), "spread second": second.std(ddof=1),
                     **row, "verdict": "agrees" if row["low"] > 0 or row["high"] < 0
                     else "not shown"})
    return pd.DataFrame(rows)
