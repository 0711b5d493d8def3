"""Whether a neuron that answers to both modalities answers to the same thing in both, and how many
things a neuron answers to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from neuronpath_core.chapters.modality.kinds import UNTRAINED
from neuronpath_core.chapters.modality.measured import DRAWS, Read
from neuronpath_core.chapters.vlm_study import VlmStudy
from neuronpath_core.stats.intervals import normal_row
from neuronpath_core.vlm.meanings import (
    KIND,
    NONE,
    SHARED,
    Moments,
    best_concepts,
    dealt_matches,
    entropies,
    first_shares,
    shared_coverage,
    visual_moments,
    word_concepts,
    word_moments,
    word_numbers,
    word_winners,
)
from neuronpath_core.vlm.modality import TYPES
from neuronpath_core.vlm.records import Records
from neuronpath_core.vlm.type_draws import scene_weights

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

READ, NEXT = "the word that is read", "the next word"
SEEN_IN, SAID_IN = "patches", "words"
ONE = "neurons of one modality"
FEW = 5  # samples of each neuron that are at random


@dataclass(frozen=True)
class Meaning:
    """What the neurons of a model answer to.

    Attributes:
        visual: over image tokens of each sample.
        words: over words, by what the word says and by what the next one says.
        seen, said: what wins each sample: the concept that its patches follow best, and the word at
            which the neuron is largest.
        samples: the scenes.
        top: how many are top samples.
        layers, best: of each neuron its layer and its most probable type, -1 if dead.
    """

    visual: Moments
    words: dict[str, Moments]
    seen: Int64[np.ndarray, "neuron slot"]
    said: Int64[np.ndarray, "neuron slot"]
    samples: Int64[np.ndarray, "neuron slot"]
    scenes: int
    top: int
    layers: Int64[np.ndarray, "neuron"]
    best: Int64[np.ndarray, "neuron"]

    def is_type(self, *names: str) -> Bool[np.ndarray, "neuron"]:
        """The neurons whose most probable type is one of these."""
        return np.isin(self.best, [TYPES.index(name) for name in names])

    def slots(self, odd: int) -> Float[np.ndarray, "neuron slot"]:
        """1 for every second top sample, from the first (0) or the second (1) on."""
        found = np.zeros(self.samples.shape)
        found[:, odd:self.top:2] = 1
        return found


def meaning(study: VlmStudy, read: Read, **options) -> Meaning:
    """What a model's neurons answer to; options as of ``read``'s records."""
    records: Records = study.records(read.name, **options) if options else read.records
    scenes = study.scenes()
    visual = visual_moments(records, shared_coverage(scenes))
    now = word_concepts(scenes, records.text)
    words = {READ: word_moments(records, now),
             NEXT: word_moments(records, word_concepts(scenes, records.text, 1))}
    p = read.own.p
    best = np.where(np.isnan(p[:, 0]), -1, np.nan_to_num(p, nan=-1).argmax(1))
    return Meaning(visual, words, best_concepts(visual.by_sample()), word_winners(
                       records, word_numbers(scenes, records.text)),
                   records.samples, len(scenes), records.top, records.layers, best)


def match_rows(found: Meaning, seed: int = 0) -> pd.DataFrame:
    """Of multi-modal and of other neurons the share whose concept in patches, from every second top
    sample, is their concept in words, from the others: ``condition, word, group, value, low,
    high``, beyond concepts dealt among the neurons of a layer, ``own``, ``dealt``, ``neurons``; the
    interval over scenes."""
    weights = scene_weights(found.scenes, DRAWS, seed)
    groups = {"multi-modal neurons": found.is_type("multi-modal"),
              ONE: found.is_type("visual", "text")}
    if not all(group.any() for group in groups.values()):
        return pd.DataFrame()
    own = {word: _matches(found, word, groups) for word in found.words}
    drawn = {word: [_matches(found, word, groups, each[found.samples]) for each in weights]
             for word in found.words}
    rows = []
    for word, values in own.items():
        for group, (share, dealt) in values.items():
            gaps = np.array([each[group][0] - each[group][1] for each in drawn[word]])
            rows.append({"condition": f"{group}, {word}", "group": group, "word": word,
                         **normal_row(share - dealt, gaps), "own": share, "dealt": dealt,
                         "neurons": int(groups[group].sum())})
    return pd.DataFrame(rows)


def match_lead_rows(found: Meaning, start: Meaning, seed: int = 0) -> pd.DataFrame:
    """How much more of the multi-modal neurons mean the same in both, beyond dealt concepts, than
    of the neurons of one modality, and than of the multi-modal ones before training: ``condition``,
    the word, ``against, value, low, high`` over scenes."""
    weights = scene_weights(found.scenes, DRAWS, seed)
    both, one, theirs = (found.is_type("multi-modal"), found.is_type("visual", "text"),
                         start.is_type("multi-modal"))
    if not both.any():
        return pd.DataFrame()
    rows = []
    for against, other, group in ((ONE, found, one), (UNTRAINED, start, theirs)):
        for word in found.words if group.any() else ():
            gaps = [_beyond(found, word, both, each) - _beyond(other, word, group, each)
                    for each in (None, *weights)]
            rows.append({"condition": word, "against": against,
                         **normal_row(gaps[0], np.array(gaps[1:]))})
    return pd.DataFrame(rows)


def _beyond(found: Meaning, word: str, group: np.ndarray, drawn: np.ndarray | None) -> float:
    share, dealt = _matches(found, word, {"": group},
                            1.0 if drawn is None else drawn[found.samples])[""]
    return share - dealt


def _matches(found: Meaning, word: str, groups: Mapping[str, np.ndarray],
             weights: np.ndarray | float = 1.0) -> dict[str, tuple[float, float]]:
    seen = best_concepts(found.visual.correlations(found.slots(0) * weights))
    said = best_concepts(found.words[word].correlations(found.slots(1) * weights))
    result = {}
    for name, group in groups.items():
        same = ((seen == said) & (seen != NONE))[group]
        result[name] = (float(same.mean()) if group.any() else float("nan"),
                        dealt_matches(seen[group], said[group], found.layers[group]))
    return result


def few_rows(found: Meaning, other: Meaning, against: str, seed: int = 0) -> pd.DataFrame:
    """How few things win a neuron's top samples: ``condition``, concepts in patches of visual and
    multi-modal neurons, words of text and multi-modal ones; ``value, low, high``, the mean share of
    the first minus that of the other's neurons of these types, ``own``, ``other``, ``bits``, the
    mean entropy, and ``top_few`` and ``random_few``, the share among as many samples at the top and
    at random."""
    weights = scene_weights(found.scenes, DRAWS, seed)
    rows = []
    for where, kind in ((SEEN_IN, "visual"), (SAID_IN, "text")):
        chosen, theirs = (each.is_type(kind, "multi-modal") for each in (found, other))
        if not chosen.any() or not theirs.any():
            continue
        own, control = _first(found, where, chosen), _first(other, where, theirs)
        gaps = [_first(found, where, chosen, each) - _first(other, where, theirs, each)
                for each in weights]
        winners = (found.seen if where == SEEN_IN else found.said)[chosen]
        few = np.ones((len(winners), FEW))
        rows.append({"condition": where, "against": against, **normal_row(own - control,
                                                                          np.array(gaps)),
                     "own": own, "other": control,
                     "bits": entropies(winners[:, :found.top]).mean(),
                     "top_few": first_shares(winners[:, :FEW], few).mean(),
                     "random_few": first_shares(winners[:, found.top:found.top + FEW], few).mean(),
                     "neurons": int(chosen.sum())})
    return pd.DataFrame(rows)


def _first(found: Meaning, where: str, chosen: np.ndarray, drawn: np.ndarray | None = None
           ) -> float:
    winners = (found.seen if where == SEEN_IN else found.said)[chosen][:, :found.top]
    samples = found.samples[chosen][:, :found.top]
    return float(np.nanmean(first_shares(winners, np.ones(samples.shape) if drawn is None
                                         else drawn[samples])))


def example_rows(found: Meaning, read: Read, each: int = 3) -> pd.DataFrame:
    """The surest neurons of each type: ``type, layer`` from 1, ``neuron`` within it, ``number``
    among all, ``p``, what they answer to in patches and words with the correlations, and the share
    of their top samples that the first concept wins."""
    weights = np.zeros(found.samples.shape)
    weights[:, :found.top] = 1
    seen, said = found.visual.correlations(weights), found.words[READ].correlations(weights)
    first = {SEEN_IN: first_shares(found.seen[:, :found.top], weights[:, :found.top]),
             SAID_IN: first_shares(found.said[:, :found.top], weights[:, :found.top])}
    rows = []
    for place, name in enumerate(TYPES):
        p = np.nan_to_num(read.own.p[:, place], nan=-1)
        strength = np.nanmax(np.nan_to_num(seen, nan=-1), 1) + np.nanmax(
            np.nan_to_num(said, nan=-1), 1)
        for neuron in np.lexsort((-strength, -p))[:each]:
            layer = int(found.layers[neuron])
            rows.append({
                "type": name, "layer": layer + 1, "number": int(neuron),
                "neuron": int(neuron - np.flatnonzero(found.layers == layer)[0]),
                "p": p[neuron], "seen": _named(seen[neuron]), "said": _named(said[neuron]),
                "seen_r": _largest(seen[neuron]), "said_r": _largest(said[neuron]),
                "first_seen": first[SEEN_IN][neuron], "first_said": first[SAID_IN][neuron]})
    return pd.DataFrame(rows)


def _named(correlations: np.ndarray) -> str:
    place = int(best_concepts(correlations))
    return "–" if place == NONE else f"{KIND[SHARED[place]]}: {SHARED[place]}"


def _largest(correlations: np.ndarray) -> float:
    return float(np.nanmax(correlations)) if not np.isnan(correlations).all() else float("nan")
