"""Names of models, profiles and weights that would be files or folders elsewhere than they should."""

import os
import sys

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from neuronpath_core.models.checkpoints import check_entry, missing
from neuronpath_core.models.download import download
from neuronpath_core.runs.new_profile import write_profile
from neuronpath_core.study.profiles import load_profile, results_folder
from neuronpath_core.study.study import Study
from neuronpath_core.support.files import path_component, relative_path
from tests import helpers, small_study

GOOD = ["one", "tiny-B-16", "tiny-B-32 seed 11", "vit_tiny.augreg_in21k_ft_in1k", "ünï (2) #1 100%",
        "a" * 150, "..a", "a..b", ".hidden", "console", "com10", "-x", "~x", "$HOME", "{x}"]
BAD = ["", ".", "..", "../../../evil", "/etc/evil", "a/b", "a/", "a\\b", "..\\..\\evil", "C:evil",
       "C:\\evil", "\\\\host\\share", "a\0b", "a\nb", "a\x1bb", "a\x7f", "a\x85b", "a\u2028b",
       "caf\udce9", "nul", "CON", "com1", "Lpt9.txt", "AUX.", "a.", "a ", " a", "\t", "a" * 151,
       "ü" * 76, 3, None, True, ["a"]]


def message_of(call):
    with pytest.raises(ValueError, match="accepted: ") as refused:
        call()
    assert "\n" not in str(refused.value)
    str(refused.value).encode()
    return str(refused.value)


@pytest.mark.parametrize("name", GOOD, ids=ascii)
def test_names_that_are_one_component_of_a_path(name):
    assert path_component(name, "a model") == name and relative_path(f"b/{name}", "weights")


@pytest.mark.parametrize("name", BAD, ids=lambda name: ascii(name)[:20])
def test_names_that_are_none(name):
    said = message_of(lambda: path_component(name, "a model"))
    assert said.startswith("a model cannot be called ")
    if isinstance(name, str) and "/" not in name and name not in ("", "."):
        message_of(lambda: relative_path(f"b/{name}/c", "weights"))


def test_relative_paths():
    assert relative_path("deep/./net.pth", "weights") == os.path.join("deep", "net.pth")
    for name in ("/a", "//a", "a/../../b", "..", ""):
        message_of(lambda name=name: relative_path(name, "weights"))


@pytest.mark.parametrize("name", ["../../../evil", "/evil", "a/b", "", "nul", "a\nb", 3])
def test_a_model_of_a_profile_writes_nowhere_else(tmp_path, name):
    root = small_study.make_study(tmp_path / "deep" / "study")
    one = small_study.PROFILE["models"]["one"]
    small_study.write_profile(root, small_study.PROFILE | {"models": {name: one}})
    before = sorted(tmp_path.rglob("*"))
    said = message_of(lambda: load_profile("digits", root))
    assert "profile 'digits'" in said and repr(name) in said
    message_of(lambda: Study("digits", root=root, results=tmp_path / "deep" / "results"))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", [["run", "--profile", "../../evil"],
                                     ["paths", "--profile", "../../evil"],
                                     ["download", "--profile", "../../evil", "--weights", "w"]])
def test_a_profile_of_a_command_is_no_path(tmp_path, monkeypatch, capsys, command):
    root = small_study.make_study(tmp_path / "study")
    (tmp_path.parent / "evil.yml").write_text(yaml.safe_dump(small_study.PROFILE), encoding="utf-8")
    said = helpers.refused_command(root, monkeypatch, capsys, *command)
    assert "../../evil" in said and "accepted: " in said


def test_the_folder_of_results_is_below_the_study(tmp_path):
    assert results_folder(tmp_path, "digits") == tmp_path / "results" / "digits"
    for profile in ("../../evil", "/evil"):
        assert "evil" in message_of(lambda profile=profile: results_folder(tmp_path, profile))


@pytest.mark.parametrize("name", ["../../x.safetensors", "a/../../x.safetensors",
                                  "..\\x.safetensors", "a\nb.pth", "nul/x.pth"])
def test_weights_are_below_the_folders_that_they_are_looked_for_in(tmp_path, name):
    spec = {"architecture": helpers.SIZES, "weights": name}
    for call in (check_entry, lambda spec: missing(spec, tmp_path)):
        assert repr(name)[1:-1] in message_of(lambda call=call: call(spec))


@pytest.mark.parametrize("name", ["hf-hub:../..", "hf-hub:a/..", "hf-hub:./a", "hf-hub:a/.",
                                  "hf-hub:a/nul"])
def test_repositories_are_below_the_folder_of_weights(tmp_path, name):
    said = message_of(lambda: download({"timm": name}, tmp_path, tmp_path / "deep" / "weights"))
    assert repr(name) in said and list(tmp_path.iterdir()) == []


def test_a_download_goes_below_its_folder_alone(tmp_path):
    served, folder = tmp_path / "net.pth", tmp_path / "deep" / "weights"
    served.write_bytes(b"no weights")
    for name in (str(tmp_path / "evil.pth"), "~/evil.pth"):
        spec = {"architecture": helpers.SIZES, "weights": name, "url": served.as_uri()}
        said = message_of(lambda spec=spec: download(spec, tmp_path, folder, progress=False))
        assert "evil.pth" in said
        assert not (tmp_path / "evil.pth").exists() and not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs names of any bytes")
def test_a_new_profile_names_what_is_not_utf8(tmp_path, monkeypatch):
    root = small_study.make_study(tmp_path / "study")
    files = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    for place in ("a/1.png", "b/2.png"):
        os.makedirs(os.path.dirname(f"{files}/{place}"))
        Image.new("RGB", (8, 8)).save(f"{files}/{place}")
    dataset = {"name": "files", "root": files, "class_map": {"a": 0, "b": 1}}
    said = message_of(lambda: write_profile(root, "mine", ["vit_tiny_patch16_224"], dataset))
    assert r"caf\xe9" in said and "not UTF-8" in said
    weights = os.path.join(files, "a.safetensors")
    save_file({"a": torch.ones(1)}, weights)
    said = message_of(lambda: write_profile(root, "mine", [f"test_vit={weights}"], dataset))
    assert r"caf\xe9" in said and "not UTF-8" in said
    assert len(list((root / "profiles").iterdir())) == 1


def test_a_home_of_nobody_is_a_folder_that_is_not_there(tmp_path, monkeypatch):
    spec = {"architecture": helpers.SIZES, "weights": "~nobody-of-that-name/x.pth"}
    assert "~nobody-of-that-name" in missing(spec, tmp_path)
    monkeypatch.setenv("NEURONPATH_WEIGHTS", "~nobody-of-that-name/weights")
    assert "~nobody-of-that-name" in missing({**spec, "weights": "x.pth"}, tmp_path)


def test_a_new_profile_has_models_that_can_be_files(tmp_path, monkeypatch):
    root = small_study.make_study(tmp_path / "study")
    for name in ("con", "a" * 200):
        message_of(lambda name=name: write_profile(root, name, ["vit_tiny_patch16_224"], {}))
    assert len(list((root / "profiles").iterdir())) == 1
