"""The sections of a card that have to do with images: those that excite the neuron, what they
show, and one that is made to excite it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.colors import to_rgb
from torch import Tensor

from neuronpath_core.explanations.card_evidence import Evidence
from neuronpath_core.explanations.card_images import png, small, strip
from neuronpath_core.explanations.card_units import Units
from neuronpath_core.figures.explanation import ACTIVE
from neuronpath_core.hooks import neurons_read
from neuronpath_core.interventions import class_probabilities
from neuronpath_core.neurons.fit_intervals import fit_intervals
from neuronpath_core.neurons.matches import best_concepts
from neuronpath_core.readings.grids import coverage
from neuronpath_core.readings.projection import project_vectors

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    from neuronpath_core.target import TargetModel

TOP, BEST = 9, 3
DRAWS = 999
Measured = tuple[dict[str, Any], dict[str, str]]


def key(units: Units, block: int, neuron: int) -> Measured:
    """The images in which the neuron's largest activation at a patch is largest, with the map of
    each on the neuron's own scale, and how alike their classes are beside images drawn at random.
    """
    evidence, images = units.evidence, units.evidence.images
    grid = evidence.grid
    maps = units.activations[block, neuron][:, grid.tokens]
    if not maps.any() or np.ptp(maps) == 0:
        raise ValueError(f"the neuron is {maps.flat[0]:.3g} at every patch of every image, so that "
                         "no image excites it more than another; accepted: a neuron that changes")
    peaks = maps.max(1)
    order = np.argsort(-peaks, kind="stable")[:TOP]
    scale = float(peaks[order[0]])
    top = [{"image": int(images.ids[each]), "value": float(peaks[each]),
            "row": int(maps[each].argmax()) // grid.columns + 1,
            "column": int(maps[each].argmax()) % grid.columns + 1,
            "class": None if images.labels is None else int(images.labels[each]),
            "name": "" if images.labels is None else images.names[images.labels[each]]}
           for each in order]
    shown = [small(images.seen(int(each))) for each in order]
    drawn = strip([map_tile(maps[each].reshape(grid.rows, grid.columns), scale) for each in order])
    wide = [100 * grid.columns * grid.width / grid.size[1],
            100 * grid.rows * grid.height / grid.size[0]]
    return {"images": len(images), "scale": scale, "rows": grid.rows, "columns": grid.columns,
            "map_percent": wide, "picture": list(shown[0].shape[:2]), "top": top,
            **_alike(evidence, order)}, {"images": png(strip(shown)), "maps": png(drawn)}


def map_tile(values: Float[np.ndarray, "row column"],
             scale: float) -> UInt8[np.ndarray, "row column 4"]:
    """A map as a colour that is the less transparent the larger the activation, full at the
    neuron's largest in any image; what is not positive is not drawn."""
    share = np.clip(values / scale, 0, 1) if scale > 0 else np.zeros(values.shape)
    colour = np.broadcast_to(to_rgb(ACTIVE), (*values.shape, 3))
    # sixteen steps, of which the eye tells fewer
    return np.round(255 * np.dstack([colour, np.round(15 * share) / 15])).astype(np.uint8)


def _alike(evidence: Evidence, order: np.ndarray) -> dict[str, Any]:
    """How many of the top images are of their commonest class, and as many drawn at random."""
    labels = evidence.images.labels
    if labels is None:
        return {}
    rng = np.random.default_rng(evidence.seed)
    own = _commonest(labels[order])
    drawn = [_commonest(rng.choice(labels, len(order), replace=False)) for _ in range(DRAWS)]
    return {"same_class": own, "same_class_random": float(np.mean(drawn)),
            "p": (1 + sum(each >= own for each in drawn)) / (1 + DRAWS)}


def _commonest(labels: np.ndarray) -> int:
    return int(np.unique(labels, return_counts=True)[1].max())


def concepts(units: Units, block: int, neuron: int) -> Measured:
    """The concepts that the neuron lights for, beside masks of other images and places."""
    evidence, found = units.evidence, units.dissection(block)
    place = found.place_of(block)
    ceiling = found.ceiling[place, neuron]
    maps = units.activations[block, neuron][:, evidence.grid.tokens]

    def over_images(name: str) -> dict[str, dict[str, float]]:
        covers = coverage(evidence.grid, evidence.known.masks[found.names.index(name)]).numpy()
        return fit_intervals(maps, found.threshold[place, neuron], covers, evidence.seed)

    best = [{**{name: each.item() if isinstance(each, np.generic) else each
                for name, each in asdict(match).items()},
             "ceiling": float(ceiling[found.names.index(match.name)]),
             "over_images": over_images(match.name)}
            for match in best_concepts(found, place, neuron, BEST)]
    return {"images": len(evidence.images), "quantile": found.quantile,
            "level": found.level, "known": len(found.names), "best": best}, {}


def synthetic(units: Units, block: int, neuron: int) -> Measured:
    """An image made to excite the neuron, without and with changes on the way, what models say of
    it, and whether that is the class that the neuron writes most; beside the image of a matched
    neuron."""
    evidence = units.evidence
    if evidence.steps == 0:
        raise ValueError("no image was asked for; accepted: steps of at least 1")
    made, place = units.synthetic, units.places.index((block, neuron))
    writes = _writes(evidence.target, block, neuron)
    names = evidence.images.names
    found: dict[str, Any] = {
        "steps": evidence.steps, "chance": 1 / evidence.target.n_classes, "writes": writes,
        "writes_name": "" if writes is None else names[writes], "images": {}}
    pictures = {}
    for name in ("plain", "robust"):
        image, control = (getattr(made, each)[place] for each in (name, f"{name}_control"))
        said = _said(evidence, torch.stack([image, control]))
        rows = [{"model": model, "class": int(answer[0].argmax()),
                 "name": names[int(answer[0].argmax())], "probability": float(answer[0].max()),
                 "control_class": int(answer[1].argmax()),
                 "control_name": names[int(answer[1].argmax())]} for model, answer in said.items()]
        found["images"][name] = {
            "activation": _mean_activation(evidence, image, block, neuron), "models": rows,
            "recognise": sum(row["class"] == writes for row in rows),
            "control_recognise": sum(row["control_class"] == writes for row in rows)}
        pictures[name] = png(small(evidence.images.drawn(image)))
    return found, pictures


def _writes(target: TargetModel, block: int, neuron: int) -> int | None:
    """The class that the value vector adds most to, where the head tells."""
    try:
        added = project_vectors(target, target.value_vectors(block)[neuron], "effective")
    except ValueError:
        return None
    return int(added.argmax())


def _said(evidence: Evidence, images: Float[Tensor, "image channel height width"]
          ) -> dict[str, np.ndarray]:
    """What the model and the others answer; who takes other images is left out."""
    found = {}
    for name, each in ((evidence.name, evidence.target), *evidence.others.items()):
        try:
            answer = class_probabilities(each, images.to(each.device, each.dtype))
        except ValueError:
            continue
        if answer.shape[1] == evidence.target.n_classes:
            found[name] = answer.double().cpu().numpy()
    return found


def _mean_activation(evidence: Evidence, image: Tensor, block: int, neuron: int) -> float:
    values = neurons_read(evidence.target, image[None], everywhere=True)[block]
    return float(values[0, :, neuron].mean())
