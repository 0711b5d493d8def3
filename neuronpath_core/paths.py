"""``find_paths``: one call for the search and every baseline."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from neuronpath_core import baselines
from neuronpath_core.attribution import (
    Quadrature,
    check_quadrature,
    joint_attribution_score,
    knowledge_attribution,
    layer_tops,
    placed_rule,
    quadrature_rule,
)
from neuronpath_core.fast.blocks import is_touched
from neuronpath_core.fast.contexts import Context, resolve_context
from neuronpath_core.fast.partial_paths import Integrand
from neuronpath_core.fast.search import (
    SEARCHES,
    Found,
    Search,
    confirm_paths,
    search_by_top,
    search_paths,
)
from neuronpath_core.neurons import TargetModel
from neuronpath_core.support.memory import memory_limit
from neuronpath_core.variants.ablation import ablation_paths

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

METHODS = ("neuron_path", "complete", "ablation", "knowledge", "gradient_activation", "conductance",
           "activation", "influence_pattern",
           "influence_pattern_eq9", "random", "matched_random")
# by layer-progressive search over an integral, with all its settings
SEARCHED = ("neuron_path", "complete")
WITH_SEARCH = (*SEARCHED, "matched_random")  # in which such a search is made
# by a gradient alone, which a group of neurons has not
FOR_SINGLE_NEURONS = ("influence_pattern", "influence_pattern_eq9")
PUBLISHED_STEPS = 20
ABLATION_PROPOSALS = 12
DEFAULT_WIDTH = 4
GAUSS_STEPS = {"full": 3, "frozen": 4, "mixed": 4}
# Of a search, block by block, the last for all that follow: while the first block's neurons fade
# out together F may change abruptly, with those of later blocks it changes smoothly.  Few nodes
# that find at least as many of the converged integral's neurons and paths as the published rule on
# every trained model (benchmarks/agreement.json).
STEPS_BY_BLOCK = {"full": [12, 6, 4, 2], "frozen": [8, 4], "mixed": [8, 4]}
EXACT_BY_BLOCK = [6, 4, 2, 1]
# a draft's path stands where no choice is closer than so many units of its precision. On 40 images
# of each of eight trained models of digits and shapes rounding moved the closest by at most 16;
# that of a beam of two, whose partial paths can score little, on 24 images of each of six by at
# most 45; that between the last of 5 to 50 neurons per block and the next, on 20 or 24 images of
# each of the eight, by at most 44
ROUNDING_UNITS, WIDE_ROUNDING_UNITS = 50, 150
# the same of attributions by an integral, which on 40 images of each of the eight moved by at most
# 105
ATTRIBUTION_ROUNDING_UNITS = 500
DRAFTS = {"float32": torch.float32}
DRAFT = "float32"
# what steps="auto" tries, one after the other, until two in a row give the same path; the last is
# taken as it is
AUTO_STEPS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48)


@dataclass(frozen=True)
class Paths:
    """One path per image.

    Attributes:
        neurons: int64 ``(batch, layer)``, or ``(batch, layer, rank)`` if several neurons a block
            were asked for.
        score: ``(batch,)`` joint attribution score of the path, by the rule and in the context it
            was found with.
        steps: int64 ``(batch,)`` steps of the rule it was found with; of ``steps="auto"`` how many
            it took, of steps by block the last, which the score is by.
    """

    neurons: Int64[Tensor, "batch layer"]
    score: Float[Tensor, "batch"]
    steps: Int64[Tensor, "batch"]

    def __len__(self) -> int:
        return len(self.neurons)


def _check_count(name: str, value: object, least: int, most: int | None = None,
                 or_else: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value,
                                                 int) or value < least or (most is not None
                                                                           and value > most):
        raise ValueError(f"{name} must be a whole number "
                         f"{f'of at least {least}' if most is None else f'in {least}..{most}'}"
                         f"{or_else}, got {value!r}")


def complete_settings(target: TargetModel, **settings) -> dict:
    """The keyword arguments of :func:`find_paths` with its defaults filled in.

    Raises:
        ValueError: the first setting that :func:`find_paths` does not accept for this model; the
            message says what it accepts.
    """
    defaults = {name: parameter.default for name,
                parameter in inspect.signature(find_paths).parameters.items()
                if parameter.default is not parameter.empty}
    del defaults["memory_budget"]
    if unknown := set(settings) - set(defaults):
        raise ValueError(f"unknown settings {', '.join(sorted(unknown))}; accepted: "
                         f"{', '.join(defaults)}")
    settings = defaults | settings
    for name, accepted in (("method", METHODS), ("search", SEARCHES)):
        if settings[name] not in accepted:
            raise ValueError(f"unknown {name} {settings[name]!r}; accepted: {', '.join(accepted)}")
    if settings["method"] in FOR_SINGLE_NEURONS and max(target.widths) > 1:
        accepted = ", ".join(name for name in METHODS if name not in FOR_SINGLE_NEURONS)
        raise ValueError(f"method {settings['method']!r} ranks single neurons, the sites are "
                         f"{target.sites!r}; accepted: {accepted}")
    settings["context"] = resolve_context(target, settings["context"])
    if settings["draft"] is not None:
        if settings["draft"] not in DRAFTS:
            raise ValueError(f"unknown draft {settings['draft']!r}; accepted: None, "
                             f"{', '.join(DRAFTS)}")
        if target.dtype != torch.float64:
            settings["draft"] = None
    searched = settings["method"] in WITH_SEARCH
    if settings["steps"] is None and settings["quadrature"] == "gauss-legendre":
        by_block = searched and settings["nodes"] is None
        settings["steps"] = STEPS_BY_BLOCK[settings["context"]] if by_block else GAUSS_STEPS[
            settings["context"]]
    elif settings["steps"] is None:
        settings["steps"] = PUBLISHED_STEPS
    if settings["exact_steps"] is None:
        settings["exact_steps"] = EXACT_BY_BLOCK
    if isinstance(settings["steps"], str):
        if settings["steps"] != "auto" or settings["method"] not in SEARCHED or settings[
                "nodes"] is not None:
            raise ValueError(f"steps must be a whole number of at least 1, or 'auto' for methods "
                             f"{' and '.join(map(repr, SEARCHED))} without nodes, "
                             f"got {settings['steps']!r}")
        check_quadrature(settings["quadrature"], 1)
    elif isinstance(settings["steps"], (list, tuple)):
        if not searched or settings["nodes"] is not None:
            raise ValueError(f"steps by block are for methods {', '.join(map(repr, WITH_SEARCH))} "
                             f"without nodes; accepted here: a whole "
                             f"number of at least 1, got {settings['steps']!r}")
        check_quadrature(settings["quadrature"], 1)
        settings["steps"] = _by_block(target, "steps", settings["steps"])
    else:
        check_quadrature(settings["quadrature"], settings["steps"], settings["nodes"])
    settings["exact_steps"] = _by_block(target, "exact_steps", settings["exact_steps"])
    _check_count("width", settings["width"], 1, max(target.n_neurons, DEFAULT_WIDTH))
    _check_count("seed", settings["seed"], 0)
    if settings["top"] is not None:
        _check_count("top", settings["top"], 1, min(target.layer_neurons))
        if settings["search"] == "beam" and settings["top"] != 1:
            raise ValueError(f"top must be None or 1 for search 'beam', which keeps one neuron a "
                             f"block, got {settings['top']!r}")
    return settings


def _by_block(target: TargetModel, name: str, value: object) -> int | list[int]:
    """Numbers of nodes block by block, of which the last holds for all that follow; those for
    blocks that the model does not have are left out."""
    if isinstance(value, (list, tuple)) and len(value) > 0 and all(isinstance(each, int)
                                                                   and not isinstance(each, bool)
                                                                   and each >= 1 for each in value):
        return list(value[:target.n_blocks])
    _check_count(name, value, 1, or_else=", or several of them, for one block after the other")
    return value


def steps_of_one_rule(steps: int | Sequence[int] | str) -> int:
    """The steps of what takes one rule for all blocks: of steps by block the most, for ``"auto"``
    the published number."""
    return PUBLISHED_STEPS if steps == "auto" else max(steps) if isinstance(steps,
                                                                            (
        list, tuple)) else steps


def integral(context: Context, quadrature: Quadrature, steps: int | Sequence[int],
             nodes: int | None = None,
             exact_steps: int | Sequence[int] = 1) -> list[Integrand]:
    r"""The terms that :func:`find_paths` sums.

    ``"mixed"`` is :math:`\sum_k q_k Z(\alpha_k) + \sum_r c_r\,(E - Z)(\beta_r)`: the integrand Z of
    the frozen context by the rule, corrected by what the exact one E differs from it, the rule's
    own sum of that evaluated at ``exact_steps`` nodes
    (:func:`~neuronpath_core.attribution.quadrature_rule`; for Gauss-Legendre these are its nodes of
    that number).

    Args:
        context, quadrature, steps, nodes, exact_steps: of :func:`find_paths`; steps by block give
            terms of their own to some blocks.
    """
    every, exact = ([value] if isinstance(value, int) else list(value)
                    for value in (steps, exact_steps if context == "mixed" else 1))
    longest, terms = max(len(every), len(exact)), []
    pairs = [(every[min(block, len(every) - 1)], exact[min(block, len(exact) - 1)])
             for block in range(longest)]
    starts = [block for block in range(longest) if block == 0 or pairs[block] != pairs[block - 1]]
    for first, stop in zip(starts, [*starts[1:], None], strict=True):
        count, few = pairs[first]
        rule = quadrature_rule(quadrature, count, nodes)
        if context != "mixed":
            terms.append(Integrand(*rule, context == "frozen", first, stop))
            continue
        few = quadrature_rule(quadrature, count, min(few, count))
        terms.append(Integrand(*few, False, first, stop))
        terms.append(Integrand(torch.cat([rule[0], few[0]]), torch.cat([rule[1], -few[1]]), True,
                               first, stop))
    return terms


def find_paths(
    target: TargetModel,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"],
    method: str = "neuron_path",
    search: Search = "joint",
    context: Context = "auto",
    quadrature: Quadrature = "gauss-legendre",
    steps: int | Sequence[int] | Literal["auto"] | None = None,
    nodes: int | None = None,
    exact_steps: int | Sequence[int] | None = None,
    draft: str | None = None,
    top: int | None = None,
    width: int = DEFAULT_WIDTH,
    seed: int = 0,
    memory_budget: int | str | None = None,
) -> Paths:
    """The most influential neuron of every block, for every image.

    The published procedure is ``context="full", quadrature="left"``; the default finds paths closer
    to those of the converged integral with one to three evaluations of the whole model's gradient a
    block, in the mean, instead of 20.

    Args:
        target: the model; a :class:`~neuronpath_core.variants.sites.SiteModel` for paths over
            attention neurons, heads or both halves of every block.
        images, labels: a batch; classes may mix; a batch gives the same paths as its images one by
            one.
        method: ``"neuron_path"`` (:func:`~neuronpath_core.fast.search.search_paths`);
            ``"complete"``, the same search by complete attribution; ``"ablation"``
            (:func:`~neuronpath_core.variants.ablation.ablation_paths`); per block the largest
            ``"knowledge"`` attribution, ``"gradient_activation"`` or ``"conductance"``;
            ``"activation"``, ``"influence_pattern"`` (as published), ``"influence_pattern_eq9"``,
            ``"random"``; ``"matched_random"``, random neurons of about the activation of the
            ``"neuron_path"``.
        search: for ``"neuron_path"`` and ``"complete"``: ``"joint"``, the published relaxation;
            ``"literal"``, Algorithm 1, n times dearer; ``"beam"``, several partial paths at once,
            for a score at least as high.
        context: for the same two: ``"full"``, every token runs natively; ``"frozen"``, only the
            class token moves, the others keep their clean keys and values; ``"mixed"``, the frozen
            integrand corrected by the exact one at ``exact_steps`` nodes; ``"auto"``, mixed where
            the model classifies from its class token and consists of timm's plain blocks, else
            full.
        quadrature: rule of all integrals, those of the score included.
        steps: of the rule; several are of one block after the other, the last of all that follow;
            ``None`` for 20 of ``"left"``, ``"right"`` and ``"midpoint"``, and of
            ``"gauss-legendre"`` for 12, 6, 4 and 2 in full context, else 8 and 4; ``"auto"`` adds
            steps, image by image, until two rules in a row give the same path.  The score is by the
            rule of the last block.  Methods that do not search take one number, 3 or 4 by default.
        nodes: evaluate the rule's own sum at so many places only, see
            :func:`~neuronpath_core.attribution.quadrature_rule`; of integrals along paths, the
            score's and those that a search chooses by.  Between the zero image and the image, and
            in ``"knowledge"``, all nodes are evaluated.
        exact_steps: see ``context``; several as for ``steps``; ``None`` for 6, 4, 2 and 1.
        draft: ``"float32"``: of a model in double precision the paths are searched in single
            precision first; choices that are closer than rounding could turn are made again in
            double, and what follows from them.  The neurons are those of double precision (of
            several in a block, all of which are scaled together, the order may differ); scores have
            the draft's accuracy, about six digits.  No effect on a model in less than double
            precision or with hooks, nor on what takes no integral over the whole model's gradient,
            but for the score.
        top: neurons per block, best first; ``None`` for one.  All of them are scaled together.
        width: partial paths kept by ``"beam"``.
        seed: of ``"random"`` and ``"matched_random"``.
        memory_budget: bytes, or a text like ``"6GB"``, that splits images, nodes and candidates;
            the paths do not depend on it. ``None`` chooses by the device.  If memory runs out,
            halves go on, with one warning.

    Returns:
        :class:`Paths` on the model's device, scores in its dtype and at least single precision.

    Raises:
        ValueError: any argument that does not fit; the message says what is accepted.
    """
    settings = complete_settings(target, method=method, search=search, context=context,
                                 quadrature=quadrature, steps=steps, nodes=nodes,
                                 exact_steps=exact_steps, draft=draft, top=top, width=width,
                                 seed=seed)
    return _found(target, images, labels, settings, [top], memory_budget)[0]


def find_paths_by_top(
    target: TargetModel, images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, "batch"], tops: Sequence[int | None],
    memory_budget: int | str | None = None, **settings,
) -> list[Paths]:
    """:func:`find_paths` for several numbers of neurons per block; the same paths and scores for
    less work, because searches share the first block's scores.

    Args:
        tops: values of ``top``.
        settings: the other arguments of :func:`find_paths`.

    Returns:
        one for each of ``tops``, in order.
    """
    complete = [complete_settings(target, **settings | {"top": top}) for top in tops]
    return _found(target, images, labels, complete[0], list(tops),
                  memory_budget) if complete else []


def _found(target: TargetModel, images: Tensor, labels: Tensor, settings: dict,
           tops: list[int | None], memory_budget: int | str | None) -> list[Paths]:
    target.check_batch(images, labels)
    images, counts = images.detach(), [1 if top is None else top for top in tops]
    with memory_limit(target, memory_budget):
        if settings["method"] in SEARCHED:
            found = _search(target, images, labels, settings, counts)
            if settings["method"] == "complete":  # it was searched by another attribution
                found = [(neurons, _score(target, images, labels, neurons, settings), taken)
                         for neurons, _, taken in found]
        else:
            found = [_baseline(target, images, labels, settings, count) for count in counts]
    return [Paths(neurons if top is not None else neurons[..., 0], score, taken) for top,
            (neurons, score, taken) in zip(tops, found, strict=True)]


def _search(target: TargetModel, images: Tensor, labels: Tensor, settings: dict,
            counts: Sequence[int]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Neurons, score and steps taken for every number of neurons."""
    drafted = _drafted(target, settings)
    if settings["steps"] == "auto":
        return [_settled(target, drafted, images, labels, settings, count) for count in counts]
    steps = settings["steps"] if isinstance(settings["steps"], int) else settings["steps"][-1]
    return [(found.neurons, found.score.to(_wide(target)),
             torch.full((len(images),), steps, device=target.device))
            for found in _by_rule(target, drafted, images, labels, settings, settings["steps"],
                                  counts)]


def _settled(
    target: TargetModel, drafted: TargetModel | None, images: Tensor, labels: Tensor,
    settings: dict, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """By more steps until an image's path stays the same."""
    rows = torch.arange(len(images), device=target.device)
    first = _by_rule(target, drafted, images, labels, settings, AUTO_STEPS[0], [count])[0]
    neurons = first.neurons.clone()
    score = first.score.to(_wide(target))
    taken = torch.full_like(rows, AUTO_STEPS[0])
    for more in AUTO_STEPS[1:]:
        found = _by_rule(target, drafted, images[rows], labels[rows], settings, more, [count])[0]
        changed = (found.neurons != neurons[rows]).flatten(1).any(1)
        neurons[rows], score[rows], taken[rows] = found.neurons, found.score.to(score.dtype), more
        rows = rows[changed]
        if not len(rows):
            break
    return neurons, score, taken


def _by_rule(
    target: TargetModel, drafted: TargetModel | None, images: Tensor, labels: Tensor,
    settings: dict, steps: int | Sequence[int], counts: Sequence[int]
) -> list[Found]:
    terms = integral(settings["context"], settings["quadrature"], steps, settings["nodes"],
                     settings["exact_steps"])
    terms, search = [term.on(target.device) for term in terms], settings["search"]
    attribution = "complete" if settings["method"] == "complete" else "joint"

    def found(model: TargetModel, rows: Tensor) -> list[Found]:
        batch = (model, images[rows].to(model.dtype), labels[rows], terms)
        if search == "beam":  # which keeps one neuron per block
            return [search_paths(*batch, 1, search, settings["width"], attribution)] * len(counts)
        return search_by_top(*batch, counts, search, attribution)

    every = torch.arange(len(images), device=target.device)
    if drafted is None:
        return found(target, every)
    confirmed = []
    for draft in found(drafted, every):
        alone = search != "beam" and draft.neurons.shape[2] == 1
        doubtful = _doubtful(draft.gaps, drafted, ROUNDING_UNITS if alone else WIDE_ROUNDING_UNITS)
        rows = torch.nonzero(doubtful.any(1))[:, 0]
        if len(rows):
            again = found(target, rows)[0] if search == "beam" else confirm_paths(
                target, images[rows], labels[rows], terms, draft.take(rows), doubtful[rows], search,
                attribution)
            draft = draft.replaced(rows, again)
        confirmed.append(draft)
    return confirmed


def _doubtful(gaps: Tensor, drafted: TargetModel, units: int) -> Tensor:
    """Which choices rounding could have turned; a comparison with NaN is false: those of what
    overflowed, too."""
    return ~(gaps >= units * torch.finfo(drafted.dtype).eps)


def drafted_model(target: TargetModel, draft: str | None) -> TargetModel | None:
    """The model in a draft's precision; ``None`` without a draft, for a model not in double
    precision, and where hooks may hold values of the model's own."""
    return None if draft is None or target.dtype != torch.float64 or is_touched(
        target.model.modules()) else target.in_dtype(DRAFTS[draft])


def _drafted(target: TargetModel, settings: dict) -> TargetModel | None:
    return drafted_model(target, settings["draft"])


def _wide(target: TargetModel) -> torch.dtype:
    """Of scores."""
    return torch.promote_types(target.dtype, torch.float32)


def _score(target: TargetModel, images: Tensor, labels: Tensor, neurons: Tensor,
           settings: dict) -> Tensor:
    """Joint attribution score in full context."""
    steps, model = steps_of_one_rule(settings["steps"]), _drafted(target, settings) or target
    score = joint_attribution_score(model, images.to(model.dtype), labels, neurons,
                                    settings["quadrature"], steps, settings["nodes"])
    return score.to(_wide(target))


def _attribution(target: TargetModel, images: Tensor, labels: Tensor, settings: dict) -> Tensor:
    """What a method ranks a block's neurons by, ``(batch, layer, neuron)``."""
    quadrature = settings["quadrature"]
    steps = steps_of_one_rule(settings["steps"])
    method = settings["method"]
    if method == "knowledge":
        return knowledge_attribution(target, images, labels, quadrature, steps)
    if method == "gradient_activation":
        return baselines.gradient_activation(target, images, labels)
    # between the zero image and the image F may change abruptly: the rule is evaluated at all its
    # nodes, whatever settings["nodes"] says
    rule = placed_rule(target, quadrature, steps)
    return (baselines.conductance if method == "conductance"
            else baselines.influence_pattern)(target, images, labels, *rule)


def _ranked(target: TargetModel, images: Tensor, labels: Tensor, settings: dict,
            count: int) -> Tensor:
    """The best neurons of every block by an attribution; an integral is drafted, and computed again
    for images where that chose narrowly."""
    drafted = _drafted(target, settings)
    if drafted is None or settings["method"] == "gradient_activation":
        return layer_tops(target, _attribution(target, images, labels, settings), count)[0]
    neurons, gaps = layer_tops(drafted, _attribution(drafted, images.to(drafted.dtype), labels,
                                                     settings), count)
    rows = torch.nonzero(_doubtful(gaps, drafted, ATTRIBUTION_ROUNDING_UNITS).any(1))[:, 0]
    if len(rows):
        neurons[rows] = layer_tops(target, _attribution(target, images[rows], labels[rows],
                                                        settings), count)[0]
    return neurons


def _baseline(target: TargetModel, images: Tensor, labels: Tensor, settings: dict,
              count: int) -> tuple[Tensor, Tensor, Tensor]:
    steps, method, seed = settings["steps"], settings["method"], settings["seed"]
    if method == "activation":
        neurons = baselines.activation_paths(target, images, count)
    elif method == "ablation":
        neurons = ablation_paths(target, images, labels, count,
                                 proposals=min(max(count, ABLATION_PROPOSALS),
                                               *target.layer_neurons))[0]
    elif method == "influence_pattern_eq9":
        neurons = baselines.influence_pattern_eq9_paths(target, images, labels,
                                                        *placed_rule(target, settings["quadrature"],
                                                                     steps_of_one_rule(steps)),
                                                        count)
    elif method == "matched_random":
        neurons = baselines.matched_random_paths(target, images,
                                                 _search(target, images, labels, settings,
                                                         [count])[0][0], seed)
    elif method == "random":
        neurons = baselines.random_paths(target, images, count, seed)
    else:
        neurons = _ranked(target, images, labels, settings, count)
    steps = steps if isinstance(steps, int) else steps[-1]
    return neurons, _score(target, images, labels, neurons,
                           settings), torch.full((len(images),), steps, device=target.device)
