"""One function per figure, from tidy tables; each returns a closed figure, so that a notebook shows
it exactly once."""

from neuronpath_core.figures.agreement import (
    block_correlations,
    correlation_dots,
    overlap_blocks,
    overlap_dots,
    pair_correlations,
    replica_shares,
)
from neuronpath_core.figures.attention import half_curves, site_dots, site_forest
from neuronpath_core.figures.certified import certified_map, certified_shares
from neuronpath_core.figures.checks import (
    decoy_curves,
    defect_effects,
    factorial_map,
    lead_forest,
    recovery_dots,
    score_dots,
)
from neuronpath_core.figures.class_paths import (
    class_violins,
    concentration_curves,
    shared_attributes,
    similar_classes,
    similarity_matrices,
    utilisation_maps,
)
from neuronpath_core.figures.cost import (
    benchmark_ratios,
    cost_curves,
    integrand_curves,
    rule_agreement,
    search_speed,
)
from neuronpath_core.figures.faithfulness import faithfulness_curves, faithfulness_dots
from neuronpath_core.figures.methods import method_front
from neuronpath_core.figures.paper import (
    deviation_boxes,
    deviation_dots,
    digits_and_path,
    knowledge_blocks,
    scaling_blocks,
    table1_intervals,
)
from neuronpath_core.figures.path_graph import class_path_graph, edge_arcs, edge_shares
from neuronpath_core.figures.pruning import mask_leak, pruning_criteria, pruning_curves
from neuronpath_core.figures.replacement import replacement_dots
from neuronpath_core.figures.single_images import image_paths

__all__ = [
    "benchmark_ratios", "block_correlations", "certified_map", "certified_shares",
    "class_path_graph", "class_violins", "concentration_curves",
    "correlation_dots", "cost_curves", "decoy_curves", "defect_effects", "deviation_boxes",
    "deviation_dots", "digits_and_path", "edge_arcs", "edge_shares", "factorial_map",
    "faithfulness_curves", "faithfulness_dots", "half_curves",
    "image_paths",
    "integrand_curves", "knowledge_blocks", "lead_forest", "mask_leak", "method_front",
    "overlap_blocks",
    "overlap_dots", "pair_correlations", "pruning_criteria", "pruning_curves", "recovery_dots",
    "replacement_dots", "replica_shares", "rule_agreement", "scaling_blocks", "score_dots",
    "search_speed",
    "shared_attributes", "similar_classes", "similarity_matrices", "site_dots", "site_forest",
    "table1_intervals", "utilisation_maps",
]
