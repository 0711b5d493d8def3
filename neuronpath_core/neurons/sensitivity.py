r"""What changes a neuron: the same scene with one attribute changed.

A concept that a neuron's strongest patches overlap with may only go along with what excites it.
Whether the concept itself does is asked of scenes that differ in nothing else,

.. math:: s_{n,k} = \frac1N \sum_{i=1}^N \frac{a_n(\text{scene } i \text{ with } k)
          - a_n(\text{scene } i \text{ without } k)}{\mathrm{sd}(a_n)},

in place of the images that MAIA (Rott Shaham et al., 2024) has a model generate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neuronpath_core.neurons.counterfactuals import Contrast, contrasts, families
from neuronpath_core.neurons.exemplars import image_scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jaxtyping import Float

    from neuronpath_core.target import TargetModel


@dataclass(frozen=True)
class Sensitivity:
    """Causal sensitivity s of neurons to concepts, in standard deviations of the neuron.

    Attributes:
        names, kinds: of the concepts: object, outlines, fills, colours, kinds and tones of
            background.
        value: s; ``nan`` of a neuron that is the same for all scenes as they were drawn.
        pairs: the same of every scene by itself.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    value: Float[np.ndarray, "block neuron concept"]
    pairs: Float[np.ndarray, "scene block neuron concept"]

    def of(self, names: Sequence[str]) -> Float[np.ndarray, "scene block neuron name"]:
        """``pairs`` of concepts in another order; ``nan`` of those that cannot be changed alone."""
        found = np.full((*self.pairs.shape[:3], len(names)), np.nan)
        for place, name in enumerate(names):
            if name in self.names:
                found[..., place] = self.pairs[..., self.names.index(name)]
        return found


def sensitivity(target: TargetModel, dataset: Mapping[str, Any], indices: Sequence[int],
                reduction: str = "max", part: str = "held_out") -> Sensitivity:
    """How much each attribute of a scene moves each FFN neuron.

    A scene with a value is compared with the mean of the same scene with each other value of the
    attribute; with the object, with the same scene without it.

    Args:
        target: a model of rendered scenes.
        dataset: the ``dataset`` entry of their profile.
        indices: numbers of the scenes in their part, at least two.
        reduction: a neuron's score of an image, as of
            :func:`~neuronpath_core.neurons.exemplars.find_exemplars`.
        part: that the scenes are of.

    Raises:
        ValueError: another data set, fewer than two scenes, or an unknown reduction or part.
    """
    if len(indices) < 2:
        raise ValueError(f"{len(indices)} scenes; accepted: at least two, for a sensitivity is in "
                         "standard deviations over scenes")
    drawn = families(dataset, indices, part)
    flat = drawn.flatten(0, 1).to(device=target.device, dtype=target.dtype)
    scores = image_scores(target, flat, reduction)
    return from_scores(scores.reshape(*scores.shape[:2], *drawn.shape[:2]))


def from_scores(scores: Float[np.ndarray, "block neuron scene change"]) -> Sensitivity:
    """Sensitivities of scores of :func:`~neuronpath_core.neurons.counterfactuals.families`."""
    spread = scores[..., 0].std(-1)
    # what differs by rounding alone does not differ
    still = np.ptp(scores[..., 0], -1) <= 1e-12 * np.abs(scores[..., 0]).max(-1)
    spread = np.where(still, np.nan, spread)
    of = contrasts()
    pairs = np.stack([_gap(scores, each) / spread[..., None] for each in of], -1)
    pairs = np.moveaxis(pairs, 2, 0)
    return Sensitivity(tuple(each.name for each in of), tuple(each.kind for each in of),
                       pairs.mean(0), pairs)


def _gap(scores: np.ndarray, contrast: Contrast) -> Float[np.ndarray, "block neuron scene"]:
    return scores[..., contrast.with_it].mean(-1) - scores[..., contrast.without].mean(-1)
