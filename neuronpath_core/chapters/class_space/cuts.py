"""What is left of the class when tokens may not look at one another, or are taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from neuronpath_core.chapters.class_space.measured import Read
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.readings.attention_maps import attention_maps
from neuronpath_core.readings.class_space import by_image
from neuronpath_core.readings.token_cuts import Cut, cut_attention, cut_mask, drop_tokens, forbid
from neuronpath_core.stats.intervals import interval_row

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

MASS_IMAGES = 16  # over which attention is averaged
UNCUT, SELF, OTHER, HALF = "uncut", "self only", "one other token only", "self only, half of blocks"
NO_CLS, NO_PATCH = "no class token", "patches hidden instead"
# names of variants, where they are other computations than the corrected one
SELF_WRITTEN, NO_CLS_PUBLISHED = "self only, as written", "no class token, as published"


def attention_cuts(read: Read, seed: int = 0) -> pd.DataFrame:
    """Each image's rate of identifying patch tokens in the last block, under each cut: ``image,
    cut, rate, correct, everything``, the last with the class token among the tokens, as published.

    Cuts are: self only, corrected (which is as published) and as written; the same in every second
    block, drawn at random; one other token only, each token another, drawn at random; no class
    token, corrected and as published (which is as written); and as many patches instead of the
    class token as take as much attention, drawn at random.
    """
    target, pixels, labels = read.target, read.pixels, read.labels
    rng = np.random.default_rng(seed)
    prefix, tokens = read.grid.prefix, target.n_tokens
    own = cut_mask("self_only", tokens, prefix)
    blocks = rng.choice(len(target.model.blocks), len(target.model.blocks) // 2, replace=False)
    found = {SELF: forbid(target, pixels, labels, own),
             SELF_WRITTEN: cut_attention(target, pixels, labels, "self_only", "written"),
             HALF: forbid(target, pixels, labels, own, blocks=blocks.tolist()),
             OTHER: forbid(target, pixels, labels, one_other(tokens, prefix, rng))}
    if prefix:
        column = columns_like_cls(read, rng)
        found |= {NO_CLS: cut_attention(target, pixels, labels, "no_cls"),
                  NO_CLS_PUBLISHED: cut_attention(target, pixels, labels, "no_cls", "published"),
                  NO_PATCH: forbid(target, pixels, labels, column)}
    rows = [_of_images(read, UNCUT, read.reading.identified()[-1], read.correct)]
    rows += [_of_images(read, name, cut.identified().numpy(), _correct(read, cut))
             for name, cut in found.items()]
    return pd.concat(rows, ignore_index=True)


def one_other(tokens: int, prefix: int, rng: np.random.Generator) -> Bool[Tensor, "query key"]:
    """As many keys as in ``self_only``, but each patch token has another's instead of its own: the
    next one in a random ring."""
    allowed = torch.ones(tokens, tokens, dtype=torch.bool)
    allowed[prefix:] = False
    ring = prefix + rng.permutation(tokens - prefix)
    allowed[ring, np.roll(ring, -1)] = True
    return allowed


def columns_like_cls(read: Read, rng: np.random.Generator) -> Bool[Tensor, "query key"]:
    """Forbids all patch tokens but themselves to look at random patches, as many as take as much of
    the patch tokens' attention as the class token does, at least one."""
    maps = attention_maps(read.target, read.pixels[:MASS_IMAGES])
    patches = read.grid.tokens
    mass = maps[..., patches, :].mean((0, 1, 2, 3)).cpu().numpy()
    drawn = rng.permutation(np.arange(read.grid.patches) + read.grid.prefix)
    count = 1 + int(np.searchsorted(np.cumsum(mass[drawn]), mass[0]))
    allowed = torch.ones(maps.shape[-2:], dtype=torch.bool)
    chosen = torch.from_numpy(drawn[:min(count, len(drawn) - 1)])
    allowed[patches, chosen] = False
    allowed[chosen, chosen] = True
    return allowed


def _correct(read: Read, cut: Cut) -> Bool[np.ndarray, "image"]:
    return (cut.predicted == read.labels.cpu()).numpy()


def _of_images(read: Read, name: str, identified: np.ndarray, correct: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"image": np.arange(len(correct)), "cut": name,
                         "rate": read.patches(identified).mean(1), "correct": correct,
                         "everything": identified.mean(1)})


def lost_rows(cuts: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """``attention_cuts`` of one model summed up: ``cut, rate, correct, published`` (the rate with
    the class token among the tokens) and ``value, low, high``, how much of the rate was lost,
    paired over images."""
    wide = cuts.pivot(index="image", columns="cut", values="rate")
    rows = []
    for name, own in cuts.groupby("cut", sort=False):
        lost = (wide[UNCUT] - wide[name]).to_numpy()
        row = interval_row(lost, seed=seed)
        rows.append({"cut": name, "rate": own["rate"].mean(), "correct": own["correct"].mean(),
                     "published": own["everything"].mean(), **row})
    return pd.DataFrame(rows)


def against(cuts: pd.DataFrame, cut: str, control: str, seed: int = 0) -> dict[str, float]:
    """How much more a cut loses than its control, paired over images: ``value, low, high``."""
    wide = cuts.pivot(index="image", columns="cut", values="rate")
    return interval_row((wide[control] - wide[cut]).to_numpy(), seed=seed)


# columns of the tables of what stays, of which there is none without masks
CONTEXT_COLUMNS = ("image", "kept", "tokens", "before", "rate", "published", "correct")
KEPT_COLUMNS = ("kept", "images", "value", "low", "high")
# what stays of the image -> in words
OBJECT, CONTEXT, FAR, EMPTY, HOLE = (
    "object tokens", "context tokens", "tokens without any of the object",
    "the same tokens of the scene without its object",
    "the same, with the object's place taken away")


def context_cuts(read: Read, without: ImageSet | None = None) -> pd.DataFrame:
    """Each image's rate of identifying tokens among those that stay, before and after the others
    are taken away: ``image, kept, tokens`` (how many stay), ``before, rate, published`` (the rate
    with the class token, which always stays, among the tokens), ``correct``; images without a
    token of a kind are left out.

    Args:
        read: of a model, on images with masks.
        without: the same scenes without their object; ``None`` where there are none.  Their tokens
            cannot know the label, but the place that is left out tells the object's outline.
    """
    before = read.identified()
    far = read.covered == 0
    rows = [_kept(read, name, keep, before, read.pixels)
            for name, keep in ((OBJECT, read.object), (CONTEXT, ~read.object), (FAR, far))]
    if without is not None:
        empty = without.images.to(read.pixels)
        every = np.ones_like(far)
        alone = drop_tokens(read.target, empty, read.labels, torch.from_numpy(every))
        identified = read.patches(alone.identified().numpy())
        rows.append(_rows(read, EMPTY, far, identified, alone, _correct(read, alone)))
        rows.append(_kept(read, HOLE, far, identified, empty))
    return pd.concat(rows, ignore_index=True)


def _kept(read: Read, name: str, keep: Bool[np.ndarray, "image patch"],
          before: Bool[np.ndarray, "image patch"], pixels: Tensor) -> pd.DataFrame:
    some = keep.any(1)
    chosen = torch.from_numpy(np.flatnonzero(some)).to(pixels.device)
    cut = drop_tokens(read.target, pixels[chosen], read.labels[chosen],
                      torch.from_numpy(keep[some]))
    correct = (cut.predicted == read.labels[chosen].cpu()).numpy()
    return _rows(read, name, keep[some], before[some], cut, correct, np.flatnonzero(some))


def _rows(read: Read, name: str, keep: np.ndarray, before: np.ndarray, cut: Cut,
          correct: np.ndarray, image: Int64[np.ndarray, "image"] | None = None) -> pd.DataFrame:
    after = cut.identified().numpy()
    # of all tokens that are kept: the prefix always is
    whole = np.concatenate([np.ones((len(keep), read.grid.prefix), bool), keep], 1)
    return pd.DataFrame({"image": np.arange(len(keep)) if image is None else image, "kept": name,
                         "tokens": keep.sum(1), "before": by_image(before, keep),
                         "rate": by_image(read.patches(after), keep),
                         "published": by_image(after, whole),
                         "correct": correct}).dropna(subset="rate")


def kept_rows(context: pd.DataFrame, classes: int, seed: int = 0) -> pd.DataFrame:
    """``context_cuts`` of one model summed up: ``kept, images, before, rate, correct, chance``;
    ``published_before``, over the tokens of all images, and ``published``, image by image and with
    the class token; ``value, low, high``, the rate minus 1/C."""
    rows = []
    for name, own in context.groupby("kept", sort=False):
        row = interval_row(own["rate"].to_numpy() - 1 / classes, seed=seed)
        rows.append({"kept": name, "images": len(own), "before": own["before"].mean(),
                     "rate": own["rate"].mean(), "correct": own["correct"].mean(),
                     "published_before": np.average(own["before"], weights=own["tokens"]),
                     "published": own["published"].mean(), "chance": 1 / classes, **row})
    return pd.DataFrame(rows)


def beyond_hole(context: pd.DataFrame, seed: int = 0) -> dict[str, float]:
    """How much more the far tokens identify than those of the scene without its object, the same
    places taken away, paired over images: ``value, low, high``."""
    wide = context.pivot(index="image", columns="kept", values="rate")
    gap: Float[np.ndarray, "image"] = (wide[FAR] - wide[HOLE]).dropna().to_numpy()
    return {**interval_row(gap, seed=seed), "images": len(gap)}
