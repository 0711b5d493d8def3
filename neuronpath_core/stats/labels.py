"""Titles of methods, scopes and measures, the same in every table and figure."""

from neuronpath_core.scores import METHODS

# what tables and legends begin with; the other methods follow as they were registered
FIRST = ("activation", "influence_pattern", "neuron_path", "random", "influence_pattern_eq9")
SCOPE_LABELS = {"cls": "class token", "patch": "patch tokens"}
TABLE1_METRICS = {
    "joint_attribution_score": "Joint attribution score",
    "removal_accuracy_deviation_percent": "Removal accuracy deviation (points)",
    "enhancement_accuracy_deviation_percent": "Enhancement accuracy deviation (points)",
}
TABLE1_DIGITS = {"joint_attribution_score": 4, "removal_accuracy_deviation_percent": 1,
                 "enhancement_accuracy_deviation_percent": 1}


def method_labels() -> dict[str, str]:
    """The name of every method, in the order of tables and legends."""
    return {key: METHODS[key].label for key in dict.fromkeys((*FIRST, *METHODS))}


def method_label(name: str) -> str:
    """The title of a method; ``"neuron_path as published"`` is ``"Neuron Path, as published"``."""
    base, _, variant = name.partition(" ")
    return method_labels()[base] + (f", {variant}" if variant else "")
