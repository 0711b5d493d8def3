"""The types of the neurons of every model that Chapter 32 compares, with the scenes drawn anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.vlm_study import RANDOM, VlmStudy
from neuronpath_core.stats.intervals import normal_row
from neuronpath_core.vlm.modality import Criteria, counts, probabilities, sample_types
from neuronpath_core.vlm.modality_nulls import permuted_labels
from neuronpath_core.vlm.records import Records
from neuronpath_core.vlm.sequences import PATCHES
from neuronpath_core.vlm.type_draws import drawn_probabilities, scene_weights

if TYPE_CHECKING:
    from jaxtyping import Float

DRAWS = 100  # of the scenes
DEALS = 4  # of the labels of tokens
DATA = "scenes"
STEP = " step "  # in the name of a training that is not over
CRITERIA = Criteria().for_patches(PATCHES)


@dataclass(frozen=True)
class Types:
    """Probabilities of the four types, of all neurons.

    Attributes:
        p: ``(neuron, 4)``, NaN for dead neurons.
        drawn: ``(draw, neuron, 4)``, the same with the scenes drawn anew.
    """

    p: Float[np.ndarray, "neuron 4"]
    drawn: Float[np.ndarray, "draw neuron 4"]

    def row(self, statistic: Callable[[np.ndarray], float], other: Types | None = None
            ) -> dict[str, float]:
        """``value, low, high`` of a statistic of the probabilities, or of how much larger it is
        than that of others on the same scenes; 95 %, over scenes."""
        value, draws = statistic(self.p), np.array([statistic(each) for each in self.drawn])
        if other is not None:
            value = value - statistic(other.p)
            draws = draws - np.array([statistic(each) for each in other.drawn])
        return normal_row(value, draws[np.isfinite(draws)])


@dataclass(frozen=True)
class Read:
    """What is known of one model.

    Attributes:
        name: the model.
        records: what its neurons did.
        own: their types.
        dealt: the same with the labels of tokens dealt within each sample, deal by deal.
    """

    name: str
    records: Records
    own: Types
    dealt: tuple[Types, ...]

    @property
    def layers(self) -> np.ndarray:
        """The layer of each neuron."""
        return self.records.layers


def types_of(records: Records, seed: int = 0, draws: int = DRAWS,
             labels: tuple[np.ndarray, np.ndarray] = (None, None)) -> Types:
    """The types of all neurons, with other labels of the tokens where they are given."""
    found = counts(records, CRITERIA, "floor", *labels)
    kinds = np.where(records.live[:, None], sample_types(*found, CRITERIA), -1)
    weights = scene_weights(len(records.visual), draws, seed)
    p = np.stack([(kinds == kind).mean(1) for kind in range(4)], 1)
    p[~records.live] = np.nan
    return Types(p, drawn_probabilities(kinds, records.samples[:, :records.top], weights))


def read(study: VlmStudy, name: str, seed: int = 0, deals: int = DEALS, **options) -> Read:
    """A model's neurons; options as of
    :meth:`~neuronpath_core.chapters.vlm_study.VlmStudy.records`."""
    records = study.records(name, **options)
    rng = np.random.default_rng(seed)
    dealt = tuple(types_of(records, seed, labels=permuted_labels(records, rng))
                  for _ in range(deals))
    return Read(name, records, types_of(records, seed), dealt)


def reads(study: VlmStudy, model: str, seed: int = 0) -> dict[str, Read]:
    """The network before training, the states of one training on the way, every training of a
    recipe, and those of the profile's other recipes.

    Raises:
        ValueError: no training of the recipe has weights.
    """
    study.check_models()
    if not (names := study.seeds(model)):
        raise ValueError(f"no training of {model} has weights; accepted: a recipe of which there "
                         f"are some: {', '.join(study.models)}")
    names = [RANDOM, *study.checkpoints(model), *names,
             *(each for other in study.settings["models"] if other != model
               for each in study.seeds(other))]
    return {name: read(study, name, seed) for name in names}


def stacked(found: Mapping[str, Read], rows: Callable[[Read], pd.DataFrame]) -> pd.DataFrame:
    """``rows(read)`` of every model below one another, with ``data``, ``model`` and ``scenes``, how
    many there were."""
    return stacked_tables({name: rows(each).assign(scenes=len(each.records.visual))
                           for name, each in found.items()})


def stacked_tables(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of models below one another, with ``data`` and ``model``."""
    tables = [table.assign(data=DATA, model=name) for name, table in found.items() if len(table)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def trained(found: Mapping[str, Read]) -> dict[str, Read]:
    """Those of the models whose training is over."""
    return {name: each for name, each in found.items() if name != RANDOM and STEP not in name}


def of_recipe(found: Mapping[str, Read], model: str) -> dict[str, Read]:
    """The trainings of one recipe."""
    return {name: each for name, each in trained(found).items()
            if name == model or name.startswith(f"{model} seed ")}


def published_types(records: Records) -> Float[np.ndarray, "neuron 4"]:
    """The types by the published criteria as they stand, made for 576 image tokens."""
    return probabilities(records)
