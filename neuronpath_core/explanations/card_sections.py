"""What is measured of a neuron for its card, a function for each section.

Each takes the neurons that are read together, a block and a neuron from 0, and gives numbers as
JSON values, and pictures; it raises ``ValueError`` where there is nothing to say, in words for the
page.  Blocks are counted from 1 in what it gives, as in the book.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import stats
from timm.layers import GluMlp

from neuronpath_core.explanations.card_effect import effect, mean_row
from neuronpath_core.explanations.card_evidence import Evidence
from neuronpath_core.explanations.card_pictures import concepts, key, synthetic
from neuronpath_core.explanations.card_units import Units
from neuronpath_core.neurons.key_neurons import percentiles
from neuronpath_core.neurons.wires import compositions, neighbours, pair_percentile
from neuronpath_core.readings.memory_nulls import largest_cosine_below
from neuronpath_core.readings.projection import effective_rows, norm_of, project_vectors
from neuronpath_core.stats.intervals import wilson_interval
from neuronpath_core.stats.tests import holm
from neuronpath_core.support.text import one_line

Measured = tuple[dict[str, Any], dict[str, str]]
NEIGHBOURS = 3
OFF_PATHS = "no path of these images goes through this neuron"
NO_PATHS = "no paths of these images were given"


# --- who it is ---


def identity(units: Units, block: int, neuron: int) -> Measured:
    """Where the neuron lives and how active it is at the scope's tokens, beside its block."""
    evidence, target = units.evidence, units.evidence.target
    activity, everywhere = evidence.activity[block], units.activations[block, neuron]
    own = everywhere[:, target.tokens]
    size = activity.size
    return {"site": f"input {neuron} of blocks[{block}].mlp.fc2", "key": key_words(target, block),
            "block": block + 1, "neuron": neuron, "neurons": len(size), "scope": target.scope,
            "images": len(own), "tokens": own.shape[1], "mean": float(own.mean()),
            "over_images": mean_row(own.mean(1), evidence.seed), "spread": float(own.std()),
            "largest": float(own.max()), "sparsity": float((own <= 0).mean()),
            "dead": bool((everywhere <= 0).all() or np.ptp(everywhere) == 0),
            "size": float(size[neuron]), "rank": 1 + int((size > size[neuron]).sum()),
            "block_median": {"size": float(np.median(size)),
                             "sparsity": float(np.median(1 - activity.active))}}, {}


def key_words(target, block: int) -> str:
    """What the neuron's activation, its key, is made of."""
    ffn = target.model.blocks[block].mlp
    gated = isinstance(ffn, GluMlp) or hasattr(ffn, "fc1_g")
    if gated:
        return (f"gated FFN ({type(ffn).__name__}): the key is the product of the activated gate "
                "and the other projection")
    activation = type(getattr(ffn, "act", None)).__name__
    return f"the key is {activation} of one row of fc1"


# --- how often paths go through it ---


def paths(units: Units, block: int, neuron: int) -> Measured:
    """How many images' paths go through the neuron, by class, beside shuffled labels: then the
    count in a class is hypergeometric."""
    images, chosen = units.evidence.images, _of_block(units.evidence, block)
    through = (chosen == neuron).any(1)
    used = np.bincount(chosen.ravel(), minlength=len(units.evidence.activity[block].mean))
    count = int(through.sum())
    found = {"images": len(chosen), "through": count, "share": float(through.mean()),
             **_ends(count, len(chosen)),
            "rank": 1 + int((used > used[neuron]).sum()), "used": int((used > 0).sum()),
             "neurons": len(used), "uniform": chosen.shape[1] / len(used), "classes": []}
    if images.labels is not None:
        members = [images.of_class(label) for label in images.classes]
        own = [int(through[each].sum()) for each in members]
        p = holm(stats.hypergeom.sf(np.array(own) - 1, len(chosen), count,
                                    np.array([len(each) for each in members])))
        rows = [{"class": label, "name": images.names[label], "through": here, "images": len(each),
                 "share": here / len(each), **_ends(here, len(each)),
                 "shuffled": count / len(chosen), "p": float(value)}
                for label, each, here, value in zip(images.classes, members, own, p, strict=True)]
        found["classes"] = sorted(rows, key=lambda row: -row["share"])
    return found, {}


def _ends(count: int, total: int) -> dict[str, float]:
    """The 95 % interval of a share of images (Wilson)."""
    low, high = wilson_interval(count / total, total)
    return {"low": low, "high": high}


def _of_block(evidence: Evidence, block: int) -> np.ndarray:
    if evidence.paths is None:
        raise ValueError(f"{NO_PATHS}; accepted: paths=")
    return evidence.paths[:, block]


# --- which classes it writes ---


def value(units: Units, block: int, neuron: int) -> Measured:
    """What the value vector adds to every class, its cosines beside random directions and its
    place in the block."""
    evidence, target = units.evidence, units.evidence.target
    vectors = target.value_vectors(block)
    effect = project_vectors(target, vectors, "effective")
    place = percentiles(effect[None])[0, neuron].cpu().numpy()
    rows, norm = effective_rows(target), norm_of(target)
    centred = vectors if norm is None else vectors - vectors.mean(-1, keepdim=True)
    width = vectors.shape[1] - (norm is not None)
    cosine = (F.normalize(centred[neuron], dim=-1) @ F.normalize(rows, dim=-1).T)
    cosine = cosine.double().cpu().numpy()
    below = largest_cosine_below(cosine, 1, width)
    order = np.argsort(-effect[neuron].double().cpu().numpy(), kind="stable")
    table = [{"class": int(each), "name": evidence.images.names[each],
              "effective": float(effect[neuron, each]), "cosine": float(cosine[each]),
              "percentile": float(place[each]), "random_below": float(below[each])}
             for each in order]
    first = int(order[0])
    shown = min(evidence.classes, len(order))
    return {"projection": "effective", "length": float(evidence.lengths[block][neuron]),
            "length_percentile": _share_below(evidence.lengths[block], neuron),
            "block_below": float(largest_cosine_below(cosine[first], len(vectors), width)),
            "width": width, "top": table[:shown], "bottom": table[::-1][:shown]}, {}


def _share_below(values: np.ndarray, index: int) -> float:
    others = np.delete(values, index)
    own = values[index]
    return float(((others < own) + 0.5 * (others == own)).mean()) if len(others) else 0.5


# --- neighbours on paths ---


def along_paths(units: Units, block: int, neuron: int) -> Measured:
    """The neurons of the blocks before and after through which the same paths go most, beside how
    often all paths do, and how strong the wires between them are."""
    evidence = units.evidence
    through = (_of_block(evidence, block) == neuron).any(1)
    if not through.any():
        raise ValueError(f"{OFF_PATHS}; accepted: one on a path")
    found: dict[str, Any] = {"through": int(through.sum()), "images": len(through), "wires": ""}
    for side, other in (("before", block - 1), ("after", block + 1)):
        if 0 <= other < evidence.target.n_blocks:
            found[side] = _met(evidence.paths[:, other], through, other)
    try:
        for route in ("direct", "attention"):
            _add_wires(evidence, block, neuron, found, route)
        strongest = neighbours(evidence.target, block, neuron, 1)
        found["strongest"] = [{"block": other + 1, "neuron": each, "kappa": kappa,
                               "percentile": place} for other, each, kappa, place in strongest]
    except ValueError as error:  # what the paths say stays
        found["wires"] = one_line(error).partition("; accepted")[0]
    return found, {}


def _met(chosen: np.ndarray, through: np.ndarray, block: int) -> list[dict[str, Any]]:
    """The neurons of another block that the paths through this one meet most."""
    here = np.bincount(chosen[through].ravel(), minlength=chosen.max() + 1)
    everywhere = np.bincount(chosen.ravel(), minlength=len(here))
    order = np.argsort(-here, kind="stable")
    order = order[here[order] > 0][:NEIGHBOURS]
    p = holm(stats.hypergeom.sf(here[order] - 1, len(chosen), everywhere[order],
                                int(through.sum())))
    return [{"block": block + 1, "neuron": int(each), "together": int(here[each]),
             "share": float(here[each] / through.sum()),
             **_ends(int(here[each]), int(through.sum())),
             "everywhere": float(everywhere[each] / len(chosen)), "p": float(value)}
            for each, value in zip(order, p, strict=True)]


def _add_wires(evidence: Evidence, block: int, neuron: int, found: dict, route: str) -> None:
    for side, first in (("before", block - 1), ("after", block)):
        if not found.get(side):
            continue
        kappa = compositions(evidence.target, first, route)
        for row in found[side]:
            pair = (row["neuron"], neuron) if side == "before" else (neuron, row["neuron"])
            source, target = (torch.tensor(each, device=kappa.device) for each in pair)
            row[route] = float(kappa[pair])
            row[f"{route}_percentile"] = float(pair_percentile(kappa, source, target))


SECTIONS: dict[str, Callable[[Units, int, int], Measured]] = {
    "identity": identity, "paths": paths, "value": value, "key": key, "concepts": concepts,
    "synthetic": synthetic, "neighbours": along_paths, "effect": effect}
