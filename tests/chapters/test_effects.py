"""The measurement of interventions by a direct computation, and paired differences by hand."""

import numpy as np
import pandas as pd
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.chapters import effects, pruning
from neuronpath_core.chapters.knowledge_neurons import measured
from neuronpath_core.chapters.search_cost import agreement
from neuronpath_core.stats import report
from tests.chapters.tables import NAMES, intervention_table


def test_interventions_by_a_direct_computation(study, images):
    methods = ["activation", "neuron_path", "random"]
    table = effects.interventions(study, NAMES, images, methods, steps=1, seed=3)
    assert list(table.columns) == ["model", "method", "image", "label", "score", "correct",
                                   "probability", "removal_accuracy",
                                   "removal_probability", "enhancement_accuracy",
                                   "enhancement_probability"]
    assert len(table) == 2 * 3 * 20
    order = list(dict.fromkeys(zip(table["model"], table["method"], strict=True)))
    assert order == [(name, method) for name in NAMES for method in methods]
    moved = {"removal": 0, "enhancement": 0}
    for (name, method), own in table.groupby(["model", "method"], sort=False):
        target, (pictures, labels) = study.target(name), study.batch(images, name)
        # as a study does
        found = npc.find_paths(target, pictures, labels, method, steps=1, seed=3, draft="float32")
        assert own["image"].tolist() == images.ids.tolist() and own[
            "label"].tolist() == labels.tolist()
        np.testing.assert_allclose(own["score"], found.score, rtol=0, atol=1e-12)
        with torch.no_grad():
            clean = target(pictures).softmax(-1)
        before = clean[torch.arange(20), labels]
        np.testing.assert_allclose(own["probability"], before, rtol=0, atol=1e-14)
        assert own["correct"].tolist() == (clean.argmax(1) == labels).tolist()
        for operation, column in (("remove", "removal"), ("enhance", "enhancement")):
            with torch.no_grad(), npc.edit(target, found.neurons, operation):
                edited = target(pictures).softmax(-1)
            after, right = edited[torch.arange(20), labels], edited.argmax(1) == labels
            np.testing.assert_allclose(own[f"{column}_probability"], (after - before) / before,
                                       rtol=0, atol=1e-10)
            expected = right.double().numpy() - own["correct"].to_numpy(float)
            assert own[f"{column}_accuracy"].tolist() == expected.tolist()
            moved[column] += np.abs(own[f"{column}_probability"]).max() > 0.01
    assert min(moved.values()) >= 4  # the comparison above was not between zeros


@pytest.mark.parametrize("methods", [[], ["neuron_paths"], ["random", "oracle"]])
def test_unknown_methods(study, images, methods):
    with pytest.raises(ValueError, match="accepted: one or more of neuron_path, complete"):
        effects.interventions(study, ["small"], images, methods)


@pytest.mark.parametrize("call", [
    lambda study, images: effects.interventions(study, ["large"], images, ["random"]),
    lambda study, images: measured.knowledge_neurons(study, [], images),
    lambda study, images: agreement.path_agreement(study, ["large"], images,
                                                     {"coarse": {"steps": 1}}, {"steps": 2}),
    lambda study, images: pruning.whole_model(study, ["small", "large"], images)])
def test_unknown_models(study, images, call):
    with pytest.raises(ValueError, match="accepted: one or more of small, pooled"):
        call(study, images)


def test_paired_difference_by_hand():
    table = pd.DataFrame({"model": ["m"] * 6 + ["other"], "method": ["a"] * 3 + ["b"] * 3 + ["a"],
                          "image": [1, 2, 3, 3, 1, 2, 1],
                          "score": [10.0, 20, 30, 29, 9, 14, 99]})
    found = effects.paired_difference(table, "score", "m", "a", "b")
    assert found["value"] == pytest.approx((1 + 6 + 1) / 3)
    assert effects.paired_difference(table, "score", "m", "a", "b", "median")["value"] == 1
    assert effects.paired_difference(table, "score", "m", "b",
                                      "a")["value"] == pytest.approx(-8 / 3)


def test_pairing_finds_what_lies_under_the_differences_between_images():
    table = intervention_table(1.0)
    means = table[table["model"] == "tiny-B-16"].groupby("method")["score"]
    assert means.std().min() > 4 * abs(means.mean()["neuron_path"] - means.mean()["random"])
    assert report.verdict(effects.paired_difference(table, "score", "tiny-B-16", "neuron_path",
                                                     "random")) == "agrees"
