r"""Shares of what all neurons do, and the areas under their curves, with intervals over images.

With m averaged over images first,

.. math:: f = \frac{\bar m - \bar m(\emptyset)}{\bar m(\mathrm{all}) - \bar m(\emptyset)}

as the MIB benchmark has it (Mueller et al., 2025).  The mean of the images' own ratios would be
made by the few images in which all neurons together do next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.integrate import trapezoid

from neuronpath_core.chapters.faithfulness.measured import CONTROLS, MATCHED, SCORES
from neuronpath_core.stats.intervals import interval_row, percentile_row, resampled
from neuronpath_core.stats.tests import judged, sign_test

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

CELL = ["data", "model", "replaced", "measure"]
REMOVED = "removed first"
# area -> the side that it is of, and the sign that makes it larger where a ranking is better
AREAS = {"CPR": ("keep", 1), "CMD": ("keep", -1), REMOVED: ("remove", -1)}
BASE = "gradient_activation"
# rankings that are held against that of gradient × activation
RIVALS = ("relp", "knowledge")


class _Cell:
    """The images of one data set, model, replacement and measure: m by what was measured."""

    def __init__(self, rows: pd.DataFrame) -> None:
        wide = rows.pivot(index="image", columns=["ranking", "side", "share"], values="value")
        ends = rows.groupby("image")[["full", "empty"]].first()
        self.columns, self.values = wide.columns, wide.to_numpy()
        self.full, self.empty = ends["full"].to_numpy(), ends["empty"].to_numpy()

    @property
    def images(self) -> int:
        return len(self.full)

    def shares(self, chosen: Int64[np.ndarray, "image"]) -> Float[np.ndarray, "column"]:
        """f of every column over the chosen images."""
        empty = self.empty[chosen].mean()
        return (self.values[chosen].mean(0) - empty) / (self.full[chosen].mean() - empty)

    def curve(self, ranking: str, side: str) -> tuple[np.ndarray, np.ndarray]:
        """Positions of a ranking's columns of a side, by increasing share, and the axis; of a side
        that was not measured there are none."""
        own = sorted((share, place) for place, (name, each, share) in enumerate(self.columns)
                     if name == ranking and each == side)
        return (np.array([place for _, place in own], dtype=int),
                np.array([share for share, _ in own]) / 100)

    def areas_of(self, *rankings: str) -> list[str]:
        """Those of ``AREAS`` whose side was measured of all of some rankings."""
        return [area for area, (side, _) in AREAS.items()
                if all(len(self.curve(name, side)[0]) for name in rankings)]

    def column(self, ranking: str, side: str) -> int:
        """The position of a path's one column of a side."""
        place, = [place for place, (name, each, _) in enumerate(self.columns)
                  if name == ranking and each == side]
        return place

    def both(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """f of every column, ``(1, column)``, and the same over images that are drawn anew,
        ``(resample, column)``."""
        everyone = np.arange(self.images)
        return self.shares(everyone)[None], resampled(self.shares, [everyone], seed=seed)

    def rows(self, statistic: Callable, names: Sequence[dict], seed: int) -> list[dict]:
        """A row of ``value, low, high, images`` for every number of a statistic of f, a function of
        ``(resample, column)`` to ``(resample, number)``."""
        values, draws = (statistic(f) for f in self.both(seed))
        return [{**name, "images": self.images, **percentile_row(value, own)}
                for name, value, own in zip(names, values[0], draws.T, strict=True)]


def _by_cell(table: pd.DataFrame, make: Callable[[_Cell], list[dict]]) -> pd.DataFrame:
    return pd.DataFrame([dict(zip(CELL, names, strict=True)) | row
                         for names, rows in table.groupby(CELL, sort=False)
                         for row in make(_Cell(rows))])


def shares(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """f of all that was measured: ``data, model, replaced, measure, ranking, side, share, images,
    value, low, high`` (bootstrap over images).

    Args:
        table: of :func:`~neuronpath_core.chapters.faithfulness.measured.curves` or ``places``.
    """
    return _by_cell(table, lambda cell: cell.rows(
        lambda f: f, [dict(zip(("ranking", "side", "share"), column, strict=True))
                      for column in cell.columns], seed))


def _area(cell: _Cell, ranking: str, area: str, f: np.ndarray) -> Float[np.ndarray, "resample"]:
    """One of ``AREAS`` of a ranking, of every row of f."""
    place, axis = cell.curve(ranking, AREAS[area][0])
    curve = f[:, place]
    if area == "CMD":
        curve = np.abs(1 - curve)
    return trapezoid(curve, axis, axis=1) / (axis[-1] - axis[0])


def areas(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    r"""CPR, the area under f of the kept share, CMD, the area of :math:`|1 - f|`, and, where it was
    measured, the area under f of what is left when the best share is removed (``REMOVED``, lower is
    better), of every ranking: ``data, model, replaced, measure, ranking, area, images, value, low,
    high``."""
    def make(cell: _Cell) -> list[dict]:
        found = [(ranking, area) for ranking in dict.fromkeys(name for name, *_ in cell.columns)
                 for area in cell.areas_of(ranking)]

        def statistic(f: np.ndarray) -> np.ndarray:
            return np.stack([_area(cell, *each, f) for each in found], 1)

        return cell.rows(statistic, [{"ranking": ranking, "area": area} for ranking, area in found],
                         seed)

    return _by_cell(table, make)


def area_leads(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much better each score's ranking is than matched random neurons, and that of gradient ×
    activation than the other controls: the difference of CPR (theirs from its own), of CMD and of
    what is left when the best are removed first (its own from theirs), positive where the score is
    better.

    Returns:
        ``data, model, replaced, measure, ranking, against, area, images, value, low, high``, ``p``
        (sign test over images), ``adjusted`` (Holm, over all of a measure and an area) and
        ``verdict``.
    """
    return _leads(table, [(score, MATCHED) for score in SCORES] + [
        (BASE, control) for control in CONTROLS if control != MATCHED], seed)


def rival_leads(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """How much better the rankings of ``RIVALS`` are than that of gradient × activation: columns of
    :func:`area_leads`, a family of their own."""
    return _leads(table, [(score, BASE) for score in RIVALS], seed)


def _leads(table: pd.DataFrame, wanted: Sequence[tuple[str, str]], seed: int) -> pd.DataFrame:
    def make(cell: _Cell) -> list[dict]:
        known = {name for name, *_ in cell.columns}
        pairs = [(*pair, area) for pair in wanted if set(pair) <= known
                 for area in cell.areas_of(*pair)]

        def statistic(f: np.ndarray) -> np.ndarray:
            return np.stack([AREAS[area][1] * (_area(cell, score, area, f)
                                               - _area(cell, other, area, f))
                             for score, other, area in pairs], 1)

        rows = cell.rows(statistic, [{"ranking": score, "against": other, "area": area}
                                     for score, other, area in pairs], seed)
        return [row | {"p": sign_test(_image_leads(cell, row))} for row in rows]

    found = _by_cell(table, make)
    return judged(found.assign(family=found["measure"] + found["area"]), "family").drop(
        columns="family")


def _image_leads(cell: _Cell, row: dict) -> np.ndarray:
    """The lead of every image in units of m, of the same sign as the difference of f."""
    side, sign = AREAS[row["area"]]

    def area(ranking: str) -> np.ndarray:
        place, axis = cell.curve(ranking, side)
        curve = cell.values[:, place]
        if row["area"] == "CMD":
            curve = np.abs(cell.full[:, None] - curve)
        return sign * trapezoid(curve, axis, axis=1)

    return area(row["ranking"]) - area(row["against"])


# what is asked of two paths: the side, which of them should be ahead of which, and the sign of f
PATH_LEADS = {
    "own, kept": ("keep", "neuron_path", MATCHED, 1),
    "own, removed": ("remove", "neuron_path", MATCHED, -1),
    "question, kept": ("keep", "keep", "remove", 1),
    "question, removed": ("remove", "remove", "keep", -1),
}


def path_leads(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Differences of f between two paths of the same images, positive where the first does more:
    ``data, model, replaced, measure, lead`` (a key of ``PATH_LEADS``), ``images, value, low, high,
    p, adjusted, verdict``, Holm over all of a lead and a measure."""
    def make(cell: _Cell) -> list[dict]:
        pairs = {lead: (cell.column(first, side), cell.column(second, side), sign)
                 for lead, (side, first, second, sign) in PATH_LEADS.items()}

        def statistic(f: np.ndarray) -> np.ndarray:
            return np.stack([sign * (f[:, first] - f[:, second]) for first, second, sign
                             in pairs.values()], 1)

        rows = cell.rows(statistic, [{"lead": lead} for lead in pairs], seed)
        return [row | {"p": sign_test(sign * (cell.values[:, first] - cell.values[:, second]))}
                for row, (first, second, sign) in zip(rows, pairs.values(), strict=True)]

    found = _by_cell(table, make)
    return judged(found.assign(family=found["measure"] + found["lead"]), "family").drop(
        columns="family")


def apart(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The mean share of neurons in which the best path to keep differs from the best to remove:
    ``data, model, replaced, images, value, low, high``."""
    keys = ["data", "model", "replaced"]
    return pd.DataFrame([
        dict(zip(keys, names, strict=True))
        | {"images": len(rows), **interval_row(rows["apart"].to_numpy(), seed=seed)}
        for names, rows in table.groupby(keys, sort=False)])
