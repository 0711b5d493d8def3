r"""An explainer that needs no language model: of all concepts that image and words are known to
have it names the one that fits a neuron best, or two if that is worth it.

What GPT-4o is asked for by Xu et al. (2025, section 3.3) is here a search among candidates whose
masks and tags are exact, so that it is known what could have been said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from neuronpath_core.support.text import is_one_of, shown
from neuronpath_core.vlm.candidates import CANDIDATES, Patterns, phrase
from neuronpath_core.vlm.explained import (
    MODALITIES,
    Concept,
    Explanation,
    Kind,
    Modality,
    Record,
    Sample,
    check_kind,
)
from neuronpath_core.vlm.explanation_scores import pearson

if TYPE_CHECKING:
    from jaxtyping import Float

Sees = Literal["modulated", "raw"]
SEES = ("modulated", "raw")
FIRSTS = 12  # candidates that pairs are made from
AKAIKE = 2.0  # the price of one more concept by Akaike's criterion
MISSED = 0.05  # chance that a sample lacks what its neuron fires for, and that it is not noticed
JOINS = {"or": np.maximum, "and": np.minimum}
AGREE = 1e-12  # correlations that are equal but for rounding


def presence_rates(samples: Sequence[Sample]) -> dict[str, Float[np.ndarray, "concept"]]:
    """The share of samples that have each candidate anywhere, kept off 0 and 1 by half a sample:
    what ``sees="raw"`` holds a neuron's samples against."""
    patterns = Patterns()
    found = {}
    for modality in CANDIDATES:
        has = np.stack([patterns.of(sample, modality).max(1, initial=0) > 0
                        for sample in samples])
        found[modality] = (has.sum(0) + 0.5) / (len(samples) + 1)
    return found


class OfflineExplainer:
    r"""Names what fits best.

    ``sees="modulated"``: it sees where the neuron fires, as in images that are darkened by the
    activation.  A candidate's fit is its correlation with the neuron over the tokens of all given
    records.  Two concepts, joined by *or* (the larger) or *and* (the smaller), take the place of
    the best one if :math:`N \log \frac{1 - r_1^2}{1 - r_2^2}` exceeds a penalty for N tokens.

    ``sees="raw"``: it sees the same samples and not where the neuron fires (appendix B.3).  A
    candidate's fit is the log likelihood ratio of being in these samples as if the neuron were
    about it, against being in any samples by its rate b: :math:`\log (1 - \epsilon)/b` for each
    sample that has it, :math:`\log \epsilon / (1 - b)` for each that lacks it.

    Args:
        sees: ``"modulated"`` or ``"raw"``.
        rates: of :func:`presence_rates`, for ``"raw"``.
        pairs: whether two concepts may be named, by ``"modulated"``.
        penalty: for the second concept; ``None``: Akaike's price of 2, and :math:`2 \log K` for
            the choice among K pairs.  Without the latter a noisy neuron of one concept gets a
            second one too often.
        patterns: shared with others, to compute each once.

    Raises:
        ValueError: an unknown way of seeing, or ``"raw"`` without rates.
    """

    def __init__(self, sees: Sees = "modulated",
                 rates: Mapping[str, Float[np.ndarray, "concept"]] | None = None,
                 pairs: bool = True, penalty: float | None = None,
                 patterns: Patterns | None = None):
        if not is_one_of(sees, SEES):
            raise ValueError(f"unknown way to see {shown(sees)}; accepted: {', '.join(SEES)}")
        if sees == "raw" and rates is None:
            raise ValueError("what samples have means nothing without how often any sample has it; "
                             "accepted: rates of presence_rates")
        self.sees, self.rates, self.pairs, self.penalty = sees, rates, pairs, penalty
        self.patterns = patterns if patterns is not None else Patterns()

    def explain(self, records: Sequence[Record], kind: Kind) -> Explanation:
        """The best concept of each modality that the neuron's type speaks of.

        Raises:
            ValueError: an unknown kind, no records, or records of which it is not known what they
                show.
        """
        check_kind(kind)
        if not records:
            raise ValueError("nothing can be explained from no records; accepted: at least one")
        concepts: list[Concept] = []
        joins, trace, words = {}, {}, []
        for modality in MODALITIES[kind]:
            named, join, fit = self._best(records, modality)
            trace[modality] = fit
            concepts += named
            if join:
                joins[modality] = join
            if named:
                words.append(f", {join} ".join(map(phrase, named)))
        return Explanation("; ".join(words), tuple(concepts), joins, trace)

    def _best(self, records: Sequence[Record], modality: Modality
              ) -> tuple[tuple[Concept, ...], str, float]:
        fit = self._presence if self.sees == "raw" else self._place
        return fit(records, modality)

    def _place(self, records: Sequence[Record], modality: Modality
               ) -> tuple[tuple[Concept, ...], str, float]:
        names = CANDIDATES[modality]
        table = np.concatenate([self.patterns.of(record, modality) for record in records], 1)
        values = np.concatenate([record.values[record.counted(modality)] for record in records])
        fits = np.nan_to_num(pearson(table, values[None]), nan=-np.inf)
        first = _first_of_best(fits)
        if not fits[first] > 0:
            return (), "", float("nan")
        if self.pairs and (pair := self._pair(table, values, fits, first)):
            one, other, join, found = pair
            return (names[one], names[other]), join, found
        return (names[first],), "", float(fits[first])

    def _pair(self, table: np.ndarray, values: np.ndarray, fits: np.ndarray, first: int
              ) -> tuple[int, int, str, float] | None:
        """The best two concepts with their join and correlation, if they are worth it."""
        chosen, best = None, fits[first]
        for one in np.argsort(-fits, kind="stable")[:FIRSTS]:
            if not np.isfinite(fits[one]):
                continue
            for join, of in JOINS.items():
                found = np.nan_to_num(pearson(of(table, table[one]), values[None]), nan=-np.inf)
                other = _first_of_best(found)
                if found[other] > best + AGREE:
                    best, chosen = found[other], (int(one), int(other), join, float(found[other]))
        left = [max(1 - fit ** 2, AGREE) for fit in (fits[first], best)]
        penalty = AKAIKE + 2 * np.log(
            FIRSTS * len(JOINS) * len(table)) if self.penalty is None else self.penalty
        worth = len(values) * np.log(left[0] / left[1]) > penalty
        return chosen if chosen and worth else None

    def _presence(self, records: Sequence[Record], modality: Modality
                  ) -> tuple[tuple[Concept, ...], str, float]:
        has = np.stack([self.patterns.of(record, modality).max(1, initial=0) > 0
                        for record in records])
        rate = self.rates[modality]
        fits = np.where(has, np.log((1 - MISSED) / rate), np.log(MISSED / (1 - rate))).sum(0)
        best = _first_of_best(fits)
        if not fits[best] > 0:
            return (), "", float("nan")
        return (CANDIDATES[modality][best],), "", float(fits[best])


def _first_of_best(fits: Float[np.ndarray, "concept"]) -> int:
    """The place of the largest value, of equal ones the first, whatever rounding says."""
    return int(np.flatnonzero(fits >= fits.max() - AGREE)[0])
