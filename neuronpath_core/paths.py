"""``find_paths``: settings, a method and an engine give the paths of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch import Tensor

from neuronpath_core.examined import check_target
from neuronpath_core.finding import find
from neuronpath_core.forward import check_baseline
from neuronpath_core.found_paths import FoundPaths
from neuronpath_core.frames import path_frame
from neuronpath_core.settings import OF_THE_SETTINGS, SearchSettings
from neuronpath_core.support.tensors import is_ordinary
from neuronpath_core.support.text import shown
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd
    from jaxtyping import Float, Int64

# The module that makes graphs of paths. Its room comes after this module, so that it is looked up
# by name when a graph is asked for.
GRAPHS = "neuronpath_core.circuits.graphs"


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
            if is_ordinary(value) and value.ndim and len(value) != len(self):
                raise ValueError(f"{name} are {len(value)} for {len(self)} paths; accepted: one "
                                 "for each")
        images, labels = (value[image:image + 1] if is_ordinary(value) and value.ndim
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
    every = find(target, images, labels, [complete], engine, memory_budget, baseline)
    return _as_paths(every, [complete])[0]


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
    if not complete:
        return []
    return _as_paths(find(target, images, labels, complete, engine, memory_budget, baseline),
                     complete)


def _as_paths(found: Sequence[FoundPaths], every: Sequence[SearchSettings]) -> list[Paths]:
    """What was found by each of the settings, with a dimension of ranks where several neurons a
    block were asked for."""
    return [Paths(each.neurons if settings.top is not None else each.neurons[..., 0], each.score,
                  each.steps, settings)
            for settings, each in zip(every, found, strict=True)]
