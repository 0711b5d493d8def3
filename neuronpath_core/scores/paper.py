"""The methods of the paper and of the study, as entries of the registry."""

from __future__ import annotations

from torch import Tensor

from neuronpath_core import baselines, random_paths
from neuronpath_core.fast import engine
from neuronpath_core.knowledge import knowledge_attribution
from neuronpath_core.methods import Method, register, warn_of_no_effect
from neuronpath_core.quadrature import placed_rule
from neuronpath_core.variants.ablation import ablation_paths

ABLATION_PROPOSALS = 12


def _rule(target, settings) -> tuple[Tensor, Tensor]:
    # between the zero image and the image F may change abruptly: the rule is evaluated at all its
    # nodes, whatever settings.nodes says
    return placed_rule(target, settings.quadrature, settings.one_rule)


def _knowledge(target, images, labels, settings, baseline=None):
    return knowledge_attribution(target, images, labels, settings.quadrature, settings.one_rule,
                                 baseline=baseline)


def _gradient_activation(target, images, labels, _settings, baseline=None):
    return baselines.gradient_activation(target, images, labels, baseline)


def _conductance(target, images, labels, settings):
    return baselines.conductance(target, images, labels, *_rule(target, settings))


def _influence_pattern(target, images, labels, settings):
    return baselines.influence_pattern(target, images, labels, *_rule(target, settings))


def _eq9(target, images, labels, settings, count):
    rule = _rule(target, settings)
    return baselines.influence_pattern_eq9_paths(target, images, labels, *rule, count)


def _ablation(target, images, labels, _settings, count, baseline=None):
    proposals = min(max(count, ABLATION_PROPOSALS), target.fewest_neurons)
    neurons, effects = ablation_paths(target, images, labels, count, proposals=proposals,
                                      baseline=baseline)
    warn_of_no_effect(effects)
    return neurons


def _activation(target, images, _labels, _settings, count):
    return baselines.activation_paths(target, images, count)


def _random(target, images, _labels, settings, count):
    return random_paths.random_paths(target, images, count, settings.seed)


def _matched_random(target, images, labels, settings, count, baseline=None):
    # matched to the path that the search finds with the same baseline
    found, = engine.search(target, images, labels, settings.but(method="neuron_path"), [count],
                           baseline)
    return random_paths.matched_random_paths(target, images, found.neurons, settings.seed)


def _blocks(target, _settings) -> dict[str, float]:
    return {"forward": target.n_blocks}


def _at_every_node(*kinds: str):
    """Passes through all blocks at every node of the rule."""
    def passes(target, settings) -> dict[str, float]:
        nodes = len(placed_rule(target, settings.quadrature, settings.one_rule)[0])
        return dict.fromkeys(kinds, nodes * target.n_blocks)
    return passes


for method in (
    Method("neuron_path", "Neuron Path", searched=True, with_search=True, with_baseline=True),
    Method("complete", "Complete", searched=True, with_search=True, with_baseline=True),
    Method("ablation", "Ablation", choose=_ablation, with_baseline=True),
    Method("knowledge", "Integrated Gradients", rank=_knowledge, drafted=True,
           with_baseline=True),
    Method("gradient_activation", "Gradient × Activation", rank=_gradient_activation,
           passes=lambda target, _settings: {"gradient": target.n_blocks}, with_baseline=True),
    Method("conductance", "Conductance", rank=_conductance, drafted=True,
           passes=_at_every_node("gradient", "tangent")),
    Method("activation", "Activation", choose=_activation, passes=_blocks),
    Method("influence_pattern", "Influence Pattern", rank=_influence_pattern, drafted=True,
           passes=_at_every_node("gradient"), single_neurons=True),
    Method("influence_pattern_eq9", "Influence Pattern (Eq. 9)", choose=_eq9,
           passes=_at_every_node("tangent"), single_neurons=True),
    Method("random", "Random", choose=_random),
    Method("matched_random", "Matched Random", choose=_matched_random, passes=_blocks,
           with_search=True, with_baseline=True),
):
    register(method)
