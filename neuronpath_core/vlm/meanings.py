r"""What a neuron of a vision-language model answers to, in images and in words: the concepts that
both can show, outlines, fills, colours, kinds and tones of the background.

A concept is held against a neuron by Pearson's correlation over tokens of its samples,

.. math:: r_k = \frac{N \sum a c_k - \sum a \sum c_k}
    {\sqrt{N \sum a^2 - (\sum a)^2} \sqrt{N \sum c_k^2 - (\sum c_k)^2}},

of its value at a patch with the share of the patch that shows the concept, and of its value at a
word with whether the word says it.  Sums are kept sample by sample, so that any choice of samples,
or a draw that counts some twice, has its correlation at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.vlm.concepts import NAMES, concept_coverage
from neuronpath_core.vlm.records import Records
from neuronpath_core.vlm.scenes import Scene
from neuronpath_core.vlm.words import CONCEPTS, SEEN, Word, caption, grammar_words

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

SHARED = tuple(name for kind in SEEN for name in CONCEPTS[kind])
KIND = {name: kind for kind in SEEN for name in CONCEPTS[kind]}
CHUNK = 64  # neurons at a time
NONE = -1


@dataclass(frozen=True)
class Moments:
    """Sums over the tokens of each sample of each neuron.

    Attributes:
        count: float64 ``(neuron, slot)``, tokens.
        value, square: of the neuron's value and its square, ``(neuron, slot)``.
        concept, concept_square: of each concept and its square, ``(neuron, slot, concept)``.
        product: of value and concept.
    """

    count: Float[np.ndarray, "neuron slot"]
    value: Float[np.ndarray, "neuron slot"]
    square: Float[np.ndarray, "neuron slot"]
    concept: Float[np.ndarray, "neuron slot concept"]
    concept_square: Float[np.ndarray, "neuron slot concept"]
    product: Float[np.ndarray, "neuron slot concept"]

    def correlations(self, weights: Float[np.ndarray, "neuron slot"]
                     ) -> Float[np.ndarray, "neuron concept"]:
        """Pearson's correlation of value and concept over the tokens of all samples, each counted
        so often; NaN where one of them does not vary."""
        count, value, square = (np.einsum("ns,ns->n", weights, each)[:, None]
                                for each in (self.count, self.value, self.square))
        concept, concept_square, product = (
            np.einsum("ns,nsk->nk", weights, each)
            for each in (self.concept, self.concept_square, self.product))
        return _correlation(count, value, square, concept, concept_square, product)

    def by_sample(self) -> Float[np.ndarray, "neuron slot concept"]:
        """The same within each sample."""
        return _correlation(*(each[..., None] for each in (self.count, self.value, self.square)),
                            self.concept, self.concept_square, self.product)


def _correlation(count: np.ndarray, value: np.ndarray, square: np.ndarray, concept: np.ndarray,
                 concept_square: np.ndarray, product: np.ndarray) -> np.ndarray:
    spread = (count * square - value ** 2) * (count * concept_square - concept ** 2)
    covariance = count * product - value * concept
    # what rounding leaves of a constant is no spread
    least = 1e-9 * count * square * np.maximum(count * concept_square, 1e-30)
    return np.divide(covariance, np.sqrt(np.maximum(spread, 0)),
                     out=np.full(np.broadcast(covariance, spread).shape, np.nan),
                     where=spread > least)


def shared_coverage(scenes: Sequence[Scene]) -> Float[np.ndarray, "scene concept patch"]:
    """The share of each patch of each scene that shows each of the concepts ``SHARED``."""
    return concept_coverage(scenes)[:, [NAMES.index(name) for name in SHARED]]


def word_concepts(scenes: Sequence[Scene], text: Bool[np.ndarray, "scene token"],
                  ahead: int = 0) -> Int64[np.ndarray, "scene token"]:
    """The concept that each word of each scene's own caption says, a position in ``SHARED``, at its
    token; ``NONE`` for other words and tokens.

    Args:
        scenes: whose captions were read.
        text: the tokens of these captions, one for each word.
        ahead: 0: of the word that is read; 1: of the next one, which the model predicts there.

    Raises:
        ValueError: captions of another number of words than there are tokens.
    """
    numbers = {name: place for place, name in enumerate(SHARED)}
    return _at_words(scenes, text, lambda word: numbers.get(word.concept, NONE), ahead)


def _at_words(scenes: Sequence[Scene], text: np.ndarray, number: Callable[[Word], int],
              ahead: int = 0) -> np.ndarray:
    found = np.full(text.shape, NONE)
    for scene, mask, row in zip(scenes, text, found, strict=True):
        said = [number(word) for word in caption(scene)]
        if len(said) != mask.sum():
            raise ValueError(f"{len(said)} words of a caption and {mask.sum()} tokens; accepted: "
                             "the tokens of the scenes' own captions")
        row[mask] = [*said[ahead:], *[NONE] * ahead]
    return found


def visual_moments(records: Records, coverage: Float[np.ndarray, "scene concept patch"]
                   ) -> Moments:
    """Sums over image tokens of values and the coverage of their patches."""
    def concepts(samples: np.ndarray) -> np.ndarray:
        return coverage[samples].transpose(0, 1, 3, 2)

    patches = coverage.shape[2]
    # image tokens stand at the same places in all samples
    first = int(records.visual[0].argmax())
    place = np.s_[..., first:first + patches]
    if not records.visual[:, first:first + patches].all():
        raise ValueError("image tokens stand at different places; accepted: samples of one layout")
    return _moments(records, place, np.ones((len(records.visual), patches), bool), concepts)


def word_moments(records: Records, concepts: Int64[np.ndarray, "scene token"]) -> Moments:
    """Sums over text tokens of values and whether a word says each concept."""
    start = int(records.text.any(0).argmax())
    numbers = np.arange(len(SHARED))

    def said(samples: np.ndarray) -> np.ndarray:
        return (concepts[samples, start:, None] == numbers).astype(np.float32)

    return _moments(records, np.s_[..., start:], records.text[:, start:], said)


def _moments(records: Records, place: tuple, counted: np.ndarray,
             concepts: Callable[[np.ndarray], np.ndarray]) -> Moments:
    shape = records.samples.shape
    plain = [np.zeros(shape) for _ in range(3)]
    crossed = [np.zeros((*shape, len(SHARED))) for _ in range(3)]
    for start in range(0, len(records.values), CHUNK):
        part = slice(start, start + CHUNK)
        samples = records.samples[part]
        mask = counted[samples]
        values = (records.values[part][place] * mask).astype(float)
        shown = concepts(samples)
        for each, found in zip(plain, (mask.sum(-1), values.sum(-1), (values ** 2).sum(-1)),
                               strict=True):
            each[part] = found
        crossed[0][part] = shown.sum(2)
        crossed[1][part] = (shown ** 2).sum(2)
        crossed[2][part] = np.einsum("nst,nstk->nsk", values, shown, optimize=True)
    return Moments(*plain, *crossed)


def best_concepts(correlations: Float[np.ndarray, "*batch concept"]
                  ) -> Int64[np.ndarray, "*batch"]:
    """The concept of the largest correlation, a position in ``SHARED``; ``NONE`` where none is
    known."""
    known = ~np.isnan(correlations).all(-1)
    return np.where(known, np.nan_to_num(correlations, nan=-np.inf).argmax(-1), NONE)


def word_numbers(scenes: Sequence[Scene], text: Bool[np.ndarray, "scene token"]
                 ) -> Int64[np.ndarray, "scene token"]:
    """Which word of the grammar each token of each scene's own caption is, a position in
    :func:`~neuronpath_core.vlm.words.grammar_words`; ``NONE`` for other tokens."""
    numbers = {word: place for place, word in enumerate(grammar_words())}
    return _at_words(scenes, text, lambda word: numbers[word.text])


def word_winners(records: Records, numbers: Int64[np.ndarray, "scene token"]
                 ) -> Int64[np.ndarray, "neuron slot"]:
    """In each sample of each neuron the number of the token at which it is largest among those that
    count as text."""
    found = np.zeros(records.samples.shape, np.int64)
    for start in range(0, len(found), CHUNK):
        part = slice(start, start + CHUNK)
        samples = records.samples[part]
        values = np.where(records.text[samples], records.values[part], -np.inf)
        found[part] = numbers[samples, values.argmax(-1)]
    return found


def dealt_matches(one: Int64[np.ndarray, "neuron"], other: Int64[np.ndarray, "neuron"],
                  layers: Int64[np.ndarray, "neuron"]) -> float:
    """How often two labels of a neuron would be the same if the second were dealt among the neurons
    of its layer, the expected share: the mean over neurons of the share of their layer whose second
    label is their first.  A label ``NONE`` is the same as none."""
    if not len(one):
        return float("nan")
    total = 0.0
    for layer in np.unique(layers):
        own = layers == layer
        counts = np.bincount(other[own][other[own] >= 0], minlength=len(SHARED))
        total += counts[one[own][one[own] >= 0]].sum() / own.sum()
    return total / len(one)


def first_shares(winners: Int64[np.ndarray, "neuron slot"],
                 weights: Float[np.ndarray, "neuron slot"]) -> Float[np.ndarray, "neuron"]:
    """The share of a neuron's samples that its commonest winner wins, each counted so often;
    samples that none wins (``NONE``) count as samples.  NaN without samples."""
    most = np.zeros(len(winners))
    for number in range(int(winners.max(initial=NONE)) + 1):
        most = np.maximum(most, (weights * (winners == number)).sum(1))
    total = weights.sum(1)
    return np.divide(most, total, out=np.full(len(winners), np.nan), where=total > 0)


def entropies(winners: Int64[np.ndarray, "neuron slot"]) -> Float[np.ndarray, "neuron"]:
    """The entropy of which one wins a neuron's samples, in bits, none as one more outcome."""
    found = np.zeros(len(winners))
    for number in range(NONE, int(winners.max(initial=NONE)) + 1):
        share = (winners == number).mean(1)
        found -= share * np.log2(share, out=np.zeros_like(share), where=share > 0)
    return found
