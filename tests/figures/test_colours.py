"""One code of colours and marks: the same in every figure, whatever else is drawn."""

import itertools
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

from neuronpath_core import figures
from neuronpath_core.explanations.page import BARS
from neuronpath_core.figures import colours
from neuronpath_core.stats.labels import method_labels
from tests import figure_tables as small
from tests.figure_tables import panels
from tests.figures.test_figures import CALLS

MODELS = ("tiny-B-16", "tiny-B-32", "tiny-L-32", "tiny-MAE-B-16")

# of which a model or a method is seen to be in the legend
OF_MODELS = ("score_dots", "lead_forest", "defect_effects", "pruning_curves", "pruning_criteria",
             "deviation_dots", "half_curves", "site_dots", "replacement_dots", "search_speed")


@pytest.fixture(autouse=True)
def without_a_screen():
    plt.switch_backend("agg")


def test_a_model_looks_the_same_whichever_others_are_drawn():
    whole = colours.looks(MODELS)
    assert len({look.colour for look in whole.values()}) == len(
        {look.mark for look in whole.values()}) == 4
    for count in (1, 2, 3, 4):
        for some in itertools.permutations(MODELS, count):
            assert colours.looks(some) == {name: whole[name] for name in some}
    assert colours.looks(["ViT-B-16"])["ViT-B-16"] == whole["tiny-B-16"]


def test_names_that_are_not_in_the_code_take_what_is_free():
    found = colours.looks(["mine", "tiny-B-16", "yours", "timm/vit_base_patch16"])
    assert found["tiny-B-16"] == colours.looks(["tiny-B-16"])["tiny-B-16"]
    assert len({look.colour for look in found.values()}) == 4
    # two of one end: the first has its look
    twice = colours.looks(["tiny-B-16", "ViT-B-16"])
    assert twice["tiny-B-16"] == found["tiny-B-16"] != twice["ViT-B-16"]
    types = (colours.VERMILION, colours.BLUE)
    assert not {look.colour for look in colours.looks(["staged", "joint"], types).values()
                } & set(types)
    many = colours.looks(map(str, range(25)))
    assert len(many) == 25 and {look.colour for look in many.values()} == set(colours.PALETTE)


def test_a_method_looks_the_same_however_it_is_capitalised():
    every = colours.looks(method_labels().values())
    assert every["Neuron Path"].colour == colours.VERMILION
    assert every["Random"].colour == every["Matched Random"].colour == colours.GREY
    assert len(set(every.values())) == len(every)
    some = colours.looks(["gradient × activation", "neuron path", "JVP"])
    assert some["neuron path"] == every["Neuron Path"]
    assert some["gradient × activation"] == every["Gradient × Activation"]
    assert some["JVP"].colour not in {some[name].colour for name in list(some)[:2]}
    assert colours.looks(["matched random neurons"])[
        "matched random neurons"] == every["Matched Random"]


def test_data_are_told_by_how_a_mark_is_filled():
    pairs = [(data, model) for data in ("digits", "shapes") for model in MODELS]
    found, alone = colours.cell_looks(pairs), colours.looks(MODELS)
    assert {data: look.fill for (data, _), look in found.items()} == {"digits": "full",
                                                                      "shapes": "none"}
    assert all(found["digits", model] == alone[model] for model in MODELS)
    # as they stand in a legend, either way round
    for words in ("{1}, {0}", "{0}, {1}"):
        named = colours.looks(["planted", *(words.format(*pair) for pair in pairs)])
        assert {pair: named[words.format(*pair)] for pair in pairs} == found
        assert named["planted"].colour not in {look.colour for look in alone.values()}


def test_halves_of_a_block_and_what_is_dealt_have_their_colours():
    found = colours.looks(["shuffled labels", "attention", "FFN", "tiny-B-16"])
    assert found["shuffled labels"].colour == colours.GREY
    assert len({look.colour for look in found.values()}) == 4


def test_edits_have_their_colours_on_pages_too():
    assert BARS == colours.EDITS


def test_the_glossary_says_what_models_look_like():
    words = {colours.BLUE: "blue", colours.ORANGE: "orange", colours.GREEN: "green",
             colours.PINK: "pink", "o": "disc", "s": "square", "D": "diamond", "^": "triangle"}
    root = Path(__file__).resolve().parents[2]
    said = " ".join((root / "book" / "glossary.md").read_text(encoding="utf-8").split())
    for model, look in colours.looks(MODELS).items():
        assert re.search(f"{model} (is )?an? {words[look.colour]} {words[look.mark]}", said)


def _drawn(figure, model):
    """Colours and marks of all curves and points that a legend calls by a model."""
    return {(to_hex(line.get_color()), line.get_marker(), line.get_fillstyle()) for axis in panels(figure)
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
            if model in label.replace(",", "").split()
            for line in [handle.lines[0] if hasattr(handle, "lines") else handle]}


def _of(table, models):
    """A table with the rows of its first model for each of these."""
    first = table[table["model"] == table["model"].iloc[0]]
    return pd.concat([first.assign(model=model) for model in models], ignore_index=True)


@pytest.mark.parametrize("name", CALLS)
def test_no_figure_gives_a_model_or_a_method_another_look(name):
    figure, seen = CALLS[name](), 0
    shown = [pair for axis in figure.axes for pair in zip(*axis.get_legend_handles_labels(),
                                                          strict=True)]
    shown += [pair for legend in figure.legends for pair in
              zip(legend.legend_handles, [text.get_text() for text in legend.texts], strict=True)]
    for handle, label in shown:
        line = handle.lines[0] if hasattr(handle, "lines") else handle
        if not isinstance(line, Line2D) or (known := colours._known(colours._parted(label)[0])) is None:
            continue
        assert to_hex(line.get_color()) == known[0], label
        assert line.get_marker() in (known[1], "None", None), label
        seen += 1
    assert seen or name not in OF_MODELS


def _scores():
    return pd.DataFrame({"data": "digits", "model": "tiny-B-16", "score": ["one", "other"],
                         "value": [0.1, 0.2]})


def _of_one_data_set():
    table = small.losses_by_replacement()
    return table[table["data"] == "one"]


@pytest.mark.parametrize("models", [MODELS, MODELS[::-1], MODELS[2:]])
@pytest.mark.parametrize("draw, rows", [
    (figures.integrand_curves, small.curvature),
    (lambda table: figures.score_dots(table, "x"), _scores),
    (figures.faithfulness_dots, small.places_of_paths),
    (lambda table: figures.replacement_dots(table, "x"), _of_one_data_set)])
def test_figures_keep_to_the_code(draw, rows, models):
    figure, code = draw(_of(rows(), models)), colours.looks(MODELS)
    for model in models:
        assert _drawn(figure, model) == {code[model]}
