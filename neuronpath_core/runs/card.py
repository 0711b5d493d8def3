"""``neuronpath card``: the card of one neuron of a profile's model, as sentences, a page and a
file of its numbers."""

from __future__ import annotations

from pathlib import Path

import click

from neuronpath_core.explanations.card import Card
from neuronpath_core.explanations.card_store import CardSettings, file_name, study_cards
from neuronpath_core.explanations.card_words import SENTENCES, TITLES, summary
from neuronpath_core.study.study import Study
from neuronpath_core.support.files import check_writable, own_path, path_component
from neuronpath_core.support.text import as_utf8, plain


def show_card(study: Study, model: str, block: int, neuron: int, settings: CardSettings,
              out: Path, numbers: bool) -> None:
    """Print what a card says and write its page, and with ``numbers`` its JSON, into ``out``.

    Args:
        study: whose model it is.
        model: its name.
        block: counted from 1, as the book counts.
        neuron: counted from 0, as the book counts.
        settings: what the card is made with.
        out: a folder, made if need be.
        numbers: whether a file of numbers is written.

    Raises:
        ValueError: what does not fit, in one line.
    """
    target = study.target(model)
    if not 1 <= block <= target.n_blocks:
        raise ValueError(f"{plain(model)} has no block {block}; accepted: 1..{target.n_blocks}")
    if not 0 <= neuron < (count := target.layers[block - 1].units):
        raise ValueError(f"block {block} of {plain(model)} has no neuron {neuron}; accepted: "
                         f"0..{count - 1}")
    stem = path_component(model, "a model")
    out = own_path(out)
    check_writable(out)
    card, = study_cards(study, model, [(block - 1, neuron)], settings)
    click.echo(as_text(card))
    for ending in (".html", ".json")[:1 + numbers]:
        written = card.save(out / f"{stem}-{file_name(block - 1, neuron, ending)}")
        click.echo(f"written: {plain(as_utf8(str(written)))}")


def as_text(card: Card) -> str:
    """What a card says in sentences, for a terminal."""
    lines = [f"{plain(card.model)}: {card.name}", plain(summary(card)), ""]
    for each in card.sections:
        said = [f"nothing here: {each.missing}"] if each.missing else SENTENCES[each.key](
            each.numbers)
        lines += [TITLES[each.key], *(f"  {plain(words)}" for words in said)]
    return "\n".join(lines)
