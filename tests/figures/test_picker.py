"""The choice among figures: complete without scripts, nothing from a network, and both views in one
output."""

import base64
import io
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pytest

from neuronpath_core.figures import picker

FRAMES = {"three": b"\x89PNG three", "<b>&\"quoted\"'": b"\x89PNG odd", "{brace}": b"\x89PNG brace"}
ALT = "Violins for class {}, <dashed> & \"plain\""


class Page(HTMLParser):
    """Elements in order, with their attributes, and the text of the page outside scripts."""

    def __init__(self, markup):
        super().__init__()
        self.elements, self.text, self.open = [], "", []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("br", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag  # every element is closed where it was opened

    def handle_data(self, data):
        self.text += "" if "script" in self.open else data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def page(frames=FRAMES, label="class", alt=ALT, key="a-key"):
    markup = picker.frames_html(frames, label, alt, key)
    return markup, Page(markup)


def test_one_figure_per_frame_with_its_image_and_alternative_text():
    _, found = page()
    assert not found.open
    assert [figure["data-name"] for figure in found.all("figure")] == list(FRAMES)
    for image, (name, png) in zip(found.all("img"), FRAMES.items(), strict=True):
        assert image["alt"] == ALT.format(name)
        head, data = image["src"].split(",")
        assert head == "data:image/png;base64" and base64.b64decode(data) == png
    assert all(f"class {name}" in found.text for name in FRAMES)  # the captions


def test_names_are_escaped():
    markup, found = page(label="<i>class</i>")
    assert not found.all("b") and not found.all("i") and not found.all("dashed")
    assert "<b>" not in markup and "<dashed>" not in markup
    assert [name for name, _ in found.elements].count("script") == 1
    _, found = page({"</script><script>alert(1)</script>": b"x"})
    assert [name for name, _ in found.elements].count("script") == 1


def test_dollar_signs_make_no_mathematics_on_a_page():
    for name, classes in (("cost $5 or $6", "np-picker tex2jax_ignore mathjax_ignore"),
                          ("plain", "np-picker")):
        _, found = page({name: b"x"})
        assert found.all("div")[0]["class"] == classes and name in found.text


def test_nothing_is_hidden_without_scripts_but_the_control():
    """The control does nothing without a script, so it alone waits for one; the figures stand one
    below the other."""
    markup, found = page()
    assert [name for name, attributes in found.elements if "hidden" in attributes] == ["label"]
    assert not re.search(r"display:\s*none|visibility:\s*hidden|<noscript|<template|<details",
                         markup)
    assert re.search(r'querySelector\("label"\)\.hidden = false', markup)


def test_the_control_is_a_labelled_range_over_all_frames():
    _, found = page()
    control, = found.all("input")
    assert {name: control[name] for name in ("type", "min", "max", "step", "value")} == {
        "type": "range", "min": "0", "max": str(len(FRAMES) - 1), "step": "1", "value": "0"}
    names = [name for name, _ in found.elements]
    assert names.index("label") < names.index("output") < names.index("input") < names.index(
        "figure")
    assert len(found.all("output")) == 1


def test_nothing_is_loaded_from_anywhere():
    markup, found = page()
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttp|import\(",
                         re.sub(r"base64,[^\"]*", "", markup))
    for _, attributes in found.elements:
        assert not {"href", "srcset", "data", "action"} & set(attributes)
        assert attributes.get("src", "data:").startswith("data:")
        assert not any(name.startswith("on") for name in attributes)


def test_two_choices_on_one_page_do_not_meet():
    (first, one), (second, other) = page(key="first-1"), page(key="second-2")
    for markup, found, key, foreign in ((first, one, "first-1", "second-2"),
                                        (second, other, "second-2", "first-1")):
        assert [attributes["id"] for _, attributes in found.elements if "id" in attributes] == [key]
        assert f'getElementById("{key}")' in markup and foreign not in markup
    # no name of the script is global
    assert re.search(r"<script>\(\(\) => \{.*\}\)\(\);</script>", first, re.DOTALL)
    assert not re.search(r"document\.query", first)


def test_the_markup_depends_on_the_frames_alone():
    assert page()[0] == page()[0] != page(dict(list(FRAMES.items())[:2]))[0]


# --- what a notebook shows ---


def drawings(count=3):
    result = {}
    for number in range(count):
        figure, axis = plt.subplots(figsize=(1, 1))
        axis.plot([0, number])
        plt.close(figure)
        result[f"no. {number}"] = figure
    return result


@pytest.fixture
def displayed(monkeypatch):
    pytest.importorskip("IPython")
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append((bundle, raw)))
    return shown


def test_the_two_views_are_one_output(displayed):
    pytest.importorskip("ipywidgets")
    figures = drawings()
    picker.pick(figures, "class", "Curve {}", "a-key")
    (bundle, raw), = displayed
    assert raw and set(bundle) == {"text/html", "text/plain",
                                   "application/vnd.jupyter.widget-view+json"}
    assert bundle["text/plain"] == "a choice of 3 figures by class"
    assert set(bundle[picker.WIDGET]) >= {"model_id", "version_major"}
    found = Page(bundle["text/html"])
    assert [image["alt"] for image in found.all("img")] == [f"Curve no. {number}"
                                                            for number in range(3)]
    pixels = [plt.imread(io.BytesIO(base64.b64decode(image["src"].split(",")[1])))
              for image in found.all("img")]
    assert not np.array_equal(pixels[0], pixels[1])
    picker.pick(figures, "class", "Curve {}", "a-key")
    # the stored page does not change from run to run
    assert displayed[1][0]["text/html"] == bundle["text/html"]


def test_the_widget_shows_the_chosen_frame():
    pytest.importorskip("ipywidgets")
    frames = {"one": b"first", "two": b"second"}
    choice, image = picker._widget(frames, "class").children
    assert choice.options == ("one",
                              "two") and choice.description == "class" and image.value == b"first"
    choice.value = "two"
    assert image.value == b"second"
    choice.value = "one"
    assert image.value == b"first"


def test_no_figure_to_choose_from(displayed):
    with pytest.raises(ValueError, match="at least one figure"):
        picker.pick({}, "class", "{}", "a-key")
    assert not displayed


def test_a_png_has_no_trace_of_the_program_that_wrote_it():
    figure, = drawings(1).values()
    png = picker._png(figure)
    assert png.startswith(b"\x89PNG\r\n") and b"Matplotlib" not in png and b"matplotlib" not in png
    assert png == picker._png(figure)


def test_a_caption_of_its_own_names_each_frame():
    found = Page(picker.frames_html(FRAMES, "class", ALT, "a-key", "Curves of class {}, <b>ever</b>"))
    assert all(f"Curves of class {name}, <b>ever</b>" in found.text for name in FRAMES)
