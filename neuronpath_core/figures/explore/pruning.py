"""The pruning slider: how many neurons of each block are kept, and the accuracy that is left."""

from __future__ import annotations

import pandas as pd

from neuronpath_core.figures.explore.page import explorer_html, show, table

SCRIPTS = ("page.js", "pruning.js")
START = 5  # neurons a block, the fewest of the paper's Figure 6
COLUMNS = ("data", "mask", "tokens", "kept", "top", "value", "low", "high")


def pruning_html(rows: pd.DataFrame, whole: dict[str, float], neurons: int, path: str, unit: str,
                 key: str) -> str:
    """The pruning slider of a page.

    Args:
        rows: accuracies: ``data, mask, tokens, kept, top, value, low, high``.
        whole: accuracy of the whole network by data.
        neurons: of a block.
        path: what ``kept`` is called where the path's neurons are kept.
        unit: what the accuracies and intervals are over, in words.
        key: identifier on the page; letters, digits and hyphens.

    Raises:
        ValueError: a table without rows or without those columns, or a key that a page cannot use.
    """
    if rows.empty or not set(COLUMNS) <= set(rows.columns):
        raise ValueError(f"the table of accuracies has {len(rows)} rows and the columns "
                         f"{', '.join(map(str, rows.columns))}; accepted: rows of "
                         f"{', '.join(COLUMNS)}")
    own = rows[list(COLUMNS)].round({"value": 4, "low": 4, "high": 4})
    tops = sorted(int(top) for top in own["top"].unique())
    data = {"rows": own.to_dict("records"), "whole": {k: round(v, 4) for k, v in whole.items()},
            "tops": tops, "neurons": neurons, "path": path, "unit": unit,
            "start": next((top for top in tops if top >= START), tops[-1])}
    static = ""
    for (name, mask, tokens), part in own.groupby(["data", "mask", "tokens"], sort=False):
        wide = part.pivot(index="kept", columns="top", values="value").reindex(
            part["kept"].unique())
        static += table(f"{name}, mask {mask}, zeroed at {tokens}: test accuracy by the number of "
                        f"neurons kept per block (whole network {whole[name]:.2f})",
                        ["Neurons kept", *map(str, wide.columns)],
                        [[kept, *(f"{value:.2f}" for value in values)]
                         for kept, values in zip(wide.index, wide.to_numpy(), strict=True)])
    return explorer_html(key, "pruningSlider", SCRIPTS, data, static, "All accuracies as tables")


def explore_pruning(rows: pd.DataFrame, whole: dict[str, float], neurons: int, path: str, unit: str,
                    key: str) -> None:
    """Display the pruning slider; see `pruning_html` for arguments and errors."""
    show("a slider over the number of neurons that are kept",
         pruning_html(rows, whole, neurons, path, unit, key))
