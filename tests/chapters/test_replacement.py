"""What a removed neuron is set to decides what removal does: networks in which zero alone does
harm, in which only the class matters, and tables in which the effect is planted."""

import numpy as np
import pandas as pd
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

import neuronpath_core as npc
from neuronpath_core.chapters.replacement import (
    effect_rows,
    kept_neurons,
    measured,
    searched_paths,
)
from neuronpath_core.chapters.replacement import (
    tables as tables_of,
)
from neuronpath_core.chapters.replacement import (
    words as words_of,
)
from neuronpath_core.hooks import read_activations
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.images.shape_pairs import pairs_for
from neuronpath_core.images.shapes import load_shapes
from neuronpath_core.interventions import (
    class_probabilities,
    edited_probabilities,
    scaled_probabilities,
)
from tests import helpers
from tests.chapters.test_controls import image_network, picture_set, planted_study, shared_network

PATH = measured.PATH
RULE = {"context": "full", "quadrature": "gauss-legendre", "steps": 4}


def study_of(folder, model, train: ImageSet, held_out: ImageSet | None = None):
    """A study of one planted network, with images that are made up."""
    study = planted_study(folder, model)
    study.__dict__["train"] = train
    if held_out is not None:
        study.__dict__["held_out"] = held_out
    return study


def even_pictures(labels, seed: int) -> ImageSet:
    """Pictures as bright as their class (1 bright, 2 dark) and no brighter, with a pattern of their
    own."""
    made = picture_set(labels, seed)
    pattern = made.images - made.images.mean((1, 2, 3), keepdim=True)
    # every patch, of 4 x 4 pixels, is as bright as the picture
    patches = pattern.unfold(2, 4, 4).unfold(3, 4, 4)
    even = pattern - patches.mean((1, 4, 5))[:, None].repeat_interleave(4, 2).repeat_interleave(
        4, 3)
    level = torch.where(made.labels == 1, 1.0, -1.0)[:, None, None, None]
    return ImageSet(0.1 * even + level, made.labels, made.ids, made.class_names, made.pixels)


def verdicts(effects: pd.DataFrame, operation: str = "remove") -> tuple[dict, dict]:
    """Of what the own path loses of the probability, or gains, and of its lead over the random
    controls."""
    effects = effects[effects["operation"] == operation]
    lost, lead = effect_rows.losses(effects), effect_rows.leads(effects)
    own = effect_rows.own_losses(lost, "probability").set_index("kind")["verdict"].to_dict()
    lead = lead[(lead["measure"] == "probability") & lead["method"].isin(measured.RANDOM)]
    return own, {kind: set(rows["verdict"]) for kind, rows in lead.groupby("kind")}


# --- plants ---


def test_where_zero_alone_does_harm_no_other_value_shows_an_effect(tmp_path):
    """The path's neurons are as active on every image: they are their own mean."""
    model = shared_network()
    study = study_of(tmp_path, model, picture_set([1, 2, 3, 4] * 4, 7))
    effects = measured.replaced_effects(study, ["planted"], picture_set([1, 2, 3, 4] * 6),
                                        [PATH, "activation"], 16, **RULE)
    for operation in measured.OPERATIONS:
        own, lead = verdicts(effects, operation)
        assert own.pop("zero") == "agrees" and lead.pop("zero") == {"agrees"}
        assert own == dict.fromkeys(["mean", "resample", "class_resample"], "not shown")
        assert set.union(*lead.values()) == {"not shown"}
    others = effects[effects["kind"] != "zero"]
    assert others["probability"].abs().max() < 1e-12 < effects["probability"].max()
    assert others["moved"].max() < 1e-12


def test_where_the_class_alone_matters_another_image_of_it_is_as_good(tmp_path):
    study = study_of(tmp_path, image_network(), even_pictures([1, 2] * 10, 3))
    effects = measured.replaced_effects(study, ["planted"], even_pictures([1, 2] * 12, 4),
                                        [PATH, "activation"], 20, draws=4, **RULE)
    for operation in measured.OPERATIONS:
        own, _ = verdicts(effects, operation)
        assert own == {"zero": "agrees", "mean": "agrees", "resample": "agrees",
                       "class_resample": "not shown"}
    # which is less than the distance accounts for: of none, none is moved
    effects = effects[effects["operation"] == "remove"]
    assert effect_rows.by_distance(effects).set_index("kind")["verdict"]["class_resample"] != "agrees"
    shared = effects[(effects["kind"] == "class_resample") & (effects["method"] == PATH)]
    assert shared["probability"].abs().max() < 1e-9


@pytest.mark.parametrize("top", [1, 5])
def test_zero_alone_does_harm_to_what_is_left_when_all_others_are_replaced(tmp_path, top):
    model = shared_network()
    with torch.no_grad():
        model.head.bias[0] = 1  # the neurons decide whether class 0 is predicted
    images = picture_set([1] * 12)
    study = study_of(tmp_path, model, picture_set([1, 2] * 6, 7))
    kept = kept_neurons.kept_effects(study, ["planted"], images, picture_set([1] * 20, 8), 12, top,
                                 kinds=("zero", "mean"), **RULE)
    assert kept["whole"].all() and set(kept["tokens"]) == {"class token", kept_neurons.EVERYWHERE}
    found = effect_rows.kept_sizes(kept).set_index(["tokens", "kind", "kept"])[
        "verdict"].sort_index()
    for tokens in ("class token", kept_neurons.EVERYWHERE):
        assert found[tokens, "zero"].to_dict() | {"random": ""} == {
            "neuron path": "agrees", "activation": "agrees", "random": "", "none": "contradicts"}
        assert set(found[tokens, "mean"]) == {"agrees"}
    lead = effect_rows.kept_leads(kept).set_index(["tokens", "kind", "against"])[
        "verdict"].sort_index()
    assert lead["class token", "zero", "none"] == "agrees"
    assert set(lead[:, "mean"]) == {"not shown"}


# --- against the slow way ---


def by_hand(target, picture, path, values, operation):
    """Probabilities of one image with a hook of one's own: the path's neurons set to the values, or
    taken as far away from them again."""
    def changed(block):
        def hook(_module, inputs):
            active = inputs[0].clone()
            own, value = active[:, target.tokens, path[block]], values[block, ..., path[block]]
            new = value if operation == "remove" else 2 * own - value
            active[:, target.tokens, path[block]] = new.expand_as(own)
            return (active,)
        return hook

    handles = [block.mlp.fc2.register_forward_pre_hook(changed(number))
               for number, block in enumerate(target.model.blocks)]
    try:
        with torch.no_grad():
            return target.model(picture).softmax(-1)[0].tolist()
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("model", ["small", "pooled"])
@pytest.mark.parametrize("operation", measured.OPERATIONS)
def test_effects_are_those_of_single_images(study, images, model, operation):
    few = images.select(torch.arange(0, 20, 4))
    effects = measured.replaced_effects(
        study, [model], few, [PATH, "gradient_activation"], 30, seed=3, operations=[operation],
        **RULE).set_index(["method", "kind", "image"])
    target, pool = study.target(model), study.train.balanced(30, 3)
    for method in (PATH, "gradient_activation"):
        neurons = study.paths(model, few, method, **RULE).neurons
        for kind in measured.KINDS:
            for place, number in enumerate(few.ids.tolist()):
                one, label = few.images[[place]], few.labels[[place]]
                every = npc.replacement_values(target, kind, one, label, pool=pool.images,
                                               pool_labels=pool.labels, draws=2, seed=3)
                clean = target(one).softmax(-1)[0, label].item()
                found, moved = [], []
                for values in every:
                    found.append(by_hand(target, one, neurons[place], values[0], operation)[label])
                    change = (npc.read_activations(target, one) - values).abs().mean(2)
                    moved.append(change.gather(2, neurons[[place], :, None]).mean().item())
                row = effects.loc[method, kind, number]
                sign = {"remove": -1, "enhance": 1}[operation]
                assert row["probability"] == pytest.approx(sign * (np.mean(found) / clean - 1),
                                                           abs=1e-12)
                assert row["moved"] == pytest.approx(np.mean(moved), abs=1e-12)


def scenes(train: int = 24, held_out: int = 24):
    """Rendered scenes and the settings that they are drawn again by."""
    settings = {"name": "shapes", "train_images": train, "held_out_images": held_out, "seed": 3}
    return settings, load_shapes("held_out", held_out, settings["seed"])


def scene_study(folder, model, settings):
    study = planted_study(folder, model)
    study.__dict__["settings"] = study.settings | {"dataset": settings}
    return study


def test_a_counterfactual_is_the_same_scene(tmp_path):
    """Against the path set by hand to what the same network does on the scene with another outline,
    image by image."""
    settings, images = scenes()
    images = images.select(torch.arange(0, 24, 3))
    model = helpers.fill(VisionTransformer(img_size=32, patch_size=8, num_classes=24, embed_dim=16,
                                           depth=3, num_heads=2, mlp_ratio=1), 4)
    study = scene_study(tmp_path, model, settings)
    effects = measured.counterfactual_effects(
        {"made up": study}, ["planted"], {"made up": images}, [PATH, "activation"], **RULE)
    assert set(effects["kind"]) == set(measured.CHANGES) and set(effects["operation"]) == {"remove"}
    target, rows = study.target("planted"), effects.set_index(["method", "kind", "image"])
    for method in (PATH, "activation"):
        neurons = study.paths("planted", images, method, **RULE).neurons
        for change in measured.CHANGES:
            others = pairs_for(settings, images, change).images
            for place, number in enumerate(images.ids.tolist()):
                one, label = images.images[[place]], int(images.labels[place])
                values = read_activations(target, others[[place]])[0]
                clean = target(one).softmax(-1)[0, label].item()
                found = by_hand(target, one, neurons[place], values, "remove")[label]
                assert rows.loc[(method, change, number), "probability"] == pytest.approx(
                    1 - found / clean, abs=1e-12)


def test_data_without_pairs_have_no_row(study, images):
    pairs = measured.counterfactual_effects({"digits": study}, ["small"], {"digits": images},
                                            [PATH], **RULE)
    assert pairs.empty
    lost, lead, less = effect_rows.losses(pairs), effect_rows.leads(pairs), effect_rows.less_background(pairs)
    assert lost.empty and lead.empty and less.empty
    assert words_of.pair_line(lost, lead, less) == "no data set here has such pairs"


def test_a_search_for_a_replacement_is_judged_by_it(study, images):
    few = images.select(torch.arange(0, 20, 4))
    found = searched_paths.searched_effects(study, ["small"], few, ["gradient_activation"], 30,
                                      **RULE).set_index(["kind", "seen"])
    target, pool = study.target("small"), study.train.balanced(30, 0)
    zero = study.paths("small", few, "gradient_activation", **RULE).neurons
    clean = class_probabilities(target, few.images)
    every = npc.replacement_values(target, "resample", few.images, few.labels, pool=pool.images,
                                   draws=2)
    same = npc.find_paths(target, few.images, few.labels, "gradient_activation",
                          baseline=every[0], **RULE).neurons
    assert not torch.equal(zero, same)
    for seen, values in zip((searched_paths.OWN, searched_paths.NEW), every, strict=True):
        own = found.loc[("resample", seen)]
        assert own["image"].tolist() == few.ids.tolist()
        np.testing.assert_allclose(own["stay"], (zero == same).double().mean(1))
        for column, neurons in (("zero", zero), ("same", same)):
            edited = edited_probabilities(target, few.images, neurons, "remove", values)
            lost = 1 - (edited / clean).gather(1, few.labels[:, None])[:, 0]
            np.testing.assert_allclose(own[column], lost, atol=1e-12)
    assert sorted(set(found.index)) == [("mean", searched_paths.OWN), ("resample", searched_paths.NEW),
                                        ("resample", searched_paths.OWN)]


@pytest.mark.parametrize("model", ["small", "pooled"])
def test_what_is_kept_is_what_the_class_paths_share(study, images, model):
    test = kept_neurons.other_images(study, images, 20)
    assert not set(test.ids.tolist()) & set(images.ids.tolist())
    kept = kept_neurons.kept_effects(study, [model], images, test, 30, 2, kinds=("mean",), **RULE)
    target, pool = study.target(model), study.train.balanced(30, 0)
    assert set(kept["tokens"]) == ({"class token", kept_neurons.EVERYWHERE} if target.scope == "cls"
                                   else {"patch tokens"})
    searched = study.paths(model, images, top=2, **RULE).neurons
    for tokens, own in kept[kept["kept"] == "neuron path"].groupby("tokens", sort=False):
        everywhere = tokens == kept_neurons.EVERYWHERE
        values = npc.replacement_values(target, "mean", test.images, test.labels, pool=pool.images,
                                        everywhere=everywhere)[0]
        factors = torch.zeros(len(test), target.n_blocks, target.n_neurons, dtype=torch.float64)
        for row, label in enumerate(test.labels):
            for block in range(target.n_blocks):
                counts = np.bincount(searched[images.labels == label, block].flatten())
                factors[row, block, np.argsort(-counts, kind="stable")[:2]] = 1
        found = scaled_probabilities(target, test.images, factors, everywhere, values)
        assert own["correct"].tolist() == (found.argmax(1) == test.labels).tolist()


# --- tables ---


def made_up(losses: dict[tuple[str, str], float], count: int = 40) -> pd.DataFrame:
    """Effects in which each method loses so much under each kind, give or take a little."""
    noise = 0.01 * np.random.default_rng(0).normal(size=count)
    return pd.concat([pd.DataFrame({
        "data": "made up", "model": "m", "method": method, "kind": kind,
        "image": np.arange(count), "probability": value + noise * (1 + len(method) / 9),
        "accuracy": (np.arange(count) < 100 * value).astype(float), "moved": value})
        for (method, kind), value in losses.items()], ignore_index=True)


EVERY = {(method, kind): value * share
         for method, value in ((PATH, 0.2), ("activation", 0.05), ("influence_pattern", 0.1),
                               ("gradient_activation", 0.3), (measured.MATCHED, 0.0),
                               (measured.MOVED, 0.0))
         for kind, share in (("zero", 1.0), ("mean", 0.5), ("class_resample", 0.0))}


def test_losses_and_leads_of_planted_differences():
    effects = made_up(EVERY)
    lost, lead = effect_rows.losses(effects), effect_rows.leads(effects)
    own = effect_rows.own_losses(lost, "probability").set_index("kind")
    assert own["verdict"].to_dict() == {"zero": "agrees", "mean": "agrees",
                                        "class_resample": "not shown"}
    points = effect_rows.own_losses(lost, "accuracy").set_index("kind")["value"]
    assert points.to_dict() == {"zero": 50, "mean": 25, "class_resample": 0}
    rows = lead[lead["measure"] == "probability"].set_index(["kind", "method"])
    for method, verdict in (("activation", "agrees"), ("gradient_activation", "contradicts"),
                            (measured.MOVED, "agrees")):
        assert rows.loc[("mean", method), "verdict"] == verdict
        assert rows.loc[("mean", method), "value"] == pytest.approx(
            EVERY[PATH, "mean"] - EVERY[method, "mean"], abs=0.01)
    assert set(rows.loc["class_resample", "verdict"]) == {"not shown"}
    table, notes = words_of.drawn(lost, lead)
    assert notes["set to the mean"] == "models ahead of\nboth random: 1 of 1\nboth baselines: 1 of 1"
    assert notes["set to the value of another image of the class"].endswith("baselines: 0 of 1")
    row = table[(table["path"] == "Neuron Path") & (table["kind"] == "set to zero")]
    assert row["value"].item() == pytest.approx(100 * own.loc["zero", "value"])
    assert words_of.finding(lost) == (
        f"Removing a neuron path takes {100 * own.loc['zero', 'value']:.1f} % of the probability "
        f"with zero, {100 * own.loc['mean', 'value']:.1f} % with the mean, "
        f"{100 * own.loc['class_resample', 'value']:.1f} % with the value of another image of the "
        "class; the paths of 0 of 3 other methods take more with each")
    assert tables_of.lead_table(lead).loc[("set to the mean", "Activation"),
                                       "accuracy (points)"].startswith("+17.5 to +17.5; 1 of 1")


def kept_rows(right: dict[tuple[str, str, str], float], count: int = 40) -> pd.DataFrame:
    """Test images of which so large a share is right with some neurons kept; of the whole model
    all are."""
    return pd.concat([pd.DataFrame({
        "data": "made up", "model": "m", "tokens": tokens, "kind": kind, "kept": kept,
        "image": np.arange(count), "correct": np.arange(count) < count * share, "whole": True})
        for (tokens, kind, kept), share in right.items()], ignore_index=True)


def test_lines_say_the_sizes_and_where_they_hold():
    sizes = effect_rows.kept_sizes(kept_rows({("class token", "zero", "neuron path"): 1.0,
                                         ("class token", "mean", "neuron path"): 0.5,
                                         ("class token", "resample", "neuron path"): 0.25,
                                         (kept_neurons.EVERYWHERE, "mean", "neuron path"): 0.0}))
    assert sizes["verdict"].tolist() == ["agrees", "contradicts", "contradicts", "contradicts"]
    effects = made_up(EVERY)
    lines = words_of.lines(effect_rows.losses(effects), effect_rows.leads(effects), sizes)
    assert lines["5 class token"] == (
        "accuracy changes by +0.0 to +0.0 points with zero (kept in 1 of 1 models), -50.0 to -50.0 "
        "points with the mean (kept in 0 of 1 models), -75.0 to -75.0 points with another image's "
        "value (kept in 0 of 1 models)")
    assert lines["5"] == f"with the class token pruned {lines['5 class token']}"
    both = words_of.lines(effect_rows.losses(effects), effect_rows.leads(effects), pd.concat(
        [sizes, sizes.assign(tokens=sizes["tokens"].replace("class token", "patch tokens"))]))
    assert both["5"].count("pruned") == 2 and both["5 class token"] == lines["5 class token"]
    # the path loses 10 images, the second baseline 5 of them: too few more to be shown
    assert lines["1"] == ("removal takes 25.0 points of accuracy with the mean instead of 50.0 "
                          "with zero, more than random neurons in 2 of 2 and than the baselines in "
                          "1 of 2 comparisons; 0.0 with another image of the class")
    assert words_of.sizes_at(sizes, "class token")["mean"] == "-50.0 to -50.0 points, kept in 0 of 1"


def test_gains_of_a_search():
    rows = pd.DataFrame({"data": "made up", "model": "m", "method": PATH, "kind": "mean",
                         "seen": searched_paths.OWN, "image": range(30), "zero": 0.1,
                         "same": 0.2 + 0.001 * np.arange(30), "stay": [0.3, 0.4] * 15})
    worse = rows.assign(model="other", same=0.0, stay=0.9)
    gains = effect_rows.searched_gains(pd.concat([rows, worse])).set_index(["model", "measure"])
    assert gains["verdict"].to_dict() == {("m", "gain"): "agrees", ("m", "stay"): "contradicts",
                                          ("other", "gain"): "contradicts",
                                          ("other", "stay"): "agrees"}
    assert gains.loc[("m", "gain"), "value"] == pytest.approx(0.1145)
    assert tables_of.gain_table(gains.reset_index()).loc[
        ("made up", "other", "Neuron Path", "the mean"),
        "neurons that stay (share)"] == "0.900 [0.900, 0.900]"


@pytest.mark.parametrize("call", [
    lambda study, images: measured.replaced_effects(study, ["small"], images, ["activation"], 20),
    lambda study, images: measured.replaced_effects(study, ["small"], images, [PATH, "x"], 20),
    lambda study, images: measured.replaced_effects(study, ["small"], images, [PATH], 20,
                                                    kinds=["counterfactual"]),
    lambda study, images: measured.replaced_effects(study, ["small"], images, [PATH], 20,
                                                    operations=["double"]),
    lambda study, images: measured.replaced_effects(study, ["small"], images, [PATH], 20,
                                                    operations=[]),
    lambda study, images: measured.counterfactual_effects(
        {"digits": study}, ["small"], {"digits": images}, ["activation"]),
    lambda study, images: measured.counterfactual_effects(
        {"digits": study}, ["small"], {"digits": images}, [PATH], changes=["colour"]),
    lambda study, images: searched_paths.searched_effects(study, ["small"], images, ["activation"], 20),
    lambda study, images: kept_neurons.kept_effects(study, ["small"], images.select(range(2)), images,
                                                20)], ids=range(9))
def test_bad_input(study, images, call):
    with pytest.raises(ValueError, match="accepted"):
        call(study, images)


def test_less_than_the_distance_accounts_for_in_closed_form():
    """With zero 0.2 is lost for a distance of 2. For half of it 0.1 is accounted for: 0.04 is less,
    0.1 is not, 0.3 is more."""
    count, rng = 40, np.random.default_rng(1)
    tables = []
    for kind, moved, value in (("zero", 2.0, 0.2), ("mean", 1.0, 0.04), ("resample", 1.0, 0.1),
                               ("class_resample", 1.0, 0.3)):
        noise = 0.01 * rng.normal(size=count)
        tables.append(pd.DataFrame({
            "data": "d", "model": "m", "method": PATH, "kind": kind, "image": range(count),
            "probability": value + noise - noise.mean(), "moved": moved}))
    effects = pd.concat(tables, ignore_index=True)
    found = effect_rows.by_distance(effects).set_index("kind")
    assert found["value"].to_dict() == pytest.approx(
        {"mean": 0.06, "resample": 0.0, "class_resample": -0.2}, abs=1e-12)
    assert found["verdict"].to_dict() == {"mean": "agrees", "resample": "not shown",
                                          "class_resample": "contradicts"}
    assert (found["images"] == count).all()
    assert words_of.told(found.reset_index(), "mean") == "1 of 1 models"
    lost = effect_rows.losses(effects.assign(accuracy=0.0))
    assert words_of.left(lost, "mean").tolist() == pytest.approx([0.2])
    assert words_of.left_by_model(lost, "mean") == "20 % (m, d)"
    assert words_of.moved_share(effects, "mean") == "50 %"


def test_an_outline_is_held_against_a_background():
    """What is planted under both changes alike is no effect of the outline."""
    both = made_up({(method, kind): value for method, value in ((PATH, 0.2), ("activation", 0.05))
                    for kind in measured.CHANGES})
    assert effect_rows.less_background(both)["verdict"].tolist() == ["not shown"]
    alone = both.assign(probability=both["probability"].where(both["kind"] == measured.OUTLINE, 0))
    less = effect_rows.less_background(alone)
    assert less["verdict"].tolist() == ["agrees"] and less["value"].tolist() == pytest.approx(
        [0.2], abs=0.01)
    assert effect_rows.less_background(alone.assign(probability=-alone["probability"]))[
        "verdict"].tolist() == ["contradicts"]
    lost, lead = effect_rows.losses(alone), effect_rows.leads(alone)
    assert words_of.pair_line(lost, lead, less).endswith(
        "0.0 % on another background; the outline takes more than the background in 1 of 1 models, "
        "and more than with random neurons in 0 of 0 and than with the paper's baselines in 1 of 1 "
        "comparisons")
    table = tables_of.pair_table(lost, less)
    assert table.loc[("made up", "m", "Activation"), "difference of the two"] == ""
    assert table.loc[("made up", "m", "Neuron Path"), "difference of the two"].startswith("+0.199 [+0.193")


def test_gains_are_told_as_losses_are():
    effects = made_up(EVERY)
    gained, lead = effect_rows.losses(effects), effect_rows.leads(effects)
    table = tables_of.gained_table(gained, lead)
    assert table.index.tolist() == [("made up", "m", words) for words in (
        "zero", "the mean", "the value of another image of the class")]
    assert table.loc[("made up", "m", "the mean"), "accuracy gained (points)"].startswith("+25.0 [")
    ahead = [name for name in table if name.startswith("ahead of")]
    assert [name[9:-8] for name in ahead] == [effect_rows.named(name) for name in effect_rows.CONTROLS]
    found = words_of.glued(gained, lead, "enhanced ")
    assert found["enhanced shown accuracy zero"] == "1 of 1"
    assert found["enhanced against accuracy zero"] == "0"
    turned = gained.assign(verdict="contradicts")
    assert words_of.glued(turned, lead)["against accuracy zero"] == "1"
    assert found["enhanced probability class_resample"] == words_of.plain_span(100 * effect_rows.own_losses(
        gained, "probability").set_index("kind").loc[["class_resample"], "value"]) + " %"
    assert found["enhanced random probability mean"] == "2 of 2"
    line = words_of.effect_lines(gained, lead, "enhancement gains")["1"]
    assert line.startswith("enhancement gains 25.0 points of accuracy with the mean instead of 50.0")


def test_how_far_a_path_is_moved_is_told_beside_what_random_neurons_are():
    rows = [{"data": "d", "model": model, "method": method, "kind": "zero", "image": image,
             "moved": moved}
            for model, times in (("a", 1.5), ("b", 2.0)) for image in range(3)
            for method, moved in ((PATH, 0.1 * times), ("activation", 0.3), (measured.MATCHED, 0.2),
                                  (measured.MOVED, 0.1))]
    effects = pd.DataFrame(rows)
    assert words_of.farther(effects, "zero") == "1.5 to 2.0"
    # 0.06 of the probability for 0.15 and for 0.2
    assert words_of.per_distance(effects.assign(probability=0.06), "zero", PATH) == "3.0 to 4.0"
    table = tables_of.distance_table(effects)["set to zero"]
    assert table[("d", "b", "random neurons closest in distance moved")] == (
        "0.100 (path: 2.0 times)")
    assert table[("d", "a", "random neurons as active")] == "0.200 (path: 0.8 times)"
    assert table[("d", "a", "Activation")] == "0.300"
