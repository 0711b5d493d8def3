"""The explorers as files: whole without a script, nothing from a network, safe whatever names say,
and a widget that asks the library."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

import neuronpath_core as npc
from neuronpath_core.figures.explore import hero, page, paths, pruning, similar
from neuronpath_core.figures.explore.weights import unpacked_rows
from tests.figures import explorers
from tests.figures.test_picker import Page

ODD = "</script><b>&\"'"


@pytest.fixture(scope="module")
def known():
    return explorers.networks("cls", "avg")


@pytest.fixture(scope="module")
def pictures(known):
    return explorers.pictures(known)


@pytest.fixture(scope="module")
def markups(known, pictures):
    return {
        "paths": paths.path_explorer_html(known, pictures, "the-paths"),
        "similar": similar.similarity_html({"toys": explorers.similarity()}, "the-classes"),
        "pruning": pruning.pruning_html(explorers.accuracies(), explorers.WHOLE, 16, "neuron path",
                                        "20 images", "the-slider")}


def data_of(markup):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', markup,
                                re.DOTALL)[1])


@pytest.mark.parametrize("name", ["paths", "similar", "pruning"])
def test_nothing_is_asked_for_and_everything_is_closed(markups, name):
    found = Page(markups[name])
    assert not found.open
    scripts = found.all("script")
    assert all("src" not in attributes for attributes in scripts)
    assert not found.all("link")
    for attributes in found.all("img"):
        assert attributes["src"].startswith("data:image/png;base64,") and "alt" in attributes
    bare = re.sub(r"data:image/png;base64,[^\"]*|<script type=\"text/plain\".*?</script>", "",
                  markups[name]).replace("http://www.w3.org/", "")  # names of spaces, not addresses
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp|import\(|//[a-z]", bare)


@pytest.mark.parametrize("name", ["paths", "similar", "pruning"])
def test_without_a_script_there_are_tables_with_captions_and_headers(markups, name):
    markup = re.sub(r"<script.*?</script>", "", markups[name], flags=re.DOTALL)
    found = Page(markup)
    tables = len(found.all("table"))
    assert tables and len(found.all("caption")) == tables
    assert {attributes["scope"] for attributes in found.all("th")} == {"col", "row"}
    assert not any("hidden" in attributes for _, attributes in found.elements)
    # and regions that scroll are reached by keyboard and have a name
    for attributes in found.all("div"):
        if attributes.get("class") == "np-region":
            assert attributes["tabindex"] == "0" and attributes["aria-label"]


def test_the_static_tables_have_the_librarys_numbers(known, pictures, markups):
    text = Page(markups["paths"]).text
    for picture in pictures:
        for view in picture.views.values():
            for path in view.paths.values():
                for values in (view.clean, path.removed, path.doubled):
                    assert f"{values[picture.label]:.3f}" in text
    own = explorers.similarity()
    text = Page(markups["similar"]).text
    for index, name in enumerate(own.classes):
        others = np.delete(np.arange(5), index)
        best = others[own.similarity[index, others].argmax()]
        assert f"{name}{own.classes[best]} {own.similarity[index, best]:.2f}," in text


def test_the_data_are_those_that_were_given(known, pictures, markups):
    data = data_of(markups["paths"])
    assert [each["label"] for each in data["pictures"]] == [each.label for each in pictures]
    for each, picture in zip(data["pictures"], pictures, strict=True):
        values = page_values(each, picture.values.numel())
        np.testing.assert_allclose(values, picture.values.numpy().ravel(),
                                   atol=each["largest"] / 16000)
        for key, view in picture.views.items():
            for method, path in view.paths.items():
                assert each["views"][key]["paths"][method]["neurons"] == path.neurons.tolist()
    rows = pd.DataFrame(data_of(markups["pruning"])["rows"])
    np.testing.assert_allclose(rows["value"], explorers.accuracies()["value"], atol=1e-4)


def page_values(each, count):
    """A picture's values, as the page's network sees them."""
    return unpacked_rows(each["values"], count, each["largest"])[0]


def test_only_the_wanted_networks_are_written(known, pictures):
    markup = paths.path_explorer_html(known, pictures, "one", on_page=["toys avg"])
    assert 'data-network="toys avg"' in markup and "toys cls" not in markup


def test_odd_names_stay_names(known, pictures):
    from dataclasses import replace

    odd = [replace(picture, name=ODD) for picture in pictures]
    markup = paths.path_explorer_html(known, odd, "odd")
    found = Page(markup)
    assert not found.all("b") and data_of(markup)["pictures"][0]["name"] == ODD
    table = explorers.accuracies().assign(kept=ODD)
    table = table.drop_duplicates(["data", "mask", "tokens", "top"])
    markup = pruning.pruning_html(table, explorers.WHOLE, 16, ODD, ODD, "odd")
    assert not Page(markup).all("b") and data_of(markup)["path"] == ODD


def test_the_same_page_every_time(known, pictures, markups):
    assert paths.path_explorer_html(known, pictures, "the-paths") == markups["paths"]


@pytest.mark.parametrize("key", ["", "a b", "1", 'a"', "a<"])
def test_a_key_that_a_page_cannot_use(key):
    with pytest.raises(ValueError, match="accepted: letters, digits and hyphens"):
        similar.similarity_html({"toys": explorers.similarity()}, key)


def test_nothing_to_explore(known, pictures):
    with pytest.raises(ValueError, match="at least one picture"):
        paths.path_explorer_html(known, [], "none")
    with pytest.raises(ValueError, match="a network that sees it"):
        paths.path_explorer_html(known, pictures, "none", on_page=["another"])
    with pytest.raises(ValueError, match="networks that are not there: toys avg; accepted: toys cls"):
        paths.check_explored({"toys cls": known["toys cls"]}, pictures)
    with pytest.raises(ValueError, match="the same methods"):
        paths.check_explored(known, [*pictures, explorers_without_random(pictures[0])])
    with pytest.raises(ValueError, match="at least one set"):
        similar.similarity_html({}, "none")
    with pytest.raises(ValueError, match="accepted: rows of data, mask"):
        pruning.pruning_html(explorers.accuracies().drop(columns="mask"), {}, 1, "", "", "none")
    with pytest.raises(ValueError, match="do not fit 4 classes"):
        similar.ClassSimilarity(tuple("abcd"), np.eye(5), [], 1)


def explorers_without_random(picture):
    from dataclasses import replace

    return replace(picture, views={
        key: replace(view, paths={"Neuron Path": view.paths["Neuron Path"]})
        for key, view in picture.views.items()})


# --- what a state is, by the library ---


@pytest.mark.parametrize("name", explorers.RUN)
def test_whole_paths_as_edit_has_them(name):
    key = f"toys {name}"
    network = explorers.networks(name)[key]
    picture, = explorers.pictures({key: network}, 1)
    neurons = picture.views[key].paths["Random"].neurons
    image, path = picture.values[None], torch.from_numpy(neurons)[None]
    for factor in (0.0, 2.0, 0.5):
        found, _ = paths.edited_state(network.target, picture.values, neurons,
                                      np.full(len(neurons), factor))
        with npc.edit(network.target, path, factor), torch.no_grad():
            expected = network.target(image).softmax(-1)[0].numpy()
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert factor == 1 or np.abs(found - picture.views[key].clean).max() > 1e-6


def test_a_single_neuron_of_a_path_as_if_it_were_alone():
    network = explorers.networks("cls")["toys cls"]
    picture, = explorers.pictures({"toys cls": network}, 1)
    neurons, factors = picture.views["toys cls"].paths["Random"].neurons, np.array([1.0, 0.0, 1.0])
    found, activations = paths.edited_state(network.target, picture.values, neurons, factors)
    # by a hook of our own on the second block
    fc2 = network.target.model.blocks[1].mlp.fc2
    seen = {}

    def switch(_module, inputs):
        value = inputs[0].clone()
        seen["before"] = float(value[0, 0, neurons[1]])
        value[:, 0, neurons[1]] = 0
        return (value,)

    handle = fc2.register_forward_pre_hook(switch)
    with torch.no_grad():
        expected = network.target.model(picture.values[None]).softmax(-1)[0].numpy()
    handle.remove()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert activations[1] == 0 and seen["before"] != 0


# --- the widget ---


def test_the_widget_asks_the_library(known, pictures):
    pytest.importorskip("ipywidgets")
    box = paths.path_explorer_widget(known, pictures)
    choice, model, method, switches, shown = box.children
    assert [value for _, value in model.options] == ["toys cls", "toys avg"]
    for factor in ("off", "×2"):
        for switch in switches.children:
            switch.value = factor
        path = pictures[0].views["toys cls"].paths["Neuron Path"]
        whole = {"off": path.removed, "×2": path.doubled}[factor]
        for value in whole:
            assert f"<td>{value:.3f}</td>" in shown.value
    choice.value, method.value, model.value = 1, "Random", "toys avg"
    own = pictures[1].views["toys avg"].paths["Random"].doubled
    assert all(f"<td>{value:.3f}</td>" in shown.value for value in own)


def test_both_views_are_one_output(known, pictures, monkeypatch):
    pytest.importorskip("ipywidgets")
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append(bundle))
    paths.explore_paths(known, pictures, "both")
    bundle, = shown
    assert set(bundle) == {"text/plain", "text/html", page.WIDGET}
    assert bundle["text/plain"] == "an explorer of the paths of 2 pictures"


# --- the figure ---


def stories(**changes):
    rng = np.random.default_rng(0)
    given = {"title": "toys: a", "pixels": rng.integers(0, 256, (8, 8), dtype=np.uint8), "patch": 4,
             "activations": rng.normal(size=(3, 16)), "neurons": np.array([2, 0, 15]),
             "class_name": "a", "clean": 0.5, "removed": 0.25, "doubled": 0.75}
    return hero.Story(**{**given, **changes})


def test_the_hero_figure_says_what_was_measured():
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    figure = hero.hero_figure([stories(), stories(title="toys: b", pixels=pixels, removed=0.125)])
    words = " ".join(text.get_text() for text in figure.findobj(Text))
    for number in ("50.0 %", "25.0 %", "75.0 %", "12.5 %", "4 tokens", "toys: b"):
        assert number in words
    line = next(line for line in figure.axes[1].lines if line.get_marker() == "o")
    np.testing.assert_array_equal(line.get_ydata(), [2, 0, 15])
    widths = [bar.get_width() for bar in figure.axes[5].patches]
    assert widths == [0.5, 0.125, 0.75]
    assert figure.get_size_inches()[0] == 7.0
    sizes = [text.get_fontsize() for axis in figure.axes
             for text in (*axis.texts, *axis.get_xticklabels(), axis.title)]
    assert min(sizes) >= 7.5
    assert len(figure.axes) <= 6


def test_the_hero_figure_of_narrow_screens_says_the_same():
    wide, narrow = (hero.hero_figure([stories(), stories(title="toys: b", removed=0.125)],
                                     narrow=own) for own in (False, True))
    bars, below = ([[bar.get_width() for bar in axis.patches] for axis in figure.axes
                    if axis.patches] for figure in (wide, narrow))
    assert bars == below == [[0.5, 0.25, 0.75], [0.5, 0.125, 0.75]]
    assert narrow.get_size_inches()[0] == 3.5
    lefts = {round(axis.get_subplotspec().get_geometry()[1]) for axis in narrow.axes}
    assert lefts == {1}  # one column
    sizes = [text.get_fontsize() for axis in narrow.axes
             for text in (*axis.texts, *axis.get_xticklabels(), axis.title)]
    assert min(sizes) >= 7.5


def test_stories_that_do_not_fit():
    with pytest.raises(ValueError, match="at least one picture's story"):
        hero.hero_figure([])
    with pytest.raises(ValueError, match="patches of 3 pixels do not fit a picture of 8 × 8"):
        stories(patch=3)
    with pytest.raises(ValueError, match="a path of 2 neurons does not fit 3 blocks"):
        stories(neurons=np.array([1, 2]))
