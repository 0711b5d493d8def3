"""What the figures of chapters 9-16 show, from small tables."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from neuronpath_core import figures
from tests import figure_tables as small
from tests.figure_tables import METHODS, MODELS, panels, whiskers


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def test_overlap_dots():
    table = small.overlap_rows()
    axes = np.array(panels(figures.overlap_dots(table))).reshape(2, 2)
    assert [label.get_text() for label in axes[0, 0].get_yticklabels()] == ["left", "noise", "seed"]
    for row, data in zip(axes, ("one", "two"), strict=True):
        for axis, model in zip(row, MODELS, strict=True):
            own = table[(table["data"] == data) & (table["model"] == model)]
            assert axis.get_title() == f"{data}, {model}"
            value, _, bars = axis.containers[0].lines
            assert value.get_xdata().tolist() == own[
                "value"].tolist() and value.get_ydata().tolist() == [0, 1, 2]
            np.testing.assert_allclose([segment[:, 0] for segment in bars[0].get_segments()],
                                       own[["low", "high"]], rtol=0, atol=1e-12)
            shown = {line.get_label(): line.get_xdata().tolist() for line in axis.lines}
            assert shown["another image of the class"] == [0.3] * 3 and shown[
                "an image of another class"] == [0.2] * 3 and shown["1/n"] == [0.01] * 3


def test_overlap_dots_in_the_order_of_other_figures():
    table = small.overlap_rows()
    assert [axis.get_title()
            for axis in figures.overlap_dots(table, ["absent", MODELS[1]]).axes[:2]] == [
        f"one, {model}" for model in MODELS[::-1]]


def test_overlap_blocks():
    table = small.overlap_of_blocks()
    for axis, model in zip(panels(figures.overlap_blocks(table)), MODELS, strict=True):
        own = table[table["model"] == model]
        shown = {line.get_label(): np.asarray(line.get_ydata()) for line in axis.lines}
        for condition, rows in own.groupby("condition"):
            assert shown[condition].tolist() == rows["own"].tolist()
        assert shown["an image of another class"] == pytest.approx(
            own["other_class"].to_numpy().reshape(2, 4).mean(0))


def test_correlation_dots():
    table = small.correlations()
    for axis, model in zip(panels(figures.correlation_dots(table, "model", "relation", "method")),
                           MODELS, strict=True):
        own = table[table["model"] == model]
        for container, method in zip([each for each in axis.containers if hasattr(each, "lines")],
                                     METHODS, strict=True):
            rows = own[own["method"] == method]
            assert container.lines[0].get_xdata().tolist() == rows["value"].tolist()
            assert container.lines[0].get_ydata() == pytest.approx([0, 1], abs=0.5)
            np.testing.assert_allclose([segment[:, 0]
                                        for segment in container.lines[2][0].get_segments()],
                                       rows[["low", "high"]], rtol=0, atol=1e-12)
        bands = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in axis.patches)
        np.testing.assert_allclose(bands,
                                   sorted(zip(own["permuted_low"], own["permuted_high"],
                                              strict=True)))
    without, *_ = panels(figures.correlation_dots(
        table.drop(columns=["permuted_low", "permuted_high"]), "model", "relation", "method"))
    assert not without.patches


def test_block_correlations():
    table = small.correlations_of_blocks()
    for axis, model in zip(panels(figures.block_correlations(table)), MODELS, strict=True):
        for relation in ("outline", "fill"):
            own = table[(table["model"] == model) & (table["relation"] == relation)]
            line, = (each for each in axis.lines if each.get_label() == relation)
            assert line.get_ydata().tolist() == own["value"].tolist()
        filled = [place for each in axis.lines if each.get_marker() == "o" and each.get_fillstyle()
                  == "full" for place in each.get_xdata()]
        assert filled == [1, 2, 1, 2]  # p below 0.05
    deep, flat = small.correlations_of_blocks(24), small.correlations_of_blocks(12)
    both = pd.concat([deep[deep["model"] == MODELS[0]], flat[flat["model"] == MODELS[1]]])
    first, second = panels(figures.block_correlations(both))
    assert first.get_xticks().tolist() == [4, 8, 12, 16, 20,
                                           24] and second.get_xticks().tolist() == [2, 4, 6, 8, 10,
                                                                                    12]
    assert second.get_xlim()[1] < 13  # not as far as the deeper model's


def test_lead_forest():
    table = small.leads_of_controls()
    figure, measures = figures.lead_forest(table), ("removal", "enhancement", "score")
    assert [axis.get_title() for axis in figure.axes] == [f"{data}, {measure}"
                                                          for data in ("first", "second")
                                                          for measure in measures]
    for axis in figure.axes:
        data, measure = axis.get_title().split(", ")
        for container, model in zip(axis.containers, MODELS, strict=True):
            rows = table[(table["data"] == data) & (table["measure"] == measure)
                         & (table["model"] == model)]
            assert container.get_label() == model
            (line, _, (bars,)) = container.lines
            np.testing.assert_allclose(line.get_xdata().astype(float), rows["value"])
            # beside the name of its control
            assert np.round(line.get_ydata().astype(float)).tolist() == [0, 1]
            np.testing.assert_allclose([segment[:, 0] for segment in bars.get_segments()],
                                       rows[["low", "high"]].to_numpy())
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["random",
                                                                                "another image"]
    assert figure.axes[0].yaxis_inverted()


def test_leads_of_one_measure_stand_beside_one_another():
    table = small.leads_of_controls()
    figure = figures.lead_forest(table[table["measure"] == "score"], "lead")
    left, right = figure.axes
    assert left.get_subplotspec().rowspan == right.get_subplotspec().rowspan
    assert [axis.get_title() for axis in (left, right)] == ["first, score", "second, score"]
    assert [axis.get_xlabel() for axis in (left, right)] == ["lead", "lead"]
    rows = table[(table["measure"] == "score") & (table["data"] == "second")
                 & (table["model"] == MODELS[1])]
    assert right.containers[1].lines[0].get_xdata().tolist() == rows["value"].tolist()


def test_a_row_of_leads_names_the_controls_that_it_has():
    table = small.leads_of_controls()
    table = table[(table["data"] == "second") | (table["control"] == "another image")]
    figure = figures.lead_forest(table, "neuron path's lead")
    shown = {"first": ["another image"], "second": ["random", "another image"]}
    for axis in figure.axes:
        data, measure = axis.get_title().split(", ")
        assert axis.get_ylim() == (len(shown[data]) - 0.5, -0.5)
        for container, model in zip(axis.containers, MODELS, strict=True):
            rows = table[(table["data"] == data) & (table["measure"] == measure)
                         & (table["model"] == model)]
            assert container.lines[0].get_xdata().tolist() == rows["value"].tolist()
            assert np.round(container.lines[0].get_ydata().astype(float)).tolist() == list(
                range(len(shown[data])))
    # of the first panels, for their rows
    assert [[label.get_text() for label in axis.get_yticklabels()]
            for axis in figure.axes[::3]] == list(shown.values())
    assert [axis.get_xlabel() for axis in figure.axes] == [""] * 3 + ["neuron path's lead"] * 3


def test_replica_shares():
    table = small.shares_of_replicas()
    figure = figures.replica_shares(table)
    cells = [(data, scope) for data in ("first", "second") for scope in ("cls", "patch")]
    assert [axis.get_title()
            for axis in figure.axes] == [f"{data}, "
                                         f"{'class token' if scope == 'cls' else 'patch tokens'}"
                                         for data, scope in cells]
    for axis, (data, scope) in zip(figure.axes, cells, strict=True):
        own = table[(table["data"] == data) & (table["scope"] == scope)]
        for line, (_, rows) in zip(axis.lines, own.groupby("model", sort=False), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), rows["value"])
            assert line.get_linestyle() == ("-" if rows["own"].all() else "--")
        assert len({line.get_color() for line in axis.lines}) == 2
    legend, drawn = figure.legends[0], {line.get_color() for line in figure.axes[0].lines}
    assert [text.get_text() for text in legend.get_texts()] == [*MODELS, "own scope",
                                                                "the other's scope"]
    keys = legend.get_lines()
    assert {key.get_color() for key in keys[:2]} == drawn and {key.get_linestyle()
                                                               for key in keys[:2]} == {"-"}
    # of neither kind
    assert [key.get_linestyle() for key in keys[2:]] == ["-",
                                                         "--"] and not {key.get_color()
                                                                        for key in keys[2:]} & drawn


def test_pair_correlations():
    table = small.pairs_of_models()
    figure = figures.pair_correlations(table)
    assert [axis.get_title() for axis in figure.axes] == ["first", "second"]
    for axis in figure.axes:
        own = table[table["data"] == axis.get_title()]
        for number, relation in enumerate(("between", "within a", "within b")):
            np.testing.assert_array_equal(axis.lines[number].get_ydata(),
                                          np.sort(own.loc[own["relation"] == relation, "value"]))
            assert np.abs(axis.lines[number].get_xdata() - number).max() <= 0.2
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["between",
                                                                                "within\na",
                                                                                "within\nb"]


def test_recovery_dots():
    table = small.rates_of_recovery()
    first, second = panels(figures.recovery_dots(table))
    assert [axis.get_title() for axis in (first, second)] == ["class token", "patch tokens"]
    names = list(dict.fromkeys(table["method"]))  # in order of appearance
    assert [label.get_text() for label in first.get_yticklabels()] == names
    for axis, scope in ((first, "cls"), (second, "patch")):
        for container, decoys in zip(axis.containers, ("none", "all"), strict=True):
            rows = table[(table["scope"] == scope) & (table["decoys"] == decoys)]
            line, _, (bars,) = container.lines
            assert line.get_xdata().tolist() == rows["value"].tolist()
            assert [names[round(height)] for height in line.get_ydata()] == rows["method"].tolist()
            np.testing.assert_allclose([segment[:, 0] for segment in bars.get_segments()],
                                       rows[["low", "high"]])
            assert (line.get_markerfacecolor() == "none") == (decoys == "none")


def test_score_dots_orders_scores_by_their_mean_and_writes_it():
    table = small.losses_of_scores()
    axis, = panels(figures.score_dots(table, "loss"))
    names = ["gradient", "joint", "random"]
    assert [label.get_text() for label in axis.get_yticklabels()] == names
    means = table.groupby("score")["value"].mean()[names]
    assert [text.get_text() for text in axis.texts] == [f"{mean:.3f}" for mean in means] + ["mean"]
    marks = {line.get_label(): line for line in axis.lines if line.get_linestyle() == "None"}
    for (data, model), rows in table.groupby(["data", "model"]):
        line = marks[f"{model}, {data}"]
        assert line.get_xdata().tolist() == rows["value"].tolist()
        assert [names[round(height)] for height in line.get_ydata()] == rows["score"].tolist()
    looks = {(line.get_marker(), line.get_color()) for line in marks.values()}
    assert len(looks) == table["model"].nunique()
    assert len({(*look, fill) for look in looks for fill in ("full", "none")}
               & {(line.get_marker(), line.get_color(), line.get_fillstyle())
                  for line in marks.values()}) == len(marks)


def test_decoy_curves():
    table = small.rates_of_strengths()
    figure = figures.decoy_curves(table, table.assign(value=0.5))
    assert [axis.get_title() for axis in figure.axes] == ["chain,\nsteep decoys",
                                                          "parallel,\nloud decoys"]
    for axis, (_, rows) in zip(figure.axes, table.groupby("kind", sort=False), strict=True):
        rows = rows.sort_values("strength")
        points = axis.containers[0].lines[0]
        np.testing.assert_array_equal(points.get_xydata(), rows[["strength", "value"]])
        np.testing.assert_allclose(whiskers(axis), rows[["low", "high"]])
        ideal = next(line for line in axis.lines if line.get_linestyle() == "--")
        np.testing.assert_array_equal(ideal.get_ydata(), [0.5] * 3)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["closed form",
                                                                           "measured"]


def test_pruning_criteria():
    table, whole = small.criteria(), small.wholes()
    kinds = [("one for all", "all tokens"), ("own class", "scope")]
    table = table[[kind in kinds for kind in zip(table["mask"], table["tokens"], strict=True)]]
    figure = figures.pruning_criteria(table, whole, "test accuracy")
    axes = np.array(panels(figure)).reshape(2, 2)
    for row, (mask, tokens) in zip(axes, kinds, strict=True):
        own = table[(table["mask"] == mask) & (table["tokens"] == tokens)]
        names = ["whole model", *dict.fromkeys(own["kept"])]
        # what a kind of mask has no counterpart of has no row
        assert [label.get_text() for label in row[0].get_yticklabels()] == names
        for axis, top in zip(row, (5, 30), strict=True):
            assert axis.get_title() == f"{mask}, {tokens},\n{top} kept"
            for container, level in zip(axis.containers, whole.itertuples(), strict=True):
                rows = own[(own["top"] == top) & (own["data"] == level.data)
                           & (own["model"] == level.model)]
                line, _, (bars,) = container.lines
                assert line.get_xdata().tolist() == [level.value, *rows["value"]]
                assert [names[round(height)] for height in line.get_ydata()] == [
                    "whole model", *rows["kept"]]
                np.testing.assert_allclose([segment[:, 0] for segment in bars.get_segments()],
                                           [[level.low, level.high],
                                            *rows[["low", "high"]].to_numpy()])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        f"{level.model}, {level.data}" for level in whole.itertuples()]


def test_mask_leak():
    table = small.leaks_of_masks()
    axes = panels(figures.mask_leak(table, ["own mask", "elsewhere"]))
    # of the first panel, for all
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["own mask", "elsewhere"]
    for axis, model in zip(axes, MODELS, strict=True):
        own = table[(table["model"] == model) & (table["measure"] != "leak")]
        drawn = np.concatenate([container.lines[0].get_xdata(orig=False)
                                for container in axis.containers])
        np.testing.assert_allclose(drawn.reshape(2, 2)[:, ::-1].ravel(), own["value"])


def test_defect_effects():
    table = small.effects_of_defects()
    left, right = figures.defect_effects(table, {"score": "score", "neurons": "neurons"}).axes
    assert (left.get_title(), right.get_title()) == ("score", "neurons")
    assert [label.get_text() for label in left.get_yticklabels()] == ["one", "two", "three"]
    assert left.get_xlabel() == right.get_xlabel() == "published − corrected,\n% of corrected" and left.get_xscale() == "linear"
    own = table[(table["number"] == "neurons") & (table["data"] == "second")
                & (table["model"] == MODELS[0]) & (table["corrected"] != 0)]
    line = right.containers[len(MODELS)].lines[0]  # containers go by data set, then by model
    drawn = np.asarray(line.get_xdata(), float)
    # no point where the corrected value is zero
    np.testing.assert_allclose(drawn[~np.isnan(drawn)], 100 * own["value"] / own["corrected"])


def test_a_defect_that_lowers_a_negative_number_lies_left_of_zero_and_a_logarithmic_axis_says_so():
    table = small.effects_of_defects().assign(corrected=-0.05, low=-0.3, value=-0.2, high=-0.1)
    axis, = figures.defect_effects(table, {"score": "score"}).axes
    assert axis.get_xscale() == "symlog" and axis.xaxis.get_transform().linthresh == 100 and axis.get_xlabel().endswith("(log beyond ±100)")
    for container in axis.containers:
        line, _, (bars,) = container.lines
        np.testing.assert_allclose(np.asarray(line.get_xdata(), float), -400)
        np.testing.assert_allclose([segment[:, 0] for segment in bars.get_segments()],
                                   [[-600, -200]] * 3)


def test_factorial_map_writes_every_cell_into_its_place():
    figure = figures.factorial_map(small.cells_of_factorial(), "loss of probability")
    axis = panels(figure)[0]
    assert [text.get_text() for text in axis.texts] == [f"{-number / 100:.3f}"
                                                        for number in range(1, 13)]
    assert [label.get_text() for label in axis.get_yticklabels()] == list("abcd")
    assert [label.get_text() for label in axis.get_xticklabels()] == ["greedy", "beam", "random"]
    assert figure.axes[-1].get_ylabel() == "loss of probability"


def test_replacement_dots_has_a_panel_per_replacement_and_shades_the_own_row():
    table = small.losses_by_replacement()
    notes = {"set to zero": "ahead of random: 2 of 4"}
    figure = figures.replacement_dots(table, "% of the probability lost", own="random", notes=notes)
    axes = panels(figure)
    assert [axis.get_title() for axis in axes] == ["set to zero", "set to the mean"]
    assert axes[0].get_xlabel().endswith(notes["set to zero"])
    assert axes[1].get_xlabel() == "% of the probability\nlost"
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["Neuron Path", "random"]
    for axis in axes:
        for container, (_, own) in zip(axis.containers, table[table["kind"] == axis.get_title()]
                                       .groupby(["data", "model"], sort=False), strict=True):
            line, _, (bars,) = container.lines
            assert line.get_xdata().tolist() == own["value"].tolist()
            assert [round(height) for height in line.get_ydata()] == [0, 1]
            np.testing.assert_allclose([segment[:, 0] for segment in bars.get_segments()],
                                       own[["low", "high"]], rtol=0, atol=1e-12)
        band, = axis.patches
        assert (band.get_y(), band.get_y() + band.get_height()) == (0.5, 1.5)
    assert len({(container.lines[0].get_marker(), container.lines[0].get_fillstyle())
                for container in axes[0].containers}) == 4
