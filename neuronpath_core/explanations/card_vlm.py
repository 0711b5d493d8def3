"""Cards of neurons of a vision-language model's decoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from neuronpath_core.explanations.card import Card, filled
from neuronpath_core.support.text import shown

if TYPE_CHECKING:
    from neuronpath_core.explanations.card_vlm_evidence import VlmEvidence
    from neuronpath_core.vlm.adapter import VisionLanguageModel


def vlm_cards(model: VisionLanguageModel, units: Iterable[tuple[int, int]], **settings: Any
              ) -> list[Card]:
    """The cards of some neurons ``(block, neuron)`` of a decoder, counted from 0, which share what
    is measured of the whole model.

    Sections: who it is; the probabilities of its types, beside dealt labels; the scenes and words
    that excite it; its explanation, with its own score and that of other neurons' explanations;
    whether what is named moves it when scenes are drawn again; which words it writes; what its
    removal alone does to answers.

    Args:
        model: a model of composed scenes.
        units: blocks of the decoder and neurons.
        settings: of :func:`~neuronpath_core.explanations.card_vlm_evidence.vlm_evidence`, by name.

    Raises:
        ValueError: a neuron that the decoder does not have, or what ``vlm_evidence`` refuses.
    """
    from neuronpath_core.explanations.card_vlm_evidence import vlm_evidence

    evidence = vlm_evidence(model, **settings)
    return [vlm_card_of(evidence, *evidence.checked(*unit)) for unit in units]


def vlm_card_of(evidence: VlmEvidence, block: int, neuron: int) -> Card:
    """The card of one neuron, from what is measured of its model."""
    from neuronpath_core.explanations.card_vlm_sections import SECTIONS

    return Card(evidence.name, evidence.digest, block, neuron,
                tuple(filled(key, measure, evidence, block, neuron)
                      for key, measure in SECTIONS.items()), photographs=False)


def check_none(**given: Any) -> None:
    """Raise ``ValueError`` for an argument that cards of classifiers alone have."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} cannot be {shown(value)} for a neuron of a vision-language "
                             "model; accepted: None")
