"""``neuronpath card`` from what is typed to files, and the cards that a study keeps."""

from __future__ import annotations

import json
import time
import warnings

import numpy as np
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner

from neuronpath_core.explanations import card_store
from neuronpath_core.explanations.card_index import most_used_cards
from neuronpath_core.explanations.card_store import CardSettings, study_cards
from neuronpath_core.runs import cli
from neuronpath_core.study.store.lock import only_writer
from neuronpath_core.study.store.parts import StoreWarning
from neuronpath_core.study.study import Study
from tests import small_study
from tests.helpers import refused, refused_command

QUICK = CardSettings(n_images=20, steps=2)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return small_study.make_study(folder)


@pytest.fixture
def study(root, tmp_path):
    return Study("digits", results=tmp_path / "results", root=root)


def files(study) -> list[str]:
    return sorted(path.name for path in (study.results_folder / "cards").glob("*/*.json"))


def test_cards_are_kept_and_read_again(study, monkeypatch):
    first = study_cards(study, "one", [(0, 3), (2, 1)], QUICK)
    assert files(study) == ["block-01-neuron-0003.json", "block-03-neuron-0001.json", "manifest.json"]
    assert first[0]["synthetic"].numbers["images"]["plain"]["models"][1]["model"] == "two"
    monkeypatch.setattr(card_store, "cards_of", lambda *_: pytest.fail("computed again"))
    before = time.process_time()
    again = study_cards(Study("digits", results=study.results, root=study.root), "one", [(2, 1), (0, 3)], QUICK)
    assert time.process_time() - before < 2
    assert [card.to_json(True) for card in again] == [card.to_json(True) for card in reversed(first)]


def test_other_settings_have_cards_of_their_own(study):
    study_cards(study, "one", [(0, 3)], QUICK)
    study_cards(study, "one", [(0, 3)], CardSettings(n_images=10, steps=0, paths=False, others=False))
    folders = list((study.results_folder / "cards").glob("one_*"))
    assert len(folders) == 2
    told = [json.loads((folder / "manifest.json").read_text())["computed_from"] for folder in folders]
    assert {each["settings"]["n_images"] for each in told} == {10, 20} and all(each["weights"] for each in told)


def test_what_a_stop_left_is_used(study, monkeypatch):
    monkeypatch.setattr(card_store, "TOGETHER", 1)
    real, done = card_store.cards_of, []

    def stopped(evidence, units):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(units)
        return real(evidence, units)

    monkeypatch.setattr(card_store, "cards_of", stopped)
    with pytest.raises(KeyboardInterrupt):
        study_cards(study, "one", [(0, 3), (1, 2), (2, 1)], QUICK)
    assert files(study) == ["block-01-neuron-0003.json", "manifest.json"]
    asked = []
    monkeypatch.setattr(card_store, "cards_of", lambda evidence, units: asked.extend(units) or real(evidence, units))
    study_cards(study, "one", [(0, 3), (1, 2), (2, 1)], QUICK)
    assert asked == [(1, 2), (2, 1)]


def test_damage_is_told_and_mended(study):
    card, = study_cards(study, "one", [(0, 3)], QUICK)
    file, = (study.results_folder / "cards").glob("*/block-*.json")
    for damage in (file.read_text()[:100], card.to_json().replace('"neuron": 3', '"neuron": 4'), ""):
        file.write_text(damage)
        with pytest.warns(StoreWarning, match="block-01-neuron-0003.json not used"):
            again, = study_cards(study, "one", [(0, 3)], QUICK)
        assert again.to_json() == card.to_json()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study_cards(study, "one", [(0, 3)], QUICK)


def test_a_second_writer_is_told(study):
    study_cards(study, "one", [(0, 3)], QUICK)
    folder, = (study.results_folder / "cards").glob("one_*")
    with only_writer(folder):
        study_cards(study, "one", [(0, 3)], QUICK)  # reading needs no lock
        refused(lambda: study_cards(study, "one", [(0, 4)], QUICK), "is being written by another process")


def test_cards_of_the_most_used_neurons(study):
    cards = most_used_cards(study, "two", QUICK, count=2)
    counts = [card["paths"].numbers["through"] for card in cards]
    neurons = study.paths("two", study.images(20, 0)).neurons.numpy()
    every = sorted((np.bincount(column) for column in neurons.T), key=lambda each: -each.max())
    assert counts[0] == every[0].max() and counts == sorted(counts, reverse=True) and len(cards) == 2


def test_units_and_settings_that_do_not_fit(study):
    refused(lambda: study_cards(study, "three", [(0, 0)]), "unknown model 'three'")
    refused(lambda: study_cards(study, "one", [(3, 0)]), "a block must be a whole number in 0..2")
    refused(lambda: study_cards(study, "one", [(0, 12)]), "a neuron must be a whole number in 0..11")
    refused(lambda: study_cards(study, "one", [(0, 0)], CardSettings(n_images=1)), "n_images must be")
    refused(lambda: study_cards(study, "one", [(0, 0)], CardSettings(n_images=10 ** 6)), "the number of images")


# --- the command ---


@pytest.fixture
def here(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.delenv("NEURONPATH_RESULTS", raising=False)
    return tmp_path


def run(here, *arguments):
    return CliRunner().invoke(cli.cli, ["card", *map(str, arguments), "--results", str(here / "results"),
                                        "--out", str(here / "pages")], catch_exceptions=False)


def test_the_command_end_to_end(here, root):
    done = run(here, "one", 2, 5, "--n-images", 20, "--steps", 2, "--json")
    assert done.exit_code == 0, done.output
    study = Study("digits", results=here / "results", root=root)
    card, = study_cards(study, "one", [(1, 5)], CardSettings(n_images=20, steps=2))
    assert "one: block 2, neuron 5" in done.output
    names = sorted(path.name for path in (here / "pages").iterdir())
    assert names == ["one-block-02-neuron-0005.html", "one-block-02-neuron-0005.json"]
    assert (here / "pages" / names[0]).read_text(encoding="utf-8") == card.to_html()
    assert json.loads((here / "pages" / names[1]).read_text(encoding="utf-8")) == json.loads(card.to_json())
    heading = BeautifulSoup(card.to_html(), "html.parser").h1.get_text()
    assert heading == "one: block 2, neuron 5"


def test_without_paths_and_others(here):
    done = run(here, "two", 1, 0, "--n-images", 10, "--steps", 0, "--no-paths", "--no-others")
    assert done.exit_code == 0 and "nothing here: no paths of these images were given" in done.output
    assert "nothing here: no image was asked for" in done.output and not (here / "results" / "paths").exists()


REFUSED = {
    "a model": (["three", "1", "0"], "unknown model 'three'; accepted: one, two"),
    "block 0": (["one", "0", "0"], "one has no block 0; accepted: 1..3"),
    "a block": (["one", "4", "0"], "one has no block 4; accepted: 1..3"),
    "a neuron": (["one", "1", "12"], "block 1 of one has no neuron 12; accepted: 0..11"),
    "no number": (["one", "first", "0"], "'first' is not a valid integer"),
    "nothing": ([], "Missing argument 'MODEL'"),
    "a profile": (["one", "1", "0", "--profile", "none"], "none"),
    "images": (["one", "1", "0", "--n-images", "1"], "n_images must be"),
    "a device": (["one", "1", "0", "--device", "toaster"], "toaster"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_one_line(case, root, tmp_path, monkeypatch, capsys):
    arguments, words = REFUSED[case]
    said = refused_command(root, monkeypatch, capsys, "card", *arguments, "--results", str(tmp_path / "r"),
                           "--out", str(tmp_path / "pages"))
    assert words in said and not (tmp_path / "r" / "cards").exists()
