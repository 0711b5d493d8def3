"""How much more flows along a path's edges than along those of a control."""

from __future__ import annotations

import numpy as np
import pandas as pd

from neuronpath_core.chapters.edges_of_paths.shares import (
    CELL,
    KEY,
    NEXT,
    by_image,
    interval,
    pairs,
    share,
)
from neuronpath_core.stats.tests import judged, sign_flip_test

# the leads of a path's edges over those of a control, see `leads`
LEADS = ("activation", "own activation", "label", "label size", "cosine")


def _flipped(values: pd.Series, seed: int) -> float:
    finite = values[np.isfinite(values)].to_numpy()
    return sign_flip_test(finite, seed) if len(finite) > 1 else 1.0


def _lead(both: pd.DataFrame) -> pd.Series:
    moved = {end: both[f"exact{end}"].abs() for end in ("", "_path")}
    whole = both["target_activation_path"]
    return pd.Series({
        "activation": share(moved["_path"] - moved[""], whole),
        "own activation": share(moved["_path"], whole) - share(moved[""],
                                                               both["target_activation"]),
        "label": share(both["exact_probability_path"] - both["exact_probability"],
                       both["source_effect_path"]),
        "label size": share(both["exact_probability_path"].abs() - both["exact_probability"].abs(),
                            both["source_effect_path"]),
        "cosine": float((both["composition_path"] - both["composition"]).mean())})


def leads(edges: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    r"""How much more a path's neuron does to the next one than to a partner off the path, on the
    same images and edges.

    Returns:
        ``data, model, scope, replaced, control, measure, images, value, low, high``, ``p`` (of the
        mean, by flips of the images' signs), ``adjusted`` (Holm, over all models and controls of a
        measure) and ``verdict``. Measures:

        * ``activation``: :math:`\sum (|d| - |d'|) / \sum |w|`, both in shares of the path's own
          activation, :math:`d'` of the partner;
        * ``own activation``: :math:`\sum |d| / \sum |w| - \sum |d'| / \sum |w'|`, each in shares
          of what it reaches;
        * ``label``: :math:`\sum (p - p') / \sum |s|`, and ``label size``, whatever the sign,
          :math:`\sum (|p| - |p'|) / \sum |s|`;
        * ``cosine``: of what the source writes and what the target reads, the mean difference.
    """
    following = pairs(edges, NEXT)
    measured = ["exact", "exact_probability", "target_activation", "source_effect", "composition"]
    path = following.loc[following["control"] == "path", [*KEY, *measured]]
    both = following[following["control"] != "path"].merge(path, on=KEY, suffixes=("", "_path"))
    keys = [*CELL, "control"]
    table, rows = by_image(both, keys, _lead), []
    for names, own in table.groupby(keys, sort=False):
        place = dict(zip(keys, names, strict=True))
        # of weights alone nothing is replaced
        measures = LEADS if place["replaced"] == "zero" else LEADS[:-1]
        rows += [{**place, "measure": measure, **interval(own[measure], seed),
                  "p": _flipped(own[measure], seed)} for measure in measures]
    return judged(pd.DataFrame(rows), "measure")
