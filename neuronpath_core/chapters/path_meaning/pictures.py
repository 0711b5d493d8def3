"""What a path looks like: images that drive all neurons of a class's paths together (J7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from neuronpath_core.chapters.path_meaning.measured import RANDOM, Case, numbers
from neuronpath_core.interventions import class_probabilities
from neuronpath_core.neurons.key_neurons import alignment, best_neurons
from neuronpath_core.neurons.matched import drawn
from neuronpath_core.neurons.spectrum import Statistics
from neuronpath_core.neurons.stimuli import Objective, stimulate
from neuronpath_core.settings import RECOMMENDED
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64, UInt8

PATH, BEST, EVERY = "all path neurons", "best value neuron", "best value neuron of each block"
RANDOMLY, ALIKE = "random path", "matched path"
SOURCES = (PATH, BEST, EVERY, ALIKE, RANDOMLY)
ITSELF, AGAIN, OTHERS = "the model itself", "trained from other seeds", "other architectures"


def class_profile(neurons: Int64[np.ndarray, "image layer"]) -> Objective:
    """The neurons of some paths with how many of the paths have each."""
    return dict(Counter((block, int(neuron)) for path in neurons
                        for block, neuron in enumerate(path)))


def objectives(case: Case, seed: int = 0) -> dict[str, list[Objective]]:
    """By where they are from, what each class's image is to drive: the neurons of the paths of its
    images, as often as they are on them; the neuron with the largest alignment, of the network and
    of each block; neurons matched to those of the paths, and random paths."""
    aligned = alignment(case.target)
    best = best_neurons(aligned)[:, 0].tolist()
    every = best_neurons(aligned, by_block=True)[:, :, 0].transpose(0, 1).tolist()
    alike = drawn(case.matches(RECOMMENDED), seed)
    rows = [np.flatnonzero(case.labels == label) for label in range(case.target.n_classes)]
    return {PATH: [class_profile(case.paths[RECOMMENDED][own]) for own in rows],
            BEST: [{tuple(pair): 1} for pair in best],
            EVERY: [{tuple(pair): 1 for pair in own} for own in every],
            ALIKE: [class_profile(alike[own]) for own in rows],
            RANDOMLY: [class_profile(case.paths[RANDOM][own]) for own in rows]}


def made(case: Case, statistics: Statistics, steps: int, seed: int = 0
         ) -> dict[str, Float[Tensor, "class channel height width"]]:
    """An image for each class by each source, all optimised alike: at the tokens of the scope,
    before the activation function.

    Raises:
        ValueError: a class without an image, which has no path.
    """
    wanted = objectives(case, seed)
    if not all(wanted[PATH]):
        missing = [label for label, own in enumerate(wanted[PATH]) if not own]
        raise ValueError(f"classes {missing} have no image and so no path; accepted: at least one "
                         "image of each class")
    tokens = "cls" if case.target.scope == "cls" else "patch"
    found = stimulate(case.target, [own for each in wanted.values() for own in each], steps=steps,
                      tokens=tokens, weights="score", statistics=statistics, seed=seed)
    return dict(zip(wanted, found.images.split(case.target.n_classes), strict=True))


def readers(study: Study, model: str, models: Sequence[str]) -> dict[str, list[TargetModel]]:
    """Who is asked what an image shows: the model, its replicas, the other models."""
    again = [name for name in study.variants(model) if " seed " in name]
    return {ITSELF: [study.target(model)], AGAIN: [study.target(name) for name in again],
            OTHERS: [study.target(name) for name in models if name != model]}


def named(images: Float[Tensor, "class channel height width"],
          targets: Sequence[TargetModel]) -> Float[np.ndarray, "class"]:
    """The share of some models that take each class's image for the class."""
    wanted = np.arange(len(images))
    return np.mean([numbers(class_probabilities(target, images.to(target.dtype))).argmax(1)
                    == wanted for target in targets], axis=0)


def picture_table(images: Mapping[str, Tensor],
                  asked: Mapping[str, Sequence[TargetModel]]) -> pd.DataFrame:
    """``source, reader, class, named``: the share of the readers that name each class's image."""
    return pd.concat([pd.DataFrame({"source": source, "reader": reader,
                                    "class": np.arange(len(own)), "named": named(own, targets)})
                      for source, own in images.items()
                      for reader, targets in asked.items() if targets], ignore_index=True)


def picture_rows(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """``reader, source, value, low, high, classes``: the rate with its interval over classes."""
    return pd.DataFrame([
        {"reader": reader, "source": source, **interval_row(own["named"].to_numpy(), seed=seed),
         "classes": len(own)}
        for (reader, source), own in table.groupby(["reader", "source"], sort=False)])


def picture_leads(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """``reader, against, value, low, high, classes``: the rate of images of whole paths minus that
    of each other source, paired over classes."""
    wide = table.pivot(index=["reader", "class"], columns="source", values="named")
    rows = []
    for reader in dict.fromkeys(table["reader"]):
        own = wide.loc[reader]
        rows += [{"reader": reader, "against": name, "classes": len(own),
                  **interval_row((own[PATH] - own[name]).to_numpy(), seed=seed)}
                 for name in SOURCES if name != PATH]
    return pd.DataFrame(rows)


def as_pixels(images: Mapping[str, Float[Tensor, "class channel height width"]],
              statistics: Statistics) -> dict[str, UInt8[np.ndarray, "class height width 3"]]:
    """What a person sees of images as a model sees them: from 0, black, to 255, white."""
    low, high = (numbers(end)[:, None, None] for end in (statistics.low, statistics.high))
    found = {}
    for name, own in images.items():
        share = np.clip((numbers(own) - low) / (high - low), 0, 1)
        pixels = np.round(255 * np.moveaxis(share, 1, -1)).astype(np.uint8)
        found[name] = np.broadcast_to(pixels, (*pixels.shape[:3], 3))
    return found
