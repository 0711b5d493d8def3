"""Neurons that cards are made of together: what is read of each alone, and images made to excite
them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from neuronpath_core.explanations.card_evidence import Evidence, as_numbers, over_images
from neuronpath_core.hooks import neurons_read
from neuronpath_core.neurons.dissection import Dissection, dissect
from neuronpath_core.neurons.spectrum import image_statistics
from neuronpath_core.neurons.stimuli import stimulate

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float


class Synthetic(NamedTuple):
    """Images made to excite neurons, without and with changes on the way, and those of a matched
    neuron each: ``(unit, channel, height, width)``."""

    plain: Tensor
    robust: Tensor
    plain_control: Tensor
    robust_control: Tensor


@dataclass(frozen=True, eq=False)
class Units:
    """Some neurons of a model, read together.

    Attributes:
        evidence: of the whole model.
        places: blocks and neurons, from 0.
    """

    evidence: Evidence
    places: tuple[tuple[int, int], ...]

    @cached_property
    def activations(self) -> dict[tuple[int, int], Float[np.ndarray, "image token"]]:
        """Of each neuron at every token."""
        evidence = self.evidence

        def read(chosen: Tensor) -> Tensor:
            values = neurons_read(evidence.target, evidence.images.values[chosen], everywhere=True)
            return torch.stack([values[block][..., neuron] for block, neuron in self.places])

        found = torch.cat(over_images(evidence, read), 1)
        return dict(zip(self.places, as_numbers(found), strict=True))

    def dissection(self, block: int) -> Dissection:
        """The neurons of a block held against the concepts of the images, those of the other
        blocks at hand in the same pass.

        Raises:
            ValueError: images without masks.
        """
        evidence, images = self.evidence, self.evidence.images
        new = sorted({each for each, _ in self.places} - set(evidence.dissected))
        if new:
            labels = None if images.labels is None else torch.from_numpy(images.labels)
            found = dissect(evidence.target, images.values, evidence.known, labels=labels,
                            seed=evidence.seed, blocks=new)
            evidence.dissected.update(dict.fromkeys(new, found))
        return evidence.dissected[block]

    @cached_property
    def synthetic(self) -> Synthetic:
        """Images made to excite each neuron and one that is matched to it.

        Raises:
            ValueError: what :func:`~neuronpath_core.neurons.stimuli.stimulate` refuses.
        """
        evidence = self.evidence
        controls = [(block, evidence.matches(block, neuron, 1)[0]) for block, neuron in self.places]
        statistics = evidence.statistics or image_statistics(
            evidence.images.values, **evidence.images.limits())
        made = [stimulate(evidence.target, [[each] for each in (*self.places, *controls)],
                          steps=evidence.steps, transforms=transforms, statistics=statistics,
                          seed=evidence.seed).images for transforms in (None, "robust")]
        count = len(self.places)
        return Synthetic(made[0][:count], made[1][:count], made[0][count:], made[1][count:])
