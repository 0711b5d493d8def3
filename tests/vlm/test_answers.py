"""Words that are about to be said, and their paths: against captions, loops and hooks."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import neuronpath_core as npc
from neuronpath_core.edits import scaled
from neuronpath_core.images.shapes import COLOURS
from neuronpath_core.vlm import answer_paths, answers, colour_maps
from neuronpath_core.vlm.concepts import NAMES, concept_coverage
from neuronpath_core.vlm.model import pixel_values
from neuronpath_core.vlm.path_target import VlmTarget
from neuronpath_core.vlm.questions import DESCRIBE, FORMS
from neuronpath_core.vlm.scenes import compose_many
from neuronpath_core.vlm.words import caption, text
from tests.helpers import refused
from tests.vlm.planted import planted_vlm, random_vlm

SCENES = compose_many("held_out", 12)


@pytest.fixture(scope="module")
def vlm():
    return random_vlm()


def test_the_word_is_what_the_caption_goes_on_with():
    for kind in ("caption", "forced"):
        for case in answers.cases(SCENES, kind):
            said = text(caption(SCENES[case.scene]))
            assert case.request == DESCRIBE
            assert said.startswith(f"{case.before} {case.word} ".lstrip())


def test_the_question_and_the_caption_are_about_one_object_and_another_colour_is_absent():
    asked, told = (answers.cases(SCENES, kind) for kind in ("question", "caption"))
    assert [case.word for case in asked] == [case.word for case in told]
    for case in asked:
        scene = SCENES[case.scene]
        thing, = [each for each in scene.things
                  if case.request == FORMS["colour"].format(each.outline)]
        assert case.word == case.colour == thing.colour and case.before == ""
        assert case.other in COLOURS
        assert case.other not in {each.colour for each in scene.things}
    refused(lambda: answers.cases(SCENES, "poem"), "accepted: question, caption, forced")


def test_forced_words_are_those_that_nothing_else_follows():
    after = answers.followers()
    assert after["the", "image"] == {"shows", "."} and after["behind", "it"] == {"is"}
    assert len(after["there", "is"]) > 1
    for scene in SCENES:
        words = caption(scene)
        for place in answers.forced_places(words):
            assert not words[place].concept and words[place].text in after[
                words[place - 2].text, words[place - 1].text]
    # in other scenes too no other word follows, in nearly all places
    right = total = 0
    for scene in compose_many("held_out", 60, first=200):
        words = [word.text for word in caption(scene)]
        for one, two, three in zip(words, words[1:], words[2:], strict=False):
            if len(after.get((one, two), ())) == 1:
                total, right = total + 1, right + (three in after[one, two])
    assert right == total > 100


def test_paths_of_cases_are_those_of_single_searches(vlm):
    own = answers.cases(SCENES[:4], "question")
    neurons, scores = answer_paths.paths_of(vlm, SCENES, own)
    elsewhere, _ = answer_paths.paths_of(vlm, SCENES, own, "other image")
    others, _ = answer_paths.paths_of(vlm, SCENES, own, "other word")
    for place, case in enumerate(own):
        target = VlmTarget(vlm, case.request)
        following = own[(place + 1) % len(own)].scene
        for found, scene, word in ((neurons, case.scene, case.word),
                                   (elsewhere, following, case.word),
                                   (others, case.scene, case.other)):
            paths = npc.find_paths(target, pixel_values([SCENES[scene]]).double(),
                                   target.numbers([word]), **answer_paths.SEARCH)
            assert found[place].tolist() == paths.neurons[0].tolist()
            if found is neurons:
                assert scores[place] == pytest.approx(float(paths.score))


def test_what_is_lost_is_the_probability_less_that_without_the_units(vlm):
    own = answers.cases(SCENES[:4], "caption")
    neurons, _ = answer_paths.paths_of(vlm, SCENES, own)
    clean = answer_paths.chances(vlm, SCENES, own)
    parts = {part: answer_paths.lost(vlm, SCENES, own, neurons, part)
             for part in ("all", "tower", "decoder")}
    for place, case in enumerate(own):
        target = VlmTarget(vlm, case.request, case.before)
        image = pixel_values([SCENES[case.scene]]).double()
        word = target.numbers([case.word])

        def chance(target=target, image=image, word=word):
            with torch.no_grad():
                return float(target(image).softmax(-1)[0, word])

        assert clean[place] == pytest.approx(chance())
        for part, lost in parts.items():
            factors = torch.ones(1, target.n_blocks, target.n_neurons, dtype=torch.float64)
            for layer, neuron in enumerate(neurons[place]):
                if part == "all" or (layer < target.tower_layers) == (part == "tower"):
                    factors[0, layer, neuron] = 0
            with scaled(target, factors):
                assert lost[place] == pytest.approx(clean[place] - chance(), abs=1e-12)


def test_units_as_active_are_the_nearest_others(vlm):
    own = answers.cases(SCENES[:3], "question")
    neurons, _ = answer_paths.paths_of(vlm, SCENES, own)
    found = answer_paths.as_active(vlm, SCENES, own, neurons)
    assert not (found == neurons).any()
    for place, case in enumerate(own):
        target = VlmTarget(vlm, case.request)
        sizes = npc.read_activations(target, pixel_values([SCENES[case.scene]]).double())[0, :, 0]
        for layer in range(target.n_blocks):
            units = target.layers[layer].units
            apart = (sizes[layer, :units] - sizes[layer, neurons[place, layer]]).abs()
            apart[neurons[place, layer]] = torch.inf
            assert found[place, layer] == int(apart.argmin())


@pytest.mark.parametrize("at", ["last", "image"])
def test_silent_layers_are_edits_of_all_their_units(vlm, at):
    own = answers.cases(SCENES[:3], "question")
    found = answer_paths.layer_effects(vlm, SCENES, own, at)
    for place, case in enumerate(own):
        target = VlmTarget(vlm, case.request, at=at)
        image = pixel_values([SCENES[case.scene]]).double()
        word = target.numbers([case.word])
        for layer in range(target.n_blocks):
            factors = torch.ones(1, target.n_blocks, target.n_neurons, dtype=torch.float64)
            factors[0, layer] = 0
            with torch.no_grad():
                clean = target(image).softmax(-1)[0, word]
                with scaled(target, factors):
                    lost = float(clean - target(image).softmax(-1)[0, word])
            # transformers' norms are in single precision
            assert found[place, layer] == pytest.approx(lost, abs=1e-9)


def test_overlap_counts_layers():
    one, two = np.array([[1, 2, 3], [1, 2, 3]]), np.array([[1, 0, 3], [3, 2, 1]])
    np.testing.assert_allclose(answer_paths.overlap(one, two), [2 / 3, 1 / 3])


def test_separation_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    values, here = rng.integers(0, 4, (50, 3)).astype(float), rng.random(50) < 0.3
    values[here, 1] -= 9
    found = colour_maps.separations(values, np.stack([here, ~here, here & False, here | True], 1))
    expected = [abs(roc_auc_score(here, column) - 0.5) for column in values.T]
    np.testing.assert_allclose(found[:, 0], expected)
    np.testing.assert_allclose(found[:, 1], expected)
    assert found[1, 0] == 0.5 and np.isnan(found[:, 2:]).all()


def test_a_neuron_that_reads_red_tells_red_patches():
    vlm = planted_vlm()
    scenes = [scene for scene in compose_many("held_out", 40)
              if "red" in {thing.colour for thing in scene.things}][:4]
    found = colour_maps.colour_separations(vlm, scenes)
    red = list(COLOURS).index("red")
    assert found[-1].shape == (5, 8)
    # the first neuron reads it, the fourth reads a word and is 0 at every patch
    assert found[-1][0, red] > 0.4 and found[-1][3, red] == 0
    covered = concept_coverage(scenes)[:, NAMES.index("red")].ravel()
    np.testing.assert_array_equal(colour_maps.shown_colours(scenes)[:, red],
                                  covered >= colour_maps.COVERED)
