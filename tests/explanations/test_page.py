"""The page and the figure: the same numbers, names as text, nothing asked for."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

import neuronpath_core as npc
from neuronpath_core.explanations.page import fragment, page
from neuronpath_core.figures.explanation import ACTIVE, NEGATIVE, map_pixels
from tests.explanations.numbers import NUMBER, says
from tests.helpers import network

NAMES = ["<script>alert(1)</script>", "a & b", '" onload="x', "$x_1$", "e\u202ef"]


@pytest.fixture(scope="module")
def found():
    target, images, _ = network("avg", 3)
    return npc.explain(target, images[0], class_names=NAMES, model_name="<i>model</i>")


@pytest.fixture(scope="module")
def soup(found):
    return BeautifulSoup(page(found), "html.parser")


def cells(row):
    return [cell.get_text().replace("\xa0", " ") for cell in row.find_all(["th", "td"])]


def test_the_page_says_the_numbers_of_the_frame(found, soup):
    classes, path = soup.find_all("table")
    for index, row in zip(found.shown_classes(), classes.tbody.find_all("tr"), strict=True):
        for said, each in zip(cells(row)[1:], (found.probabilities, found.removed, found.doubled), strict=True):
            assert re.fullmatch(NUMBER, said) and says(said, each[index])
        widths = [float(re.search(r"width: ([\d.]+)%", bar["style"])[1]) for bar in row.find_all(class_="np-bar")]
        assert widths == [round(100 * each[index], 2) for each in (found.probabilities, found.removed, found.doubled)]
        assert (row.get("class") == ["np-label"]) == (index == found.label)
    for line, row in zip(found.to_frame().to_dict("records"), path.tbody.find_all("tr"), strict=True):
        assert cells(row) == [str(line["block"]), str(line["neuron"]), f"{line['activation']:.4g}",
                              f"{line['attribution']:.2e}", f"{line['peak']:.4g}", f"row {line['row']}, column {line['column']}"]


def decoded(address):
    assert address.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_pictures_are_the_pixels_and_the_maps(found, soup):
    first, *maps = soup.find_all("img")
    assert (decoded(first["src"]) == found.pixels).all() and first["alt"]
    for image, values in zip(maps, found.maps, strict=True):
        drawn = decoded(image["src"])
        assert (drawn[..., 3] == np.round(255 * np.abs(values) / np.abs(values).max())).all()
        for colour, where in ((ACTIVE, values > 0), (NEGATIVE, values < 0)):
            assert (drawn[where][:, :3] == [int(colour[at:at + 2], 16) for at in (1, 3, 5)]).all()


def test_a_map_of_zeros_is_transparent():
    assert (map_pixels(np.zeros((2, 3)))[..., 3] == 0).all()


def test_nothing_is_asked_for(found):
    text = page(found)
    addresses = re.findall(r"(?:src|href|url|action|srcset|data|poster)\s*[=(]\s*[\"']?([^\"')\s>]*)", text)
    assert addresses and all(each.startswith("data:") for each in addresses if "default-src" not in each), addresses
    assert "http" not in text.replace("http-equiv", "") and "<script" not in text and "@import" not in text and "//" not in re.sub(
        r"base64,[A-Za-z0-9+/=]*", "", text)


def test_names_are_text_everywhere(found, soup, tmp_path):
    assert not soup.find_all("script") and not soup.find_all("i")
    assert not [tag for tag in soup.find_all() if any(name.startswith("on") for name in tag.attrs)]
    shown = [cells(row)[0] for row in soup.find("table").tbody.find_all("tr")]
    assert sorted(shown) == sorted([*NAMES[:4], "e\\u202ef"])
    assert "<i>model</i>" in soup.get_text()
    svg = BeautifulSoup(found.save(tmp_path / "a.svg").read_text(encoding="utf-8"), "html.parser")
    assert not svg.find_all("script") and "<script>" in svg.get_text()
    assert "\u202e" not in str(found) + repr(found) + page(found)


def test_a_picture_with_markup_in_its_name_is_text(tmp_path):
    target, _, _ = network("avg", 3)
    file = tmp_path / "<img src=x onerror=alert(1)>.png"
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(file)
    shown = BeautifulSoup(page(npc.explain(target, file)), "html.parser")
    assert shown.h1.get_text() == file.name == shown.title.get_text().partition(": ")[0]
    assert all(image["src"].startswith("data:") for image in shown.find_all("img"))


def test_a_notebook_shows_one_element(found):
    shown = BeautifulSoup(found._repr_html_(), "html.parser")
    assert [each.name for each in shown.find_all(recursive=False)] == ["div"]
    assert found._repr_html_() == fragment(found) and "mathjax_ignore" in shown.div["class"]
    # its style is for nothing else on the page
    for rule in re.findall(r"([^{}]+)\{", shown.style.string):
        assert all(each.strip().startswith(".np-explained") for each in rule.split(",") if "(" not in each and ")" not in each)


def test_what_the_maps_show_is_said(found):
    classes, images, _ = network("cls", 3)
    assert "read and edited at the class token" in page(npc.explain(classes, images[0]))
    assert "at all of these tokens" in page(found)


def test_the_figure_draws_every_block(found):
    figure = found.plot()
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == [f"block {block + 1}: {neuron}\nlargest {np.abs(found.maps[block]).max():.3g}"
                      for block, neuron in enumerate(found.neurons[:, 0])]
    bars = [bar.get_width() for bar in figure.axes[1].patches]
    chosen = found.shown_classes()
    assert bars == [*found.probabilities[chosen], *found.removed[chosen], *found.doubled[chosen]]
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()][0].strip() in [*NAMES, "e\\u202ef"]
