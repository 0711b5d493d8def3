"""Tables of the paths of words: what is lost without them and without whole layers, what their
neurons are, and what two ways of saying the same share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.vlm_paths.walked import AS_ACTIVE, SAID, SEARCHES, Walked
from neuronpath_core.images.shapes import COLOURS
from neuronpath_core.stats.intervals import interval_row, percentile_row, resampled
from neuronpath_core.vlm.answer_paths import OWN, overlap
from neuronpath_core.vlm.modality import TYPES, type_shares

if TYPE_CHECKING:
    from jaxtyping import Float

CONTROLS = {AS_ACTIVE: "units as active", "random": "random units",
            "most active": "the most active units", "other word": "path of another colour",
            "other image": "path of the word on another image"}
MULTI = TYPES.index("multi-modal")
COLOURS_AT = {colour: place for place, colour in enumerate(COLOURS)}
PARTS = {"tower": "units of the tower", "decoder": "units of the decoder"}


def lost_rows(walked: Walked) -> pd.DataFrame:
    """For each kind of word what removing its own path takes from its probability, and how much
    more than each control takes: ``kind, against, value, low, high, own, other, words, chance``.
    """
    rows = []
    for kind, searches in SEARCHES.items():
        own = walked.lost(kind, OWN)
        for which in (AS_ACTIVE, *searches[1:]):
            other = walked.lost(kind, which)
            rows.append({"kind": SAID[kind], "against": CONTROLS[which], "own": own.mean(),
                         "other": other.mean(), "chance": walked.chance[kind].mean(),
                         "words": len(own), **interval_row(own - other)})
    return pd.DataFrame(rows)


def part_rows(walked: Walked) -> pd.DataFrame:
    """What is lost of each kind of word without the tower's or the decoder's units of its path:
    ``kind, part, value, low, high, words``."""
    rows = []
    for kind in SEARCHES:
        for part, words in PARTS.items():
            lost = walked.lost(kind, OWN, part)
            rows.append({"kind": SAID[kind], "part": words, "words": len(lost),
                         **interval_row(lost)})
    return pd.DataFrame(rows)


def image_row(walked: Walked) -> dict[str, float]:
    """How much more the tower's units of its path do for the colour that is asked for than those of
    a word that the grammar forces do for that, scene by scene: ``value, low, high, words``."""
    asked, forced = (dict(zip([case.scene for case in walked.cases[kind]],
                              walked.lost(kind, OWN, "tower"), strict=True))
                     for kind in ("question", "forced"))
    both = [asked[scene] - forced[scene] for scene in asked if scene in forced]
    return {"words": len(both), **interval_row(np.array(both))}


def profile_rows(effects: dict[str, Float[np.ndarray, "case layer"]], tower: int, kind: str
                 ) -> pd.DataFrame:
    """What is lost when a whole layer is silent: ``place`` (``patches`` in the tower, ``image
    tokens`` or ``predicting position`` in the decoder), ``part, layer, value, low, high, words``.

    Args:
        effects: by ``"image"`` and ``"last"``, of
            :func:`~neuronpath_core.chapters.vlm_paths.walked.crossing`.
        tower: layers of the tower.
        kind: of the words.
    """
    rows = []
    places = {"image": "image tokens", "last": "predicting position"}
    for layer in range(tower):
        rows.append({"kind": SAID[kind], "place": "patches", "part": "tower", "layer": layer + 1,
                     **interval_row(effects["last"][:, layer])})
    for at, place in places.items():
        for layer in range(effects[at].shape[1] - tower):
            rows.append({"kind": SAID[kind], "place": place, "part": "decoder", "layer": layer + 1,
                         **interval_row(effects[at][:, tower + layer])})
    return pd.DataFrame(rows).assign(words=len(effects["last"]))


def layer_rows(effects: dict[str, dict[str, Float[np.ndarray, "case layer"]]], tower: int
               ) -> pd.DataFrame:
    """:func:`profile_rows` of every kind of word."""
    return pd.concat([profile_rows(found, tower, kind) for kind, found in effects.items()],
                     ignore_index=True)


def mean_layer(effects: Float[np.ndarray, "case layer"]) -> float:
    """The mean number of a layer, from 1, weighted by what is lost without it in the mean over
    cases; losses keep their sign, so that a layer without which a word gains counts against."""
    lost = effects.mean(0)
    return float(lost @ np.arange(1, len(lost) + 1) / lost.sum())


def total_row(effects: dict[str, Float[np.ndarray, "case layer"]], tower: int
              ) -> dict[str, float]:
    """What is lost over all of the decoder's layers, each silent alone, summed word by word with
    their signs: at image tokens (``image, image_low, image_high``), at the predicting position
    (``last`` and so on), and there more than at image tokens (``value, low, high``); ``words``.

    Where both sums are shown to be above zero, also the mean layers, ``image_layer`` and
    ``last_layer``, and by how much of the depth they differ, ``depth, depth_low, depth_high``;
    else NaN, for a mean that is weighted by losses of which none is shown means nothing.
    """
    image, last = (effects[at][:, tower:] for at in ("image", "last"))
    ends = {"value": "", "low": "_low", "high": "_high"}

    def named(row: dict[str, float], name: str) -> dict[str, float]:
        return {name + ends[end]: number for end, number in row.items()}

    def apart(drawn: np.ndarray) -> float:
        return (mean_layer(last[drawn]) - mean_layer(image[drawn])) / last.shape[1]

    row = {"words": len(last), **interval_row(last.sum(1) - image.sum(1)),
           **named(interval_row(image.sum(1)), "image"), **named(interval_row(last.sum(1)), "last")}
    depth, layers = dict.fromkeys(ends, np.nan), (np.nan, np.nan)
    if min(row["image_low"], row["last_low"]) > 0:
        layers = mean_layer(image), mean_layer(last)
        every = np.arange(len(last))
        depth = percentile_row(apart(every), resampled(apart, [every]))
    return {**row, "image_layer": layers[0], "last_layer": layers[1], **named(depth, "depth")}


def total_rows(effects: dict[str, dict[str, Float[np.ndarray, "case layer"]]], tower: int
               ) -> pd.DataFrame:
    """:func:`total_row` of each kind of word, with ``kind``."""
    return pd.DataFrame([{"kind": SAID[kind], **total_row(found, tower)}
                         for kind, found in effects.items()])


def multi_rows(walked: Walked, p: Float[np.ndarray, "neuron 4"]) -> pd.DataFrame:
    """The share of the decoder's units of a path that are multi-modal neurons, minus that of units
    as active: ``kind, value, low, high, own, other, words``; neurons that tie count in parts.

    Args:
        walked: the paths.
        p: probabilities of types, the decoder's neurons layer after layer.
    """
    layers = walked.layers - walked.tower
    shares = np.nan_to_num(type_shares(np.nan_to_num(p))[:, MULTI]).reshape(layers, -1)
    shares[np.isnan(p[:, 0]).reshape(layers, -1)] = 0
    rows = []
    for kind in SEARCHES:
        own, other = (shares[np.arange(layers), walked.paths[kind, which][:, walked.tower:]].mean(1)
                      for which in (OWN, AS_ACTIVE))
        rows.append({"kind": SAID[kind], "own": own.mean(), "other": other.mean(),
                     "all": shares.mean(), "words": len(own), **interval_row(own - other)})
    return pd.DataFrame(rows)


def colour_rows(walked: Walked, separations: Sequence[Float[np.ndarray, "neuron colour"]]
                ) -> pd.DataFrame:
    """How well the units of a path tell patches of the colour that is said from others, minus how
    well units as active do, and minus how well they tell the colours of other words: ``kind, part,
    against, value, low, high, own, other, words``."""
    rows = []
    for kind in ("question", "caption"):
        colours = np.array([COLOURS_AT[case.colour] for case in walked.cases[kind]])
        others = np.array([COLOURS_AT[case.other] for case in walked.cases[kind]])
        for part, layers in (("tower", range(walked.tower)),
                             ("decoder", range(walked.tower, walked.layers))):
            def told(which, of, kind=kind, layers=layers):
                return np.mean([separations[layer][walked.paths[kind, which][:, layer], of]
                                for layer in layers], 0)
            own = told(OWN, colours)
            for against, other in ((CONTROLS[AS_ACTIVE], told(AS_ACTIVE, colours)),
                                   ("a colour that is not there", told(OWN, others))):
                # of colours that no scene shows nothing is known
                known = ~np.isnan(own) & ~np.isnan(other)
                rows.append({"kind": SAID[kind], "part": PARTS[part], "against": against,
                             "own": own[known].mean(), "other": other[known].mean(),
                             "words": int(known.sum()), **interval_row((own - other)[known])})
    return pd.DataFrame(rows)


def shared_rows(walked: Walked) -> pd.DataFrame:
    """Of the layers of a path the share that the answer to the question and the same object's
    colour in the caption have in common, minus what the answer has in common with controls:
    ``part, against, value, low, high, own, other, words``."""
    question, caption = walked.paths["question", OWN], walked.paths["caption", OWN]
    forced = walked.paths["forced", OWN]
    words = [case.word for case in walked.cases["question"]]
    count = len(words)
    elsewhere = np.array([next((far for step in range(1, count) if words[
        far := (place + step) % count] != words[place]), -1) for place in range(count)])
    at = {case.scene: place for place, case in enumerate(walked.cases["forced"])}
    rows = []
    for part, layers in (("tower", slice(0, walked.tower)), ("decoder", slice(walked.tower, None))):
        own = overlap(question[:, layers], caption[:, layers])
        kept = elsewhere >= 0
        with_forced = np.array([case.scene in at for case in walked.cases["question"]])
        rivals = {"another colour in another caption": (kept, overlap(
            question[kept, layers], caption[elsewhere[kept], layers])),
            "a forced word of the same caption": (with_forced, overlap(
                question[with_forced, layers],
                forced[[at[case.scene] for case in walked.cases["question"]
                        if case.scene in at], layers]))}
        for against, (rows_kept, other) in rivals.items():
            rows.append({"part": PARTS[part], "against": against, "own": own[rows_kept].mean(),
                         "other": other.mean(), "words": len(other),
                         **interval_row(own[rows_kept] - other)})
    return pd.DataFrame(rows)

