"""A card's page says its numbers, names are text, nothing is asked for, and it can be read by
everybody; its files, and the pages that list cards."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
import time

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image

import neuronpath_core as npc
from neuronpath_core.explanations.card import Card, neuron_card, neuron_cards
from neuronpath_core.explanations.card_images import png, strip
from neuronpath_core.explanations.card_index import read_cards, write_cards, write_site
from neuronpath_core.explanations.card_page import fragment, page
from neuronpath_core.explanations.card_pictures import map_tile
from neuronpath_core.explanations.card_sections import SECTIONS
from neuronpath_core.explanations.card_words import SENTENCES, TITLES, changes, summary
from neuronpath_core.explanations.words import number
from neuronpath_core.images.digits import load_digits
from neuronpath_core.models.build import build_model
from tests import browser as look
from tests.explanations.card_models import NAMES, made
from tests.helpers import fill, refused

MOST, MOST_OF_A_BOOK = 200_000, 30_000  # bytes of a page
ADDRESS = re.compile(r"(?:src|href|url|action|srcset|data|poster)\s*[=(]\s*[\"']?([^\"')\s>]*)")


@pytest.fixture(scope="module")
def card() -> Card:
    target, images, neurons = made("cls")
    return neuron_card(target, 1, 3, images=images, paths=neurons, steps=2, model_name="<i>model</i>",
                       others={"<b>other": target})


@pytest.fixture(scope="module")
def soup(card) -> BeautifulSoup:
    return BeautifulSoup(card.to_html(), "html.parser")


def faults(text: str) -> list[str]:
    """What a reader who listens, types or is offline would stumble over."""
    page = BeautifulSoup(text, "html.parser")
    found = [] if page.html.get("lang") else ["no language"]
    found += [] if page.title and page.title.get_text() else ["no title"]
    found += [] if len(page.find_all("h1")) == 1 and page.find("main") else ["no one heading"]
    levels = [int(each.name[1]) for each in page.find_all(re.compile(r"h\d"))]
    found += ["a level of headings is left out" for first, second in zip(levels, levels[1:], strict=False)
              if second > first + 1]
    found += ["an image without words" for each in page.find_all("img") if not each.get("alt")]
    found += ["a drawing without words" for each in page.select("[role=img]") if not each.get("aria-label")]
    found += ["a table without a caption" for each in page.find_all("table") if not each.caption.get_text()]
    found += ["a header without a scope" for each in page.find_all("th") if not each.get("scope")]
    found += ["a region that no key reaches" for each in page.select("[role=region]")
              if each.get("tabindex") != "0" or not each.get("aria-label")]
    found += ["a script" for _ in page.find_all("script")]
    found += [f"an event {name}" for tag in page.find_all() for name in tag.attrs if name.startswith("on")]
    found += [f"asks for {each}" for each in ADDRESS.findall(text)
              if not each.startswith("data:") and ":" in each]
    return found


def test_nobody_stumbles_over_a_page_and_faults_are_found(card):
    text = card.to_html()
    assert faults(text) == [] and len(text.encode()) < MOST
    for good, bad in ((' lang="en"', ""), ('alt="', 'title="'), ("<caption>", "<caption hidden></caption><i>"),
                      ("</main>", "<script>1</script></main>"), ('href="data:,"', 'href="https://example.org"'),
                      ('scope="col"', ""), ('tabindex="0"', ""), ("<h2", "<h4"), ("<section>", '<section onload="x">')):
        assert faults(text.replace(good, bad)) != [], (good, bad)


def test_the_page_says_the_numbers(card, soup):
    sections = soup.find_all("section")
    assert [each.h2.get_text() for each in sections] == [TITLES[each.key] for each in card.sections]
    for section, shown in zip(card.sections, sections, strict=True):
        text = shown.get_text().replace("\xa0", " ")
        for sentence in SENTENCES[section.key](section.numbers):
            assert sentence.replace("\u202e", "\\u202e") in text, section.key
    rows = sections[2].find("table").tbody.find_all("tr")
    for row, told in zip(rows, card["value"].numbers["top"], strict=True):
        assert [each.get_text() for each in row.find_all("td")][:2] == [number(told["effective"]), number(told["cosine"])]
    effect, told = sections[-1].find("table").tbody.find_all("tr"), card["effect"].numbers
    for row, own, count in zip(effect, (told["on_paths"], told), (card["paths"].numbers["through"], 12), strict=False):
        cells = [each.get_text() for each in row.find_all("td")]
        assert cells[0] == str(count) == str(own["images"])
        assert cells[1].startswith(f"{100 * own['removed']['deviation']['value']:.1f}".replace("-", "−"))
    assert "whose path uses it" in effect[0].th.get_text() and effect[1].th.get_text() == "all images"


def as_points(value: float) -> str:
    return f"{100 * value:+.2f}".replace("-", "−")


def test_its_effect_is_said_over_its_paths_and_over_all_with_intervals(card, soup):
    told = card["effect"].numbers
    wanted = []
    for own, unit, whose in (
            (told["on_paths"], " points of probability", f"over the {told['on_paths']['images']} images whose path uses it"),
            (told, "", "over all 12")):
        row = own["removed"]["probability"]
        value, low, high = (as_points(row[name]) for name in ("value", "low", "high"))
        wanted.append(f"{value}{unit} [{low}, {high}] {whose}")
    for text in (summary(card), SENTENCES["effect"](told)[0], soup.find("strong").get_text().replace("\xa0", " ")):
        assert ", ".join(wanted) in text and "percentage points" not in text


def test_words_where_no_path_or_one_uses_it():
    row = {"value": -0.00123, "low": None, "high": None}
    everywhere = {"value": 0.5, "low": 0.25, "high": 0.754321}
    found = {"images": 9, "removed": {"probability": everywhere}}
    assert changes(found, "removed") == "+50.00 points of probability [+25.00, +75.43] over all 9 images"
    assert changes({**found, "on_paths": {"images": 0}}, "removed").endswith("over all 9 images, none of whose paths uses it")
    one = {"images": 1, "removed": {"probability": row}}
    assert changes({**found, "on_paths": one}, "removed") == (
        "−0.12 points of probability over the one image whose path uses it, "
        "+50.00 [+25.00, +75.43] over all 9")


def test_a_relative_change_of_the_other_sign_is_explained(card):
    told = json.loads(json.dumps(dict(card["effect"].numbers)))
    for name in ("removed", "doubled"):
        for own in (told, told["on_paths"]):
            own[name]["probability"]["value"], own[name]["deviation"]["value"] = -0.01, -0.2
    here = "as it has here"
    assert here not in " ".join(SENTENCES["effect"](told))
    assert "can have the other sign" in " ".join(SENTENCES["effect"](told))
    told["doubled"]["deviation"]["value"] = 0.2
    assert here in " ".join(SENTENCES["effect"](told))
    told["doubled"]["deviation"]["value"], told["on_paths"]["removed"]["deviation"]["value"] = -0.2, 0.2
    assert here in " ".join(SENTENCES["effect"](told))


def test_names_are_text_everywhere(card, soup):
    assert not soup.find_all("script") and not soup.find_all("i")
    text = soup.get_text()
    assert "<script>alert(1)</script>" in text and "<i>model</i>" in text and "<b>other" in text
    assert "\u202e" not in card.to_html() and any(name in text for name in NAMES[1:4])


def decoded(address: str) -> np.ndarray:
    assert address.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGBA"))


def test_pictures_are_the_images_and_the_maps_on_one_scale(card):
    target, images, _ = made("cls")
    found = card["key"].numbers
    shown = decoded(card["key"].pictures["images"])
    maps = decoded(card["key"].pictures["maps"])
    assert shown.shape[:2] == (8, 72) and maps.shape[:2] == (2, 18)
    for place, row in enumerate(found["top"]):
        own = images.pixels[row["image"] - 100].astype(int)
        # few colours, so that a page is light
        assert np.abs(shown[:, 8 * place:8 * place + 8, :3] - own).mean() < 25
        largest = maps[:, 2 * place:2 * place + 2, 3].max()
        assert abs(largest - 255 * max(0, row["value"]) / found["scale"]) <= 255 / 30 + 1
    assert (map_tile(np.array([[-1.0, 0.0]]), 2.0)[..., 3] == 0).all() and map_tile(np.zeros((1, 2)), 0.0)[..., 3].sum() == 0
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert (decoded(png(strip([grey, grey])))[..., 0] == np.hstack([grey, grey])).all()


def test_notebooks_keep_no_photographs(card):
    stored = BeautifulSoup(card._repr_html_(), "html.parser")
    assert card.photographs and not stored.find_all("img") and "url(" not in str(stored.section.parent)
    assert "may be photographs" in stored.get_text() and [each.name for each in stored.find_all(recursive=False)] == ["div"]
    own = dataclasses.replace(card, photographs=False)
    assert own._repr_html_() == fragment(own) and "data:image/png" in own._repr_html_()
    assert "data:image/png" in card.to_html()  # which somebody asked for
    for rule in re.findall(r"([^{}]+)\{", stored.style.string):
        assert all(each.strip().startswith(".np-neuron") for each in rule.split(",") if "(" not in each and ")" not in each)


def test_what_is_missing_is_said():
    target, images, _ = made("cls")
    page = BeautifulSoup(neuron_card(target, 0, 0, images=images.images, steps=0).to_html(), "html.parser")
    said = [each.get_text() for each in page.select(".np-missing")]
    assert said[1] == "Nothing here: no masks in this data set, so that no concept can be told."
    assert len(said) == 5 and faults(str(page)) == []


def test_files(card, tmp_path):
    html, told = card.save(tmp_path / "a.html"), card.save(tmp_path / "a.JSON")
    assert html.read_text(encoding="utf-8") == card.to_html()
    numbers = json.loads(told.read_text(encoding="utf-8"))
    assert numbers["block"] == 2 and numbers["neuron"] == 3 and list(numbers["sections"]) == list(SECTIONS)
    assert "pictures" not in numbers["sections"]["key"]
    refused(lambda: card.save(tmp_path / "a.png"), "accepted: .html, .json")
    refused(lambda: card.save(tmp_path / "none" / "a.html"), "cannot be written")
    refused(lambda: card["colour"], "accepted: identity")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.JSON", "a.html"]


def test_a_card_is_read_again_as_it_was(card):
    again = Card.from_json(card.to_json(pictures=True))
    assert again.to_html() == card.to_html() and again.to_json() == card.to_json()
    for text in ("", "[]", "{}", card.to_json().replace('"version": 1', '"version": 2'), '{"format": "x"}'):
        refused(lambda text=text: Card.from_json(text), "accepted: what Card.to_json wrote")


def test_numbers_that_are_not_defined_are_none():
    from neuronpath_core.explanations.card import _defined

    assert _defined({"a": [float("nan"), 1.0, {"b": float("inf")}], "c": "nan"}) == {"a": [None, 1.0, {"b": None}], "c": "nan"}


# --- pages that list cards ---


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    images = load_digits(400)[1].select(np.arange(30))
    model = build_model({"architecture": {"img_size": 16, "patch_size": 2, "in_chans": 1, "num_classes": 10, "embed_dim": 36,
                                          "depth": 3, "num_heads": 3, "global_pool": "token"}})
    target = npc.TargetModel(fill(model, 4))
    neurons = torch.from_numpy(np.random.default_rng(0).integers(0, 5, (30, 3)))
    paths = npc.Paths(neurons, torch.zeros(30), torch.zeros(30, dtype=torch.int64))
    cards = neuron_cards(target, [(0, 3), (2, 1)], images=images, steps=2, model_name="one", paths=paths)
    folder = tmp_path_factory.mktemp("site")
    write_cards(cards, folder / "one.json")
    write_site({"digits": {"one": read_cards(folder / "one.json")}}, folder)
    return folder, cards


def links_of(path) -> dict[str, str]:
    """The links above a page."""
    nav = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").nav
    return {each.get_text(): each["href"] for each in nav.find_all("a")} if nav else {}


def test_a_site_of_cards(site):
    folder, cards = site
    pages = sorted(folder.rglob("*.html"))
    assert [path.relative_to(folder).as_posix() for path in pages] == [
        "digits/one/block-01-neuron-0003.html", "digits/one/block-03-neuron-0001.html", "digits/one/index.html", "index.html"]
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert faults(text) == [] and len(text.encode()) < MOST_OF_A_BOOK
        for link in BeautifulSoup(text, "html.parser").find_all("a"):
            assert (path.parent / link["href"]).resolve() in pages
    links = BeautifulSoup(pages[2].read_text(encoding="utf-8"), "html.parser").select("tbody a")
    assert [each.get_text() for each in links] == [card.name for card in cards]


def test_every_page_leads_back_to_the_book(site, tmp_path):
    _, cards = site
    write_site({"digits": {"one": cards}}, tmp_path / "_cards", {"The <book>": "../book/index.html"})
    for path in (tmp_path / "_cards").rglob("*.html"):
        found = {words: (path.parent / address).resolve() for words, address in links_of(path).items()}
        assert found["The <book>"] == (tmp_path / "book/index.html").resolve(), path
        own = path.relative_to(tmp_path / "_cards").parts
        assert found.get("All cards") == (None if len(own) == 1 else (tmp_path / "_cards/index.html").resolve())
        lists = found.get("Cards of one, profile digits")
        assert lists == ((path.parent / "index.html").resolve() if own[-1].startswith("block") else None)


def test_a_list_says_intervals_over_paths_and_over_all(site):
    folder, cards = site
    page = BeautifulSoup((folder / "digits/one/index.html").read_text(encoding="utf-8"), "html.parser")
    for row, card in zip(page.tbody.find_all("tr"), cards, strict=True):
        told, (*_, fit, own, everywhere) = card["effect"].numbers, [each.get_text() for each in row.find_all("td")]
        for text, where in ((own, told["on_paths"]), (everywhere, told)):
            numbers = where["removed"]["probability"]
            value, low, high = (as_points(numbers[name]) for name in ("value", "low", "high"))
            assert text == f"{value} [{low}, {high}]"
        best = card["concepts"].numbers["best"][0]
        assert fit.startswith(f"{best['name']} {best['iou']:.3f}") and ("*" in fit) == (best["p"] <= 0.05)
        assert fit.endswith("detector") == best["detects"]
    assert "points of probability" in page.main.get_text() and "uncorrected" in page.main.get_text()


def test_a_file_of_cards_has_six_digits(site):
    folder, cards = site
    again = read_cards(folder / "one.json")
    for one, other in zip(again, cards, strict=True):
        assert one["value"].numbers["top"][0]["effective"] == pytest.approx(other["value"].numbers["top"][0]["effective"], rel=5e-6)
        assert one["key"].pictures == dict(other["key"].pictures)
    (folder / "bad.json").write_text("[1]")
    refused(lambda: read_cards(folder / "bad.json"), "bad.json holds no cards")
    refused(lambda: read_cards(folder / "none.json"), "none.json holds no cards")


def test_a_card_from_stored_numbers_takes_no_time(site):
    folder, _ = site
    before = time.process_time()
    page(read_cards(folder / "one.json")[0])
    assert time.process_time() - before < 1


@pytest.mark.skipif(look.executable() is None, reason="THE CARDS WERE NOT LOOKED AT IN A BROWSER: no Chromium")
def test_a_card_in_a_browser(site):
    pytest.importorskip("playwright")
    folder, _ = site
    with look.opened() as browser:
        for name in ("digits/one/block-01-neuron-0003.html", "digits/one/index.html", "index.html"):
            for theme in ("light", "dark"):
                context = browser.new_context(color_scheme=theme, java_script_enabled=True, viewport={"width": 360, "height": 800})
                shown = context.new_page()
                asked = []
                shown.on("request", lambda request, asked=asked: asked.append(request.url))
                shown.goto((folder / name).as_uri())
                assert look.accessibility(shown) == [], (name, theme)
                assert all(each.startswith(("file:", "data:")) for each in asked)
                assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
                context.close()
        context = browser.new_context(java_script_enabled=False)  # by keyboard and without scripts
        shown = context.new_page()
        shown.goto((folder / "digits/one/index.html").as_uri())
        shown.keyboard.press("Tab")  # to all models
        shown.keyboard.press("Tab")  # the region of the table
        shown.keyboard.press("Tab")  # the first card
        shown.keyboard.press("Enter")
        shown.wait_for_url("**/block-01-neuron-0003.html")
        context.close()
