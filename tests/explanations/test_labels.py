"""Names of classes, and which class a label means."""

from __future__ import annotations

import warnings

import pytest
import timm
import torch
from torch import nn

from neuronpath_core.explanations.labels import chosen_class, class_names
from tests.helpers import refused

NAMES = ("cat", "Dog", "dog", "café", "7", "auto pilot")
PROBABILITIES = torch.tensor([0.1, 0.2, 0.1, 0.4, 0.1, 0.1])


@pytest.mark.parametrize("label, index", [
    ("auto", 3), (0, 0), (5, 5), ("cat", 0), ("CAT", 0), (" cat ", 0), ("Dog", 1), ("dog", 2), ("cafe\u0301", 3),
    ("7", 4), ("3", 3), ("Auto Pilot", 5), (torch.tensor(2), 2)])
def test_a_label_means_one_class(label, index):
    assert chosen_class(label, NAMES, PROBABILITIES) == index


@pytest.mark.parametrize("label, words", [
    (6, ["no class 6", "0..5"]), (-1, ["no class -1"]), ("8", ["no class '8'"]), ("cta", ["'cta'", "nearest is 'cat'"]),
    ("DOG", ["'DOG'", "classes 1, 2"]), (True, ["label cannot be True"]), (1.0, ["1.0"]), (None, ["None"]),
    ("a\nb", ["'a\\nb'"])])
def test_a_label_that_the_model_does_not_have(label, words):
    refused(lambda: chosen_class(label, NAMES, PROBABILITIES), *words, "accepted")


def test_digits_that_mean_two_classes_are_refused():
    names = ("zero", "0", "two")
    refused(lambda: chosen_class("0", names, PROBABILITIES), "'0'", "name of class 1", "'zero'")
    assert chosen_class(0, names, PROBABILITIES) == 0 and chosen_class("1", names, PROBABILITIES) == 1
    assert chosen_class("auto", ("a", "auto"), PROBABILITIES) == 1


def module(**config):
    found = nn.Identity()
    found.pretrained_cfg = config
    return found


def test_names_come_from_the_configuration():
    config = {"label_names": ["n1", "n2"], "label_descriptions": {"n1": "cat, house"}}
    assert class_names(module(**config), 2)[0] == ("cat, house", "n2")
    assert class_names(module(**config), 3)[0] == ("class 0", "class 1", "class 2")
    assert class_names(nn.Identity(), 2)[0] == ("class 0", "class 1")


def test_timm_names_are_for_the_classes_of_the_published_weights():
    names, whose = class_names(module(num_classes=1000), 1000)
    assert names[281] == "tabby" and len(set(names)) == 1000 and "1000 classes" in whose
    # a network of nobody's: a thousand classes may be any
    assert class_names(nn.Identity(), 1000)[0][281] == "class 281"
    assert class_names(nn.Identity(), 1000, "timm")[0][281] == "tabby"
    assert class_names(timm.create_model("vit_tiny_patch16_224", num_classes=4), 4)[0][3] == "class 3"


@pytest.mark.parametrize("names, words", [
    (["a"], ["are 1", "2 classes"]), (["a", 3], ["2 texts"]), (["a", " "], ["2 texts"]), ("folder", ["'folder'", "timm"]),
    ("timm", ["1000", "2 classes"]), (3, ["3"])])
def test_names_that_do_not_fit(names, words):
    refused(lambda: class_names(nn.Identity(), 2, names), *words, "accepted")


def test_names_in_another_order_than_the_model_s_own_are_told_of():
    model = module(label_names=["zebra", "dog", "cat"])
    with pytest.warns(UserWarning, match="2 of the class names are in another place than the model's "
                                         "own: cat is given to output 0 and the model's own name "
                                         "of output 2"):
        assert class_names(model, 3, ["cat", "dog", "zebra"])[0] == ("cat", "dog", "zebra")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        class_names(model, 3, ["Zebra", "perro", "cat"])
        class_names(module(), 3, ["cat", "dog", "zebra"])
