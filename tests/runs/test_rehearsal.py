"""The profile for the paper's own scale, every chapter of it, through the command, on tiny models
and a handful of pictures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from timm.data import ImageNetInfo, create_transform
from timm.layers import resample_abs_pos_embed

import neuronpath_core as npc
from neuronpath_core.runs.choice import notebook_names
from neuronpath_core.study.profiles import load_profile
from tests import rehearsal

ROOT = Path(__file__).parents[2]
INPUTS = ("--data", "data-set", "--weights", "w")
# without 08 and 09, which are the same with every profile
CHAPTERS = [name for name in notebook_names(ROOT) if name[:2] not in ("08", "09")
            and name not in load_profile("imagenet", ROOT)["not_run"]]
HALF, CHANNELS = ([0.5] * 3, [0.5] * 3), ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
# timm name, weight file, mean and deviation: said here once more, not read from the profile
FILES = {
    "ViT-B-16": ("vit_base_patch16_224", "vit_base_patch16_224.orig_in21k_ft_in1k.safetensors",
                 HALF),
    "ViT-B-32": ("vit_base_patch32_384", "jx_vit_base_p32_384-830016f5.pth", HALF),
    "ViT-L-32": ("vit_large_patch32_384", "vit_large_patch32_384.orig_in21k_ft_in1k.safetensors",
                 HALF),
    "MAE-B-16": ("vit_base_patch16_224", "mae_finetuned_vit_base.pth", CHANNELS),
}
CROP = {"ViT-B-16": 0.9, "ViT-B-32": 1.0, "ViT-L-32": 1.0, "MAE-B-16": 0.875}
# the study below is executed once
pytestmark = [pytest.mark.xdist_group("rehearsal"), pytest.mark.thorough]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A study in which every chapter was executed once, by the command."""
    root = rehearsal.make_study(tmp_path_factory.mktemp("rehearsal") / "study", ROOT)
    process = rehearsal.start(root, "run", *(name[:2] for name in CHAPTERS), "--profile",
                              "rehearsal", *INPUTS, "--quiet")
    output, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors[-3000:]
    assert output == f"executed notebooks are in {root / 'results' / 'rehearsal' / 'notebooks'}\n"
    return root


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process")
def test_groups_of_tests_stay_together(request):
    """Or the study above is executed by every worker, which nothing else would tell of."""
    assert not request.config.option.loadgroup or request.node.nodeid.endswith("@rehearsal")


def tables(root, profile="rehearsal"):
    """Every path table with its manifest, by folder."""
    folder = root / "results" / profile / "paths"
    return {path.parent: json.loads(path.read_text())
            for path in sorted(folder.glob("*/manifest.json"))}


def published_table(root, model, profile="rehearsal"):
    """The table of a model's paths that chapters 2 and 3 are made from, with its manifest."""
    found = [(folder, record["computed_from"]) for folder, record in tables(root, profile).items()
             if record["computed_from"]["model"] == model and record["rows"] == 20
             and record["computed_from"]["arguments"]["method"] == "neuron_path"]
    (folder, manifest), = found
    return pd.read_parquet(folder / "paths.parquet"), manifest


def test_every_chapter_was_executed_without_an_error(root):
    written = root / "results" / "rehearsal" / "notebooks"
    assert sorted(path.name for path in written.iterdir()) == sorted(f"{name}.{kind}"
                                                                     for name in CHAPTERS
                                                                     for kind in ("ipynb",
                                                                                  "made_from"))
    for name in CHAPTERS:
        cells = [cell for cell in nbformat.read(written / f"{name}.ipynb", 4).cells
                 if cell.cell_type == "code"]
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        outputs = [output for cell in cells for output in cell.outputs]
        assert any(output.output_type in ("display_data", "execute_result") for output in outputs)
        assert not [output for output in outputs if output.output_type == "error"], name


def test_all_models_of_the_profile_have_tables_and_every_table_says_what_it_is_from(root):
    found = tables(root)
    assert {record["computed_from"]["model"] for record in found.values()} == set(FILES)
    profile = load_profile("rehearsal", root)
    weights = {}
    for folder, record in found.items():
        manifest, model = record["computed_from"], record["computed_from"]["model"]
        assert manifest["profile"] == "rehearsal" and manifest["built_from"] == profile["models"][
            model]
        mean, deviation = FILES[model][2]
        assert manifest["preprocessing"] == {"input_size": [3, 32, 32], "mean": mean,
                                             "std": deviation, "crop_pct": CROP[model],
                                             "crop_mode": "center",
                                             "interpolation": "bicubic"}
        assert len(manifest["weights"]) == len(manifest["images"]) == len(manifest["code"]) == 64
        assert weights.setdefault(model, manifest["weights"]) == manifest["weights"]
        assert {"torch", "timm", "pillow", "torchvision"} <= set(manifest)
        assert (manifest["dtype"], manifest["device"]) == ("float64", "cpu")
        session, = record["sessions"]
        assert session["engine"] == "local" and session["parts"] == 1 and {"host", "pid", "started",
                                                                           "finished", "seconds",
                                                                           "python"} <= set(session)
        assert not (folder
                    / "parts").exists() and len(pd.read_parquet(folder
                                                                / "paths.parquet")) == record[
            "rows"]
    assert len(set(weights.values())) == len(FILES)


def direct(root, model, identities, published=False):
    """Target and pictures of a model, by timm and Pillow alone."""
    name, file, (mean, deviation) = FILES[model]
    state = load_file(root / "w" / file) if file.endswith(".safetensors") else torch.load(
        root / "w" / file, weights_only=True)
    state = state.get("model", state)
    network = timm.create_model(name, **rehearsal.TINY,
                                **({"global_pool": "avg"} if model == "MAE-B-16" else {}))
    if model in ("ViT-B-32", "ViT-L-32"):
        state["pos_embed"] = resample_abs_pos_embed(state["pos_embed"], [4, 4], num_prefix_tokens=1)
    network.load_state_dict(state, strict=True)
    settings = (
        {"crop_pct": 1.0, "crop_mode": "squash", "interpolation": "bilinear"}
        if published
        else {"crop_pct": CROP[model], "crop_mode": "center", "interpolation": "bicubic"}
    )
    mean, deviation = CHANNELS if published else (mean, deviation)
    transform = create_transform((3, 32, 32), is_training=False, mean=tuple(mean),
                                 std=tuple(deviation), **settings)
    files = sorted((root / "data-set" / "val").glob("*/*.JPEG"))
    pictures = torch.stack([transform(Image.open(files[place]).convert("RGB"))
                            for place in identities])
    numbers = {synset: place for place, synset in enumerate(ImageNetInfo().label_names())}
    labels = torch.tensor([numbers[files[place].parent.name] for place in identities])
    return npc.TargetModel(network.double().eval()), pictures.double(), labels


@pytest.mark.parametrize("model", FILES)
def test_a_stored_table_is_what_timm_pillow_and_the_library_give_by_hand(root, model):
    table, manifest = published_table(root, model)
    assert {
        key: manifest["arguments"][key] for key in ("context", "quadrature", "steps", "top")
    } == {"context": "full", "quadrature": "left", "steps": 2, "top": None}
    target, pictures, labels = direct(root, model, table["image"])
    assert torch.equal(labels,
                       torch.from_numpy(table["label"].to_numpy(copy=True))) and labels.unique(
        return_counts=True)[1].tolist() == [5] * 4
    found = npc.find_paths(target, pictures, labels, context="full", quadrature="left", steps=2)
    assert found.neurons.tolist() == [list(each) for each in table["neurons"]]
    # the table's are a draft's, in single precision
    assert found.score.tolist() == pytest.approx(table["score"].tolist(), rel=1e-4, abs=1e-9)


def test_a_second_run_keeps_everything(root):
    before = {path: path.stat().st_mtime_ns for path in (root / "results").rglob("*")
              if path.is_file() and path.suffix != ".lock"}
    chosen = [name[:2] for name in CHAPTERS]
    status, output, errors = rehearsal.command(root, "run", *chosen, "--profile", "rehearsal",
                                               *INPUTS)
    assert (status, errors) == (0, "")
    assert output.splitlines()[:-1] == [f"{name}: nothing has changed since its last run, kept"
                                        for name in CHAPTERS]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # kept notebooks need neither weights nor images, but others do
    status, output, errors = rehearsal.command(root, "run", "02", "--profile", "rehearsal",
                                               "--force", "--data", "data-set")
    assert (status, output) == (2, "") and "weights of ViT-B-16" in errors


def test_as_published_the_pictures_and_with_them_the_tables_are_others(root):
    published = load_profile("imagenet_as_published", ROOT)["dataset"]["preprocessing"]
    lines = ["extends: rehearsal", f"dataset: {json.dumps({'preprocessing': published})}"]
    (root / "profiles" / "squashed.yml").write_text("\n".join(lines))
    try:
        for profile in ("rehearsal", "squashed"):
            status, output, errors = rehearsal.command(root, "paths", "--profile", profile, *INPUTS,
                                                       "--model", "ViT-B-16", "--model", "MAE-B-16",
                                                       "--n-images", 20, "--context", "full",
                                                       "--quadrature", "left", "--steps", 2)
            assert status == 0, errors
        for model in ("ViT-B-16", "MAE-B-16"):
            plain, before = published_table(root, model)
            table, manifest = published_table(root, model, "squashed")
            assert manifest["preprocessing"] == {"input_size": [3, 32, 32],
                                                 **published} != before["preprocessing"]
            assert manifest["images"] == before["images"] and manifest["weights"] == before[
                "weights"]
            assert table["score"].tolist() != plain["score"].tolist()
            target, pictures, labels = direct(root, model, table["image"], published=True)
            found = npc.find_paths(target, pictures, labels, context="full", quadrature="left",
                                   steps=2)
            assert found.neurons.tolist() == [list(each) for each in table["neurons"]]
            assert found.score.tolist() == pytest.approx(table["score"].tolist(), rel=1e-4,
                                                         abs=1e-9)
    finally:
        (root / "profiles" / "squashed.yml").unlink()


def test_chapters_that_lack_something_are_named_with_the_reason_and_refused_by_name(root):
    lacking = load_profile("imagenet", ROOT)["not_run"]
    assert set(lacking) == {name for name in notebook_names(ROOT) if name not in CHAPTERS
                            and name[:2] not in ("08", "09")}
    status, output, _ = rehearsal.command(root, "run", "--profile", "rehearsal", *INPUTS, "--check")
    assert status == 0
    for name, reason in lacking.items():
        assert f"{name}: not run with profile rehearsal: {reason}\n" in output
        status, said, errors = rehearsal.command(root, "run", "01", name, "--profile", "rehearsal",
                                                 *INPUTS)
        assert (status, said, errors.count("\n")) == (2, "", 1)
        assert f"notebook {name} cannot be run with profile 'rehearsal': {reason}; accepted: 01_knowledge_neurons" in errors
