"""Small networks, and made-up tables in which the effect is planted."""

import numpy as np
import pandas as pd

SIZES = {"img_size": 16, "patch_size": 8, "in_chans": 1, "num_classes": 10, "embed_dim": 16,
         "depth": 3, "num_heads": 2,
         "mlp_ratio": 1.0}
MODELS = {"small": SIZES, "pooled": {**SIZES, "global_pool": "avg", "depth": 4}}
NAMES = list(MODELS)
METHODS = ("activation", "influence_pattern", "neuron_path", "random")
COLUMNS = {"score": 0.2, "removal_accuracy": -0.3, "enhancement_accuracy": 0.3,
           "removal_probability": -0.3,
           "enhancement_probability": 0.4}


def intervention_table(lead, images=80, models=("tiny-B-16", "tiny-MAE-B-16"), seed=0):
    """Deviations in which Neuron Path is ahead of the others by ``lead`` times the planted effects;
    images differ more."""
    rng, tables = np.random.default_rng(seed), []
    for model in models:
        shared = rng.normal(0, 1, images)
        for method in METHODS:
            columns = {column: shared + 0.2 * rng.normal(size=images)
                       + (lead * effect if method == "neuron_path" else 0)
                       for column, effect in COLUMNS.items()}
            tables.append(pd.DataFrame({"model": model, "method": method, "image": range(images),
                                        **columns}))
    return pd.concat(tables).sample(frac=1, random_state=seed).sort_values(["model", "method"],
                                                                           kind="stable",
                                                                           ascending=False)


def class_table(kind, images=60, classes=4, blocks=6, neurons=12, seed=0, model="m"):
    """Paths whose neuron in every block is the class's (in 70 % of the images), any (``null``) or
    one for all classes."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(images) % classes, blocks)
    drawn = rng.integers(0, neurons, images * blocks)
    often = rng.random(images * blocks) < 0.7
    planted = {"own": np.where(often, labels, drawn), "null": drawn,
               "common": np.where(often, 5, drawn),
               "always": np.full_like(drawn, 5)}
    return pd.DataFrame({"model": model, "image": np.repeat(np.arange(images), blocks),
                         "label": labels,
                         "block": np.tile(np.arange(1, blocks + 1), images),
                         "neuron": planted[kind]})
