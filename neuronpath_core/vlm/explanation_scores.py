"""How well what is simulated agrees with what a neuron does (Xu et al., 2025, appendix A.3).

Visual neurons are scored on image tokens alone, text neurons on words alone, multi-modal ones by
the mean of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.vlm.explained import MODALITIES, Kind, Modality, Record, check_kind

if TYPE_CHECKING:
    from jaxtyping import Float

Over = Literal["sample", "pooled"]
Empty = Literal["zero", "drop"]
CHOICES = {"over": ("sample", "pooled"), "empty": ("zero", "drop")}


@dataclass(frozen=True)
class Score:
    """A neuron's score.

    Attributes:
        value: the mean correlation, from -1 to 1; NaN where there is none.
        parts: float64 ``(sample,)``, each sample's own, or one for all if pooled; NaN where a
            constant has none and is dropped.
        constant: of how many correlations one side was constant, so that there is none.
        failed: in how many samples the simulator failed, once for each modality.
        of: how many correlations were asked for.
    """

    value: float
    parts: Float[np.ndarray, "sample"]
    constant: int
    failed: int
    of: int


def pearson(first: Float[np.ndarray, "*batch token"], second: Float[np.ndarray, "*batch token"]
            ) -> Float[np.ndarray, "*batch"]:
    r"""Equation 1, :math:`\rho = \mathrm{cov}(a, b) / (\sigma_a \sigma_b)` over the last axis; NaN
    where either side is constant or has a NaN."""
    first, second = np.asarray(first, float), np.asarray(second, float)
    if not first.shape[-1]:
        return np.full(np.broadcast_shapes(first.shape[:-1], second.shape[:-1]), np.nan)
    # against the values themselves: what is left of a constant's mean by rounding is no spread
    flat = (np.ptp(first, -1) == 0) | (np.ptp(second, -1) == 0)
    first = first - first.mean(-1, keepdims=True)
    second = second - second.mean(-1, keepdims=True)
    size = np.sqrt((first ** 2).sum(-1) * (second ** 2).sum(-1))
    found = np.divide((first * second).sum(-1), size, out=np.full(size.shape, np.nan),
                      where=(size > 0) & ~flat)
    return np.clip(found, -1, 1)


def score(records: Sequence[Record], simulated: Sequence[Float[np.ndarray, "token"]], kind: Kind,
          over: Over = "sample", empty: Empty = "zero") -> Score:
    """The correlation of simulated values with those of a neuron.

    Args:
        records: samples that had no part in the explanation.
        simulated: for each record the values of a simulator, or of two, one for each modality.
        kind: the neuron's type, which says which tokens count.
        over: ``"sample"``: of each sample, then the mean, as the paper says; ``"pooled"``: over the
            tokens of all samples at once, as Bills et al. (2023) do.
        empty: what a correlation is where one side is constant or the simulator failed: ``"zero"``,
            or left out of the mean (``"drop"``).

    Raises:
        ValueError: an unknown choice, or not one row of values for each record and token.
    """
    check_kind(kind)
    for name, value in (("over", over), ("empty", empty)):
        if not is_one_of(value, CHOICES[name]):
            raise ValueError(f"unknown {name} {shown(value)}; accepted: "
                             f"{', '.join(CHOICES[name])}")
    if len(records) != len(simulated) or any(
            len(row) != len(record.values) for row, record in zip(simulated, records, strict=True)):
        raise ValueError("simulated values do not fit the records; accepted: for each record a "
                         "value for each of its tokens")
    found = [_of(records, simulated, modality, over) for modality in MODALITIES[kind]]
    table = np.stack([correlations for correlations, _ in found])
    failed = sum(number for _, number in found)
    constant = int(np.isnan(table).sum()) - (failed if over == "sample" else 0)
    if empty == "zero":
        table = np.nan_to_num(table)
    known = ~np.isnan(table)
    parts = np.divide(np.nansum(table, 0), known.sum(0), where=known.any(0),
                      out=np.full(table.shape[1], np.nan))
    value = float(np.nanmean(parts)) if known.any() else float("nan")
    return Score(value, parts, constant, failed, table.size)


def _of(records: Sequence[Record], simulated: Sequence[np.ndarray], modality: Modality,
        over: Over) -> tuple[Float[np.ndarray, "sample"], int]:
    """Correlations of one modality, and in how many samples the simulator failed."""
    pairs = []
    for record, row in zip(records, simulated, strict=True):
        counted = record.counted(modality)
        pairs.append((record.values[counted], np.asarray(row, float)[counted]))
    failed = sum(bool(np.isnan(row).any()) for _, row in pairs)
    if over == "pooled":
        # what is pooled lacks the samples in which the simulator failed; they are counted
        known = [pair for pair in pairs if not np.isnan(pair[1]).any()]
        pairs = [tuple(map(np.concatenate, zip(*known, strict=True)))] if known else [
            (np.zeros(1), np.zeros(1))]
    return np.array([float(pearson(values, row)) for values, row in pairs]), failed
