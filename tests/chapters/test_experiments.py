"""Every experiment on a tiny study: its table's columns and rows, and its numbers by a direct
computation."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch.autograd import forward_ad

import neuronpath_core as npc
from neuronpath_core import interventions
from neuronpath_core.chapters import experiments
from neuronpath_core.cost.passes import search_operations
from neuronpath_core.fast.blocks import PlainBlock
from neuronpath_core.study.study import Study
from tests import helpers

SIZES = {"img_size": 16, "patch_size": 8, "in_chans": 1, "num_classes": 10, "embed_dim": 16,
         "depth": 3, "num_heads": 2,
         "mlp_ratio": 1.0}
MODELS = {"small": SIZES, "pooled": {**SIZES, "global_pool": "avg", "depth": 4}}
NAMES = list(MODELS)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two seeded networks and scikit-learn's digits, in a folder of their own."""
    root = tmp_path_factory.mktemp("study")
    profile = {"dataset": {"name": "digits", "train_images": 400}, "models": {}, "notebooks": {}}
    (root / "profiles").mkdir()
    for seed, (name, sizes) in enumerate(MODELS.items(), 5):
        model = helpers.fill(VisionTransformer(**sizes), seed)
        save_file({key: value.contiguous() for key, value in model.state_dict().items()},
                  root / f"{name}.safetensors")
        profile["models"][name] = {"architecture": sizes, "weights": f"{name}.safetensors"}
    (root / "profiles" / "tiny.yml").write_text(yaml.safe_dump(profile, sort_keys=False))
    return Study("tiny", results=root / "results", root=root)


@pytest.fixture(scope="module")
def images(study):
    return study.images(20)


# --- knowledge neurons ---


def test_knowledge_neurons_are_the_largest_of_the_attribution(study, images):
    table = experiments.knowledge_neurons(study, NAMES, images, top=4, steps=2)
    assert list(table.columns) == ["model", "image", "label", "rank", "block", "neuron",
                                   "attribution"]
    assert len(table) == 2 * 20 * 4
    assert list(dict.fromkeys(table["model"])) == NAMES
    for name in NAMES:
        target, (pictures, labels) = study.target(name), study.batch(images, name)
        direct = npc.knowledge_attribution(target, pictures, labels, "right", 2)
        own = table[table["model"] == name]
        assert own["image"].tolist() == np.repeat(images.ids.numpy(), 4).tolist()
        assert own["label"].tolist() == np.repeat(images.labels.numpy(), 4).tolist()
        assert own["rank"].tolist() == 20 * [1, 2, 3, 4]
        for number, (_, rows) in enumerate(own.groupby("image", sort=False)):
            expected = np.sort(direct[number].flatten().numpy())[::-1][:4]
            # a draft's
            np.testing.assert_allclose(rows["attribution"], expected, rtol=1e-4, atol=1e-9)
            found = direct[number].numpy()[rows["block"] - 1, rows["neuron"]]  # blocks count from 1
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)
            assert not rows.duplicated(["block", "neuron"]).any()
        assert own["block"].between(1, target.n_blocks).all() and own["neuron"].between(0, 15).all()


def test_knowledge_neurons_in_parts_are_the_same(study, images, monkeypatch):
    whole = experiments.knowledge_neurons(study, ["small"], images, top=3, steps=2)
    monkeypatch.setattr(experiments, "images_at_once", lambda target, copies: 7)
    parts = experiments.knowledge_neurons(study, ["small"], images, top=3, steps=2)
    pd.testing.assert_frame_equal(parts, whole, rtol=0, atol=1e-15)


@pytest.mark.parametrize("top", [0, 3 * 16 + 1])
def test_more_neurons_than_there_are(study, images, top):
    with pytest.raises(ValueError, match=r"1\.\.48"):
        experiments.knowledge_neurons(study, ["small"], images, top=top, steps=1)


# --- interventions ---


def test_interventions_by_a_direct_computation(study, images):
    methods = ["activation", "neuron_path", "random"]
    table = experiments.interventions(study, NAMES, images, methods, steps=1, seed=3)
    assert list(table.columns) == ["model", "method", "image", "label", "score", "correct",
                                   "probability", "removal_accuracy",
                                   "removal_probability", "enhancement_accuracy",
                                   "enhancement_probability"]
    assert len(table) == 2 * 3 * 20
    order = list(dict.fromkeys(zip(table["model"], table["method"], strict=True)))
    assert order == [(name, method) for name in NAMES for method in methods]
    moved = {"removal": 0, "enhancement": 0}
    for (name, method), own in table.groupby(["model", "method"], sort=False):
        target, (pictures, labels) = study.target(name), study.batch(images, name)
        # as a study does
        found = npc.find_paths(target, pictures, labels, method, steps=1, seed=3, draft="float32")
        assert own["image"].tolist() == images.ids.tolist() and own[
            "label"].tolist() == labels.tolist()
        np.testing.assert_allclose(own["score"], found.score, rtol=0, atol=1e-12)
        with torch.no_grad():
            clean = target(pictures).softmax(-1)
        before = clean[torch.arange(20), labels]
        np.testing.assert_allclose(own["probability"], before, rtol=0, atol=1e-14)
        assert own["correct"].tolist() == (clean.argmax(1) == labels).tolist()
        for operation, column in (("remove", "removal"), ("enhance", "enhancement")):
            with torch.no_grad(), npc.edit(target, found.neurons, operation):
                edited = target(pictures).softmax(-1)
            after, right = edited[torch.arange(20), labels], edited.argmax(1) == labels
            np.testing.assert_allclose(own[f"{column}_probability"], (after - before) / before,
                                       rtol=0, atol=1e-10)
            expected = right.double().numpy() - own["correct"].to_numpy(float)
            assert own[f"{column}_accuracy"].tolist() == expected.tolist()
            moved[column] += np.abs(own[f"{column}_probability"]).max() > 0.01
    assert min(moved.values()) >= 4  # the comparison above was not between zeros


@pytest.mark.parametrize("methods", [[], ["neuron_paths"], ["random", "oracle"]])
def test_unknown_methods(study, images, methods):
    with pytest.raises(ValueError, match="accepted: one or more of neuron_path, complete"):
        experiments.interventions(study, ["small"], images, methods)


@pytest.mark.parametrize("call", [
    lambda study, images: experiments.interventions(study, ["large"], images, ["random"]),
    lambda study, images: experiments.knowledge_neurons(study, [], images),
    lambda study, images: experiments.path_agreement(study, ["large"], images,
                                                     {"coarse": {"steps": 1}}, {"steps": 2}),
    lambda study, images: experiments.whole_model(study, ["small", "large"], images)])
def test_unknown_models(study, images, call):
    with pytest.raises(ValueError, match="accepted: one or more of small, pooled"):
        call(study, images)


# --- agreement of rules, path tables, clean models ---


REFERENCE = {"context": "full", "quadrature": "gauss-legendre", "steps": 6}
WAYS = {
    "one left node": {"context": "full", "quadrature": "left", "steps": 1},
    "the reference": REFERENCE,
    "two right nodes": {"context": "full", "quadrature": "right", "steps": 2},
    "fewer nodes": {"context": "full", "quadrature": "left", "steps": 20, "nodes": 3},
    "automatic": {"context": "full", "steps": "auto"}, "frozen": {"context": "frozen"},
    "mixed": {"context": "mixed", "exact_steps": 3},
    "mixed, automatic": {"context": "mixed", "steps": "auto"}, "default": {},
}
TRIED = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48)  # numbers of steps, by steps="auto"


def test_path_agreement(study, images):
    table = experiments.path_agreement(study, NAMES, images, WAYS, REFERENCE)
    assert list(table.columns) == ["model", "way", "evaluations", "neurons", "paths", "score"]
    # what a model that averages its tokens allows
    averaging = [way for way in WAYS if WAYS[way].get("context") not in ("frozen", "mixed")]
    assert table[["model", "way"]].values.tolist() == [["small", way]
                                                       for way in WAYS] + [["pooled", way]
                                                                           for way in averaging]
    same = table[table["way"] == "the reference"]
    assert (same[["neurons", "paths"]] == 1).all(axis=None)  # the rule that it is compared with
    assert (same["score"] == 0).all()
    others = table[table["way"] != "the reference"]
    assert (others["neurons"] < 1).any() and (others["paths"]
                                              <= others["neurons"]).all() and (
        others["score"] > 0).all()
    for row in table.to_dict("records"):
        target, batch = study.target(row["model"]), study.batch(images, row["model"])
        found = npc.find_paths(target, *batch, **WAYS[row["way"]])
        fine = npc.find_paths(target, *batch, **REFERENCE)
        same = found.neurons == fine.neurons
        assert row["neurons"] == pytest.approx(same.double().mean().item(), abs=1e-15)
        assert row["paths"] == same.all(1).double().mean().item()
        # by drafts in single precision
        assert row["score"] == pytest.approx(((found.score - fine.score).abs().max()
                                              / fine.score.abs().mean()).item(), abs=1e-5)
        tried = [[steps for steps in TRIED if steps <= taken] for taken in found.steps.tolist()]
        expected = {"one left node": 1, "the reference": 6, "two right nodes": 2, "fewer nodes": 3,
                    "frozen": 0, "mixed": 3,
                    "automatic": np.mean([sum(steps) for steps in tried]),
                    "mixed, automatic": np.mean([4 * len(steps) for steps in tried]),
                    "default": (6 + 4 + 2) / 3 if row["model"] == "small" else (12 + 6 + 4 + 2) / 4}
        assert row["evaluations"] == pytest.approx(expected[row["way"]], abs=1e-12), row["way"]


@pytest.mark.parametrize("wrong", [{"quadrature": "simpson"}, {"steps": 0}, {"context": "half"},
                                   {"step": 3}], ids=str)
def test_a_way_that_no_model_allows_is_an_error_and_not_left_out(study, images, wrong):
    with pytest.raises(ValueError, match="accepted|whole number"):
        experiments.path_agreement(study, ["small"], images, {"wrong": wrong}, REFERENCE)


def test_path_table(study, images):
    paths = study.paths("pooled", images, "activation", steps=1)
    table = experiments.path_table("pooled", images, paths)
    assert list(table.columns) == ["model", "image", "label", "block", "neuron"]
    assert len(table) == 20 * 4 and set(table["model"]) == {"pooled"}
    for row in table.sample(30, random_state=0).to_dict("records"):
        where = images.ids.tolist().index(row["image"])
        assert row["label"] == images.labels[where] and row["neuron"] == paths.neurons[
            where, row["block"] - 1]


def test_whole_model(study, images):
    found = experiments.whole_model(study, NAMES, images)
    assert {key: list(value) for key, value in found.items()} == {"correct": NAMES,
                                                                  "probability": NAMES}
    for name in NAMES:
        clean = study.probabilities(name, images)
        assert found["correct"][name] == np.mean(clean.argmax(1) == images.labels.numpy())
        expected = np.mean([clean[i, label] for i, label in enumerate(images.labels)])
        assert found["probability"][name] == pytest.approx(expected, abs=1e-15)


# --- probing and test images ---


@pytest.mark.parametrize("seed", [0, 1])
def test_the_split_is_disjoint_and_80_to_20_in_every_class(study, seed):
    images = study.images(100, 3)
    probing = experiments.probe_mask(images, 0.8, seed)
    probe, test = images.select(probing), images.select(~probing)
    assert np.bincount(probe.labels).tolist() == [8] * 10 and np.bincount(test.labels).tolist() == [
        2] * 10
    assert not set(probe.ids.tolist()) & set(test.ids.tolist())
    assert sorted(probe.ids.tolist() + test.ids.tolist()) == sorted(images.ids.tolist())
    for part in (probe, test):  # images, labels and pixels have moved together
        for number in range(0, len(part), 5):
            source = images.ids.tolist().index(int(part.ids[number]))
            assert part.labels[number] == images.labels[source]
            assert torch.equal(part.images[number], images.images[source])
            assert np.array_equal(part.pixels[number], images.pixels[source])


def test_the_split_depends_on_its_seed(study):
    images = study.images(100, 3)
    first, again, other = (experiments.probe_mask(images, 0.8, seed).tolist() for seed in (0, 0, 1))
    assert first == again and first != other


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_probing_share_must_leave_both(study, images, share):
    with pytest.raises(ValueError, match="strictly between 0 and 1"):
        experiments.probe_mask(images, share)


def test_too_few_images_to_split(study):
    with pytest.raises(ValueError, match="class 0 has 2 images, too few for a 80% split"):
        experiments.probe_mask(study.images(20), 0.8)
    with pytest.raises(ValueError, match="class 0 has 1 images"):
        experiments.probe_mask(study.images(10), 0.5)


# --- pruning ---


@pytest.fixture(scope="module")
def grid(study):
    images = study.images(50)
    probing = experiments.probe_mask(images, 0.6)
    table = experiments.pruning_grid(study, "small", images, probing, [1, 4, 16], [0.0, 0.5, 1.0],
                                     repeats=2, seed=7, steps=1)
    return images, probing, table


def halves(grid):
    """Probing and test images of the grid."""
    images, probing, _ = grid
    return images.select(probing), images.select(~probing)


def test_the_pruning_grid_has_a_row_for_every_cell_and_image(grid):
    test, table = halves(grid)[1], grid[2]
    assert list(table.columns) == ["model", "kept", "top", "share", "repeat", "image", "label",
                                   "correct", "probability"]
    assert len(table) == 3 * 3 * 3 * 2 * len(test)  # kinds, t, p, repeats, images
    cells = table.groupby(["kept", "top", "share", "repeat"], sort=False)
    assert len(cells) == 54 and set(table["kept"]) == {"neuron path", "activation", "random"}
    expected = dict(zip(test.ids.tolist(), test.labels.tolist(), strict=True))
    for _, cell in cells:
        assert dict(zip(cell["image"], cell["label"], strict=True)) == expected


def test_where_nothing_is_pruned_the_model_is_whole(study, grid):
    test, table = halves(grid)[1], grid[2]
    clean, labels = study.probabilities("small", test), test.labels.numpy()
    whole = dict(zip(test.ids.tolist(), clean[np.arange(len(test)), labels], strict=True))
    right = dict(zip(test.ids.tolist(), clean.argmax(1) == labels, strict=True))
    same = (table["share"] == 0) | (table["top"] == 16)  # p = 0, or all 16 neurons kept
    # the paths of a class's images need not use every neuron
    same &= (table["share"] == 0) | (table["kept"] == "random")
    expected = table["image"].map(whole)
    # a draft's
    np.testing.assert_allclose(table["probability"][same], expected[same], rtol=0, atol=1e-6)
    assert (table["correct"] == table["image"].map(right))[same].all()
    pruned = (table["share"] == 1) & (table["top"] == 1)
    assert (table["probability"] - expected)[pruned].abs().max() > 0.01


def test_full_pruning_by_a_direct_computation(study, grid):
    (probe, test), table = halves(grid), grid[2]
    target, (pictures, labels) = study.target("small"), study.batch(test, "small")
    activations = npc.read_activations(target, study.batch(probe, "small")[0]).sum(2)
    kinds = {"neuron path": npc.find_paths(target, *study.batch(probe, "small"), steps=1,
                                           top=4).neurons,
             "activation": activations.argsort(-1).flip(-1)}
    strict = table[(table["share"] == 1) & (table["top"] == 4)]
    for kind, ranked in kinds.items():
        for label in range(10):
            survives = np.zeros((3, 16), bool)
            for block in range(3):
                counts = np.bincount(ranked[probe.labels == label, block, :4].flatten(),
                                     minlength=16)
                survives[block, np.argsort(-counts, kind="stable")[:4]] = True
            factors = torch.from_numpy(survives).double()
            mine = labels == label
            handles = [block.mlp.fc2.register_forward_pre_hook(
                lambda _module, inputs,
                row=row: (torch.cat([inputs[0][:, :1] * row, inputs[0][:, 1:]], 1),))
                for block, row in zip(target.model.blocks, factors, strict=True)]
            with torch.no_grad():
                expected = target(pictures[mine]).softmax(-1)
            for handle in handles:
                handle.remove()
            own = strict[(strict["kept"] == kind) & (strict["label"] == label)]
            for _, repeat in own.groupby("repeat"):
                # a draft's
                np.testing.assert_allclose(repeat["probability"], expected[:, label], rtol=0,
                                           atol=1e-6)
                assert repeat["correct"].tolist() == (expected.argmax(1) == label).tolist()


def test_one_kept_neuron_uses_the_paths_of_all_images(study, grid):
    """A path depends on its image alone, so those that the class chapters stored serve, split as
    everything else."""
    (probe, _), (images, probing, _) = halves(grid), grid
    own = npc.find_paths(study.target("small"), *study.batch(probe, "small"), steps=1).neurons
    assert torch.equal(study.paths("small", images, steps=1).neurons[torch.from_numpy(probing)],
                       own)


def test_repeats_differ_only_where_chance_decides(grid):
    table = grid[2]
    images = table.groupby(["kept", "top", "share", "image"])["probability"]
    spread = (images.max() - images.min()).groupby(["kept", "top", "share"]).max()
    assert (spread.xs(0.0, level="share") == 0).all()
    for kind in ("neuron path", "activation"):
        assert spread[kind, 4, 1.0] == 0
        assert spread[kind, 4, 0.5] > 1e-3
    assert spread["random", 4, 1.0] > 1e-3


def test_the_grid_depends_on_its_seed(study, grid):
    images, probing, table = grid
    again, other = (experiments.pruning_grid(study, "small", images, probing, [4], [0.5], repeats=1,
                                             seed=seed, steps=1)
                    for seed in (7, 8))
    own = table[(table["top"] == 4) & (table["share"] == 0.5)
                & (table["repeat"] == 0)].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, own)
    assert (other["probability"] - own["probability"]).abs().max() > 1e-6


def test_the_published_rule_and_its_errors(study, grid):
    images, probing, _ = grid
    seen = []
    original = interventions.class_neurons
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiments, "class_neurons",
                      lambda neurons, top, rule: seen.append(rule) or original(neurons, top, rule))
        experiments.pruning_grid(study, "small", images, probing, [4], [1.0], repeats=1,
                                 rule="rank-mode", steps=1)
    # paths by the rule asked for, activations always by count
    assert seen == ["rank-mode", "count"] * 10
    with pytest.raises(ValueError, match="count, rank-mode"):
        experiments.pruning_grid(study, "small", images, probing, [4], [1.0], repeats=1,
                                 rule="mode", steps=1)
    with pytest.raises(ValueError, match=r"t must lie in 1\.\.16, got 17"):
        experiments.pruning_grid(study, "small", images, probing, [4, 17], [1.0], repeats=1,
                                 steps=1)


def test_each_class_is_tested_with_its_own_mask(study, grid, monkeypatch):
    """Planted: the probing paths of a class name a neuron that no other class's do."""
    (images, probing, _), (_, test) = grid, halves(grid)
    neurons = images.labels[:, None].expand(-1, 3)
    monkeypatch.setattr(Study, "paths", lambda *args,
                        **kwargs: npc.Paths(neurons, torch.zeros(len(neurons)),
                                            torch.ones(len(neurons))))
    kept = []
    monkeypatch.setattr(experiments, "pruning_mask", lambda *args: kept.append(args[0])
                        or interventions.pruning_mask(*args))
    table = experiments.pruning_grid(study, "small", images, probing, [1], [1.0], repeats=1)
    assert kept[::3] == [[[label]] * 3 for label in range(10)]
    own = table[table["kept"] == "neuron path"]
    assert own["label"].tolist() == np.sort(test.labels.numpy()).tolist()


# --- cost ---


def count_blocks(target, monkeypatch, hooked):
    """``(copies, whether every token is computed)`` of each block that is run: of suffixes, with a
    tangent, clean."""
    suffix, tangent, clean = [], [], []
    if hooked:
        def count(_module, inputs):
            value = forward_ad.unpack_dual(inputs[0]) if forward_ad._current_level >= 0 else None
            carries = value is not None and value.tangent is not None
            (tangent if carries else suffix if inputs[0].requires_grad
             else clean).append((len(inputs[0]), True))

        for block in target.model.blocks:
            block.register_forward_pre_hook(count)
        return suffix, tangent, clean

    def watch(name, seen, place):
        function = getattr(PlainBlock, name)

        def watched(self, stream, *arguments):
            only = arguments[place] if place is not None and len(arguments) > place else None
            assert seen is not suffix or stream.requires_grad
            seen.append((len(stream), only is None))
            return function(self, stream, *arguments)

        monkeypatch.setattr(PlainBlock, name, watched)

    watch("__call__", suffix, 1)
    watch("tangent", tangent, 2)
    watch("activations", clean, None)
    return suffix, tangent, clean


def operations(sizes, width):
    """Multiply-adds of the exact search in a network of these sizes, as the library counts them."""
    target = experiments.cost_model(sizes, width, torch.float64, "cpu")[0]
    return search_operations(target, {"context": "full", "quadrature": "left",
                                      "steps": sizes["m"]})


@pytest.mark.parametrize("hooked", [False, True], ids=["written out", "hooked"])
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_the_fast_search_runs_the_blocks_that_its_count_says(depth, hooked, monkeypatch):
    """Every suffix once with a backward, every later block once with a tangent; and the clean model
    once, not m times."""
    sizes, width = {"L": depth, "n": 64, "m": 3, "T": 5}, experiments.COST_WIDTH
    target, image, label = experiments.cost_model(sizes, width, torch.float64, "cpu")
    suffix, tangent, clean = count_blocks(target, monkeypatch, hooked)
    npc.find_paths(target, image, label, context="full", quadrature="left", steps=sizes["m"])
    # written out, the last block is computed for the class token alone
    whole, last = (sizes["m"], True), (sizes["m"], hooked)
    assert suffix == [run for start in range(1, depth) for run in [whole] * (depth - start - 1)
                      + [last]]
    assert tangent == [whole] * (depth - 2) + [last]
    assert clean == [(1, True)] * depth
    if hooked:
        return
    tokens, runs = sizes["T"], [*suffix, *tangent]
    # query, key, value, projection and FFN; both products of the attention
    weights = tokens * (3 * width**2 + width**2 + 2 * 64 * width)
    attention = 2 * tokens * tokens * width
    few_weights = 2 * tokens * width**2 + 2 * width**2 + 2 * 64 * width
    few_attention = 2 * tokens * width
    # forward and back: both factors of an attention product move
    both_ways = {True: 2 * weights + 3 * attention, False: 2 * few_weights + 3 * few_attention}
    assert operations(sizes, width) == sum(copies * both_ways[whole] for copies,
                                                              whole in runs)


def test_the_forward_of_one_block_in_the_count():
    """Multiply-adds of one block's matrices, counted from the weights: what the two brackets say.
    """
    sizes = {"L": 2, "n": 96, "m": 1, "T": 10}
    target, _, _ = experiments.cost_model(sizes, experiments.COST_WIDTH, torch.float64, "cpu")
    block = target.model.blocks[0]
    matrices = sum(parameter.numel() for parameter in block.parameters() if parameter.ndim == 2)
    keys_values = block.attn.qkv.weight.numel() * 2 // 3
    two, three = (operations({**sizes, "L": depth}, 32) for depth in (2, 3))
    last = 2 * (10 * keys_values + matrices - keys_values) + 3 * 2 * 10 * 32
    assert two == 2 * last
    assert three == 2 * (2 * 10 * matrices + 3 * 2 * 10 * 10 * 32) + 3 * last


@pytest.mark.parametrize("width", [24, 32])
def test_a_network_of_given_sizes_leaves_the_random_state_alone(width):
    before = torch.get_rng_state()
    target, images, labels = experiments.cost_model({"L": 2, "n": 48, "T": 10}, width,
                                                    torch.float64, "cpu", seed=3, count=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert (target.n_blocks, target.n_neurons,
            target.embed(images).shape) == (2, 48, (2, 10, width))
    assert labels.tolist() == [0, 0] and images.dtype == target.dtype == torch.float64
    torch.manual_seed(99)
    again, same, _ = experiments.cost_model({"L": 2, "n": 48, "T": 10}, width, torch.float64, "cpu",
                                            seed=3, count=2)
    assert torch.equal(images, same)
    assert all(map(torch.equal, target.model.state_dict().values(),
                   again.model.state_dict().values()))


def test_search_cost(study, monkeypatch):
    monkeypatch.setattr(experiments, "COST_SIZES", {"L": (2, 3), "n": (32, 64), "m": (1, 2),
                                                    "T": (5, 17)})
    monkeypatch.setattr(experiments, "COST_BASE", {"L": 3, "n": 32, "m": 2, "T": 5})
    searched = []
    monkeypatch.setattr(experiments, "find_paths", lambda target, image, label, **settings: (
        searched.append((target.n_blocks, target.n_neurons, settings["steps"],
                         target.embed(image).shape[1], settings["search"],
                         settings["context"], settings["quadrature"]))
        or npc.find_paths(target, image, label, **settings)))
    state = torch.get_rng_state()
    table = experiments.search_cost(study, repeats=2, search="joint")
    assert torch.equal(torch.get_rng_state(), state)
    assert list(table.columns) == ["varied", "size", "seconds", "published", "operations"]
    assert list(zip(table["varied"], table["size"], strict=True)) == [
        ("L", 2), ("L", 3), ("n", 32), ("n", 64), ("m", 1), ("m", 2), ("T", 5), ("T", 17)]
    assert (table["seconds"] > 0).all()
    settings = [(2, 32, 2, 5), (3, 32, 2, 5), (3, 32, 2, 5), (3, 64, 2, 5),
                (3, 32, 1, 5), (3, 32, 2, 5), (3, 32, 2, 5), (3, 32, 2, 17)]
    # one to warm up, two timed
    assert searched == [(*setting, "joint", "full", "left") for setting in settings
                        for _ in range(3)]
    for row, (blocks, neurons, steps, tokens) in zip(table.to_dict("records"), settings,
                                                     strict=True):
        assert row["published"] == blocks * neurons * steps * tokens * 32**2
        assert row["operations"] == operations({"L": blocks, "n": neurons,
                                                                   "m": steps, "T": tokens}, 32)


def test_the_cost_table_varies_one_size_at_a_time_and_includes_the_base():
    assert set(experiments.COST_SIZES) == set(experiments.COST_BASE)
    for varied, sizes in experiments.COST_SIZES.items():
        assert experiments.COST_BASE[varied] in sizes
        assert list(sizes) == sorted(set(sizes))


# --- what a docstring says of a table's columns ---


@pytest.mark.parametrize("name", ["knowledge_neurons", "path_table", "pruning_grid"])
def test_docstrings_name_the_columns(name, study, images, grid):
    tables = {"knowledge_neurons": lambda: experiments.knowledge_neurons(study, ["small"], images,
                                                                         top=1, steps=1),
              "path_table": lambda: experiments.path_table("small", images,
                                                           study.paths("small", images, "random",
                                                                       steps=1)),
              "pruning_grid": lambda: grid[2]}
    assert ", ".join(tables[name]().columns) in " ".join(getattr(experiments, name).__doc__.split())


# --- beyond the greedy search ---


def test_optimality_gap_is_measured_against_every_path(study, monkeypatch):
    table = experiments.optimality_gap(study, networks=3, seed=2, blocks=2, neurons=4 * 3)
    assert list(table.columns) == ["way", "of_best", "found"]
    own = table.set_index("way")
    assert list(own.index) == ["joint", "literal", "beam", "joint, refined", "beam, refined",
                               "best of all"]
    assert own.loc["best of all"].tolist() == [1.0, 1.0]
    assert (own["of_best"] <= 1 + 1e-12).all()
    assert own.loc["joint", "of_best"] <= own.loc["beam",
                                                  "of_best"] <= own.loc["beam, refined", "of_best"]
    assert own.loc["joint", "of_best"] <= own.loc["joint, refined", "of_best"]
    # a search that finds nothing must show: the worst paths instead of the best ones
    real = experiments.find_paths

    def worst(target, images, labels, search, **settings):
        found = real(target, images, labels, search=search, **settings)
        return npc.Paths(found.neurons, found.score - 1, found.steps)

    monkeypatch.setattr(experiments, "find_paths", worst)
    poor = experiments.optimality_gap(study, networks=3, seed=2, blocks=2,
                                      neurons=12).set_index("way")
    assert poor.loc["joint", "found"] == 0
    assert poor.loc["joint", "of_best"] < own.loc["joint", "of_best"]


def test_score_gain(study, images):
    few = images.select(torch.arange(len(images)) < 3)
    table = experiments.score_gain(study, ["small"], few, width=2)
    target, (pictures, labels) = study.target("small"), study.batch(few, "small")
    joint = npc.find_paths(target, pictures, labels, context="full", steps=3)
    beam = npc.find_paths(target, pictures, labels, context="full", steps=3, search="beam", width=2)
    refined = npc.refine_paths(target, pictures, labels, joint.neurons)[1]
    own = table.set_index("way")
    np.testing.assert_allclose(own.loc[["joint", "beam", "joint, refined"], "score"],
                               [joint.score.mean(), beam.score.mean(), refined.mean()], rtol=1e-12)
    np.testing.assert_allclose(own["of_joint"], own["score"] / joint.score.mean().item(),
                               rtol=1e-12)
    assert (own["of_joint"] >= 1).all()
