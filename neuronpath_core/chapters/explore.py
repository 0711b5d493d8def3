"""Chapter 18: what the explorers show: pictures chosen by a rule, their paths, what a page's
rounding of weights does, and the tables of similarity and pruning in a form for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from neuronpath_core import metrics
from neuronpath_core.chapters.class_paths import path_table
from neuronpath_core.chapters.class_similarity.similar import utilisation
from neuronpath_core.chapters.effects import numbers, path_effects
from neuronpath_core.chapters.pruning_honest.comparison import WHOLE
from neuronpath_core.chapters.pruning_honest.effect_rows import comparison_summary
from neuronpath_core.figures.explore.explored import ExploredPath, Network, Picture, View
from neuronpath_core.figures.explore.hero import Story
from neuronpath_core.figures.explore.similar import ClassSimilarity
from neuronpath_core.figures.explore.weights import rounded
from neuronpath_core.hooks import read_activations
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.interventions import class_probabilities, edited_probabilities
from neuronpath_core.knowledge import knowledge_attribution
from neuronpath_core.stats.labels import method_labels
from neuronpath_core.study.study import Study

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

ATTRIBUTION = {"quadrature": "gauss-legendre", "steps": 8}


def key_of(data: str, model: str) -> str:
    """What a network is called between a page and the tables."""
    return f"{data} {model}"


def networks(studies: Mapping[str, Study],
             models: Mapping[str, Sequence[str]]) -> dict[str, Network]:
    """The networks of the explorer, by :func:`key_of`; ``models`` by data."""
    return {key_of(data, model): Network(f"{model}, {data}", studies[data].target(model),
                                         studies[data].held_out.class_names)
            for data, names in models.items() for model in names}


def chosen(clean: Float[np.ndarray, "image class"], labels: Int64[np.ndarray, "image"],
           right: int, wrong: int) -> list[int]:
    """Positions of images that a network gets right, and of images that it gets wrong, by a rule.

    The images of either kind are ranked by the probability of the true class and taken at evenly
    spaced ranks (of three: 1/6, 1/2 and 5/6), each moved to the nearest rank whose class has not
    been taken.

    Raises:
        ValueError: fewer such images than are asked for.
    """
    truth, taken, result = clean[np.arange(len(labels)), labels], set(), []
    hit = clean.argmax(1) == labels
    for name, mask, count in (("right", hit, right), ("wrong", ~hit, wrong)):
        ranked = np.flatnonzero(mask)[np.argsort(truth[mask], kind="stable")]
        if count > len(ranked):
            raise ValueError(f"the network gets {len(ranked)} images {name}, {count} are asked "
                             f"for; accepted: at most so many")
        for number in range(count):
            ideal = (number + 0.5) / count * len(ranked) - 0.5
            left = [place for place in range(len(ranked)) if ranked[place] not in result]
            fresh = [place for place in left if labels[ranked[place]] not in taken] or left
            place = min(fresh, key=lambda each: abs(each - ideal))
            result.append(int(ranked[place]))
            taken.add(int(labels[ranked[place]]))
    return result


def pictures(study: Study, data: str, models: Sequence[str], images: ImageSet,
             methods: Sequence[str], right: int, wrong: int, seed: int = 0,
             before: Sequence[int] = ()) -> list[Picture]:
    """The explorer's pictures of one data set, as :func:`chosen` by the first model, with every
    model's paths by every method; those at the positions ``before`` come first."""
    first = study.probabilities(models[0], images)
    rest = chosen(first, images.labels.numpy(), right, wrong)
    places = [*before, *(place for place in rest if place not in before)]
    picked = images.select(np.array(places))
    views = {model: _views(study, model, picked, methods, seed) for model in models}
    values = study.batch(picked, models[0])[0].cpu()
    names = images.class_names
    result = []
    for place, label in enumerate(picked.labels.tolist()):
        read = int(views[models[0]][place].clean.argmax())
        words = "right" if read == label else f"read as {names[read]}"
        result.append(Picture(f"{names[label]}, {words}", picked.pixels[place], values[place],
                              label, {key_of(data, model): views[model][place]
                                      for model in models}))
    return result


def _views(study: Study, model: str, images: ImageSet, methods: Sequence[str],
           seed: int) -> list[View]:
    target, (batch, labels) = study.target(model), study.batch(images, model)
    clean = numbers(class_probabilities(target, batch))
    attribution = numbers(knowledge_attribution(target, batch, labels, **ATTRIBUTION))
    found: list[dict[str, ExploredPath]] = [{} for _ in images.ids]
    for method in methods:
        paths = study.paths(model, images, method=method, seed=seed).neurons
        removed, doubled = (numbers(edited_probabilities(target, batch, paths.to(batch.device),
                                                         operation))
                            for operation in ("remove", "enhance"))
        for place, own in enumerate(paths.numpy()):
            found[place][method_labels()[method]] = ExploredPath(
                own, attribution[place, np.arange(len(own)), own], removed[place], doubled[place])
    return [View(clean[place], by_method) for place, by_method in enumerate(found)]


def rounding(study: Study, model: str, images: ImageSet) -> dict[str, float]:
    """What a page's rounding of the weights does to a network, over images that are left alone and
    images of which the neuron path is removed.

    Returns:
        ``largest`` and ``mean`` difference of a class probability, ``accuracy`` of the network,
        ``rounded accuracy`` of the one on the page, ``images``.
    """
    target, (batch, labels) = study.target(model), study.batch(images, model)
    on_page, paths = rounded(target), study.paths(model, images).neurons.to(batch.device)
    clean, differences = [], []
    for own in (target, on_page):
        clean.append(class_probabilities(own, batch))
        differences.append(torch.cat([clean[-1],
                                      edited_probabilities(own, batch, paths, "remove")]))
    apart = (differences[0] - differences[1]).abs()
    accuracy = [float((found.argmax(1) == labels).double().mean()) for found in clean]
    return {"largest": float(apart.max()), "mean": float(apart.mean()), "accuracy": accuracy[0],
            "rounded accuracy": accuracy[1], "images": float(len(images))}


@dataclass(frozen=True)
class Told:
    """The story of one picture, and how much paths do to all pictures it was chosen from.

    Attributes:
        story: what the figure draws.
        lost: share of the class's probability that removing the path costs this picture.
        median: the same of the median picture.
        images: of how many.
        place: the picture's position among all of the data's images.
    """

    story: Story
    lost: float
    median: float
    images: int
    place: int


def story(study: Study, model: str, images: ImageSet, quantile: float) -> Told:
    """A picture whose path does more than those of a share ``quantile`` of the pictures that the
    network gets right, by the share of the true class's probability that removing it costs."""
    if not 0 <= quantile <= 1:
        raise ValueError(f"the quantile must lie in 0..1, got {quantile}")
    target, (batch, labels) = study.target(model), study.batch(images, model)
    paths = study.paths(model, images).neurons
    effects = path_effects(target, batch, labels, paths)
    right = np.flatnonzero(effects["correct"])
    if not len(right):
        raise ValueError(f"{model} gets none of {len(images)} images right; accepted: at least one "
                         f"that it does")
    lost = -effects["removal_probability"][right]
    order = np.argsort(lost, kind="stable")
    place = int(right[order[round(quantile * (len(right) - 1))]])
    own, label = images.select(np.array([place])), int(images.labels[place])
    picture = batch[place:place + 1]
    values = {operation: float(edited_probabilities(target, picture, paths[place:place + 1].to(
        batch.device), operation)[0, label]) for operation in ("remove", "enhance")}
    pixels = own.images[0].double().numpy()
    low, high = pixels.min(), pixels.max()
    # of a picture of one value nothing is to be seen
    seen = np.round(255 * (pixels - low) / ((high - low) or 1)).astype(np.uint8)
    name = images.class_names[label]
    # of scans the values are ink, shown as ink on paper
    shown = Story(name, 255 - seen[0] if len(seen) == 1
                  else np.moveaxis(seen, 0, -1), target.model.patch_embed.patch_size[0],
                  numbers(read_activations(target, picture).mean(2))[0], paths[place].numpy(),
                  name, float(effects["probability"][place]), values["remove"], values["enhance"])
    return Told(shown, float(-effects["removal_probability"][place]), float(np.median(lost)),
                len(right), place)


def finding(told: Mapping[str, Told]) -> str:
    """What the figure of the stories shows, as its title; ``told`` by data."""
    sizes = {(len(each.story.neurons), each.story.activations.size) for each in told.values()}
    path = " or ".join(f"{own} of {all_:,} neurons" for own, all_ in sorted(sizes))
    falls = [f"“{each.story.class_name}” {{}}from {100 * each.story.clean:.1f} to "
             f"{100 * each.story.removed:.1f} % (by {100 * each.lost:.1f} %{{}})"
             for each in told.values()]
    words = [falls[0].format("falls ", " of it"), *(each.format("", "") for each in falls[1:])]
    return f"Without its path, {path}, the class probability of {', of '.join(words)}"


def answer(told: Mapping[str, Told], quantile: float) -> str:
    """The chapter's answer, in two sentences; ``told`` by data, of pictures chosen at
    ``quantile``."""
    median = " and ".join(f"{100 * each.median:.1f} % ({name}, {each.images} pictures that the "
                          f"network reads right)" for name, each in told.items())
    lost = " and ".join(f"{100 * each.lost:.1f} %" for each in told.values())
    return (f"At the median, removing the neuron path takes {median} of the true class's "
            f"probability. The pictures of the figure lose {lost}, more than "
            f"{100 * quantile:.0f} % of the others.")


def similarity(study: Study, model: str, images: ImageSet) -> ClassSimilarity:
    """How alike the classes' neuron paths are in one network."""
    table = path_table(model, images, study.paths(model, images))
    matrices = utilisation(table, model, study.target(model).n_neurons)
    return ClassSimilarity.of(metrics.cosine_similarity(matrices), images)


def pruned_accuracies(tables: Mapping[str, pd.DataFrame], bare: Mapping[str, pd.DataFrame],
                      seed: int = 0) -> tuple[pd.DataFrame, dict[str, float]]:
    """Tables of :func:`~neuronpath_core.chapters.pruning_honest.comparison.pruning_comparison` and
    of :func:`~neuronpath_core.chapters.pruning_honest.comparison.nothing_kept`, one for each data
    set, as the slider takes them: accuracies with intervals over test images, and the whole
    networks' accuracies.  With no neuron kept every way to choose, and every mask, is the same."""
    every = pd.concat([comparison_summary(table, seed=seed).assign(data=name)
                       for name, table in tables.items()], ignore_index=True)
    whole = every["kept"] == WHOLE
    ways = every[~whole][["data", "mask", "tokens", "kept"]].drop_duplicates()
    nothing = pd.concat([comparison_summary(table, seed=seed).assign(data=name).drop(
        columns=["mask", "kept"]) for name, table in bare.items()], ignore_index=True)
    every = pd.concat([ways.merge(nothing, on=["data", "tokens"]), every], ignore_index=True)
    whole = every["kept"] == WHOLE
    return every[~whole], every[whole].set_index("data")["value"].to_dict()
