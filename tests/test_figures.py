"""Every figure from a small table: closed, of the right data, the same every time, and without a trace in the settings."""

import io

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from neuronpath_core import analysis, figures
from neuronpath_core.datasets import ImageSet

MODELS = ("ViT-B-16", "MAE-B-16")
METHODS = ("activation", "influence_pattern", "neuron_path", "random")


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def with_interval(table, width=0.1):
    return table.assign(low=table["value"] - width, high=table["value"] + 2 * width)


def shares(blocks=4):
    values = np.random.default_rng(0).dirichlet(np.ones(blocks), 2)
    return with_interval(pd.DataFrame({"model": np.repeat(MODELS, blocks), "block": np.tile(np.arange(1, blocks + 1), 2),
                                       "value": values.ravel()}))


def measured():
    rows = [{"metric": metric, "method": method, "model": model}
            for model in MODELS for method in METHODS for metric in analysis.TABLE1_METRICS]
    return with_interval(pd.DataFrame(rows).assign(value=np.random.default_rng(1).normal(size=len(rows))))


def deviations(images=40):
    rng = np.random.default_rng(2)
    return pd.concat([pd.DataFrame({"model": model, "method": method, "image": range(images),
                                    "removal_probability": rng.normal(number, 1, images),
                                    "enhancement_probability": rng.exponential(1 + number, images)})
                      for model in MODELS for number, method in enumerate(METHODS)], ignore_index=True)


def class_paths(models=MODELS, blocks=3, images=20):
    rng = np.random.default_rng(3)
    return pd.concat([pd.DataFrame({
        "model": model, "image": np.repeat(np.arange(images), blocks), "label": np.repeat(np.arange(images) % 2, blocks),
        "block": np.tile(np.arange(1, blocks + 1), images), "neuron": rng.integers(0, 6, images * blocks),
    }) for model in models], ignore_index=True)


def concentration(blocks=4):
    rng = np.random.default_rng(4)
    return pd.DataFrame({"model": np.repeat(MODELS, blocks), "block": np.tile(np.arange(1, blocks + 1), 2),
                         "share": rng.uniform(0.5, 0.9, 2 * blocks), "shuffled": rng.uniform(0.1, 0.2, 2 * blocks),
                         "shuffled_high": 0.3, "uniform": np.repeat([0.05, 0.025], blocks)})


def usage():
    return {model: np.random.default_rng(number).dirichlet(np.ones(6), (4, 3)) for number, model in enumerate(MODELS)}


def similarity(classes=4):
    return {model: np.corrcoef(np.random.default_rng(number).random((classes, 9))) for number, model in enumerate(MODELS)}


def extremes():
    return analysis.extremes(similarity()["ViT-B-16"], "abcd")


def pictures(*channels):
    """Three plain images of each of four classes; the second one, of grey level 10 + label, lies nearest to their mean."""
    labels, levels = torch.arange(12) % 4, np.repeat([0, 10, 24], 4) + np.arange(12) % 4
    pixels = np.broadcast_to(levels.reshape(-1, *[1] * (2 + len(channels))), (12, 8, 8, *channels)).astype(np.uint8)
    return ImageSet(torch.zeros(12, 1, 8, 8), labels, labels, tuple("abcd"), pixels)


def pruning():
    rows = [{"model": model, "kept": kept, "top": top, "share": share}
            for model in MODELS for kept in ("neuron path", "activation", "random") for top in (1, 5, 50) for share in (0.5, 1.0)]
    return with_interval(pd.DataFrame(rows).assign(value=np.random.default_rng(5).uniform(0.2, 0.8, len(rows))))


def cost():
    return pd.DataFrame([{"varied": varied, "size": size, "seconds": 0.1 * size, "operations": 0.2 * size**2,
                          "published": 0.3 * size}
                         for varied in "LnmT" for size in (3, 6, 12)])


def leads_of_controls():
    rows = [{"data": data, "model": model, "control": control, "measure": measure} for data in ("first", "second") for model in MODELS
            for control in ("random", "another image") for measure in ("removal", "enhancement", "score")]
    return with_interval(pd.DataFrame(rows).assign(value=np.random.default_rng(11).normal(size=len(rows))))


def shares_of_replicas():
    rows = [{"data": data, "kind": kind, "scope": scope, "own": (kind == "ViT-B-16") == (scope == "cls"), "model": f"{kind} seed {seed}", "block": block}
            for data in ("first", "second") for kind in MODELS for scope in ("cls", "patch") for seed in (1, 2, 3) for block in range(1, 6)]
    return pd.DataFrame(rows).assign(value=np.random.default_rng(12).uniform(0, 0.5, len(rows)))


def pairs_of_models():
    rows = [{"data": data, "relation": relation} for data in ("first", "second") for relation in ("between", "within a", "between", "within b", "between")]
    return pd.DataFrame(rows).assign(value=np.random.default_rng(13).uniform(-1, 1, len(rows)))


CALLS = {
    "defect_effects": lambda: figures.defect_effects(effects_of_defects(), {"score": "score", "neurons": "neurons"}),
    "recovery_map": lambda: figures.recovery_map(rates_of_recovery()),
    "decoy_curves": lambda: figures.decoy_curves(rates_of_strengths(), rates_of_strengths().assign(value=0.5)),
    "factorial_map": lambda: figures.factorial_map(cells_of_factorial(), "loss"),
    "lead_forest": lambda: figures.lead_forest(leads_of_controls()),
    "replica_shares": lambda: figures.replica_shares(shares_of_replicas()),
    "pair_correlations": lambda: figures.pair_correlations(pairs_of_models()),
    "knowledge_blocks": lambda: figures.knowledge_blocks(shares()),
    "table1_intervals": lambda: figures.table1_intervals(measured()),
    "deviation_boxes": lambda: figures.deviation_boxes(deviations(), "removal"),
    "class_violins": lambda: figures.class_violins(class_paths(), 1, "one", dict.fromkeys(MODELS, 6)),
    "concentration_curves": lambda: figures.concentration_curves(concentration()),
    "utilisation_maps": lambda: figures.utilisation_maps(usage(), [0, 3], "abcd"),
    "similarity_matrices": lambda: figures.similarity_matrices(similarity(), "abcd"),
    "similar_classes": lambda: figures.similar_classes(extremes(), pictures(), ["a", "d"]),
    "pruning_curves": lambda: figures.pruning_curves(pruning(), dict.fromkeys(MODELS, 0.9), "test accuracy"),
    "cost_curves": lambda: figures.cost_curves(cost()),
    "benchmark_ratios": lambda: figures.benchmark_ratios(ratios()),
    "overlap_dots": lambda: figures.overlap_dots(overlap_rows()),
    "overlap_blocks": lambda: figures.overlap_blocks(overlap_of_blocks()),
    "correlation_dots": lambda: figures.correlation_dots(correlations(), "model", "relation", "method"),
    "block_correlations": lambda: figures.block_correlations(correlations_of_blocks()),
    "pruning_criteria": lambda: figures.pruning_criteria(criteria(), wholes(), "test accuracy"),
    "mask_leak": lambda: figures.mask_leak(leaks_of_masks(), ["own mask", "elsewhere"]),
}


def effects_of_defects():
    rows = [{"defect": defect, "number": number, "data": data, "model": model} for defect in ("one", "two", "three") for number in ("score", "neurons", "other")
            for data in ("first", "second") for model in MODELS]
    values = np.random.default_rng(23).uniform(-0.2, 0.2, len(rows))
    return with_interval(pd.DataFrame(rows).assign(value=values, corrected=np.where(np.arange(len(rows)) % 7, 0.5, 0.0)))


def criteria():
    rows = [{"data": data, "model": model, "mask": mask, "tokens": tokens, "kept": kept, "top": top} for data in ("one", "two") for model in MODELS
            for mask in ("one for all", "own class") for tokens in ("scope", "all tokens") for kept in ("neuron path", "random", "weight norm")
            for top in (5, 30) if (mask, kept) != ("own class", "weight norm")]
    return with_interval(pd.DataFrame(rows).assign(value=np.random.default_rng(21).uniform(0.2, 0.7, len(rows))))


def wholes():
    return pd.DataFrame([{"data": data, "model": model, "value": 0.7 + place / 20} for place, (data, model) in
                         enumerate((data, model) for data in ("one", "two") for model in MODELS)])


def leaks_of_masks():
    rows = [{"data": "one", "model": model, "tokens": tokens, "measure": measure} for model in MODELS for tokens in ("scope", "all tokens")
            for measure in ("elsewhere", "leak", "own mask")]
    return with_interval(pd.DataFrame(rows).assign(value=np.random.default_rng(22).uniform(0.2, 0.7, len(rows))))


def overlap_rows():
    rows = [{"data": data, "model": model, "condition": condition} for data in ("one", "two") for model in MODELS for condition in ("left", "noise", "seed")]
    return with_interval(pd.DataFrame(rows).assign(value=np.random.default_rng(6).uniform(0.5, 0.9, len(rows)), same_class=0.3, other_class=0.2, chance=0.01))


def overlap_of_blocks(blocks=4):
    rows = [{"data": "one", "model": model, "condition": condition, "block": block} for model in MODELS for condition in ("left", "noise")
            for block in range(1, blocks + 1)]
    return pd.DataFrame(rows).assign(own=np.random.default_rng(7).random(len(rows)), same_class=0.3, other_class=np.arange(len(rows)) / 20)


def correlations():
    rows = [{"model": model, "relation": relation, "method": method} for model in MODELS for relation in ("outline", "fill") for method in METHODS]
    values = np.random.default_rng(8).uniform(-0.5, 0.5, len(rows))
    return with_interval(pd.DataFrame(rows).assign(value=values, permuted_low=-0.2, permuted_high=0.1 + np.arange(len(rows)) / 100))


def correlations_of_blocks(blocks=5):
    rows = [{"model": model, "relation": relation, "block": block} for model in MODELS for relation in ("outline", "fill") for block in range(1, blocks + 1)]
    return pd.DataFrame(rows).assign(value=np.random.default_rng(9).uniform(-0.5, 0.5, len(rows)), permuted_low=-0.3, permuted_high=0.2,
                                     p=[0.01, 0.04, 0.05, 0.2, 1.0] * (len(rows) // 5))


def cells_of_factorial():
    """A number for every score and search."""
    return pd.DataFrame(np.arange(12.0).reshape(4, 3) / -100 - 0.01, index=list("abcd"), columns=["greedy", "beam", "random"])


def ratios():
    """A ratio and its range against each size."""
    return pd.DataFrame([{"varied": varied, "size": size, "ratio": 2.0 + size, "minimum": 1.0 + size, "maximum": 4.0 + size}
                         for varied in ("L", "T", "n", "m", "batch") for size in (1, 2, 4)])


def png(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def panels(figure):
    """The panels that show something; colour bars are none."""
    return [axis for axis in figure.axes if axis.get_visible() and axis.has_data() and axis.get_label() != "<colorbar>"]


def whiskers(axis):
    """``(low, high)`` of every interval, from left to right."""
    intervals = [bars for container in axis.containers if hasattr(container, "lines") for bars in container.lines[2]]
    return np.array([segment[:, 1] for bars in intervals for segment in bars.get_segments()])


def test_every_figure_of_the_module_is_tried():
    assert set(CALLS) == {name for name, function in vars(figures).items() if hasattr(function, "__wrapped__") and name[0] != "_"}


@pytest.mark.parametrize("name", CALLS)
def test_a_figure_is_closed_leaves_the_settings_alone_and_is_the_same_every_time(name):
    with plt.rc_context({"axes.facecolor": "0.9", "lines.linewidth": 3.0}):
        own, before, settings = plt.figure(), plt.get_fignums(), dict(matplotlib.rcParams)
        first = CALLS[name]()
        assert isinstance(first, Figure)
        assert plt.get_fignums() == before and plt.gcf() is own
        assert dict(matplotlib.rcParams) == settings
        plt.close(own)
    image = png(first)
    assert png(CALLS[name]()) == image  # neither the caller's settings nor an earlier figure show
    assert len(image) > 5000


@pytest.mark.parametrize("name", CALLS)
def test_settings_survive_an_error(name):
    settings, function = dict(matplotlib.rcParams), getattr(figures, name)
    with pytest.raises((TypeError, KeyError, AttributeError)):
        function(*[None] * function.__wrapped__.__code__.co_argcount)
    assert dict(matplotlib.rcParams) == settings
    plt.close("all")


def test_a_figure_that_cannot_be_drawn_is_closed():
    try:
        with pytest.raises(KeyError):
            figures.cost_curves(cost().drop(columns="seconds"))
        assert not plt.get_fignums()
    finally:
        plt.close("all")


# --- what is drawn ---


def test_knowledge_blocks():
    table = shares()
    for axis, model in zip(panels(figures.knowledge_blocks(table)), MODELS, strict=True):
        own = table[table["model"] == model]
        assert axis.get_title() == model
        assert [bar.get_height() for bar in axis.patches] == own["value"].tolist()
        assert [bar.get_center()[0] for bar in axis.patches] == own["block"].tolist()
        np.testing.assert_allclose(whiskers(axis), own[["low", "high"]], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("blocks", "ticks"), [(12, list(range(1, 13))), (24, list(range(1, 25, 2)))])
def test_many_blocks_have_fewer_ticks(blocks, ticks):
    axis, *_ = panels(figures.knowledge_blocks(shares(blocks)))
    assert axis.get_xticks().tolist() == ticks and len(axis.patches) == blocks


def test_table1_intervals():
    table = measured()
    axes = np.array(panels(figures.table1_intervals(table))).reshape(3, 2)
    for row, metric in zip(axes, analysis.TABLE1_METRICS, strict=True):
        for axis, model in zip(row, MODELS, strict=True):
            own = table[(table["metric"] == metric) & (table["model"] == model)]
            assert [bar.get_height() for bar in axis.patches] == own["value"].tolist()
            np.testing.assert_allclose(whiskers(axis), own[["low", "high"]], rtol=0, atol=1e-12)
    assert [axis.get_title() for axis in axes[0]] == list(MODELS)
    below = [label.get_text().replace("\n", " ") for label in axes[2, 0].get_xticklabels()]
    assert below == [analysis.METHOD_LABELS[name] for name in METHODS]
    colours = {tuple(bar.get_facecolor() for bar in axis.patches) for axis in axes.flat}
    assert len(colours) == 1 and len(set(*colours)) == 4  # a method has one colour everywhere


@pytest.mark.parametrize("operation", ["removal", "enhancement"])
def test_deviation_boxes(operation):
    table = deviations()
    figure = figures.deviation_boxes(table, operation)
    for axis, model in zip(panels(figure), MODELS, strict=True):
        boxes = [patch.get_path().vertices[:, 1] for patch in axis.patches]
        assert len(boxes) == 4
        means = [line.get_ydata()[0] for line in axis.lines if line.get_marker() == "D"]
        medians = [line.get_ydata()[0] for line in axis.lines if len(set(line.get_ydata())) == 1 and len(line.get_ydata()) == 2]
        for number, method in enumerate(METHODS):
            own = table[(table["model"] == model) & (table["method"] == method)][f"{operation}_probability"]
            assert (boxes[number].min(), boxes[number].max()) == pytest.approx(tuple(np.percentile(own, [25, 75])))
            assert means[number] == pytest.approx(own.mean())
            assert any(value == pytest.approx(own.median()) for value in medians)
            ends = np.percentile(own, [5, 95])
            reached = [own[own >= ends[0]].min(), own[own <= ends[1]].max()]
            assert all(any(value == pytest.approx(end) for value in medians) for end in reached)  # the caps of the whiskers
        below = [label.get_text() for label in axis.get_xticklabels()]
        assert below == ["Activation", "Influence\nPattern", "Neuron\nPath", "Random"]
    assert figure.axes[0].get_ylabel() == f"{operation}: probability deviation"


def modal_neurons(table, model, label):
    own = table[(table["model"] == model) & (table["label"] == label)]
    return [np.bincount(rows["neuron"]).argmax() for _, rows in own.groupby("block")]


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("models", [("a",), ("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d")])
def test_class_violins(models, label):
    table = class_paths(models)
    figure = figures.class_violins(table, label, "seven", dict.fromkeys(models, 6))
    shown = panels(figure)
    assert [axis.get_title() for axis in shown] == [f"{model}, class seven" for model in models]
    for axis, model in zip(shown, models, strict=True):
        dashed, = (line for line in axis.lines if line.get_linestyle() == "--")
        assert dashed.get_ydata().tolist() == modal_neurons(table, model, label)
        assert dashed.get_xdata().tolist() == [0, 1, 2]  # where seaborn puts the first, second and third block
        assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1", "2", "3"]
        violins = [part for part in axis.collections if isinstance(part, PolyCollection)]
        own = table[(table["model"] == model) & (table["label"] == label)].groupby("block")["neuron"]
        for violin, (_, rows) in zip(violins, own, strict=True):
            heights = violin.get_paths()[0].vertices[:, 1]
            assert (heights.min(), heights.max()) == pytest.approx((rows.min(), rows.max()))  # not beyond the data
        assert axis.get_ylim() == (-2, 7)


def test_the_violins_of_many_blocks_are_labelled_with_their_own_numbers():
    table = class_paths(("a",), 24)
    axis, = panels(figures.class_violins(table, 0, "x", {"a": 6}))
    assert [(place, label.get_text()) for place, label in zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)] == [
        (block - 1, str(block)) for block in range(2, 25, 2)]
    dashed, = (line for line in axis.lines if line.get_linestyle() == "--")
    assert dashed.get_ydata().tolist() == modal_neurons(table, "a", 0)


def test_concentration_curves():
    table = concentration()
    for axis, model in zip(panels(figures.concentration_curves(table)), MODELS, strict=True):
        own = table[table["model"] == model]
        share, shuffled, uniform = axis.lines
        assert share.get_ydata().tolist() == own["share"].tolist() and share.get_label() == "class labels"
        assert shuffled.get_ydata().tolist() == own["shuffled"].tolist() and shuffled.get_label() == "shuffled labels"
        assert share.get_xdata().tolist() == own["block"].tolist()
        assert set(uniform.get_ydata()) == set(own["uniform"])
        band = axis.collections[0].get_paths()[0].vertices[:, 1]
        assert band.max() == 0.3 and band.min() == own["shuffled"].min()


def test_utilisation_maps():
    figure = figures.utilisation_maps(usage(), [0, 3], "abcd")
    for axis, (model, label) in zip(panels(figure), [(model, label) for model in MODELS for label in (0, 3)], strict=True):
        assert np.array_equal(axis.images[0].get_array(), usage()[model][label])
        assert axis.images[0].get_clim() == (0, 1)  # one scale, which the colour bar stands for
        assert axis.get_title() == f"{model}, class {'abcd'[label]}"


def test_similarity_matrices():
    found = similarity()
    for axis, model in zip(panels(figures.similarity_matrices(found, "abcd")), MODELS, strict=True):
        drawn = axis.collections[0].get_array().reshape(4, 4)
        assert np.array_equal(np.ma.getmaskarray(drawn), np.eye(4, dtype=bool))  # the ones on the diagonal say nothing
        np.testing.assert_array_equal(drawn.compressed(), found[model][~np.eye(4, dtype=bool)])
        assert [text.get_text() for text in axis.texts] == [f"{value:.2f}" for value in drawn.compressed()]
        assert [label.get_text() for label in axis.get_xticklabels()] == list("abcd")


def test_large_similarity_matrices_are_not_annotated():
    names = [str(number) for number in range(13)]
    assert not panels(figures.similarity_matrices({"m": similarity(13)["ViT-B-16"]}, names))[0].texts


@pytest.mark.parametrize("classes", ["ad", "abc", "b"])
def test_similar_classes(classes):
    found = similarity()["ViT-B-16"]
    shown = iter(panels(figures.similar_classes(extremes(), pictures(), classes)))
    for name in classes:
        own = "abcd".index(name)
        others = sorted((found[own, other], "abcd"[other]) for other in range(4) if other != own)
        expected = [(name, f"class {name}"), (others[-1][1], f"most similar:\n{others[-1][1]} ({others[-1][0]:.2f})"),
                    (others[0][1], f"least similar:\n{others[0][1]} ({others[0][0]:.2f})")]
        for other, title in expected:
            axis = next(shown)
            assert axis.get_title() == title
            assert (axis.images[0].get_array() == 10 + "abcd".index(other)).all()  # the image nearest to the class's mean
            assert axis.images[0].get_clim() == (0, 255)
    assert not list(shown)


def test_similar_classes_in_colour():
    axis, *_ = panels(figures.similar_classes(extremes(), pictures(3), "a"))
    drawn = axis.images[0].get_array()
    assert np.allclose(drawn if drawn.dtype == np.uint8 else 255 * drawn, 10)


def test_pruning_curves():
    table, whole = pruning(), {"ViT-B-16": 0.9, "MAE-B-16": 0.7}
    axes = np.array(panels(figures.pruning_curves(table, whole, "test accuracy"))).reshape(2, 2)
    for row, model in zip(axes, MODELS, strict=True):
        for axis, share in zip(row, (0.5, 1.0), strict=True):
            own = table[(table["model"] == model) & (table["share"] == share)]
            assert axis.get_xticks().tolist() == [0, 1, 2]
            assert axis.get_title() == f"{model}, p = {share:.0%}"
            curves = {container.get_label(): container for container in axis.containers}
            assert list(curves) == ["neuron path", "activation", "random"]
            for kept, container in curves.items():
                rows = own[own["kept"] == kept]
                line, _, (bars,) = container.lines
                assert line.get_ydata().tolist() == rows["value"].tolist()
                ends = [segment[:, 1] for segment in bars.get_segments()]
                np.testing.assert_allclose(ends, rows[["low", "high"]], rtol=0, atol=1e-12)
                np.testing.assert_allclose(line.get_xdata(), [0, 1, 2], atol=0.1)
            assert any(set(line.get_ydata()) == {whole[model]} for line in axis.lines if line.get_linestyle() == ":")
        assert row[0].get_ylabel() == "test accuracy"
    for axis in axes[-1]:
        assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "5", "50"]


def test_benchmark_ratios():
    for axis in panels(figures.benchmark_ratios(ratios())):
        assert axis.lines[0].get_xdata().tolist() == [1, 2, 4]
        assert axis.lines[0].get_ydata().tolist() == [3.0, 4.0, 6.0]
        np.testing.assert_allclose(whiskers(axis), [[2, 5], [3, 6], [5, 8]])
        assert axis.get_ylim()[0] == 0


def test_cost_curves():
    table = cost()
    for axis, varied in zip(panels(figures.cost_curves(table)), "LnmT", strict=True):
        own = table[table["varied"] == varied]
        expected = [own[name].tolist() for name in ("seconds", "operations", "published")]
        assert [line.get_ydata().tolist() for line in axis.lines] == expected
        assert all(line.get_xdata().tolist() == [3, 6, 12] for line in axis.lines)
        assert axis.get_xscale() == axis.get_yscale() == "log"
        assert axis.get_xlabel().endswith(f" {varied}")


@pytest.mark.parametrize("draw", [
    lambda: figures.table1_intervals(measured().replace("random", "influence_pattern_eq9")),
    lambda: figures.deviation_boxes(deviations().replace("random", "influence_pattern_eq9"), "removal")])
def test_every_method_can_be_drawn(draw):
    draw()


def test_overlap_dots():
    table = overlap_rows()
    axes = np.array(panels(figures.overlap_dots(table))).reshape(2, 2)
    assert [label.get_text() for label in axes[0, 0].get_yticklabels()] == ["left", "noise", "seed"]
    for row, data in zip(axes, ("one", "two"), strict=True):
        for axis, model in zip(row, MODELS, strict=True):
            own = table[(table["data"] == data) & (table["model"] == model)]
            assert axis.get_title() == f"{data}, {model}"
            value, _, bars = axis.containers[0].lines
            assert value.get_xdata().tolist() == own["value"].tolist() and value.get_ydata().tolist() == [0, 1, 2]
            np.testing.assert_allclose([segment[:, 0] for segment in bars[0].get_segments()], own[["low", "high"]], rtol=0, atol=1e-12)
            shown = {line.get_label(): line.get_xdata().tolist() for line in axis.lines}
            assert shown["another image of the class"] == [0.3] * 3 and shown["an image of another class"] == [0.2] * 3 and shown["1/n"] == [0.01] * 3


def test_overlap_blocks():
    table = overlap_of_blocks()
    for axis, model in zip(panels(figures.overlap_blocks(table)), MODELS, strict=True):
        own = table[table["model"] == model]
        shown = {line.get_label(): np.asarray(line.get_ydata()) for line in axis.lines}
        for condition, rows in own.groupby("condition"):
            assert shown[condition].tolist() == rows["own"].tolist()
        assert shown["an image of another class"] == pytest.approx(own["other_class"].to_numpy().reshape(2, 4).mean(0))


def test_correlation_dots():
    table = correlations()
    for axis, model in zip(panels(figures.correlation_dots(table, "model", "relation", "method")), MODELS, strict=True):
        own = table[table["model"] == model]
        for container, method in zip([each for each in axis.containers if hasattr(each, "lines")], METHODS, strict=True):
            rows = own[own["method"] == method]
            assert container.lines[0].get_xdata().tolist() == rows["value"].tolist()
            assert container.lines[0].get_ydata() == pytest.approx([0, 1], abs=0.5)
            np.testing.assert_allclose([segment[:, 0] for segment in container.lines[2][0].get_segments()], rows[["low", "high"]], rtol=0, atol=1e-12)
        bands = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in axis.patches)
        np.testing.assert_allclose(bands, sorted(zip(own["permuted_low"], own["permuted_high"], strict=True)))
    without, *_ = panels(figures.correlation_dots(table.drop(columns=["permuted_low", "permuted_high"]), "model", "relation", "method"))
    assert not without.patches


def test_block_correlations():
    table = correlations_of_blocks()
    for axis, model in zip(panels(figures.block_correlations(table)), MODELS, strict=True):
        for relation in ("outline", "fill"):
            own = table[(table["model"] == model) & (table["relation"] == relation)]
            line, = (each for each in axis.lines if each.get_label() == relation)
            assert line.get_ydata().tolist() == own["value"].tolist()
        filled = [place for each in axis.lines if each.get_marker() == "o" and each.get_fillstyle() == "full" for place in each.get_xdata()]
        assert filled == [1, 2, 1, 2]  # p below 0.05


def test_lead_forest():
    table = leads_of_controls()
    figure, measures = figures.lead_forest(table), ("removal", "enhancement", "score")
    assert [axis.get_title() for axis in figure.axes] == [f"{data}, {measure}" for data in ("first", "second") for measure in measures]
    for axis in figure.axes:
        data, measure = axis.get_title().split(", ")
        for container, model in zip(axis.containers, MODELS, strict=True):
            rows = table[(table["data"] == data) & (table["measure"] == measure) & (table["model"] == model)]
            assert container.get_label() == model
            (line, _, (bars,)) = container.lines
            np.testing.assert_allclose(line.get_xdata().astype(float), rows["value"])
            assert np.round(line.get_ydata().astype(float)).tolist() == [0, 1]  # beside the name of its control
            np.testing.assert_allclose([segment[:, 0] for segment in bars.get_segments()], rows[["low", "high"]].to_numpy())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["random", "another image"]
    assert figure.axes[0].yaxis_inverted()


def test_replica_shares():
    table = shares_of_replicas()
    figure = figures.replica_shares(table)
    assert [axis.get_title() for axis in figure.axes] == [f"{data}, scope {scope}" for data in ("first", "second") for scope in ("cls", "patch")]
    for axis in figure.axes:
        data, scope = axis.get_title().split(", scope ")
        own = table[(table["data"] == data) & (table["scope"] == scope)]
        for line, (_, rows) in zip(axis.lines, own.groupby("model", sort=False), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), rows["value"])
            assert line.get_linestyle() == ("-" if rows["own"].all() else "--")
        assert len({line.get_color() for line in axis.lines}) == 2
    assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == list(MODELS)


def test_pair_correlations():
    table = pairs_of_models()
    figure = figures.pair_correlations(table)
    assert [axis.get_title() for axis in figure.axes] == ["first", "second"]
    for axis in figure.axes:
        own = table[table["data"] == axis.get_title()]
        for number, relation in enumerate(("between", "within a", "within b")):
            np.testing.assert_array_equal(axis.lines[number].get_ydata(), np.sort(own.loc[own["relation"] == relation, "value"]))
            assert np.abs(axis.lines[number].get_xdata() - number).max() <= 0.2
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["between", "within\na", "within\nb"]


def rates_of_recovery():
    cells = [("cls", "parallel", "none"), ("cls", "chain", "none"), ("cls", "chain", "all"), ("patch", "chain", "none")]
    rows = [{"scope": scope, "kind": kind, "decoys": decoys, "method": method} for scope, kind, decoys in cells for method in METHODS]
    table = pd.DataFrame(rows).assign(value=np.arange(len(rows)) / len(rows))
    return table.drop(index=1)  # one method was not run in one cell


def rates_of_strengths():
    cells = (("chain", "steep"), ("parallel", "loud"))
    rows = [{"kind": kind, "decoys": decoys, "strength": strength} for kind, decoys in cells for strength in (5.0, 0.5, 2.0)]
    return with_interval(pd.DataFrame(rows).assign(value=[0.6, 1.0, 0.8, 0.4, 0.9, 0.7]))


def test_recovery_map():
    table = rates_of_recovery()
    first, second = panels(figures.recovery_map(table))
    assert [axis.get_title() for axis in (first, second)] == ["class token", "patch tokens"]
    assert [label.get_text() for label in first.get_xticklabels()] == ["chain, none", "chain, all", "parallel, none"]
    assert [label.get_text() for label in first.get_yticklabels()] == list(METHODS)[:1] + list(METHODS)[2:] + list(METHODS)[1:2]  # in order of appearance
    shown = [text.get_text() for text in first.texts]
    assert len(shown) == 11 and shown[0] == f"{table.iloc[3]['value']:.2f}"
    assert len(second.texts) == 4


def test_decoy_curves():
    table = rates_of_strengths()
    figure = figures.decoy_curves(table, table.assign(value=0.5))
    assert [axis.get_title() for axis in figure.axes] == ["chain, steep decoys", "parallel, loud decoys"]
    for axis, (_, rows) in zip(figure.axes, table.groupby("kind", sort=False), strict=True):
        rows = rows.sort_values("strength")
        points = axis.containers[0].lines[0]
        np.testing.assert_array_equal(points.get_xydata(), rows[["strength", "value"]])
        np.testing.assert_allclose(whiskers(axis), rows[["low", "high"]])
        ideal = next(line for line in axis.lines if line.get_linestyle() == "--")
        np.testing.assert_array_equal(ideal.get_ydata(), [0.5] * 3)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["closed form", "measured"]


def test_pruning_criteria():
    table, whole = criteria(), wholes()
    figure = figures.pruning_criteria(table, whole, "test accuracy")
    axes = np.array(panels(figure)).reshape(4, 4)
    order = [("one for all", "scope"), ("one for all", "all tokens"), ("own class", "scope"), ("own class", "all tokens")]
    for row, level in zip(axes, whole.itertuples(), strict=True):
        for axis, (mask, tokens) in zip(row, order, strict=True):
            assert axis.get_title() == f"{level.model}, {level.data}\n{mask}, {tokens}"
            own = table[(table["data"] == level.data) & (table["model"] == level.model) & (table["mask"] == mask) & (table["tokens"] == tokens)]
            np.testing.assert_allclose(whiskers(axis), own[["low", "high"]])
            drawn = [container.lines[0].get_ydata(orig=False) for container in axis.containers]
            np.testing.assert_allclose(np.concatenate(drawn), own["value"])
            assert axis.lines[-1].get_ydata()[0] == level.value
            assert [text.get_text() for text in axis.get_xticklabels()] == ["5", "30"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["neuron path", "random", "weight norm"]


def test_mask_leak():
    table = leaks_of_masks()
    axes = panels(figures.mask_leak(table, ["own mask", "elsewhere"]))
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["own mask", "elsewhere"]  # of the first panel, for all
    for axis, model in zip(axes, MODELS, strict=True):
        own = table[(table["model"] == model) & (table["measure"] != "leak")]
        drawn = np.concatenate([container.lines[0].get_xdata(orig=False) for container in axis.containers])
        np.testing.assert_allclose(drawn.reshape(2, 2)[:, ::-1].ravel(), own["value"])


def test_defect_effects():
    table = effects_of_defects()
    left, right = figures.defect_effects(table, {"score": "score", "neurons": "neurons"}).axes
    assert (left.get_title(), right.get_title()) == ("score", "neurons")
    assert [label.get_text() for label in left.get_yticklabels()] == ["one", "two", "three"]
    own = table[(table["number"] == "neurons") & (table["data"] == "second") & (table["model"] == MODELS[0]) & (table["corrected"] != 0)]
    line = right.containers[len(MODELS)].lines[0]  # containers go by data set, then by model
    drawn = np.asarray(line.get_xdata(), float)
    np.testing.assert_allclose(drawn[~np.isnan(drawn)], 100 * own["value"] / own["corrected"])  # no point where the corrected value is zero


def test_factorial_map_writes_every_cell_into_its_place():
    figure = figures.factorial_map(cells_of_factorial(), "loss of probability")
    axis = panels(figure)[0]
    assert [text.get_text() for text in axis.texts] == [f"{-number / 100:.3f}" for number in range(1, 13)]
    assert [label.get_text() for label in axis.get_yticklabels()] == list("abcd")
    assert [label.get_text() for label in axis.get_xticklabels()] == ["greedy", "beam", "random"]
    assert figure.axes[-1].get_ylabel() == "loss of probability"
