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


CALLS = {
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
}


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
