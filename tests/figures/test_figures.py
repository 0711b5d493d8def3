"""Every figure from a small table: closed, the same every time, and without a trace in the
settings; and what those of chapters 1-8 show."""

import itertools

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

import neuronpath_core as npc
from neuronpath_core import figures
from neuronpath_core.figures import (
    agreement,
    attention,
    certified,
    checks,
    class_paths,
    cost,
    faithfulness,
    methods,
    paper,
    path_graph,
    pruning,
    replacement,
    single_images,
)
from neuronpath_core.stats.labels import TABLE1_METRICS, method_labels
from tests import figure_tables as small
from tests.figure_tables import METHODS, MODELS, panels, png, whiskers
from tests.project.test_notebooks_static import svg_faults


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


CALLS = {
    "defect_effects": lambda: figures.defect_effects(small.effects_of_defects(),
                                                     {"score": "score", "neurons": "neurons"}),
    "recovery_dots": lambda: figures.recovery_dots(small.rates_of_recovery()),
    "score_dots": lambda: figures.score_dots(small.losses_of_scores(), "loss"),
    "decoy_curves": lambda: figures.decoy_curves(small.rates_of_strengths(),
                                                 small.rates_of_strengths().assign(value=0.5)),
    "factorial_map": lambda: figures.factorial_map(small.cells_of_factorial(), "loss"),
    "lead_forest": lambda: figures.lead_forest(small.leads_of_controls()),
    "replica_shares": lambda: figures.replica_shares(small.shares_of_replicas()),
    "pair_correlations": lambda: figures.pair_correlations(small.pairs_of_models()),
    "knowledge_blocks": lambda: figures.knowledge_blocks(small.shares()),
    "table1_intervals": lambda: figures.table1_intervals(small.measured()),
    "scaling_blocks": lambda: figures.scaling_blocks(small.shares_by_scaling()),
    "deviation_dots": lambda: figures.deviation_dots(small.medians()),
    "digits_and_path": lambda: figures.digits_and_path(small.pictures(), [2, 0, 1], 4, 5),
    "deviation_boxes": lambda: figures.deviation_boxes(small.deviations(), "removal"),
    "class_violins": lambda: figures.class_violins(small.class_paths(), 1, "one",
                                                   dict.fromkeys(MODELS, 6)),
    "concentration_curves": lambda: figures.concentration_curves(small.concentration()),
    "utilisation_maps": lambda: figures.utilisation_maps(small.usage(), [0, 3], "abcd"),
    "similarity_matrices": lambda: figures.similarity_matrices(small.similarity(), "abcd"),
    "similar_classes": lambda: figures.similar_classes(small.extremes(), small.pictures(),
                                                       ["a", "d"]),
    "shared_attributes": lambda: figures.shared_attributes(
        pd.DataFrame({"outline": [0.3], "nothing": [0.1]}, index=["m"]), small.taxed()),
    "pruning_curves": lambda: figures.pruning_curves(small.pruning(), dict.fromkeys(MODELS, 0.9),
                                                     "test accuracy"),
    "cost_curves": lambda: figures.cost_curves(small.cost()),
    "integrand_curves": lambda: figures.integrand_curves(small.curvature()),
    "benchmark_ratios": lambda: figures.benchmark_ratios(small.ratios()),
    "overlap_dots": lambda: figures.overlap_dots(small.overlap_rows()),
    "overlap_blocks": lambda: figures.overlap_blocks(small.overlap_of_blocks()),
    "correlation_dots": lambda: figures.correlation_dots(small.correlations(), "model", "relation",
                                                         "method"),
    "block_correlations": lambda: figures.block_correlations(small.correlations_of_blocks()),
    "pruning_criteria": lambda: figures.pruning_criteria(small.criteria(), small.wholes(),
                                                         "test accuracy"),
    "image_paths": lambda: figures.image_paths(*small.paths_of_images()),
    "rule_agreement": lambda: figures.rule_agreement(small.shares_of_rules()),
    "search_speed": lambda: figures.search_speed(small.speeds()),
    "site_dots": lambda: figures.site_dots(small.effects_of_sites()),
    "site_forest": lambda: figures.site_forest(small.leads_of_controls()),
    "half_curves": lambda: figures.half_curves(small.halves()),
    "edge_arcs": lambda: figures.edge_arcs(small.edge_table()),
    "edge_shares": lambda: figures.edge_shares(*small.edge_share_tables()),
    "certified_shares": lambda: figures.certified_shares(small.shares_of_classes(), "share"),
    "class_path_graph": lambda: figures.class_path_graph(*small.graph_of_a_class()),
    "certified_map": lambda: figures.certified_map(small.cells_of_classes(), 1),
    "replacement_dots": lambda: figures.replacement_dots(small.losses_by_replacement(), "% lost"),
    "method_front": lambda: figures.method_front(small.shares_of_methods(), ["one", "three"],
                                                 "budgets"),
    "faithfulness_curves": lambda: figures.faithfulness_curves(*small.curves_of_rankings()),
    "faithfulness_dots": lambda: figures.faithfulness_dots(small.places_of_paths()),
    "mask_leak": lambda: figures.mask_leak(small.leaks_of_masks(), ["own mask", "elsewhere"]),
}


def test_every_figure_is_tried_and_offered_by_the_one_name_that_chapters_use():
    drawn = {name for module in (paper, certified, class_paths, cost, checks, agreement,
                                  attention, faithfulness, methods, path_graph, pruning, replacement,
                                  single_images)
             for name, function in vars(module).items() if hasattr(function, "__wrapped__")}
    assert set(CALLS) == drawn == set(figures.__all__)


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
    with pytest.raises((TypeError, KeyError, AttributeError, ValueError)):
        function(*[None] * function.__wrapped__.__code__.co_argcount)
    assert dict(matplotlib.rcParams) == settings
    plt.close("all")


def test_a_figure_that_cannot_be_drawn_is_closed():
    try:
        with pytest.raises(KeyError):
            figures.cost_curves(small.cost().drop(columns="seconds"))
        assert not plt.get_fignums()
    finally:
        plt.close("all")


# --- what is drawn ---


def test_knowledge_blocks():
    table = small.shares()
    for axis, model in zip(panels(figures.knowledge_blocks(table)), MODELS, strict=True):
        own = table[table["model"] == model]
        assert axis.get_title() == model
        assert [bar.get_height() for bar in axis.patches] == own["value"].tolist()
        assert [bar.get_center()[0] for bar in axis.patches] == own["block"].tolist()
        np.testing.assert_allclose(whiskers(axis), own[["low", "high"]], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("blocks", "ticks"),
                         [(4, [1, 2, 3, 4]), (12, [2, 4, 6, 8, 10, 12]), (24, [4, 8, 12, 16, 20, 24])])
def test_many_blocks_have_fewer_ticks(blocks, ticks):
    axis, *_ = panels(figures.knowledge_blocks(small.shares(blocks)))
    assert axis.get_xticks().tolist() == ticks and len(axis.patches) == blocks


def test_image_paths():
    """The line goes through the path's neurons; the bars are the label's probability, clean and
    edited by hand."""
    target, images, neurons = small.paths_of_images()
    axes = np.array(panels(figures.image_paths(target, images, neurons))).reshape(2, 3)
    for row, (left, middle, right) in enumerate(axes):
        label, own = int(images.labels[row]), images.images[[row]]
        assert left.get_title() == images.class_names[label]
        assert (left.images[0].get_array() == images.pixels[row]).all()
        line, = middle.lines
        assert line.get_xdata().tolist() == [1, 2, 3]
        assert line.get_ydata().tolist() == neurons[row].tolist()
        assert [text.get_text() for text in middle.texts] == [str(each) for each in
                                                              neurons[row].tolist()]
        wanted = [target(own).softmax(-1)]
        for operation in ("remove", "enhance"):
            with npc.edit(target, neurons[[row]], operation):
                wanted.append(target(own).softmax(-1))
        wanted = [float(each.detach()[0, label]) for each in wanted]
        assert wanted[0] != wanted[1] != wanted[2]
        np.testing.assert_allclose([bar.get_width() for bar in right.patches], wanted, rtol=1e-5)
        assert [text.get_text() for text in right.texts] == [f"{each:.3f}" for each in wanted]


def test_image_paths_of_narrow_screens_have_their_bars_below():
    target, images, neurons = small.paths_of_images()
    wide, narrow = (figures.image_paths(target, images, neurons, own) for own in (False, True))
    bars, below = ([[bar.get_width() for bar in axis.patches] for axis in panels(figure)
                    if len(axis.patches) == 3] for figure in (wide, narrow))
    assert bars == below and len(bars) == 2
    assert narrow.get_figwidth() == 3.5
    narrow.canvas.draw()
    picture, line, bar = (axis.get_window_extent() for axis in panels(narrow)[:3])
    assert picture.x1 <= line.x0 and bar.y1 <= line.y0
    assert {text.get_text() for text in panels(narrow)[2].get_yticklabels()} == {
        "untouched", "path removed", "path doubled"}


def test_neuron_0_is_at_the_top_as_in_the_other_figures_of_paths():
    target, images, neurons = small.paths_of_images()
    low, high = panels(figures.image_paths(target, images, neurons))[1].get_ylim()
    assert low > high


def test_paths_of_many_blocks_are_drawn_without_numbers():
    axis = plt.figure().subplots()
    single_images._line(axis, np.arange(24), 30)
    assert not axis.texts and axis.lines[0].get_ydata().tolist() == list(range(24))
    plt.close("all")
def test_knowledge_blocks_write_out_the_largest_share():
    table = small.shares()
    for axis, model in zip(panels(figures.knowledge_blocks(table)), MODELS, strict=True):
        own = table[table["model"] == model]
        largest = own.loc[own["value"].idxmax()]
        assert [text.get_text() for text in axis.texts] == [
            f"{100 * largest['value']:.0f} % in block {largest['block']}"]


def test_scaling_blocks():
    table = small.shares_by_scaling()
    for axis, model in zip(panels(figures.scaling_blocks(table)), MODELS, strict=True):
        drawn = {container.get_label(): container.lines[0] for container in axis.containers}
        assert list(drawn) == ["block", "neuron"]
        for way, line in drawn.items():
            own = table[(table["model"] == model) & (table["scaling"] == way)]
            assert line.get_ydata().tolist() == own["value"].tolist()
            np.testing.assert_allclose(line.get_xdata().astype(float), own["block"], atol=0.2)
        assert len({line.get_marker() for line in drawn.values()}) == 2


def assert_dots(axis, table, models):
    """Every method's marker at its value in the row of each model, with its interval."""
    drawn = {container.get_label(): container for container in axis.containers}
    assert list(drawn) == [method_labels()[method] for method in METHODS]
    for method in METHODS:
        own = table[table["method"] == method].set_index("model").loc[list(models)]
        line, _, (bars,) = drawn[method_labels()[method]].lines
        assert line.get_xdata().tolist() == own["value"].tolist()
        np.testing.assert_allclose(line.get_ydata(), np.arange(len(models)), atol=0.3)
        np.testing.assert_allclose([segment[:, 0] for segment in bars.get_segments()],
                                   own[["low", "high"]], rtol=0, atol=1e-12)
    # told apart without colours
    assert len({container.lines[0].get_marker() for container in drawn.values()}) == len(METHODS)


def test_table1_intervals():
    table = small.measured()
    shown = panels(figures.table1_intervals(table))
    for axis, (metric, title) in zip(shown, TABLE1_METRICS.items(), strict=True):
        assert_dots(axis, table[table["metric"] == metric], MODELS)
        assert axis.get_xlabel().replace("\n", " ").replace(":", "") == title
    assert [label.get_text() for label in shown[0].get_yticklabels()] == list(MODELS)


def test_deviation_dots():
    table = small.medians()
    shown = panels(figures.deviation_dots(table))
    for axis, operation in zip(shown, ("removal", "enhancement"), strict=True):
        own = table[(table["operation"] == operation) & (table["statistic"] == "median")]
        assert_dots(axis, own, MODELS)
        assert axis.get_xlabel() == f"{operation}: change of the probability"
    assert [label.get_text() for label in shown[0].get_yticklabels()] == list(MODELS)


def test_digits_and_path():
    examples = small.pictures()
    sheet, one, path = panels(figures.digits_and_path(examples, [2, 0, 1], 4, 5, columns=5))
    drawn = sheet.images[0].get_array()
    assert drawn.shape == (3 * 10 - 2, 5 * 10 - 2)
    for number, picture in enumerate(examples.pixels):
        top, left = number // 5 * 10, number % 5 * 10
        assert np.array_equal(drawn[top : top + 8, left : left + 8], picture)
    assert (drawn[20:, 20:] == 255).all()  # nothing where there is no image
    assert np.array_equal(one.images[0].get_array(), examples.pixels[5])
    assert one.get_title() == "one of class b"
    assert path.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert path.lines[0].get_ydata().tolist() == [2, 0, 1]
    assert len(path.collections[0].get_offsets()) == 3 * 4


def test_digits_and_path_in_colour():
    sheet, *_ = panels(figures.digits_and_path(small.pictures(3), [0], 2, 0))
    assert sheet.images[0].get_array().shape[2] == 3


@pytest.mark.parametrize("operation", ["removal", "enhancement"])
def test_deviation_boxes(operation):
    table = small.deviations()
    axis, = panels(figures.deviation_boxes(table, operation))
    # seaborn draws a method's boxes of all models, method after method, then its legend's handles
    boxes = [patch.get_path().vertices[:, 0] for patch in axis.patches][:len(MODELS) * len(METHODS)]
    means = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "D"]
    upright = [line.get_xdata()[0] for line in axis.lines if len(set(line.get_xdata())) == 1
               and len(line.get_xdata()) == 2]
    pairs = [(method, model) for method in METHODS for model in MODELS]
    for (method, model), box, mean in zip(pairs, boxes, means, strict=True):
        own = table[(table["model"] == model)
                    & (table["method"] == method)][f"{operation}_probability"]
        assert (box.min(), box.max()) == pytest.approx(tuple(np.percentile(own, [25, 75])))
        assert mean == pytest.approx(own.mean())
        ends = np.percentile(own, [5, 95])
        for expected in (own.median(), own[own >= ends[0]].min(), own[own <= ends[1]].max()):
            assert any(value == pytest.approx(expected) for value in upright)
    assert [label.get_text() for label in axis.get_yticklabels()] == list(MODELS)
    assert axis.get_xlabel() == f"{operation}: change of the true class's probability"
    assert axis.get_xscale() == "symlog"


FINDING = "A sentence that says what was found, with its number +0.88 [+0.81, +0.92]"
OF_THE_PAPER = ("knowledge_blocks", "scaling_blocks", "table1_intervals", "deviation_dots",
                "deviation_boxes", "digits_and_path", "pruning_curves")


@pytest.mark.parametrize("name", OF_THE_PAPER)
def test_the_paper_s_figures_fit_a_page_and_can_be_read_there(name):
    function = getattr(figures, name)
    arguments = {"knowledge_blocks": (small.shares(12),),
                 "scaling_blocks": (small.shares_by_scaling(),),
                 "table1_intervals": (small.measured(),), "deviation_dots": (small.medians(),),
                 "deviation_boxes": (small.deviations(), "removal"),
                 "digits_and_path": (small.pictures(), [2, 0, 1], 4, 5),
                 "pruning_curves": (small.pruning(), dict.fromkeys(MODELS, 0.9), "accuracy")}[name]
    figure = function(*arguments, finding=FINDING)
    assert list(svg_faults(figure._repr_svg_())) == []


def modal_neurons(table, model, label):
    own = table[(table["model"] == model) & (table["label"] == label)]
    return [np.bincount(rows["neuron"]).argmax() for _, rows in own.groupby("block")]


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("models", [("a",), ("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d")])
def test_class_violins(models, label):
    table = small.class_paths(models)
    figure = figures.class_violins(table, label, "seven", dict.fromkeys(models, 6))
    shown = panels(figure)
    assert [axis.get_title() for axis in shown] == [f"{model}, class seven" for model in models]
    for axis, model in zip(shown, models, strict=True):
        dashed, = (line for line in axis.lines if line.get_linestyle() == "--")
        assert dashed.get_ydata().tolist() == modal_neurons(table, model, label)
        # where seaborn puts the first, second and third block
        assert dashed.get_xdata().tolist() == [0, 1, 2]
        assert [tick.get_text() for tick in axis.get_xticklabels()] == ["1", "2", "3"]
        violins = [part for part in axis.collections if isinstance(part, PolyCollection)]
        own = table[(table["model"] == model) & (table["label"] == label)].groupby("block")[
            "neuron"]
        for violin, (_, rows) in zip(violins, own, strict=True):
            heights = violin.get_paths()[0].vertices[:, 1]
            # not beyond the data
            assert (heights.min(), heights.max()) == pytest.approx((rows.min(), rows.max()))
        assert axis.get_ylim() == (-2, 7)


def test_the_violins_of_many_blocks_are_labelled_with_their_own_numbers():
    table = small.class_paths(("a",), 24)
    axis, = panels(figures.class_violins(table, 0, "x", {"a": 6}))
    assert [
        (place, label.get_text())
        for place, label in zip(axis.get_xticks(), axis.get_xticklabels(), strict=True)
    ] == [(block - 1, str(block)) for block in range(2, 25, 2)]
    dashed, = (line for line in axis.lines if line.get_linestyle() == "--")
    assert dashed.get_ydata().tolist() == modal_neurons(table, "a", 0)


def test_concentration_curves():
    table = small.concentration()
    for axis, model in zip(panels(figures.concentration_curves(table)), MODELS, strict=True):
        own = table[table["model"] == model]
        share, shuffled, high, uniform = axis.lines
        # a band of a few per cent is seen by its border alone
        assert high.get_ydata().tolist() == own["shuffled_high"].tolist()
        assert high.get_label() == "97.5 % of the shuffles"
        assert high.get_linestyle() == "--" and high.get_color() == shuffled.get_color()
        assert share.get_ydata().tolist() == own[
            "share"].tolist() and share.get_label() == "class labels"
        assert shuffled.get_ydata().tolist() == own[
            "shuffled"].tolist() and shuffled.get_label() == "shuffled labels"
        assert share.get_xdata().tolist() == own["block"].tolist()
        assert set(uniform.get_ydata()) == set(own["uniform"])
        assert axis.get_xticks().tolist() == [1, 2, 3, 4]


def test_utilisation_maps():
    figure = figures.utilisation_maps(small.usage(), [0, 3], "abcd")
    for axis, (model, label) in zip(panels(figure), [(model, label) for model in MODELS
                                                     for label in (0, 3)], strict=True):
        assert np.array_equal(axis.images[0].get_array(), small.usage()[model][label])
        assert axis.images[0].get_clim() == (0, 1)  # one scale, which the colour bar stands for
        assert axis.get_title() == f"{model}, class {'abcd'[label]}"


def test_similarity_matrices():
    found = small.similarity()
    for axis, model in zip(panels(figures.similarity_matrices(found, "abcd")), MODELS, strict=True):
        drawn = axis.collections[0].get_array().reshape(4, 4)
        # the ones on the diagonal say nothing
        assert np.array_equal(np.ma.getmaskarray(drawn), np.eye(4, dtype=bool))
        np.testing.assert_array_equal(drawn.compressed(), found[model][~np.eye(4, dtype=bool)])
        assert [text.get_text() for text in axis.texts] == [
            f"{value:.2f}".replace("0.", ".", 1) for value in drawn.compressed()]
        assert [label.get_text() for label in axis.get_xticklabels()] == list("abcd")


@pytest.mark.parametrize("models", ["ab", "abc", "abcd"])
def test_similarity_matrices_have_one_scale(models):
    found = {model: np.corrcoef(np.random.default_rng(number).random((4, 9))) / (number + 1)
             for number, model in enumerate(models)}
    figure, off = figures.similarity_matrices(found, "wxyz"), ~np.eye(4, dtype=bool)
    ends = (min(each[off].min() for each in found.values()),
            max(each[off].max() for each in found.values()))
    shown = panels(figure)
    assert [axis.get_title() for axis in shown] == list(models)
    assert all(axis.collections[0].get_clim() == ends for axis in shown)
    assert sum(axis.get_label() == "<colorbar>" for axis in figure.axes) == 1
    # no crosses in the blank cells
    assert all(not any(line.get_visible() for line in axis.get_xgridlines()) for axis in shown)


def test_large_similarity_matrices_are_not_annotated():
    names = [str(number) for number in range(13)]
    assert not panels(figures.similarity_matrices({"m": small.similarity(13)["tiny-B-16"]},
                                                  names))[0].texts


@pytest.mark.parametrize("classes", ["ad", "abc", "b"])
def test_similar_classes(classes):
    found = small.similarity()["tiny-B-16"]
    shown = panels(figures.similar_classes(small.extremes(), small.pictures(), classes))
    assert [axis.get_ylabel() for axis in shown] == ["class", "most\nsimilar", "least\nsimilar"]
    for place, name in enumerate(classes):
        own = "abcd".index(name)
        others = sorted((found[own, other], "abcd"[other]) for other in range(4) if other != own)
        expected = [(name, name), (others[-1][1], f"{others[-1][1]} ({others[-1][0]:.2f})"),
                    (others[0][1], f"{others[0][1]} ({others[0][0]:.2f})")]
        for axis, (other, title) in zip(shown, expected, strict=True):
            assert axis.get_xticklabels()[place].get_text() == title
            # the image nearest to the class's mean, above its name
            image = axis.images[place]
            assert (image.get_array() == 10 + "abcd".index(other)).all()
            assert image.get_clim() == (0, 255) and sum(image.get_extent()[:2]) / 2 == place
    assert all(len(axis.images) == len(classes) for axis in shown)


def test_similar_classes_in_colour():
    axis, *_ = panels(figures.similar_classes(small.extremes(), small.pictures(3), "a"))
    drawn = axis.images[0].get_array()
    assert np.allclose(drawn if drawn.dtype == np.uint8 else 255 * drawn, 10)


def test_large_similarity_matrices_name_groups_once():
    names = [str(number) for number in range(13)]
    axis, *_ = panels(figures.similarity_matrices({"m": small.similarity(13)["tiny-B-16"]}, names,
                                                  groups=["round"] * 6 + ["square"] * 7))
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "round" if place == 2 else "square" if place == 9 else "" for place in range(13)]


def test_shared_attributes():
    means = pd.DataFrame({"outline": [0.3, 0.2], "fill": [0.2, 0.4], "nothing": [0.1, 0.15]},
                         index=list(MODELS))
    figure = figures.shared_attributes(means, small.taxed())
    *pairs, dots = panels(figure)
    # classes a and b share their outline, a and c their fill, a and d nothing
    for axis, other in zip(pairs, (1, 2, 3), strict=True):
        left, right = np.array_split(np.asarray(axis.images[0].get_array()), 2, axis=1)
        assert (left == 10).all() and (right == 10 + other).all()
    for line, model in zip(dots.lines, MODELS, strict=True):
        assert line.get_label() == model and line.get_xdata().tolist() == means.loc[model].tolist()
        assert np.round(line.get_ydata()).tolist() == [0, 1, 2]
    assert len({line.get_marker() for line in dots.lines}) == 2
    with pytest.raises(ValueError, match="no two classes share 'size'; accepted: outline, fill"):
        figures.shared_attributes(means.rename(columns={"fill": "size"}), small.taxed())


def test_pruning_curves():
    table, whole = small.pruning(), {"tiny-B-16": 0.9, "tiny-MAE-B-16": 0.7}
    axes = np.array(panels(figures.pruning_curves(table, whole, "test accuracy"))).reshape(2, 2)
    for row, model in zip(axes, MODELS, strict=True):
        for axis, share in zip(row, (0.5, 1.0), strict=True):
            own = table[(table["model"] == model) & (table["share"] == share)]
            assert axis.get_xticks().tolist() == [0, 1, 2]
            assert axis.get_title() == f"{model}, p = {100 * share:.0f} %"
            curves = {container.get_label(): container for container in axis.containers}
            assert list(curves) == ["neuron path", "activation", "random"]
            for kept, container in curves.items():
                rows = own[own["kept"] == kept]
                line, _, (bars,) = container.lines
                assert line.get_ydata().tolist() == rows["value"].tolist()
                ends = [segment[:, 1] for segment in bars.get_segments()]
                np.testing.assert_allclose(ends, rows[["low", "high"]], rtol=0, atol=1e-12)
                np.testing.assert_allclose(line.get_xdata(), [0, 1, 2], atol=0.1)
            assert any(set(line.get_ydata()) == {whole[model]} for line in axis.lines
                       if line.get_linestyle() == ":")
        assert row[0].get_ylabel() == "test accuracy"
    for axis in axes[-1]:
        assert [label.get_text() for label in axis.get_xticklabels()] == ["1", "5", "50"]


def test_the_legend_of_the_pruning_curves_covers_none_of_them():
    figure = figures.pruning_curves(small.pruning(), dict.fromkeys(MODELS, 0.9), "test accuracy")
    figure.draw_without_rendering()
    legend, = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["whole model", "neuron path",
                                                                "activation", "random"]
    assert not any(axis.get_legend()
                   or axis.get_window_extent().overlaps(legend.get_window_extent())
                   for axis in figure.axes)


def test_benchmark_ratios():
    for axis in panels(figures.benchmark_ratios(small.ratios())):
        assert axis.lines[0].get_xdata().tolist() == [1, 2, 4]
        assert axis.lines[0].get_ydata().tolist() == [3.0, 4.0, 6.0]
        np.testing.assert_allclose(whiskers(axis), [[2, 5], [3, 6], [5, 8]])
        assert axis.get_ylim()[0] == 0


def test_integrand_curves_are_medians_of_images():
    table = small.curvature()
    axis, = panels(figures.integrand_curves(table))
    assert axis.get_yscale() == "log" and axis.get_xlabel() == "block"
    for line, model in zip(axis.lines, dict.fromkeys(table["model"]), strict=True):
        expected = table[table["model"] == model].groupby("block")["curvature"].median()
        assert list(line.get_xdata()) == [1, 2, 3] and np.allclose(line.get_ydata(), expected)


def test_cost_curves():
    table = small.cost()
    for axis, varied in zip(panels(figures.cost_curves(table)), "LnmT", strict=True):
        own = table[table["varied"] == varied]
        expected = [own[name].tolist() for name in ("seconds", "operations", "published")]
        assert [line.get_ydata().tolist() for line in axis.lines] == expected
        assert all(line.get_xdata().tolist() == [3, 6, 12] for line in axis.lines)
        assert axis.get_xscale() == axis.get_yscale() == "log"
        assert axis.get_xlabel().endswith(f" {varied}")


@pytest.mark.parametrize("draw", [
    lambda: figures.table1_intervals(small.measured().replace("random", "influence_pattern_eq9")),
    lambda: figures.deviation_boxes(small.deviations().replace("random", "influence_pattern_eq9"),
                                    "removal")])
def test_every_method_can_be_drawn(draw):
    draw()


def test_faithfulness_curves_run_by_share_and_paths_are_marks():
    curves, paths = small.curves_of_rankings()
    axes = panels(figures.faithfulness_curves(curves, paths))
    assert [axis.get_title() for axis in axes] == [f"one, {model}" for model in MODELS]
    for axis, model in zip(axes, MODELS, strict=True):
        assert axis.get_xscale() == "log"
        for ranking in ("by a score", "matched"):
            for side, word, line in (("keep", "kept", "-"), ("remove", "removed", "--")):
                own = curves[(curves["model"] == model) & (curves["ranking"] == ranking)
                             & (curves["side"] == side)].sort_values("share")
                drawn, = [each for each in axis.lines if each.get_label() == f"{ranking}, {word}"]
                assert drawn.get_xdata().tolist() == [0.1, 10.0, 100.0]
                assert drawn.get_ydata().tolist() == own["value"].tolist()
                assert drawn.get_linestyle() == line
        np.testing.assert_allclose(whiskers(axis), paths[paths["model"] == model][["low", "high"]],
                                   rtol=0, atol=1e-12)
    figure = figures.faithfulness_curves(curves, paths, finding="It holds")
    assert list(svg_faults(figure._repr_svg_())) == []


def test_faithfulness_dots_are_where_paths_are_kept_and_removed():
    table = small.places_of_paths()
    axes = panels(figures.faithfulness_dots(table))
    assert [axis.get_title() for axis in axes] == [
        f"{title} {condition}" for condition in ("zero", "mean")
        for title in ("kept alone, all others", "removed, its own neurons")]
    for axis, (condition, side) in zip(axes, itertools.product(("zero", "mean"), ("keep", "remove")),
                                       strict=True):
        own = table[(table["condition"] == condition) & (table["side"] == side)]
        drawn = sorted(value for bars in axis.containers for value in bars[0].get_xdata())
        assert drawn == sorted(own["value"])
        low, high = axis.get_xlim()
        assert low < 0 and 1 < high < 1.5
