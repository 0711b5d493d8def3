"""Every control is shown able to fail: networks in which it must find nothing, and networks in
which it must find what was planted."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import neuronpath_core as npc
from neuronpath_core.chapters import effects
from neuronpath_core.chapters.controls import leads, measured, paths
from neuronpath_core.fast.blocks import PlainBlock
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.study.study import Study
from tests import helpers

DULL = 9  # a neuron that is active and writes nothing
ALIVE = 1.5  # the bias of a planted neuron


def planted_study(folder, model) -> Study:
    """A study whose one model, ``"planted"``, is this network."""
    (folder / "profiles").mkdir(exist_ok=True)
    profile = {"dataset": {"name": "digits", "train_images": 400},
               "models": {"planted": {"architecture": {}}}, "notebooks": {}}
    (folder / "profiles" / "planted.yml").write_text(yaml.safe_dump(profile))
    study = Study("planted", results=folder / "results", root=folder)
    study._targets["planted"] = npc.TargetModel(model)
    return study


def picture_set(labels, seed: int = 0) -> ImageSet:
    labels = torch.as_tensor(labels)
    pictures = torch.from_numpy(np.random.default_rng(seed).standard_normal((len(labels), 3, 8, 8)))
    return ImageSet(pictures, labels, torch.arange(len(labels)) + 100, tuple("abcde"),
                    np.zeros((len(labels), 8, 8), np.uint8))


def network(write) -> torch.nn.Module:
    """Three blocks whose tokens do not see each other; ``write(block number, mlp)`` sets each FFN.
    """
    model = helpers.blank_vit("cls")
    with torch.no_grad():
        for number, block in enumerate(model.blocks):
            block.mlp.fc1.bias.copy_(torch.linspace(-0.4, 0.4, 16))
            write(number, block.mlp)
    return model


@torch.no_grad()
def shared_network() -> torch.nn.Module:
    """One neuron a block raises every label but 0, whatever the image, by lowering class 0, which
    is probable."""
    def write(number, mlp):
        mlp.fc1.bias[5 + number] = ALIVE
        mlp.fc2.weight[0, 5 + number] = 0.5
    model = network(write)
    model.head.weight[0, 0], model.head.bias[0] = -1, 3
    return model


@torch.no_grad()
def label_network() -> torch.nn.Module:
    """Neuron y of every block raises label y alone."""
    def write(number, mlp):
        mlp.fc1.bias[:5] = ALIVE
        mlp.fc2.weight[range(5), range(5)] = 0.3
    model = network(write)
    model.head.weight[range(5), range(5)] = 1
    return model


@torch.no_grad()
def image_network() -> torch.nn.Module:
    """Bright images run through neuron 3 of every block, dark ones through neuron 4; either lowers
    class 0."""
    def write(number, mlp):
        for neuron, sign in ((3, 1), (4, -1)):
            mlp.fc1.weight[neuron, 2] = 3 * sign
            mlp.fc1.bias[neuron] = 0
            mlp.fc2.weight[0, neuron] = 0.5
    model = network(write)
    model.patch_embed.proj.weight[2] = 0.05
    attention = model.blocks[0].attn  # which carries the brightness to the class token
    attention.qkv.weight[2 * 16 + 2, 2], attention.proj.weight[2, 2] = 1, 1
    model.head.weight[0, 0], model.head.bias[0] = -1, 3
    return model


@torch.no_grad()
def cancelling_network() -> torch.nn.Module:
    """Two neurons a block cancel when all are scaled together, as the joint relaxation does; either
    alone has an effect."""
    def write(number, mlp):
        mlp.fc1.bias[[2, 3]] = ALIVE
        mlp.fc2.weight[0, 2], mlp.fc2.weight[0, 3] = 1, -1
    model = network(write)
    model.head.weight[2, 0], model.head.weight[3, 0] = 1, -1
    return model


@torch.no_grad()
def reading_network() -> torch.nn.Module:
    """Which neuron of the first block matters is decided by what the last block reads."""
    model = network(lambda number, mlp: None)
    first, last = model.blocks[0].mlp, model.blocks[2].mlp
    first.fc1.bias[1:] = ALIVE
    first.fc2.weight[range(1, 16), range(1, 16)] = 1
    last.fc1.weight[3, 7], last.fc2.weight[0, 3] = 1, 1
    model.head.weight[0, 0], model.head.bias[0] = -1, 3
    return model


def verdicts(tmp_path, model, labels, chosen, images=None, **settings) -> pd.DataFrame:
    """Verdicts by control and measure."""
    study = planted_study(tmp_path, model)
    effects = measured.control_effects(study, ["planted"], images or picture_set(labels), chosen,
                                       **settings).assign(data="made up")
    return leads.control_leads(effects).pivot(index="control", columns="measure", values="verdict")


NOT_ZERO = [1, 2, 3, 4] * 6
PROBABILITY = ["removal", "enhancement"]


# --- plants: what must be found, and what must not ---


def test_path_of_another_image_or_label_is_as_good_where_the_neurons_are_shared(tmp_path):
    found = verdicts(tmp_path, shared_network(), NOT_ZERO,
                     ["random", "matched_random", "same_class", "other_class", "wrong_label",
                      "best_active"])
    assert (found.loc[["same_class", "other_class", "best_active"]] == "not shown").all(axis=None)
    # only an image that was given label 0 has another path
    assert (found.loc["wrong_label", PROBABILITY] == "not shown").all()
    assert (found.loc["random", [*PROBABILITY, "score"]] == "agrees").all()
    assert (found.loc["matched_random", [*PROBABILITY, "score"]] == "agrees").all()


def test_path_of_another_class_or_label_is_worse_where_every_label_has_its_own_neurons(tmp_path):
    found = verdicts(tmp_path, label_network(), [2, 3, 4] * 8,
                     ["same_class", "other_class", "wrong_label", "best_random", "best_active"])
    assert (found.loc["same_class"] == "not shown").all()
    assert (found.loc[["other_class", "wrong_label", "best_random", "best_active"],
                      [*PROBABILITY, "score"]] == "agrees").all(axis=None)


def test_a_budget_that_reaches_the_path_itself_finds_no_difference(tmp_path):
    found = verdicts(tmp_path, label_network(), [2, 3, 4] * 8, ["best_active"], budget=3)
    assert (found.loc["best_active"] == "not shown").all()


def test_path_of_another_image_of_the_class_is_worse_where_the_image_decides(tmp_path):
    images = picture_set([1, 1, 2, 2, 3, 3, 4, 4])
    images.images[:] = torch.tensor([1.0, -1.0] * 4)[:, None, None, None] + 0.1 * images.images
    found = verdicts(tmp_path, image_network(), None, ["same_class", "random"], images)
    assert (found.loc[["same_class", "random"], PROBABILITY] == "agrees").all(axis=None)


def test_no_control_is_worse_where_no_neuron_matters(tmp_path):
    found = verdicts(tmp_path, network(lambda number, mlp: None), NOT_ZERO, list(paths.CONTROLS))
    assert list(found.index.sort_values()) == sorted(paths.CONTROLS)
    assert (found == "not shown").all(axis=None)


def test_best_of_random_paths_wins_where_the_relaxation_is_blind(tmp_path):
    found = verdicts(tmp_path, cancelling_network(), [1] * 24, ["best_random", "best_active"],
                     budget=8)
    assert (found.loc[["best_random", "best_active"], ["score", "removal"]]
            == "contradicts").all(axis=None)


@torch.no_grad()
def test_equal_weights_are_flagged_because_permuting_them_changes_nothing(tmp_path):
    def write(number, mlp):
        mlp.fc1.bias[:], mlp.fc2.weight[:] = 0.5, 0.1
    model = network(write)
    model.head.weight[1, 0] = 1
    effects = measured.control_effects(planted_study(tmp_path, model), ["planted"],
                                       picture_set(NOT_ZERO), ["randomised", "late_randomised"])
    found = leads.sanity(effects.assign(data="made up"))
    assert (effects["overlap"] == 1).all() and found["value"].tolist() == [1, 1] and found[
        "verdict"].tolist() == ["contradicts"] * 2


def test_randomised_weights_leave_nothing_of_the_paths_of_a_random_network(tmp_path):
    effects = measured.control_effects(planted_study(tmp_path, helpers.small_vit()), ["planted"],
                                       picture_set(NOT_ZERO), ["randomised"])
    (row,) = leads.sanity(effects.assign(data="made up")).to_dict("records")
    assert row["verdict"] == "agrees" and abs(row["value"]) < 0.3


@pytest.mark.parametrize(("model", "expected"), [(shared_network, "contradicts"),
                                                 (reading_network, "agrees")])
def test_early_neurons_may_or_may_not_depend_on_later_weights(tmp_path, model, expected):
    effects = measured.control_effects(planted_study(tmp_path, model()), ["planted"],
                                       picture_set(NOT_ZERO), ["late_randomised"])
    (row,) = leads.sanity(effects.assign(data="made up")).to_dict("records")
    assert row["verdict"] == expected


@torch.no_grad()
def test_enhancement_gains_by_the_label_alone(tmp_path):
    model = label_network()
    # class 0 is always predicted, and the path of another label, enhanced, overcomes it
    model.head.bias[0] = 0.5
    images = picture_set([0, 1, 2, 0] * 5)
    table = measured.label_effects(planted_study(tmp_path, model), ["planted"],
                                   images.select(np.arange(8)), images).assign(data="made up")
    assert table["share"].unique().tolist() == [0.5] and table["wrong"].sum() == 10 and len(
        table) == 10 + 4
    gain = leads.label_gain(table).set_index("label")
    # every label has its own neurons: a class's path is that of any of its images, and neurons as
    # active speak for other labels
    assert gain["value"].drop(["random", "true - random"]).to_dict() == {
        "true": 50, "predicted": 0, "another image": 50, "true - predicted": 50,
        "true - another image": 0}
    assert gain.loc["random", "value"] < 25
    agrees = {"true", "another image", "true - predicted", "true - random"}
    assert {name for name, verdict in gain["verdict"].items() if verdict == "agrees"} == agrees


def test_another_image_is_of_the_class_and_not_the_image_itself():
    images = picture_set([0, 0, 1, 2, 2, 2])
    places = measured.other_of_class(images, images)
    assert places[2] == -1 and (places[[0, 1, 3, 4, 5]] != [0, 1, 3, 4, 5]).all()
    assert images.labels[places[[0, 1, 3, 4, 5]]].tolist() == [0, 0, 2, 2, 2]
    assert len(set(places[3:].tolist())) > 1


def test_a_model_without_mistakes_has_no_gain_to_show(tmp_path):
    images = picture_set([3] * 6)
    model = helpers.blank_vit("cls")
    with torch.no_grad():
        model.head.bias[3] = 1
    table = measured.label_effects(planted_study(tmp_path, model), ["planted"], images,
                                   images).assign(data="made up")
    gain = leads.label_gain(table)
    assert gain["value"].isna().all() and (gain["verdict"]
                                           == "not shown").all() and (gain["misclassified"]
                                                                      == 0).all()


@pytest.mark.parametrize(("fixed", "broken", "expected"),
                         [(1, 0, "agrees"), (0, 0, "not shown"), (0, -1, "contradicts")])
def test_gain_without_the_label(fixed, broken, expected):
    table = pd.DataFrame({"data": "made up", "model": "m", "wrong": [True] * 5 + [False] * 5,
                          "share": 0.2, "true_label": 0.0, "random_path": 0.0, "class_path": np.nan,
                          "predicted_label": [fixed] * 5 + [broken] * 5})
    gain = leads.label_gain(table).set_index("label")
    row = gain.loc["predicted"]
    assert np.isnan(gain.loc["another image", "value"])  # no image has such a path
    assert row["verdict"] == expected and row["value"] == pytest.approx(20 * fixed + 80 * broken,
                                                                        abs=1e-12)


# --- what the controls are made of ---


@pytest.mark.parametrize("seed", range(3))
def test_donors_and_wrong_labels(seed):
    labels = np.random.default_rng(seed).permutation([0, 0, 1, 1, 1, 4, 4, 4, 4])
    same, other = paths.donors(labels, True, seed), paths.donors(labels, False, seed)
    assert (labels[same] == labels).all() and (same != np.arange(9)).all() and sorted(same) == list(
        range(9))
    assert (labels[other] != labels).all()
    many = torch.arange(5).repeat(200)
    wrong = paths.wrong_labels(many, 5, seed)
    assert (wrong != many).all() and all(len(wrong[many == label].unique()) == 4
                                         for label in range(5)) and wrong.max() == 4


@pytest.mark.parametrize("call", [
    lambda: paths.donors(np.array([0, 0, 1]), True),
    lambda: paths.donors(np.array([1, 1]), False),
    lambda: paths.wrong_labels(torch.zeros(3, dtype=torch.int64), 1),
    lambda: paths.randomised(npc.TargetModel(helpers.small_vit()), [3]),
    lambda: paths.equal_budget(npc.TargetModel(helpers.small_vit()), "none"),
    lambda: leads.class_overlap(np.zeros((3, 2)), np.arange(3)),
    lambda: leads.class_overlap(np.zeros((3, 2)), np.zeros(3))], ids=range(7))
def test_bad_input(call):
    with pytest.raises(ValueError, match="accepted|must lie|at least two"):
        call()


@pytest.mark.parametrize("wrong", [{"chosen": ["guess"]}, {"budget": 0}, {"budget": True},
                                   {"budget": 1.5}], ids=str)
def test_unknown_control_or_budget(tmp_path, wrong):
    with pytest.raises(ValueError, match="unknown controls|budget must be"):
        paths.control_paths(planted_study(tmp_path, label_network()), "planted",
                               picture_set(NOT_ZERO), **wrong)


def test_randomised_weights_are_the_same_numbers_elsewhere():
    target = npc.TargetModel(helpers.small_vit())
    before = helpers.Snapshot(target.model)
    other = paths.randomised(target, [1], 3)
    before.check()
    for (name, old), new in zip(target.model.named_parameters(), other.model.parameters(),
                                strict=True):
        assert torch.equal(old.flatten().sort().values, new.flatten().sort().values), name
        assert torch.equal(old, new) == (not name.startswith("blocks.1.") or old.unique().numel()
                                         == 1), name
    assert other.scope == target.scope
    assert torch.equal(paths.randomised(target, [1], 3).model.blocks[1].mlp.fc1.weight,
                       other.model.blocks[1].mlp.fc1.weight)
    assert not torch.equal(paths.randomised(target, [1], 4).model.blocks[1].mlp.fc1.weight,
                           other.model.blocks[1].mlp.fc1.weight)


@pytest.mark.parametrize("pool", ["token", "avg"])
@pytest.mark.parametrize("depth", [2, 3, 5])
def test_passes_are_those_that_are_made(monkeypatch, pool, depth):
    """Copies that enter a block forward, and gradients that leave it, counted as the search and the
    score run."""
    target = npc.TargetModel(helpers.small_vit(global_pool=pool, depth=depth))
    (pictures, labels) = helpers.small_batch(2)
    nodes = 3
    target.check_images(pictures)  # held against itself: none of the passes
    counted = []

    def watched(function, times):
        def call(self, stream, *arguments):
            counted.extend([len(stream)] * times)
            value = function(self, stream, *arguments)
            if isinstance(value, torch.Tensor) and value.requires_grad:
                value.register_hook(lambda gradient: counted.append(len(gradient)))
            return value
        return call

    for name, times in (("__call__", 1), ("tangent", 2)):
        monkeypatch.setattr(PlainBlock, name, watched(getattr(PlainBlock, name), times))
    passes = paths.block_passes(depth, target.scope)
    npc.find_paths(target, pictures, labels, context="full", steps=nodes)
    assert sum(counted) == passes["search"] * nodes * len(labels)
    counted.clear()
    npc.joint_attribution_score(target, pictures, labels, torch.zeros(2, depth, dtype=torch.int64),
                                "gauss-legendre", nodes)
    assert sum(counted) == passes["score"] * nodes * len(labels)
    assert paths.equal_budget(target) == math.ceil(passes["search"] / passes["score"])


def test_published_passes_by_hand():
    # two blocks: two forwards of two, backward from the end to block 1, and again to block 1 and to
    # block 2
    assert [paths.block_passes(blocks, "cls")["published"]
            for blocks in (1, 2, 3)] == [2, 4 + 2 + 2 + 1, 9 + 3 + (3 + 2) + (3 + 2 + 1)]
    assert paths.equal_budget(npc.TargetModel(helpers.small_vit()),
                                 "published") == math.ceil(23 / 6)


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_best_path_is_that_of_the_largest_score(pool):
    target = npc.TargetModel(helpers.small_vit(global_pool=pool))
    (pictures, labels) = helpers.small_batch(4)
    candidates = torch.from_numpy(np.random.default_rng(0).integers(0, 16, (4, 3, 5)))
    best = paths.best_path(target, pictures, labels, candidates, "left", 4)
    for image, chosen in enumerate(best):
        scores = [npc.joint_attribution_score(target, pictures[[image]], labels[[image]],
                                              candidates[[image], :, rank], "left", 4).item()
                  for rank in range(5)]
        assert torch.equal(chosen, candidates[image, :, int(np.argmax(scores))])


def test_effects_are_those_of_the_table_experiment(tmp_path):
    study, images = planted_study(tmp_path, helpers.small_vit()), picture_set(NOT_ZERO)
    rule = {"context": "full", "quadrature": "gauss-legendre", "steps": 4}
    found = measured.control_effects(study, ["planted"], images,
                                     ["random", "best_active", "late_randomised"], seed=2, **rule)
    direct = effects.interventions(study, ["planted"], images, ["neuron_path", "random"],
                                       seed=2, **rule)
    columns = ["image", "label", "correct", "score", "removal_accuracy", "removal_probability",
               "enhancement_accuracy", "enhancement_probability"]
    for control, method in (("own", "neuron_path"), ("random", "random")):
        own, other = found[found["control"] == control], direct[direct["method"] == method]
        # the scores of the second are a draft's, in single precision
        pd.testing.assert_frame_equal(own[columns].reset_index(drop=True),
                                      other[columns].reset_index(drop=True), rtol=1e-4)
        exact = [name for name in columns if name != "score"]
        pd.testing.assert_frame_equal(own[exact].reset_index(drop=True),
                                      other[exact].reset_index(drop=True), rtol=1e-12)
    assert (found.loc[found["control"] == "own", ["overlap", "early", "late"]] == 1).all(axis=None)
    assert found.groupby("control").size().to_dict() == {"own": 24, "random": 24, "best_active": 12,
                                                         "late_randomised": 12}
    assert found.loc[found["control"] == "best_active",
                     "image"].tolist() == images.ids[::2].tolist()
    np.testing.assert_allclose(found["overlap"], found["early"] / 3 + found["late"] * 2 / 3,
                               atol=1e-15)
    own = study.paths("planted", images, **rule).neurons
    drawn = study.paths("planted", images, "random", seed=2, **rule).neurons
    assert found.loc[found["control"] == "random",
                     "overlap"].tolist() == [(a == b).double().mean().item() for a,
                                             b in zip(own, drawn, strict=True)]


# --- statistics ---


def made_up(differences: dict[str, np.ndarray], model: str = "m") -> pd.DataFrame:
    """Effects whose own path is ahead of each control by the given differences, in every measure.
    """
    count = len(next(iter(differences.values())))
    columns = ("removal_probability", "enhancement_probability", "removal_accuracy",
               "enhancement_accuracy", "score")
    base = np.random.default_rng(9).normal(size=count)
    tables = [pd.DataFrame({"control": "own", "image": np.arange(count),
                            **dict.fromkeys(columns, base)})]
    for control, values in differences.items():
        ahead = {column: base - values * (-1 if column.startswith("removal") else 1)
                 for column in columns}
        tables.append(pd.DataFrame({"control": control, "image": np.arange(count), **ahead}))
    return pd.concat(tables).assign(data="made up", model=model)


def test_leads_of_planted_differences():
    noise = np.random.default_rng(0).normal(size=40)
    table = leads.control_leads(made_up({"random": 2 + 0.1 * noise, "same_class": noise
                                         - np.median(noise), "best_random": -2 + 0.1 * noise}))
    for measure, (_, factor, statistic) in effects.MEASURES.items():
        own = table[table["measure"] == measure].set_index("control")
        assert own["verdict"].to_dict() == {"random": "agrees", "same_class": "not shown",
                                            "best_random": "contradicts"}, measure
        expected = abs(factor) * getattr(np, statistic)(2 + 0.1 * noise)
        assert own.loc["random", "value"] == pytest.approx(expected,
                                                           abs=1e-12) and own.loc["random",
                                                                                  "images"] == 40
    words = leads.lead_summary(table, ("removal", "score", "removal accuracy"))
    accuracy = table[(table["measure"] == "removal accuracy") & (table["control"] == "random")]
    assert words.loc[paths.CONTROLS["random"], "removal accuracy"].startswith(
        f"{accuracy['value'].iloc[0]:+z.1f} to ")
    assert "1 of 1 agree" in words.loc[paths.CONTROLS["random"], "score"]
    assert "0 of 1 agree, 1 contradict" in words.loc[paths.CONTROLS["best_random"], "removal"]
    claims = leads.lead_claims(pd.concat([table.assign(model="better", value=table["value"] + 1),
                                          table])).set_index("control")
    assert claims.loc["random", "tally"] == "4 of 4 agree" and claims.loc["best_random",
                                                                          "tally"] == "0 of 4 agree, 4 contradict"
    least = np.median(2 + 0.1 * noise)
    assert claims.loc["random",
                      "text"].startswith(f"smallest lead in removal {least:+.4f} [") and claims.loc[
        "random", "text"].endswith("(made up, m)")


def test_own_effects_keep_their_sign():
    effects = made_up({"random": np.zeros(30)})
    own = effects[effects["control"] == "own"]
    found = leads.own_effects(effects).set_index("measure")
    assert found.loc["removal", "value"] == own["removal_probability"].median()
    assert found.loc["removal accuracy",
                     "value"] == pytest.approx(100 * own["removal_accuracy"].mean(), abs=1e-12)
    assert found.loc["score", "text"].startswith(f"{own['score'].mean():+.3f} [")


def test_a_difference_that_the_family_explains_is_not_shown():
    weak = np.r_[np.full(11, 1.0), np.full(2, -1.0)]  # p = 0.022 by itself
    alone = leads.control_leads(made_up({"random": weak}))
    assert (alone.loc[alone["measure"] == "removal", "verdict"] == "agrees").all()
    family = pd.concat([made_up({"random": weak})]
                       + [made_up({"random": np.r_[np.ones(6), -np.ones(7)]}, f"null {number}")
                          for number in range(9)])
    found = leads.control_leads(family)
    assert (found["verdict"] == "not shown").all()
    assert found.loc[(found["model"] == "m") & (found["measure"] == "removal"),
                     "adjusted"].item() == pytest.approx(10 * 2 * (1 + 13 + 78) / 2**13)


@pytest.mark.parametrize("case", ["class", "nothing", "against"])
def test_class_overlap(case):
    labels = np.repeat(np.arange(4), 5)
    place = np.tile(np.arange(5), 4)
    rng = np.random.default_rng(1)
    neurons = {"class": np.stack([labels, labels + 1], 1), "nothing": rng.integers(0, 2, (20, 2)),
               "against": np.stack([place, place + 1], 1)}[case]
    found = leads.class_overlap(neurons, labels, permutations=400)
    pairs = [(i, j) for i in range(20) for j in range(i)]
    within = np.mean([np.mean(neurons[i] == neurons[j]) for i, j in pairs
                      if labels[i] == labels[j]])
    between = np.mean([np.mean(neurons[i] == neurons[j]) for i, j in pairs
                       if labels[i] != labels[j]])
    assert (found["within"], found["between"]) == pytest.approx((within, between), abs=1e-12)
    assert found["verdict"] == {"class": "agrees", "nothing": "not shown",
                                "against": "contradicts"}[case]
    assert (found["p"] == 1 / 401) == (case == "class") and (found["p"] > 0.1) == (case != "class")
