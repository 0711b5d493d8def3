"""``find_paths``: one call for the search and every baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from neuronpath_core import baselines
from neuronpath_core.attribution import Quadrature, joint_attribution_score, quadrature_rule
from neuronpath_core.neurons import TargetModel
from neuronpath_core.search import SEARCHES, Search, search_paths

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

METHODS = ("neuron_path", "activation", "influence_pattern", "influence_pattern_eq9", "random")


@dataclass(frozen=True)
class Paths:
    """One path per image.

    Attributes:
        neurons: int64 ``(batch, layer)``, or ``(batch, layer, rank)`` if several neurons a block were asked for.
        score: ``(batch,)`` joint attribution score of the path, by the rule it was found with.
    """

    neurons: Int64[Tensor, "batch layer"]
    score: Float[Tensor, "batch"]

    def __len__(self) -> int:
        return len(self.neurons)


def check_settings(target: TargetModel, method: str, search: str, context: str, top: int | None, seed: int) -> None:
    """Raise ``ValueError`` naming the first setting that :func:`find_paths` does not accept."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; accepted: {', '.join(METHODS)}")
    if search not in SEARCHES:
        raise ValueError(f"unknown search {search!r}; accepted: {', '.join(SEARCHES)}")
    if context != "full":
        raise ValueError(f"unknown context {context!r}; accepted: full")
    if top is not None and (isinstance(top, bool) or not isinstance(top, int) or not 1 <= top <= target.n_neurons):
        raise ValueError(f"top must be a whole number in 1..{target.n_neurons}, got {top!r}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be a whole number of at least 0, got {seed!r}")


def find_paths(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    method: str = "neuron_path",
    search: Search = "joint",
    context: str = "full",
    quadrature: Quadrature = "left",
    steps: int = 20,
    top: int | None = None,
    seed: int = 0,
) -> Paths:
    """The most influential neuron of every block, for every image.

    Args:
        target: the model.
        images, labels: a batch; classes may mix; a batch gives the same paths as its images one by one.
        method: ``"neuron_path"`` (:func:`~neuronpath_core.search.search_paths`), ``"activation"``,
            ``"influence_pattern"`` (as published), ``"influence_pattern_eq9"``, ``"random"``.
        search: for ``"neuron_path"``: ``"joint"``, the published relaxation, or ``"literal"``, Algorithm 1, n times dearer.
        context: ``"full"``: every token runs natively.
        quadrature, steps: rule and nodes of all integrals, those of the score included; published: ``"left"``, 20.
        top: neurons per block, best first; ``None`` for one.  All of them are scaled together.
        seed: of ``"random"``.

    Returns:
        :class:`Paths` in the model's dtype and on its device.

    Raises:
        ValueError: any argument that does not fit; the message says what is accepted.
    """
    check_settings(target, method, search, context, top, seed)
    nodes, weights = quadrature_rule(quadrature, steps)
    target.check_batch(images, labels)
    images = images.detach()
    nodes, weights = (value.to(device=images.device, dtype=images.dtype) for value in (nodes, weights))
    count = 1 if top is None else top
    score = None
    if method == "neuron_path":
        neurons, score = search_paths(target, images, labels, nodes, weights, count, search)
    elif method == "activation":
        neurons = baselines.activation_paths(target, images, count)
    elif method == "influence_pattern":
        neurons = baselines.influence_pattern_paths(target, images, labels, nodes, weights, count)
    elif method == "influence_pattern_eq9":
        neurons = baselines.influence_pattern_eq9_paths(target, images, labels, nodes, weights, count)
    else:
        neurons = baselines.random_paths(target, images, count, seed)
    if score is None:
        score = joint_attribution_score(target, images, labels, neurons, quadrature, steps)
    return Paths(neurons if top is not None else neurons[..., 0], score)
