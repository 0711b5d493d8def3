"""``find_paths``: settings, a method and an engine give the paths of a batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neuronpath_core import search
from neuronpath_core.examined import check_target
from neuronpath_core.fast import engine as fast_engine
from neuronpath_core.fast.drafts import (
    ATTRIBUTION_ROUNDING_UNITS,
    doubtful,
    drafted_model,
    magnified,
)
from neuronpath_core.forward import check_baseline, of_images
from neuronpath_core.found_paths import FoundPaths, wide
from neuronpath_core.frames import path_frame
from neuronpath_core.jas import joint_attribution_score
from neuronpath_core.ranking import layer_tops
from neuronpath_core.scores import METHODS
from neuronpath_core.settings import OF_THE_SETTINGS, SearchSettings
from neuronpath_core.support.memory import memory_limit
from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd
    from jaxtyping import Bool, Float, Int64

# The module that makes graphs of paths, looked up by name: the core imports no room but support.
GRAPHS = "neuronpath_core.circuits.graphs"
# An engine finds the paths of methods that search: (target, images, labels, complete settings,
# numbers of neurons per block, baseline or None) to one FoundPaths for each number.
Engine = Callable[[TargetModel, Tensor, Tensor, SearchSettings, Sequence[int], Tensor | None],
                  list[FoundPaths]]
ENGINES: dict[str, Engine] = {"fast": fast_engine.search, "plain": search.search}


@dataclass(frozen=True)
class Paths:
    """One path per image.

    Attributes:
        neurons: int64 ``(batch, layer)``, or ``(batch, layer, rank)`` if several neurons a block
            were asked for.
        score: ``(batch,)`` joint attribution score of the path. A search by it gives the score in
            its own context, by its rule at the last block; every other method gives it in full
            context, by the largest of its rules.
        steps: int64 ``(batch,)`` steps of the rule at the last block; of ``steps="auto"`` how many
            it took.
        settings: the complete settings it was found with.
    """

    neurons: Int64[Tensor, "batch layer"]
    score: Float[Tensor, "batch"]
    steps: Int64[Tensor, "batch"]
    settings: SearchSettings | None = None

    def __len__(self) -> int:
        return len(self.neurons)

    def to_frame(
        self, target: TargetModel | None = None,
        images: Float[Tensor, "batch channel height width"] | None = None,
        labels: Int64[Tensor, "batch"] | None = None, *, ids: Sequence[int | str] | None = None,
    ) -> pd.DataFrame:
        """The paths as a table, one row for each image, block and rank: ``image, block, rank,
        neuron, score``, with the model and the batch also ``activation`` and ``attribution``.

        Arguments and errors are those of :func:`~neuronpath_core.frames.path_frame`.
        """
        return path_frame(self.neurons, self.score, target, images, labels, ids)

    def to_graph(
        self, image: int = 0, *, edges: pd.DataFrame | None = None,
        target: TargetModel | None = None,
        images: Float[Tensor, "batch channel height width"] | None = None,
        labels: Int64[Tensor, "batch"] | None = None,
    ) -> nx.DiGraph:
        """One image's path as a graph of nodes ``(block, neuron)``; see
        :func:`~neuronpath_core.circuits.graphs.path_graph`, also for files of it
        :func:`~neuronpath_core.circuits.graph_files.write_graph`.

        Args:
            image: position in the batch.
            edges: a table of which neurons are joined; ``None`` joins those of consecutive blocks.
            target, images, labels: the model and the batch that was searched, of which this one
                image is run for ``activation`` and ``attribution``; all three or none.

        Raises:
            ValueError: a position outside the batch, and what the two functions refuse.
        """
        if not isinstance(image, int) or isinstance(image, bool) or not 0 <= image < len(self):
            raise ValueError(f"image must be a position in 0..{len(self) - 1}, got {shown(image)}")
        for name, value in (("images", images), ("labels", labels)):
            if isinstance(value, Tensor) and value.ndim and len(value) != len(self):
                raise ValueError(f"{name} are {len(value)} for {len(self)} paths; accepted: one "
                                 "for each")
        images, labels = (value[image:image + 1] if isinstance(value, Tensor) and value.ndim
                          else value for value in (images, labels))
        frame = path_frame(self.neurons[image:image + 1], self.score[image:image + 1], target,
                           images, labels, [image])
        said = {} if labels is None else {"label": int(labels)}
        return import_module(GRAPHS).path_graph(frame, edges, **said)


def find_paths(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    method: str = OF_THE_SETTINGS,
    *,
    settings: str | SearchSettings | Mapping[str, Any] = "default",
    engine: str = "fast",
    memory_budget: int | str | None = None,
    baseline: Float[Tensor, "image layer token neuron"] | None = None,
    **overrides: Any,
) -> Paths:
    """The most influential neuron of every block, for every image.

    ``settings="published"`` is the procedure of the paper's code. The default finds paths closer to
    those of the converged integral with one to three evaluations of the whole model's gradient a
    block, in the mean, instead of 20. Single settings override the preset, as in
    ``find_paths(target, images, labels, settings="published", steps=50)``; the result's
    ``settings`` print the whole combination.

    Args:
        target: the model; a :class:`~neuronpath_core.variants.sites.SiteModel` for paths over
            attention neurons, heads or both halves of every block.
        images, labels: a batch; classes may mix; a batch gives the same paths as its images one by
            one.
        method: a key of ``npc.METHODS``; by default that of
            the settings, ``"neuron_path"`` unless they say otherwise.
        settings: ``"published"``, ``"default"``, ``"converged"``, or a
            :class:`~neuronpath_core.settings.SearchSettings` or a mapping of settings.
        engine: ``"fast"``, or ``"plain"``: the search as :mod:`neuronpath_core.search` writes it,
            one image at a time on the model itself; for ``"joint"`` and ``"literal"`` search in
            full context.
        memory_budget: bytes, or a text like ``"6GB"``, that splits images, nodes and candidates;
            the paths do not depend on it. ``None`` chooses by the device. If memory runs out,
            halves go on, with one warning.
        baseline: b, with which the neurons are compared, ``(image or 1, layer, token or 1,
            neuron)`` of the scope's tokens, such as one draw of
            :func:`~neuronpath_core.replacement.replacement_values`: integrals run from b to the
            clean values, removal sets to b, and the score is that of the same b. ``None`` for zero,
            as published. For methods that say ``with_baseline``.
        overrides: single settings by name: ``search``, ``context``, ``quadrature``,
            ``steps``, ``nodes``, ``exact_steps``, ``draft``, ``top``, ``width``, ``seed``,
            ``budget``, ``question``.

    Returns:
        :class:`Paths` on the model's device, scores in its dtype and at least single precision.

    Raises:
        ValueError: any argument that does not fit; the message says what is accepted.
    """
    if method is not OF_THE_SETTINGS:
        overrides["method"] = method
    # the model first: what settings leave open is chosen by it
    check_target(target)
    target.check_batch(images, labels)
    complete = SearchSettings.of(settings, **overrides).complete(target)
    baseline = check_baseline(target, baseline, len(images))
    return _found(target, images, labels, [complete], engine, memory_budget, baseline)[0]


def find_paths_by_top(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"], tops: Sequence[int | None], *,
    settings: str | SearchSettings | Mapping[str, Any] = "default", engine: str = "fast",
    memory_budget: int | str | None = None,
    baseline: Float[Tensor, "image layer token neuron"] | None = None, **overrides: Any,
) -> list[Paths]:
    """:func:`find_paths` for several numbers of neurons per block.

    The paths and scores are the same for less work: searches share the first block's scores.

    Args:
        tops: values of ``top``.
        settings, engine, memory_budget, baseline, overrides: of :func:`find_paths`.

    Returns:
        one for each of ``tops``, in order.
    """
    check_target(target)
    target.check_batch(images, labels)
    if not isinstance(tops, (list, tuple, range)):
        raise ValueError(f"tops must be numbers of neurons per block, got {shown(tops)}; accepted: "
                         "a list such as [1, 5]")
    wanted = SearchSettings.of(settings, **overrides)
    complete = [wanted.but(top=top).complete(target) for top in tops]
    baseline = check_baseline(target, baseline, len(images))
    return _found(target, images, labels, complete, engine, memory_budget,
                  baseline) if complete else []


def _found(target: TargetModel, images: Tensor, labels: Tensor, every: list[SearchSettings],
           engine: str, memory_budget: int | str | None, baseline: Tensor | None) -> list[Paths]:
    """Paths by settings that differ in their number of neurons per block alone."""
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
    return [Paths(each.neurons if settings.top is not None else each.neurons[..., 0], each.score,
                  each.steps, settings)
            for settings, each in zip(every, found, strict=True)]


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
