"""Small networks, pictures and tables for the explorers' tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

import neuronpath_core as npc
from neuronpath_core.figures.explore import paths
from neuronpath_core.figures.explore.similar import ClassSimilarity
from neuronpath_core.interventions import class_probabilities, edited_probabilities
from tests import helpers

METHODS = ("Neuron Path", "Random")
# of helpers.NETWORKS: those that a page can run
RUN = ("cls", "cls-unfused", "cls-of-averaging", "avg", "patch-of-class-token")


def target(name="cls", seed=5, **more):
    arguments, scope = helpers.NETWORKS[name]
    return npc.TargetModel(helpers.small_vit(seed, **arguments, **more), scope=scope)


def networks(*names):
    return {f"toys {name}": paths.Network(f"network {name}", target(name), tuple("abcde"))
            for name in names or ("cls",)}


def numbers(tensor):
    return tensor.double().numpy()


def pictures(known, count=2, seed=7):
    """Random pictures with two random paths each; the attributions are made up."""
    images, labels = helpers.small_batch(count, seed)
    rng = np.random.default_rng(seed)
    result = []
    for place in range(count):
        views = {}
        for key, network in known.items():
            own, image = {}, images[place:place + 1]
            for method in METHODS:
                neurons = rng.integers(0, network.target.n_neurons, network.target.n_blocks)
                removed, doubled = (numbers(edited_probabilities(
                    network.target, image, torch.from_numpy(neurons)[None], operation))[0]
                    for operation in ("remove", "enhance"))
                own[method] = paths.ExploredPath(neurons, rng.normal(size=len(neurons)), removed,
                                                 doubled)
            views[key] = paths.View(numbers(class_probabilities(network.target, image))[0], own)
        pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        result.append(paths.Picture(f"picture {place}", pixels, images[place], int(labels[place]),
                                    views))
    return result


def similarity(count=5, seed=1):
    rng = np.random.default_rng(seed)
    half = rng.random((count, count))
    matrix = (half + half.T) / 2
    np.fill_diagonal(matrix, 1)
    return ClassSimilarity(tuple(f"class {number}" for number in range(count)), matrix,
                           [rng.integers(0, 256, (4, 4), dtype=np.uint8) for _ in range(count)], 3)


def accuracies():
    rng = np.random.default_rng(2)
    rows = [{"data": data, "mask": mask, "tokens": tokens, "kept": kept, "top": top,
             "value": rng.uniform(0.3, 0.8)}
            for data in ("digits", "shapes") for mask in ("one for all", "own class")
            for tokens in ("class token", "all tokens") for kept in ("neuron path", "random")
            for top in (1, 5, 30)]
    table = pd.DataFrame(rows)
    return table.assign(low=table["value"] - 0.1, high=table["value"] + 0.1)


WHOLE = {"digits": 0.94, "shapes": 0.88}
