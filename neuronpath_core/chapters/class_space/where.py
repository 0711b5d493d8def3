"""Where in the image the tokens that know the class lie, and whether it is the object or only its
place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.class_space.measured import Read
from neuronpath_core.chapters.class_space.tokens import THIRDS, curve, thirds
from neuronpath_core.readings.class_space import by_image, difference, within_rings
from neuronpath_core.readings.token_labels import BACKGROUND, BAND, FILL
from neuronpath_core.stats.intervals import interval_row
from neuronpath_core.stats.tests import holm

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

DEALS = 999
# columns of the tables of places, of which there is none without masks
GAP_COLUMNS = ("block", "depth", "value", "low", "high")
THIRD_COLUMNS = ("condition", "images", *(f"{kind}{end}" for kind in ("", "beyond_")
                                          for end in ("value", "low", "high")))
COVERED_COLUMNS = ("covered", "tokens", "rate")
PART_COLUMNS = ("condition", "images", "value", "low", "high", "outline", "fill")
OWN, DEALT, PLACE = "own mask", "mask of another image of the class", "place alone"
REGION_WORDS = {BAND: "outline band", FILL: "fill area", BACKGROUND: "background"}


def dealt_masks(labels: Int64[np.ndarray, "image"], seed: int = 0,
                deals: int = DEALS) -> list[Int64[np.ndarray, "image"]]:
    """By deal, whose mask each image gets: the images of a class exchange theirs at random."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(deals):
        whose = np.arange(len(labels))
        for label in np.unique(labels):
            own = np.flatnonzero(labels == label)
            whose[own] = rng.permutation(own)
        found.append(whose)
    return found


def all_pairs(value: Float[np.ndarray, "block image patch"],
              own: Bool[np.ndarray, "image patch"]) -> Float[np.ndarray, "block image mask"]:
    """Each image's difference between tokens inside and outside a mask, by its own mask (the
    diagonal) and by every other image's."""
    inside = own / own.sum(1, keepdims=True)
    outside = ~own / (~own).sum(1, keepdims=True)
    return value @ (inside - outside).T


def by_place(own: Bool[np.ndarray, "image patch"]) -> Bool[np.ndarray, "image patch"]:
    """For each image as many patches as it has of the object, but those that are the object's in
    most images: what is known without a look at the image."""
    order = np.argsort(-own.mean(0), kind="stable")
    found = np.zeros_like(own)
    for row, count in zip(found, own.sum(1), strict=True):
        row[order[:count]] = True
    return found


def gap_rows(read: Read, seed: int = 0, deals: int = DEALS) -> pd.DataFrame:
    """After each block, how much more tokens on the object identify their class than others:
    ``block, depth, value, low, high`` over images; ``dealt``, the mean when the images of a class
    exchange their masks, ``p`` of the difference from it (two-sided) and ``adjusted`` by Holm over
    blocks; ``place``, with the masks' commonest places; ``rings``, between tokens that are equally
    far from the middle; ``published``, tokens labelled by a pixel and pooled over images.

    Images that are all object or all context are left out.
    """
    value = read.patches(read.reading.identifiability("full"))
    own = read.object
    both = own.any(1) & ~own.all(1)
    value, own, corner = value[:, both], own[both], read.corner[both]
    pairs, images = all_pairs(value, own), np.arange(len(own))
    gap = pairs[:, images, images]
    rows = pd.DataFrame(curve(gap, seed))
    labels = read.labels.cpu().numpy()[both]
    nulls = np.array([pairs[:, images, whose].mean(1)
                      for whose in dealt_masks(labels, seed, deals)])
    middle = nulls.mean(0)
    as_far = np.abs(nulls - middle) >= np.abs(gap.mean(1) - middle)
    p = (1 + as_far.sum(0)) / (1 + deals)
    return rows.assign(
        dealt=middle, dealt_low=np.quantile(nulls, 0.025, 0),
        dealt_high=np.quantile(nulls, 0.975, 0), p=p, adjusted=holm(p),
        place=np.nanmean(difference(value, by_place(own)), 1),
        rings=np.nanmean(within_rings(value, own, read.grid.rings()), 1),
        published=_pooled(value, corner), images=int(both.sum()))


def _pooled(value: Float[np.ndarray, "block image token"],
            corner: Bool[np.ndarray, "image token"]) -> Float[np.ndarray, "block"]:
    return difference(value, corner, "published")


def third_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """The same, mean over each third of the blocks: ``condition, value, low, high, images`` and
    ``beyond, beyond_low, beyond_high``, minus the mean over exchanged masks."""
    value, own = read.patches(read.reading.identifiability("full")), read.object
    both = own.any(1) & ~own.all(1)
    value, own, labels = value[:, both], own[both], read.labels.cpu().numpy()[both]
    pairs, images = all_pairs(value, own), np.arange(len(own))
    gap = pairs[:, images, images]
    dealt = np.mean([pairs[:, images, whose] for whose in dealt_masks(labels, seed, 99)], 0)
    rows = []
    for words, part in zip(THIRDS, thirds(len(gap)), strict=True):
        beyond = interval_row((gap - dealt)[part].mean(0), seed=seed)
        rows.append({"condition": f"in the {words} of the blocks",
                     **interval_row(gap[part].mean(0), seed=seed), "images": len(own),
                     **{f"beyond_{name}": each for name, each in beyond.items()}})
    return pd.DataFrame(rows)


def coverage_rows(read: Read) -> pd.DataFrame:
    """Last block: rate of identifying tokens by how much of the patch the object covers:
    ``covered, tokens`` (share of all), ``rate`` (mean over images that have such tokens)."""
    identified, covered = read.identified(), read.covered
    parts = {"nothing": covered == 0, "up to a third": (covered > 0) & (covered <= 1 / 3),
             "up to two thirds": (covered > 1 / 3) & (covered <= 2 / 3),
             "more": (covered > 2 / 3) & (covered < 1), "all of it": covered == 1}
    return pd.DataFrame([{"covered": words, "tokens": inside.mean(),
                          "rate": np.nanmean(by_image(identified, inside))
                          if inside.any() else np.nan}
                         for words, inside in parts.items()])


def region_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """After each block, how high tokens of each part of a scene rank the label's outline among the
    outlines, and its fill among the fills: ``group, region, block, depth, value, low, high``; one
    half is chance."""
    rows = []
    for name in read.reading.groups:
        value = read.patches(read.reading.of_group(name))
        for region, words in REGION_WORDS.items():
            own = by_image(value, read.parts == region)
            own = own[:, ~np.isnan(own[0])]
            if own.shape[1] > 1:
                rows += curve(own, seed, group=name, region=words)
    return pd.DataFrame(rows)


def dissociation_rows(read: Read, seed: int = 0) -> pd.DataFrame:
    """Whether the outline is known along the band and the fill inside, mean over each third of the
    blocks: ``condition, value, low, high``, how much further the band is ahead of the fill area for
    the outline than for the fill; ``outline`` and ``fill``, the band minus the fill area for each;
    ``images``, those with tokens of both."""
    band, fill = (read.parts == region for region in (BAND, FILL))
    both = band.any(1) & fill.any(1)
    gaps = {name: (by_image(value, band) - by_image(value, fill))[:, both]
            for name in ("outline", "fill")
            for value in [read.patches(read.reading.of_group(name))]}
    rows = []
    for words, part in zip(THIRDS, thirds(len(gaps["outline"])), strict=True):
        own = {name: gap[part].mean(0) for name, gap in gaps.items()}
        rows.append({"condition": f"in the {words} of the blocks",
                     **interval_row(own["outline"] - own["fill"], seed=seed),
                     **{name: each.mean() for name, each in own.items()},
                     "images": int(both.sum())})
    return pd.DataFrame(rows)
