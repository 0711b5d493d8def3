"""Chapter 6: what is left of a model when all but a class's path neurons are zeroed (Fig. 6, App.
E)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from neuronpath_core import metrics
from neuronpath_core.baselines import activation_paths
from neuronpath_core.chapters.effects import numbers
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_neurons, drafted_probabilities, pruning_mask
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.study.study import IMAGES_AT_ONCE, Study
from neuronpath_core.support.text import plain

KEPT = ("neuron path", "activation", "random")


def probe_mask(images: ImageSet, share: float = 0.8, seed: int = 0) -> np.ndarray:
    """Which images are for probing, bool ``(image,)``: ``share`` of each class, drawn at random;
    the others are for the test."""
    if not 0 < share < 1:
        raise ValueError(f"the probing share must lie strictly between 0 and 1, got {share}")
    rng, labels = np.random.default_rng(seed), images.labels.numpy()
    probing = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = round(share * len(members))
        if not 0 < count < len(members):
            raise ValueError(f"class {label} has {len(members)} images, too few for a {share:.0%} "
                             f"split; accepted: more images per class")
        probing[members[:count]] = True
    return probing


def whole_model(study: Study, names: Sequence[str],
                images: ImageSet) -> dict[str, dict[str, float]]:
    """Accuracy (``"correct"``) and mean true-class probability (``"probability"``) of the unedited
    models."""
    result: dict[str, dict[str, float]] = {"correct": {}, "probability": {}}
    labels = images.labels.numpy()
    for model in study.check_models(list(names)):
        clean = study.probabilities(model, images)
        result["correct"][model] = float(metrics.correct(clean, labels).mean())
        result["probability"][model] = float(clean[np.arange(len(labels)), labels].mean())
    return result


def pruning_grid(
    study: Study, model: str, images: ImageSet, probing: np.ndarray, tops: Sequence[int],
    shares: Sequence[float], repeats: int = 3,
    rule: str = "count", seed: int = 0, **settings
) -> pd.DataFrame:
    """Test accuracy and probability when all but a class's t neurons per block are zeroed with
    probability p (Fig. 6, App. E).

    ``probing`` says which images the neurons are chosen on; the others are tested.

    Three ways to choose what is kept: the neurons that the class's neuron paths share, those most
    often among the t most active ones of its probing images, and random ones.  Each class's test
    images see their own class's mask, as published: the mask carries the label.

    Returns:
        one row per kept kind, t, p, repeat and test image:
        ``model, kept, top, share, repeat, image, label, correct, probability``.
    """
    target = study.target(model)
    draft = study.drafted(model)
    probe = images.select(probing)
    test = images.select(~probing)
    labels, rows = test.labels.numpy(), []
    if max(tops) > target.n_neurons:
        raise ValueError(f"t must lie in 1..{target.n_neurons}, got {max(tops)}")
    activation = torch.cat([activation_paths(target, pictures, max(tops)).cpu() for _, pictures,
                            _ in study.batches(probe, model, IMAGES_AT_ONCE)])
    bar = tqdm(total=len(tops) * len(shares) * repeats, desc=f"{plain(model)} pruning",
               disable=not study.progress)
    several = [top for top in dict.fromkeys(tops) if top > 1]
    searched = {top: paths.neurons for top,
                paths in zip(several, study.paths_by_top(model, probe, several, **settings),
                             strict=True)}
    if 1 in tops:  # the class chapters' paths, which the store may hold for all the images
        searched[1] = study.paths(model, images, **settings).neurons[torch.from_numpy(probing), :,
                                                                     None]
    for top in tops:
        for share in shares:
            for repeat in range(repeats):
                rng = np.random.default_rng([seed, top, round(1000 * share), repeat])
                # by class: one an image would not fit into memory
                masks: dict[str, dict[int, np.ndarray]] = {kind: {} for kind in KEPT}
                for label in np.unique(labels):
                    mine = probe.labels == label
                    drawn = [sorted(rng.choice(target.n_neurons, top, replace=False).tolist())
                             for _ in range(target.n_blocks)]
                    kept = (class_neurons(searched[top][mine], top, rule),
                            class_neurons(activation[mine], top, "count"), drawn)
                    mask_seed = rng.integers(2**32)
                    for kind, neurons in zip(KEPT, kept, strict=True):
                        masks[kind][label] = pruning_mask(neurons, target.n_neurons, share,
                                                          np.random.default_rng(mask_seed))
                found: dict[str, list[np.ndarray]] = {kind: [] for kind in KEPT}
                for place, pictures, _ in study.batches(test, model, IMAGES_AT_ONCE):
                    for kind, survives in masks.items():
                        own = np.stack([survives[label] for label in labels[place]])
                        factors = torch.from_numpy(own).to(pictures)
                        found[kind].append(numbers(drafted_probabilities(target, draft, pictures,
                                                                         factors)))
                for kind, probabilities in found.items():
                    probability = np.concatenate(probabilities)
                    rows.append(pd.DataFrame({
                        "model": model, "kept": kind, "top": top, "share": share, "repeat": repeat,
                        "image": test.ids.numpy(), "label": labels,
                        "correct": metrics.correct(probability, labels),
                        "probability": probability[np.arange(len(labels)), labels],
                    }))
                bar.update(1)
    bar.close()
    return pd.concat(rows, ignore_index=True)


def pruning_summary(grid: pd.DataFrame, measure: str, seed: int = 0) -> pd.DataFrame:
    """Figure 6 from ``pruning_grid``: mean of ``"correct"`` or ``"probability"`` over images, each
    first averaged over repeats.

    Returns:
        ``model, kept, top, share, value, low, high``; intervals over test images.
    """
    rows = []
    for keys, group in grid.groupby(["model", "kept", "top", "share"], sort=False):
        rows.append({**dict(zip(("model", "kept", "top", "share"), keys, strict=True)),
                     **interval_row(group.groupby("image")[measure].mean().to_numpy(), seed=seed)})
    return pd.DataFrame(rows)


def pruning_lead(grid: pd.DataFrame, model: str, top: int, share: float, other: str,
                 measure: str = "correct", seed: int = 0) -> dict[str, float]:
    """How much keeping the neuron path is ahead of keeping ``other`` neurons, paired over test
    images: ``value, low, high``."""
    own = grid[(grid["model"] == model) & (grid["top"] == top) & (grid["share"] == share)]
    wide = own.groupby(["image", "kept"])[measure].mean().unstack()
    return interval_row((wide["neuron path"] - wide[other]).to_numpy(), seed=seed)


def _percent(row: Mapping[str, float], unit: str = "") -> str:
    """A share with its interval in per cent, ``88.8 % [81.2, 95.0]``, or, with its sign, a
    difference of two in ``unit``."""
    ends = {name: 100 * row[name] for name in ("value", "low", "high")}
    return report.interval_text(ends, 1, unit or "%", signed=bool(unit))


def pruning_claims(
    grid: pd.DataFrame, accuracy: pd.DataFrame, whole: dict[str, float], models: Sequence[str],
    top: int, half: float, margin: float = 0.05,
    seed: int = 0,
) -> pd.DataFrame:
    """Finding 5 taken apart, per model: ``key, model, claim, text, short, verdict``.

    ``robust``: with ``top`` kept and the share ``half`` of the others zeroed, accuracy stays within
    ``margin`` of the whole model's: it agrees if the whole interval does, contradicts if none of it
    does.  ``sparse``: the same with all others zeroed.  ``peak``: the best t under full pruning is
    ``top``.  ``random``, ``activation``: the path is ahead of such neurons under full pruning.
    """
    rows, everything = [], grid["share"].max()
    for model in models:
        def cell(share, model=model):
            chosen = accuracy[(accuracy["model"] == model) & (accuracy["kept"] == "neuron path")
                              & (accuracy["share"] == share)]
            return chosen.set_index("top")

        for key, share, words in (("robust", half, f"{half:.0%} of the others"),
                                  ("sparse", everything, "all others")):
            row = cell(share).loc[top]
            short = f"{_percent(row)} against {100 * whole[model]:.1f} %"
            above = {"low": row["low"] - whole[model] + margin, "high": row["high"] - whole[model]
                     + margin}
            rows.append({"key": key, "model": model, "text": f"{model}: accuracy {short}",
                         "short": short, "verdict": report.verdict(above),
                         "claim": f"Accuracy stays (within {100 * margin:.0f} points) when {top} "
                                  f"neurons per block are kept and {words} zeroed"})
        strict = cell(everything)["value"]
        short = (f"best at t = {strict.idxmax()} ({100 * strict.max():.1f} %; t = {top}: "
                 f"{100 * strict[top]:.1f} %)")
        rows.append({"key": "peak", "model": model,
                     "claim": f"Keeping {top} neurons per block is best, more is worse",
                     "text": f"{model}: {short}",
                     "short": short, "verdict": "agrees" if strict.idxmax() == top
                     else "not shown"})
        for other in ("random", "activation"):
            lead = pruning_lead(grid, model, top, everything, other, seed=seed)
            short = _percent(lead, "points")
            rows.append({"key": other, "model": model,
                         "claim": f"The path's neurons matter more than {other} ones",
                         "text": f"{model}: accuracy lead {short} with all others zeroed",
                         "short": short, "verdict": report.verdict(lead)})
    order = {"robust": 0, "sparse": 1, "peak": 2, "random": 3, "activation": 4}
    columns = ["key", "model", "claim", "text", "short", "verdict"]
    return pd.DataFrame(rows)[columns].sort_values("key", kind="stable",
                                                   key=lambda keys: keys.map(order))


def finding(accuracy: pd.DataFrame, whole: Mapping[str, float], top: int, share: float,
            measure: str = "Accuracy") -> str:
    """What is left of a measure with ``top`` path neurons per block kept, and of how much."""
    own = accuracy[(accuracy["kept"] == "neuron path") & (accuracy["top"] == top)
                   & (accuracy["share"] == share)]
    left = ", ".join(f"{row['model']} {100 * row['value']:.1f} % (whole "
                     f"{100 * whole[row['model']]:.1f} %)" for row in own.to_dict("records"))
    others = "all others" if share == 1 else f"{share:.0%} of the others"
    return f"{measure} with {top} path neurons per block kept and {others} zeroed: {left}"


def strict_wide(accuracy: pd.DataFrame, share: float) -> pd.DataFrame:
    """Accuracies at one pruned share as text: rows ``model, kept``, a column per number kept."""
    own = accuracy[accuracy["share"] == share]
    wide = own.assign(text=[_percent(row) for row in own.to_dict("records")]).pivot_table(
        index=["model", "kept"], columns="top", values="text", aggfunc="first", sort=False)
    return wide.rename(columns=lambda top: f"t = {top}")


def claims_table(claims: pd.DataFrame) -> pd.DataFrame:
    """The claims as the table that ends the chapter."""
    return report.conclusion(list(claims[["claim", "text", "verdict"]].itertuples(index=False)))
