"""The card of a neuron of a vision-language model: planted neurons come out as they were planted,
numbers are those of slow twins, and what cannot be said says why."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from bs4 import BeautifulSoup
from click.testing import CliRunner

import neuronpath_core as npc
from neuronpath_core.explanations import card_vlm_evidence
from neuronpath_core.explanations.card import Card
from neuronpath_core.explanations.card_page import fragment, page
from neuronpath_core.explanations.card_vlm import vlm_cards
from neuronpath_core.explanations.card_vlm_evidence import vlm_evidence
from neuronpath_core.explanations.card_vlm_sections import SECTIONS
from neuronpath_core.explanations.card_words import SENTENCES, TITLES
from neuronpath_core.runs import cli
from neuronpath_core.runs.card import as_text
from neuronpath_core.vlm.batches import caption_batches
from neuronpath_core.vlm.modality import Criteria, probabilities
from neuronpath_core.vlm.model import build, pixel_values, save_weights
from neuronpath_core.vlm.questions import one_each
from neuronpath_core.vlm.records import collect
from neuronpath_core.vlm.scenes import compose_many
from neuronpath_core.vlm.sequences import padded, sequence
from tests.helpers import refused, refused_command
from tests.vlm.planted import SMALL, planted_vlm, random_vlm

SCENES = compose_many("held_out", 130)  # about fifty have something red


@pytest.fixture(scope="module")
def planted():
    """Neurons that read red in patches, the word red, both, the word star, and nothing."""
    return vlm_cards(planted_vlm(), [(0, neuron) for neuron in range(5)], scenes=SCENES,
                     model_name="planted")


@pytest.fixture(scope="module")
def random():
    model = random_vlm()
    return model, vlm_evidence(model, scenes=SCENES[:24], seed=1)


def test_planted_neurons_have_their_types_words_and_explanations(planted):
    red, word, _, star, _ = planted
    assert red["modality"].numbers["best"] == "visual"
    assert "red" in red["explanation"].numbers["text"]
    assert red["explanation"].numbers["own"] > 0.8
    assert word["samples"].numbers["word"] == "red" and star["samples"].numbers["word"] == "star"
    for each in (word, star):
        assert each["samples"].numbers["word_share"] > each["samples"].numbers["word_random"] + 0.2
    first = red["cause"].numbers["values"][0]
    assert (first["kind"], first["name"], first["where"]) == ("colour", "red", "image")
    assert first["low"] > 1
    own = {row["type"]: row for row in red["modality"].numbers["types"]}
    assert own["visual"]["p"] >= own["visual"]["dealt"]


def test_what_is_of_nothing_says_so(planted):
    *_, nothing = planted
    assert nothing["unit"].numbers["dead"]
    for key in ("modality", "samples", "explanation", "cause"):
        assert nothing[key].missing.startswith("the neuron is dead here"), key
    for key in ("paths", "synthetic"):
        assert all(card[key].missing and "accepted" not in card[key].missing for card in planted)
    star = planted[3]  # one word of a caption is no textual sample
    assert star["modality"].numbers["best"] == "unknown"
    assert "unknown type" in star["explanation"].missing


def test_types_are_those_of_the_records(random):
    model, evidence = random
    records = collect(model, caption_batches(model, SCENES[:24]), top=24)
    wanted = probabilities(records, Criteria().for_patches(64))
    for block, neuron in ((0, 3), (1, 7)):
        number = 10 * block + neuron
        found, _ = SECTIONS["modality"](evidence, block, neuron)
        np.testing.assert_array_equal([row["p"] for row in found["types"]], wanted[number])
        assert sum(row["dealt"] for row in found["types"]) == pytest.approx(1)
        assert all(0.01 <= row["at_least"] <= 1 for row in found["types"])


def test_removal_is_that_of_a_whole_forward_pass(random):
    model, evidence = random
    asked = one_each(SCENES[:24])

    def probabilities_of() -> np.ndarray:
        found = []
        for scene, question in zip(SCENES[:24], asked, strict=True):
            ids = padded([sequence([(question.text, "")])])
            out = model.model(input_ids=ids, pixel_values=pixel_values([scene]).double())
            word = sequence([(question.text, question.answer)])[ids.shape[1]]
            found.append(out.logits[0, -1].softmax(-1)[word].item())
        return np.array(found)

    with torch.no_grad():
        clean = probabilities_of()
        # the same sums, in another order and padded: a few rounding errors of double precision
        np.testing.assert_allclose(evidence.answered(), clean, rtol=1e-9)
        column = model.halves["decoder"][1].down.weight[:, 4].clone()
        model.halves["decoder"][1].down.weight[:, 4] = 0
        try:
            without = probabilities_of()
        finally:
            model.halves["decoder"][1].down.weight[:, 4] = column
    found, _ = SECTIONS["removal"](evidence, 1, 4)
    assert found["probability"]["value"] == pytest.approx((without - clean).mean(), rel=1e-6)
    assert len(found["controls"]) == 2 and 4 not in found["controls"]


def test_what_is_written_is_the_value_vector_through_the_head(random):
    model, evidence = random
    found, _ = SECTIONS["writes"](evidence, 0, 2)
    vector = model.halves["decoder"][0].value_vectors[2]
    gamma = model.model.model.language_model.norm.weight
    rows = model.model.get_output_embeddings().weight * gamma
    effect = (rows @ vector).detach().numpy()
    numbers = model.processor.tokenizer.convert_tokens_to_ids(
        [row["word"] for row in found["top"]])
    np.testing.assert_allclose([row["effective"] for row in found["top"]], effect[numbers])
    cosine = F.cosine_similarity(rows[numbers[0]], vector, dim=0).item()
    assert found["top"][0]["cosine"] == pytest.approx(cosine)
    assert not any("<" in row["word"] for row in found["top"] + found["bottom"])


def test_others_are_of_the_type_and_layer_and_known_records_are_used(random, monkeypatch):
    model, evidence = random
    number = next(each for each in range(20) if evidence.kind(each) != "unknown")
    chosen = evidence.chosen(number).neurons
    assert chosen["neuron"].iloc[0] == number and chosen["neuron"].is_unique
    assert {evidence.kind(each) for each in chosen["neuron"]} == {evidence.kind(number)}
    monkeypatch.setattr(card_vlm_evidence, "collect", None)
    again = vlm_evidence(model, scenes=SCENES[:24], records=evidence.records, seed=1)
    np.testing.assert_array_equal(again.p, evidence.p)


def test_page_text_and_numbers_hold_every_section(planted):
    for card in planted:
        assert set(SECTIONS) == {each.key for each in card.sections} <= set(TITLES)
        soup = BeautifulSoup(page(card), "html.parser")
        assert not soup.find("script") and len(soup.find_all("section")) == len(SECTIONS)
        assert [each.text for each in soup.find_all("h2")] == [TITLES[key] for key in SECTIONS]
        assert len(page(card).encode()) < 200_000
        assert "Nothing here" in fragment(card) and "Pictures are left out" not in fragment(card)
        text = as_text(card)
        assert all(TITLES[key] in text for key in SECTIONS) and "nan" not in text
        numbers = json.loads(card.to_json())
        assert numbers["sections"]["unit"]["neuron"] == card.neuron
        assert Card.from_json(card.to_json(pictures=True)).to_html() == card.to_html()
    assert "most probably visual" in as_text(planted[0])
    assert as_text(planted[4]).splitlines()[1].startswith("It writes most for")


def test_the_public_name_takes_a_vision_language_model():
    model = random_vlm()
    card = npc.neuron_card(model, 1, 3, images=SCENES[:20], classes=3, model_name="tiny")
    assert (card.model, card.name) == ("tiny", "block 2, neuron 3")
    assert len(card["writes"].numbers["top"]) == 3
    assert set(SECTIONS) <= set(SENTENCES)
    scenes = SCENES[:20]
    refused(lambda: npc.neuron_card(model, 2, 0, images=scenes), "a block must be a whole number in "
            "0..1, got 2")
    refused(lambda: npc.neuron_card(model, 0, 10, images=scenes), "a neuron of block 0 of the "
            "decoder must be a whole number in 0..9, got 10")
    refused(lambda: npc.neuron_card(model, 0, 0, images=scenes[:5]), "accepted: a list of at "
            "least 19 composed scenes")
    refused(lambda: npc.neuron_card(model, 0, 0, images=torch.zeros(20, 3, 64, 64)), "accepted: a "
            "list of at least 19 composed scenes")
    refused(lambda: npc.neuron_card(model, 0, 0, images=scenes, labels=torch.zeros(20)),
            "labels cannot be", "accepted: None")
    records = collect(model, caption_batches(model, scenes), top=20)
    refused(lambda: vlm_cards(model, [(0, 0)], scenes=SCENES[:21], records=records),
            "records are of 20 scenes, not of 21; accepted: records of these scenes")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    for folder in ("profiles", "neuronpath_core", "data/weights"):
        (root / folder).mkdir(parents=True)
    spec = {"kind": "llava", "weights": "data/weights/one.safetensors", "tower": SMALL[0],
            "decoder": SMALL[1]}
    (root / "profiles" / "mine.yml").write_text(yaml.safe_dump({
        "dataset": {"name": "scenes", "train_scenes": 3, "held_out_scenes": 70},
        "models": {"one": spec}}), encoding="utf-8")
    save_weights(build(3, *SMALL), root / "data" / "weights" / "one.safetensors")
    return root


def test_the_command_writes_a_page_from_stored_records(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    typed = ["card", "one", "2", "7", "--profile", "mine", "--n-images", "60", "--json", "--out",
             str(tmp_path / "cards"), "--results", str(tmp_path / "results")]
    done = CliRunner().invoke(cli.cli, typed, catch_exceptions=False)
    assert done.exit_code == 0 and "one: block 2, neuron 7" in done.output
    stem = tmp_path / "cards" / "one-block-02-neuron-0007"
    numbers = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))["sections"]
    assert stem.with_suffix(".html").is_file() and numbers["unit"]["scenes"] == 60
    assert numbers["cause"].get("missing") or numbers["cause"]["scenes"] == 24
    assert sorted(each.name for each in (tmp_path / "results").iterdir()) == ["moved", "records"]


@pytest.mark.parametrize(("arguments", "words"), [
    (("one", "3", "0"), "the decoder of one has no block 3; accepted: 1..2"),
    (("one", "2", "10"), "block 2 of one has no neuron 10; accepted: 0..9"),
    (("two", "2", "1"), "unknown model 'two'; accepted: random, one"),
    (("one", "2", "1", "--steps", "3"), "--steps is of classifiers alone; accepted: none"),
    (("one", "2", "1", "--no-paths"), "--no-paths is of classifiers alone; accepted: none"),
    (("one", "2", "1", "--n-images", "71"), "n_scenes cannot be 71; accepted")])
def test_what_the_command_refuses(root, tmp_path, monkeypatch, capsys, arguments, words):
    said = refused_command(root, monkeypatch, capsys, *("card", *arguments, "--profile", "mine",
                                                        "--results", str(tmp_path / "r")))
    assert words in said
