"""How paths are found by complete settings: by an engine that searches, or by a method that does
not, with the score of what it finds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core import search
from neuronpath_core.fast import engine as fast_engine
from neuronpath_core.fast.drafts import (
    ATTRIBUTION_ROUNDING_UNITS,
    doubtful,
    drafted_model,
    magnified,
)
from neuronpath_core.forward import of_images
from neuronpath_core.found_paths import FoundPaths, wide
from neuronpath_core.jas import joint_attribution_score
from neuronpath_core.ranking import layer_tops
from neuronpath_core.scores import METHODS
from neuronpath_core.settings import SearchSettings
from neuronpath_core.support.memory import memory_limit
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64

# An engine finds the paths of methods that search: (target, images, labels, complete settings,
# numbers of neurons per block, baseline or None) to one FoundPaths for each number.
Engine = Callable[[TargetModel, Tensor, Tensor, SearchSettings, Sequence[int], Tensor | None],
                  list[FoundPaths]]
ENGINES: dict[str, Engine] = {"fast": fast_engine.search, "plain": search.search}


def find(target: TargetModel, images: Tensor, labels: Tensor, every: Sequence[SearchSettings],
         engine: str, memory_budget: int | str | None, baseline: Tensor | None) -> list[FoundPaths]:
    """Paths by complete settings that differ in their number of neurons per block alone.

    Args:
        target, images, labels, baseline: checked, see :func:`~neuronpath_core.paths.find_paths`.
        every: the settings, at least one.
        engine, memory_budget: of the same function.

    Returns:
        one for each of the settings, in order, all of them with a dimension of ranks.

    Raises:
        ValueError: an unknown engine, or one or a baseline that the method does not take.
    """
    if not is_one_of(engine, ENGINES):
        raise ValueError(f"unknown engine {shown(engine)}; accepted: {', '.join(ENGINES)}")
    images, settings, counts = images.detach(), every[0], [each.count for each in every]
    if baseline is not None and not METHODS[settings.method].with_baseline:
        accepted = ", ".join(key for key, method in METHODS.items() if method.with_baseline)
        raise ValueError(f"method {shown(settings.method)} compares with no baseline; accepted: "
                         f"baseline None, or a method of {accepted}")
    with memory_limit(target, memory_budget):
        if METHODS[settings.method].searched:
            found = _searched(target, images, labels, settings, counts, engine, baseline)
            _say_what_is_flat(found[0].flat)
            if settings.method == "complete":  # it was searched by another attribution
                found = [_scored(target, images, labels, settings, each.neurons, each.steps,
                                 baseline) for each in found]
        elif engine != "fast":
            raise ValueError(f"engine {shown(engine)} is for methods that search, got "
                             f"{shown(settings.method)}; accepted: method 'neuron_path', or engine "
                             "'fast'")
        else:
            found = [_chosen(target, images, labels, settings, count, baseline)
                     for count in counts]
    return found


def _say_what_is_flat(flat: Bool[Tensor, "batch choice"]) -> None:
    """Warn of how many images a choice was between equal scores."""
    if not flat.any():
        return
    nothing, some = int(flat.all(1).sum()), int(flat.any(1).sum())
    every = f", {nothing} in all layers" if nothing else ""
    hint = ("; they need a trained model (timm begins with a head of zeros), a label whose "
            "probability is not exactly 0 or 1, or double precision") if nothing else ""
    warnings.warn(f"{some} of {len(flat)} images have a layer{every} in which every neuron scores "
                  f"the same, so that its choice means nothing: the label's probability does not "
                  f"move with it{hint}", RuntimeWarning, stacklevel=4)


def _searched(target: TargetModel, images: Tensor, labels: Tensor, settings: SearchSettings,
              counts: list[int], engine: str, baseline: Tensor | None) -> list[FoundPaths]:
    """By the engine that was asked for; of a model that is not its blocks put together, by the
    plain one, which calls it."""
    if target.differs is not None and engine == "fast":
        engine, settings = "plain", settings.but(draft=None)
        warnings.warn(f"the model as it is called is not its blocks put together: {target.differs};"
                      " engine 'plain' searches it, which calls it and takes many times as long",
                      RuntimeWarning, stacklevel=4)
    return ENGINES[engine](target, images, labels, settings, counts, baseline)


def _chosen(target: TargetModel, images: Tensor, labels: Tensor, settings: SearchSettings,
            count: int, baseline: Tensor | None) -> FoundPaths:
    """By a method that does not search, with the joint attribution score of what it finds."""
    method = METHODS[settings.method]
    if method.choose is not None:
        neurons = method.choose(target, images, labels, settings, count,
                                **_compared(baseline))
    else:
        neurons = _ranked(target, images, labels, settings, count, baseline)
    taken = torch.full((len(images),), settings.last_rule, device=target.device)
    return _scored(target, images, labels, settings, neurons, taken, baseline)


def _compared(baseline: Tensor | None) -> dict[str, Tensor]:
    """The keyword of a method that is given a baseline."""
    return {} if baseline is None else {"baseline": baseline}


def _ranked(target: TargetModel, images: Tensor, labels: Tensor, settings: SearchSettings,
            count: int, baseline: Tensor | None) -> Int64[Tensor, "batch layer rank"]:
    """The best neurons of every block by a score of single neurons.

    An integral is drafted, and computed again for images where that chose narrowly.
    """
    method = METHODS[settings.method]
    drafted = drafted_model(target, settings.draft) if method.drafted else None
    if drafted is None:
        scores = method.rank(target, images, labels, settings, **_compared(baseline))
        neurons, gaps = layer_tops(target, scores, count)
        _say_what_is_flat(gaps == -torch.inf)
        return neurons
    scores = method.rank(drafted, images.to(drafted.dtype), labels, settings,
                         **_compared(_in_dtype(baseline, drafted)))
    neurons, gaps = layer_tops(drafted, scores, count)
    units = magnified(drafted, images, baseline, ATTRIBUTION_ROUNDING_UNITS)
    rows = torch.nonzero(doubtful(gaps, drafted, units).any(1))[:, 0]
    if len(rows):
        scores = method.rank(target, images[rows], labels[rows], settings,
                             **_compared(of_images(baseline, rows)))
        neurons[rows], again = layer_tops(target, scores, count)
        gaps[rows] = again.to(gaps.dtype)
    _say_what_is_flat(gaps == -torch.inf)
    return neurons


def _in_dtype(baseline: Tensor | None, model: TargetModel) -> Tensor | None:
    """A baseline in the precision of a model."""
    return None if baseline is None else baseline.to(model.dtype)


def _scored(target: TargetModel, images: Tensor, labels: Tensor, settings: SearchSettings,
            neurons: Tensor, steps: Tensor, baseline: Tensor | None) -> FoundPaths:
    """Neurons with their joint attribution score in full context."""
    model = drafted_model(target, settings.draft) or target
    score = joint_attribution_score(model, images.to(model.dtype), labels, neurons,
                                    settings.quadrature, settings.one_rule, settings.nodes,
                                    _in_dtype(baseline, model))
    return FoundPaths(neurons, score.to(wide(target)), steps)
