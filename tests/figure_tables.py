"""Small tables for every figure, and what is read from a drawn one."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from timm.models.vision_transformer import VisionTransformer

from neuronpath_core.chapters.class_similarity import words
from neuronpath_core.circuits.graphs import class_graph
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.stats.labels import TABLE1_METRICS
from neuronpath_core.target import TargetModel
from tests import helpers

MODELS = ("tiny-B-16", "tiny-MAE-B-16")
METHODS = ("activation", "influence_pattern", "neuron_path", "random")


def with_interval(table, width=0.1):
    return table.assign(low=table["value"] - width, high=table["value"] + 2 * width)


def shares(blocks=4):
    values = np.random.default_rng(0).dirichlet(np.ones(blocks), 2)
    return with_interval(pd.DataFrame({"model": np.repeat(MODELS, blocks),
                                       "block": np.tile(np.arange(1, blocks + 1), 2),
                                       "value": values.ravel()}))


def shares_by_scaling():
    return pd.concat([shares().assign(scaling="block"),
                      shares().assign(scaling="neuron",
                                      value=lambda table: table["value"].to_numpy()[::-1])],
                     ignore_index=True)


def medians():
    rows = [{"model": model, "method": method, "operation": operation, "statistic": statistic}
            for model in MODELS for method in METHODS for operation in ("removal", "enhancement")
            for statistic in ("mean", "median")]
    return with_interval(
        pd.DataFrame(rows).assign(value=np.random.default_rng(24).normal(size=len(rows))))


def curvature():
    """Of the integrands of two models of three blocks, five images."""
    return pd.DataFrame([{"model": model, "image": image, "block": block,
                          "curvature": (1 + image) * (1 + number) / 4**block}
                         for number, model in enumerate(MODELS) for image in range(5)
                         for block in (1, 2, 3)])


def edge_table(blocks=4):
    """Edges of every two blocks of one image, of both signs."""
    pairs = [(source, later) for later in range(2, blocks + 1) for source in range(1, later)]
    values = np.random.default_rng(31).normal(size=len(pairs))
    return pd.DataFrame([{"image": 0, "source_block": source, "source_neuron": 10 + source,
                          "target_block": later, "target_neuron": 10 + later}
                         for source, later in pairs]).assign(exact_probability=values)


def edge_share_tables():
    """Of planted networks and trained models, paths and controls, and leads over the controls."""
    rng = np.random.default_rng(32)

    def rows(names, series):
        cells = [{"name": name, "series": each} for name in names for each in series]
        return with_interval(pd.DataFrame(cells).assign(value=rng.uniform(0, 0.9, len(cells))),
                             0.05)

    trained, controls = ["a, digits", "b, digits"], ["a neuron as active", "another block's"]
    return (pd.concat([rows(["chain", "side by side"], ["planted, cls", "planted, patch"]),
                       rows(["trained models"], trained)], ignore_index=True),
            rows(["the path's own", *controls], trained), rows(controls, trained))


def measured():
    rows = [{"metric": metric, "method": method, "model": model}
            for model in MODELS for method in METHODS for metric in TABLE1_METRICS]
    return with_interval(
        pd.DataFrame(rows).assign(value=np.random.default_rng(1).normal(size=len(rows))))


def deviations(images=40):
    rng = np.random.default_rng(2)
    return pd.concat([pd.DataFrame({"model": model, "method": method, "image": range(images),
                                    "removal_probability": rng.normal(number, 1, images),
                                    "enhancement_probability": rng.exponential(1 + number, images)})
                      for model in MODELS for number, method in enumerate(METHODS)],
                     ignore_index=True)


def class_paths(models=MODELS, blocks=3, images=20):
    rng = np.random.default_rng(3)
    return pd.concat([pd.DataFrame({
        "model": model, "image": np.repeat(np.arange(images), blocks),
        "label": np.repeat(np.arange(images) % 2, blocks),
        "block": np.tile(np.arange(1, blocks + 1), images),
        "neuron": rng.integers(0, 6, images * blocks),
    }) for model in models], ignore_index=True)


def concentration(blocks=4):
    rng = np.random.default_rng(4)
    return pd.DataFrame({"model": np.repeat(MODELS, blocks),
                         "block": np.tile(np.arange(1, blocks + 1), 2),
                         "share": rng.uniform(0.5, 0.9, 2 * blocks),
                         "shuffled": rng.uniform(0.1, 0.2, 2 * blocks),
                         "shuffled_high": 0.3, "uniform": np.repeat([0.05, 0.025], blocks)})


def usage():
    return {model: np.random.default_rng(number).dirichlet(np.ones(6), (4, 3)) for number,
            model in enumerate(MODELS)}


def similarity(classes=4):
    return {model: np.corrcoef(np.random.default_rng(number).random((classes, 9))) for number,
            model in enumerate(MODELS)}


def extremes():
    return words.extremes(similarity()["tiny-B-16"], "abcd")


def pictures(*channels):
    """Three plain images of each of four classes; the second one, of grey level 10 + label, lies
    nearest to their mean."""
    labels, levels = torch.arange(12) % 4, np.repeat([0, 10, 24], 4) + np.arange(12) % 4
    pixels = np.broadcast_to(levels.reshape(-1, *[1] * (2 + len(channels))),
                             (12, 8, 8, *channels)).astype(np.uint8)
    return ImageSet(torch.zeros(12, 1, 8, 8), labels, labels, tuple("abcd"), pixels)


def paths_of_images():
    """A small model, two of its images and paths that nothing has found."""
    model = VisionTransformer(img_size=8, patch_size=4, in_chans=1, embed_dim=8, depth=3,
                              num_heads=2, num_classes=4)
    images = pictures().select([1, 6])
    noise = np.random.default_rng(8).normal(size=(2, 1, 8, 8))
    return (TargetModel(helpers.fill(model, 3)),
            replace(images, images=torch.from_numpy(noise)),
            torch.tensor([[5, 0, 31], [2, 17, 9]]))
def taxed():
    """:func:`pictures` of classes with two attributes."""
    return replace(pictures(), taxonomy={"outline": ("o", "o", "p", "p"),
                                         "fill": ("f", "g", "f", "g")})


def pruning():
    rows = [{"model": model, "kept": kept, "top": top, "share": share}
            for model in MODELS for kept in ("neuron path", "activation", "random")
            for top in (1, 5, 50) for share in (0.5, 1.0)]
    return with_interval(
        pd.DataFrame(rows).assign(value=np.random.default_rng(5).uniform(0.2, 0.8, len(rows))))


def cost():
    return pd.DataFrame([{"varied": varied, "size": size, "seconds": 0.1 * size,
                          "operations": 0.2 * size**2,
                          "published": 0.3 * size}
                         for varied in "LnmT" for size in (3, 6, 12)])


def leads_of_controls():
    rows = [{"data": data, "model": model, "control": control, "measure": measure}
            for data in ("first", "second") for model in MODELS
            for control in ("random", "another image")
            for measure in ("removal", "enhancement", "score")]
    return with_interval(
        pd.DataFrame(rows).assign(value=np.random.default_rng(11).normal(size=len(rows))))


def shares_of_replicas():
    rows = [{"data": data, "kind": kind, "scope": scope, "own": (kind == "tiny-B-16")
             == (scope == "cls"), "model": f"{kind} seed {seed}", "block": block}
            for data in ("first", "second") for kind in MODELS for scope in ("cls", "patch")
            for seed in (1, 2, 3) for block in range(1, 6)]
    return pd.DataFrame(rows).assign(value=np.random.default_rng(12).uniform(0, 0.5, len(rows)))


def pairs_of_models():
    rows = [{"data": data, "relation": relation} for data in ("first", "second")
            for relation in ("between", "within a", "between", "within b", "between")]
    return pd.DataFrame(rows).assign(value=np.random.default_rng(13).uniform(-1, 1, len(rows)))


def effects_of_defects():
    rows = [{"defect": defect, "number": number, "data": data, "model": model}
            for defect in ("one", "two", "three") for number in ("score", "neurons", "other")
            for data in ("first", "second") for model in MODELS]
    values = np.random.default_rng(23).uniform(-0.2, 0.2, len(rows))
    return with_interval(pd.DataFrame(rows).assign(value=values,
                                                   corrected=np.where(np.arange(len(rows)) % 7, 0.5,
                                                                      0.0)))


def criteria():
    rows = [{"data": data, "model": model, "mask": mask, "tokens": tokens, "kept": kept, "top": top}
            for data in ("one", "two") for model in MODELS
            for mask in ("one for all", "own class") for tokens in ("scope", "all tokens")
            for kept in ("neuron path", "random", "weight norm")
            for top in (5, 30) if (mask, kept) != ("own class", "weight norm")]
    return with_interval(pd.DataFrame(rows).assign(value=np.random.default_rng(21).uniform(
        0.2, 0.7, len(rows))))


def wholes():
    cells = [(data, model) for data in ("one", "two") for model in MODELS]
    return with_interval(pd.DataFrame([{"data": data, "model": model, "value": 0.7 + place / 20}
                                       for place, (data, model) in enumerate(cells)]))


def leaks_of_masks():
    rows = [{"data": "one", "model": model, "tokens": tokens, "measure": measure}
            for model in MODELS for tokens in ("scope", "all tokens")
            for measure in ("elsewhere", "leak", "own mask")]
    return with_interval(pd.DataFrame(rows).assign(value=np.random.default_rng(22).uniform(
        0.2, 0.7, len(rows))))


def overlap_rows():
    rows = [{"data": data, "model": model, "condition": condition} for data in ("one", "two")
            for model in MODELS for condition in ("left", "noise", "seed")]
    return with_interval(pd.DataFrame(rows).assign(value=np.random.default_rng(6).uniform(
        0.5, 0.9, len(rows)), same_class=0.3, other_class=0.2, chance=0.01))


def overlap_of_blocks(blocks=4):
    rows = [{"data": "one", "model": model, "condition": condition, "block": block}
            for model in MODELS for condition in ("left", "noise")
            for block in range(1, blocks + 1)]
    return pd.DataFrame(rows).assign(own=np.random.default_rng(7).random(len(rows)), same_class=0.3,
                                     other_class=np.arange(len(rows)) / 20)


def correlations():
    rows = [{"model": model, "relation": relation, "method": method} for model in MODELS
            for relation in ("outline", "fill") for method in METHODS]
    values = np.random.default_rng(8).uniform(-0.5, 0.5, len(rows))
    return with_interval(pd.DataFrame(rows).assign(value=values, permuted_low=-0.2,
                                                   permuted_high=0.1 + np.arange(len(rows)) / 100))


def correlations_of_blocks(blocks=5):
    rows = [{"model": model, "relation": relation, "block": block} for model in MODELS
            for relation in ("outline", "fill") for block in range(1, blocks + 1)]
    return pd.DataFrame(rows).assign(value=np.random.default_rng(9).uniform(-0.5, 0.5, len(rows)),
                                     permuted_low=-0.3, permuted_high=0.2,
                                     p=np.resize([0.01, 0.04, 0.05, 0.2, 1.0], len(rows)))


def cells_of_factorial():
    """A number for every score and search."""
    return pd.DataFrame(np.arange(12.0).reshape(4, 3) / -100 - 0.01, index=list("abcd"),
                        columns=["greedy", "beam", "random"])


def ratios():
    """A ratio and its range against each size."""
    return pd.DataFrame([{"varied": varied, "size": size, "ratio": 2.0 + size,
                          "minimum": 1.0 + size, "maximum": 4.0 + size}
                         for varied in ("L", "T", "n", "m", "batch") for size in (1, 2, 4)])


def png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def panels(figure):
    """The panels that show something; colour bars are none."""
    return [axis for axis in figure.axes if axis.get_visible() and axis.has_data()
            and axis.get_label() != "<colorbar>"]


def whiskers(axis):
    """``(low, high)`` of every interval, from left to right."""
    intervals = [bars for container in axis.containers if hasattr(container, "lines")
                 for bars in container.lines[2]]
    return np.array([segment[:, 1] for bars in intervals for segment in bars.get_segments()])


def rates_of_recovery():
    cells = [(scope, decoys) for scope in ("cls", "patch") for decoys in ("none", "all")]
    rows = [{"scope": scope, "decoys": decoys, "method": method} for scope, decoys in cells
            for method in METHODS]
    table = with_interval(pd.DataFrame(rows).assign(value=np.arange(len(rows)) / len(rows)))
    return table.drop(index=1)  # one method was not run in one cell


def losses_of_scores():
    rows = [{"data": data, "model": model, "score": score, "value": value}
            for data in ("one", "two") for model in MODELS
            for score, value in (("joint", 0.1), ("gradient", 0.3), ("random", 0.0))]
    return pd.DataFrame(rows).assign(
        value=lambda table: table["value"] + np.arange(len(table)) / 1000)


def rates_of_strengths():
    cells = (("chain", "steep"), ("parallel", "loud"))
    rows = [{"kind": kind, "decoys": decoys, "strength": strength} for kind, decoys in cells
            for strength in (5.0, 0.5, 2.0)]
    return with_interval(pd.DataFrame(rows).assign(value=[0.6, 1.0, 0.8, 0.4, 0.9, 0.7]))


def speeds() -> pd.DataFrame:
    """How many times as fast two methods are, of two models."""
    return with_interval(pd.DataFrame([{"model": model, "way": way, "value": 3.0 + number}
                                       for number, model in enumerate(MODELS)
                                       for way in ("same steps", "default")]))


def shares_of_rules() -> pd.DataFrame:
    """Shares of paths, in per cent, of two rules on two models of two data sets."""
    return with_interval(pd.DataFrame([
        {"profile": profile, "model": model, "way": way, "value": 70.0 + number}
        for profile in ("first", "second") for number, model in enumerate(MODELS)
        for way in ("published rule", "default")]))


def effects_of_sites() -> pd.DataFrame:
    """What removing the paths of two methods over two kinds of sites does, of two models."""
    return with_interval(pd.DataFrame([
        {"model": model, "sites": sites, "paths": paths, "value": -0.1 * (number + 1)}
        for model in MODELS for number, sites in enumerate(("FFN neurons", "heads"))
        for paths in ("Neuron Path", "Random")]))


def halves() -> pd.DataFrame:
    """What removing each half of each block costs, of two models."""
    rows = [{"model": model, "half": half, "block": block, "value": 0.1 * block, "low": 0.05 * block,
             "high": 0.15 * block}
            for model in MODELS for half in ("attention", "ffn") for block in (1, 2, 3)]
    return pd.DataFrame(rows)


def shares_of_classes():
    """By three measures; the last has no interval."""
    rows = [{"data": data, "model": model, "measure": measure}
            for data in ("first", "second") for model in MODELS
            for measure in ("by count", "certified", "dealt")]
    table = pd.DataFrame(rows).assign(value=np.linspace(0.2, 0.6, len(rows)))
    width = np.where(table["measure"] == "dealt", 0, 0.1)
    return table.assign(low=table["value"] - width, high=table["value"] + 2 * width)


def cells_of_classes():
    """Of three classes and two, in four blocks: certified for 1 to 3 edits, by count alone, or neither."""
    certified = {"first": [[1, 2, 3, -1], [0, -1, -1, 1], [2, 2, -1, 3]], "second": [[-1] * 4, [1, 1, 1, 0]]}
    counted = {"first": [[4, 5, 6, 1], [2, 0, -1, 3], [4, 4, 2, 9]], "second": [[-1, 0, 1, 7], [3, 3, 3, 2]]}
    return pd.DataFrame([{"data": data, "class": f"class {place}", "block": block, "neuron": 10 * place + block,
                          "certified": value, "counted": counted[data][place][block - 1]}
                         for data, rows in certified.items() for place, own in enumerate(rows)
                         for block, value in enumerate(own, 1)])


def graph_of_a_class(blocks=4, images=10):
    """The paths of ten images, of which most go through neuron 100 and the block's number."""
    rng = np.random.default_rng(41)
    often = rng.random((images, blocks)) < 0.7
    neurons = np.where(often, 100 + np.arange(blocks), rng.integers(0, 4, (images, blocks)))
    return class_graph(neurons), {(1, 100), (2, 101)}


def losses_by_replacement() -> pd.DataFrame:
    """What removal of two methods' paths costs under two replacements, of two models of two data
    sets."""
    cells = [(data, model) for data in ("one", "two") for model in MODELS]
    return with_interval(pd.DataFrame([
        {"data": data, "model": model, "kind": kind, "path": path,
         "value": 10.0 * place + number}
        for number, (data, model) in enumerate(cells) for kind in ("set to zero", "set to the mean")
        for place, path in enumerate(("Neuron Path", "random"))]))


def shares_of_methods():
    """Of two models under three conditions: one method at two budgets, two others, and one without
    a pass."""
    costs = {"one": 1.0, "three": 3.4, "search": 100.0, "ranking": 5.0, "chance": 0.0}
    reached = {"one": 0.9, "three": 0.98, "search": 0.8, "ranking": 0.6, "chance": -0.02}
    return pd.DataFrame([
        {"condition": condition, "data": "one", "model": model, "method": method,
         "passes": costs[method] * (1 + number), "value": reached[method] - 0.01 * number}
        for condition in ("zero", "mean", "other") for number, model in enumerate(MODELS)
        for method in costs])


def curves_of_rankings():
    """Of two rankings and a path, kept and removed, of two models."""
    rows = [{"data": "one", "model": model, "ranking": ranking, "side": side, "share": share,
             "value": (share / 100) ** power if side == "keep" else 1 - (share / 100) ** power}
            for model in MODELS for ranking, power in (("by a score", 0.3), ("matched", 2.0))
            for side in ("keep", "remove") for share in (100.0, 0.1, 10.0)]
    paths = [{"data": "one", "model": model, "ranking": "path", "side": side, "share": 0.7,
              "value": value} for model in MODELS for side, value in (("keep", 0.3),
                                                                      ("remove", 0.6))]
    return with_interval(pd.DataFrame(rows)), with_interval(pd.DataFrame(paths))


def places_of_paths():
    """Of two paths, kept alone and removed, of two models under two conditions."""
    return with_interval(pd.DataFrame([
        {"condition": condition, "data": "one", "model": model, "path": path, "side": side,
         "value": value + 0.02 * number}
        for condition in ("zero", "mean") for number, model in enumerate(MODELS)
        for path, kept, left in (("path", 0.4, 0.7), ("random", 0.1, 0.95))
        for side, value in (("keep", kept), ("remove", left))]))
