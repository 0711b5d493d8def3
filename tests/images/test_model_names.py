"""Classes of images are held against what a model's own configuration calls its outputs: no folder
stands for an output of another name without a word."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from neuronpath_core.explanations.measure import explain
from neuronpath_core.images.classes import check_classes
from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.index import PictureWarning
from neuronpath_core.images.wordnet import wordnet_classes
from neuronpath_core.runs.named_model import named_model
from neuronpath_core.runs.preflight import input_problems
from neuronpath_core.study.study import Study
from neuronpath_core.support.environment import WEIGHTS_VARIABLE
from tests.images.test_folders import made, picture

FOLDERS = ("cat", "dog", "zebra")


def of(names, numbered=False):
    """One image of every class."""
    count = len(names)
    images = ImageSet(torch.zeros(count, 1, 1, 1), torch.arange(count), torch.arange(count),
                      tuple(names), torch.zeros(count, 1, 1).numpy())
    object.__setattr__(images, "numbered", numbered)
    return images


def model(names, **config):
    network = nn.Identity()
    network.pretrained_cfg = {"label_names": names, **config}
    return network


def told(names, own, numbered=False, **config) -> str:
    """What is warned of, which is one line at most."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_classes(of(names, numbered), len(own), "pets", model(own, **config))
    assert len(said) <= 1 and all(each.category is PictureWarning for each in said)
    return "".join(str(each.message) for each in said)


@pytest.mark.parametrize("own", [["zebra", "dog", "cat"], ["Zebra", "dog", "CAT "],
                                 ["zebra, Equus", "dog, Canis", "cat, Felis"]], ids=str)
def test_another_order_than_the_model_s_own_is_refused_with_the_right_one(own):
    with pytest.raises(ValueError, match=r"images' classes are cat, dog, zebra, in this order, and "
                                         r"pets itself calls its outputs .*2 have another number "
                                         r".cat is class 0 and output 2, zebra is class 2 and "
                                         r"output 0.; accepted: class_names: .zebra, dog, cat. in "
                                         ) as error:
        told(FOLDERS, own)
    assert "\n" not in str(error.value)


def test_some_names_of_other_outputs_are_refused_too():
    with pytest.raises(ValueError, match="1 have another number .zebra is class 2 and output 0.; "
                                         "accepted: class_names: the folders' names in the order"):
        told(FOLDERS, ["zebra", "horse", "cow"])


def test_letters_decide_between_names_that_are_nearly_alike():
    with pytest.raises(ValueError, match="cardigan is class 0 and output 1"):
        told(("cardigan", "wool"), ["Cardigan, a dog", "cardigan"])


def test_a_class_map_is_followed_and_told_of():
    assert "cat is class 0 and output 2, zebra is class 2 and output 0); the class map is" in told(
        FOLDERS, ["zebra", "dog", "cat"], numbered=True)
    assert not told(("class 0", "dog", "cat"), ["zebra", "dog", "cat"], numbered=True)


@pytest.mark.parametrize(("names", "own"), [
    (FOLDERS, FOLDERS), (FOLDERS, ["Cat", "DOG", "zebra, Equus"]),
    (FOLDERS, ["LABEL_0", "LABEL_1", "LABEL_2"]), (("0", "1"), ["zero", "one"]),
    (("1.5", "15"), ["1.5", "15"]), (("golden_retriever", "A"), ["golden retriever", "a"]),
    (("crane", "crane (n02012849)"), ["crane, a bird", "crane, a machine"]),
    (("Cardigan", "cloth"), ["Cardigan, a dog", "cloth"]),
    (("a", "Cardigan", "cardigan"), ["a", "Cardigan, a dog", "cardigan"]),
])
def test_names_that_agree_are_not_spoken_of(names, own):
    assert not told(names, own)


def test_names_that_differ_are_told_of_with_the_outputs_that_they_are_taken_for():
    said = told(("feline", "dog", "zebra"), ["cat", "dog", "zebra"])
    assert "1 of the images' 3 classes have none of the names that pets" in said
    assert "feline as cat;" in said
    assert "cat as Katze, dog as Hund, zebra as Zebrastute" in told(
        FOLDERS, ["Katze", "Hund", "Zebrastute"])


def test_names_that_a_configuration_describes():
    words = {"n1": "zebra", "n2": "dog", "n3": "cat"}
    with pytest.raises(ValueError, match="cat is class 0 and output 2"):
        told(FOLDERS, [*words], label_descriptions=words)
    assert not told(FOLDERS[::-1], [*words], label_descriptions=words)


def test_names_of_another_number_of_outputs_say_nothing():
    check_classes(of(FOLDERS), 3, "pets", model(["zebra", "cat"]))
    check_classes(of(FOLDERS), 3, "pets", nn.Identity())


@pytest.mark.parametrize("form", ["ids", "descriptions", "both"])
def test_every_way_of_naming_the_classes_of_imagenet_agrees_with_timm(form):
    from timm.data import ImageNetInfo

    info = ImageNetInfo()
    ids, words = info.label_names(), info.label_descriptions()
    config = {"label_descriptions": dict(zip(ids, words, strict=True))} if form == "both" else {}
    own = words if form == "descriptions" else ids
    assert not told(wordnet_classes()[1], own, **config)
    with pytest.raises(ValueError, match="1000 have another number|99[0-9] have another number"):
        told(wordnet_classes()[1], own[::-1], **config)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A study of one model whose configuration names its outputs in another order than folders."""
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "w"))
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=3)
    place = tmp_path / "w" / "me" / "pets"
    place.mkdir(parents=True)
    save_file(network.state_dict(), place / "model.safetensors")
    plain = {key: value for key, value in network.pretrained_cfg.items()
             if isinstance(value, (int, float, str, list, tuple, bool))}
    plain |= {"num_classes": 3, "label_names": ["zebra", "dog", "cat"]}
    (place / "config.json").write_text(json.dumps(
        {"architecture": "test_vit", "num_classes": 3, "pretrained_cfg": plain}))
    made(tmp_path / "data", *(f"val/{name}/0.png" for name in FOLDERS))
    picture().resize((160, 160)).save(tmp_path / "cat.png")
    return tmp_path


def study(root: Path, **dataset) -> Study:
    (root / "profiles").mkdir(exist_ok=True)
    (root / "profiles" / "pets.yml").write_text(yaml.safe_dump({
        "dataset": {"name": "files", "root": str(root / "data"), **dataset}, "notebooks": {},
        "models": {"pets": {"timm": "hf-hub:me/pets"}}}))
    return Study("pets", root=root, results=root / "results")


def test_a_study_and_its_preflight_refuse_and_a_list_of_names_mends_it(root):
    opened = study(root)
    with pytest.raises(ValueError, match="cat is class 0 and output 2"):
        opened.paths("pets", opened.held_out, "recommended")
    assert "cat is class 0 and output 2" in " ".join(input_problems(root, "pets", ["pets"]))
    opened = study(root, class_names=["zebra", "dog", "cat"])
    assert not [*input_problems(root, "pets", ["pets"])]
    assert opened.held_out.labels.tolist() == [2, 1, 0]
    found = explain(opened.target("pets"), root / "cat.png", label="cat")
    assert found.label == opened.held_out.class_names.index("cat") == 2


def test_names_within_the_preprocessing_of_a_configuration_are_read(root):
    file = root / "w" / "me" / "pets" / "model.safetensors"
    assert named_model(str(file), None, root).class_names == ("zebra", "dog", "cat")


def test_images_of_files_tell_which_folder_is_meant(root):
    images = load_part({"name": "files", "root": str(root / "data")}, "held_out")
    with pytest.raises(ValueError, match="zebra is class 2 and output 0"):
        check_classes(images, 3, "pets", model(["zebra", "dog", "cat"]))
