"""``neuronpath card``: the card of one neuron of a profile's model, as sentences, a page and a
file of its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from neuronpath_core.chapters.explanations.causes import stored_moved
from neuronpath_core.chapters.vlm_study import SCENES, open_vlm
from neuronpath_core.explanations.card import Card
from neuronpath_core.explanations.card_store import CardSettings, file_name, study_cards
from neuronpath_core.explanations.card_vlm import vlm_cards
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
    _write(model, out, numbers, lambda: study_cards(study, model, [(block - 1, neuron)],
                                                    settings)[0])


def show_vlm_card(profile: str, n_scenes: int | None, device: str, results: Path, root: Path,
                  place: tuple[str, int, int], seed: int, out: Path, numbers: bool) -> None:
    """The same of a neuron of a vision-language model's decoder, from the study's stored records.

    Args:
        profile: of vision-language models on composed scenes.
        n_scenes: scenes that neurons are read on; ``None``: as many as the chapters take.
        device, results, root: of ``chapters.vlm_study.open_vlm``.
        place: the model, a block of its decoder, counted from 1, and a neuron, counted from 0.
        seed: of all draws.
        out, numbers: as of :func:`show_card`.

    Raises:
        ValueError: what does not fit, in one line.
    """
    study = open_vlm(profile, 1 if n_scenes is None else n_scenes, device, results, root=root)
    if n_scenes is None:
        study = replace(study, n_scenes=min(SCENES, study.settings["dataset"]["held_out_scenes"]))
    model, block, neuron = place
    halves = study.model(model).halves["decoder"]
    if not 1 <= block <= len(halves):
        raise ValueError(f"the decoder of {plain(model)} has no block {block}; accepted: "
                         f"1..{len(halves)}")
    if not 0 <= neuron < (count := halves[block - 1].width):
        raise ValueError(f"block {block} of {plain(model)} has no neuron {neuron}; accepted: "
                         f"0..{count - 1}")

    def made() -> Card:
        return vlm_cards(study.model(model), [(block - 1, neuron)], scenes=list(study.scenes()),
                         records=study.records(model), redrawn=stored_moved(study, model),
                         seed=seed, model_name=model)[0]

    _write(model, out, numbers, made)


def _write(model: str, out: Path, numbers: bool, made: Callable[[], Card]) -> None:
    stem = path_component(model, "a model")
    out = own_path(out)
    check_writable(out)
    card = made()
    click.echo(as_text(card))
    for ending in (".html", ".json")[:1 + numbers]:
        written = card.save(out / f"{stem}-{file_name(card.block, card.neuron, ending)}")
        click.echo(f"written: {plain(as_utf8(str(written)))}")


def as_text(card: Card) -> str:
    """What a card says in sentences, for a terminal."""
    lines = [f"{plain(card.model)}: {card.name}", plain(summary(card)), ""]
    for each in card.sections:
        said = [f"nothing here: {each.missing}"] if each.missing else SENTENCES[each.key](
            each.numbers)
        lines += [TITLES[each.key], *(f"  {plain(words)}" for words in said)]
    return "\n".join(lines)
