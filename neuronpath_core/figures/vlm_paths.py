"""Figures of what a vision-language model needs, and of the paths of its answers (Chapter 34), from
tidy tables."""

from __future__ import annotations

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuronpath_core.figures.colours import looks
from neuronpath_core.figures.panels import marks_in_rows, ruled
from neuronpath_core.figures.style import (
    LEAST,
    SMALL,
    WIDTH,
    beside,
    legend_outside,
    marker,
    styled,
    whiskers,
)

LETTERS = 20  # of a line of a narrow panel's title
SHOWN = ("unknown", "random", "matched", "least influential")  # the other rules are in the table
PLACES = {"patches": "tower, patches", "image tokens": "decoder, image tokens",
          "predicting position": "decoder, predicting position"}


@styled
def spared(table: pd.DataFrame, whole: pd.DataFrame, profile: pd.DataFrame) -> Figure:
    """Left: questions answered without neurons chosen by each rule of ``SHOWN``, over the share of
    the neurons that is taken away, one model; dashed, the whole model.  Right: what is lost of a
    word's probability when a whole layer is silent, by place.

    ``table``: ``rule, neurons, share, value, low, high``.  ``whole``: ``value`` in one row.
    ``profile``: ``place, part, layer, value, low, high``.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    rules = [rule for rule in dict.fromkeys(table["rule"]) if rule in SHOWN]
    look_of = looks(rules)
    shares = sorted(table["share"].unique())
    width = min(np.diff(shares)) if len(shares) > 1 else 0.01
    for number, rule in enumerate(rules):
        rows = table[table["rule"] == rule].sort_values("share")
        places = rows["share"] + width * beside(number, len(rules), 0.5)
        left.plot(100 * places, 100 * rows["value"], **look_of[rule].drawn, markersize=4,
                  linewidth=1.1, label=rule)
        whiskers(left, 100 * places, 100 * rows[["value", "low", "high"]],
                 ecolor=look_of[rule].colour, elinewidth=0.8)
    left.axhline(100 * whole["value"].iloc[0], color="0.3", linewidth=1, linestyle="--",
                 label="whole model")
    left.set_xlabel("neurons taken away, % of the decoder's", fontsize=SMALL)
    left.set_ylabel("questions answered, %", fontsize=SMALL)
    _profile(right, profile)
    for axis in (left, right):
        axis.tick_params(labelsize=LEAST)
    legend_outside(figure, left)
    return figure


def _profile(axis: Axes, profile: pd.DataFrame) -> None:
    towers = profile.loc[profile["part"] == "tower", "layer"].max()
    for number, (place, words) in enumerate(PLACES.items()):
        rows = profile[profile["place"] == place].sort_values("layer")
        at = rows["layer"] + (0 if place == "patches" else towers)
        axis.plot(at, 100 * rows["value"], marker=marker(number), markersize=4, linewidth=1.1,
                  color=f"C{number}", label=words)
        whiskers(axis, at, 100 * rows[["value", "low", "high"]], ecolor=f"C{number}")
    axis.axhline(0, color="0.4", linewidth=0.8)
    axis.axvline(towers + 0.5, color="0.6", linewidth=0.8, linestyle=":")
    last = int(profile.loc[profile["part"] == "decoder", "layer"].max())
    ticks = [*range(1, towers + 1, 2), *range(towers + 1, towers + last + 1, 2)]
    axis.set_xticks(ticks, [str(tick if tick <= towers else tick - towers) for tick in ticks])
    axis.set_xlabel("block of the tower, then of the decoder", fontsize=SMALL)
    axis.set_ylabel("lost without the whole layer,\npoints of probability", fontsize=SMALL)
    axis.legend(fontsize=LEAST, loc="best")


@styled
def lost_without(table: pd.DataFrame) -> Figure:
    """How much more of a word's probability its own path takes with it than each control, a row for
    each control, a panel for each kind of word, a mark for each model.

    ``table``: ``kind, against, model, value, low, high``, in shares of probability.
    """
    kinds = list(dict.fromkeys(table["kind"]))
    controls = list(dict.fromkeys(table["against"]))
    models = list(dict.fromkeys(table["model"]))
    figure, axes = plt.subplots(1, len(kinds), figsize=(WIDTH, 1.5 + 0.3 * len(controls)),
                                sharey=True, squeeze=False)
    points = table.assign(**{name: 100 * table[name] for name in ("value", "low", "high")})
    for axis, kind in zip(axes[0], kinds, strict=True):
        marks_in_rows(axis, points[points["kind"] == kind], "model", models, "against", controls,
                      0.6)
        axis.axvline(0, color="0.15", linewidth=0.9)
        axis.set_title(textwrap.fill(kind, LETTERS), fontsize=SMALL)
        axis.set_xlabel("points of probability,\nown path minus control", fontsize=LEAST)
        axis.tick_params(labelsize=LEAST)
        ruled(axis, len(controls))
    axes[0, 0].set_yticks(range(len(controls)), controls, fontsize=SMALL)
    axes[0, 0].set_ylim(len(controls) - 0.5, -0.5)
    legend_outside(figure, axes[0, 0])
    return figure
