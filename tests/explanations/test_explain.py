"""What ``explain`` measures is what the library measures, and what plain hooks give."""

from __future__ import annotations

import json
import math
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer

import neuronpath_core as npc
from neuronpath_core.explanations.words import percent
from neuronpath_core.models.planted import planted_model
from neuronpath_core.random_paths import matched_random_paths
from tests.explanations.numbers import NUMBER, says
from tests.helpers import (
    NETWORKS,
    PLANTED,
    PLANTED_LABEL,
    Snapshot,
    network,
    planted_vit,
    refused,
    run_hooked,
    small_batch,
    small_vit,
)

SCOPES = ["cls", "cls-registers-prenorm", "avg", "avg-registers", "avg-without-class-token", "cls-of-averaging",
          "patch-of-class-token"]
# both are sums of a few hundred products in double precision
EXACT = {"rtol": 1e-12, "atol": 1e-14}
WHITE = {"mean": [0.0] * 3, "std": [1.0] * 3, "crop_pct": 1.0, "crop_mode": "squash", "interpolation": "nearest"}


def hooked_run(model, image, change):
    """Logits of timm's own network with ``change(block, values)`` of what enters each fc2."""
    handles = [block.mlp.fc2.register_forward_pre_hook(
        lambda _module, inputs, index=index: (change(index, inputs[0].clone()),)) for index, block in enumerate(model.blocks)]
    return run_hooked(model, image, handles)


@pytest.mark.parametrize("name", SCOPES)
def test_numbers_are_those_of_the_library(name):
    target, images, _ = network(name, 5)
    found = npc.explain(target, images[1], label=2)
    labels, one = torch.tensor([2]), images[1:]
    paths = npc.find_paths(target, one, labels, method="recommended")
    assert found.neurons[:, 0].tolist() == paths.neurons[0].tolist() and found.settings == paths.settings
    assert found.score == float(paths.score[0]) and found.label == 2 and found.scope == target.scope
    frame = paths.to_frame(target, one, labels)
    pd.testing.assert_frame_equal(found.path, frame[["block", "rank", "neuron", "activation", "attribution"]])
    with torch.no_grad():
        assert np.allclose(found.probabilities, target(one)[0].softmax(-1), **EXACT)
        for operation, values in (("remove", found.removed), ("enhance", found.doubled)):
            with npc.edit(target, paths.neurons, operation):
                assert np.allclose(values, target(one)[0].softmax(-1), **EXACT)
    activations = npc.read_activations(target, one)[0]
    chosen = activations[torch.arange(3), :, paths.neurons[0]]
    if target.scope == "patch":  # the map is what is edited
        assert np.allclose(found.maps.reshape(3, -1), chosen, **EXACT)
        assert np.allclose(found.maps.mean((1, 2)), found.path["activation"], **EXACT)
    else:  # the path's activation is the class token's, which is on no map
        assert np.allclose(found.path["activation"], chosen[:, 0], **EXACT)


@pytest.mark.parametrize("name", SCOPES)
def test_numbers_are_those_of_plain_hooks(name):
    arguments, scope = NETWORKS[name]
    model, image = small_vit(6, **arguments), small_batch(1, 7)[0][0]
    found = npc.explain(npc.TargetModel(model, scope), image)
    first = model.num_prefix_tokens
    tokens, path, seen = slice(0, 1) if scope == "cls" else slice(first, None), found.neurons[:, 0], {}

    def keep(block, values):
        seen[block] = values[0, :, path[block]]
        return values

    clean = hooked_run(model, image, keep).softmax(-1)
    assert found.label == int(clean.argmax()) and np.allclose(found.probabilities, clean, **EXACT)
    assert np.allclose(found.maps, torch.stack([seen[block][first:].reshape(2, 2) for block in range(3)]), **EXACT)

    def scaled(factor):
        def change(block, values):
            values[:, tokens, path[block]] *= factor
            return values
        return hooked_run(model, image, change).softmax(-1)

    assert np.allclose(found.removed, scaled(0), **EXACT) and np.allclose(found.doubled, scaled(2), **EXACT)
    assert np.abs(found.removed - found.probabilities).max() > 1e-6  # the edits do something
    assert not np.allclose(found.control, found.control[0])


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_controls_are_removals_of_paths_as_active(name):
    target, images, _ = network(name, 5)
    found = npc.explain(target, images[0], 2, controls=4)
    path = torch.from_numpy(found.neurons).T
    for seed, value in enumerate(found.control):
        drawn = matched_random_paths(target, images[:1], path, seed)
        assert not (drawn[..., 0] == path).any()
        with torch.no_grad(), npc.edit(target, drawn, "remove"):
            assert value == pytest.approx(float(target(images[:1])[0].softmax(-1)[2]), rel=1e-12)
    assert len(found.control) == 4


def test_a_grid_that_is_no_square_keeps_rows_and_columns_apart():
    model = planted_vit("patch")
    model = type(model)(img_size=(8, 16), patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=3,
                        global_pool="avg", class_token=False).double().eval()
    torch.nn.init.normal_(model.head.weight)
    image = torch.zeros(3, 8, 16, dtype=torch.float64)
    found = npc.explain(model, image, label=0)
    plain = {}
    hooked_run(model, image, lambda block, values: plain.setdefault(block, values))
    for block in range(2):
        for row in range(2):
            for column in range(4):
                assert found.maps[block, row, column] == pytest.approx(
                    float(plain[block][0, 4 * row + column, found.neurons[block, 0]]), rel=1e-12)


@pytest.mark.parametrize("scope", ["cls", "patch"])
@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_planted_neuron_lights_where_the_plant_says(tmp_path, scope, place):
    """The first planted neuron is gelu(1.5 + x / 2), x being 0.05 times the sum of its patch's pixels; with a class
    token the first attention adds the mean over five tokens to it."""
    row, column = place
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[4 * row:4 * row + 4, 4 * column:4 * column + 4] = 255
    Image.fromarray(pixels).save(tmp_path / "one bright patch.png")
    found = npc.explain(planted_vit(scope), tmp_path / "one bright patch.png", label=PLANTED_LABEL, preprocessing=WHITE)
    assert found.neurons[:, 0].tolist() == list(PLANTED) and (found.pixels == pixels).all()
    mean = 0.025 * 3 * 16 / 5 if scope == "cls" else 0
    bright, dark = (value * (1 + math.erf(value / 2 ** 0.5)) / 2 for value in (1.5 + mean + 0.025 * 3 * 16, 1.5 + mean))
    expected = np.full((2, 2), dark)
    expected[row, column] = bright
    assert np.allclose(found.maps[0], expected, **EXACT)
    first = found.to_frame().iloc[0]
    assert (first["row"], first["column"], first["peak"]) == (row + 1, column + 1, pytest.approx(bright))


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_planted_path_is_found_and_beats_random_ones(scope):
    planted = planted_model("chain", scope)
    for image, label, neurons in zip(planted.images, planted.labels, planted.neurons[..., 0], strict=True):
        found = npc.explain(planted.target, image, method="neuron_path")
        assert found.label == int(label) and found.neurons[:, 0].tolist() == neurons.tolist()
        assert found.removed[label] < 0.5 * found.probabilities[label]
        assert found.control.min() > 0.9 * found.probabilities[label]


def test_any_way_to_give_a_picture_gives_the_same(tmp_path):
    model = planted_vit("cls")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    values = torch.from_numpy(pixels).permute(2, 0, 1).double() / 255
    given = [tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(pixels)]
    found = [npc.explain(model, each, 0, preprocessing=WHITE) for each in given]
    found += [npc.explain(npc.TargetModel(model), each, 0) for each in (values, values[None])]
    for each in found[1:]:
        # a file's pixels pass through single precision
        assert np.allclose(each.removed, found[0].removed, rtol=1e-6) and each.neurons.tolist() == found[0].neurons.tolist()
        assert each.path["attribution"].to_numpy() == pytest.approx(found[0].path["attribution"].to_numpy(), rel=1e-5)
    assert [each.picture for each in found] == ["a.png", "a.png", "picture", "tensor", "tensor"]


def test_model_and_picture_stay_as_they_are():
    model, images = small_vit(), small_batch(1)[0]
    before, pixels = Snapshot(model), images.clone()
    npc.explain(model, images[0])
    before.check()
    assert torch.equal(images, pixels)


def test_several_neurons_a_block_and_other_methods():
    target, images, labels = network("avg", 3)
    found = npc.explain(target, images[0], 1, "neuron_path", top=3, settings="published", controls=2)
    paths = npc.find_paths(target, images[:1], torch.tensor([1]), settings="published", top=3)
    assert found.neurons.tolist() == paths.neurons[0].tolist() and found.maps.shape == (9, 2, 2)
    assert found.to_frame()["rank"].tolist() == [1, 2, 3] * 3 and len(found.control) == 2
    assert "rank" in str(found) and len(found.to_frame("maps")) == 9 * 4
    assert len(npc.explain(target, images[0], controls=0).control) == 0


def test_registers_and_single_precision_and_grey_pictures(tmp_path):
    torch.manual_seed(0)
    model = VisionTransformer(img_size=(8, 12), patch_size=4, in_chans=1, embed_dim=16, depth=2, num_heads=2, num_classes=4,
                              reg_tokens=3)
    torch.nn.init.normal_(model.head.weight)
    Image.fromarray(np.arange(96, dtype=np.uint8).reshape(8, 12)).save(tmp_path / "grey.png")
    found = npc.explain(model, tmp_path / "grey.png")
    assert found.maps.shape == (2, 2, 3) and found.pixels.shape == (8, 12) and found.removed.dtype == np.float64


# --- tables and files ---


@pytest.fixture(scope="module")
def found():
    target, images, _ = network("avg", 3)
    return npc.explain(target, images[0], class_names=["cat", "dog", "<b>bold</b>", "d", "e"])


def test_tables_hold_the_same_numbers(found):
    path, classes, maps = (found.to_frame(name) for name in ("path", "classes", "maps"))
    assert list(path) == ["block", "rank", "neuron", "activation", "attribution", "peak", "row", "column"]
    order = np.argsort(-found.probabilities)
    assert classes["class"].tolist() == order.tolist() and classes["name"][0] == found.class_names[order[0]]
    for name, values in (("probability", found.probabilities), ("removed", found.removed), ("doubled", found.doubled)):
        assert classes[name].tolist() == values[order].tolist()
    for line in maps.to_dict("records"):
        assert found.maps[line["block"] - 1, line["row"] - 1, line["column"] - 1] == line["activation"]
    for line in path.to_dict("records"):
        assert found.maps[line["block"] - 1].max() == line["peak"] == found.maps[
            line["block"] - 1, line["row"] - 1, line["column"] - 1]
    refused(lambda: found.to_frame("heads"), "'heads'", "path, classes, maps")


def test_the_label_and_new_winners_are_shown():
    target, images, _ = network("cls", 3)
    found = npc.explain(target, images[0])
    last = int(found.probabilities.argmin())
    other = npc.explain(target, images[0], label=last)
    assert other.shown_classes(2)[:2] == np.argsort(-found.probabilities)[:2].tolist() and last in other.shown_classes(2)
    assert int(other.removed.argmax()) in other.shown_classes(1)


def test_words_say_the_numbers(found):
    text = str(found)
    assert repr(found) == (f"Explanation(tensor: {found.label_name} {found.probabilities[found.label]:.4f}, path removed "
                           f"{found.removed[found.label]:.4f}, doubled {found.doubled[found.label]:.4f}; "
                           "3 neurons by conditional_gradient)")
    for index in found.shown_classes():
        line = next(line for line in text.splitlines() if re.split(r"( \*)?  ", line)[0] == found.class_names[index])
        for values in (found.probabilities, found.removed, found.doubled):
            assert any(says(said, values[index]) for said in re.findall(NUMBER, line)), line
    for neuron in found.neurons[:, 0]:
        assert f" {neuron} " in text
    low, high = re.findall(NUMBER, next(line for line in text.splitlines() if "control" in line))
    assert says(low, found.control.min()) and says(high, found.control.max())


@pytest.mark.parametrize("share, said", [(0, "0 %"), (1, "100.0 %"), (0.99951, "> 99.9 %"), (0.9994, "99.9 %"),
                                         (0.5, "50.0 %"), (0.0384, "3.8 %"), (0.00123, "0.12 %"), (0.00045678, "0.046 %"), (3e-9, "3e-07 %")])
def test_small_and_large_shares_are_not_rounded_to_nothing(share, said):
    assert percent(share) == said


def test_files_by_their_endings(found, tmp_path):
    assert found.save(tmp_path / "a é.csv") == tmp_path / "a é.csv"
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "a é.csv"), found.to_frame())
    stored = json.loads(found.save(tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [line["neuron"] for line in stored["path"]] == found.neurons[:, 0].tolist()
    assert np.array([line["map"] for line in stored["path"]]).tolist() == found.maps.tolist()
    assert stored["control"] == found.control.tolist() and stored["version"] == 1
    with Image.open(found.save(tmp_path / "a.PNG")) as picture:
        assert picture.format == "PNG" and picture.width == 1050
    svg = found.save(tmp_path / "a.svg").read_text(encoding="utf-8")
    assert svg.startswith("<svg") and "http://www.w3.org/2000/svg" in svg
    refused(lambda: found.save(tmp_path / "a.pdf"), "a.pdf", ".html, .png, .svg, .csv, .json")
    refused(lambda: found.save(tmp_path / "none" / "a.html"), "cannot be written", "accepted")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a é.csv", "a.PNG", "a.json", "a.svg"]


def test_a_failed_write_leaves_the_file_of_before(found, tmp_path, monkeypatch):
    from neuronpath_core.explanations import files

    (tmp_path / "a.html").write_text("before", encoding="utf-8")

    def half(_explanation, path):
        path.write_text("half", encoding="utf-8")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(files.WRITERS, ".html", half)
    refused(lambda: found.save(tmp_path / "a.html"), "No space left", "accepted")
    assert [(each.name, each.read_text(encoding="utf-8")) for each in tmp_path.iterdir()] == [("a.html", "before")]


# --- what is refused, and what is told ---


def test_what_does_not_fit_is_refused():
    target, images, _ = network("cls", 3)
    headless = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    refused(lambda: npc.explain(headless, images[0]), "no classification head", "num_classes >= 1", "zero_shot")
    refused(lambda: npc.explain(torch.nn.Linear(2, 2), images[0]), "accepted")
    refused(lambda: npc.explain(target, images), "(2, 3, 8, 8)" if len(images) == 2 else "shape", "one image")
    refused(lambda: npc.explain(target, images[0].float()), "torch.float32", "accepted")
    refused(lambda: npc.explain(target, images[0, 0]), "(8, 8)", "accepted")
    refused(lambda: npc.explain(target, images[0], preprocessing=WHITE), "preprocessing", "accepted")
    refused(lambda: npc.explain(target, images[0], 5), "no class 5", "0..4")
    refused(lambda: npc.explain(target, images[0], "cat"), "no class 'cat'", "accepted")
    refused(lambda: npc.explain(target, images[0], method="magic"), "method", "magic", "accepted")
    refused(lambda: npc.explain(target, images[0], controls=-1), "controls", "0..1000")
    refused(lambda: npc.explain(target, images[0].numpy()), "a picture cannot be", "accepted")
    refused(lambda: npc.explain(npc.SiteModel(target.model), images[0]), "sites", "accepted")
    refused(lambda: npc.explain(small_vit(num_classes=1), images[0]), "at least two classes")
    refused(lambda: npc.explain(target, images[0], stepz=3), "stepz", "accepted")


def test_a_head_of_zeros_is_told():
    model = small_vit()
    torch.nn.init.zeros_(model.head.weight)
    found = npc.explain(model, small_batch(1)[0][0])
    assert any("changes no probability" in note for note in found.notes)
    assert not any("changes no probability" in note for note in npc.explain(small_vit(), small_batch(1)[0][0]).notes)
    with pytest.warns(RuntimeWarning, match="every neuron scores the same"):
        found = npc.explain(model, small_batch(1)[0][0], method="neuron_path")
    assert any("every neuron scores the same" in note for note in found.notes)


def test_nothing_else_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        npc.explain(small_vit(), small_batch(1)[0][0]).plot()
