"""Titles of methods, scopes and measures, the same in every table and figure."""

METHOD_LABELS = {
    "activation": "Activation", "influence_pattern": "Influence Pattern",
    "neuron_path": "Neuron Path", "random": "Random",
    "influence_pattern_eq9": "Influence Pattern (Eq. 9)", "complete": "Complete",
    "ablation": "Ablation", "knowledge": "Integrated Gradients",
    "gradient_activation": "Gradient × Activation", "conductance": "Conductance",
    "matched_random": "Matched Random",
}
SCOPE_LABELS = {"cls": "class token", "patch": "patch tokens"}
TABLE1_METRICS = {
    "joint_attribution_score": "Joint attribution score",
    "removal_accuracy_deviation_percent": "Removal accuracy deviation (points)",
    "enhancement_accuracy_deviation_percent": "Enhancement accuracy deviation (points)",
}
TABLE1_DIGITS = {"joint_attribution_score": 4, "removal_accuracy_deviation_percent": 1,
                 "enhancement_accuracy_deviation_percent": 1}


def method_label(name: str) -> str:
    """The title of a method; ``"neuron_path as published"`` is ``"Neuron Path, as published"``."""
    base, _, variant = name.partition(" ")
    return METHOD_LABELS[base] + (f", {variant}" if variant else "")
