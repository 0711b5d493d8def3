"""Cards of a study's models, kept with its results: computed once, card by card, what is finished
kept through any stop, used only for what it was computed from.

A folder ``cards/<model>_<key>`` of the results holds ``manifest.json``, what its cards are computed
from, and a file for each.  The key is that of the manifest, so that other weights, images, settings
or code have a folder of their own.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neuronpath_core.explanations.card import Card, cards_of
from neuronpath_core.explanations.card_evidence import Evidence, evidence_of
from neuronpath_core.explanations.card_files import keep_text
from neuronpath_core.images.data_sets import DATASETS
from neuronpath_core.neurons.spectrum import image_statistics
from neuronpath_core.study.identity import PACKAGES, weights_sha256
from neuronpath_core.study.store.folder import MANIFEST, manifest_key, write_json
from neuronpath_core.study.store.lock import only_writer
from neuronpath_core.study.store.parts import StoreWarning
from neuronpath_core.support.files import check_writable, path_component, plain_errors
from neuronpath_core.support.numbers import check_whole
from neuronpath_core.support.sources import closure, fingerprint
from neuronpath_core.support.text import one_line

if TYPE_CHECKING:
    from jaxtyping import Int64

    from neuronpath_core.study.study import Study

CODE = ("neuronpath_core.explanations.card_sections", "neuronpath_core.images.data_sets",
        "neuronpath_core.paths")
TOGETHER = 5  # cards of a batch, which is what a stop can cost
MOST_USED = 20


@dataclass(frozen=True)
class CardSettings:
    """What cards of a study are made with.

    Attributes:
        n_images: held-out images, spread evenly over the classes.
        seed: of their choice and of all draws.
        classes, steps: of :func:`~neuronpath_core.explanations.card.neuron_card`.
        paths: whether the images' paths are searched, by the default settings.
        others: whether the profile's other models are shown the image made for a neuron.
    """

    n_images: int = 120
    seed: int = 0
    classes: int = 5
    steps: int = 48
    paths: bool = True
    others: bool = True


@cache
def card_code() -> str:
    """SHA-256 over the sources that decide a card's numbers."""
    return fingerprint(closure(CODE))


def card_manifest(study: Study, model: str, settings: CardSettings) -> dict:
    """What the cards of a model depend on."""
    data = study.settings["dataset"]
    # rendering takes longer than reading a card: sets of the library's own are known by their code
    images = data if data["name"] in DATASETS and data["name"] != "files" else study.images(
        settings.n_images, settings.seed).sha256()
    others = {name: weights_sha256(study.target(name)) for name in _others(study, model, settings)}
    return {"profile": study.profile, "model": model, "built_from": study.entries[model],
            "weights": weights_sha256(study.target(model)), "images": images, "others": others,
            "settings": asdict(settings), "dtype": study.dtype, "code": card_code(),
            **{package: version(package) for package in PACKAGES}}


def _others(study: Study, model: str, settings: CardSettings) -> list[str]:
    """The models that are shown what excites a neuron: those of the profile that see images of
    this model's size and channels."""
    def sees(name: str) -> tuple:
        target = study.target(name)
        return (target.family.first_weight(target.model).shape[1], target.n_classes,
                tuple(target.model.patch_embed.img_size or ()))

    return [name for name in study.model_names if settings.others and name != model
            and sees(name) == sees(model)]


def study_cards(study: Study, model: str, units: Sequence[tuple[int, int]],
                settings: CardSettings | None = None) -> list[Card]:
    """Cards of a model's neurons, read where they are stored, else computed and stored.

    Args:
        study: a profile, opened; its results hold the cards.
        model: of the profile.
        units: blocks and neurons, counted from 0.
        settings: what they are made with; ``None`` for the default.

    Raises:
        ValueError: an unknown model, a neuron that it does not have, more images than there are,
            or a results folder that cannot be written to or that somebody else is writing.
    """
    settings = settings or CardSettings()
    check_whole("n_images", settings.n_images, 2)
    path_component(model, "a model")
    target = study.target(model)
    for block, neuron in units:
        check_whole("a block", block, 0, target.n_blocks - 1)
        check_whole("a neuron", neuron, 0, target.layers[block].units - 1)
    manifest = json.loads(json.dumps(card_manifest(study, model, settings)))
    folder = study.results_folder / "cards" / f"{model}_{manifest_key(manifest)}"
    found = {unit: _stored(folder, unit) for unit in units}
    missing = [unit for unit in dict.fromkeys(units) if found[unit] is None]
    if missing:
        check_writable(folder.parent)
        with only_writer(folder):
            evidence = study_evidence(study, model, settings)
            check_writable(folder)
            with plain_errors(folder):
                write_json(folder / MANIFEST, {"computed_from": manifest})
            for start in range(0, len(missing), TOGETHER):
                chosen = missing[start:start + TOGETHER]
                for unit, card in zip(chosen, cards_of(evidence, chosen), strict=True):
                    keep_text(folder / file_name(*unit), card.to_json(pictures=True))
                    found[unit] = card
    return [found[unit] for unit in units]


def file_name(block: int, neuron: int, ending: str = ".json") -> str:
    """What the file of a neuron's card is called, as the book counts."""
    return f"block-{block + 1:02d}-neuron-{neuron:04d}{ending}"


def _stored(folder: Path, unit: tuple[int, int]) -> Card | None:
    file = folder / file_name(*unit)
    if not file.is_file():
        return None
    try:
        card = Card.from_json(file.read_text(encoding="utf-8"))
        if (card.block, card.neuron) != unit:
            raise ValueError(f"it is of {card.name}; accepted: the card of its name")
        return card
    except (OSError, ValueError) as error:
        warnings.warn(f"stored card {file.name} not used: {one_line(error, 120)}; computed again",
                      StoreWarning, stacklevel=3)
        return None


def study_evidence(study: Study, model: str, settings: CardSettings) -> Evidence:
    """What cards of a study's model are made of; paths come from the store."""
    images = study.loaded(study.images(settings.n_images, settings.seed), model)
    others = {name: study.target(name) for name in _others(study, model, settings)}
    statistics = None
    if settings.steps and study.settings["dataset"]["name"] != "files":
        statistics = image_statistics(study.train.images)
    paths = study.paths(model, study.images(settings.n_images, settings.seed)
                        ) if settings.paths else None
    return evidence_of(study.target(model), images=images, paths=paths, classes=settings.classes,
                       others=others, statistics=statistics, steps=settings.steps,
                       seed=settings.seed, model_name=model)


def most_used(neurons: Int64[np.ndarray, "image layer *rank"],
              count: int = MOST_USED) -> list[tuple[int, int, int]]:
    """The neurons through which most paths go.

    Args:
        neurons: of paths.
        count: at most so many.

    Returns:
        block and neuron, from 0, and how many paths, most first; of equal ones the earlier block
        and the smaller number first.
    """
    ranked = np.asarray(neurons).reshape(len(neurons), np.shape(neurons)[1], -1)
    rows = []
    for block in range(ranked.shape[1]):
        values, counts = np.unique(ranked[:, block], return_counts=True)
        rows += [(block, int(value), int(each)) for value, each in zip(values, counts,
                                                                       strict=True)]
    return sorted(rows, key=lambda row: (-row[2], *row[:2]))[:count]
