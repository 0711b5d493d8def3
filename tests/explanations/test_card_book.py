"""The cards that the book keeps are of the models that it has, and chapter 4 leads to them."""

from __future__ import annotations

import dataclasses
import re
import sys

import nbformat
import numpy as np
import pytest
import torch

from book import neuron_cards
from neuronpath_core.explanations.card import Card
from neuronpath_core.neurons.key_neurons import alignment
from neuronpath_core.study.identity import weights_sha256
from neuronpath_core.study.study import Study
from neuronpath_core.target import TargetModel
from tests import browser as look
from tests.explanations.test_card_page import MOST_OF_A_BOOK, faults, links_of

STORED = neuron_cards.stored()
MODELS = [(profile, model) for profile in neuron_cards.PROFILES for model in Study(profile).model_names]
ALL_PAGES = 6_000_000  # bytes


def stale(card: Card, target: TargetModel) -> list[str]:
    """Why a stored card is not of this model as it is now."""
    found = [] if card.digest == weights_sha256(target) else ["other weights"]
    own = alignment(target, "effective")[card.block, card.neuron].numpy()
    top = card["value"].numbers["top"]
    if not np.allclose([row["effective"] for row in top], np.sort(own)[::-1][:len(top)], rtol=1e-5, atol=1e-7):
        found.append("other value vectors")
    return found


@pytest.mark.parametrize("profile, model", MODELS)
def test_stored_cards_are_of_this_checkout(profile, model):
    cards = STORED[profile][model]
    assert len(cards) == 20 and len({(card.block, card.neuron) for card in cards}) == 20
    target = Study(profile).target(model)
    for card in cards[:3]:
        assert stale(card, target) == [] and card.model == model and not card.photographs
        assert [each.key for each in card.sections if each.missing] == []
        identity = card["identity"].numbers
        assert identity["images"] == 120 and not identity["dead"]
    counts = [card["paths"].numbers["through"] for card in cards]
    assert counts == sorted(counts, reverse=True) and counts[-1] > 0
    other = dataclasses.replace(cards[0], neuron=(cards[0].neuron + 1) % target.n_neurons)
    assert stale(other, target) == ["other value vectors"]
    with torch.no_grad():
        target.model.head.weight *= 1.5
    assert stale(cards[0], target) == ["other weights", "other value vectors"]


def test_what_a_stored_card_counts_is_what_its_images_give():
    """One card measured again, its paths as they are stored on it."""
    study = Study("digits")
    card = STORED["digits"]["tiny-B-32"][0]
    images = study.images(120, 0)
    target = study.target("tiny-B-32")
    found = card["effect"].numbers["removed"]
    rows = np.arange(len(images))

    def remove(_module, inputs):
        value = inputs[0].clone()
        value[:, 0, card.neuron] = 0
        return (value,)

    with torch.no_grad():
        clean = target.model(images.images).softmax(-1).numpy()[rows, images.labels]
        handle = target.model.blocks[card.block].mlp.fc2.register_forward_pre_hook(remove)
        edited = target.model(images.images).softmax(-1).numpy()[rows, images.labels]
        handle.remove()
    assert found["probability"]["value"] == pytest.approx((edited - clean).mean(), rel=1e-5)
    assert found["size"] == pytest.approx(np.abs(edited - clean).mean(), rel=1e-5)


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder = tmp_path_factory.mktemp("html")
    neuron_cards.write_pages(folder)
    return folder


def test_pages_of_the_book_are_light(html):
    sizes = {path: path.stat().st_size for path in html.rglob("block-*.html")}
    assert len(sizes) == 20 * len(MODELS) and max(sizes.values()) < 1.3 * MOST_OF_A_BOOK
    assert sum(path.stat().st_size for path in html.rglob("*.html")) < ALL_PAGES
    for path in [*html.rglob("index.html"), *list(sizes)[::20]]:
        assert faults(path.read_text(encoding="utf-8")) == [], path


def test_chapter_4_leads_to_every_model(html):
    nb = nbformat.read(neuron_cards.ROOT / "notebooks" / "04_class_paths.ipynb", 4)
    cell = next(cell for cell in nb.cells if cell.id == "04-cards")
    links = re.findall(r'href="([^"]+)"', cell.source)
    assert [link.split("/")[2:4] for link in links] == [list(each) for each in MODELS]
    for link in links:
        assert (html / "notebooks" / link).resolve(strict=False).is_file()
    for path in (html / "_cards/index.html", html / "_cards/digits/tiny-B-16/index.html",
                 next(html.rglob("block-*.html"))):
        back = {(path.parent / each).resolve() for each in links_of(path).values()}
        assert {(html / "notebooks/04_class_paths.html").resolve(), (html / "book/index.html").resolve()} <= back
    assert len(set(re.findall(r">([^<]+)</a>", cell.source))) == len(links)


@pytest.mark.skipif(look.executable() is None, reason="NO KEYBOARD WAS TRIED: no Chromium")
def test_a_card_opens_from_chapter_4_by_keyboard_and_without_scripts(html):
    """The chapter's links as they stand in it, then the list of the model's cards."""
    pytest.importorskip("playwright")
    nb = nbformat.read(neuron_cards.ROOT / "notebooks" / "04_class_paths.ipynb", 4)
    cell = next(cell for cell in nb.cells if cell.id == "04-cards")
    links, = re.findall(r"<ul.*?</ul>", cell.source, re.DOTALL)
    chapter = html / "notebooks" / "04_class_paths.html"
    chapter.parent.mkdir(exist_ok=True)
    chapter.write_text(f"<!DOCTYPE html><title>Chapter 4</title>{links}", encoding="utf-8")

    def follow(shown, wanted: str) -> None:
        for _ in range(9):  # past what else can be reached on the way
            shown.keyboard.press("Tab")
            if shown.evaluate(f"/{wanted}/.test(document.activeElement.href || '')"):
                break
        shown.keyboard.press("Enter")
        shown.wait_for_url(re.compile(wanted))

    with look.opened() as browser:
        shown = browser.new_context(java_script_enabled=False).new_page()
        shown.goto(chapter.as_uri())
        follow(shown, r"tiny-B-16.index\.html")
        follow(shown, r"block-\d+-neuron-\d+\.html")
        assert "neuron" in shown.title()


def test_cards_are_measured_by_one_command(monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr(neuron_cards, "most_used_cards", lambda study, model: asked.append(model) or STORED["digits"][model][:1])
    monkeypatch.setattr(neuron_cards, "DATA", tmp_path / "cards")
    monkeypatch.setattr(neuron_cards, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["neuron_cards", "--profile", "digits", "--model", "tiny-B-16"])
    neuron_cards.main()
    assert asked == ["tiny-B-16"] and "tiny-B-16.json" in capsys.readouterr().out
    assert [card.name for card in neuron_cards.read_cards(tmp_path / "cards/digits/tiny-B-16.json")] == [
        STORED["digits"]["tiny-B-16"][0].name]
    monkeypatch.setattr(sys, "argv", ["neuron_cards", "--profile", "digits", "--model", "none"])
    with pytest.raises(SystemExit, match="cards: unknown models"):
        neuron_cards.main()
