"""Cards of the neurons that a study's paths use most, as pages without a script: a folder for each
model with a page that lists its cards, and one that lists the models.

What the pages are made of is one file a model, so that a book can be built without computing it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronpath_core.explanations.card import Card
from neuronpath_core.explanations.card_files import keep_text
from neuronpath_core.explanations.card_fits import LEVEL, above_chance, overlap
from neuronpath_core.explanations.card_html import table, text
from neuronpath_core.explanations.card_page import navigation, page, whole
from neuronpath_core.explanations.card_store import (
    MOST_USED,
    CardSettings,
    file_name,
    most_used,
    study_cards,
)
from neuronpath_core.explanations.card_style import STYLE
from neuronpath_core.explanations.card_words import class_name
from neuronpath_core.explanations.words import UNIT, percent, span
from neuronpath_core.neurons.one_block import LEAST_IOU
from neuronpath_core.support.files import path_component
from neuronpath_core.support.text import one_line

if TYPE_CHECKING:
    from neuronpath_core.study.study import Study

DIGITS = 6  # of a number in the file of a book
HOME, ALL = "index.html", "All cards"


def most_used_cards(study: Study, model: str, settings: CardSettings | None = None,
                    count: int = MOST_USED) -> list[Card]:
    """Cards of the neurons through which most paths of a model go, most first.

    Args:
        study, model, settings: of :func:`~neuronpath_core.explanations.card_store.study_cards`.
        count: at most so many.
    """
    settings = settings or CardSettings()
    images = study.images(settings.n_images, settings.seed)
    chosen = most_used(study.paths(model, images).neurons.numpy(), count)
    return study_cards(study, model, [(block, neuron) for block, neuron, _ in chosen], settings)


# --- one file a model ---


def write_cards(cards: Sequence[Card], file: Path) -> None:
    """Write the cards of a model into one file, numbers to six digits that count, pictures too."""
    told = [_rounded(json.loads(card.to_json(pictures=True))) for card in cards]
    lines = ",\n".join(json.dumps(each, ensure_ascii=False, separators=(",", ":"))
                       for each in told)
    file.parent.mkdir(parents=True, exist_ok=True)
    keep_text(file, f"[{lines}]\n")


def read_cards(file: Path) -> list[Card]:
    """The cards of a file that :func:`write_cards` wrote.

    Raises:
        ValueError: another file.
    """
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return [Card.from_json(json.dumps(each)) for each in told]
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{file.name} holds no cards ({one_line(error, 120)}); accepted: a file "
                         "of write_cards") from error


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


# --- pages ---


def write_site(cards: Mapping[str, Mapping[str, Sequence[Card]]], folder: Path,
               book: Mapping[str, str] | None = None) -> None:
    """Write the pages of cards, most used first.

    Args:
        cards: profile -> model -> its cards.
        folder: of the pages: ``<profile>/<model>/block-…-neuron-….html``, an ``index.html`` in
            each folder.
        book: pages that every one of these leads back to, words and their addresses as seen from
            the folder; ``None`` without any.
    """
    book = dict(book or {})
    below = {ALL: f"../../{HOME}", **{words: f"../../{each}" for words, each in book.items()}}
    for profile, models in cards.items():
        for model, own in models.items():
            place = folder / path_component(profile, "a profile") / path_component(model, "a model")
            place.mkdir(parents=True, exist_ok=True)
            links = {f"Cards of {model}, profile {profile}": HOME, **below}
            for card in own:
                keep_text(place / file_name(card.block, card.neuron, ".html"), page(card, links))
            keep_text(place / HOME, model_page(profile, model, own, below))
    folder.mkdir(parents=True, exist_ok=True)
    keep_text(folder / HOME, front_page(cards, book))


def model_page(profile: str, model: str, cards: Sequence[Card], links: Mapping[str, str]) -> str:
    """The page that lists a model's cards; ``links`` as of
    :func:`~neuronpath_core.explanations.card_page.page`."""
    columns = ["rank", "neuron", "paths", "writes most for", "best concept (IoU)",
               "removed alone, images whose path uses it", "removed alone, all images"]
    rows = [[str(place), _Link(file_name(card.block, card.neuron, ".html"), card.name),
             *_short(card)] for place, card in enumerate(cards, 1)]
    title = text(f"{model}, profile {profile}: neurons that paths use most")
    body = table("Neurons by how many paths go through them; each name leads to its card", columns,
                 rows, names=len(columns))
    note = (f"“Removed alone”: mean change of the true class's probability, in {UNIT}, with 95 % "
            "intervals over images: over those whose path uses the neuron, as many as the column "
            f"“paths” says, and over all. IoU: * above chance by its p (at most {LEVEL}, "
            f"uncorrected); “detector”: above {LEAST_IOU} and 95 % of other masks.")
    return whole(title, f'{navigation(links)}<main><div class="np-neuron"><h1 class="np-name">'
                        f"{title}</h1>{body}<p>{text(note)}</p></div></main>", STYLE)


def front_page(cards: Mapping[str, Mapping[str, Sequence[Card]]], links: Mapping[str, str]) -> str:
    """The page that lists the models; ``links`` as of
    :func:`~neuronpath_core.explanations.card_page.page`."""
    rows = [[_Link(f"{profile}/{model}/{HOME}", model), profile, str(len(own))]
            for profile, models in cards.items() for model, own in models.items()]
    title = "Cards of the neurons that paths use most"
    body = table("Models with cards", ["model", "profile", "cards"], rows, names=2)
    return whole(title, f'{navigation(links)}<main><div class="np-neuron"><h1 class="np-name">'
                        f"{title}</h1>{body}</div></main>", STYLE)


class _Link(str):
    """A cell that leads somewhere: its text, and where."""

    __slots__ = ("address",)

    def __new__(cls, address: str, words: str):
        made = super().__new__(cls, words)
        made.address = address
        return made


def _short(card: Card) -> list[str]:
    """What a list says of a card."""
    paths, value, concepts, effect = (card[key] for key in ("paths", "value", "concepts",
                                                            "effect"))
    best = concepts.numbers.get("best") or []
    own = effect.numbers.get("on_paths") or {"images": 0}
    return ["–" if paths.missing else
            f"{paths.numbers['through']} ({percent(paths.numbers['share'])})",
            "–" if value.missing else class_name(value.numbers["top"][0]),
            _fit(best[0]) if best else "–",
            span(own["removed"]["probability"], "") if own["images"] else "–",
            "–" if effect.missing else span(effect.numbers["removed"]["probability"], "")]


def _fit(row: Mapping[str, Any]) -> str:
    """A concept with its fit, beside chance and beside the threshold of a detector."""
    return (f"{row['name']} {overlap(row['iou'])}{' *' if above_chance(row) else ''}"
            f"{', detector' if row['detects'] else ''}")
