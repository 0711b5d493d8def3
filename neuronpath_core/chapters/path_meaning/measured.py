"""What every question of the chapter starts from: a model's paths, its neurons' activations, and
the neurons that are like those of the paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.baselines import activation_paths
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.neurons.key_neurons import alignment, percentiles
from neuronpath_core.neurons.keys import Keys, read_keys, value_norms
from neuronpath_core.neurons.matched import matched, of_path, over_matches
from neuronpath_core.random_paths import random_paths
from neuronpath_core.readings.memories import value_matrix
from neuronpath_core.readings.memory_nulls import largest_cosine_below
from neuronpath_core.readings.projection import effective_rows, norm_of
from neuronpath_core.scores import METHODS
from neuronpath_core.settings import RECOMMENDED
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.tests import judged, sign_flip_p
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

PUBLISHED, ACTIVE, RANDOM = "neuron_path", "activation", "random"
FOUND = (RECOMMENDED, PUBLISHED)  # whose paths the questions are about
METHODS_USED = (*FOUND, ACTIVE, RANDOM)
LABELS = {name: METHODS[name].label for name in METHODS_USED}
# tell the questions of a table apart; what models and methods answer to one is a family
QUESTIONS = ("measure", "against", "route", "score", "blocks")
LIKE, LIKE_HERE = "matched neurons", "neurons as active in the image"


@dataclass(frozen=True)
class Case:
    """A model with images, paths and what its neurons do.

    Attributes:
        target: the model.
        pixels, labels: the images as it sees them, and the class that each path is of.
        keys: of every neuron at every patch.
        aligned: how many of a block's neurons write a class less than each neuron does.
        direction: how many uniform directions point along a class less than each value vector.
        likeness: mean absolute activation at the scope, over images, and length of the value
            vector: what matched neurons have alike.
        here: mean absolute activation at the scope in each image.
        paths: by method, one neuron a block.
    """

    target: TargetModel
    pixels: Tensor
    labels: Int64[np.ndarray, "image"]
    keys: Keys
    aligned: Float[np.ndarray, "layer neuron class"]
    direction: Float[np.ndarray, "layer neuron class"]
    likeness: tuple[Float[np.ndarray, "layer neuron"], Float[np.ndarray, "layer neuron"]]
    here: Float[np.ndarray, "image layer neuron"]
    paths: Mapping[str, Int64[np.ndarray, "image layer"]]
    _matches: dict[tuple[str, str], np.ndarray] = field(default_factory=dict, init=False,
                                                        repr=False, compare=False)

    def matches(self, method: str, like: str = LIKE) -> Bool[np.ndarray, "image layer neuron"]:
        """The neurons that are like those of a method's paths; to read, not to write, because
        every question asks for the same ones and they are found once."""
        if (method, like) not in self._matches:
            first = self.likeness[0] if like == LIKE else self.here
            found = matched(self.paths[method], first, self.likeness[1])
            found.setflags(write=False)
            self._matches[method, like] = found
        return self._matches[method, like]

    def of_label(self, table: Float[np.ndarray, "layer neuron class"],
                 labels: Int64[np.ndarray, "image"] | None = None
                 ) -> Float[np.ndarray, "image layer neuron"]:
        """A table of classes at each image's label."""
        return np.moveaxis(table[..., self.labels if labels is None else labels], -1, 0)


def case_of(study: Study, model: str, images: ImageSet, methods: Sequence[str] = METHODS_USED,
            seed: int = 0) -> Case:
    """A model of a study with the paths of these images: those that are searched from the store,
    those of activation and of random made here, without the score that the store has of them."""
    pixels, labels = study.batch(images, model)
    target = study.target(model)
    simple = {ACTIVE: lambda: activation_paths(target, pixels)[..., 0],
              RANDOM: lambda: random_paths(target, pixels, 1, seed)[..., 0]}
    paths = {name: (simple[name]() if name in simple
                    else study.paths(model, images, name).neurons).cpu().numpy()
             for name in methods}
    return make_case(target, pixels, labels, paths)


def make_case(target: TargetModel, pixels: Tensor, labels: Tensor,
              paths: Mapping[str, Int64[np.ndarray, "image layer"]]) -> Case:
    """A case of any network and paths."""
    keys = read_keys(target, pixels)
    if target.scope == "cls":
        here = keys.first.abs().transpose(0, 1)
    else:
        here = keys.maps.abs().mean(-1).transpose(0, 1)
    here = numbers(here)
    return Case(target, pixels, labels.cpu().numpy(), keys,
                numbers(percentiles(alignment(target))), among_directions(target),
                (here.mean(0), numbers(value_norms(target))), here, dict(paths))


def numbers(values: Tensor) -> np.ndarray:
    """A tensor as a float64 array."""
    return values.detach().cpu().double().numpy()


@torch.no_grad()
def among_directions(target: TargetModel) -> Float[np.ndarray, "layer neuron class"]:
    """How many directions, drawn uniformly in the space that the norm leaves, point along a class
    less than each value vector does."""
    rows = torch.nn.functional.normalize(effective_rows(target), dim=-1)
    centred = norm_of(target) is not None
    found = []
    for block in range(len(target.model.blocks)):
        vectors = value_matrix(target, block, "ffn")
        vectors = vectors - vectors.mean(-1, keepdim=True) if centred else vectors
        found.append(numbers(torch.nn.functional.normalize(vectors, dim=-1) @ rows.T))
    return largest_cosine_below(np.stack(found), 1, rows.shape[1] - centred)


# --- how a property of paths becomes an effect ---


def compared(case: Case, method: str, values: Float[np.ndarray, "image layer neuron"],
             like: str = LIKE) -> Float[np.ndarray, "image layer"]:
    """A property of the path's neurons minus its mean over those that are like them."""
    return of_path(values, case.paths[method]) - over_matches(values, case.matches(method, like))


def effect_rows(case: Case, values: Float[np.ndarray, "image layer neuron"], measure: str,
                seed: int = 0) -> pd.DataFrame:
    """A property of path neurons as effects: ``measure, method, against, value, low, high`` (the
    mean over blocks of each image, its bootstrap over ``images``), ``path`` and ``other``, the two
    means.

    The controls are neurons matched over all images, neurons as active in the image, and the paths
    of activation and of random.
    """
    rows = []
    for method in [name for name in FOUND if name in case.paths]:
        own = of_path(values, case.paths[method])
        others = {like: over_matches(values, case.matches(method, like))
                  for like in (LIKE, LIKE_HERE)}
        others |= {f"the path of {LABELS[name]}": of_path(values, case.paths[name])
                   for name in (ACTIVE, RANDOM) if name in case.paths}
        rows += [{"measure": measure, "method": method, "against": name,
                  **gap_row(own, other, seed)} for name, other in others.items()]
    return pd.DataFrame(rows)


def gap_row(own: Float[np.ndarray, "image layer"], other: Float[np.ndarray, "image layer"],
            seed: int = 0) -> dict[str, float]:
    """Two numbers of each image and block, compared image by image: ``value, low, high`` of the
    difference of their means over blocks, its ``p`` by flipped signs of the images, ``path, other``
    and ``images``; blocks and images of which either is not defined (NaN) are left out, and NaN
    comes of fewer than two images."""
    known = ~(np.isnan(own) | np.isnan(other))
    count = known.sum(1)
    first, second = (np.where(known, each, 0).sum(1)[count > 0] / count[count > 0]
                     for each in (own, other))
    if len(first) < 2:
        return {**dict.fromkeys(("value", "low", "high", "p", "path", "other"), np.nan),
                "images": len(first)}
    return {**interval_row(first - second, seed=seed), "p": sign_flip_p(first - second, seed),
            "path": first.mean(), "other": second.mean(), "images": len(first)}


def thirds(blocks: int) -> dict[str, slice]:
    """The first, the middle and the last third of the blocks, by name."""
    ends = np.round(np.linspace(0, blocks, 4)).astype(int)
    return {name: slice(start, stop) for name, start, stop in zip(
        ("first third", "middle third", "last third"), ends[:-1], ends[1:], strict=True)}


def stacked(cases: Mapping[tuple[str, str], Case],
            rows: Callable[[tuple[str, str], Case], pd.DataFrame]) -> pd.DataFrame:
    """``rows(key, case)`` of every model below one another, with ``data`` and ``model``, and
    judged where they have a ``p`` (:func:`in_families`)."""
    tables = [rows(key, case).assign(data=key[0], model=key[1]) for key, case in cases.items()]
    return in_families(pd.concat(tables, ignore_index=True)) if tables else pd.DataFrame()


def in_families(table: pd.DataFrame) -> pd.DataFrame:
    """The table with ``adjusted``, the ``p`` of each effect after Holm's correction over all models
    and methods of which the same question is asked, and ``verdict``: of an effect whose adjusted p
    exceeds 0.05 it is "not shown", whatever its interval.  Without a ``p`` nothing changes."""
    if "p" not in table or table.empty:
        return table
    known = table[table["value"].notna()]
    asked = known[[name for name in QUESTIONS if name in known]].astype(str).agg(" / ".join, axis=1)
    found = judged(known.assign(family=asked), by="family")
    # an effect that is not defined shows nothing
    return table.assign(adjusted=found["adjusted"], verdict=found["verdict"].reindex(
        table.index, fill_value="not shown"))