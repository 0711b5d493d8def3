r"""Labels of neurons: which concept of a list names best what excites them.

A labeler is whatever has ``label(exemplars) -> Label``.  Those of this module choose among concepts
whose presence in every image is known, by one of four scores:

* the intersection over union of a dissection (Bau et al., 2017);
* *soft-WPMI* (Oikarinen and Weng, 2023), with the known presence of concepts in place of CLIP's
  similarities;
* the point-biserial correlation of presence and the neuron's score of the image;
* how common a concept is among the exemplars, with the trade-off of MILAN (Hernandez et al., 2022),
  :math:`\log p(k \mid \text{exemplars}) - \lambda \log p(k)`, which prefers what is rare.

The last three see whole images: of a concept that every image has they say nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.special import logsumexp, softmax

from neuronpath_core.neurons.dissection import Dissection
from neuronpath_core.neurons.exemplars import NeuronExemplars
from neuronpath_core.readings.concepts import ConceptSet
from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int64

NOTHING = "nothing"  # of a neuron that no concept fits, such as a dead one
SHARPNESS = 10.0  # a of Oikarinen and Weng's code
MEMBER = (0.998, 0.97)  # probability that the first and the last of the top images belong
TOP_SHARE = 0.02  # of the images; a concept of the scenes is in one of three to one of eight
LEAST_TOP = 5
PRIOR_WEIGHT = 0.2  # of MILAN


@dataclass(frozen=True)
class Label:
    """What a neuron is called.

    Attributes:
        text: the label; ``"nothing"`` where no concept has a score.
        score: by the labeler's own measure, larger fits better; ``nan`` of nothing.
        alternatives: the next ones with their scores, the best first.
    """

    text: str
    score: float
    alternatives: tuple[tuple[str, float], ...] = ()


class Labeler(Protocol):
    """Whatever names a neuron after its exemplars."""

    def label(self, exemplars: NeuronExemplars) -> Label:
        """The label of a neuron."""
        ...


@dataclass(frozen=True)
class ConceptLabeler:
    """Names a neuron after the concept of the largest score.

    Attributes:
        names: of the concepts.
        measure: the score of every concept for a neuron's exemplars; ``nan`` where there is none.
        others: how many alternatives are told.
    """

    names: tuple[str, ...]
    measure: Callable[[NeuronExemplars], Float[np.ndarray, "concept"]]
    others: int = 3

    def label(self, exemplars: NeuronExemplars) -> Label:
        """The concept of the largest score; of equal ones the first."""
        scores = np.asarray(self.measure(exemplars), float)
        order = [int(place) for place in np.argsort(-scores, kind="stable")
                 if not np.isnan(scores[place])]
        told = tuple((self.names[place], float(scores[place])) for place in order)
        return Label(*told[0], told[1:1 + self.others]) if told else Label(NOTHING, float("nan"))


# --- scores of concepts, for many neurons at once ---


def point_biserial(scores: Float[np.ndarray, "*batch image"],
                   present: Bool[np.ndarray, "concept image"]
                   ) -> Float[np.ndarray, "*batch concept"]:
    """Pearson's correlation of a neuron's score with the presence of each concept, in -1..1;
    ``nan`` where either is the same in all images."""
    scores, present = np.asarray(scores, float), np.asarray(present, float)
    _check_images(scores, present)
    own, theirs = (each - each.mean(-1, keepdims=True) for each in (scores, present))
    # a sum that is rounding alone is none
    own = np.where(np.ptp(scores, -1)[..., None] > 0, own, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (own @ theirs.T) / (np.linalg.norm(own, axis=-1)[..., None]
                                   * np.linalg.norm(theirs, axis=-1))


def milan_score(exemplars: Int64[np.ndarray, "*batch exemplar"],
                present: Bool[np.ndarray, "concept image"], weight: float = PRIOR_WEIGHT
                ) -> Float[np.ndarray, "*batch concept"]:
    r"""MILAN's trade-off, :math:`\log p(k \mid \text{exemplars}) - \lambda \log p(k)`, with the
    share of exemplars that have the concept for the first and the share of all images for the
    second; the first as if one exemplar more had it with probability :math:`p(k)`, so that no
    logarithm is infinite.  ``nan`` of concepts that no image has.

    Args:
        exemplars: positions of a neuron's exemplars.
        present: which image has which concept.
        weight: λ; 0 prefers what is common, 1 what exemplars have more often than others.
    """
    base = np.asarray(present, float).mean(1)
    hits = np.asarray(present)[:, exemplars].sum(-1)
    hits = np.moveaxis(hits, 0, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log((hits + base) / (exemplars.shape[-1] + 1)) - weight * np.log(base)
    return np.where(base > 0, found, np.nan)


def top_count(images: int) -> int:
    """How many of so many images soft-WPMI looks at: 2 %, at least five.  The published 100 are
    0.2 % of 50,000, which of a few hundred images would be none."""
    return min(images, max(LEAST_TOP, round(TOP_SHARE * images)))


def soft_wpmi(scores: Float[np.ndarray, "neuron image"],
              similarity: Float[np.ndarray, "image concept"], top: int | None = None,
              sharpness: float = SHARPNESS, weight: float = 1.0,
              prior: Float[np.ndarray, "concept"] | None = None
              ) -> Float[np.ndarray, "neuron concept"]:
    r"""Soft weighted pointwise mutual information (Oikarinen and Weng, 2023, §3),

    .. math:: \log E[p(k \mid B)] - \lambda \log p(k), \qquad
              \log E[p(k \mid B)] = \sum_{i \in top} \log(1 + p(i \in B)(p(k \mid i) - 1)),

    where :math:`p(k \mid i)` is a softmax of the similarities of image i, :math:`p(i \in B)` falls
    from 0.998 to 0.97 over a neuron's top images, and :math:`p(k)` is the mean of the first over
    the neurons that are given.

    Args:
        scores: of the neurons of one block.
        similarity: of images and concepts: their presence as 0 and 1, or CLIP's cosines.
        top: how many images are looked at; by default :func:`top_count`.
        sharpness: what similarities are multiplied by before the softmax; published 10.
        weight: λ, published 1.
        prior: log p(k), in place of that of the neurons.

    Raises:
        ValueError: similarities of other images, or a top that is not one to all images.
    """
    scores, similarity = np.asarray(scores, float), np.asarray(similarity, float)
    _check_images(scores, similarity.T)
    top = top_count(scores.shape[1]) if top is None else top
    if isinstance(top, bool) or not isinstance(top, int) or not 1 <= top <= scores.shape[1]:
        raise ValueError(f"the top images cannot be {shown(top)}; accepted: a whole number from 1 "
                         f"to {scores.shape[1]}")
    given = softmax(sharpness * similarity, axis=1)
    chosen = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    member = np.linspace(*MEMBER, top, endpoint=False)[:, None]
    joint = np.log1p(member * (given[chosen] - 1)).sum(1)
    if prior is None:
        prior = logsumexp(joint, axis=0) - np.log(len(joint))
    return joint - weight * prior


def _check_images(scores: np.ndarray, present: np.ndarray) -> None:
    if present.ndim != 2 or scores.shape[-1] != present.shape[1]:
        raise ValueError(f"scores {scores.shape} and concepts {present.shape}; accepted: of both a "
                         "column for each image")


# --- labelers ---


def by_iou(found: Dissection) -> ConceptLabeler:
    """Names after the largest intersection over union of a dissection; nothing where all are 0."""
    return ConceptLabeler(found.names, lambda own: np.where(
        found.iou[own.block, own.neuron] > 0, found.iou[own.block, own.neuron], np.nan))


def by_correlation(concepts: ConceptSet) -> ConceptLabeler:
    """Names after the largest point-biserial correlation."""
    return ConceptLabeler(concepts.names, lambda own: point_biserial(own.scores, concepts.present))


def by_milan(concepts: ConceptSet, weight: float = PRIOR_WEIGHT) -> ConceptLabeler:
    """Names after MILAN's trade-off."""
    return ConceptLabeler(concepts.names, lambda own: milan_score(
        own.images, concepts.present, weight))


def by_wpmi(names: tuple[str, ...], similarity: Float[np.ndarray, "image concept"],
            scores: Float[np.ndarray, "block neuron image"], **settings) -> ConceptLabeler:
    """Names after soft-WPMI among the neurons of a block.

    Args:
        names: of the concepts.
        similarity: of images and concepts, such as ``concepts.present.T``.
        scores: of all neurons.
        settings: of :func:`soft_wpmi`.
    """
    tables = [soft_wpmi(own, similarity, **settings) for own in scores]
    return ConceptLabeler(names, lambda own: tables[own.block][own.neuron])
