"""What Chapters 27 to 30 answer on top: means over models of tables whose effects are known, and
every text that the pages name."""

from __future__ import annotations

import inspect
import re
from importlib import import_module

import nbformat
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from neuronpath_core.chapters.dissection import answers as dissection
from neuronpath_core.chapters.dissection import detectors
from neuronpath_core.chapters.key_neurons import answers as key_neurons
from neuronpath_core.chapters.key_neurons import maps
from neuronpath_core.chapters.path_meaning import answers as path_meaning
from neuronpath_core.chapters.path_meaning import concepts, measured, wiring, writes
from neuronpath_core.chapters.stimuli import answers as stimuli
from neuronpath_core.chapters.stimuli.made import BEST, PLANTED, RANDOM
from neuronpath_core.settings import RECOMMENDED
from neuronpath_core.stats.report import over_models
from neuronpath_core.study.profiles import project_root

MODELS = ("one", "two", "three")
EFFECTS = (0.1, 0.2, 0.3)  # of the models
SPAN = "+0.20 [-0.05, +0.45]"  # of a mean of three, with Student's t


def table(**columns):
    return pd.DataFrame({"data": "shapes", "model": MODELS, "value": EFFECTS, **columns})


def test_a_mean_over_models_has_students_interval():
    interval = stats.ttest_1samp(EFFECTS, 0).confidence_interval()
    assert over_models(EFFECTS) == SPAN == f"+0.20 [{interval.low:+.2f}, {interval.high:+.2f}]"
    assert over_models([20, 20], 0, "points") == "+20 points [+20, +20]"
    assert over_models([0.25, np.nan]) == "+0.25" and over_models([]) == "–"
    assert over_models([0.25], signed=False) == "0.25"


def key_neuron_texts():
    found = pd.concat([table(of=maps.KEY), table(of=maps.ALIKE).assign(value=0.5)])
    effects = pd.concat([table(against=maps.ALIKE), table(against=maps.DEALT).assign(value=-0.01)])
    return key_neurons.answers(found, effects, table(five=0.7, alike=0.5))


def test_key_neurons():
    told = key_neuron_texts()
    assert told["object key"] == "0.20" and told["object alike"] == "0.50"
    assert told["object gap"] == told["fires gap"] == SPAN and told["fires five"] == "0.70"
    assert told["own gap"] == "-0.010 [-0.010, -0.010]" and told["object models"] == "3"


def dissection_texts(order=None):
    labelled = [table(condition=f"labels by {name}", early=0.2, late=0.4, dealt=0.01, own=0.7)
                for name in dissection.NAMES.values()]
    found = pd.concat([table(condition=name, share=0.4, random=(0.3, 0.2, 0.1), dealt=0.05)
                       for name in detectors.NULLS.values()])
    both = pd.concat(labelled)
    return dissection.answers(both, both if order is None else order, found, both)


def test_dissection():
    told = dissection_texts()
    assert told["early overlap"] == "20 %" and told["late area"] == "40 %"
    assert told["rise overlap"] == told["behind area"] == told["truth gap"] == SPAN
    assert told["beyond random"] == "+20 points [-5, +45]" and told["share dealt"] == "5 %"
    assert told["models"] == told["order models"] == told["models area"] == "3"
    without = dissection_texts(pd.DataFrame())  # as digits alone have
    assert without["behind overlap"] == without["behind dealt"] == "–"


def stimuli_texts():
    rates = pd.concat([table(condition=of, measure=judge).assign(value=share)
                       for of, share in ((BEST, 0.3), (RANDOM, 0.1), (PLANTED, 0.6))
                       for judge in stimuli.JUDGES])
    effects = pd.concat([table(control=of, measure=judge) for of in (RANDOM, PLANTED)
                         for judge in stimuli.JUDGES])
    return stimuli.answers(rates, effects) | stimuli.by_steps(table(steps=40))


def test_stimuli():
    told = stimuli_texts()
    assert told["own best"] == "30.0 %" and told["transfer planted"] == "60.0 %"
    assert told["transfer lead"] == told["own planted lead"] == "+20.0 points [-4.8, +44.8]"
    assert told["models"] == "3"


def test_a_lead_is_the_difference_of_the_rates_beside_it():
    """21 - 4 was given as +16."""
    rates = pd.concat([table(condition=of, measure=judge).assign(value=share)
                       for of, share in ((BEST, 0.206), (RANDOM, 0.044), (PLANTED, 0.6))
                       for judge in stimuli.JUDGES])
    effects = pd.concat([table(control=of, measure=judge).assign(value=0.206 - 0.044)
                         for of in (RANDOM, PLANTED) for judge in stimuli.JUDGES])
    told = stimuli.answers(rates, effects)
    best, random, lead = (float(told[f"own {name}"].split()[0])
                          for name in ("best", "random", "lead"))
    assert lead == pytest.approx(best - random, abs=1e-9)


def test_recognition_after_fewer_steps():
    rows = pd.concat([table(steps=count).assign(value=share)
                      for count, share in ((40, 0.22), (10, 0.09), (20, 0.121))])
    assert stimuli.by_steps(rows) == {"fewer steps": "10, 20 and 40",
                                      "own by steps": "9.0, 12.1 and 22.0 %"}
    assert stimuli.by_steps(rows[rows["steps"] == 40])["own by steps"] == "22.0 %"


def test_intervals_above_zero_are_counted_beside_the_verdicts_of_the_permutation():
    assert stimuli.apart_by_interval(table(low=[0.0, 0.004, -0.01])) == "1 of 3"


def path_meaning_texts(scenes=True):
    written = pd.concat([
        table(measure=measure, method=method, against=against, path=0.7, other=0.5)
        for measure in (writes.WRITES, writes.DIRECTION) for method in measured.FOUND
        for against in (measured.LIKE, f"the path of {measured.LABELS[measured.ACTIVE]}")])
    wired = table(route="direct", measure=wiring.SIZE, method=RECOMMENDED, against=measured.LIKE)
    apart = pd.concat([table(measure=measure, paths=paths) for measure in ("outline", "fill", "both")
                       for paths in (concepts.OWN, f"beyond {concepts.DEALT}")]
                      + [table(measure="shared", paths=concepts.OWN),
                         table(measure="shared", paths=concepts.DEALT).assign(value=(0.7, 0.754, 0.69))])
    return path_meaning.answers(written, wired, apart if scenes else pd.DataFrame())


def test_path_meaning():
    told = path_meaning_texts()
    assert told["writes path"] == "70 %" and told["writes matched"] == "50 %"
    # with a decimal, or an interval that ends next to zero ends at -0
    assert told["writes gap"] == told["active gap"] == "+20.0 points [-4.8, +44.8]"
    # what the control lacks stands beside the lead
    assert (told["shared own"], told["shared dealt"]) == ("10 to 30 %", "69 to 75 %")
    assert told["outline gap"] == told["dealt gap"] == SPAN and told["scene models"] == "3"
    without = path_meaning_texts(scenes=False)
    assert without["fill gap"] == without["shared own"] == without["shared dealt"] == "–"


@pytest.mark.parametrize(("chapter", "texts"), [
    ("27_key_neurons", key_neuron_texts), ("28_dissection", dissection_texts),
    ("29_stimuli", stimuli_texts), ("30_path_meaning", path_meaning_texts)])
def test_every_text_that_a_page_names_is_glued(chapter, texts):
    """By the sources alone: of ``answers``, or a name that a cell of the notebook or the chapter's
    words spell."""
    book = nbformat.read(project_root() / "notebooks" / f"{chapter}.ipynb", 4)
    words, code = ("\n".join(cell.source for cell in book.cells if cell.cell_type == kind)
                   for kind in ("markdown", "code"))
    code += inspect.getsource(import_module(f"neuronpath_core.chapters.{chapter[3:]}.words"))
    named = set(re.findall(r"\{glue:text\}`([^`:]+):s`", words))
    told = set(texts())
    assert told & named
    spelt = {name for name in named - told if re.search(
        rf'"(tally |agree )?{re.escape(re.sub("^(tally|agree) ", "", name))}"', code)}
    assert named <= told | spelt, named - told - spelt
