"""What the explorers show: pictures by the rule, paths and probabilities by the library, tables."""

import numpy as np
import pandas as pd
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.chapters import explore
from neuronpath_core.interventions import class_probabilities, edited_probabilities


def probabilities(truth, labels, hit):
    """Two classes' worth of doubt: ``truth`` for the label, the rest for another class."""
    found = np.zeros((len(labels), 4))
    rows = np.arange(len(labels))
    found[rows, labels] = truth
    other = (labels + 1) % 4
    found[rows, other] = 1 - truth
    assert ((found.argmax(1) == labels) == hit).all()
    return found


LABELS = np.array([0, 1, 2, 3, 0, 1, 2, 3])
TRUTH = np.array([0.9, 0.8, 0.7, 0.6, 0.95, 0.1, 0.2, 0.3])
HIT = TRUTH > 0.5


def test_pictures_are_evenly_spaced_by_probability_and_of_different_classes():
    clean = probabilities(TRUTH, LABELS, HIT)
    # right, from the least probable: 3, 2, 1, 0, 4; wrong: 5, 6, 7
    assert explore.chosen(clean, LABELS, 1, 1) == [1, 6]
    assert explore.chosen(clean, LABELS, 0, 3) == [5, 6, 7]
    # ideal ranks 0.75 and 3.25 of 0..4: pictures 2 and 0
    assert explore.chosen(clean, LABELS, 2, 0) == [2, 0]
    # of the wrong ones the middle rank's class, 2, is taken
    assert explore.chosen(clean, LABELS, 2, 1) == [2, 0, 5]
    # all classes are taken: the ideal rank itself
    assert explore.chosen(clean, LABELS, 4, 1)[-1] == 6
    assert len(set(explore.chosen(clean, LABELS, 5, 3))) == 8


@pytest.mark.parametrize("right, wrong, name", [(6, 0, "5 images right, 6"), (0, 4, "3 images wrong, 4")])
def test_more_pictures_than_there_are(right, wrong, name):
    with pytest.raises(ValueError, match=name):
        explore.chosen(probabilities(TRUTH, LABELS, HIT), LABELS, right, wrong)


@pytest.fixture(scope="module")
def study():
    return npc.Study("digits")


@pytest.fixture(scope="module")
def images(study):
    return study.images(60, 3)


def test_pictures_have_the_librarys_numbers(study, images):
    found = explore.pictures(study, "digits", ["tiny-B-32"], images, ["activation", "random"], 2, 1)
    target = study.target("tiny-B-32")
    assert len(found) == 3 and [each.name.endswith("right") for each in found] == [True, True, False]
    for picture in found:
        view, = picture.views.values()
        image, label = picture.values[None], torch.tensor([picture.label])
        np.testing.assert_allclose(view.clean, class_probabilities(target, image)[0])
        assert set(view.paths) == {"Activation", "Random"}
        attribution = npc.knowledge_attribution(target, image, label, "gauss-legendre", 8)[0]
        for path in view.paths.values():
            neurons = torch.from_numpy(path.neurons)
            for operation, values in (("remove", path.removed), ("enhance", path.doubled)):
                np.testing.assert_allclose(values, edited_probabilities(
                    target, image, neurons[None], operation)[0], atol=1e-12)
            expected = attribution[torch.arange(len(neurons)), neurons]
            np.testing.assert_allclose(path.attribution, expected, atol=1e-10)
        strongest = npc.read_activations(target, image)[0].sum(1).argmax(1)
        np.testing.assert_array_equal(view.paths["Activation"].neurons, strongest)


def test_given_pictures_come_first(study, images):
    rest = explore.pictures(study, "digits", ["tiny-B-32"], images, ["activation"], 2, 1)
    own = explore.story(study, "tiny-B-32", images, 0.9)
    found = explore.pictures(study, "digits", ["tiny-B-32"], images, ["activation"], 2, 1,
                             before=[own.place])
    assert found[0].label == int(images.labels[own.place])
    view, = found[0].views.values()
    assert view.clean[found[0].label] == pytest.approx(own.story.clean)
    assert [each.name for each in found if each.name != found[0].name] == [
        each.name for each in rest if each.name != found[0].name]


def test_the_story_is_that_of_the_wanted_rank(study, images):
    target, (batch, labels) = study.target("tiny-B-32"), study.batch(images, "tiny-B-32")
    neurons = study.paths("tiny-B-32", images).neurons
    rows = torch.arange(len(labels))
    clean = class_probabilities(target, batch)
    removed = edited_probabilities(target, batch, neurons, "remove")
    hit = clean.argmax(1) == labels
    lost = ((clean - removed)[rows, labels] / clean[rows, labels])[hit].numpy()
    for quantile, expected in ((0, lost.min()), (1, lost.max())):
        told = explore.story(study, "tiny-B-32", images, quantile)
        assert told.lost == pytest.approx(expected, abs=1e-9)
        assert told.median == pytest.approx(np.median(lost), abs=1e-9)
        assert told.images == len(lost)
        own = told.story
        assert (own.clean - own.removed) / own.clean == pytest.approx(expected, abs=1e-9)
        assert own.pixels.shape == (16, 16) and own.patch == 4
    with pytest.raises(ValueError, match="quantile must lie in 0..1"):
        explore.story(study, "tiny-B-32", images, 2)


def test_the_words_have_the_measured_numbers(study, images):
    told = {"digits": explore.story(study, "tiny-B-32", images, 0.5)}
    own = told["digits"]
    assert explore.finding(told) == (f"Without its path, 12 of 1,728 neurons, the class probability of "
                                     f"“{own.story.class_name}” falls from {100 * own.story.clean:.1f} to "
                                     f"{100 * own.story.removed:.1f} % (by {100 * own.lost:.1f} % of it)")
    words = explore.answer(told, 0.5)
    assert f"{100 * own.median:.1f} % (digits, {own.images} pictures" in words and "than 50 % of" in words


def test_what_rounding_does_is_measured(study, images):
    found = explore.rounding(study, "tiny-B-32", images)
    assert 0 < found["mean"] < found["largest"] < 0.02
    assert found["accuracy"] == pytest.approx(found["rounded accuracy"], abs=0.02)
    assert found["images"] == 60


def test_classes_have_their_similarity_and_a_typical_picture(study, images):
    found = explore.similarity(study, "tiny-B-32", images)
    assert found.classes == images.class_names and found.each == 6
    np.testing.assert_allclose(np.diag(found.similarity), 1)
    for label, picture in enumerate(found.typical):
        own = images.pixels[images.labels.numpy() == label].astype(float)
        distances = [np.square(each - own.mean(0)).sum() for each in own]
        np.testing.assert_array_equal(picture, own[int(np.argmin(distances))])


def test_accuracies_of_the_slider():
    rng = np.random.default_rng(0)
    rows = [{"model": "m", "split": split, "mask": "one for all", "tokens": "all tokens",
             "kept": kept, "top": top, "image": image, "label": 0,
             "correct": float(rng.random() < 0.6), "probability": 0.5}
            for split in (0, 1) for kept, top in (("neuron path", 1), ("neuron path", 5),
                                                  ("random", 1), ("random", 5), ("whole model", 16))
            for image in range(20)]
    table = pd.DataFrame(rows)
    bare = table[table["kept"] == "random"].drop_duplicates(["split", "image"]).assign(
        mask="none", kept="no neuron", top=0, correct=0.25)
    accuracies, whole = explore.pruned_accuracies({"toys": table}, {"toys": bare})
    nothing = accuracies["top"] == 0
    assert set(accuracies[nothing]["kept"]) == {"neuron path", "random"}
    assert (accuracies[nothing]["value"] == 0.25).all()
    accuracies = accuracies[~nothing]
    assert whole == {"toys": pytest.approx(
        table.loc[table["kept"] == "whole model", "correct"].mean())}
    assert set(accuracies["kept"]) == {"neuron path", "random"}
    for _, row in accuracies.iterrows():
        own = table[(table["kept"] == row["kept"]) & (table["top"] == row["top"])]
        assert row["value"] == pytest.approx(own["correct"].mean())
        assert row["low"] <= row["value"] <= row["high"]
