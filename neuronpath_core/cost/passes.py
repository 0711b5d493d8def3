"""How much a search does: how often one block of the model is passed for one image, counted from
what is executed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from neuronpath_core.fast.engine import AUTO_STEPS
from neuronpath_core.fast.integral import integral
from neuronpath_core.fast.partial_paths import Integrand
from neuronpath_core.quadrature import quadrature_rule
from neuronpath_core.scores import METHODS
from neuronpath_core.scores.paper import ABLATION_PROPOSALS
from neuronpath_core.settings import SearchSettings
from neuronpath_core.support.memory import copies_at_once
from neuronpath_core.target import TargetModel

# steps="auto" mostly settles as soon as it can, with the second rule that it tries (the mean of 5
# evaluations of notebook 7)
AUTO_ROUNDS = 2


@dataclass(frozen=True)
class Passes:
    """Passes of one block, each in copies of one image; they add up, and a number multiplies them.

    Attributes:
        forward: every token running natively, without a graph.
        gradient: the same and back again, to the gradient of the stream that entered.
        tangent: with a derivative carried along and the scope clamped.
        held_forward, held_backward: the scope clamped once for all copies of an image, with a
            graph, and the way back through it.
        held_gradient: there and back, the scope clamped copy by copy.
        last_forward, last_gradient, last_tangent: of the last block where the class token alone is
            computed.
        frozen_gradient, frozen_tangent: of the class token alone, the other tokens clean.
        keys_values: the clean keys and values of a frozen context.
    """

    forward: float = 0
    gradient: float = 0
    tangent: float = 0
    held_forward: float = 0
    held_backward: float = 0
    held_gradient: float = 0
    last_forward: float = 0
    last_gradient: float = 0
    last_tangent: float = 0
    frozen_gradient: float = 0
    frozen_tangent: float = 0
    keys_values: float = 0

    def __add__(self, other: Passes) -> Passes:
        return Passes(*(getattr(self, name) + getattr(other, name) for name in KINDS))

    def __mul__(self, times: float) -> Passes:
        return Passes(*(getattr(self, name) * times for name in KINDS))

    __rmul__ = __mul__

    def seconds(self, rates: Mapping[str, float]) -> float:
        """What they take, given the seconds of one of each kind; a kind that does not occur needs
        no rate."""
        return sum(getattr(self, name) * rates[name] for name in KINDS if getattr(self, name))


KINDS = tuple(field.name for field in fields(Passes))


def multiply_adds(target: TargetModel) -> dict[str, float]:
    r"""Multiply-adds of one pass of one block by one copy of an image, for every kind of
    :class:`Passes`, in the model's whole blocks.

    With T tokens, width d and n neurons a native block costs :math:`T(4d^2 + 2nd) + 2T^2d`.  The
    way back costs as much in products with weights, which need no gradient, and twice that in the
    two attention products, and so does a tangent.  Where neurons are held, the FFN of the tokens
    outside the scope is computed whole; of those inside, copy by copy, what the held values write.
    Of the last block, keys and values are all that is computed of the tokens but the class token.
    Left out: embedding, norms, activation functions and the head, and what a fused attention kernel
    computes again on the way back, :math:`T^2 d`.
    """
    tokens = target.n_tokens
    width = target.model.embed_dim
    neurons = target.n_neurons
    inside = len(range(tokens)[target.tokens])
    own, ffn, attention = 4 * width**2, 2 * neurons * width, 2 * tokens * width
    whole, one = tokens * (own + ffn + attention), own + ffn + attention
    both_ways = 2 * tokens * (own + ffn) + 3 * tokens * attention
    held = tokens * (own + attention) + (tokens - inside) * ffn
    written = inside * neurons * width
    last = tokens * 2 * width**2 + 2 * width**2 + ffn + attention
    last_both = 2 * (last - attention) + 3 * attention
    return {"forward": whole, "gradient": both_ways, "tangent": both_ways, "held_forward": held,
            "held_backward": held + tokens * attention,
            "held_gradient": 2 * (held + written) + tokens * attention, "last_forward": last,
            "last_gradient": last_both, "last_tangent": last_both,
            "frozen_gradient": 2 * one + attention, "frozen_tangent": 2 * own + 3 * attention,
            "keys_values": tokens * 2 * width**2}


def search_passes(target: TargetModel, steps: int | Sequence[int], settings: Mapping,
                  again: bool | None = None, first: bool = True) -> Passes:
    r"""Of the layer-progressive search by one rule, for one image: with L blocks, a term of m nodes
    and the class token in scope

    .. math::

        m\,\Big[\tfrac12 L(L-1)\ \text{there and back} + (L-1)\ \text{with a tangent}\Big]
        + L\ \text{of the clean pass}

    for ``search="joint"``; ``"literal"`` goes there and back n times as often, ``"beam"`` for every
    partial path and every proposal.  For the patch scope the carried stream is passed with its
    graph instead of a tangent, and the way back through it, :math:`\tfrac12 L(L-1) + L - 1` blocks,
    comes on top.

    Args:
        target: gives L, n, the scope, and whether the class token alone is needed of the last
            block.
        steps: of the rule, or of one block after the other; then the nodes of a block count there,
            and what is carried, up to the last block that they are for.
        settings: as :func:`~neuronpath_core.settings.SearchSettings.complete` gives them.
        again: whether every way back through the carried stream also runs it again, because the
            nodes of a term do not fit into memory together; ``None`` asks
            :func:`~neuronpath_core.support.memory.copies_at_once`.
        first: whether the first block's scores are computed; not where a search for another number
            of neurons left them, nor then the clean pass.
    """
    total = Passes(forward=first * target.n_blocks)
    hypotheses = settings["width"] ** 2 if settings["search"] == "beam" else 1
    terms = integral(settings["context"], settings["quadrature"], steps, settings["nodes"],
                     settings["exact_steps"])
    for term in terms:
        redone = copies_at_once(target) < len(term.nodes) * hypotheses if again is None else again
        total += len(term.nodes) * _of_a_node(target, settings["search"], settings["width"], term,
                                              redone, first)
    return total + Passes(keys_values=first * target.n_blocks * any(term.frozen for term in terms))


def _of_a_node(target: TargetModel, search: str, width: int, term: Integrand, again: bool,
               first: bool) -> Passes:
    total = Passes()
    held = 1
    patch = target.scope == "patch"
    last = target.n_blocks - 1
    frozen = term.frozen
    back = Passes(held_forward=again, held_backward=1) if patch else Passes()
    for block in range(target.n_blocks if term.stop is None else term.stop):
        if block > 0:
            tangent = Passes(frozen_tangent=1) if frozen else Passes(
                last_tangent=1) if block == last and target.classifies_alone else Passes(tangent=1)
            total += held * (Passes(held_forward=1) if patch else tangent)
        slope = _after(target, block, "frozen_gradient" if frozen else "gradient") + block * back
        if search != "beam":
            total += (first or block > 0) * term.holds(block) * (target.layers[block].units
                                                                 if search == "literal"
                                                                 else 1) * slope
            continue
        tried = held * min(width, target.layers[block].units)
        kept = min(width, tried)
        # partial paths that share a history are run anew where the stream keeps its graph
        # a partial path's score, with its neuron of this block, is by the rule of the next
        total += (held * term.holds(block) + tried * term.holds(block + 1)) * slope + (
            tried + kept) * block * Passes(held_forward=patch)
        held = kept
    # the score of the whole path
    return total if search == "beam" or not term.holds(target.n_blocks) else total + last * back


def _after(target: TargetModel, block: int, kind: str) -> Passes:
    """Once through all blocks after one."""
    count = target.n_blocks - 1 - block
    if kind.startswith("frozen") or not target.classifies_alone or count == 0:
        return Passes(**{kind: count})
    return Passes(**{kind: count - 1, f"last_{kind.removeprefix('held_')}": 1})


def _after_each(target: TargetModel, kind: str) -> Passes:
    """Once through all blocks after every one of them."""
    return sum((_after(target, block, kind) for block in range(target.n_blocks)), Passes())


def score_passes(target: TargetModel, nodes: int) -> Passes:
    """Of the joint attribution score of one image's path."""
    return Passes(forward=target.n_blocks) + nodes * _after(target, -1, "held_gradient")


def knowledge_passes(target: TargetModel, steps: int) -> Passes:
    """Of the knowledge attribution of all neurons for one image, a block's neurons scaled together.
    """
    return Passes(forward=target.n_blocks) + steps * _after_each(target, "gradient")


def ablation_passes(target: TargetModel, proposals: int) -> Passes:
    """Of the progressive search by effect for one image."""
    return Passes(forward=2 * target.n_blocks) + _after_each(target,
                                                             "gradient") + proposals * _after_each(
        target, "forward")


def path_passes(target: TargetModel, settings: Mapping, rounds: int = AUTO_ROUNDS,
                again: bool | None = None, first: bool = True) -> Passes:
    """What :func:`~neuronpath_core.paths.find_paths` does for one image, the path's score included.

    Left out is what does not grow with copies times blocks: embedding, head, choice of neurons.  A
    forward derivative through a whole block (``"conductance"``, ``"influence_pattern_eq9"``) counts
    as a tangent.

    Args:
        target: the model.
        settings: of ``find_paths``; its defaults are filled in.
        rounds: how many rules ``steps="auto"`` tries.
        again, first: of :func:`search_passes`.

    Raises:
        ValueError: settings that ``find_paths`` would refuse for this model, or ``rounds`` outside
            2..13.
    """
    settings = SearchSettings.of(**settings).complete(target).as_dict()
    method, steps = settings["method"], settings["steps"]
    if not 2 <= rounds <= len(AUTO_STEPS):
        raise ValueError(f"rounds of steps='auto' must lie in 2..{len(AUTO_STEPS)}, got {rounds!r}")
    total = Passes()
    if METHODS[method].with_search:
        for tried in AUTO_STEPS[:rounds] if steps == "auto" else (steps,):
            total += search_passes(target, tried, settings, again, first or steps == "auto"
                                   or settings["search"] == "beam")
    if method == "neuron_path":
        return total
    rule = (settings["quadrature"], SearchSettings(steps=steps).one_rule)
    nodes = len(quadrature_rule(*rule, settings["nodes"])[0])
    if method == "ablation":
        total += ablation_passes(target, min(max(settings["top"] or 1, ABLATION_PROPOSALS),
                                             target.fewest_neurons))
    elif method == "knowledge":
        total += knowledge_passes(target, steps)
    elif (counted := METHODS[method].passes) is not None:
        own = counted(target, SearchSettings.of(**settings)) if callable(counted) else counted
        total += Passes(**own)
    return total + score_passes(target, nodes)


def search_operations(target: TargetModel, settings: Mapping) -> float:
    """Multiply-adds of the search for one image's path, without the clean pass of the whole model.

    Args and errors are those of :func:`path_passes`.
    """
    return replace(path_passes(target, settings), forward=0).seconds(multiply_adds(target))
