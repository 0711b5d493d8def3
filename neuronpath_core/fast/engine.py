"""The fast engine: paths by carried prefixes, drafted in single precision where asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from neuronpath_core.fast.drafts import (
    ROUNDING_UNITS,
    WIDE_ROUNDING_UNITS,
    doubtful,
    drafted_model,
    magnified,
)
from neuronpath_core.fast.found import Found
from neuronpath_core.fast.integral import integral
from neuronpath_core.fast.search import confirm_paths, search_by_top, search_paths
from neuronpath_core.forward import of_images
from neuronpath_core.found_paths import FoundPaths, wide
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float

    from neuronpath_core.settings import SearchSettings

# what steps="auto" tries, one after the other, until two in a row give the same path; the last is
# taken as it is
AUTO_STEPS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48)


def search(target: TargetModel, images: Tensor, labels: Tensor, settings: SearchSettings,
           counts: Sequence[int],
           baseline: Float[Tensor, "image layer token neuron"] | None = None) -> list[FoundPaths]:
    """Paths of a batch with several numbers of neurons per block, in the order of ``counts``.

    Args:
        settings: complete, of a method that searches.
        baseline: of the batch, checked, in the model's dtype; ``None`` for zero.
    """
    drafted = drafted_model(target, settings.draft)
    if settings.steps == "auto":
        return [_settled(target, drafted, images, labels, settings, count, baseline)
                for count in counts]
    taken = torch.full((len(images),), settings.last_rule, device=target.device)
    return [FoundPaths(found.neurons, found.score.to(wide(target)), taken, found.flat)
            for found in _by_rule(target, drafted, images, labels, settings, settings.steps,
                                  counts, baseline)]


def _settled(target: TargetModel, drafted: TargetModel | None, images: Tensor, labels: Tensor,
             settings: SearchSettings, count: int, baseline: Tensor | None) -> FoundPaths:
    """By more steps until an image's path stays the same."""
    rows = torch.arange(len(images), device=target.device)
    first, = _by_rule(target, drafted, images, labels, settings, AUTO_STEPS[0], [count], baseline)
    neurons, score = first.neurons.clone(), first.score.to(wide(target))
    taken, flat = torch.full_like(rows, AUTO_STEPS[0]), first.flat
    for more in AUTO_STEPS[1:]:
        found, = _by_rule(target, drafted, images[rows], labels[rows], settings, more, [count],
                          of_images(baseline, rows))
        changed = (found.neurons != neurons[rows]).flatten(1).any(1)
        neurons[rows], score[rows], taken[rows] = found.neurons, found.score.to(score.dtype), more
        flat[rows] = found.flat
        rows = rows[changed]
        if not len(rows):
            break
    return FoundPaths(neurons, score, taken, flat)


def _by_rule(target: TargetModel, drafted: TargetModel | None, images: Tensor, labels: Tensor,
             settings: SearchSettings, steps: int | Sequence[int], counts: Sequence[int],
             baseline: Tensor | None) -> list[Found]:
    terms = integral(settings.context, settings.quadrature, steps, settings.nodes,
                     settings.exact_steps)
    terms, kind = [term.on(target.device) for term in terms], settings.search
    attribution = "complete" if settings.method == "complete" else "joint"

    def compared_with(model: TargetModel, rows: Tensor) -> Tensor | None:
        own = of_images(baseline, rows)
        return None if own is None else own.to(model.dtype)

    def found(model: TargetModel, rows: Tensor) -> list[Found]:
        batch = (model, images[rows].to(model.dtype), labels[rows], terms)
        base = compared_with(model, rows)
        if kind == "beam":  # which keeps one neuron per block
            return [search_paths(*batch, 1, kind, settings.width, attribution,
                                 base)] * len(counts)
        return search_by_top(*batch, counts, kind, attribution, base)

    def confirmed(draft: Found) -> Found:
        alone = kind != "beam" and draft.neurons.shape[2] == 1
        units = ROUNDING_UNITS if alone else WIDE_ROUNDING_UNITS
        doubts = doubtful(draft.gaps, drafted, magnified(drafted, images, baseline, units))
        rows = torch.nonzero(doubts.any(1))[:, 0]
        if not len(rows):
            return draft
        if kind == "beam":
            return draft.replaced(rows, found(target, rows)[0])
        return draft.replaced(rows, confirm_paths(
            target, images[rows], labels[rows], terms, draft.take(rows), doubts[rows], kind,
            attribution, compared_with(target, rows)))

    every = torch.arange(len(images), device=target.device)
    if drafted is None:
        return found(target, every)
    return [confirmed(draft) for draft in found(drafted, every)]
