"""Models by name: precision, device, architecture, weights."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

import neuronpath_core as npc
from neuronpath_core.models import build_model, file_sha256, load_model, parse_device, parse_dtype
from tests import helpers

SPEC = {"architecture": helpers.SIZES, "weights": "weights/small.safetensors"}


@pytest.fixture
def root(tmp_path):
    """A folder with weights and their record."""
    (tmp_path / "weights").mkdir()
    save_file(helpers.small_vit(3).state_dict(), tmp_path / SPEC["weights"])
    record = {"small.safetensors": {"sha256": file_sha256(tmp_path / SPEC["weights"])}}
    (tmp_path / "weights" / "weights.json").write_text(json.dumps(record))
    return tmp_path


def message_of(call):
    with pytest.raises(ValueError, match=".+") as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- names ---


def test_parse_dtype():
    assert [parse_dtype(name) for name in ("float64", "float32", "bfloat16")] == [torch.float64, torch.float32, torch.bfloat16]


@pytest.mark.parametrize("name", ["float16", "double", "Float32", "", None, 64, torch.float32])
def test_unknown_dtypes(name):
    assert message_of(lambda: parse_dtype(name)) == f"unknown dtype {name!r}; accepted: float64, float32, bfloat16"


def test_parse_device():
    assert parse_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "cpu:cpu", "meta", "mps", "Cuda"])
def test_unknown_devices(name):
    message = message_of(lambda: parse_device(name))
    assert repr(name) in message
    assert "accepted: cpu, cuda" in message


def test_cuda_without_a_cuda_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "cuda:0", "cuda:3"):
        assert message_of(lambda name=name: parse_device(name)).endswith("does not have; accepted: cpu")


def test_cuda_with_a_cuda_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert parse_device("cuda") == torch.device("cuda")
    assert parse_device("cuda:1") == torch.device("cuda:1")


def test_a_cuda_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert "'cuda:2'" in message_of(lambda: parse_device("cuda:2"))


# --- building ---


def test_an_architecture():
    model = build_model({"architecture": {**helpers.SIZES, "depth": 2}})
    assert isinstance(model, VisionTransformer)
    assert len(model.blocks) == 2


def test_a_timm_model_by_name():
    model = build_model({"timm": "vit_tiny_patch16_224"})  # untrained: nothing is downloaded
    target = npc.TargetModel(model)
    assert (target.n_blocks, target.n_neurons, target.scope) == (12, 768, "cls")


def test_an_entry_that_names_no_model():
    for spec in ({}, {"weights": "a.safetensors"}):
        message = message_of(lambda spec=spec: build_model(spec))
        assert "'architecture'" in message and "'timm'" in message


@pytest.mark.parametrize(("spec", "word"), [
    ({"timm": "vit_nonesuch"}, "vit_nonesuch"), ({"architecture": {"depht": 2}}, "depht"),
    ({"architecture": {**helpers.SIZES, "num_heads": 3}}, "num_heads")], ids=["no such model", "no such argument", "heads"])
def test_models_that_cannot_be_built(spec, word):
    assert word in message_of(lambda: build_model(spec))


# --- loading ---


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_loaded_models_hold_the_stored_weights(root, dtype):
    model, expected = load_model(SPEC, root, "cpu", dtype), helpers.small_vit(3).state_dict()
    assert not model.training
    for name, value in model.state_dict().items():
        assert value.dtype == parse_dtype(dtype)
        # the model is made in torch's default precision, float32
        assert torch.equal(value, expected[name].float().to(value.dtype)), name


def test_a_model_without_weights_is_untrained(root):
    assert not load_model({"architecture": helpers.SIZES}, root).training


def test_a_wrong_digest(root):
    content = bytearray((root / SPEC["weights"]).read_bytes())
    content[-1] ^= 1
    (root / SPEC["weights"]).write_bytes(content)
    message = message_of(lambda: load_model(SPEC, root))
    assert SPEC["weights"] in message and "SHA-256" in message and "weights.json" in message


def test_no_weights(root):
    message = message_of(lambda: load_model({**SPEC, "weights": "weights/other.safetensors"}, root))
    assert "weights/other.safetensors not found" in message and "make weights" in message
    assert "not found" in message_of(lambda: load_model({**SPEC, "weights": "weights"}, root))  # a folder


@pytest.mark.parametrize("change", [
    {"embed_dim": 24}, {"depth": 2}, {"depth": 4}, {"num_classes": 6}, {"global_pool": "avg"}], ids=str)
def test_weights_of_another_architecture(root, change):
    message = message_of(lambda: load_model({**SPEC, "architecture": {**helpers.SIZES, **change}}, root))
    assert f"weights {SPEC['weights']} do not fit the model" in message
    assert len(message) < 500


@pytest.mark.parametrize("settings", [{"device": "gpu"}, {"dtype": "float16"}], ids=str)
def test_loading_to_an_unknown_place(root, settings):
    assert "accepted" in message_of(lambda: load_model(SPEC, root, **settings))


def test_file_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert file_sha256(Path(tmp_path / "file")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
