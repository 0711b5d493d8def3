"""One function per figure, from tidy tables; each returns a closed figure, so that a notebook shows it exactly once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from neuronpath_core.analysis import METHOD_LABELS, TABLE1_METRICS
from neuronpath_core.datasets import ImageSet

DPI = 150


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """One look for all figures, without changing the caller's settings."""
    @wraps(draw)
    def drawn(*args, **kwargs) -> Figure:
        with sns.axes_style("whitegrid"), sns.plotting_context("notebook", font_scale=0.85), sns.color_palette("colorblind"), \
                plt.rc_context({"figure.dpi": DPI, "figure.constrained_layout.use": True, "axes.titlesize": "medium"}):
            before = plt.get_fignums()
            try:
                return draw(*args, **kwargs)
            finally:
                for number in set(plt.get_fignums()) - set(before):
                    plt.close(number)
    return drawn


def _method_colours() -> dict[str, tuple]:
    return dict(zip(METHOD_LABELS.values(), sns.color_palette("colorblind", len(METHOD_LABELS)), strict=True))


def _whiskers(axis, positions, rows: pd.DataFrame, **style) -> None:
    """Values with their intervals."""
    errors = np.clip(np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]]), 0, None)
    axis.errorbar(positions, rows["value"], yerr=errors, **{"fmt": "none", "ecolor": "0.25", "elinewidth": 1, "capsize": 2, **style})


@_styled
def knowledge_blocks(shares: pd.DataFrame) -> Figure:
    """Fig. 2: share of the knowledge neurons in each block, one panel per model, with 95 % intervals."""
    models = list(dict.fromkeys(shares["model"]))
    figure, axes = plt.subplots(1, len(models), figsize=(4.2 * len(models), 3), sharey=True, squeeze=False)
    for index, (axis, model) in enumerate(zip(axes[0], models, strict=True)):
        rows = shares[shares["model"] == model]
        axis.bar(rows["block"], rows["value"], color=sns.color_palette("colorblind")[index])
        _whiskers(axis, rows["block"], rows)
        axis.set(title=model, xlabel="block", xticks=rows["block"].to_numpy()[:: max(1, len(rows) // 12)])
    axes[0, 0].set_ylabel("share of knowledge neurons")
    return figure


@_styled
def table1_intervals(table: pd.DataFrame) -> Figure:
    """Table 1 drawn: a row of panels per metric, one panel per model, with 95 % intervals."""
    models, colours = list(dict.fromkeys(table["model"])), _method_colours()
    figure, axes = plt.subplots(len(TABLE1_METRICS), len(models), figsize=(2.6 * len(models), 6.6), squeeze=False)
    for index, (metric, title) in enumerate(TABLE1_METRICS.items()):
        row, is_last = axes[index], index == len(axes) - 1
        for axis, model in zip(row, models, strict=True):
            rows = table[(table["metric"] == metric) & (table["model"] == model)]
            names = [METHOD_LABELS[method] for method in rows["method"]]
            axis.bar(names, rows["value"], color=[colours[name] for name in names])
            _whiskers(axis, np.arange(len(rows)), rows)
            axis.axhline(0, color="0.25", linewidth=0.8)
            axis.set_xticks(np.arange(len(names)), [name.replace(" ", "\n") for name in names] if is_last else [""] * len(names), fontsize=7)
            axis.grid(False, axis="x")
            axis.margins(y=0.12)
            if index == 0:
                axis.set_title(model)
        row[0].set_ylabel(title.replace(" (", "\n(").replace("accuracy deviation", "accuracy\ndeviation"))
    return figure


@_styled
def deviation_boxes(table: pd.DataFrame, operation: str) -> Figure:
    """Fig. 3: probability deviation of the true class, one box per method, one panel per model.

    ``operation`` is ``"removal"`` or ``"enhancement"``.  Boxes hold the middle half of the images, whiskers 5-95 %, the
    diamond is the mean.
    """
    models, colours = list(dict.fromkeys(table["model"])), _method_colours()
    data = table.assign(method=table["method"].map(METHOD_LABELS), deviation=table[f"{operation}_probability"])
    figure, axes = plt.subplots(1, len(models), figsize=(2.7 * len(models), 3.2), squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        sns.boxplot(data[data["model"] == model], x="method", y="deviation", hue="method", palette=colours, legend=False, ax=axis,
                    whis=(5, 95), showfliers=False, showmeans=True, linewidth=0.9,
                    meanprops={"marker": "D", "markerfacecolor": "white", "markeredgecolor": "0.2", "markersize": 4})
        axis.axhline(0, color="0.25", linewidth=0.8)
        axis.set(title=model, xlabel="", ylabel="")
        axis.set_xticks(axis.get_xticks(), [label.get_text().replace(" ", "\n") for label in axis.get_xticklabels()], fontsize=7)
    axes[0, 0].set_ylabel(f"{operation}: probability deviation")
    return figure


@_styled
def class_violins(table: pd.DataFrame, label: int, class_name: str, n_neurons: dict[str, int]) -> Figure:
    """Fig. 4, 7-10: distribution of the selected neuron's index per block for one class, one panel per model.

    The dashed line connects each block's most frequent neuron.
    """
    models = list(dict.fromkeys(table["model"]))
    rows = -(-len(models) // 2)
    figure, axes = plt.subplots(rows, min(2, len(models)), figsize=(5.4 * min(2, len(models)), 2.7 * rows), squeeze=False)
    for index, (axis, model) in enumerate(zip(axes.flat, models, strict=False)):
        own = table[(table["model"] == model) & (table["label"] == label)]
        sns.violinplot(own, x="block", y="neuron", ax=axis, inner=None, cut=0, density_norm="width", gridsize=60, linewidth=0.6, width=0.9,
                       color=sns.color_palette("colorblind")[index % 10], saturation=0.7)
        modal = own.groupby("block")["neuron"].agg(lambda values: np.bincount(values).argmax())
        axis.plot(np.arange(len(modal)), modal.to_numpy(), linestyle="--", marker="o", markersize=2.5, color="0.15", linewidth=1)
        axis.set(title=f"{model}, class {class_name}", xlabel="block", ylabel="neuron index", ylim=(-2, n_neurons[model] + 1))
        if len(modal) > 12:
            axis.set_xticks(np.arange(1, len(modal), 2), [str(block) for block in modal.index[1::2]])
    for axis in list(axes.flat)[len(models):]:
        axis.set_visible(False)
    return figure


@_styled
def concentration_curves(table: pd.DataFrame) -> Figure:
    """Share of a class's images that pass through each block's most frequent neuron, beside shuffled labels."""
    models = list(dict.fromkeys(table["model"]))
    figure, axes = plt.subplots(1, len(models), figsize=(2.7 * len(models), 2.9), sharey=True, squeeze=False)
    for axis, model in zip(axes[0], models, strict=True):
        rows = table[table["model"] == model]
        axis.plot(rows["block"], rows["share"], marker="o", markersize=3, label="class labels")
        axis.plot(rows["block"], rows["shuffled"], marker="s", markersize=3, label="shuffled labels")
        axis.fill_between(rows["block"], rows["shuffled"], rows["shuffled_high"], alpha=0.25, color=sns.color_palette("colorblind")[1])
        axis.axhline(rows["uniform"].iloc[0], color="0.4", linestyle=":", linewidth=1, label="1/n")
        axis.set(title=model, xlabel="block", ylim=(0, 1))
    axes[0, 0].set_ylabel("share through modal neuron")
    axes[0, -1].legend(fontsize=7)
    return figure


@_styled
def utilisation_maps(matrices: dict[str, np.ndarray], labels: Sequence[int], class_names: Sequence[str]) -> Figure:
    """Utilisation matrices of a few classes, one row per model (Fig. 5, left)."""
    figure, axes = plt.subplots(len(matrices), len(labels), figsize=(3.2 * len(labels), 2.1 * len(matrices)), squeeze=False)
    for row, (model, stack) in zip(axes, matrices.items(), strict=True):
        for axis, label in zip(row, labels, strict=True):
            axis.imshow(stack[label], aspect="auto", cmap="magma_r", vmin=0, vmax=1, interpolation="nearest")
            axis.grid(False)
            axis.set(title=f"{model}, class {class_names[label]}", xlabel="neuron", ylabel="block")
            axis.set_yticks([0, len(stack[label]) - 1], ["1", str(len(stack[label]))])
    figure.colorbar(axes[0, 0].images[0], ax=axes, label="share of the block's selections", shrink=0.8)
    return figure


@_styled
def similarity_matrices(matrices: dict[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """Cosine similarity of the classes' utilisation matrices, one panel per model."""
    figure, axes = plt.subplots(1, len(matrices), figsize=(4.6 * len(matrices), 3.9), squeeze=False)
    for axis, (model, similarity) in zip(axes[0], matrices.items(), strict=True):
        sns.heatmap(similarity, mask=np.eye(len(similarity), dtype=bool), annot=len(similarity) <= 12, fmt=".2f", annot_kws={"fontsize": 6.5},
                    cmap="viridis", square=True, xticklabels=class_names, yticklabels=class_names, ax=axis, cbar_kws={"shrink": 0.8})
        axis.set(title=model, xlabel="class", ylabel="class")
        if len(similarity) > 12:
            axis.tick_params(labelsize=6)
    return figure


def _typical(images: ImageSet, label: int) -> np.ndarray:
    """The class's original closest to their mean."""
    own = images.pixels[images.labels.numpy() == label]
    return own[np.square(own - own.mean(0)).reshape(len(own), -1).sum(1).argmin()]


@_styled
def similar_classes(table: pd.DataFrame, images: ImageSet, classes: Sequence[str]) -> Figure:
    """Fig. 5, 11, 12: a typical image of each class beside its most and least similar classes; ``table`` as of ``extremes``."""
    kinds = [("most similar", "tab:blue"), ("least similar", "tab:red")]
    width, across = 1 + 2 * int(table.groupby(["class", "kind"]).size().max()), 2
    rows = -(-len(classes) // across)
    figure, axes = plt.subplots(rows, across * width, figsize=(1.35 * across * width, 1.75 * rows), squeeze=False)
    examples = {name: _typical(images, label) for label, name in enumerate(images.class_names)}
    for axis in axes.flat:
        axis.set_axis_off()
    for index, name in enumerate(classes):
        shown = [(name, f"class {name}", "0.2")]
        for kind, colour in kinds:
            own = table[(table["class"] == name) & (table["kind"] == kind)]
            shown += [(other, f"{kind}:\n{other} ({value:.2f})", colour) for other, value in zip(own["other"], own["similarity"], strict=True)]
        group = axes[index // across, index % across * width:]
        for axis, (other, title, colour) in zip(group, shown, strict=False):
            axis.imshow(examples[other], cmap="gray", vmin=0, vmax=255)
            axis.set_title(title, fontsize=7, color=colour)
    return figure


@_styled
def pruning_curves(summary: pd.DataFrame, baselines: dict[str, float], measure: str) -> Figure:
    """Fig. 6: test ``measure`` against t, one row per model, one panel per pruned share; the dotted line is the whole model.

    ``summary``: ``model, kept, top, share, value, low, high``.
    """
    models, shares = list(dict.fromkeys(summary["model"])), sorted(summary["share"].unique())
    figure, axes = plt.subplots(len(models), len(shares), figsize=(2.6 * len(shares), 2.5 * len(models)), sharey="row", sharex=True, squeeze=False)
    for row, model in zip(axes, models, strict=True):
        is_last = model == models[-1]
        for axis, share in zip(row, shares, strict=True):
            for offset, (kept, own) in enumerate(summary[(summary["model"] == model) & (summary["share"] == share)].groupby("kept", sort=False)):
                positions = np.arange(len(own)) + 0.08 * (offset - 1)
                _whiskers(axis, positions, own, fmt="o-", markersize=3, linewidth=1, label=kept, ecolor=None)
                axis.set_xticks(np.arange(len(own)), [str(top) for top in own["top"]])
            axis.axhline(baselines[model], color="0.25", linestyle=":", linewidth=1, label="whole model")
            axis.set(title=f"{model}, p = {share:.0%}", xlabel="kept per block (t)" if is_last else "")
        row[0].set_ylabel(measure)
    axes[0, -1].legend(fontsize=7)
    return figure


@_styled
def cost_curves(table: pd.DataFrame) -> Figure:
    """App. A: measured time against each size, on logarithmic axes, beside two counts, as of ``scaled_formula``."""
    names = {"L": "blocks L", "n": "neurons per block n", "m": "steps m", "T": "tokens T"}
    figure, axes = plt.subplots(1, len(names), figsize=(2.6 * len(names), 2.9), squeeze=False)
    for axis, (varied, title) in zip(axes[0], names.items(), strict=True):
        rows = table[table["varied"] == varied]
        axis.plot(rows["size"], rows["seconds"], marker="o", label="measured")
        axis.plot(rows["size"], rows["operations"], linestyle="--", color="0.4", label="count of the fast search")
        axis.plot(rows["size"], rows["published"], linestyle=":", color="0.4", label="formula of App. A")
        axis.set(xscale="log", yscale="log", xlabel=title)
        axis.set_xticks(rows["size"], [str(size) for size in rows["size"]])
        axis.minorticks_off()
    axes[0, 0].set_ylabel("seconds per image")
    axes[0, 0].legend(fontsize=7)
    return figure


@_styled
def benchmark_ratios(table: pd.DataFrame) -> Figure:
    """How many times faster than the published procedure, against each size, with minimum and maximum; ``table`` as of ``benchmarks.growth``."""
    names = {"L": "blocks L", "T": "tokens T", "n": "neurons per block n", "m": "steps m", "batch": "images in a batch"}
    figure, axes = plt.subplots(1, len(names), figsize=(2.3 * len(names), 2.7), squeeze=False, sharey=True)
    for axis, (varied, title) in zip(axes[0], names.items(), strict=True):
        rows = table[table["varied"] == varied]
        axis.errorbar(rows["size"], rows["ratio"], [rows["ratio"] - rows["minimum"], rows["maximum"] - rows["ratio"]], marker="o", capsize=3)
        axis.set(xscale="log", xlabel=title)
        axis.set_xticks(rows["size"], [str(size) for size in rows["size"]])
        axis.minorticks_off()
    axes[0, 0].set(ylabel="times faster", ylim=(0, None))
    return figure


@_styled
def lead_forest(table: pd.DataFrame, xlabel: str = "own path's lead") -> Figure:
    """How far the own path is ahead of each control: a row of panels per data set, one panel per measure, a colour per model, with 95 % intervals.

    ``table``: ``data, model, control`` (as it is to be called), ``measure, value, low, high``; ``xlabel``: what the values are.
    """
    sets, measures, controls = (list(dict.fromkeys(table[column])) for column in ("data", "measure", "control"))
    figure, axes = plt.subplots(len(sets), len(measures), figsize=(2.4 + 3 * len(measures), 0.8 + 0.36 * len(controls) * len(sets)), squeeze=False,
                                sharey=True)
    for row, data in zip(axes, sets, strict=True):
        own = table[table["data"] == data]
        models = list(dict.fromkeys(own["model"]))
        for axis, measure in zip(row, measures, strict=True):
            for number, model in enumerate(models):
                rows = own[(own["model"] == model) & (own["measure"] == measure)]
                heights = np.array([controls.index(control) for control in rows["control"]]) + 0.7 * ((number + 0.5) / len(models) - 0.5)
                errors = np.clip(np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]]), 0, None)
                axis.errorbar(rows["value"], heights, xerr=errors, fmt="o", markersize=3, elinewidth=1, capsize=2, label=model)
            axis.axvline(0, color="0.25", linewidth=0.8)
            axis.set(title=f"{data}, {measure}", xlabel=xlabel if data == sets[-1] else "")
            axis.grid(False, axis="y")
        row[0].set_yticks(np.arange(len(controls)), controls, fontsize=7)
    axes[0, 0].set_ylim(len(controls) - 0.5, -0.5)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=7, loc="outside upper center", ncols=6)
    return figure


@_styled
def replica_shares(shares: pd.DataFrame) -> Figure:
    """Fig. 2 for several training seeds: share of the knowledge neurons in each block, a line per model and a colour per kind.

    A row of panels per data set, one panel per scope; broken lines are of models read where they do not classify from.  ``shares`` as of ``mean_shares``.
    """
    sets, scopes, kinds = (list(dict.fromkeys(shares[column])) for column in ("data", "scope", "kind"))
    figure, axes = plt.subplots(len(sets), len(scopes), figsize=(4.6 * len(scopes), 2.6 * len(sets)), squeeze=False, sharey="row")
    for row, data in zip(axes, sets, strict=True):
        for axis, scope in zip(row, scopes, strict=True):
            for colour, kind in zip(sns.color_palette("colorblind"), kinds, strict=False):
                own = shares[(shares["data"] == data) & (shares["scope"] == scope) & (shares["kind"] == kind)]
                for number, (_, rows) in enumerate(own.groupby("model", sort=False)):
                    axis.plot(rows["block"], rows["value"], color=colour, linewidth=1, marker="o", markersize=2.5, label=kind if number == 0 else None,
                              linestyle="-" if rows["own"].iloc[0] else "--")
            axis.set(title=f"{data}, scope {scope}", xlabel="block" if data == sets[-1] else "", xticks=np.arange(1, shares["block"].max() + 1))
        row[0].set_ylabel("share of knowledge neurons")
    axes[0, -1].legend(fontsize=7)
    return figure


@_styled
def pair_correlations(pairs: pd.DataFrame) -> Figure:
    """Correlation of block shares for every two models, by whether they are of one kind; a panel per data set.  ``pairs`` as of ``model_pairs``."""
    sets, relations = list(dict.fromkeys(pairs["data"])), list(dict.fromkeys(pairs["relation"]))
    figure, axes = plt.subplots(1, len(sets), figsize=(4.2 * len(sets), 2.6), squeeze=False, sharey=True)
    for axis, data in zip(axes[0], sets, strict=True):
        for number, relation in enumerate(relations):
            values = np.sort(pairs.loc[(pairs["data"] == data) & (pairs["relation"] == relation), "value"])
            axis.plot(number + np.linspace(-0.2, 0.2, len(values)), values, marker="o", markersize=4, linestyle="none")
        axis.axhline(0, color="0.25", linewidth=0.8)
        axis.set(title=data, ylim=(-1.05, 1.05))
        axis.set_xticks(np.arange(len(relations)), [relation.replace(" ", "\n", 1) for relation in relations], fontsize=8)
    axes[0, 0].set_ylabel("correlation of block shares")
    return figure


@_styled
def pruning_criteria(summary: pd.DataFrame, whole: pd.DataFrame, measure: str) -> Figure:
    """``measure`` against the kept neurons per block for every criterion: a row per data set and model, a column per kind of mask and tokens.

    ``summary``: ``data, model, mask, tokens, kept, top, value, low, high``; ``whole``: the same of the unedited models (dotted).
    """
    own = list(dict.fromkeys(zip(summary["data"], summary["model"], strict=True)))
    kinds = list(dict.fromkeys(zip(summary["mask"], summary["tokens"], strict=True)))
    criteria = list(dict.fromkeys(summary["kept"]))
    colours = dict(zip(criteria, sns.color_palette("colorblind", len(criteria)), strict=True))
    figure, axes = plt.subplots(len(own), len(kinds), figsize=(2.7 * len(kinds), 2.4 * len(own)), sharey=True, squeeze=False)
    for row, (data, model) in zip(axes, own, strict=True):
        level = whole[(whole["data"] == data) & (whole["model"] == model)]["value"].iloc[0]
        for axis, (mask, tokens) in zip(row, kinds, strict=True):
            mine = (summary["data"] == data) & (summary["model"] == model) & (summary["mask"] == mask) & (summary["tokens"] == tokens)
            for offset, (kept, rows) in enumerate(summary[mine].groupby("kept", sort=False)):
                positions = np.arange(len(rows)) + 0.05 * (offset - 3)
                _whiskers(axis, positions, rows, fmt="o-", markersize=2.5, linewidth=2 if offset == 0 else 1, elinewidth=0.6, capsize=0, label=kept,
                         ecolor=None, color=colours[kept])
                axis.set_xticks(np.arange(len(rows)), [str(top) for top in rows["top"]])
            axis.axhline(level, color="0.25", linestyle=":", linewidth=1)
            axis.set_title(f"{model}, {data}\n{mask}, {tokens}", fontsize=8)
        row[0].set_ylabel(measure)
    for axis in axes[-1]:
        axis.set_xlabel("kept per block (t)")
    handles, labels = max((axis.get_legend_handles_labels() for axis in axes.flat), key=lambda found: len(found[1]))
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)
    return figure


@_styled
def mask_leak(summary: pd.DataFrame, measures: Sequence[str]) -> Figure:
    """What the class masks alone say: shares with 95 % intervals, one panel per data set and model; ``summary``: ``data, model, tokens, measure, value, …``."""
    own = list(dict.fromkeys(zip(summary["data"], summary["model"], strict=True)))
    figure, axes = plt.subplots(1, len(own), figsize=(max(4.5, 3 * len(own)), 2.8), sharey=True, sharex=True, squeeze=False)
    for axis, (data, model) in zip(axes[0], own, strict=True):
        mine = summary[(summary["data"] == data) & (summary["model"] == model)]
        for offset, (tokens, rows) in enumerate(mine.groupby("tokens", sort=False)):
            rows = rows.set_index("measure").loc[list(measures)]
            positions = np.arange(len(rows)) + 0.2 * (offset - 0.5)
            axis.errorbar(rows["value"], positions, xerr=np.clip([rows["value"] - rows["low"], rows["high"] - rows["value"]], 0, None), fmt="o", markersize=3,
                          capsize=2, label=tokens)
        axis.set_yticks(np.arange(len(measures)), list(measures), fontsize=7)
        axis.set(title=f"{model}, {data}", xlabel="share of images", xlim=(-0.02, 1.02))
    axes[0, 0].invert_yaxis()
    axes[0, -1].legend(fontsize=7)
    return figure


@_styled
def overlap_dots(summary: pd.DataFrame) -> Figure:
    """Share of an image's path that each condition finds again, with intervals, beside the yardsticks; one row of panels per data set.

    ``summary``: ``data, model, condition``, and the rest as of ``stability.overlap_summary``.
    """
    data, models, conditions = (list(dict.fromkeys(summary[name])) for name in ("data", "model", "condition"))
    figure, axes = plt.subplots(len(data), len(models), figsize=(1.6 + 2.6 * len(models), 0.9 + 0.27 * len(conditions) * len(data)), squeeze=False,
                                sharex=True, sharey=True)
    marks = (("same_class", "o", "another image of the class"), ("other_class", "s", "an image of another class"), ("chance", "|", "1/n"))
    for row, name in zip(axes, data, strict=True):
        for axis, model in zip(row, models, strict=True):
            own = summary[(summary["data"] == name) & (summary["model"] == model)]
            positions = own["condition"].map(conditions.index).to_numpy()
            errors = np.clip(np.stack([own["value"] - own["low"], own["high"] - own["value"]]), 0, None)
            axis.errorbar(own["value"], positions, xerr=errors, fmt="D", markersize=3.5, capsize=2, linewidth=1, label="the same image")
            for column, marker, label in marks:
                axis.plot(own[column], positions, marker, markersize=4, color="0.35", fillstyle="none", label=label)
            axis.set(title=f"{name}, {model}", xlim=(-0.03, 1.03), ylim=(len(conditions) - 0.5, -0.5))
            axis.set_yticks(range(len(conditions)), conditions, fontsize=7)
    for axis in axes[-1]:
        axis.set_xlabel("share of equal neurons")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7)
    return figure


@_styled
def overlap_blocks(table: pd.DataFrame) -> Figure:
    """Share of equal neurons in each block, one line a condition, beside other images' paths (mean over conditions).

    ``table``: ``data, model, condition``, and the rest as of ``stability.block_overlaps``; one row of panels per data set.
    """
    data, models = (list(dict.fromkeys(table[name])) for name in ("data", "model"))
    figure, axes = plt.subplots(len(data), len(models), figsize=(3.1 * len(models), 2.5 * len(data)), squeeze=False, sharey=True)
    for row, name in zip(axes, data, strict=True):
        for axis, model in zip(row, models, strict=True):
            own = table[(table["data"] == name) & (table["model"] == model)]
            for condition, rows in own.groupby("condition", sort=False):
                axis.plot(rows["block"], rows["own"], marker="o", markersize=2.5, linewidth=1, label=condition)
            for column, style, label in (("same_class", "--", "another image of the class"), ("other_class", ":", "an image of another class")):
                axis.plot(own.groupby("block")[column].mean(), color="0.3", linestyle=style, linewidth=1, label=label)
            axis.set(title=f"{name}, {model}", ylim=(-0.03, 1.03), xticks=range(2, int(own["block"].max()) + 1, 2))
        row[0].set_ylabel("share of equal neurons")
    for axis in axes[-1]:
        axis.set_xlabel("block")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=min(3, 1 + len(models)), fontsize=7)
    return figure


@_styled
def correlation_dots(table: pd.DataFrame, panel: str, rows: str, colour: str) -> Figure:
    """Correlations with intervals, one panel per value of a column; grey bands are the middle 95 % under permutation, where there are any.

    ``table``: the three columns named, ``value, low, high`` and, for the bands, ``permuted_low, permuted_high``.
    """
    panels, names, kinds = (list(dict.fromkeys(table[name])) for name in (panel, rows, colour))
    figure, axes = plt.subplots(1, len(panels), figsize=(1.8 + 2.4 * len(panels), 1 + 0.13 * len(names) * (len(kinds) + 1)), squeeze=False,
                                sharex=True, sharey=True)
    palette = sns.color_palette("colorblind", len(kinds))
    for axis, title in zip(axes[0], panels, strict=True):
        for number, kind in enumerate(kinds):
            own = table[(table[panel] == title) & (table[colour] == kind)]
            positions = own[rows].map(names.index).to_numpy() + (number - (len(kinds) - 1) / 2) * 0.8 / len(kinds)
            if "permuted_low" in table:
                axis.barh(positions, own["permuted_high"] - own["permuted_low"], left=own["permuted_low"], height=0.7 / len(kinds), color="0.85", zorder=1)
            errors = np.clip(np.stack([own["value"] - own["low"], own["high"] - own["value"]]), 0, None)
            axis.errorbar(own["value"], positions, xerr=errors, fmt="o", markersize=3, capsize=1.5, linewidth=1, color=palette[number], label=kind, zorder=2)
        axis.axvline(0, color="0.25", linewidth=0.8)
        axis.set(title=title, xlabel="rank correlation", ylim=(len(names) - 0.5, -0.5))
        axis.set_yticks(range(len(names)), names)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(kinds)), fontsize=7)
    return figure


@_styled
def block_correlations(table: pd.DataFrame) -> Figure:
    """Each block's correlation with every relation, one panel per model; bands are the 95 % of the extremes of all blocks under permutation.

    ``table``: ``model, relation``, and the rest as of ``taxonomy.block_mantel``; filled marks have ``p < 0.05``.
    """
    models, relations = (list(dict.fromkeys(table[name])) for name in ("model", "relation"))
    figure, axes = plt.subplots(1, len(models), figsize=(3 * len(models), 2.8), squeeze=False, sharey=True)
    palette = sns.color_palette("colorblind", len(relations))
    for axis, model in zip(axes[0], models, strict=True):
        for colour, relation in zip(palette, relations, strict=True):
            own = table[(table["model"] == model) & (table["relation"] == relation)]
            axis.fill_between(own["block"], own["permuted_low"], own["permuted_high"], color=colour, alpha=0.15, linewidth=0)
            axis.plot(own["block"], own["value"], color=colour, linewidth=1, label=relation)
            for fill, chosen in (("full", own["p"] < 0.05), ("none", own["p"] >= 0.05)):
                axis.plot(own["block"][chosen], own["value"][chosen], "o", color=colour, markersize=4, fillstyle=fill)
        axis.axhline(0, color="0.25", linewidth=0.8)
        axis.set(title=model, xlabel="block", xticks=range(2, int(table["block"].max()) + 1, max(2, int(table["block"].max()) // 6)))
    axes[0, 0].set_ylabel("partial rank correlation")
    axes[0, 0].legend(fontsize=7)
    return figure


@_styled
def factorial_map(means: pd.DataFrame, title: str) -> Figure:
    """A measure for every score (rows) and search (columns), written into a heat map."""
    figure, axis = plt.subplots(figsize=(2.4 + means.shape[1], 0.4 + 0.5 * len(means)))
    sns.heatmap(means, annot=True, fmt=".3f", cmap="viridis", cbar_kws={"label": title}, ax=axis, linewidths=0.5)
    axis.set(xlabel="search", ylabel="")
    return figure


@_styled
def recovery_map(summary: pd.DataFrame) -> Figure:
    """Share of the planted neurons that each method (rows) finds, by kind and decoys (columns), one panel per token scope.

    ``summary``: ``kind, scope, decoys, method, value``; what was not measured is blank.
    """
    scopes, methods = list(dict.fromkeys(summary["scope"])), list(dict.fromkeys(summary["method"]))
    wide = {scope: summary[summary["scope"] == scope].pivot(index="method", columns=["kind", "decoys"], values="value").reindex(methods) for scope in scopes}
    # a kind's settings side by side, in the table's order
    cells = {scope: list(dict.fromkeys(summary[summary["scope"] == scope].sort_values("kind", kind="stable")[["kind", "decoys"]].itertuples(index=False)))
             for scope in scopes}
    figure, axes = plt.subplots(1, len(scopes), figsize=(1.6 + 0.55 * sum(map(len, cells.values())), 0.8 + 0.3 * len(methods)), sharey=True, squeeze=False,
                                width_ratios=[len(cells[scope]) for scope in scopes])
    for axis, scope in zip(axes[0], scopes, strict=True):
        own = wide[scope][[tuple(cell) for cell in cells[scope]]]
        sns.heatmap(own, annot=True, fmt=".2f", annot_kws={"fontsize": 6.5}, cmap="viridis", vmin=0, vmax=1, linewidths=0.5, ax=axis,
                    xticklabels=[f"{kind}, {decoys}" for kind, decoys in own.columns], yticklabels=methods, cbar=axis is axes[0, -1],
                    cbar_kws={"label": "share of planted neurons found"})
        axis.set(title={"cls": "class token", "patch": "patch tokens"}.get(scope, scope), xlabel="", ylabel="")
        axis.tick_params(labelsize=7)
    return figure


@_styled
def decoy_curves(summary: pd.DataFrame, predicted: pd.DataFrame) -> Figure:
    """Recovery against the decoys' strength with 95 % intervals, one panel per kind and sort of decoy; the dashed line is the closed form.

    ``summary``: ``kind, decoys, strength, value, low, high``; ``predicted``: the same without intervals.
    """
    cells = list(summary[["kind", "decoys"]].drop_duplicates().itertuples(index=False))
    figure, axes = plt.subplots(1, len(cells), figsize=(2.5 * len(cells), 2.7), sharey=True, squeeze=False)
    for axis, (kind, decoys) in zip(axes[0], cells, strict=True):
        rows, ideal = (table[(table["kind"] == kind) & (table["decoys"] == decoys)].sort_values("strength") for table in (summary, predicted))
        _whiskers(axis, rows["strength"], rows, fmt="o", markersize=4, label="measured", ecolor=None)
        axis.plot(ideal["strength"], ideal["value"], linestyle="--", color="0.25", linewidth=1, label="closed form")
        axis.set(title=f"{kind}, {decoys} decoys", xlabel="strength", ylim=(0, 1.05))
    axes[0, 0].set_ylabel("planted neurons found")
    axes[0, 0].legend(fontsize=7)
    return figure


@_styled
def defect_effects(table: pd.DataFrame, numbers: dict[str, str]) -> Figure:
    """What each defect does to chosen numbers, as a share of the corrected value, with 95 % intervals: a panel per number, a colour per data set and model.

    ``table``: as of ``defect_table.effect_table``; ``numbers``: titles by name.
    """
    own = table[table["number"].isin(numbers)]
    defects, models = list(dict.fromkeys(own["defect"])), list(dict.fromkeys(zip(own["data"], own["model"], strict=True)))
    figure, axes = plt.subplots(1, len(numbers), figsize=(2.2 + 2.9 * len(numbers), 1.2 + 0.42 * len(defects)), squeeze=False, sharey=True)
    for axis, (number, title) in zip(axes[0], numbers.items(), strict=True):
        for offset, (data, model) in enumerate(models):
            rows = own[(own["number"] == number) & (own["data"] == data) & (own["model"] == model)]
            size = rows["corrected"].abs().where(rows["corrected"] != 0)  # no share of nothing
            heights = np.array([defects.index(defect) for defect in rows["defect"]]) + 0.7 * ((offset + 0.5) / len(models) - 0.5)
            errors = np.clip(np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]]), 0, None) / size.to_numpy()
            axis.errorbar(100 * rows["value"] / size, heights, xerr=100 * errors, fmt="o", markersize=3, elinewidth=1, capsize=2, label=f"{model}, {data}")
        axis.axvline(0, color="0.25", linewidth=0.8)
        if max(map(abs, axis.get_xlim())) > 150:  # of a corrected value near zero; linear up to its size
            axis.set_xscale("symlog", linthresh=100)
        axis.set(title=title, xlabel="published − corrected, %\nof the corrected value")
        axis.grid(False, axis="y")
    axes[0, 0].set_yticks(np.arange(len(defects)), defects, fontsize=7)
    axes[0, 0].invert_yaxis()
    axes[0, -1].legend(fontsize=6)
    return figure
