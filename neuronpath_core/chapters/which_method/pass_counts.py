"""What every method costs an image, in passes there and back through the whole model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from neuronpath_core.chapters.which_method.method_names import (
    BUDGETS,
    CONTROL,
    DEFAULT,
    EXACT,
    ONE_PASS,
    PROPOSALS,
    PUBLISHED,
    REFINED,
    REMOVAL,
    SCORES,
    SEARCHED,
    SWEEPS,
    conditional,
)
from neuronpath_core.cost.passes import (
    Passes,
    ablation_passes,
    multiply_adds,
    path_passes,
    score_passes,
)
from neuronpath_core.quadrature import quadrature_rule
from neuronpath_core.settings import SearchSettings
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel


def operations(target: TargetModel, settings: Mapping, scored: bool = False) -> float:
    """Multiply-adds of finding one image's path, without its score unless ``scored``."""
    complete = SearchSettings.of(**settings).complete(target)
    passes = path_passes(target, complete.as_dict())
    if not scored and complete.method != "neuron_path":  # whose search gives the score too
        rule = (complete.quadrature, SearchSettings(steps=complete.steps).one_rule, complete.nodes)
        passes = passes + -1 * score_passes(target, len(quadrature_rule(*rule)[0]))
    return passes.seconds(multiply_adds(target))


def passes_of(target: TargetModel) -> dict[str, float]:
    """What every method costs an image of this model, in passes: multiply-adds as a multiple of
    those of the whole model forward and back once."""
    weights = multiply_adds(target)
    settings = {
        **{conditional(passes): {"method": "conditional_gradient", "budget": passes}
           for passes in BUDGETS},
        ONE_PASS: {"method": "gradient_activation"},  # which has no effect to compute
        **{name: {"method": key} for key, name in (SCORES | SEARCHED).items()},
        DEFAULT: {}, REMOVAL: {"method": "ablation"}, EXACT: {"method": "exact"},
        PUBLISHED: {"settings": "published"},
    }
    one = Passes(gradient=target.n_blocks).seconds(weights)
    sweep = ablation_passes(target, min(PROPOSALS, target.fewest_neurons)).seconds(weights)
    return {**{name: operations(target, each) / one for name, each in settings.items()},
            REFINED: SWEEPS * sweep / one, CONTROL: 0.0}


def conditional_passes(target: TargetModel, gradients: int) -> float:
    """What the conditional gradient with so many gradients costs an image, as :func:`passes_of`
    has it for those of ``BUDGETS``."""
    settings = {"method": "gradient_activation"} if gradients == 1 else {
        "method": "conditional_gradient", "budget": gradients}
    return operations(target, settings) / Passes(gradient=target.n_blocks).seconds(
        multiply_adds(target))


def forward_passes(target: TargetModel) -> float:
    """A forward of the whole model in passes, which are there and back."""
    weights = multiply_adds(target)
    return Passes(forward=target.n_blocks).seconds(weights) / Passes(
        gradient=target.n_blocks).seconds(weights)


def passes_as_typed(target: TargetModel) -> float:
    """What ``find_paths(method="recommended")`` costs an image with the joint attribution score
    that it gives besides, in the unit of :func:`passes_of`."""
    one = Passes(gradient=target.n_blocks).seconds(multiply_adds(target))
    return operations(target, {"method": "recommended"}, scored=True) / one


def pass_table(study: Study, models: Sequence[str]) -> pd.DataFrame:
    """:func:`passes_of` each model: ``data, model, method, passes``."""
    return pd.DataFrame([{"data": study.profile, "model": model, "method": method, "passes": passes}
                         for model in study.check_models(list(models))
                         for method, passes in passes_of(study.target(model)).items()])
