"""``find_paths``: one call for the search and every baseline."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core import baselines
from neuronpath_core.ablation import ablation_paths
from neuronpath_core.attribution import Quadrature, check_quadrature, joint_attribution_score, knowledge_attribution, layer_tops, placed_rule, quadrature_rule
from neuronpath_core.contexts import Context, resolve_context
from neuronpath_core.memory import memory_limit
from neuronpath_core.neurons import TargetModel
from neuronpath_core.search import SEARCHES, Integrand, Search, search_paths

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

METHODS = ("neuron_path", "complete", "ablation", "knowledge", "gradient_activation", "conductance", "activation", "influence_pattern",
           "influence_pattern_eq9", "random", "matched_random")
SEARCHED = ("neuron_path", "complete")  # by layer-progressive search over an integral, with all its settings
FOR_SINGLE_NEURONS = ("influence_pattern", "influence_pattern_eq9")  # by a gradient alone, which a group of neurons has not
# the published number, and the fewest that are at least as close to the converged integral on every trained model (notebook 7)
PUBLISHED_STEPS = 20
ABLATION_PROPOSALS = 12
DEFAULT_WIDTH = 4
GAUSS_STEPS = {"full": 3, "frozen": 4, "mixed": 4}
# what steps="auto" tries, one after the other, until two in a row give the same path; the last is taken as it is
AUTO_STEPS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48)


@dataclass(frozen=True)
class Paths:
    """One path per image.

    Attributes:
        neurons: int64 ``(batch, layer)``, or ``(batch, layer, rank)`` if several neurons a block were asked for.
        score: ``(batch,)`` joint attribution score of the path, by the rule and in the context it was found with.
        steps: int64 ``(batch,)`` steps of the rule it was found with; of ``steps="auto"`` how many it took.
    """

    neurons: Int64[Tensor, "batch layer"]
    score: Float[Tensor, "batch"]
    steps: Int64[Tensor, "batch"]

    def __len__(self) -> int:
        return len(self.neurons)


def _check_count(name: str, value: object, least: int, most: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        raise ValueError(f"{name} must be a whole number {f'of at least {least}' if most is None else f'in {least}..{most}'}, got {value!r}")


def complete_settings(target: TargetModel, **settings) -> dict:
    """The keyword arguments of :func:`find_paths` with its defaults filled in.

    Raises:
        ValueError: the first setting that :func:`find_paths` does not accept for this model; the message says what it accepts.
    """
    defaults = {name: parameter.default for name, parameter in inspect.signature(find_paths).parameters.items() if parameter.default is not parameter.empty}
    del defaults["memory_budget"]
    if unknown := set(settings) - set(defaults):
        raise ValueError(f"unknown settings {', '.join(sorted(unknown))}; accepted: {', '.join(defaults)}")
    settings = defaults | settings
    for name, accepted in (("method", METHODS), ("search", SEARCHES)):
        if settings[name] not in accepted:
            raise ValueError(f"unknown {name} {settings[name]!r}; accepted: {', '.join(accepted)}")
    if settings["method"] in FOR_SINGLE_NEURONS and max(target.widths) > 1:
        accepted = ", ".join(name for name in METHODS if name not in FOR_SINGLE_NEURONS)
        raise ValueError(f"method {settings['method']!r} ranks single neurons, the sites are {target.sites!r}; accepted: {accepted}")
    settings["context"] = resolve_context(target, settings["context"])
    if settings["steps"] is None:
        settings["steps"] = GAUSS_STEPS[settings["context"]] if settings["quadrature"] == "gauss-legendre" else PUBLISHED_STEPS
    if isinstance(settings["steps"], str):
        if settings["steps"] != "auto" or settings["method"] not in SEARCHED or settings["nodes"] is not None:
            raise ValueError(f"steps must be a whole number of at least 1, or 'auto' for methods {' and '.join(map(repr, SEARCHED))} without nodes, "
                             f"got {settings['steps']!r}")
        check_quadrature(settings["quadrature"], 1)
    else:
        check_quadrature(settings["quadrature"], settings["steps"], settings["nodes"])
    _check_count("exact_steps", settings["exact_steps"], 1)
    _check_count("width", settings["width"], 1, max(target.n_neurons, DEFAULT_WIDTH))
    _check_count("seed", settings["seed"], 0)
    if settings["top"] is not None:
        _check_count("top", settings["top"], 1, min(target.layer_neurons))
        if settings["search"] == "beam" and settings["top"] != 1:
            raise ValueError(f"top must be None or 1 for search 'beam', which keeps one neuron a block, got {settings['top']!r}")
    return settings


def integral(context: Context, quadrature: Quadrature, steps: int, nodes: int | None = None, exact_steps: int = 2) -> list[Integrand]:
    r"""The terms that :func:`find_paths` sums.

    ``"mixed"`` is :math:`\sum_k q_k Z(\alpha_k) + \sum_r c_r\,(E - Z)(\beta_r)`: the integrand Z of the frozen context by the rule,
    corrected by what the exact one E differs from it, the rule's own sum of that evaluated at ``exact_steps`` nodes
    (:func:`~neuronpath_core.attribution.quadrature_rule`; for Gauss-Legendre these are its nodes of that number).
    """
    rule = quadrature_rule(quadrature, steps, nodes)
    if context != "mixed":
        return [Integrand(*rule, frozen=context == "frozen")]
    few = quadrature_rule(quadrature, steps, min(exact_steps, steps))
    return [Integrand(*few), Integrand(torch.cat([rule[0], few[0]]), torch.cat([rule[1], -few[1]]), frozen=True)]


def find_paths(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    method: str = "neuron_path",
    search: Search = "joint",
    context: Context = "auto",
    quadrature: Quadrature = "gauss-legendre",
    steps: int | Literal["auto"] | None = None,
    nodes: int | None = None,
    exact_steps: int = 2,
    top: int | None = None,
    width: int = DEFAULT_WIDTH,
    seed: int = 0,
    memory_budget: int | str | None = None,
) -> Paths:
    """The most influential neuron of every block, for every image.

    The published procedure is ``context="full", quadrature="left"``; the default finds paths closer to those of the converged
    integral with 2 or 3 evaluations of the whole model's gradient instead of 20.

    Args:
        target: the model; a :class:`~neuronpath_core.sites.SiteModel` for paths over attention neurons, heads or both halves of every block.
        images, labels: a batch; classes may mix; a batch gives the same paths as its images one by one.
        method: ``"neuron_path"`` (:func:`~neuronpath_core.search.search_paths`); ``"complete"``, the same search by complete attribution;
            ``"ablation"`` (:func:`~neuronpath_core.ablation.ablation_paths`); per block the largest ``"knowledge"`` attribution,
            ``"gradient_activation"`` or ``"conductance"``; ``"activation"``, ``"influence_pattern"`` (as published), ``"influence_pattern_eq9"``,
            ``"random"``; ``"matched_random"``, random neurons of about the activation of the ``"neuron_path"``.
        search: for ``"neuron_path"`` and ``"complete"``: ``"joint"``, the published relaxation; ``"literal"``, Algorithm 1, n times dearer;
            ``"beam"``, several partial paths at once, for a score at least as high.
        context: for the same two: ``"full"``, every token runs natively; ``"frozen"``, only the class token moves, the others
            keep their clean keys and values; ``"mixed"``, the frozen integrand corrected by the exact one at ``exact_steps`` nodes;
            ``"auto"``, mixed where the model classifies from its class token and consists of timm's plain blocks, else full.
        quadrature: rule of all integrals, those of the score included.
        steps: of the rule; ``None`` for 20 of ``"left"``, ``"right"`` and ``"midpoint"``, and of ``"gauss-legendre"`` 3 in full
            context, else 4; ``"auto"`` adds steps, image by image, until two rules in a row give the same path.
        nodes: evaluate the rule's own sum at so many places only, see :func:`~neuronpath_core.attribution.quadrature_rule`.
        exact_steps: see ``context``.
        top: neurons per block, best first; ``None`` for one.  All of them are scaled together.
        width: partial paths kept by ``"beam"``.
        seed: of ``"random"`` and ``"matched_random"``.
        memory_budget: bytes, or a text like ``"6GB"``, that splits images, nodes and candidates; the paths do not depend on it.
            ``None`` chooses by the device.  If memory runs out, halves go on, with one warning.

    Returns:
        :class:`Paths` on the model's device, scores in its dtype and at least single precision.

    Raises:
        ValueError: any argument that does not fit; the message says what is accepted.
    """
    settings = complete_settings(target, method=method, search=search, context=context, quadrature=quadrature, steps=steps, nodes=nodes,
                                 exact_steps=exact_steps, top=top, width=width, seed=seed)
    target.check_batch(images, labels)
    images, count = images.detach(), 1 if top is None else top
    with memory_limit(target, memory_budget):
        if method in SEARCHED:
            neurons, score, taken = _search(target, images, labels, settings, count)
            if method == "complete":  # it was searched by another attribution
                score = _score(target, images, labels, neurons, settings)
        else:
            neurons, score, taken = _baseline(target, images, labels, settings, count)
    return Paths(neurons if top is not None else neurons[..., 0], score, taken)


def _search(target: TargetModel, images: Tensor, labels: Tensor, settings: dict, count: int) -> tuple[Tensor, Tensor, Tensor]:
    def search(steps: int, rows: Tensor | slice) -> tuple[Tensor, Tensor]:
        terms = integral(settings["context"], settings["quadrature"], steps, settings["nodes"], settings["exact_steps"])
        terms = [Integrand(term.nodes.to(target.device), term.weights.to(target.device), term.frozen) for term in terms]
        attribution = "complete" if settings["method"] == "complete" else "joint"
        return search_paths(target, images[rows], labels[rows], terms, count, settings["search"], settings["width"], attribution)

    if settings["steps"] != "auto":
        neurons, score = search(settings["steps"], slice(None))
        return neurons, score, torch.full((len(images),), settings["steps"], device=target.device)
    neurons, score = search(AUTO_STEPS[0], slice(None))
    taken = torch.full((len(images),), AUTO_STEPS[0], device=target.device)
    open_rows = torch.arange(len(images), device=target.device)
    for steps in AUTO_STEPS[1:]:
        found, value = search(steps, open_rows)
        changed = (found != neurons[open_rows]).flatten(1).any(1)
        neurons[open_rows], score[open_rows], taken[open_rows] = found, value, steps
        open_rows = open_rows[changed]
        if not len(open_rows):
            break
    return neurons, score, taken


def _score(target: TargetModel, images: Tensor, labels: Tensor, neurons: Tensor, settings: dict) -> Tensor:
    """Joint attribution score in full context."""
    steps = PUBLISHED_STEPS if settings["steps"] == "auto" else settings["steps"]
    return joint_attribution_score(target, images, labels, neurons, settings["quadrature"], steps, settings["nodes"])


def _baseline(target: TargetModel, images: Tensor, labels: Tensor, settings: dict, count: int) -> tuple[Tensor, Tensor, Tensor]:
    quadrature, steps, method, seed = settings["quadrature"], settings["steps"], settings["method"], settings["seed"]
    rule = placed_rule(target, quadrature, steps, settings["nodes"])
    if method == "activation":
        neurons = baselines.activation_paths(target, images, count)
    elif method == "ablation":
        neurons = ablation_paths(target, images, labels, count, proposals=min(max(count, ABLATION_PROPOSALS), *target.layer_neurons))[0]
    elif method == "knowledge":
        neurons = layer_tops(target, knowledge_attribution(target, images, labels, quadrature, steps), count)
    elif method == "gradient_activation":
        neurons = layer_tops(target, baselines.gradient_activation(target, images, labels), count)
    elif method == "conductance":
        neurons = layer_tops(target, baselines.conductance(target, images, labels, *rule), count)
    elif method == "influence_pattern":
        neurons = baselines.influence_pattern_paths(target, images, labels, *rule, count)
    elif method == "influence_pattern_eq9":
        neurons = baselines.influence_pattern_eq9_paths(target, images, labels, *rule, count)
    elif method == "matched_random":
        path = _search(target, images, labels, settings, count)[0]
        neurons = baselines.matched_random_paths(target, images, path, seed)
    else:
        neurons = baselines.random_paths(target, images, count, seed)
    return neurons, _score(target, images, labels, neurons, settings), torch.full((len(images),), steps, device=target.device)
