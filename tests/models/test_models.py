"""Models by name: precision, device, architecture, weights of every kind, preprocessing."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

import neuronpath_core as npc
from neuronpath_core.models.build import (
    build_model,
    load_model,
    parse_device,
    parse_dtype,
    preprocessing,
)
from neuronpath_core.models.weight_files import file_sha256
from neuronpath_core.support.environment import WEIGHTS_VARIABLE
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
    assert [parse_dtype(name) for name in ("float64", "float32",
                                           "bfloat16")] == [torch.float64, torch.float32,
                                                            torch.bfloat16]


@pytest.mark.parametrize("name", ["float16", "double", "Float32", "", None, 64, torch.float32])
def test_unknown_dtypes(name):
    assert message_of(
        lambda: parse_dtype(
        name)) == f"unknown dtype {name!r}; accepted: float64, float32, bfloat16"


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
        assert message_of(lambda name=name: parse_device(name)).endswith(
            "does not have; accepted: cpu")


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
    ({"architecture": {**helpers.SIZES, "num_heads": 3}}, "num_heads")],
                         ids=["no such model", "no such argument", "heads"])
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
    # a folder
    assert "not found" in message_of(lambda: load_model({**SPEC, "weights": "weights"}, root))


@pytest.mark.parametrize("change", [
    {"embed_dim": 24}, {"depth": 2}, {"depth": 4}, {"num_classes": 6}, {"global_pool": "avg"}],
                         ids=str)
def test_weights_of_another_architecture(root, change):
    message = message_of(lambda: load_model({**SPEC, "architecture": {**helpers.SIZES, **change}},
                                            root))
    assert f"weights {SPEC['weights']} do not fit the model" in message and message.count(
        "accepted:") == 1
    assert len(message) < 500


@pytest.mark.parametrize("settings", [{"device": "gpu"}, {"dtype": "float16"}], ids=str)
def test_loading_to_an_unknown_place(root, settings):
    assert "accepted" in message_of(lambda: load_model(SPEC, root, **settings))


def test_file_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert file_sha256(Path(tmp_path
                            / "file")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_weights_of_other_classes_or_patches(root):
    message = message_of(lambda: load_model({**SPEC,
                                             "architecture": {**helpers.SIZES, "num_classes": 6}},
                                            root))
    assert "they have 5 classes, the model 6" in message and message.endswith(
        "accepted: num_classes: 5")
    # timm would resample the kernel and the positions to a model of eight pixels a patch
    message = message_of(lambda: load_model({**SPEC,
                                             "architecture": {**helpers.SIZES, "patch_size": 8}},
                                            root))
    assert "they have patches of 4 pixels, the model 8" in message


# --- weights of timm's models, and other image sizes ---

# by name, but small; any pretrained tag would do
TINY = {"timm": "vit_tiny_patch16_224", "arguments": {"embed_dim": 12, "depth": 2}}


@pytest.fixture
def trained_at_384(tmp_path, monkeypatch):
    """A folder of weights with one of 384 pixels, 24 x 24 patches, under a timm name and as a file.
    """
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("vit_tiny_patch16_384", **TINY["arguments"])
        torch.nn.init.normal_(model.pos_embed)
    save_file(model.state_dict(),
              tmp_path / "vit_tiny_patch16_384.augreg_in21k_ft_in1k.safetensors")
    save_file(model.state_dict(), tmp_path / "own.safetensors")
    return model


ENTRIES = {"pretrained": {"timm": "vit_tiny_patch16_384.augreg_in21k_ft_in1k", "pretrained": True},
           "weights": {"timm": "vit_tiny_patch16_384", "weights": "own.safetensors"}}


def cubic(distance):
    """Keys' kernel with a = -1/2."""
    distance = abs(distance)
    return np.where(distance < 1, 1.5 * distance**3 - 2.5 * distance**2 + 1,
                    np.where(distance < 2, -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance
                             + 2, 0))


def resampling(old: int, new: int) -> np.ndarray:
    """Weights ``(new, old)`` of bicubic resampling with antialiasing: the kernel is as much wider
    as the grid is coarser."""
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale
    weights = cubic((np.arange(old)[None] + 0.5 - centres[:, None]) / max(scale, 1))
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize("entry", ENTRIES)
def test_positions_of_384_pixels_at_224(trained_at_384, tmp_path, entry):
    spec = {**ENTRIES[entry], "arguments": {**TINY["arguments"], "img_size": 224}}
    model, stored = load_model(spec, tmp_path), trained_at_384.state_dict()
    old = stored["pos_embed"][0, 1:].double().numpy().reshape(24, 24, -1)
    expected = np.einsum("ai,bj,ijc->abc", resampling(24, 14), resampling(24, 14),
                         old).reshape(196, -1)
    found = model.pos_embed[0].detach().numpy()
    assert abs(found[1:] - expected).max() < 1e-5  # positions are resampled in float32
    assert (found[0] == stored["pos_embed"][0, 0].double().numpy()).all()
    for name, value in model.state_dict().items():
        assert name == "pos_embed" or torch.equal(value, stored[name].double()), name
    assert preprocessing(spec, model)["input_size"] == [3, 224, 224]
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 224, 224, dtype=torch.float64)).shape == (1, 1000)


@pytest.mark.parametrize("entry", ENTRIES)
def test_positions_of_the_same_size_are_not_touched(trained_at_384, tmp_path, entry):
    model = load_model({**ENTRIES[entry], "arguments": TINY["arguments"]}, tmp_path,
                       dtype="float32")
    assert all(torch.equal(value, trained_at_384.state_dict()[name]) for name,
               value in model.state_dict().items())
    assert not model.training


def test_positions_of_an_architecture(root):
    model = load_model({**SPEC, "architecture": {**helpers.SIZES, "img_size": 12}}, root)
    old = helpers.small_vit(3).pos_embed[0, 1:].detach().numpy().reshape(2, 2, -1)
    expected = np.einsum("ai,bj,ijc->abc", resampling(2, 3), resampling(2, 3), old).reshape(9, -1)
    assert abs(model.pos_embed[0, 1:].detach().numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(("arguments", "words"),
                         [({"num_classes": 10}, ["1000 classes", "the model 10"]),
                          ({"global_pool": "avg"}, ["fc_norm"]),
                          ({"depth": 3}, ["blocks.2"])], ids=str)
def test_timm_weights_that_do_not_fit(trained_at_384, tmp_path, entry, arguments, words):
    message = message_of(lambda: load_model({**ENTRIES[entry],
                                             "arguments": {**TINY["arguments"], **arguments}},
                                            tmp_path))
    assert "do not fit the model" in message and all(word in message for word in words)


def test_timm_weights_of_other_families(tmp_path):
    """Two class tokens, registers, rotary positions, SwiGLU: each family has a conversion of its
    own in timm."""
    for name, arguments in (("deit_tiny_distilled_patch16_224", {}),
                            ("vit_small_patch14_reg4_dinov2", {"num_classes": 3}),
                            ("vit_small_patch16_dinov3", {"num_classes": 3}),
                            ("deit3_small_patch16_224", {})):
        spec = {"timm": name, "arguments": {**arguments, "depth": 1, "img_size": 56 if "14" in name
                                            else 64}, "weights": "file.safetensors"}
        model = build_model(spec)
        save_file(model.state_dict(), tmp_path / "file.safetensors")
        (tmp_path / "file.safetensors.sha256").unlink(missing_ok=True)
        loaded = load_model(spec, tmp_path, dtype="float32").state_dict()
        assert all(torch.equal(value, loaded[key]) for key,
                   value in model.state_dict().items()), name


def test_a_truncated_file_under_a_timm_name(trained_at_384, tmp_path):
    file = tmp_path / "vit_tiny_patch16_384.augreg_in21k_ft_in1k.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert file.name in message_of(lambda: load_model({**ENTRIES["pretrained"],
                                                       "arguments": TINY["arguments"]}, tmp_path))


def test_fresh_weights_of_a_pretrained_name():
    """What is asked for weights alone is not fetched to be thrown away."""
    assert build_model({"timm": "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
                        "pretrained": True}).head.out_features == 1000


# --- the masked autoencoder's fine-tuned checkpoints ---

MAE = {"architecture": {**helpers.SIZES, "global_pool": "avg"}, "weights": "mae.pth",
       "format": "mae"}


def mae_checkpoint(path: Path, drop=(), add=None, **overrides) -> dict:
    """What the authors store: the state dict of their class, whose final norm follows the average,
    beside the arguments of the script."""
    state = {key: value.float() for key,
             value in helpers.small_vit(7, global_pool="avg", **overrides).state_dict().items()}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for key in ("fc_norm.weight", "fc_norm.bias"):
            state[key] = torch.randn_like(state[key])
    state = {key: value for key, value in state.items()
             if not key.startswith(tuple(drop) or "nothing")} | (add or {})
    torch.save({"model": state, "args": argparse.Namespace(nb_classes=5, global_pool=True)}, path)
    return state


def mae_forward(state: dict, images: torch.Tensor, heads: int, patch: int) -> torch.Tensor:
    """The authors' classifier, written out: pre-norm blocks, mean over the patch tokens, norm,
    linear."""
    w = {key: value.double().numpy() for key, value in state.items()}

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x**2).mean(-1, keepdims=True)
                           + 1e-6) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    logits = []
    for image in images.double().numpy():
        grid = image.shape[-1] // patch
        patches = [image[:, row * patch:(row + 1) * patch,
                         column * patch:(column + 1) * patch].ravel() for row in range(grid)
                   for column in range(grid)]
        kernel = w["patch_embed.proj.weight"]
        x = np.concatenate([w["cls_token"][0], np.array(patches) @ kernel.reshape(len(kernel), -1).T
                            + w["patch_embed.proj.bias"]]) + w["pos_embed"][0]
        for block in sorted({key.split(".")[1] for key in w if key.startswith("blocks.")}, key=int):
            query, key, value = np.split(linear(norm(x, f"blocks.{block}.norm1"),
                                                f"blocks.{block}.attn.qkv"), 3, axis=1)
            width, mixed = query.shape[1] // heads, []
            for head in range(heads):
                at = slice(head * width, (head + 1) * width)
                scores = np.exp(query[:, at] @ key[:, at].T / np.sqrt(width))
                mixed.append(scores / scores.sum(1, keepdims=True) @ value[:, at])
            x = x + linear(np.concatenate(mixed, 1), f"blocks.{block}.attn.proj")
            hidden = linear(norm(x, f"blocks.{block}.norm2"), f"blocks.{block}.mlp.fc1")
            hidden = hidden * (1 + torch.erf(torch.from_numpy(hidden) / 2**0.5).numpy()) / 2
            x = x + linear(hidden, f"blocks.{block}.mlp.fc2")
        logits.append(linear(norm(x[1:].mean(0), "fc_norm"), "head"))
    return torch.from_numpy(np.array(logits))


def test_a_mae_checkpoint_is_its_authors_classifier(tmp_path):
    state, (images, _) = mae_checkpoint(tmp_path / "mae.pth"), helpers.small_batch(4)
    model = load_model(MAE, tmp_path)
    with torch.no_grad():
        logits, expected = model(images), mae_forward(state, images, heads=2, patch=4)
    assert (logits - expected).abs().max() < 1e-12 < expected.std()
    # control: the norm twice is another classifier
    with torch.no_grad():
        twice = model.head(model.fc_norm(model.forward_head(model.forward_features(images),
                                                            pre_logits=True)))
    assert (twice - expected).abs().max() > 1e-2
    assert npc.TargetModel(model).scope == "patch"


def test_a_mae_checkpoint_in_timms_model_of_that_name(tmp_path):
    arguments = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 3, "num_heads": 2,
                 "mlp_ratio": 1.0, "num_classes": 5, "global_pool": "avg"}
    state, (images, _) = mae_checkpoint(tmp_path / "mae.pth"), helpers.small_batch(2)
    with torch.no_grad():
        logits = load_model({"timm": "vit_base_patch16_224", "arguments": arguments,
                             "weights": "mae.pth", "format": "mae"}, tmp_path)(images)
    assert (logits - mae_forward(state, images, heads=2, patch=4)).abs().max() < 1e-12


@pytest.mark.parametrize(("change", "words"), [
    ({"drop": ["head"]}, ["pre-training", "head.weight"]),
    ({"add": {"mask_token": torch.zeros(1, 1, 8)}}, ["pre-training", "mask_token"]),
    ({"add": {"decoder_embed.weight": torch.zeros(8, 16)}},
     ["pre-training", "decoder_embed.weight"]),
    ({"drop": ["fc_norm"]}, ["fc_norm", "format: timm"]),
    ({"add": {"norm.weight": torch.zeros(16)}}, ["norm.weight"]),
    ({"drop": ["blocks.1.mlp.fc1.bias"]}, ["blocks.1.mlp.fc1.bias"]),
    ({"add": {"extra": torch.zeros(1)}}, ["extra"]), ({"num_classes": 6}, ["6 classes"])], ids=str)
def test_what_is_no_fine_tuned_mae_checkpoint(tmp_path, change, words):
    mae_checkpoint(tmp_path / "mae.pth", **change)
    message = message_of(lambda: load_model(MAE, tmp_path))
    assert "mae.pth do not fit the model" in message and all(word in message for word in words)


@pytest.mark.parametrize("arguments", [{}, {"global_pool": "avg", "fc_norm": False},
                                       {"global_pool": "max"},
                                       {"global_pool": "avg", "final_norm": False}],
                         ids=["class token", "norm before the average", "maximum", "no norm"])
def test_a_mae_checkpoint_needs_average_pooling(tmp_path, arguments):
    mae_checkpoint(tmp_path / "mae.pth")
    assert "arguments: {global_pool: avg}" in message_of(
        lambda: load_model({**MAE, "architecture": {**helpers.SIZES, **arguments}}, tmp_path))


# --- preprocessing ---


def test_preprocessing_is_that_of_the_weights():
    spec = {"timm": "vit_base_patch32_384.augreg_in21k_ft_in1k",
            "arguments": {"embed_dim": 12, "depth": 1}}
    found = preprocessing(spec, build_model(spec))
    assert found == {"input_size": [3, 384, 384], "interpolation": "bicubic", "mean": [0.5] * 3,
                     "std": [0.5] * 3, "crop_pct": 1.0, "crop_mode": "center"}
    assert json.loads(json.dumps(found)) == found
    spec["arguments"]["img_size"] = [224, 192]
    assert preprocessing(spec, build_model(spec)) == {**found, "input_size": [3, 224, 192]}


def test_preprocessing_of_the_entry_is_over_that_of_timm():
    config = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "crop_pct": 0.875,
              "input_size": [3, 224, 224]}
    spec = {"timm": "vit_tiny_patch16_224", "data_config": config}
    assert preprocessing(spec, build_model(spec)) == {**config, "interpolation": "bicubic",
                                                      "crop_mode": "center"}


def test_preprocessing_of_other_channels():
    spec = {"architecture": {**helpers.SIZES, "in_chans": 1}}
    found = preprocessing(spec, build_model(spec))
    assert found["input_size"] == [1, 8, 8]
    assert np.allclose(found["mean"],
                       [np.mean([0.485, 0.456, 0.406])]) and np.allclose(found["std"],
                                                                         [
        np.mean([0.229, 0.224, 0.225])])
    assert preprocessing({**spec, "data_config": {"mean": [0.3], "std": [0.2]}},
                         build_model(spec))["mean"] == [0.3]


@pytest.mark.parametrize(("config", "word"), [({"size": 3}, "size"), ("bicubic", "bicubic"),
                                              ({"mean": [0.5, 0.5]}, "mean"),
                                              ({"std": 0.5}, "std")], ids=str)
def test_preprocessing_that_cannot_be(config, word):
    spec = {"architecture": helpers.SIZES, "data_config": config}
    message = message_of(lambda: preprocessing(spec, build_model(spec)))
    assert word in message and "accepted" in message
