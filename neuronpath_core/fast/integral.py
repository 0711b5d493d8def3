"""The integral that a search evaluates, as a sum of terms, block by block."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from neuronpath_core.fast.contexts import Context
from neuronpath_core.fast.partial_paths import Integrand
from neuronpath_core.quadrature import Quadrature, quadrature_rule


def integral(context: Context, quadrature: Quadrature, steps: int | Sequence[int],
             nodes: int | None = None,
             exact_steps: int | Sequence[int] = 1) -> list[Integrand]:
    r"""The terms that the fast search sums.

    ``"mixed"`` is :math:`\sum_k q_k Z(\alpha_k) + \sum_r c_r\,(E - Z)(\beta_r)`: the integrand Z of
    the frozen context by the rule, corrected by what the exact one E differs from it, the rule's
    own sum of that evaluated at ``exact_steps`` nodes
    (:func:`~neuronpath_core.quadrature.quadrature_rule`; for Gauss-Legendre these are its nodes of
    that number).

    Args:
        context, quadrature, steps, nodes, exact_steps: of
            :class:`~neuronpath_core.settings.SearchSettings`; steps by block give
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
