"""The published code's defects: every variant against a slow transcription, and every effect able
to give both verdicts."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from timm.layers import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import neuronpath_core as npc
from neuronpath_core.chapters import effects, pruning
from neuronpath_core.chapters.as_published import cases, catalogue, defect_table, defects, published
from neuronpath_core.chapters.as_published.cases import Case
from neuronpath_core.study.study import Study
from tests import helpers, small_study, twins

CLOSE = {"rtol": 1e-9, "atol": 1e-12}
# 4 x 4 patches, and enough neurons that thirty can be kept
LARGER = {**small_study.ARCHITECTURE, "img_size": 16, "mlp_ratio": 3.0}


def make(root, **changes) -> Study:
    """A study of two small networks with sizeable weights, "one-32" (class token) and "two"
    (averaging)."""
    sizes = {**LARGER, **changes}
    profile = {
        **small_study.PROFILE,
        "dataset": {**small_study.PROFILE["dataset"], "image_size": sizes["img_size"]},
        "models": {
            "one-32": {"architecture": sizes, "weights": "data/weights/one-32.safetensors"},
            "two": {
                "architecture": {**sizes, "global_pool": "avg"},
                "weights": "data/weights/two.safetensors",
            },
        },
    }
    (root / "neuronpath_core").mkdir(parents=True)
    small_study.write_profile(root, profile)
    for seed, (name, entry) in enumerate(profile["models"].items()):
        small_study.write_weights(root, name, seed, entry["architecture"])
    return Study("digits", root=root, results=root / "results")


@pytest.fixture
def study(tmp_path):
    return make(tmp_path / "study")


@pytest.fixture
def case(study):
    return Case(study, "one-32", study.images(30))


@pytest.fixture
def averaging(study):
    return Case(study, "two", study.images(30))


def verdicts(rows: pd.DataFrame) -> dict[str, str]:
    """Verdict by number, of one defect."""
    table = defect_table.effect_table(rows)
    assert table["defect"].nunique() == 1
    return dict(zip(table["number"], table["verdict"], strict=True))


def nothing_changes(rows: pd.DataFrame) -> bool:
    return set(verdicts(rows).values()) == {defect_table.NOT_SHOWN}


def blind(case: Case) -> Case:
    """The picture has no way into the model."""
    with torch.no_grad():
        case.target.model.patch_embed.proj.weight.zero_()
    return case


def mute(case: Case) -> Case:
    """No neuron writes anything."""
    with torch.no_grad():
        for block in case.target.model.blocks:
            block.mlp.fc2.weight.zero_()
    return case


# --- the variants ---


def test_renormalised_images_by_hand(study):
    images = study.images(10)
    wrong = published.renormalised(images)
    grey = (images.images + 1) / 2
    mean, deviation = (0.485 + 0.456 + 0.406) / 3, (0.229 + 0.224 + 0.225) / 3
    torch.testing.assert_close(wrong.images, (grey - mean) / deviation, **CLOSE)
    coloured = published.renormalised(defects.replace(images,
                                                      images=images.images.expand(-1, 3, -1,
                                                                                  -1))).images
    for channel, (mean, deviation) in enumerate(zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225),
                                                    strict=True)):
        torch.testing.assert_close(coloured[:, [channel]], (grey - mean) / deviation, **CLOSE)


def test_squashed_images_by_hand(study):
    images = study.images(10)
    size = images.images.shape[3]
    aside = round(size / 6)
    # every output pixel is a triangle-weighted mean of the wide picture's
    wide = torch.cat([images.images[..., :1].expand(-1, -1, -1, aside), images.images,
                      images.images[..., -1:].expand(-1, -1, -1, aside)], -1)
    scale, squashed = wide.shape[3] / size, torch.zeros_like(images.images)
    for column in range(size):
        weights = torch.tensor([max(0.0, 1 - abs(index + 0.5 - (column + 0.5) * scale) / scale)
                                for index in range(wide.shape[3])], dtype=torch.float64)
        squashed[..., column] = (wide * weights / weights.sum()).sum(-1)
    torch.testing.assert_close(published.squashed(images).images, squashed, **CLOSE)
    torch.testing.assert_close(wide[..., aside:-aside], images.images)  # what cropping leaves


def test_another_resolution_is_a_model_with_interpolated_positions():
    model = helpers.small_vit(img_size=16)
    before, target = helpers.Snapshot(model), npc.TargetModel(model)
    small, images = published.at_resolution(target, (8, 8)), helpers.small_batch()[0]
    before.check()
    fresh = VisionTransformer(**helpers.SIZES).double().eval()
    state = dict(model.state_dict())
    state["pos_embed"] = resample_abs_pos_embed(state["pos_embed"], [2, 2], num_prefix_tokens=1)
    fresh.load_state_dict(state)
    torch.testing.assert_close(small(images), fresh(images), **CLOSE)
    pictures = helpers.small_batch(size=16)[0]
    assert torch.equal(published.at_resolution(target, (16, 16))(pictures), target(pictures))
    with pytest.raises(ValueError, match="accepted: multiples"):
        published.at_resolution(target, (10, 8))


@pytest.mark.parametrize("size", [1, 3, 4])
def test_first_labels_by_a_loop(size):
    labels, order = torch.tensor([3, 1, 4, 1, 5, 9, 2]), torch.tensor([6, 0, 2, 5, 1, 4, 3])
    expected = labels.clone()
    for place, index in enumerate(order.tolist()):
        expected[index] = labels[order[place - place % size]]
    assert torch.equal(published.first_labels(labels, order, size), expected)


def lively(norm: nn.LayerNorm) -> None:
    """Weights and biases that make a second application another one."""
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 3, len(norm.weight)))
        norm.bias.copy_(torch.linspace(1, -1, len(norm.bias)))


def test_the_norm_is_applied_twice():
    model = helpers.small_vit(global_pool="avg")
    lively(model.fc_norm)
    before, images = helpers.Snapshot(model), helpers.small_batch()[0]
    twice = published.normalised_twice(npc.TargetModel(model))
    before.check()
    with torch.no_grad():
        pooled = model.forward_features(images)[:, 1:].mean(1)
        expected = model.head(model.fc_norm(model.fc_norm(pooled)))
        torch.testing.assert_close(twice(images), expected, **CLOSE)
        assert (twice(images) - model(images)).abs().max() > 1e-3
        idle = copy.deepcopy(model)
        idle.fc_norm.weight.fill_(1), idle.fc_norm.bias.zero_()
        idle.fc_norm.eps = 0
        torch.testing.assert_close(published.normalised_twice(npc.TargetModel(idle))(images),
                                   idle(images), **CLOSE)


def skipping_twin(model, scope, image, label, nodes, weights):
    """Per block a network without the blocks before it, fed with the embedded input and the
    activations of the whole network."""
    path = []
    for block in range(len(model.blocks)):
        tail, slope = copy.deepcopy(model), 0.0
        tail.blocks = nn.Sequential(*list(tail.blocks)[block:])
        for node, weight in zip(nodes, weights, strict=True):
            held = twins.clean_activations(model, scope, node * image)[block].requires_grad_()
            probability = twins.forward(tail, scope, node * image[None],
                                        {0: held[None]}).softmax(-1)[0, label]
            slope = slope + weight * torch.autograd.grad(probability, held)[0].sum(0)
        path.append(int(slope.argmax()))
    return path


@pytest.mark.parametrize("name", ["avg", "avg-without-class-token", "cls"])
def test_influence_pattern_that_skips_blocks(name):
    changes, scope = helpers.NETWORKS[name]
    model, (images, labels) = helpers.small_vit(**changes), helpers.small_batch()
    target = npc.TargetModel(model, scope)
    found = published.skipping_influence_paths(target, images, labels, "left", 5)
    expected = [skipping_twin(model, scope, image, int(label), *twins.rule("left", 5)) for image,
                label in zip(images, labels, strict=True)]
    assert found.tolist() == expected
    native = npc.find_paths(target, images, labels, "influence_pattern", quadrature="left",
                            steps=5).neurons
    assert torch.equal(found[:, 0], native[:, 0])  # nothing comes before the first block
    with pytest.raises(ValueError, match="labels"):
        published.skipping_influence_paths(target, images, labels + 9)


def last_of_rank_twin(model, scope, image, label, nodes, weights, top):
    """As published: all chosen neurons are scaled, the last of each block is what counts; path and
    reported score."""
    clean, path, count = twins.clean_activations(model, scope, image), [], len(model.blocks)

    def slopes(moved):
        function, values = twins.path_function(model, scope, image, label, moved)
        return twins.integrated_gradients(function, values, nodes, weights)

    for block in range(count):
        *earlier, own = slopes([*path, list(range(clean[0].shape[1]))])
        slope = own + sum(value[:, [-1]] for value in earlier)
        height = clean[block] + sum(clean[number][:, [path[number][-1]]] for number in range(block))
        path.append(twins.best_first((slope * height).sum(0), top))
    slope = sum(value[:, -1] for value in slopes(path))
    height = sum(clean[number][:, path[number][-1]] for number in range(count))
    return path, float((slope * height).mean())


@pytest.mark.parametrize("name", ["cls", "cls-layerscale-qknorm", "avg"])
def test_top_search_in_which_the_last_of_each_block_counts(name):
    changes, scope = helpers.NETWORKS[name]
    model, (images, labels) = helpers.small_vit(**changes), helpers.small_batch()
    target = npc.TargetModel(model, scope)
    rule = {"context": "full", "quadrature": "left", "steps": 4}
    neurons, score = published.published_top_paths(target, images, labels, 3, **rule)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        path, value = last_of_rank_twin(model, scope, image, int(label), *twins.rule("left", 4), 3)
        assert neurons[row].tolist() == path
        assert score[row].item() == pytest.approx(value, rel=1e-9, abs=1e-13)
    one, alone = published.published_top_paths(target, images, labels, 1, **rule)
    own = npc.find_paths(target, images, labels, **rule)
    assert torch.equal(one[..., 0], own.neurons)
    torch.testing.assert_close(alone, own.score, **CLOSE)


def test_left_rule_of_the_comparison_is_the_published_one_with_its_bias():
    assert defects.PUBLISHED_RULE == {"quadrature": "left", "steps": 20, "nodes": 8}
    for scope in ("cls", "patch"):
        model, _ = helpers.product_vit(scope)
        target, (images, _) = npc.TargetModel(model, scope), helpers.small_batch(2)
        labels, neurons = torch.zeros(2, dtype=torch.int64), torch.tensor([[3, 5]] * 2)
        left, exact = (npc.joint_attribution_score(target, images, labels, neurons, **rule)
                       for rule in (defects.PUBLISHED_RULE, defects.CONVERGED_RULE))
        # (m-1)/(2m) of 1/2
        torch.testing.assert_close(left / exact, torch.full((2,), 19 / 20, dtype=torch.float64),
                                   **CLOSE)
    model, (images, labels) = helpers.small_vit(), helpers.small_batch()
    target = npc.TargetModel(model)
    for key in ("left", "gauss-legendre"):
        rule = defects.PUBLISHED_RULE if key == "left" else defects.CONVERGED_RULE
        whole = npc.find_paths(target, images, labels, context="full", quadrature=key, steps=20)
        few = npc.find_paths(target, images, labels, context="full", **rule)
        assert torch.equal(few.neurons, whole.neurons)
        torch.testing.assert_close(few.score, whole.score, rtol=1e-7, atol=1e-10)


# --- the effects: each able to show itself, and able not to ---


def test_corrected_values_are_the_librarys_own(case):
    table = effects.interventions(case.study, ["one-32"], case.images,
                                      ["neuron_path"]).set_index("image")
    target, (pictures, labels) = case.target, case.batch
    score = npc.joint_attribution_score(target, pictures, labels,
                                        case.study.paths("one-32", case.images).neurons,
                                        **cases.SCORE_RULE)
    for rows in (defects.normalisation(case), defects.squash(case), defects.positions(case),
                 defects.mixed_batch(case), defects.pure_batch(case)):
        own = rows.pivot(index="item", columns="number", values="corrected").loc[table.index]
        for number, column in (("accuracy", "correct"), ("removal_accuracy",) * 2,
                               ("enhancement_accuracy",) * 2, ("removal_probability",) * 2):
            if number in own:
                np.testing.assert_allclose(own[number], table[column].astype(float), rtol=1e-9,
                                           atol=1e-12)
        np.testing.assert_allclose(own["score"], score, rtol=1e-9)
        assert (own["neurons"] == 1).all()


@pytest.mark.parametrize("measure", [defects.normalisation, defects.squash])
def test_what_enters_the_model(study, measure):
    case = Case(study, "one-32", study.images(30))
    rows = measure(case)
    assert verdicts(rows)["neurons"] == defect_table.CHANGES
    assert (rows["published"]
            != rows["corrected"])[rows["number"].isin(["score", "probability"])].all()
    assert nothing_changes(measure(blind(Case(study, "one-32", case.images))))


def test_positions(case, tmp_path):
    assert verdicts(defects.positions(case))["neurons"] == defect_table.CHANGES
    # two patches a side are the fewest, so that nothing is interpolated
    few = make(tmp_path / "few", img_size=8)
    assert nothing_changes(defects.positions(Case(few, "one-32", few.images(30))))


def test_relaxation(case):
    rows = defects.relaxation(case)
    joint, literal = (npc.find_paths(case.target, *case.batch, search=search,
                                     context="frozen").neurons for search in ("joint", "literal"))
    own = rows[rows["number"] == "neurons"]
    np.testing.assert_allclose(own["published"], (joint == literal).double().mean(1))
    assert verdicts(rows)["neurons"] == (defect_table.CHANGES if (joint != literal).any(1).sum() > 4
                                         else defect_table.NOT_SHOWN)
    assert "accuracy" not in set(rows["number"])
    assert nothing_changes(defects.relaxation(mute(Case(case.study, "one-32", case.images))))


def test_left_sum(case):
    rows = defects.left_sum(case)
    assert verdicts(rows)["score"] == defect_table.CHANGES
    own = rows[rows["number"] == "score"]
    found = npc.find_paths(case.target, *case.batch, context="full", quadrature="left", steps=20)
    # eight places in place of twenty, and steep integrands
    np.testing.assert_allclose(own["published"], found.score, rtol=1e-4)
    assert nothing_changes(defects.left_sum(mute(Case(case.study, "one-32", case.images))))


def test_labels_of_a_batch(case):
    mixed, pure = verdicts(defects.mixed_batch(case)), defects.pure_batch(case)
    assert mixed["neurons"] == defect_table.CHANGES
    assert nothing_changes(pure) and (pure["published"] == pure["corrected"]).all()
    rows = defects.mixed_batch(case, seed=3)
    order = np.random.default_rng(3).permutation(30)
    given = case.images.labels.clone()
    for start in (0, 10, 20):
        given[order[start:start + 10]] = case.images.labels[order[start]]
    wrong = npc.find_paths(case.target, case.batch[0], given)
    own = npc.find_paths(case.target, *case.batch)
    np.testing.assert_allclose(rows[rows["number"] == "neurons"]["published"],
                               (wrong.neurons == own.neurons).double().mean(1))
    reported = npc.joint_attribution_score(case.target, case.batch[0], given, wrong.neurons,
                                           **cases.SCORE_RULE)
    np.testing.assert_allclose(rows[rows["number"] == "score"]["published"], reported, rtol=1e-9)


def test_second_norm(averaging):
    norm = averaging.target.model.fc_norm
    lively(norm)
    assert verdicts(defects.second_norm(averaging))["neurons"] == defect_table.CHANGES
    with torch.no_grad():
        norm.weight.fill_(1), norm.bias.zero_()
    norm.eps = 0
    assert nothing_changes(defects.second_norm(Case(averaging.study, "two", averaging.images)))


def test_skipped_blocks(averaging):
    assert verdicts(defects.skipped_blocks(averaging))["neurons"] == defect_table.CHANGES
    assert nothing_changes(defects.skipped_blocks(mute(Case(averaging.study, "two",
                                                            averaging.images))))


def test_last_of_rank(case):
    assert verdicts(defects.last_of_rank(case))["neurons"] == defect_table.CHANGES
    assert nothing_changes(defects.last_of_rank(case, top=1))


def test_pruned_images_by_hand(case):
    probing = pruning.probe_mask(case.images, 0.7)
    right, probability, kept = defects._pruned(case, probing, 2, "count")
    paths = case.study.paths("one-32", case.images.select(probing), top=2).neurons
    for row in (0, 11, 29):
        label = int(case.images.labels[row])
        mine = paths[torch.from_numpy(case.images.labels.numpy()[probing] == label)]
        chosen = [pd.Series(block.flatten().tolist()).value_counts().sort_index().sort_values(
            ascending=False, kind="stable").index[:2]
                  for block in mine.unbind(1)]
        others = [[neuron for neuron in range(case.target.n_neurons) if neuron not in set(block)]
                  for block in chosen]
        with torch.no_grad():
            logits = twins.edited_logits(case.target.model, "cls", case.batch[0][row], others, 0.0)
        assert probability[row] == pytest.approx(logits.softmax(-1)[label].item(), rel=1e-9)
        assert right[row] == float(logits.argmax() == label)
    assert (kept == 2).all()


def plant(monkeypatch, tables):
    """Pruned images whose outcome is known, by rule or number of kept neurons."""
    monkeypatch.setattr(defects, "_pruned", lambda case, probing, top,
                        rule: tables(probing)[rule if rule == "rank-mode" else top])


def test_pruning_slips(study, monkeypatch):
    images = study.images(200)
    case, five = Case(study, "one-32", images), np.full(10, 5.0)

    def tables(probing):
        wrong, right = np.zeros(200), np.ones(200)
        return {5: (probing.astype(float), np.full(200, 0.5), five),
                "rank-mode": (right, right, five - 2), 20: (wrong, wrong, five),
                30: (right, right, five)}

    plant(monkeypatch, tables)
    table = defect_table.effect_table(defects.pruning(case)).set_index(["defect", "number"])
    assert set(table["verdict"]) == {defect_table.CHANGES} and table["material"].all()
    assert {key: round(value, 12) for key, value in table["value"].items()} == {
        ("leaking split", "pruned_accuracy"): 0.1, ("mode of each rank", "pruned_accuracy"): 1.0,
        ("mode of each rank", "kept"): -2.0,
        ("mislabelled bars", "pruned_accuracy"): -1.0,
        ("probability for accuracy", "pruned_accuracy"): 0.5}
    plant(monkeypatch, lambda probing: dict.fromkeys((5, "rank-mode", 20, 30),
                                                     (np.ones(200), np.ones(200), five)))
    assert set(defect_table.effect_table(defects.pruning(case))["verdict"]) == {
        defect_table.NOT_SHOWN}


def test_class_means(case):
    rows = defects.class_means(case)
    for label, own in rows.groupby("item"):
        deviation = case.corrected[1]["removal_probability"][case.images.labels.numpy() == label]
        np.testing.assert_array_equal(own["corrected"], deviation)
        np.testing.assert_allclose(own["published"], deviation.mean())
    same = rows.assign(corrected=rows["published"])  # all images of a class alike
    apart = rows.assign(corrected=rows["published"] + np.tile([-9.0, 0.0, 9.0], 10))
    assert nothing_changes(same)
    assert verdicts(apart) == {"spread": defect_table.CHANGES}


def test_the_whole_list(study):
    images = {"search": study.images(20), "pruning": study.images(60)}
    rows = catalogue.effects(study, ["one-32", "two"], images, ["one-32"])
    assert list(rows.columns) == ["data", "model", "defect", "number", "unit", "item", "published",
                                  "corrected"]
    found = {model: set(own["defect"]) for model, own in rows.groupby("model")}
    parts = {part for name, defect in catalogue.DEFECTS.items() if defect.measure is not None
             for part in (defect.parts or (name,))}
    assert found["one-32"] == parts - {"second norm", "skipped blocks"}
    assert found["two"] == {"squash", "left sum", "batch label, classes mixed",
                            "batch label, one class", "second norm", "skipped blocks"}
    assert [defect.number for defect in catalogue.DEFECTS.values()] == sorted(defect.number
                                                                            for defect in catalogue.DEFECTS.values())
    assert {defect.number for defect in catalogue.DEFECTS.values()} == set(range(1, 12))
    listed = defect_table.defect_list(rows).set_index("defect")["measured on"]
    assert listed["squash"] == "2 models" and listed["pruning"] == "1 models" and listed[
        "repeated passes"] == "no number"
    table = defect_table.effect_table(rows)
    assert len(defect_table.effect_text(table)) == len(table)
    summary = defect_table.effect_summary(table)
    conclusions = defect_table.defect_conclusions(summary)
    assert list(conclusions["defect"]) == list(rows["defect"].unique())
    assert len(defect_table.rows_of(summary, ["squash"])) == (summary["defect"] == "squash").sum()
    with pytest.raises(ValueError, match="unknown models"):
        catalogue.effects(study, ["three"], images, ["one-32"])


# --- the table ---


def planted_rows(difference, number="score", defect="squash", model="one", corrected=None):
    corrected = np.full(len(difference), 1.0) if corrected is None else corrected
    return pd.DataFrame({"data": "digits", "model": model, "defect": defect, "number": number,
                         "unit": "image", "item": np.arange(len(difference)),
                         "published": corrected + difference, "corrected": corrected})


def test_verdicts_of_planted_differences():
    rng = np.random.default_rng(0)
    noise = rng.permutation(np.linspace(-1, 1, 50))
    rows = pd.concat([planted_rows(noise, model="none"),
                      planted_rows(np.full(50, 1e-9), model="rounding"),
                      planted_rows(0.1 * noise + 0.5, model="large"),
                      planted_rows(0.001 * noise + 0.01, model="slight"),
                      planted_rows(0.1 * noise - 0.5, model="down")])
    table = defect_table.effect_table(rows).set_index("model")
    assert table["verdict"].to_dict() == {"none": "not shown", "rounding": "not shown",
                                          "large": "changes the number",
                                          "slight": "changes the number",
                                          "down": "changes the number"}
    assert table["material"].to_dict() == {"none": False, "rounding": False, "large": True,
                                           "slight": False, "down": True}
    assert table.loc["large", "value"] == pytest.approx(0.5) and table.loc["large",
                                                                           "published"] == pytest.approx(1.5)
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def test_a_difference_that_holm_does_not_let_through():
    # eleven of fourteen images: p = 0.057; thirteen: p = 0.0018, which among forty others is not
    # enough
    weak, strong = np.array([1.0] * 11 + [-0.01] * 3), np.array([1.0] * 13 + [-0.01])
    alone = defect_table.effect_table(planted_rows(strong))
    assert alone["verdict"].tolist() == ["changes the number"]
    weakly = defect_table.effect_table(planted_rows(weak))
    assert weakly["low"].item() > 0 and weakly["verdict"].tolist() == ["not shown"]
    others = [planted_rows(np.zeros(14), model=f"other {number}") for number in range(40)]
    crowded = defect_table.effect_table(pd.concat([planted_rows(strong), *others]))
    assert set(crowded["verdict"]) == {"not shown"}
    apart = defect_table.effect_table(pd.concat([planted_rows(strong),
                                                 *(rows.assign(number="accuracy")
                                                   for rows in others)]))
    assert apart["verdict"].iloc[0] == "changes the number"  # a family is the rows of one number


def test_a_share_that_can_only_fall_needs_no_sign():
    changed = defect_table.effect_table(planted_rows(-np.array([0.5] * 6 + [0.0] * 14), "neurons"))
    assert changed["verdict"].tolist() == ["changes the number"] and changed["p"].isna().all()
    assert defect_table.effect_table(planted_rows(-np.array([0.5] + [0.0] * 19),
                                                  "neurons"))["verdict"].tolist() == ["not shown"]


def test_spread_by_hand_and_over_classes():
    rng = np.random.default_rng(1)
    items = np.repeat(np.arange(60), 6)
    corrected = rng.normal(size=360) + 0.01 * items
    means = np.array([corrected[items == item].mean() for item in items])
    row = defect_table.spread_row(means, corrected, items)
    expected = (np.quantile(means, 0.75) - np.quantile(means, 0.25)) - (np.quantile(corrected, 0.75)
                                                                        - np.quantile(
        corrected, 0.25))
    assert row["value"] == pytest.approx(expected) and row["low"] < row["value"] < row["high"] < 0
    assert defect_table.spread_row(corrected, corrected, items) == {"value": 0, "low": 0, "high": 0}


def test_summary_and_words():
    noise = np.linspace(-1, 1, 40)
    rows = pd.concat([planted_rows(0.1 * noise + 0.5, model="a"), planted_rows(noise, model="b"),
                      planted_rows(noise, "accuracy", model="a"),
                      planted_rows(noise, "score", "batch label, one class", "a")])
    summary = defect_table.effect_summary(defect_table.effect_table(rows))
    assert summary[["defect", "number", "models", "changes", "material"]].to_numpy().tolist() == [
        ["squash", "score", 2, 1, 1], ["squash", "accuracy", 1, 0, 0],
        ["batch label, one class", "score", 1, 0, 0]]
    words = defect_table.defect_conclusions(summary).set_index("defect")
    assert words["verdict"].to_dict() == {"squash": "changes the number",
                                          "batch label, one class": "not shown"}
    assert "+0.500" in words.loc["squash",
                                 "text"] and "1 of 2 models" in words.loc["squash", "text"]
    assert words.loc["batch label, one class", "text"].startswith("0 of 1 numbers")
