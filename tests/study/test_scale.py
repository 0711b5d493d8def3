"""Long runs through the command: what is looked for before any work, and what they outlive, each
fault a real one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

import neuronpath_core as npc
from neuronpath_core.images.index import PictureWarning
from neuronpath_core.study.profiles import load_profile, profile_names
from neuronpath_core.study.study import IMAGES_PER_PART, Study
from tests import helpers, rehearsal

ROOT = Path(__file__).parents[2]
INPUTS = ("--data", "data-set", "--weights", "w")
PER_CLASS = 160  # of four classes: eight parts
SLOW = ("paths", "--profile", "rehearsal", *INPUTS, "--model", "ViT-B-16", "--n-images",
        4 * PER_CLASS, "--context", "full", "--quadrature", "left",
        "--steps", 40)
PARTS = 4 * PER_CLASS // IMAGES_PER_PART


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A study with the profile ``rehearsal``, of which nothing was run."""
    return rehearsal.make_study(tmp_path_factory.mktemp("scale") / "study", ROOT,
                                per_class=PER_CLASS)


@pytest.fixture
def profile(root):
    """Writes another profile, which goes when the test ends."""
    written = []

    def write(name, **entries):
        written.append(root / "profiles" / f"{name}.yml")
        written[-1].write_text(yaml.safe_dump(entries))
        return name

    yield write
    for path in written:
        path.unlink()


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """The table of :data:`SLOW`, from this process, in one go."""
    results = tmp_path_factory.mktemp("whole")
    status, _, errors = rehearsal.command(root, *SLOW, "--results", results)
    assert status == 0, errors
    return table(results)


@pytest.fixture
def process(root):
    """Starts the command; what is left of it in the end is killed."""
    started = []

    def start(*arguments, **variables):
        started.append(rehearsal.start(root, *arguments, **variables))
        return started[-1]

    yield start
    for each in started:
        with suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
        each.communicate()


def table(results):
    """The bytes of the only path table, and the record of what computed it."""
    folder, = (path.parent for path in results.glob("paths/*/manifest.json"))
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "paths.parquet"]
    return (folder / "paths.parquet").read_bytes(), json.loads(
        (folder / "manifest.json").read_text())


def parts(results):
    """Finished parts, with their times."""
    return {path.name: path.stat().st_mtime_ns for path in results.glob("paths/*/parts/part-*")}


def wait_for_parts(results, process, most=PARTS):
    """Wait until some parts are finished, but not all of them."""
    deadline = time.monotonic() + 120
    while not parts(results) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    assert 0 < len(parts(results)) < most, process.poll()


def files(folder):
    """Every file below a folder, with its time."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def assert_one_line(answer, *words, printed=""):
    """Exit status 2, nothing done that would be printed, and one line on standard error that holds
    every word."""
    status, output, errors = answer
    assert status == 2
    assert output == printed
    assert errors.startswith("neuronpath: ") and errors.endswith("\n") and errors.count(
        "\n") == 1, errors
    for word in words:
        assert str(word) in errors, errors


def listed(answer):
    """The problems that ``--check`` lists; in the end it says in one line how many there are."""
    status, output, errors = answer
    problems = [line.removeprefix("missing or wrong: ") for line in output.splitlines()
                if line.startswith("missing or wrong: ")]
    assert problems
    assert (status, errors) == (2,
                                f"neuronpath: {len(problems)} of the things that this run needs "
                                f"are missing or wrong; "
                                   "accepted: what the lines above name\n")
    return problems, output


# --- a dry run ---


def test_a_dry_run_tells_the_cost_and_does_nothing(root):
    before = files(root / "data-set") | files(root / "notebooks")
    status, output, errors = rehearsal.command(root, "run", "02", "04", "08", "--profile",
                                               "rehearsal", *INPUTS, "--check")
    assert (status, errors) == (0, "")
    lines = [line.split() for line in output.splitlines()]
    assert lines[0] == ["notebook", "models", "images", "time", "memory", "disk", "basis"]
    assert [line[0] for line in lines[1:5]] == ["02_table1", "04_class_paths", "08_benchmarks",
                                                "total"]
    assert (lines[1][1:3], lines[2][1:3]) == (["4", "20"], ["4", "40"])
    assert output.endswith("nothing is missing\n")
    assert not files(root / "results") and files(root
                                                 / "data-set") | files(root / "notebooks") == before
    status, output, errors = rehearsal.command(root, "paths", "--profile", "rehearsal", *INPUTS,
                                               "--n-images", 8, "--model", "MAE-B-16", "--check")
    assert (status, errors) == (0, "")
    assert [line.split()[0] for line in output.splitlines()[:3]] == ["model", "MAE-B-16",
                                                                     "total"] and output.endswith(
        "nothing is missing\n")
    assert not files(root / "results")


def test_a_dry_run_lists_whatever_is_missing(root, tmp_path, profile):
    profile("elsewhere", extends="rehearsal", notebooks={"02_table1": {"device": "cuda:7"},
                                                         "03_probability_deviation": {
        "device": "cuda:6"}})
    for name in ("nothing", "here"):
        (tmp_path / name).mkdir()
    problems, output = listed(rehearsal.command(root, "run", "02", "03", "--profile", "elsewhere",
                                                "--data", tmp_path / "nothing", "--weights",
                                                tmp_path / "here", "--check"))
    assert len(problems) == 7
    assert ["device 'cuda:6'" in problems[0], "device 'cuda:7'" in problems[1]] == [True, True]
    assert "images of profile elsewhere" in problems[2] and str(tmp_path / "nothing") in problems[
        2] and "image-net.org" in problems[2]
    for problem, (name, spec) in zip(problems[3:],
                                     load_profile("rehearsal", root)["models"].items(),
                                     strict=True):
        assert problem.startswith(f"weights of {name}: ") and str(tmp_path
                                                                  / "here") in problem and "accepted: " in problem
        assert spec.get("weights", spec["timm"]) in problem
        assert not spec.get(
            "pretrained") or "neuronpath download --profile elsewhere --weights DIR" in problem
    assert output.endswith("until then nothing can be estimated\n")
    assert not files(root / "results")


def test_a_dry_run_finds_wrong_classes_weights_counts_and_devices(root, tmp_path, profile):
    profile("folders", extends="rehearsal", dataset={"class_names": "folder"},
            models={"ViT-L-32": {"arguments": {"num_heads": 5}}})
    weights = shutil.copytree(root / "w", tmp_path / "w")
    plain = weights / "vit_base_patch16_224.orig_in21k_ft_in1k.safetensors"
    torch_file = weights / "mae_finetuned_vit_base.pth"
    plain.write_bytes(plain.read_bytes()[:-100])
    torch_file.with_name(f"{torch_file.name}.sha256").write_text(f"{'0' * 64}  {torch_file.name}\n")
    problems, output = listed(rehearsal.command(root, "paths", "--profile", "folders", "--data",
                                                "data-set", "--weights", weights, "--n-images", 0,
                                                "--device", "cuda:7", "--check"))
    for problem, words in zip(problems, [
            ("device 'cuda:7'", "does not have", "accepted: cpu"),
            ("images of profile folders", "cannot be 0", "accepted", "from 1"),
            ("model ViT-B-16", plain.name, "accepted"),
            ("model ViT-B-32", "4 classes", "1000 outputs", "accepted", "class_names: timm"),
            ("model ViT-L-32", "num_heads"),
            ("model MAE-B-16", torch_file.name, "SHA-256", "000000", "accepted")], strict=True):
        for word in words:
            assert word in problem, problem
    assert "until then nothing can be estimated" in output and not files(root / "results")


@pytest.mark.parametrize("command", [("run", "02"), ("paths",)], ids=["run", "paths"])
def test_a_run_without_its_inputs_stops_before_any_work(root, command, tmp_path):
    (tmp_path / "empty").mkdir()
    arguments = (*command, "--profile", "rehearsal")
    assert_one_line(rehearsal.command(root, *arguments), "images of profile rehearsal",
                    "image-net.org", "--data DIR", "NEURONPATH_DATA",
                    "and 4 more: --check lists them")
    assert_one_line(rehearsal.command(root, *arguments, "--data", "data-set", "--weights",
                                      tmp_path / "empty"),
                    "weights of ViT-B-16", "vit_base_patch16_224.orig_in21k_ft_in1k",
                    tmp_path / "empty", "Hugging Face cache",
                    "accepted: 'neuronpath download --profile rehearsal --weights DIR'",
                    "hf download timm/vit_base_patch16_224.orig_in21k_ft_in1k")
    assert_one_line(rehearsal.command(root, *arguments, "--data", "data-set", "--weights",
                                      tmp_path / "none"), "folder of weights", tmp_path / "none")
    assert_one_line(rehearsal.command(root, *arguments, "--data", tmp_path / "none", "--weights",
                                      "w"), "images of profile", tmp_path / "none")
    assert not files(root / "results")


@pytest.mark.parametrize(("options", "words"), [
    (["--workers", 2], ["engine 'local' takes no workers", "accepted: engine 'ray'"]),
    (["--address", "127.0.0.1:6379"], ["engine 'local' takes no address",
                                       "accepted: engine 'ray'"]),
    (["--engine", "dask"], ["'dask'", "local", "ray"]),
    (["--engine", "ray", "--workers", 0], ["--workers", "0"]),
    (["--engine", "ray", "--address", "nowhere"], ["'nowhere' is no address of a Ray cluster",
                                                   "accepted: HOST:PORT"])], ids=str)
@pytest.mark.parametrize("command", [("run", "02"), ("paths", "--n-images", "8")],
                         ids=["run", "paths"])
def test_engines_that_cannot_be_used_are_refused_before_any_work(root, command, options, words):
    assert_one_line(rehearsal.command(root, *command, "--profile", "rehearsal", *INPUTS, *options),
                    *words)
    assert not files(root / "results")


def test_a_number_of_workers_in_the_environment(root, monkeypatch):
    monkeypatch.setenv("NEURONPATH_WORKERS", "many")
    assert Study("rehearsal", root=root).engine is None  # it is that of Ray's alone
    with pytest.raises(ValueError,
                       match="NEURONPATH_WORKERS cannot be 'many'; accepted: a whole number of at "
                             "least 1"):
        Study("rehearsal", engine="ray", root=root)
    with pytest.raises(ValueError, match="engine 'local' takes no workers"):
        Study("rehearsal", engine="local", workers=2, root=root)


# --- images that cannot be read ---


def test_a_damaged_picture_is_fatal_or_left_out_as_the_profile_chooses(root, tmp_path, profile):
    profile("lenient", extends="rehearsal", dataset={"unreadable": "skip"})
    data = rehearsal.make_images(tmp_path / "data-set", 4, 10)
    broken = sorted((data / "val").glob("*/*.JPEG"))[3]
    broken.write_bytes(broken.read_bytes()[:300])
    arguments = ("--data", data, "--weights", "w", "--model", "ViT-B-16", "--n-images", 40,
                 "--results", tmp_path / "results")
    status, output, errors = rehearsal.command(root, "paths", "--profile", "rehearsal", *arguments)
    last = errors.rstrip("\n").split("\n")[-1]
    assert (status, output) == (2, "")
    assert last.startswith(
        "neuronpath: 1 of 40 images cannot be read: ") and f"{broken.parent.name}/{broken.name}" in last and "unreadable: skip" in last
    assert not list(tmp_path.glob("results/paths/*/*"))
    with pytest.warns(PictureWarning,
                      match=rf"1 of 40 images cannot be read: .*{broken.name}.*; they are left out"):
        status, output, errors = rehearsal.command(root, "paths", "--profile", "lenient",
                                                   *arguments)
    assert status == 0 and "ViT-B-16 neuron_path: 39 paths" in output
    kept = pd.read_parquet(next(tmp_path.glob("results/paths/*/paths.parquet")))
    assert kept["image"].tolist() == [place for place in range(40) if place != 3]
    names = [path.relative_to(data / "val").as_posix() for path in sorted(data.rglob("*.JPEG"))]
    assert kept["file"].tolist() == [names[place] for place in kept["image"]]


# --- what long runs outlive ---


def test_a_run_killed_in_the_middle_goes_on_where_it_stopped_and_nobody_else_writes_its_table(
        root, tmp_path, process, whole):
    first = process(*SLOW, "--results", tmp_path)
    wait_for_parts(tmp_path, first)
    status, output, errors = rehearsal.command(root, *SLOW, "--results", tmp_path)
    refusal = errors.rstrip("\n").split("\n")[-1]
    assert (status, output) == (2, "")
    assert "is being written by another process (host " in refusal and f"pid {first.pid}" in refusal and "accepted: one at a time" in refusal
    assert first.poll() is None  # it was not disturbed
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    left = parts(tmp_path)
    assert 0 < len(left) < PARTS

    status, output, errors = rehearsal.command(root, *SLOW, "--results", tmp_path)
    assert status == 0 and f"{4 * PER_CLASS} paths" in output, errors
    assert f"{IMAGES_PER_PART * len(left)}/{4 * PER_CLASS} " in errors  # the bar starts there
    content, record = table(tmp_path)
    assert content == whole[0]
    assert [session["parts"] for session in record["sessions"]] == [len(left), PARTS - len(left)]
    assert [session["pid"] for session in record["sessions"]] == [first.pid, os.getpid()]
    assert record["computed_from"] == whole[1]["computed_from"]


@pytest.mark.thorough
def test_two_ray_workers_one_of_them_killed_make_the_same_table(root, tmp_path, process, whole):
    if not Path("/proc/self/environ").exists():
        pytest.skip("workers are told by /proc")
    mark = str(tmp_path)
    run = process(*SLOW, "--results", tmp_path, "--engine", "ray", "--workers", 2,
                  NEURONPATH_TEST=mark)
    wait_for_parts(tmp_path, run)
    workers = ray_workers(mark)
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    output, errors = run.communicate(timeout=300)
    assert run.returncode == 0, errors
    assert f"process {workers[0]} on " in errors and "attempt 1 of 3" in errors
    content, record = table(tmp_path)
    assert content == whole[0]
    assert record["computed_from"] == whole[1]["computed_from"]
    assert [(session["engine"], session["parts"])
            for session in record["sessions"]] == [("ray", PARTS)]
    deadline = time.monotonic() + 60
    while (left := ray_workers(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def ray_workers(mark):
    """Processes of Ray's that work, of the run with this mark."""
    found, variable = [], f"NEURONPATH_TEST={mark}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if (entry / "cmdline").read_bytes().startswith(b"ray::Worker") and variable in (
                    entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return sorted(found)


def test_the_memory_budget_changes_no_path(root, tmp_path):
    found = []
    for budget in ([], ["--memory-budget", "2MB"], ["--memory-budget", "300 kB"]):
        results = tmp_path / str(len(found))
        status, _, errors = rehearsal.command(root, "paths", "--profile", "rehearsal", *INPUTS,
                                              "--n-images", 40, "--model", "ViT-B-32",
                                              "--model", "MAE-B-16", "--results", results, *budget)
        assert status == 0, errors
        found.append([(path.parent.name, pd.read_parquet(path))
                      for path in sorted(results.glob("paths/*/paths.parquet"))])
    for other in found[1:]:
        for (name, table), (same, again) in zip(found[0], other, strict=True):
            assert name == same  # found with one budget, it is used with another
            assert [list(each) for each in table["neurons"]] == [list(each)
                                                                 for each in again["neurons"]]
            # a draft's, in single precision
            np.testing.assert_allclose(again["score"], table["score"], rtol=1e-4, atol=1e-9)
    assert_one_line(rehearsal.command(root, "paths", "--memory-budget", "much", "--profile",
                                      "rehearsal", *INPUTS), "memory_budget", "'much'")


# --- a profile of one's own ---


@pytest.fixture(scope="module")
def mine(root, tmp_path_factory):
    """Weights of timm's smallest model for three classes, and pictures of cats, dogs and owls."""
    folder = tmp_path_factory.mktemp("mine")
    network = helpers.fill(timm.create_model("test_vit", num_classes=3), 5).float()
    save_file(network.state_dict(), folder / "pets.safetensors")
    rng = np.random.default_rng(3)
    for place, name in enumerate(("owls", "cats", "dogs")):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(4 + place):
            rehearsal.picture(rng, (50, 40),
                              rng.uniform(0, 255, 3)).save(folder / "pictures" / name
                                                           / f"{number}.jpg")
    return folder


@pytest.fixture
def clean(root):
    """No profile is left but those that were there."""
    before = profile_names(root)
    yield
    for name in set(profile_names(root)) - set(before):
        (root / "profiles" / f"{name}.yml").unlink()


def test_a_profile_of_ones_own_model_and_pictures(root, mine, tmp_path, clean):
    status, output, errors = rehearsal.command(root, "new-profile", "mine", "--model",
                                               f"test_vit={mine / 'pets.safetensors'}", "--data",
                                               mine / "pictures")
    assert (status, errors) == (0, "")
    assert output == f"{root / 'profiles' / 'mine.yml'} is written; 'neuronpath run --profile mine --check' says what a run needs\n"
    entries = load_profile("mine", root)
    assert entries["models"] == {"pets": {"timm": "test_vit", "pretrained": False,
                                          "arguments": {"num_classes": 3},
                                          "weights": str(mine / "pets.safetensors")}}
    # chapter 26 is about other models than the paper's, of which one's own may be
    assert set(entries["not_run"]) | {"26_relevance"} == {
        "01_knowledge_neurons", *load_profile("imagenet", ROOT)["not_run"]}
    assert_one_line(rehearsal.command(root, "run", "01", "--profile", "mine"),
                    "01_knowledge_neurons cannot be run", "it compares 2 models")
    # four of each class, which the smallest has; the published rule as it is
    assert entries["notebooks"]["02_table1"] == {"n_images": 12, "nodes": None}
    assert entries["notebooks"]["04_class_paths"] == {"n_images": 12, "agreement_images": 3}
    status, output, errors = rehearsal.command(root, "run", "--profile", "mine", "--check")
    assert (status, errors) == (0, "") and output.endswith("nothing is missing\n")

    status, output, errors = rehearsal.command(root, "paths", "--profile", "mine", "--n-images", 6,
                                               "--results", tmp_path)
    assert status == 0 and "pets neuron_path: 6 paths" in output, errors
    found = pd.read_parquet(next(tmp_path.glob("paths/*/paths.parquet")))
    study = Study("mine", root=root)
    images = study.images(6)
    assert images.class_names == ("cats", "dogs",
                                  "owls") and found["label"].tolist() == [0, 0, 1, 1, 2,
                                                                          2] == images.labels.tolist()
    target = npc.TargetModel(helpers.fill(timm.create_model("test_vit", num_classes=3),
                                          5).float().double().eval())
    direct = npc.find_paths(target, *study.batch(images, "pets"))
    assert study.batch(images, "pets")[0].shape == (6, 3, 160, 160)
    assert direct.neurons.tolist() == [list(each) for each in found["neurons"]]
    # a draft's
    torch.testing.assert_close(direct.score, torch.from_numpy(found["score"].to_numpy(copy=True)),
                               rtol=1e-4, atol=1e-9)


def test_names_of_timm_and_the_hub_become_entries_that_need_their_weights(root, mine, tmp_path,
                                                                          clean):
    data = rehearsal.make_images(tmp_path / "pictures", 2, 2)
    status, _, errors = rehearsal.command(root, "new-profile", "two", "--model",
                                          "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "--model",
                                          "hf-hub:somebody/Some_ViT", "--data", data,
                                          "--unreadable", "skip")
    assert (status, errors) == (0, "")
    entries = load_profile("two", root)
    assert entries["models"] == {"vit_tiny_patch16_224.augreg_in21k_ft_in1k": {
        "timm": "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "pretrained": True},
                                 "Some_ViT": {"timm": "hf-hub:somebody/Some_ViT",
                                              "pretrained": True}}
    assert entries["dataset"]["unreadable"] == "skip"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "no-cache"))
        for model in entries["models"]:
            assert_one_line(rehearsal.command(root, "paths", "--profile", "two", "--n-images", 2,
                                              "--model", model),
                            f"weights of {model}", "not found; looked for the Hugging Face cache",
                            "accepted: 'neuronpath download --profile two")
    # which has no network
    process = rehearsal.start(root, "download", "--profile", "two", "--weights", tmp_path / "w",
                              "--model", "Some_ViT")
    output, errors = process.communicate(timeout=120)
    assert_one_line((process.returncode, output, errors), "somebody/Some_ViT could not be fetched",
                    "accepted: a network connection")


REFUSED = {
    "a capital": (["Mine"], ["'Mine'", "accepted: small letters"]),
    "a path": (["../mine"], ["'../mine'", "accepted: small letters"]),
    "nothing": ([""], ["''", "accepted: small letters"]),
    "a name that is taken": (["digits"], ["'digits'", "not one of cifar10, digits"]),
    "a model that timm does not know": (["mine", "--model", "vit_tiny_patch17"],
                                        ["'vit_tiny_patch17'", "accepted"]),
    "weights that timm does not have": (["mine", "--model", "test_vit.mine"],
                                        ["'test_vit.mine'", "accepted", "test_vit"]),
    "a network that is no Transformer": (["mine", "--model", "resnet18.a1_in1k"],
                                         ["ResNet", "VisionTransformer"]),
    "an architecture that does not exist": (["mine", "--model", "test_wit={weights}"],
                                            ["test_wit", "accepted"]),
    "one model twice": (["mine", "--model", "test_vit={weights}", "--model", "test_vit={weights}"],
                        ["models cannot be", "different names"]),
    "no such weights": (["mine", "--model", "test_vit={folder}/none.safetensors"],
                        ["none.safetensors", "accepted: TIMM_NAME=FILE"]),
    "a picture as weights": (["mine", "--model", "test_vit={folder}/pictures/cats/0.jpg"],
                             ["weights 0.jpg are of an unknown kind", "accepted: .safetensors"]),
    "weights without a classifier": (["mine", "--model", "test_vit={folder}/headless.safetensors"],
                                     ["headless.safetensors", "head"]),
    "other classes than outputs": (["mine", "--model", "test_vit.r160_in1k"],
                                   ["3 classes", "1000 outputs", "accepted", "class_map"]),
    "no such folder": (["mine", "--model", "test_vit={weights}", "--data", "{folder}/none"],
                       ["none", "accepted"]),
    "a folder without pictures": (["mine", "--model", "test_vit={weights}", "--data",
                                   "{folder}/empty"], ["empty", "accepted"]),
    "no folder": (["mine", "--model", "test_vit={weights}", "--data", None],
                  ["no images", "accepted"]),
    "a reader that there is not": (["mine", "--model", "test_vit={weights}", "--reader",
                                    "nobody/knows"], ["nobody", "accepted"]),
    "a name too long for a file": (["m" * 300], ["cannot be called 'mmm", "accepted: 1 to 150 bytes"]),
    "no class map": (["mine", "--model", "test_vit={weights}", "--class-map", "{folder}/none.txt"],
                     ["none.txt", "accepted"]),
}


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED)
def test_profiles_that_are_not_written(root, mine, clean, arguments, words):
    (mine / "empty").mkdir(exist_ok=True)
    save_file({"cls_token": torch.zeros(1, 1, 64)}, mine / "headless.safetensors")
    before = files(root)
    values = [None if each is None else each.format(folder=mine, weights=mine / "pets.safetensors")
              for each in arguments]
    values = values if "--model" in values else [*values, "--model",
                                                 f"test_vit={mine / 'pets.safetensors'}"]
    values = values[
        :values.index("--data")] if None in values else values if "--data" in values else [
        *values, "--data", mine / "pictures"]
    assert_one_line(rehearsal.command(root, "new-profile", *values), *words)
    assert files(root) == before


# --- weights ---


def test_download_fetches_once_and_refuses_another_file(root, tmp_path, profile):
    source, folder = root / "w" / "mae_finetuned_vit_base.pth", tmp_path / "fetched"
    md5 = hashlib.md5(source.read_bytes()).hexdigest()
    profile("fetched", extends="rehearsal", models={"ViT-B-16": None, "ViT-L-32": None,
                                                    "ViT-B-32": None,
                                                    "MAE-B-16": {"url": source.as_uri(),
                                                                 "md5_prefix": md5[:6]}})
    for _ in range(2):
        status, output, _ = rehearsal.command(root, "download", "--profile", "fetched", "--weights",
                                              folder)
        assert (status, output) == (0, f"MAE-B-16: {folder / source.name}\n")
        assert (folder / source.name).read_bytes() == source.read_bytes()
        assert (folder / f"{source.name}.sha256").read_text().split()[0] == hashlib.sha256(
            source.read_bytes()).hexdigest()
        times = files(folder)
    assert files(folder) == times  # the second time it was there
    status, output, errors = rehearsal.command(root, "paths", "--profile", "fetched", "--data",
                                               "data-set", "--weights", folder, "--n-images", 4,
                                               "--results", tmp_path / "results")
    assert status == 0 and "MAE-B-16 neuron_path: 4 paths" in output, errors

    profile("changed", extends="fetched", models={"MAE-B-16": {"md5_prefix": "000000"}})
    for target in (folder, tmp_path / "new"):
        status, output, errors = rehearsal.command(root, "download", "--profile", "changed",
                                                   "--weights", target)
        last = errors.rstrip("\n").split("\n")[-1]
        assert (status, output) == (2,
                                    "") and "MD5" in last and "000000" in last and "accepted: " in last, errors
    assert files(folder) == times and not files(tmp_path / "new")
    for arguments, word in ((["--model", "nobody"], "unknown models nobody; accepted: MAE-B-16"),
                            (["--profile", "imagenot"], "unknown profile 'imagenot'")):
        assert_one_line(rehearsal.command(root, "download", "--profile", "fetched", "--weights",
                                          folder, *arguments), word)
