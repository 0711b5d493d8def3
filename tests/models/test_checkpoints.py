"""Weight files: where they are looked for, whether they are the right ones, how they are fetched
and what they may hold."""

import argparse
import hashlib
import json
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import huggingface_hub
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from neuronpath_core.models.build import load_model
from neuronpath_core.models.checkpoints import check_entry, locate, missing
from neuronpath_core.models.download import download
from neuronpath_core.models.weight_files import file_sha256, pin, read_state, verify
from neuronpath_core.support.environment import WEIGHTS_VARIABLE
from tests import helpers

NAME = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
PRETRAINED = {"timm": NAME, "pretrained": True}
LOCAL = {"architecture": helpers.SIZES, "weights": "small.safetensors"}
HUB = {"timm": "hf-hub:someone/small"}
WRAPPED = {
    "bare": (".pth", lambda state: state), "model": (".pt", lambda state: {"model": state}),
    "state_dict": (".bin", lambda state: {"state_dict": state}),
    "arguments": (".pth", lambda state: {"model": state, "args": argparse.Namespace(lr=0.1),
                                         "epoch": 3}),
    "parallel": (".pth",
                 lambda state: {"state_dict": {f"module.{key}": value for key,
                                               value in state.items()}}),
    "averaged": (".pth", lambda state: {"model": {key: value + 1 for key, value in state.items()},
                                        "model_ema": state}),
}


def message_of(call):
    with pytest.raises(ValueError, match=".+") as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A project root, a folder of weights and a Hugging Face cache, all empty."""
    root, folder, cache = (tmp_path / name for name in ("root", "weights", "cache"))
    for each in (root, folder, cache):
        each.mkdir()
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(folder))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return root, folder, cache


def small_file(path: Path, seed: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(helpers.small_vit(seed).state_dict(), path)
    return path


def cached(cache: Path, repository: str, contents: dict[str, bytes],
           revision: str = "main") -> Path:
    """A repository in the Hugging Face cache, laid out as huggingface_hub does: blobs by digest,
    and links to them in a snapshot."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    base = cache / f"models--{repository.replace('/', '--')}"
    snapshot = base / "snapshots" / commit
    for each in (base / "blobs", base / "refs", snapshot):
        each.mkdir(parents=True, exist_ok=True)
    (base / "refs" / revision).write_text(commit)
    for name, content in contents.items():
        blob = base / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


def small_bytes(tmp_path: Path, seed: int = 3) -> bytes:
    return small_file(tmp_path / "bytes.safetensors", seed).read_bytes()


def same(model: torch.nn.Module, seed: int) -> bool:
    expected = helpers.small_vit(seed).state_dict()
    return all(torch.equal(value, expected[name].float().to(value.dtype)) for name,
               value in model.state_dict().items())


# --- where ---


def test_the_folder_of_weights_comes_before_the_project(places):
    root, folder, _ = places
    in_root = small_file(root / "small.safetensors", 1)
    assert locate(LOCAL, root) == in_root
    in_folder = small_file(folder / "small.safetensors", 2)
    assert locate(LOCAL, root) == in_folder
    assert same(load_model(LOCAL, root), 2)


def test_an_absolute_file(places, tmp_path):
    file = small_file(tmp_path / "elsewhere" / "mine.safetensors")
    assert locate({**LOCAL, "weights": str(file)}, places[0]) == file


def test_a_timm_name_has_three_places(places, tmp_path):
    root, folder, cache = places
    assert NAME in missing(PRETRAINED, root)
    snapshot = cached(cache, f"timm/{NAME}", {"model.safetensors": b"cached"})
    assert locate(PRETRAINED, root) == snapshot / "model.safetensors"
    (folder / NAME).mkdir()
    (folder / NAME / "model.safetensors").write_bytes(b"in a folder")
    assert locate(PRETRAINED, root) == folder / NAME / "model.safetensors"
    (folder / f"{NAME}.safetensors").write_bytes(b"beside")
    assert locate(PRETRAINED, root) == folder / f"{NAME}.safetensors"


def test_a_timm_name_without_its_tag_finds_the_file_of_the_full_name(places):
    root, folder, _ = places
    (folder / f"{NAME}.safetensors").write_bytes(b"x")
    assert locate({"timm": "vit_tiny_patch16_224", "pretrained": True},
                  root) == folder / f"{NAME}.safetensors"


def test_entries_without_files(places):
    for spec in ({"architecture": helpers.SIZES}, {"timm": NAME},
                 {"timm": NAME, "pretrained": False}):
        assert locate(spec, places[0]) is None and missing(spec, places[0]) is None
        assert download(spec, places[0], places[1]) is None


def test_a_missing_file_is_told_with_its_places_and_how_to_get_it(places):
    root, folder, cache = places
    message = missing(PRETRAINED, root, "big")
    for word in (str(folder / f"{NAME}.safetensors"), str(folder / NAME / "model.safetensors"),
                 str(cache),
                 "'neuronpath download --profile big --weights DIR'",
                 f"'hf download timm/{NAME} model.safetensors'"):
        assert word in message
    message = missing({**LOCAL, "weights": "a.pth", "url": "https://example.org/a.pth"}, root)
    for word in (str(folder / "a.pth"), str(root / "a.pth"), "--profile NAME",
                 "https://example.org/a.pth"):
        assert word in message
    assert "'make weights'" in missing(LOCAL, root)
    message = missing({"timm": "hf-hub:someone/small@v2"}, root)
    for word in (str(folder / "someone/small/model.safetensors"),
                 "'hf download someone/small config.json model.safetensors --revision v2'"):
        assert word in message
    for spec in (PRETRAINED, LOCAL, HUB):
        assert message_of(lambda spec=spec: load_model(spec, root)) == missing(spec, root)


def test_a_folder_of_weights_that_is_not_there(places, monkeypatch):
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(places[1] / "nowhere"))
    assert "nowhere" in missing(LOCAL, places[0]) and WEIGHTS_VARIABLE in missing(LOCAL, places[0])


@pytest.mark.parametrize(("spec", "words"), [
    ({}, ["'architecture'", "'timm'"]), ({"architecture": {}, "timm": NAME}, ["either"]),
    ({"timm": 3}, ["3"]),
    ({"timm": "local-dir:a"}, ["local-dir", "hf-hub:owner"]),
    ({"timm": "hf-hub:small"}, ["hf-hub:small"]), ({"timm": "hf-hub:a/b/c"}, ["a/b/c"]),
    ({"timm": NAME, "arguments": [1]}, ["[1]"]),
    ({"timm": NAME, "arguments": {"checkpoint_path": "a.pth"}}, ["checkpoint_path"]),
    ({"architecture": {}, "arguments": {"img_size": 8}}, ["img_size", "beside 'timm'"]),
    ({"timm": NAME, "pretrained": "yes"}, ["'yes'"]), ({"architecture": {}, "pretrained": True},
                                                       ["timm name"]),
    ({**PRETRAINED, "weights": "a.safetensors"}, ["a.safetensors"]),
    ({**HUB, "weights": "a.safetensors"}, ["hub"]), ({"timm": NAME, "weights": 3}, ["3"]),
    ({**LOCAL, "format": "jax"}, ["'jax'", "timm or mae"]),
    ({"timm": NAME, "format": "mae"}, ["beside 'weights'"]),
    ({"timm": NAME, "url": "x"}, ["beside 'weights'"]),
    ({**LOCAL, "url": "example.org/a.pth"}, ["example.org/a.pth", "begins with https://"]),
], ids=str)
def test_entries_that_contradict_themselves(spec, words):
    for call in (check_entry, lambda spec: missing(spec, Path()),
                 lambda spec: load_model(spec, Path())):
        message = message_of(lambda call=call: call(spec))
        assert all(word in message for word in [*words, "accepted"])


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224.nonesuch", "vit_nonesuch",
                                  "vit_base_patch16_18x2_224"])
def test_timm_names_without_weights(places, name):
    message = message_of(lambda: missing({"timm": name, "pretrained": True}, places[0]))
    assert name in message and "pretrained: false" in message
    assert ("augreg_in21k_ft_in1k" in message) == ("tiny" in name)


# --- whether it is the right one ---


def test_what_is_known_of_a_digest_must_be_so(places):
    root, folder, _ = places
    file = small_file(folder / "small.safetensors")
    digest, md5 = file_sha256(file), hashlib.md5(file.read_bytes()).hexdigest()
    for right in ({"sha256": digest}, {"sha256": digest.upper()}, {"sha256_prefix": digest[:8]},
                  {"md5_prefix": md5[:6]}):
        assert verify(file, {**LOCAL, **right}) == digest
    other = hashlib.sha256(b"").hexdigest()
    nearly = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    assert "the model entry's sha256" in message_of(lambda: verify(file,
                                                                   {**LOCAL, "sha256": nearly}))
    for wrong, word in (({"sha256": other}, "the model entry's sha256"),
                        ({"sha256_prefix": other[:8]}, "sha256_prefix")):
        message = message_of(lambda wrong=wrong: verify(file, {**LOCAL, **wrong}))
        assert digest[:12] in message and other[:8] in message and word in message
    message = message_of(lambda: verify(file, {**LOCAL, "md5_prefix": "000000"}))
    assert md5[:12] in message and "000000" in message and "MD5" in message
    assert "no SHA-256" in message_of(lambda: verify(file, {**LOCAL, "sha256": digest[:8]}))


def test_a_changed_file_is_noticed_from_the_second_use_on(places):
    root, folder, _ = places
    file = small_file(folder / "small.safetensors", 1)
    pinned, digest = folder / "small.safetensors.sha256", file_sha256(file)
    assert not pinned.exists()
    load_model(LOCAL, root)
    assert pinned.read_text() == f"{digest}  small.safetensors\n"
    assert subprocess.run(["sha256sum", "-c", pinned.name], cwd=folder, capture_output=True,
                          check=False).returncode == 0
    assert same(load_model(LOCAL, root), 1)
    small_file(file, 2)
    message = message_of(lambda: load_model(LOCAL, root))
    assert digest[:12] in message and file_sha256(file)[:12] in message and str(pinned) in message
    pinned.unlink()
    assert same(load_model(LOCAL, root), 2)


def test_a_whole_digest_in_the_entry_leaves_nothing_to_record(places):
    root, folder, _ = places
    file = small_file(folder / "small.safetensors")
    load_model({**LOCAL, "sha256": file_sha256(file)}, root)
    assert [each.name for each in folder.iterdir()] == ["small.safetensors"]
    load_model({**LOCAL, "sha256_prefix": file_sha256(file)[:8]}, root)
    assert (folder / "small.safetensors.sha256").exists()


def test_a_file_that_does_not_fit_is_not_recorded(places):
    root, folder, _ = places
    small_file(folder / "small.safetensors")
    message_of(lambda: load_model({**LOCAL, "architecture": {**helpers.SIZES, "depth": 2}}, root))
    assert [each.name for each in folder.iterdir()] == ["small.safetensors"]


@pytest.mark.parametrize("content", ["", "no digest", "0123"])
def test_a_record_that_is_none(places, content):
    root, folder, _ = places
    small_file(folder / "small.safetensors")
    (folder / "small.safetensors.sha256").write_text(content)
    assert "small.safetensors.sha256" in message_of(lambda: load_model(LOCAL, root))


@pytest.mark.parametrize(("content", "word"), [
    ("{", "not JSON"), ("{}", "not listed"), ('["small.safetensors"]', "not listed"),
    ('{"small.safetensors": {}}', "not listed"), ("5", "not listed")])
def test_a_list_of_digests_that_is_none(places, content, word):
    root, folder, _ = places
    small_file(folder / "small.safetensors")
    (folder / "weights.json").write_text(content)
    message = message_of(lambda: load_model(LOCAL, root))
    assert word in message and "weights.json" in message


@pytest.mark.skipif(not Path("/proc/self/mem").is_file(), reason="needs Linux")
def test_a_file_that_the_disk_does_not_give(places):
    root, folder, _ = places
    # whose first bytes are an input/output error
    (folder / "small.safetensors").symlink_to("/proc/self/mem")
    message = message_of(lambda: load_model(LOCAL, root))
    assert "small.safetensors cannot be read" in message and "accepted" in message


@pytest.mark.skipif(not Path("/proc/sys/kernel/ostype").is_file(), reason="needs Linux")
def test_a_folder_that_nobody_can_write_to():
    file = Path("/proc/sys/kernel/ostype")
    pin(file, {}, digest := verify(file, {}))
    assert digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert not Path(f"{file}.sha256").exists()


def test_the_cache_of_the_hub_names_files_by_digest(places, tmp_path):
    root, _, cache = places
    snapshot = cached(cache, "someone/small", {"model.safetensors": small_bytes(tmp_path)})
    file = snapshot / "model.safetensors"
    pin(file, HUB, verify(file, HUB))
    assert not (snapshot / "model.safetensors.sha256").exists()
    file.resolve().write_bytes(small_bytes(tmp_path, 4))
    assert "the Hugging Face cache" in message_of(lambda: verify(file, HUB))


# --- reading ---


@pytest.mark.parametrize("kind", WRAPPED)
def test_torch_files_of_training_scripts(places, kind):
    root, folder, _ = places
    suffix, wrap = WRAPPED[kind]
    torch.save(wrap(helpers.small_vit(5).state_dict()), folder / f"file{suffix}")
    assert same(load_model({**LOCAL, "weights": f"file{suffix}"}, root), 5)


def test_a_torch_file_of_the_oldest_format(places):
    torch.save(helpers.small_vit(5).state_dict(), places[1] / "old.pth",
               _use_new_zipfile_serialization=False)
    assert same(load_model({**LOCAL, "weights": "old.pth"}, places[0]), 5)


class Harmful:
    """What runs a command as it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("write", [torch.save, lambda value,
                                   path: torch.save(value, path,
                                                    _use_new_zipfile_serialization=False),
                                   lambda value,
                                   path: path.write_bytes(pickle.dumps(value, protocol=2))],
                         ids=["zip", "old", "plain pickle"])
def test_code_in_a_file_is_not_run(places, write):
    root, folder, _ = places
    file, proof = folder / "bad.pth", folder / "proof"
    write({"model": helpers.small_vit(5).state_dict(), "extra": Harmful(f"touch {proof}")}, file)
    message = message_of(lambda: load_model({**LOCAL, "weights": "bad.pth"}, root))
    assert not proof.exists() and "more than tensors" in message and "weights_only" not in message
    # a plain pickle is no torch file, which shows when it has been run
    with suppress(RuntimeError):
        torch.load(file, weights_only=False)
    assert proof.exists()  # the file does what it is for


@pytest.mark.parametrize("share", [0.0, 0.3, 0.98])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_truncated_files(places, suffix, share):
    root, folder, _ = places
    file, state = folder / f"file{suffix}", helpers.small_vit(5).state_dict()
    (save_file if suffix == ".safetensors" else torch.save)(state, file)
    file.write_bytes(file.read_bytes()[:int(share * file.stat().st_size)])
    message = message_of(lambda: load_model({**LOCAL, "weights": file.name}, root))
    assert file.name in message and ("cannot be read" in message or "not read" in message)
    assert [each.name for each in folder.iterdir()] == [file.name]


def test_files_without_a_state_dict(tmp_path):
    for number, value in enumerate([torch.zeros(3), {}, {"a": 1},
                                    {"model": {"a": [torch.zeros(1)]}}, [torch.zeros(1)]]):
        torch.save(value, tmp_path / f"{number}.pth")
        assert "no state dict" in message_of(lambda number=number: read_state(
            tmp_path / f"{number}.pth"))
    (tmp_path / "a.npz").write_bytes(b"")
    assert ".npz" in message_of(lambda: read_state(tmp_path / "a.npz")) and ".pth" in message_of(
        lambda: read_state(tmp_path / "a.npz"))


# --- fetching ---


def served(tmp_path: Path, seed: int = 3, wrap=lambda state: {"model": state}) -> tuple[Path, dict]:
    file = tmp_path / "served" / "net.pth"
    file.parent.mkdir(exist_ok=True)
    torch.save(wrap(helpers.small_vit(seed).state_dict()), file)
    return file, {"architecture": helpers.SIZES, "weights": "deep/net.pth", "url": file.as_uri()}


def test_a_url_is_fetched_once(places, tmp_path):
    root, folder, _ = places
    file, spec = served(tmp_path)
    spec |= {"sha256_prefix": file_sha256(file)[:8].upper(),
             "md5_prefix": hashlib.md5(file.read_bytes()).hexdigest()[:6]}
    got = download(spec, root, folder, progress=False)
    assert got == folder / "deep/net.pth" and got.read_bytes() == file.read_bytes()
    assert sorted(each.name for each in got.parent.iterdir()) == ["net.pth", "net.pth.sha256"]
    assert same(load_model(spec, root), 3)
    file.unlink()
    assert download(spec, root, folder, progress=False) == got


def test_a_download_makes_its_folder(places, tmp_path):
    assert download(served(tmp_path)[1], places[0], tmp_path / "new" / "folder",
                    progress=False).is_file()


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"sha256_prefix": "00000000"},
                                   {"md5_prefix": "000000"}], ids=str)
def test_a_download_with_another_digest_leaves_nothing(places, tmp_path, wrong):
    root, folder, _ = places
    spec = served(tmp_path)[1] | wrong
    assert "000000" in message_of(lambda: download(spec, root, folder, progress=False))
    assert list((folder / "deep").iterdir()) == []


def test_a_short_download_leaves_nothing(places, tmp_path):
    root, folder, _ = places
    file, spec = served(tmp_path)
    file.write_bytes(file.read_bytes()[:-500])
    assert "cannot be read" in message_of(lambda: download(spec, root, folder, progress=False))
    assert list((folder / "deep").iterdir()) == []


def test_a_file_that_is_there_is_checked_not_fetched_again(places, tmp_path):
    root, folder, _ = places
    spec = served(tmp_path)[1]
    download(spec, root, folder, progress=False)
    torch.save({"model": helpers.small_vit(9).state_dict()}, folder / "deep/net.pth")
    assert "net.pth.sha256" in message_of(lambda: download(spec, root, folder, progress=False))


def test_downloads_that_cannot_be(places, tmp_path):
    root, folder, _ = places
    file, spec = served(tmp_path)
    file.unlink()
    message = message_of(lambda: download(spec, root, folder, progress=False))
    assert "could not be fetched" in message and spec["url"] in message and "network" in message
    assert list((folder / "deep").iterdir()) == []
    assert "a url in the model entry" in message_of(lambda: download(LOCAL, root, folder))
    assert "could not be fetched" in message_of(
        lambda: download({**spec, "url": "https://no host/net.pth"}, root, folder, progress=False))
    (tmp_path / "taken").write_text("")
    assert "could not be fetched" in message_of(lambda: download(served(tmp_path)[1], root,
                                                                 tmp_path / "taken",
                                                                 progress=False))


def test_names_on_the_hub_without_a_network(places, monkeypatch):
    # what the environment variable sets as the library is imported
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for spec, repository in ((PRETRAINED, f"timm/{NAME}"), (HUB, "someone/small")):
        message = message_of(lambda spec=spec: download(spec, *places[:2]))
        assert "could not be fetched" in message and repository in message and "network" in message
        assert missing(spec, places[0])


def test_names_on_the_hub_are_fetched_into_the_folder(places, tmp_path, monkeypatch):
    root, folder, _ = places
    calls = []

    # what the network would bring
    def hf_hub_download(repository, file, revision=None, local_dir=None):
        calls.append((repository, file, revision))
        path = Path(local_dir) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small_bytes(tmp_path) if file.endswith("safetensors") else b"{}")
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    for spec, name in ((PRETRAINED, NAME), ({"timm": "hf-hub:someone/small@v2"}, "someone/small")):
        for _ in range(2):
            assert download(spec, root,
                            folder) == folder / name / "model.safetensors" == locate(spec, root)
        assert (folder / name / "model.safetensors.sha256").is_file()
    assert calls == [(f"timm/{NAME}", "model.safetensors", None),
                     ("someone/small", "config.json", "v2"),
                     ("someone/small", "model.safetensors", "v2")]


def test_a_revision_of_a_model_of_the_hub(places):
    root, _, cache = places
    snapshot = cached(cache, "someone/small", {"config.json": b"{}", "model.safetensors": b"x"},
                      revision="v2")
    assert locate({"timm": "hf-hub:someone/small@v2"}, root) == snapshot / "model.safetensors"
    assert missing(HUB, root) and missing({"timm": "hf-hub:someone/small@v3"}, root)


def test_half_a_model_of_the_hub_is_none(places, tmp_path):
    root, folder, cache = places
    cached(cache, "someone/small", {"model.safetensors": small_bytes(tmp_path)})
    small_file(folder / "someone/small/model.safetensors")
    assert "config.json" in missing(HUB, root)


def test_a_model_in_the_cache_of_the_hub_loads_without_a_network(tmp_path):
    """A process of its own, because huggingface_hub reads its environment once."""
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1, num_classes=3)
    file = tmp_path / "file.safetensors"
    save_file(model.state_dict(), file)
    config = {"architecture": "vit_tiny_patch16_224", "num_classes": 3,
              "model_args": {"img_size": 32, "depth": 1},
              "pretrained_cfg": {"input_size": [3, 32, 32], "fixed_input_size": True,
                                 "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "num_classes": 3,
                                 "first_conv": "patch_embed.proj", "classifier": "head"}}
    contents = {"config.json": json.dumps(config).encode(), "model.safetensors": file.read_bytes()}
    cached(tmp_path / "home" / "hub", "someone/small", contents)
    cached(tmp_path / "home" / "hub", "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", contents)
    code = f"""
import torch
from pathlib import Path
from safetensors.torch import load_file

from neuronpath_core.models.build import build_model, load_model, preprocessing
from neuronpath_core.models.checkpoints import missing
root, state = Path({str(tmp_path)!r}), load_file({str(file)!r})
hub = {{"timm": "hf-hub:someone/small"}}
for spec in (hub, {{**hub, "pretrained": True}}):
    model = load_model(spec, root, dtype="float32")
    assert state.keys() == model.state_dict().keys() and all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert preprocessing(spec, model)["mean"] == [0.1, 0.2, 0.3] and preprocessing(spec, model)["input_size"] == [3, 32, 32]
for fresh in (load_model({{**hub, "pretrained": False}}, root), build_model(hub)):
    assert fresh.head.out_features == 3 and not torch.equal(fresh.head.weight.float(), state["head.weight"])
big = load_model({{**hub, "arguments": {{"img_size": 64}}}}, root)
assert big.pos_embed.shape[1] == 17
arguments = {{"img_size": 32, "depth": 1}}
for spec in ({{"timm": "hf-hub:nobody/nothing"}}, {{"timm": "vit_small_patch16_224", "pretrained": True}}):
    try:
        load_model(spec, root)
    except ValueError as error:
        assert "\\n" not in str(error) and "hf download" in str(error) and str(error) == missing(spec, root)
    else:
        raise AssertionError(spec)
try:
    load_model({{"timm": "vit_tiny_patch16_224", "pretrained": True, "arguments": arguments}}, root)
except ValueError as error:
    assert "1000" in str(error) or "size mismatch" in str(error), error
else:
    raise AssertionError("three classes fitted a model of 1000")
"""
    environment = {key: value for key, value in os.environ.items()
                   if key not in (WEIGHTS_VARIABLE, "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True,
                          text=True, check=False,
                          env={**environment, "HF_HOME": str(tmp_path / "home"),
                               "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
