"""A path as a graph: how wide its arcs are, on which side, and what is written beside them."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from neuronpath_core.circuits.edges import EFFECTS
from neuronpath_core.figures import path_graph as module
from neuronpath_core.figures.path_graph import class_path_graph, edge_arcs, edge_shares
from tests import helpers
from tests.figure_tables import edge_share_tables, graph_of_a_class, panels, png
from tests.project.test_notebooks_static import svg_faults

FINDING = "Little of what reaches a neuron comes from the one before it"


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def table(blocks=4, images=2, seed=0):
    """Edges of every two blocks, with effects of both signs."""
    rng = np.random.default_rng(seed)
    neurons = rng.integers(0, 50, (images, blocks))
    rows = [{"image": image, "source_block": source + 1, "source_neuron": neurons[image, source],
             "target_block": later + 1, "target_neuron": neurons[image, later]}
            for image in range(images) for source in range(blocks)
            for later in range(source + 1, blocks)]
    values = {name: rng.normal(size=len(rows)) for name in (*EFFECTS, "composition")}
    return pd.DataFrame(rows).assign(**values)


def arcs(axis):
    """``(source block, target block): (signed height, width, colour)``."""
    found = {}
    for patch in axis.patches:
        ends, top = patch.get_path().vertices[[0, 3], 0], patch.get_path().vertices[1, 1]
        found[tuple(ends.astype(int).tolist())] = (top, patch.get_linewidth(),
                                                   to_rgb(patch.get_edgecolor()))
    return found


def test_closed_the_same_every_time_and_without_a_trace_in_the_settings(monkeypatch):
    with plt.rc_context({"axes.facecolor": "0.9", "lines.linewidth": 3.0}):
        own, before, settings = plt.figure(), plt.get_fignums(), dict(matplotlib.rcParams)
        first = edge_arcs(table())
        assert isinstance(first, Figure)
        assert plt.get_fignums() == before and plt.gcf() is own
        assert dict(matplotlib.rcParams) == settings
        with monkeypatch.context() as broken, pytest.raises(TypeError):
            broken.setattr(module, "_arcs", None)  # once a figure is open
            edge_arcs(table())
        assert plt.get_fignums() == before and dict(matplotlib.rcParams) == settings
        plt.close(own)
    image = png(first)
    assert png(edge_arcs(table())) == image and len(image) > 5000


def test_width_and_side_are_the_effects():
    edges = table()
    axis, = panels(edge_arcs(edges, 1))
    own, drawn = edges[edges["image"] == 1], arcs(axis)
    value = own["exact_probability"]
    assert len(drawn) == 6 and (value > 0).any() and (value < 0).any()
    positive, negative = module._colours()
    for row in own.itertuples():
        height, width, colour = drawn[row.source_block, row.target_block]
        assert width == pytest.approx(module.WIDEST * abs(row.exact_probability)
                                      / value.abs().max())
        assert (height > 0) == (row.exact_probability > 0)
        assert colour == to_rgb(positive if row.exact_probability > 0 else negative)
    line = axis.lines[-1]
    assert line.get_xdata().tolist() == [1, 2, 3, 4] and line.get_marker() == "o"
    neurons = dict(zip(own["target_block"], own["target_neuron"], strict=True))
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert labels == [f"1\n{own['source_neuron'].iloc[0]}",
                      *(f"{block}\n{neurons[block]}" for block in (2, 3, 4))]
    assert axis.get_title() == ("exact effect on the label's probability (widest: "
                                f"{value.abs().max():.2g})")


def test_every_arc_is_inside_of_its_panel():
    axis, = panels(edge_arcs(table(12, 1)))
    low, high = axis.get_ylim()
    for patch in axis.patches:
        box = patch.get_path().interpolated(1).to_polygons(closed_only=False)[0]
        assert low < box[:, 1].min() and box[:, 1].max() < high


def test_effects_of_one_unit_have_one_scale():
    edges = table(images=1).assign(residual=lambda each: each["total"] / 4)
    figure = edge_arcs(edges, effects=("total", "residual", "exact_probability"))
    whole, part, probability = (arcs(axis) for axis in panels(figure))
    shown = [pair for pair in whole if pair in part]
    assert len(shown) >= 4
    for pair in shown:
        assert part[pair][1] == pytest.approx(whole[pair][1] / 4)
    assert max(width for _, width, _ in probability.values()) == pytest.approx(module.WIDEST)


def test_what_is_too_thin_or_zero_is_not_drawn():
    edges = table(images=1).assign(total=[1.0, 0.009, -0.011, 0.0, 0.5, -1.0])
    axis, = panels(edge_arcs(edges, effects=("total",)))
    assert len(axis.patches) == 4
    axis, = panels(edge_arcs(edges.assign(total=0.0), effects=("total",)))
    assert not axis.patches and axis.get_title().endswith("(widest: 0)")


@pytest.mark.parametrize(("blocks", "named"), [(2, True), (14, True), (15, False), (24, False)])
def test_neurons_are_named_where_there_is_room(blocks, named):
    axis, = panels(edge_arcs(table(blocks, 1)))
    labels = [label.get_text() for label in axis.get_xticklabels()]
    assert all("\n" in label for label in labels) == named
    assert axis.get_xlabel().endswith("neuron") == named
    assert len(labels) == (blocks if named else len(module.block_ticks(blocks)))


@pytest.mark.parametrize("effects", [("exact",), ("residual", "attention", "others")])
def test_a_page_can_show_it(effects):
    figure = edge_arcs(table(12), effects=effects, finding=FINDING)
    assert list(svg_faults(figure._repr_svg_())) == []
    # and what would be refused is noticed
    assert list(svg_faults(edge_arcs(table(12), effects=effects)._repr_svg_()))


def test_every_effect_has_words():
    assert set(module.EFFECT_LABELS) == {*EFFECTS, "composition"}


def test_what_is_refused():
    edges = table()
    helpers.refused(lambda: edge_arcs(None), "columns image, source_block", "accepted")
    helpers.refused(lambda: edge_arcs(edges, 2), "no edges of image 2", "accepted")
    helpers.refused(lambda: edge_arcs(edges, effects=("weight",)), "unknown effect 'weight'")
    helpers.refused(lambda: edge_arcs(edges, effects="total"), "list of columns", "accepted")
    helpers.refused(lambda: edge_arcs(edges, effects=()), "list of columns", "accepted")
    helpers.refused(lambda: edge_arcs(edges.assign(exact=np.nan), effects=("exact",)),
                    "not computed")
    partners = edges.assign(target_neuron=edges["target_neuron"] + 1)
    helpers.refused(lambda: edge_arcs(partners), "block 2 has several neurons", "accepted")
    assert not plt.get_fignums()


def test_edge_shares():
    """Every value, in per cent, in the row of its name, with its interval; one colour and shape a
    series, in whichever panels it is."""
    tables = edge_share_tables()
    figure = edge_shares(*tables)
    styles = {}
    for axis, rows in zip(panels(figure), tables, strict=True):
        names = list(dict.fromkeys(rows["name"]))
        assert [label.get_text().replace("\n", " ") for label in axis.get_yticklabels()] == names
        for container in axis.containers:
            own = rows[rows["series"] == container.get_label()]
            points, _, (bars,) = container.lines
            at, heights = (get(orig=False) for get in (points.get_xdata, points.get_ydata))
            np.testing.assert_allclose(at, 100 * own["value"], rtol=0, atol=1e-12)
            assert [names[round(height)] for height in heights] == own["name"].tolist()
            ends = np.array([segment[:, 0] for segment in bars.get_segments()])
            np.testing.assert_allclose(ends, 100 * own[["low", "high"]].to_numpy(), rtol=0,
                                       atol=1e-12)
            style = to_rgb(points.get_color()), points.get_marker()
            assert styles.setdefault(container.get_label(), style) == style
        heights = np.concatenate([each.lines[0].get_ydata(orig=False)
                                  for each in axis.containers])
        assert len(set(heights)) == len(rows)  # none hides another
    assert len(set(styles.values())) == len(styles) == 4
    legend, = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(styles)
    assert list(svg_faults(edge_shares(*tables, finding=FINDING)._repr_svg_())) == []


def test_the_paths_of_a_class_as_one_graph():
    """A mark for each neuron, the commonest of a block on top, of the area of its share; a line for
    each pair, as wide as its share."""
    graph, marked = graph_of_a_class()
    figure = class_path_graph(graph, marked | {(3, 999)}, "sure")
    axis, = panels(figure)
    marks = {(int(line.get_xdata()[0]), int(line.get_ydata()[0])): line for line in axis.lines
             if line.get_marker() == "o"}
    lines = [line for line in axis.lines if line.get_marker() != "o"]
    assert len(marks) == len(graph) and len(lines) == graph.number_of_edges()
    names = {(round(text.xy[0]), round(text.xy[1])): int(text.get_text()) for text in axis.texts}
    ranks = {(block, neuron): rank for (block, rank), neuron in names.items()}
    blue = {line.get_color() for place, line in marks.items()
            if (place[0], names[place]) in marked}
    assert len(blue) == 1
    for node, held in graph.nodes(data=True):
        line = marks[node[0], ranks[node]]
        assert line.get_markersize() ** 2 == pytest.approx(module.LARGEST ** 2 * held["share"])
        assert (line.get_color() in blue) == (node in marked)
        above = (node[0], ranks[node] - 1)
        if above in names:
            assert graph.nodes[node[0], names[above]]["share"] >= held["share"]
    widths = {}
    for line in lines:
        (left, right), (start, end) = line.get_xdata(), line.get_ydata()
        widths[(left, names[left, start]), (right, names[right, end])] = line.get_linewidth()
    assert widths == pytest.approx({(source, end): module.WIDEST * held["share"]
                                    for source, end, held in graph.edges(data=True)})
    legend, = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["sure", "not sure"]
    assert list(svg_faults(class_path_graph(*graph_of_a_class(12), finding=FINDING)
                           ._repr_svg_())) == []
