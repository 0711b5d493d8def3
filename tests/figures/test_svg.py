"""The SVG of a figure: the same in every run, its ink left to the page, its colours not."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn as sns

from neuronpath_core import figures
from neuronpath_core.figures.style import WIDTH, styled
from neuronpath_core.figures.svg import with_ink


@pytest.fixture(scope="module")
def svg() -> str:
    shares = pd.DataFrame([{"model": model, "block": block, "value": 0.1, "low": 0.05, "high": 0.2}
                           for model in ("A", "B") for block in range(1, 13)])
    first, again = (figures.knowledge_blocks(shares, finding="A < B & so on")._repr_svg_()
                    for _ in range(2))
    assert first == again
    return first


def test_it_is_one_element_with_its_finding_as_title(svg):
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg") and root[0].text == "A < B & so on"
    assert not svg.count("<style") and not svg.count("<metadata") and not svg.count("<?xml")


def test_letters_are_letters(svg):
    words = [node.text for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")]
    assert "share of knowledge neurons" in words and "A < B & so on" in words


def test_no_grey_is_fixed_and_colours_are(svg):
    bare = re.sub(r"var\([^)]*\)", "", svg)
    assert not re.search(r"#([0-9a-f]{2})\1\1\b", bare)
    assert "var(--np-ink-26, #262626)" in svg
    assert "#0173b2" in bare  # the first bar's colour


def test_with_ink_leaves_what_is_no_grey():
    assert with_ink("#262626 #26262a #aabbcc") == "var(--np-ink-26, #262626) #26262a #aabbcc"


def test_letters_on_a_heat_map_follow_the_map():
    @styled
    def draw():
        figure, axis = plt.subplots(figsize=(WIDTH, 2))
        sns.heatmap(np.array([[0.0, 1.0]]), annot=True, ax=axis, cmap="viridis", cbar=False,
                    xticklabels=["a", "b"], yticklabels=["c"])
        return figure

    texts = re.findall(r'<text style="([^"]*)"[^>]*>(?:0|1)</text>', draw()._repr_svg_())
    assert len(texts) == 2 and not any("--np-ink" in style for style in texts)


def test_the_width_of_the_page_is_672_pixels(svg):
    @styled
    def draw():
        return plt.subplots(figsize=(WIDTH, 2))[0]

    assert 'width="504pt"' in draw()._repr_svg_()


def test_labels_keep_their_digits_and_coordinates_lose_them():
    @styled
    def draw():
        figure, axis = plt.subplots(figsize=(WIDTH, 2))
        axis.plot([0, 1], [0.123456, 0.98765], label="0.67512 of it")
        axis.legend()
        return figure

    svg = draw()._repr_svg_()
    assert "0.67512 of it" in svg
    assert not re.search(r' d="[^"]*\.\d{3}', svg)
