"""The card of one neuron: what it reads, writes, means and does, each beside what chance gives."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronpath_core.support.text import one_line, shown

if TYPE_CHECKING:
    from jaxtyping import Float, Int64
    from torch import Tensor

    from neuronpath_core.images.image_set import ImageSet
    from neuronpath_core.neurons.spectrum import Statistics
    from neuronpath_core.paths import Paths
    from neuronpath_core.target import TargetModel

FORMAT, VERSION = "neuronpath card", 1
CLASSES, STEPS = 5, 64


@dataclass(frozen=True)
class Section:
    """A part of a card.

    Attributes:
        key: ``identity, paths, value, key, concepts, synthetic, neighbours`` or ``effect``; of a
            vision-language model ``unit, modality, samples, explanation, cause, writes`` or
            ``removal``.
        numbers: all that was measured, JSON values; empty where nothing could be.
        pictures: by name, PNG as ``data:`` addresses.
        missing: why there is nothing, a sentence without its full stop; empty where there is.
    """

    key: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class Card:
    """One neuron of one model. In a notebook it is a page.

    Attributes:
        model: what the model is called.
        digest: SHA-256 of its weights.
        block, neuron: counted from 0, as everywhere in the library; on the page the block counts
            from 1, as everywhere in the book.
        sections: in the order of the page.
        photographs: whether the images may be photographs, which notebooks do not keep.
    """

    model: str
    digest: str
    block: int
    neuron: int
    sections: tuple[Section, ...]
    photographs: bool = True

    @property
    def name(self) -> str:
        """Where the neuron is, as the book counts."""
        return f"block {self.block + 1}, neuron {self.neuron}"

    def __getitem__(self, key: str) -> Section:
        found = next((each for each in self.sections if each.key == key), None)
        if found is None:
            raise ValueError(f"a card has no section {shown(key)}; accepted: "
                             f"{', '.join(each.key for each in self.sections)}")
        return found

    def to_json(self, pictures: bool = False) -> str:
        """Every number as JSON, ``block`` counted from 1.

        Args:
            pictures: with the pictures too, so that :meth:`from_json` gives the whole card.
        """
        sections = {}
        for each in self.sections:
            sections[each.key] = {"missing": each.missing} if each.missing else dict(each.numbers)
            if pictures and each.pictures:
                sections[each.key] = {**sections[each.key], "pictures": dict(each.pictures)}
        return json.dumps({"format": FORMAT, "version": VERSION, "model": self.model,
                           "weights": self.digest, "block": self.block + 1, "neuron": self.neuron,
                           "photographs": self.photographs, "sections": sections},
                          ensure_ascii=False, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Card:
        """The card that :meth:`to_json` wrote.

        Raises:
            ValueError: another text, or one of another version.
        """
        try:
            told = json.loads(text)
            if (told["format"], told["version"]) != (FORMAT, VERSION):
                found = f"{shown(told['format'])}, version {shown(told['version'])}"
                raise ValueError(f"{found}; accepted: {FORMAT}, version {VERSION}")
            sections = tuple(_section(key, dict(each)) for key, each in told["sections"].items())
            return cls(told["model"], told["weights"], told["block"] - 1, told["neuron"], sections,
                       told["photographs"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            said = one_line(error, 120).partition("; accepted")[0]
            raise ValueError(f"this is no neuron card ({said}); accepted: what Card.to_json wrote, "
                             f"version {VERSION}") from error

    def to_html(self) -> str:
        """A whole page that asks for nothing else and needs no script."""
        from neuronpath_core.explanations.card_page import page

        return page(self)

    def save(self, path: str | Path) -> Path:
        """Write a file, by its ending ``.html`` or ``.json``, there whole or not at all; another
        of that name is replaced.

        Returns:
            where it is.

        Raises:
            ValueError: another ending, or a folder that cannot be written to.
        """
        from neuronpath_core.explanations.card_files import save

        return save(self, path)

    def _repr_html_(self) -> str:
        from neuronpath_core.explanations.card_page import fragment

        return fragment(self, with_photographs=False)

    def __repr__(self) -> str:
        there = [each.key for each in self.sections if not each.missing]
        return f"Card({shown(self.model)}, {self.name}: {', '.join(there)})"


def _section(key: str, told: dict) -> Section:
    pictures, missing = told.pop("pictures", {}), told.pop("missing", "")
    return Section(key, told, pictures, missing)


def neuron_card(
    target: TargetModel, block: int, neuron: int, *,
    images: ImageSet | Float[Tensor, "image channel height width"],
    paths: Paths | Int64[Tensor, "image layer *rank"] | None = None, classes: int = CLASSES,
    labels: Int64[Tensor, "image"] | None = None, others: Mapping[str, TargetModel] | None = None,
    statistics: Statistics | None = None, steps: int = STEPS, seed: int = 0,
    model_name: str | None = None,
) -> Card:
    """Everything that the library measures of one neuron, each beside what chance gives.

    Sections: who it is, how often paths go through it, which classes its value vector writes,
    which images excite it and where, which concepts it lights for, an image made to excite it, its
    neighbours on paths, and what removing or doubling it alone does. One that cannot be filled
    says why.

    Of a :class:`~neuronpath_core.vlm.adapter.VisionLanguageModel` the neuron is one of the decoder,
    ``images`` are composed scenes, and the sections are those of
    :func:`~neuronpath_core.explanations.card_vlm.vlm_cards`; of the other arguments ``classes`` is
    how many words are listed, and ``seed`` and ``model_name`` are the same.

    Args:
        target: the model.
        block, neuron: counted from 0.
        images: an :class:`~neuronpath_core.images.image_set.ImageSet`, which brings labels and
            masks, as the model sees them; or a tensor of what the model is given.
        paths: of these images, as :func:`~neuronpath_core.paths.find_paths` gives them; ``None``
            where none were searched.
        classes: how many are listed at either end of a list.
        labels: of a tensor; those of an ``ImageSet`` are its own.
        others: models by name that are shown the image made to excite the neuron.
        statistics: :func:`~neuronpath_core.neurons.spectrum.image_statistics` of the images that
            the model was trained on; ``None`` for those of ``images``.
        steps: of that image's optimisation; 0 leaves it out.
        seed: of all draws.
        model_name: what the model is called; ``None`` for what timm calls it.

    Raises:
        ValueError: a neuron that the model does not have, or images, labels, paths or models that
            do not fit; the message says what is accepted.
    """
    if type(target).__name__ == "VisionLanguageModel":
        from neuronpath_core.explanations.card_vlm import check_none, vlm_cards

        check_none(paths=paths, labels=labels, others=others, statistics=statistics)
        return vlm_cards(target, [(block, neuron)], scenes=images, words=classes, seed=seed,
                         model_name=model_name)[0]
    return neuron_cards(target, [(block, neuron)], images=images, paths=paths, classes=classes,
                        labels=labels, others=others, statistics=statistics, steps=steps,
                        seed=seed, model_name=model_name)[0]


def neuron_cards(target: TargetModel, units: Iterable[tuple[int, int]],
                 **settings: Any) -> list[Card]:
    """:func:`neuron_card` of several neurons ``(block, neuron)``, which share what is measured of
    the whole model.

    Args:
        target: the model.
        units: blocks and neurons, counted from 0.
        settings: of :func:`neuron_card`, by name.
    """
    from neuronpath_core.explanations.card_evidence import evidence_of

    return cards_of(evidence_of(target, **settings), list(units))


def cards_of(evidence: Any, units: Sequence[tuple[int, int]]) -> list[Card]:
    """The cards of some neurons, from what is measured of their model.

    Args:
        evidence: a :class:`~neuronpath_core.explanations.card_evidence.Evidence`.
        units: blocks and neurons, counted from 0.
    """
    from neuronpath_core.explanations.card_sections import SECTIONS
    from neuronpath_core.explanations.card_units import Units

    chosen = Units(evidence, tuple(evidence.checked(*unit) for unit in units))
    return [Card(evidence.name, evidence.digest, block, neuron,
                 tuple(filled(key, measure, chosen, block, neuron)
                       for key, measure in SECTIONS.items()),
                 evidence.images.photographs) for block, neuron in chosen.places]


def filled(key: str, measure: Any, chosen: Any, block: int, neuron: int) -> Section:
    """A section, or why there is none: what a measure refuses is what the page says."""
    try:
        numbers, pictures = measure(chosen, block, neuron)
    except ValueError as error:
        # what would be accepted is for who calls a function, not for who reads a page
        return Section(key, missing=one_line(error).partition("; accepted")[0])
    return Section(key, _defined(numbers), pictures)


def _defined(value: Any) -> Any:
    """JSON values, ``None`` in place of numbers that are not defined."""
    if isinstance(value, Mapping):
        return {name: _defined(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_defined(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
