"""Which neurons counterfactual pairs find, of which one thing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.baselines import gradient_activation
from neuronpath_core.chapters.which_method.shares import share_row
from neuronpath_core.circuits.pairs import (
    NONE,
    ROUNDING_UNITS,
    PairPaths,
    image_overlap,
    pair_paths,
)
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shape_pairs import PAIRED, pairs_for
from neuronpath_core.ranking import layer_tops
from neuronpath_core.replacement import replacement_values
from neuronpath_core.scores.integrated import eap_ig
from neuronpath_core.stats import report
from neuronpath_core.stats.claims import with_verdict
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel

AGAIN = "outline again"
# of each: the change, and how much is added to the seed that draws the new value
PAIRS = {"outline": ("outline", 0), AGAIN: ("outline", 1), "fill": ("fill", 0),
         "object": ("object", 0), "colour": ("colour", 0), "background": ("background", 0)}
# what the path of a pair is found by, as an adverbial
AT_IMAGE, INTEGRATED = "by the gradient at the image", "by the integral between the two"
PAIR_NODES = 2  # of the integral; its integrand is smooth
SMALL = 0.25  # of what another outline gives, that of a background is to be below


def change_pairs(study: Study, images: ImageSet, seed: int = 0) -> dict[str, ImageSet]:
    """The counterfactuals of each of ``PAIRS``; none where the data set cannot draw an image again
    with one thing changed."""
    dataset = study.settings["dataset"]
    if dataset["name"] not in PAIRED:
        return {}
    return {name: pairs_for(dataset, images, change, seed + more)
            for name, (change, more) in PAIRS.items()}


def change_paths(study: Study, models: Sequence[str], images: ImageSet, seed: int = 0,
                 integrated: bool = False) -> dict[str, PairPaths]:
    """Per model the paths from the counterfactuals of :func:`change_pairs`.

    Args:
        integrated: by the integral from the counterfactual's activations to the image's
            (:func:`integrated_paths`) in place of the gradient at the image.
    """
    pairs = change_pairs(study, images, seed)
    made = integrated_paths if integrated else pair_paths
    return {model: made(study.target(model), *study.batch(images, model),
                        {name: study.batch(own, model)[0] for name, own in pairs.items()})
            for model in study.check_models(list(models)) if pairs}


def integrated_paths(target: TargetModel, images: Tensor, labels: Tensor,
                     pairs: Mapping[str, Tensor]) -> PairPaths:
    """:func:`~neuronpath_core.circuits.pairs.pair_paths` by integrated gradients: of one block at a
    time the neurons run from the counterfactual's activations to the image's (EAP-IG along
    activations, Hanna et al., 2024), so that a block's attributions add up to what replacing all of
    its neurons costs.  Effects on the label are the same, since they are the pairs' own."""
    at_image = pair_paths(target, images, labels, pairs)
    least = ROUNDING_UNITS * torch.finfo(target.dtype).eps * gradient_activation(
        target, images, labels).abs().amax(-1)
    neurons, attribution, total = [], [], []
    for others in pairs.values():
        values = replacement_values(target, "counterfactual", images, labels, pairs=others)[0]
        every = eap_ig(target, images, labels, "activations", "gauss-legendre", PAIR_NODES,
                       baseline=values)
        ranked, gaps = layer_tops(target, every, 1)
        nothing = (gaps == -torch.inf) | (every.abs().amax(-1) <= least)
        neurons.append(ranked[..., 0].masked_fill(nothing, NONE).cpu().numpy())
        attribution.append(every.gather(2, ranked)[..., 0].double().sum(1).cpu().numpy())
        total.append(every.double().abs().sum((1, 2)).cpu().numpy())
    return replace(at_image, neurons=np.stack(neurons), attribution=np.stack(attribution),
                   total=np.stack(total))


def change_rows(data: str, found: Mapping[str, PairPaths], condition: str = AT_IMAGE,
                seed: int = 0) -> pd.DataFrame:
    """What pairs find, per model: ``data, model, condition, measure, images, value, low, high,
    verdict``.

    Measures are ``"same change"`` and ``"other change"``, the share of blocks in which paths of two
    outlines, or of an outline and a fill, have the same neuron; ``"difference"`` of the two on the
    same images; the name of each change but ``AGAIN``, the attribution of the path; ``"less
    background"``, that of outlines beyond that of backgrounds; and ``"background share"``, the mean
    of backgrounds as a share of that of outlines, which agrees below ``SMALL``.
    """
    rows = []
    for model, paths in found.items():
        at = {name: place for place, name in enumerate(paths.changes)}
        same, other = (image_overlap(paths.neurons[at["outline"]], paths.neurons[at[name]])
                       for name in (AGAIN, "fill"))
        outline, background = (paths.attribution[at[name]] for name in ("outline", "background"))
        measured = {"same change": same, "other change": other, "difference": same - other,
                    **{name: paths.attribution[place] for name, place in at.items()
                       if name != AGAIN}, "less background": outline - background}
        names = {"data": data, "model": model, "condition": condition}
        for measure, values in measured.items():
            known = values[~np.isnan(values)]
            if len(known) > 1:
                row = interval_row(known, seed=seed)
                rows.append({**names, "measure": measure, "images": len(known), **row,
                             "verdict": report.verdict(row)})
        if outline.mean() > 0:
            row = pd.DataFrame([{**names, "measure": "background share", "images": len(outline),
                                 **share_row(background, outline, seed)}])
            rows += with_verdict(row, -1, SMALL).to_dict("records")
    return pd.DataFrame(rows, columns=["data", "model", "condition", "measure", "images", "value",
                                       "low", "high", "verdict"])


def path_agreement(data: str, first: Mapping[str, PairPaths], second: Mapping[str, PairPaths],
                   rows: Sequence[int], seed: int = 0) -> pd.DataFrame:
    """In which share of blocks two ways to find the paths of the same pairs have the same neuron:
    ``data, model, change, images, value, low, high``; of no pairs no rows.

    Args:
        rows: the places of the second's images among the first's.
    """
    found = []
    for model, paths in first.items():
        for place, change in enumerate(paths.changes):
            own = image_overlap(paths.neurons[place][list(rows)], second[model].neurons[place])
            known = own[~np.isnan(own)]
            if len(known) > 1:
                found.append({"data": data, "model": model, "change": change,
                              "images": len(known), **interval_row(known, seed=seed)})
    return pd.DataFrame(found, columns=["data", "model", "change", "images", "value", "low",
                                        "high"])
