"""Files as training scripts and other tools leave them: wrappers, prefixes, endings, positions of
another size, values that are none; both doors, a profile's entry and a new profile, take the
same."""

import warnings
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.optim.swa_utils import AveragedModel

from neuronpath_core.models.build import load_model, preprocessing
from neuronpath_core.models.weight_files import read_state
from neuronpath_core.runs.new_profile import model_entry

ARCHITECTURE = "test_vit"
KEEP = {"num_classes": 3}


def network(seed=1, name=ARCHITECTURE, **arguments):
    torch.manual_seed(seed)
    model = timm.create_model(name, **{**KEEP, **arguments}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape))
    return model


def message_of(call):
    with pytest.raises(ValueError, match="accepted: ") as refused:
        call()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def entry(file, **more):
    return {"timm": ARCHITECTURE, "arguments": KEEP, "weights": str(file), **more}


def opened(file, **more):
    """The model by both doors, and what was warned of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        first = load_model(entry(file, **more), file.parent, dtype="float32")
        second = load_model(model_entry(f"{ARCHITECTURE}={file}")[1] | more, file.parent,
                            dtype="float32")
    return first, second, [str(each.message) for each in told]


def refused(file, *words):
    """Both doors refuse the file, with these words."""
    for call in (lambda: load_model(entry(file), file.parent),
                 lambda: model_entry(f"{ARCHITECTURE}={file}")):
        said = message_of(call)
        assert file.name in said and all(word in said for word in words), said


def assert_same(model, state):
    own = model.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], value.to(own[name].dtype)) for name, value in state.items())


def prefixed(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


PREFIXES = ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net.",
            "backbone.", "encoder.", "model.module.", "model._orig_mod.", "module.backbone."]
WRAPPERS = ["state_dict", "model", "model_state_dict", "net", "weights", "teacher", "student",
            "state_dict_ema", "model_ema", "ema", "shadow", "module", "network", "vit_of_mine"]
ENDINGS = [".pth", ".pt", ".bin", ".ckpt", ".pth.tar", ".PTH"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes(tmp_path, prefix):
    state = network().state_dict()
    save_file(prefixed(prefix, state), tmp_path / "a.safetensors")
    torch.save({"state_dict": prefixed(prefix, state), "epoch": 3}, tmp_path / "b.pth")
    for file in (tmp_path / "a.safetensors", tmp_path / "b.pth"):
        first, second, told = opened(file)
        assert_same(first, state)
        assert_same(second, state)
        assert told == []


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers(tmp_path, wrapper):
    state = network().state_dict()
    training = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "lr": 0.1},
                "scaler": {"scale": torch.ones(1)}, "best": torch.tensor(0.5)}
    torch.save({wrapper: prefixed("module.", state), **training}, tmp_path / "a.pth")
    first, second, told = opened(tmp_path / "a.pth")
    assert_same(first, state)
    assert_same(second, state)
    assert told == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_endings(tmp_path, ending):
    state = network().state_dict()
    torch.save(state, tmp_path / f"mine{ending}")
    assert_same(opened(tmp_path / f"mine{ending}")[1], state)
    assert model_entry(f"{ARCHITECTURE}={tmp_path / f'mine{ending}'}")[0] == "mine"


def test_a_wrapper_in_a_wrapper_and_modules_within(tmp_path):
    state = network().state_dict()
    torch.save({"ema": {"decay": 0.9, "module": prefixed("module.", state)}}, tmp_path / "a.pth")
    inside = {name.replace("blocks.0.", "blocks.0._orig_mod."): value
              for name, value in state.items()}
    torch.save({"model": {"state_dict": inside}}, tmp_path / "b.pth")
    torch.save(AveragedModel(network()).state_dict(), tmp_path / "c.pth")
    for name in "abc":
        assert_same(opened(tmp_path / f"{name}.pth")[1], state)


@pytest.mark.parametrize(("held", "taken"), [
    (("model", "model_ema"), "model_ema"), (("state_dict", "state_dict_ema"), "state_dict_ema"),
    (("state_dict", "ema"), "ema"), (("student", "teacher"), "teacher"),
    (("model", "teacher"), "model")])
def test_of_several_one_is_taken_and_said(tmp_path, held, taken):
    states = {name: network(seed).state_dict() for seed, name in enumerate(held)}
    torch.save(states, tmp_path / "a.pth")
    first, second, told = opened(tmp_path / "a.pth")
    assert_same(first, states[taken])
    assert_same(second, states[taken])
    other = next(name for name in held if name != taken)
    assert told and all(f"{taken} is taken" in each and f"wrapper: {other}" in each
                        and "\n" not in each for each in told)
    first, _, told = opened(tmp_path / "a.pth", wrapper=other)
    assert_same(first, states[other])


def test_a_file_with_more_than_the_model_is_refused_with_counts(tmp_path):
    state = prefixed("model.", network().state_dict())
    torch.save({"state_dict": state | {"criterion.weight": torch.ones(3)}}, tmp_path / "a.ckpt")
    said = message_of(lambda: load_model(entry(tmp_path / "a.ckpt"), tmp_path))
    for words in (f"of {len(state)} tensors of the model and {len(state) + 1} of the file",
                  f"{len(state)} that they lack (cls_token, pos_embed, ",
                  f"{len(state) + 1} that they have besides (model.cls_token, "):
        assert words in said, said


def test_of_several_that_nothing_tells_apart_none_is_taken(tmp_path):
    states = {name: network(seed).state_dict() for seed, name in enumerate(("left", "right"))}
    torch.save(states, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "2 state dicts (left, right)", "wrapper: left")
    assert_same(load_model(entry(tmp_path / "a.pth", wrapper="right"), tmp_path, dtype="float32"),
                states["right"])
    assert "'middle'" in message_of(lambda: load_model(entry(tmp_path / "a.pth",
                                                             wrapper="middle"), tmp_path))
    assert "wrapper" in message_of(lambda: load_model(entry(tmp_path / "a.pth", wrapper=3),
                                                      tmp_path))


def change(state, **changes):
    return {**state, **{name.replace("__", "."): value for name, value in changes.items()}}


@pytest.mark.parametrize(("changed", "words"), [
    (lambda state: change(state, criterion__weight=torch.ones(3)),
     ["1 that they have besides (criterion.weight)"]),
    (lambda state: prefixed("model.", state) | {"criterion.weight": torch.ones(3)},
     ["model.cls_token", ", …"]),
    (lambda state: {name: value for name, value in state.items() if name != "norm.bias"},
     ["1 that they lack (norm.bias)"]),
    (lambda state: change(state, norm__weight=torch.ones(5)),
     ["1 that they have in another shape (norm.weight (5,), the model's (64,))"]),
    (lambda state: {name: (8 * value).to(torch.int8) for name, value in state.items()},
     ["in another kind of number", "torch.int8"]),
    (lambda state: change(state, norm__weight=torch.full((64,), torch.nan)),
     ["not finite in 1 of", "(norm.weight)"]),
    (lambda state: {name: value * torch.inf for name, value in state.items()}, ["not finite in"]),
    (lambda state: change(state, pos_embed=torch.ones(1, 1 + 6 * 7, 64)),
     ["43 positions", "10 x 10 patches"]),
    (lambda state: change(state, pos_embed=torch.ones(1, 36, 64)), ["36 positions"]),
    (lambda state: state | prefixed("module.", {"norm.bias": torch.ones(64)}),
     ["1 that they have besides (module.norm.bias)"]),
    (lambda state: state | {"norm._orig_mod.bias": torch.ones(64)}, ["twice", "(norm.bias)"]),
    (lambda state: change(state, pre_logits__fc__weight=torch.ones(64, 64)), ["pre_logits"]),
    (lambda state: state | {"epoch": 3}, ["no state dict but epoch: int"]),
    (lambda state: {name: value.to("meta") for name, value in state.items()}, ["without values"]),
    (lambda state: list(state.values()), ["no state dict but a list"]),
], ids=range(15))
def test_files_that_do_not_fit_are_refused_by_both_doors(tmp_path, changed, words):
    torch.save(changed(dict(network().state_dict())), tmp_path / "a.pth")
    refused(tmp_path / "a.pth", *words)


@pytest.mark.parametrize(("content", "words"), [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS"),
    (b"<!DOCTYPE html>\n<html></html>", "web page"), (b"", "empty"), (b"\x1f\x8b\x08\0", "gzip"),
    (b"\x89HDF\r\n\x1a\n", "HDF5")], ids=str)
@pytest.mark.parametrize("ending", [".pth", ".safetensors", ".ckpt"])
def test_what_is_no_weight_file_is_called_what_it_is(tmp_path, ending, content, words):
    (tmp_path / f"a{ending}").write_bytes(content)
    refused(tmp_path / f"a{ending}", words)


def test_a_torch_file_that_is_called_otherwise(tmp_path):
    torch.save(network().state_dict(), tmp_path / "a.safetensors")
    refused(tmp_path / "a.safetensors", "torch")
    save_file(network().state_dict(), tmp_path / "b.pth")
    refused(tmp_path / "b.pth")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_files_in_other_precisions(tmp_path, dtype):
    state = {name: value.to(dtype) for name, value in network().state_dict().items()}
    torch.save(state, tmp_path / "a.pth")
    first, second, told = opened(tmp_path / "a.pth")
    assert_same(first, state)
    assert_same(second, state)
    assert told == []


@pytest.mark.parametrize(("name", "more"), [
    ("test_vit", {}), ("test_vit2", {}), ("test_vit3", {}),
    ("test_vit", {"reg_tokens": 2}), ("test_vit", {"reg_tokens": 2, "no_embed_class": True}),
    ("test_vit", {"class_token": False, "global_pool": "avg"})], ids=str)
def test_positions_of_another_size_are_the_files(tmp_path, name, more):
    own = network(name=name, img_size=96, **more)
    size = own.patch_embed.img_size
    save_file(own.state_dict(), tmp_path / "mine.safetensors")
    spec = {"timm": name, "arguments": {**KEEP, **more},
            "weights": str(tmp_path / "mine.safetensors")}
    if not more:
        _, spec = model_entry(f"{name}={tmp_path / 'mine.safetensors'}")
        assert spec["arguments"] == {"num_classes": 3, "img_size": 96}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loaded = load_model(spec, tmp_path, dtype="float32")
        assert loaded.patch_embed.img_size == size
        assert preprocessing(spec, loaded)["input_size"][1:] == [96, 96]
        images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
        assert torch.equal(loaded(images), own(images))
        del spec["arguments"]["img_size"]
    with pytest.warns(UserWarning, match=r"positions for 96 x 96 pixels.*img_size: 96") as told:
        load_model(spec, tmp_path)
    assert len(told) == 1 and "\n" not in str(told[0].message)
    spec["arguments"]["img_size"] = 64  # somebody's own wish
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_model(spec, tmp_path).patch_embed.img_size == (64, 64)


def test_a_size_that_is_not_square_is_that_of_the_entry(tmp_path):
    own = network(img_size=(96, 64))
    torch.save(own.state_dict(), tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "positions", "img_size")
    spec = entry(tmp_path / "a.pth", arguments={**KEEP, "img_size": [96, 64]})
    assert_same(load_model(spec, tmp_path, dtype="float32"), own.state_dict())


def test_a_file_without_a_head_or_for_another_network(tmp_path):
    state = dict(network().state_dict())
    del state["head.weight"], state["head.bias"]
    torch.save(state, tmp_path / "a.pth")
    refused(tmp_path / "a.pth", "head.weight")
    assert "nonesuch" in message_of(lambda: model_entry(f"nonesuch={tmp_path / 'a.pth'}"))
    assert "nowhere.pth" in message_of(lambda: model_entry(f"test_vit={Path('nowhere.pth')}"))


def test_only_tensors_are_read(tmp_path):
    torch.save({"model": network().state_dict(), "date": Path("a")}, tmp_path / "a.ckpt")
    assert "more than tensors" in message_of(lambda: read_state(tmp_path / "a.ckpt"))
    refused(tmp_path / "a.ckpt", "more than tensors")
