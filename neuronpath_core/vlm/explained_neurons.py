"""Neurons that are chosen, explained and scored, each beside its controls (Xu et al., 2025,
section 4.6 and Table 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from neuronpath_core.vlm.candidates import Patterns
from neuronpath_core.vlm.explained import (
    KINDS,
    Explainer,
    Explanation,
    Record,
    Sample,
    Simulator,
    records_of,
)
from neuronpath_core.vlm.explanation_controls import Places, ceiling, generic, swapped_with
from neuronpath_core.vlm.explanation_scores import Over, Score, score
from neuronpath_core.vlm.modality import TYPES
from neuronpath_core.vlm.records import Records

if TYPE_CHECKING:
    from jaxtyping import Float

MOST, LEAST, LEVEL = 40, 20, 0.8  # neurons of a type; if fewer are sure, so many; who is sure
# of a neuron's top samples, from 0, those that it is explained from and scored on; the paper has
# ranks 1, 5, 9, 13, 17 and 3, 7, 11, 15, 19
EXPLAINED, SCORED = (0, 4, 8, 12, 16), (2, 6, 10, 14, 18)
TOP, RANDOM, RAW = "top samples", "random samples", "raw images"
ON_TOP, ON_BOTH = "top samples", "top and random samples"
CONTROLS = ("swapped", "generic", "place", "ceiling")


@dataclass(frozen=True)
class Chosen:
    """Neurons of one model that are explained.

    Attributes:
        records, samples: what they did, and where.
        neurons: ``neuron, layer, kind, p, sure``, a row each; not sure are those that are below
            ``LEVEL`` and are there because too few are above.
        patterns: of the samples.
    """

    records: Records
    samples: Sequence[Sample]
    neurons: pd.DataFrame
    patterns: Patterns = field(default_factory=Patterns)

    def records_of(self, row: Mapping[str, Any], slots: Sequence[int]) -> list[Record]:
        """A neuron's samples of these slots."""
        return records_of(self.records, self.samples, int(row["neuron"]), slots)

    @property
    def random(self) -> tuple[int, ...]:
        """The slots of random samples."""
        return tuple(range(self.records.top, self.records.samples.shape[1]))


def choose(records: Records, samples: Sequence[Sample], p: Float[np.ndarray, "neuron 4"],
           most: int = MOST, seed: int = 0, patterns: Patterns | None = None) -> Chosen:
    """Of each type up to ``most`` neurons with a probability of at least ``LEVEL``, drawn at
    random; if fewer than ``LEAST`` have one, the ``LEAST`` most probable, of which some are then
    not sure.

    Args:
        records: with at least as many top samples as the largest of ``SCORED``.
        samples: that they are of.
        p: the probabilities of the types.
        most: neurons of a type.
        seed: of the draw.
        patterns: shared with others, to compute each once.

    Raises:
        ValueError: records with too few top samples.
    """
    if records.top <= max(*EXPLAINED, *SCORED):
        raise ValueError(f"{records.top} top samples of each neuron; accepted: at least "
                         f"{max(*EXPLAINED, *SCORED) + 1}, of which every fourth is explained from")
    rng, rows = np.random.default_rng(seed), []
    for kind in KINDS:
        own = np.nan_to_num(p[:, TYPES.index(kind)], nan=-1)
        found = np.flatnonzero(own >= LEVEL)
        if len(found) < min(LEAST, most):
            order = np.argsort(-own, kind="stable")[:min(LEAST, most)]
            found = order[own[order] > 0]
        elif len(found) > most:
            found = rng.choice(found, most, replace=False)
        rows += [{"neuron": int(each), "layer": int(records.layers[each]), "kind": kind,
                  "p": own[each], "sure": bool(own[each] >= LEVEL)} for each in sorted(found)]
    columns = ["neuron", "layer", "kind", "p", "sure"]
    return Chosen(records, samples, pd.DataFrame(rows, columns=columns),
                  patterns if patterns is not None else Patterns())


def explain_all(chosen: Chosen, explainer: Explainer, slots: Sequence[int]) -> list[Explanation]:
    """An explanation of each chosen neuron from its samples of these slots."""
    return [explainer.explain(chosen.records_of(row, slots), row["kind"])
            for row in chosen.neurons.to_dict("records")]


def best_all(chosen: Chosen, simulator: Simulator, scored: Sequence[int] = SCORED
             ) -> list[Float[np.ndarray, "sample"]]:
    """For each chosen neuron :func:`~neuronpath_core.vlm.explanation_controls.ceiling` on the
    samples of these slots."""
    return [ceiling(chosen.records_of(row, scored), row["kind"], simulator, chosen.patterns)
            for row in chosen.neurons.to_dict("records")]


def score_all(chosen: Chosen, said: Sequence[Explanation], simulator: Simulator,
              explained: Sequence[int], scored: Sequence[int] = SCORED, over: Over = "sample",
              seed: int = 0, best: Sequence[np.ndarray] | None = None) -> pd.DataFrame:
    """The scores of explanations and their controls on samples that had no part in them.

    Args:
        chosen: the neurons.
        said: an explanation of each.
        simulator: of image and words.
        explained: the slots that explanations are from, which the control of places knows too.
        scored: the slots that are scored.
        over: as of :func:`~neuronpath_core.vlm.explanation_scores.score`.
        seed: of the swaps.
        best: of :func:`best_all` on the samples that are scored.

    Returns:
        A row for each neuron and scored sample (for each neuron if pooled): ``neuron, layer, kind,
        sample``, the correlations ``own, swapped, generic, place, ceiling`` (NaN where no neuron
        is there to swap with; ceilings are ``best``), and of the own one whether it was
        ``constant`` or ``failed``.
    """
    rows = chosen.neurons.to_dict("records")
    swaps = swapped_with(chosen.neurons["kind"].tolist(), chosen.neurons["layer"].to_numpy(), seed)
    tables = []
    for place, row in enumerate(rows):
        held, kind = chosen.records_of(row, scored), row["kind"]

        def of(each: Explanation, by: Simulator = simulator, held=held, kind=kind) -> Score:
            return score(held, [by.simulate(each, record.unseen) for record in held], kind, over)

        own = of(said[place])
        others = [of(said[other]).parts for other in swaps[place]]
        known = Places(chosen.records_of(row, explained))
        table = pd.DataFrame({
            **{name: row[name] for name in ("neuron", "layer", "kind")},
            "sample": chosen.records.samples[row["neuron"], list(scored)] if over == "sample"
            else [-1], "own": own.parts,
            "swapped": np.mean(others, 0) if others else np.nan,
            "generic": of(generic(kind)).parts, "place": of(said[place], known).parts,
            "constant": own.constant / own.of, "failed": own.failed / own.of})
        tables.append(table.assign(ceiling=np.nan if best is None else best[place]))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def resampled_means(table: pd.DataFrame, columns: Sequence[str], resamples: int = 1000,
                    seed: int = 0) -> Float[np.ndarray, "resample column"]:
    """Means of columns with neurons and samples both drawn anew, with replacement, and each row as
    often as its neuron times its sample (Owen, 2007, the pigeonhole bootstrap): neurons share their
    top samples, so that neither alone is a unit.  Rows of sample -1 are of neurons alone.

    Args:
        table: ``neuron, sample`` and the columns, without NaN.
        columns: whose means are wanted.
        resamples: how many.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    units = [np.unique(table[name], return_inverse=True) for name in ("neuron", "sample")]
    values = table[list(columns)].to_numpy(float)
    found = []
    for _ in range(resamples):
        weight = np.ones(len(table))
        for name, (known, places) in zip(("neuron", "sample"), units, strict=True):
            if name == "sample" and len(known) == 1:
                continue
            counts = np.bincount(rng.integers(len(known), size=len(known)), minlength=len(known))
            weight = weight * counts[places]
        if weight.sum():
            found.append(weight @ values / weight.sum())
    return np.array(found)
