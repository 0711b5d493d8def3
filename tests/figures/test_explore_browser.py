"""The explorers in a real browser: the page's network against the library's, controls by keyboard,
and faults that the comparison must notice."""

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.figures.explore import paths, pruning, similar
from neuronpath_core.figures.explore.weights import LETTERS, rounded
from tests.figures import browser, explorers
from tests.figures.test_explore_pages import data_of, page_values

ROOT = Path(__file__).resolve().parents[2]
CLOSE = 1e-3  # of a probability, what the rounding of weights may move


@pytest.fixture(scope="module")
def chromium():
    with browser.headless() as found:
        yield found


@pytest.fixture
def opened(chromium):
    """A function that opens HTML as a page of its own and fails on errors and on requests."""
    contexts, trouble = [], []

    def open_page(markup, width=800, **settings):
        context = chromium.new_context(viewport={"width": width, "height": 900}, **settings)
        contexts.append(context)
        shown = context.new_page()
        shown.on("pageerror", lambda error: trouble.append(str(error)))
        shown.on("console", lambda message: trouble.append(message.text)
                 if message.type == "error" else None)
        shown.on("request", lambda request: trouble.append(request.url)
                 if not request.url.startswith(("data:", "about:")) else None)
        shown.set_content(f'<!doctype html><html lang="en"><meta charset="utf-8">'
                          f"<title>page</title><body>{markup}</body></html>")
        return shown

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []


def probabilities(shown, key, name="probabilities"):
    return np.array(json.loads(shown.locator(f"#{key}").get_attribute(f"data-{name}")))


def switch(shown, key, factors):
    """Put every switch of the path, by what a mouse does."""
    for block, factor in enumerate(factors):
        shown.locator(f'input[name="{key}-{block}"][value="{factor:g}"]').check()


def some_factors(blocks, seed):
    rng = np.random.default_rng(seed)
    return [np.zeros(blocks), np.full(blocks, 2.0),
            *rng.choice([0.0, 1.0, 2.0], (3, blocks))]


def largest_difference(shown, key, pictures, known, method="Neuron Path", seed=0, exact=False):
    """Of all class probabilities, between the page and the library: untouched, removed, doubled and
    random switches."""
    worst = 0.0
    for place, picture in enumerate(pictures):
        shown.locator(f'input[name="{key}-picture"][value="{place}"]').check()
        name, view = next(iter(picture.views.items()))
        target = known[name].target
        target = rounded(target) if exact else target
        worst = max(worst, np.abs(probabilities(shown, key, "clean") - view.clean).max()
                    if not exact else 0.0)
        shown.locator("select").nth(1).select_option(method)
        neurons = view.paths[method].neurons
        for factors in some_factors(target.n_blocks, [seed, place]):
            switch(shown, key, factors)
            expected, _ = paths.edited_state(target, picture.values, neurons, factors)
            worst = max(worst, np.abs(probabilities(shown, key) - expected).max())
    return worst


def toys(name):
    known = explorers.networks(name)
    return known, explorers.pictures(known)


@pytest.mark.parametrize("name", explorers.RUN)
def test_the_page_computes_what_the_library_does(opened, name):
    known, pictures = toys(name)
    shown = opened(paths.path_explorer_html(known, pictures, "toy"))
    worst = largest_difference(shown, "toy", pictures, known, "Random")
    assert 0 < worst < CLOSE


def test_it_is_exact_but_for_the_rounding(opened):
    """With pictures and weights that are rounded already, the two differ by float64 alone."""
    from dataclasses import replace

    known, pictures = toys("avg")
    data = data_of(paths.path_explorer_html(known, pictures, "toy"))
    known = {key: replace(own, target=rounded(own.target)) for key, own in known.items()}
    pictures = [replace(picture, values=torch.from_numpy(page_values(
        each, picture.values.numel())).reshape(picture.values.shape)) for picture, each in zip(pictures, data["pictures"], strict=True)]
    markup = paths.path_explorer_html(explorers.networks("avg"), pictures, "toy")
    assert largest_difference(opened(markup), "toy", pictures, known, exact=True) < 1e-4


FAULTS = {
    "a weight": lambda text: re.sub(
        r'(data-network="[^"]*">.{400})(..)',
        lambda found: found[1] + ("_A" if found[2] != "_A" else "AA"), text, count=1),
    "positions": lambda text: text.replace("return add(stream, this.positions)", "return stream"),
    "a switch that does nothing": lambda text: text.replace("*= factor", "*= 1"),
    "other tokens": lambda text: text.replace('=== "cls" ? [0, 1]', '=== "cls" ? [1, 2]'),
    "another activation function": lambda text: text.replace("0.5 * x * (1 + erf(x / Math.SQRT2))",
                                                             "Math.max(0, x)"),
    "the wrong neuron": lambda text: text.replace("neurons[t * hidden + neuron] *=",
                                                  "neurons[t * hidden + (neuron + 1) % hidden] *="),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_noticed(opened, fault):
    known, pictures = toys("cls")
    markup = paths.path_explorer_html(known, pictures, "toy")
    broken = FAULTS[fault](markup)
    assert broken != markup
    assert largest_difference(opened(broken), "toy", pictures, known, "Random") > CLOSE


def test_the_stored_page_against_the_trained_networks(opened):
    """The chapter's own explorer: every picture, as it stands in the notebook."""
    nb = nbformat.read(ROOT / "notebooks" / "18_explore.ipynb", 4)
    markup, = [output["data"]["text/html"] for cell in nb.cells if cell.cell_type == "code"
               for output in cell.outputs
               if 'id="path-explorer"' in output.get("data", {}).get("text/html", "")]
    data, shown = data_of(markup), opened(markup)
    studies = {}
    for place, picture in enumerate(data["pictures"]):
        name, views = next(iter(picture["views"].items()))
        profile, _, model = name.partition(" ")
        target = studies.setdefault(profile, npc.Study(profile)).target(model)
        settings = data["networks"][name]["settings"]
        shape = (settings["channels"], settings["side"], settings["side"])
        values = torch.from_numpy(page_values(picture, int(np.prod(shape)))).reshape(shape)
        shown.locator(f'input[name="path-explorer-picture"][value="{place}"]').check()
        method = data["methods"][place % len(data["methods"])][0]
        shown.locator("select").nth(1).select_option(method)
        neurons = np.array(views["paths"][method]["neurons"])
        for number, factors in enumerate(some_factors(len(neurons), place)[:3]):
            if number < 2:
                shown.get_by_role("button", name=("Remove", "Double")[number]).click()
            else:
                switch(shown, "path-explorer", factors)
            expected, activations = paths.edited_state(target, values, neurons, factors)
            found = probabilities(shown, "path-explorer")
            assert np.abs(found - expected).max() < CLOSE, picture["name"]
            cells = shown.locator(".np-neurons tbody tr td:nth-child(3)").all_inner_texts()
            np.testing.assert_allclose([float(text.replace("\u2212", "-")) for text in cells],
                                       activations, atol=0.02)


# --- the controls ---


def test_everything_by_keyboard(opened):
    known, pictures = toys("cls")
    shown = opened(paths.path_explorer_html(known, pictures, "toy"))
    clean = probabilities(shown, "toy", "clean")
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.name") == "toy-picture"
    shown.keyboard.press("ArrowRight")
    other = probabilities(shown, "toy", "clean")
    assert np.abs(other - clean).max() > 1e-6
    np.testing.assert_allclose(other, pictures[1].views["toys cls"].clean, atol=CLOSE)
    # to the first neuron's switch, past the two choices and the three buttons
    for _ in range(6):
        shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.name") == "toy-0"
    outline = shown.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    shown.keyboard.press("ArrowRight")
    path = pictures[1].views["toys cls"].paths["Neuron Path"].neurons
    expected, _ = paths.edited_state(known["toys cls"].target, pictures[1].values, path,
                                     np.array([0.0, 1.0, 1.0]))
    np.testing.assert_allclose(probabilities(shown, "toy"), expected, atol=CLOSE)
    status = shown.locator("#toy [role=status]")
    assert "1 off" in status.inner_text()
    label = pictures[1].label
    assert f"{probabilities(shown, 'toy')[label]:.3f}" in status.inner_text()


def test_methods_stand_side_by_side_and_the_true_class_above_the_switches(opened):
    """What each whole path's removal leaves of the true class, whatever is switched; and a bar of
    it as it is now, above the switches on a telephone too."""
    known, pictures = toys("cls")
    shown = opened(paths.path_explorer_html(known, pictures, "toy"), width=390)
    for place, picture in enumerate(pictures):
        shown.locator(f'input[name="toy-picture"][value="{place}"]').check()
        view, label = picture.views["toys cls"], picture.label
        wanted = [view.paths[method].removed[label] for method in explorers.METHODS]
        np.testing.assert_allclose(probabilities(shown, "toy", "compared"), wanted, atol=CLOSE)
        rows = shown.locator(".np-compared tbody tr")
        assert rows.locator("th").all_inner_texts() == list(explorers.METHODS)
        now = shown.locator(".np-own tbody .np-number").first
        for button, expected in (("Remove", wanted[0]), ("Double", view.paths["Neuron Path"].doubled[
                label])):
            shown.get_by_role("button", name=button).click()
            assert float(now.inner_text()) == pytest.approx(expected, abs=2 * CLOSE)
        found = rows.locator("td:nth-child(3)").all_inner_texts()
        np.testing.assert_allclose([float(text) for text in found], wanted, atol=2 * CLOSE)
    own, switches = (shown.locator(name).bounding_box() for name in (".np-own", ".np-neurons"))
    assert own["y"] + own["height"] < switches["y"] and own["x"] + own["width"] <= 390


def test_buttons_and_bars(opened):
    known, pictures = toys("cls")
    shown = opened(paths.path_explorer_html(known, pictures, "toy"))
    view = pictures[0].views["toys cls"]
    for name, values in (("Remove the path", view.paths["Neuron Path"].removed),
                         ("Double the path", view.paths["Neuron Path"].doubled),
                         ("All on", view.clean)):
        shown.get_by_role("button", name=name).click()
        found = probabilities(shown, "toy")
        np.testing.assert_allclose(found, values, atol=CLOSE)
        written = shown.locator(".np-bars tbody tr td:nth-child(3)").all_inner_texts()
        assert written == [f"{value:.3f}" for value in found]
        widths = shown.locator(".np-bars .np-fill").evaluate_all("all => all.map((bar) => bar.style.width)")
        np.testing.assert_allclose([float(width.rstrip("%")) for width in widths], 100 * found,
                                   atol=1e-3)
        states = {"Remove the path": "0", "Double the path": "2", "All on": "1"}
        assert shown.locator(f".np-neurons input[value='{states[name]}']:checked").count() == 3


def test_another_network_of_the_same_picture(opened):
    known = explorers.networks("cls", "avg")
    pictures = explorers.pictures(known)
    shown = opened(paths.path_explorer_html(known, pictures, "toy"))
    shown.get_by_label("Network", exact=True).select_option("toys avg")
    np.testing.assert_allclose(probabilities(shown, "toy", "clean"),
                               pictures[0].views["toys avg"].clean, atol=CLOSE)


def test_two_explorers_on_one_page_do_not_meet(opened):
    known, pictures = toys("cls")
    shown = opened(paths.path_explorer_html(known, pictures, "one")
                   + paths.path_explorer_html(known, pictures, "two"))
    shown.locator("#two").get_by_role("button", name="Remove the path").click()
    before, after = probabilities(shown, "one"), probabilities(shown, "two")
    np.testing.assert_allclose(before, pictures[0].views["toys cls"].clean, atol=CLOSE)
    assert np.abs(before - after).max() > 1e-6


def test_the_slider_shows_the_table(opened):
    table = explorers.accuracies()
    shown = opened(pruning.pruning_html(table, explorers.WHOLE, 16, "neuron path", "20 images",
                                        "slider"))
    shown.get_by_label("Pictures", exact=True).select_option("shapes")
    shown.get_by_label("Mask", exact=True).select_option("own class")
    shown.get_by_label("Zeroed at", exact=True).select_option("all tokens")
    slider = shown.locator("#slider input[type=range]")
    assert slider.get_attribute("aria-valuetext") == "5 of 16 neurons per block"
    slider.focus()
    shown.keyboard.press("Home")
    for place, top in enumerate((1, 5, 30)):
        own = table[(table["data"] == "shapes") & (table["mask"] == "own class")
                    & (table["tokens"] == "all tokens") & (table["top"] == top)]
        own = own.sort_values("value", ascending=False)
        assert slider.get_attribute("aria-valuetext") == f"{top} of 16 neurons per block"
        rows = shown.locator(".np-live .np-bars tbody tr")
        assert rows.locator("th").all_inner_texts() == own["kept"].tolist()
        assert rows.locator("td:nth-child(3)").all_inner_texts() == [f"{value:.2f}" for value
                                                                     in own["value"].round(4)]
        number = own["kept"].tolist().index("neuron path") + 1
        assert f"number {number} of 2" in shown.locator("#slider [role=status]").inner_text()
        if place < 2:
            shown.keyboard.press("ArrowRight")


def test_the_slider_tells_ties(opened):
    table = explorers.accuracies()

    def status(**values):
        own = table.assign(value=[values.get(kept, 0.5) for kept in table["kept"]])
        return opened(pruning.pruning_html(own, explorers.WHOLE, 16, "neuron path", "20 images",
                                           "slider")).locator("#slider [role=status]").inner_text()

    assert status().endswith("all 2 ways to choose are equal.")
    assert status(random=0.7).endswith("number 2 of 2 ways to choose.")


def test_classes_in_the_order_of_their_similarity(opened):
    own = explorers.similarity(count=12)
    shown = opened(similar.similarity_html({"toys": own, "others": explorers.similarity(4)},
                                           "classes"))
    shown.get_by_label("Class", exact=True).select_option("class 3")
    order = sorted((other for other in range(12) if other != 3), key=lambda c: -own.similarity[3, c])
    rows = shown.locator(".np-live .np-bars tbody tr th").all_inner_texts()
    assert rows == [own.classes[other] for other in (*order[:8], order[-1])]
    shown.get_by_label("Pictures", exact=True).select_option("others")
    assert shown.locator(".np-live .np-bars tbody tr").count() == 3


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_page(opened, width):
    known, pictures = toys("cls")
    everything = (paths.path_explorer_html(known, pictures, "toy")
                  + similar.similarity_html({"toys": explorers.similarity()}, "classes")
                  + pruning.pruning_html(explorers.accuracies(), explorers.WHOLE, 16, "neuron path",
                                         "20 images", "slider"))
    shown = opened(everything, width)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    small = shown.evaluate("""[...document.querySelectorAll('.np-live *')].filter(
        (each) => each.childNodes.length && [...each.childNodes].some((node) => node.nodeType === 3
        && node.data.trim()) && parseFloat(getComputedStyle(each).fontSize) < 10).length""")
    assert small == 0


def test_without_a_script_the_tables_stand_there(chromium):
    known, pictures = toys("cls")
    context = chromium.new_context(java_script_enabled=False)
    shown = context.new_page()
    shown.set_content(paths.path_explorer_html(known, pictures, "toy"))
    assert shown.locator("table caption").first.is_visible()
    assert shown.locator("td", has_text=f"{pictures[0].views['toys cls'].clean[pictures[0].label]:.3f}"
                         ).first.is_visible()
    assert shown.locator("input, select, button").count() == 0
    context.close()


def test_the_letters_are_those_of_the_script():
    from neuronpath_core.figures.explore.page import source

    assert f'const LETTERS = "{LETTERS}";' in source("vit.js")


def test_weights_in_a_file_are_loaded_when_the_explorer_is_in_sight(chromium, tmp_path):
    """As in the built book: opened from disk, with the weights beside the page."""
    from neuronpath_core.figures.explore.page import take_out_networks

    known, pictures = toys("cls")
    folder = tmp_path / "notebooks"
    folder.mkdir()
    markup = paths.path_explorer_html(known, pictures, "toy")
    path = folder / "page.html"
    path.write_text(f'<meta charset="utf-8"><div style="height:3000px"></div>{markup}', encoding="utf-8")
    before = len(path.read_text(encoding="utf-8"))
    take_out_networks(tmp_path)
    file, = (tmp_path / "_images").glob("network-*.js")
    assert before - len(path.read_text(encoding="utf-8")) > 0.95 * file.stat().st_size
    shown, asked, trouble = chromium.new_page(), [], []
    shown.on("request", lambda request: asked.append(request.url))
    shown.on("pageerror", lambda error: trouble.append(str(error)))
    shown.goto(path.as_uri())
    shown.wait_for_timeout(300)
    assert asked == [path.as_uri()]
    # until then the tables stand there
    assert shown.locator("#toy .np-static table").is_visible()
    shown.locator("#toy").scroll_into_view_if_needed()
    shown.wait_for_selector("#toy[data-probabilities]")
    assert asked == [path.as_uri(), file.as_uri()]
    np.testing.assert_allclose(probabilities(shown, "toy"), pictures[0].views["toys cls"].clean,
                               atol=CLOSE)
    assert trouble == []
    shown.close()
