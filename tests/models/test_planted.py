"""Planted paths: the network is what it is said to be, the truth holds under removal, and what
finds or misses it is told apart."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import nn

import neuronpath_core as npc
from neuronpath_core.chapters.planted_paths.rates import (
    paired_recovery,
    predicted_rates,
    predicted_recovery,
    recovery_summary,
    score_preference,
)
from neuronpath_core.chapters.planted_paths.recovery import (
    RECOVERY_METHODS,
    method_paths,
    permuted_truth,
    recovered,
    recovery,
    role_profile,
    verification,
)
from neuronpath_core.edits import clamped
from neuronpath_core.fast.contexts import resolve_context
from neuronpath_core.forward import CleanPass
from neuronpath_core.hooks import hooked, read_activations
from neuronpath_core.interventions import class_probabilities
from neuronpath_core.models.planted import DECOYS, KINDS, SCOPES, planted_model
from neuronpath_core.models.planted_truth import removal_losses, verify
from neuronpath_core.models.planted_weights import CARRIER, DRIVE, LOGIT, PATCH
from neuronpath_core.stats import report
from neuronpath_core.stats.intervals import bootstrap_interval, wilson_interval

torch.set_num_threads(1)
EVERY = [(kind, scope) for kind in KINDS for scope in SCOPES]


def label_probability(planted):
    return class_probabilities(planted.target,
                               planted.images).gather(1, planted.labels[:, None])[:, 0]


def activation_gradients(planted):
    """Gradient of the label's probability with respect to the scope's activations, summed over
    tokens: ``(image, layer, neuron)``."""
    entering = []
    with hooked(planted.target, dict.fromkeys(range(planted.target.n_blocks), entering.append)):
        probability = planted.target(planted.images).softmax(-1).gather(1,
                                                                        planted.labels[
            :, None]).sum()
    return torch.stack([each[:, planted.target.tokens].sum(1)
                        for each in torch.autograd.grad(probability, entering)], 1)


# --- the network ---


@pytest.mark.parametrize(("kind", "scope"), EVERY)
def test_the_network_is_an_ordinary_one_of_timm(kind, scope):
    planted = planted_model(kind, scope, "all")
    target = planted.target
    assert target.scope == scope and not target.model.training and target.dtype == torch.float64
    assert all(target.plain(block) is not None for block in range(target.n_blocks))
    assert resolve_context(target, "auto") == ("mixed" if scope == "cls" else "full")
    assert planted.neurons.shape == (4, 5, 2 if kind == "redundant" else 1)
    # four images, one of each class
    taken = torch.cat([planted.neurons.permute(1, 0, 2).flatten(1), *planted.decoys.values()], 1)
    assert all(len(set(block.tolist())) == len(block) for block in taken)


@pytest.mark.parametrize(("kind", "scope"), EVERY)
def test_layer_normalisation_is_as_linear_as_the_carrier_makes_it(kind, scope):
    planted, seen = planted_model(kind, scope, "all", n_images=8), []
    norms = [part for part in planted.target.model.modules() if isinstance(part, nn.LayerNorm)]
    assert len(norms) == 2 * planted.target.n_blocks + 1
    handles = [norm.register_forward_hook(lambda _part, inputs,
                                          output: seen.append((inputs[0], output)))
               for norm in norms]
    with torch.no_grad():
        planted.target(planted.images)
    for handle in handles:
        handle.remove()
    assert len(seen) == len(norms)
    for entering, left in seen:
        carrier = torch.zeros(entering.shape[-1], dtype=torch.float64)
        carrier[:2] = CARRIER / 2 ** 0.5 * torch.tensor([1.0, -1.0], dtype=torch.float64)
        beside = entering - carrier
        assert (beside @ carrier).abs().max() < 1e-9 and beside.sum(-1).abs().max() < 1e-9
        share = beside.square().sum(-1, keepdim=True) / CARRIER ** 2
        # but for timm's epsilon of 1e-6
        torch.testing.assert_close(left, (beside + carrier) / (1 + share).sqrt(), rtol=1e-6,
                                   atol=1e-9)
        kept = left - carrier / (1 + share).sqrt()
        assert ((kept - beside).norm(dim=-1)
                <= (share / 2 * beside.norm(dim=-1, keepdim=True))[..., 0] + 1e-6).all()
        assert share.max() < 0.1


@pytest.mark.each_value
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("kind", KINDS)
def test_probability_of_an_image_without_noise_is_that_of_the_ideal_network(kind, scope):
    planted = planted_model(kind, scope, noise=0.0, n_images=8)
    patches = planted.images[:, 0].unfold(1, PATCH,
                                          PATCH).unfold(2, PATCH,
                                                        PATCH).reshape(8, -1, PATCH * PATCH)
    cue = patches.norm(dim=-1)
    assert ((cue > 1e-9).sum(1) == cue.shape[1] // 2).all()
    logit = LOGIT[kind] * cue.amax(1)
    ideal = logit.exp() / (logit.exp() + planted.target.n_classes - 1)
    # what the ideal network lacks, small weights of everything else, moves the logits by a few
    # tenths of three
    torch.testing.assert_close(label_probability(planted), ideal, rtol=0, atol=0.07)


def test_images_of_a_class_are_not_alike_and_classes_take_turns():
    planted = planted_model(n_images=10)
    assert planted.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    same = planted.images[[0, 4, 8]].flatten(1)
    assert torch.pdist(same).min() > 1
    assert (planted.neurons[0] == planted.neurons[4]).all() and not (planted.neurons[0]
                                                                     == planted.neurons[1]).any()


def test_a_seed_gives_one_network_and_leaves_torch_random_state_alone():
    state = torch.random.get_rng_state()
    first, again, other = (planted_model("parallel", "patch", "all", seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, value in first.target.model.state_dict().items():
        assert torch.equal(value, again.target.model.state_dict()[name]), name
    assert torch.equal(first.images, again.images) and torch.equal(first.neurons, again.neurons)
    assert not torch.equal(first.neurons,
                           other.neurons) and not torch.equal(first.images, other.images)


@pytest.mark.parametrize("setting", [name for name in DECOYS if name != "none"])
def test_decoys_change_nothing_but_their_own_neurons(setting):
    without = planted_model("chain", "cls", "none", 1)
    planted = planted_model("chain", "cls", setting, 1)
    assert torch.equal(planted.images, without.images) and torch.equal(planted.neurons,
                                                                       without.neurons) and set(
        planted.decoys) == set(DECOYS[setting])
    own = without.target.model.state_dict()
    for name, value in planted.target.model.state_dict().items():
        axis = 1 if name.endswith("fc2.weight") else 0
        changed = (value != own[name]).movedim(axis, 0).reshape(value.shape[axis],
                                                                -1).any(1).nonzero()[:, 0].tolist()
        expected = sorted(torch.cat([each[int(name.split(".")[1])]
                                     for each in planted.decoys.values()]).tolist()) if ".mlp.fc" in name else []
        assert changed == (expected if not name.endswith("fc2.bias") else []), name


def test_dtype_is_that_asked_for():
    planted = planted_model(dtype="float32")
    assert planted.images.dtype == planted.target.dtype == torch.float32
    np.testing.assert_allclose(removal_losses(planted), removal_losses(planted_model()), atol=1e-4)


# --- the truth ---


@pytest.mark.each_value
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("kind", "scope"), EVERY)
@pytest.mark.parametrize("setting", ["none", "all"])
def test_planted_neurons_and_no_others_are_influential(kind, scope, setting, seed):
    row = verify(planted_model(kind, scope, setting, seed))
    assert row["known"] and row["accuracy"] == 1
    assert row["planted"] > {"chain": 0.5, "parallel": 0.05, "redundant": 0.4}[kind]
    assert row["other"] < {"chain": 0.03, "parallel": 0.02, "redundant": 0.15}[kind]
    assert np.isnan(row["one of two"]) == (kind != "redundant") and not row["one of two"] > 0.15


def test_a_wrong_truth_is_not_verified():
    planted = planted_model("chain", "cls", "all")
    row = verify(replace(planted, neurons=permuted_truth(planted)))
    assert not row["known"] and row["planted"] < 0.05 < row["other"]


@pytest.mark.parametrize(("kind", "scope"), EVERY)
def test_removal_losses_are_those_of_a_plain_hook(kind, scope):
    planted = planted_model(kind, scope, "all", n_images=2)
    target, rows, clean = planted.target, torch.arange(2), label_probability(planted)
    losses, partner = removal_losses(planted), planted.neurons[..., 0]
    together = removal_losses(planted, partner)
    for block in range(target.n_blocks):
        for neuron in range(0, target.n_neurons, 3):
            for expected, also in ((losses, False), (together, True)):
                def zero(_part, inputs, block=block, neuron=neuron, also=also):
                    value = inputs[0].clone()
                    value[:, target.tokens, neuron] = 0
                    if also:
                        for row in rows:
                            value[row, target.tokens, partner[row, block]] = 0
                    return (value,)
                handle = target.model.blocks[block].mlp.fc2.register_forward_pre_hook(zero)
                found = 1 - label_probability(planted) / clean
                handle.remove()
                np.testing.assert_allclose(expected[:, block, neuron], found, atol=1e-12)


@pytest.mark.parametrize(("kind", "scope"), EVERY)
def test_clamping_the_blocks_before_changes_no_loss(kind, scope):
    planted = planted_model(kind, scope, "loud")
    target, clean = planted.target, CleanPass.of(planted.target, planted.images)
    losses, before = removal_losses(planted), label_probability(planted)
    for block in range(target.n_blocks):
        held = dict(enumerate(clean.activations[:block]))
        held[block] = clean.activations[block].scatter(2,
                                                       planted.neurons[:, block, None, :1].expand(
            -1, clean.activations[block].shape[1], -1), 0.0)
        with clamped(target, held):
            found = 1 - label_probability(planted) / before
        np.testing.assert_allclose(np.take_along_axis(losses[:, block],
                                                      planted.neurons[:, block, :1].numpy(),
                                                      1)[:, 0], found, atol=1e-12)


@pytest.mark.parametrize("scope", SCOPES)
def test_under_full_clamping_a_chain_counts_for_its_last_neuron_alone(scope):
    # what an earlier one writes is read by a clamped neuron; so the complete attribution of the
    # path is the last one's removal
    planted = planted_model("chain", scope)
    whole = npc.complete_attribution(planted.target, planted.images, planted.labels,
                                     planted.neurons[..., 0])
    last = torch.from_numpy(np.take_along_axis(removal_losses(planted)[:, -1],
                                               planted.neurons[:, -1].numpy(),
                                               1)[:, 0]) * label_probability(planted)
    torch.testing.assert_close(whole, last, rtol=0, atol=0.02)
    parallel = planted_model("parallel", scope)
    whole = npc.complete_attribution(parallel.target, parallel.images, parallel.labels,
                                     parallel.neurons[..., 0])
    # here all count, and without them nothing is known
    torch.testing.assert_close(whole, label_probability(parallel) - 1 / 4, rtol=0, atol=0.07)


# --- the decoys ---


@pytest.mark.each_value
@pytest.mark.parametrize("name", ["loud", "common"])
@pytest.mark.parametrize(("kind", "scope"), EVERY)
def test_loud_decoys_are_the_most_active_and_removing_them_changes_nothing(kind, scope, name):
    planted = planted_model(kind, scope, name, strength=4.0)
    active = read_activations(planted.target, planted.images).mean(2)
    losses = removal_losses(planted)
    for block, own in enumerate(planted.decoys[name]):
        rest = [neuron for neuron in range(planted.target.n_neurons) if neuron not in own]
        assert (active[:, block, own].amin(1) > 2 * active[:, block, rest].amax(1)).all()
        torch.testing.assert_close(active[:, block, own],
                                   torch.full((4, 2), 4 * DRIVE, dtype=torch.float64), rtol=0.15,
                                   atol=0)
        assert np.abs(losses[:, block, own]).max() < 0.01


@pytest.mark.parametrize(("kind", "scope"), EVERY)
def test_common_decoys_raise_all_logits_alike(kind, scope):
    planted = planted_model(kind, scope, "common")
    with torch.no_grad():
        clean = planted.target(planted.images)
        with npc.edit(planted.target, planted.decoys["common"][None], "remove"):
            fall = clean - planted.target(planted.images)
    assert fall.mean(1).min() > 1.5  # ten neurons, 0.3 each
    # but for the norm that they add to, which scales all logits
    assert fall.std(1).max() < 0.2 * fall.mean(1).min()


@pytest.mark.parametrize(("kind", "scope"), EVERY)
def test_steep_decoys_have_the_largest_gradient_and_removing_them_changes_nothing(kind, scope):
    planted = planted_model(kind, scope, "steep", strength=4.0)
    active = read_activations(planted.target, planted.images)
    losses = removal_losses(planted)
    slopes = activation_gradients(planted)
    for block, own in enumerate(planted.decoys["steep"]):
        best = own[planted.labels]  # one for each class
        assert (slopes[:, block].argmax(1) == best).all()
        assert active[:, block, :, own].abs().max() < 0.01
        assert np.abs(losses[:, block, own]).max() < 0.01
    ratio = slopes[:, -1].gather(1, best[:, None]) / slopes[:,
                                                            -1].gather(1,
                                                                       planted.neurons[:, -1, :1])
    # in the last block both write to the head
    torch.testing.assert_close(ratio, torch.full_like(ratio, 4.0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["chain", "redundant"])
def test_role_profile_averages_what_is_measured(kind):
    planted = planted_model(kind, "patch", "all", n_images=3)
    table = role_profile(planted).set_index("role")
    assert list(table.index) == ["planted", "loud", "steep", "common", "others"]
    active = read_activations(planted.target, planted.images).mean(2).numpy()
    slopes = activation_gradients(planted).numpy()
    losses = removal_losses(planted)
    for measure, values in (("activation", active), ("gradient", slopes), ("loss", losses)):
        own = np.take_along_axis(values, planted.neurons.numpy(), 2)
        loud = values[:, np.arange(5)[:, None], planted.decoys["loud"].numpy()]
        steep = np.stack([[values[image, block, planted.decoys["steep"][block, label]]
                           for block in range(5)] for image, label in enumerate(planted.labels)])
        np.testing.assert_allclose(table.loc[["planted", "loud", "steep"], measure],
                                   [own.mean(), loud.mean(), steep.mean()], rtol=1e-9, atol=1e-12)
        common = values[:, np.arange(5)[:, None], planted.decoys["common"].numpy()]
        rest = values.sum() - own.sum() - loud.sum() - steep.sum() - common.sum()
        np.testing.assert_allclose(table.loc["others", measure],
                                   rest / (values.size - own.size - loud.size - steep.size
                                           - common.size), rtol=1e-9, atol=1e-12)


# --- recovery ---


@pytest.mark.parametrize("kind", KINDS)
def test_an_oracle_recovers_all_and_chance_is_chance(kind):
    planted = planted_model(kind, n_images=200)
    for alternative in planted.neurons.unbind(-1):
        assert recovered(planted, alternative).all()
    chance = planted.neurons.shape[2] / planted.target.n_neurons
    rate = recovered(planted, method_paths(planted, "random")).mean()
    assert abs(rate - chance) < 4 * np.sqrt(chance / 1000)  # a thousand draws
    with pytest.raises(ValueError,
                       match=r"neurons must be \(image, layer\) = \(200, 5\), got \(5, 200\)"):
        recovered(planted, planted.neurons[..., 0].T)


def test_with_the_truth_permuted_an_oracle_recovers_no_more_than_chance():
    planted = planted_model()
    rates = [recovered(replace(planted, neurons=permuted_truth(planted, seed)),
                       planted.neurons[..., 0]).mean() for seed in range(200)]
    assert abs(np.mean(rates) - 1 / 20) < 4 * np.sqrt(0.05 / 4000)
    assert torch.equal(permuted_truth(planted, 1), permuted_truth(planted, 1))


def test_a_method_that_fails_is_reported_so_and_one_that_succeeds_too():
    table = recovery(["parallel"], ["cls"], ["none", "loud"], 3,
                     ["activation", "gradient_activation"])
    summary = recovery_summary(table).set_index(["decoys", "method"])
    assert summary["value"].unstack().loc[["none", "loud"]].to_numpy().tolist() == [[1, 1], [0, 1]]
    assert (summary["permuted"] < 0.15).all() and np.allclose(summary["chance"],
                                                              1 / 20) and (summary["networks"]
                                                                           == 3).all()
    effect = paired_recovery(table[table["method"] == "activation"], "decoys", "loud", "none")
    assert effect == {"value": -1.0, "low": -1.0, "high": -1.0, "networks": 3}
    unharmed = paired_recovery(table[table["method"] != "activation"], "decoys", "loud", "none")
    assert unharmed["value"] == 0 and report.verdict(unharmed,
                                                     -1) == "not shown" and report.verdict(
        effect, -1) == "agrees"


def test_the_recovery_table_is_deterministic_and_of_every_cell():
    again = [recovery(["chain", "redundant"], ["patch"], ["steep"], 2, ["neuron_path", "random"],
                      seed=1, n_images=3) for _ in range(2)]
    pd.testing.assert_frame_equal(*again)
    table = again[0]
    assert list(table.columns) == ["kind", "scope", "decoys", "strength", "method", "network",
                                   "image", "block", "found", "permuted", "chance", "score",
                                   "planted_score"]
    assert len(table) == 2 * 2 * 2 * 3 * 5 and not table.duplicated(["kind", "method", "network",
                                                                     "image", "block"]).any()
    whole = table.groupby(["kind", "method", "network", "image"]).agg(found=("found", "all"),
                                                                      score=("score", "first"),
                                                                      planted=("planted_score",
                                                                               "first"))
    same = whole[whole["found"]]
    if len(same.loc[[name == "chain" for name in same.index.get_level_values(0)]]):
        np.testing.assert_allclose(same["score"], same["planted"])


def test_the_score_columns_are_the_scores():
    table = recovery(["chain"], ["cls"], ["all"], 1, ["neuron_path"], n_images=2)
    planted = planted_model("chain", "cls", "all", 0, n_images=2)
    for column, neurons in (("score", method_paths(planted, "neuron_path")),
                            ("planted_score", planted.neurons[..., 0])):
        expected = npc.joint_attribution_score(planted.target, planted.images, planted.labels,
                                               neurons, "gauss-legendre", 8)
        np.testing.assert_allclose(table.groupby("image")[column].unique().explode().astype(float),
                                   expected)


@pytest.mark.parametrize("method", RECOVERY_METHODS)
def test_every_method_runs_at_both_scopes(method):
    for scope in SCOPES:
        planted = planted_model("redundant", scope, "all", n_images=2)
        neurons = method_paths(planted, method)
        assert neurons.shape == (2, 5) and neurons.dtype == torch.int64


def test_verification_is_a_row_per_network():
    table = verification(["chain"], SCOPES, ["none"], 2, n_images=2)
    assert table[["scope", "network"]].to_numpy().tolist() == [["cls", 0], ["cls", 1], ["patch", 0],
                                                               ["patch", 1]]
    assert table["known"].all() and table.loc[0,
                                              "planted"] == verify(
        planted_model("chain", "cls", n_images=2))["planted"]


# --- what the search should do ---


# without a decoy chosen before, strength must exceed 1 + 1 / (number of blocks before)
@pytest.mark.parametrize(("kind", "decoys", "strength", "expected"), [
    ("chain", "none", 9.0, [1, 1, 1, 1, 1]),
    ("chain", "loud", 9.0, [1, 1, 1, 1, 1]),
    ("chain", "steep", 0.9, [1, 1, 1, 1, 1]),
    ("chain", "steep", 1.5, [1, 1, 1, 0, 1]),
    ("chain", "steep", 5.0, [1, 0, 1, 0, 1]),
    ("parallel", "steep", 2.5, [1, 1, 1, 0, 1]),  # here 2 + 1 / (number of blocks before)
    ("parallel", "loud", 2.5, [1, 1, 1, 0, 1]),
    ("parallel", "loud", 1.9, [1, 1, 1, 1, 1]),
    ("parallel", "common", 2.5, [1, 1, 1, 0, 1]),
    ("parallel", "all", 5.0, [1, 0, 0, 0, 0]),
])
def test_predicted_recovery(kind, decoys, strength, expected):
    assert predicted_recovery(kind, decoys, strength,
                              5).tolist() == [bool(each) for each in expected]
    assert predicted_rates([kind], [decoys], [strength], 5)["value"].tolist() == [np.mean(expected)]


@pytest.mark.each_value
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("kind", "decoys", "strength"), [
    ("chain", "none", 5.0), ("chain", "loud", 5.0), ("chain", "steep", 0.5),
    ("chain", "steep", 3.5), ("parallel", "steep", 1.5), ("parallel", "steep", 3.5),
    ("parallel", "loud", 1.5),
])
def test_the_search_finds_what_the_closed_form_says(kind, decoys, strength, scope):
    # at strengths where no two candidates are within a tenth in the blocks looked at
    blocks = 3
    for seed in range(3):
        planted = planted_model(kind, scope, decoys, seed, strength=strength)
        found = recovered(planted, method_paths(planted, "neuron_path"))
        np.testing.assert_array_equal(found[:, :blocks],
                                      np.broadcast_to(predicted_recovery(kind, decoys, strength,
                                                                         blocks), (4, blocks)))


# --- tables ---


def test_wilson_interval_is_scipys():
    for hits, count in ((0, 4), (1, 4), (3, 7), (40, 40)):
        expected = stats.binomtest(hits, count).proportion_ci(method="wilson")
        np.testing.assert_allclose(wilson_interval(hits / count, count),
                                   (expected.low, expected.high), atol=1e-12)


def synthetic(rates, networks=6, images=10, blocks=5, seed=0):
    """Tables of two methods with given rates, networks differing."""
    rng, parts = np.random.default_rng(seed), []
    for method, rate in rates.items():
        for network in range(networks):
            parts.append(pd.DataFrame({"kind": "chain", "scope": "cls", "decoys": "none",
                                       "strength": 4.0, "method": method, "network": network,
                                       "image": np.repeat(range(images), blocks),
                                       "block": np.tile(range(1, blocks + 1), images),
                                       "found": rng.random(images * blocks) < rate,
                                       "permuted": False, "chance": 0.05, "score": 1.0,
                                       "planted_score": 2.0}))
    return pd.concat(parts, ignore_index=True)


def test_paired_recovery_shows_a_planted_effect_and_no_planted_null():
    effect = paired_recovery(synthetic({"a": 0.8, "b": 0.4}), "method", "a", "b")
    assert report.verdict(effect) == "agrees" and 0.2 < effect["value"] < 0.6 and effect[
        "networks"] == 6
    assert report.verdict(paired_recovery(synthetic({"a": 0.4, "b": 0.8}), "method", "a",
                                          "b")) == "contradicts"
    nothing = [report.verdict(paired_recovery(synthetic({"a": 0.5, "b": 0.5}, networks=12,
                                                        seed=seed), "method", "a", "b"))
               for seed in range(20)]
    assert nothing.count("not shown") >= 15
    table = synthetic({"a": 0.8, "b": 0.4})
    # cells that both have
    assert paired_recovery(table[(table["method"] == "a") | (table["image"] == 0)], "method", "a",
                           "b")["networks"] == 6
    with pytest.raises(ValueError, match="no cell of the table has both 'a' and 'c' of 'method'"):
        paired_recovery(table, "method", "a", "c")


def test_networks_take_sizes_in_turn():
    table = recovery(["chain"], ["cls"], ["none"], 3, ["gradient_activation"],
                     sizes=({"blocks": 2}, {"blocks": 3, "neurons": 24}))
    assert table.groupby("network")["block"].max().tolist() == [2, 3, 2]
    assert table.groupby("network")["chance"].first().tolist() == [1 / 20, 1 / 24, 1 / 20]
    with pytest.raises(ValueError, match="no size of network; accepted: at least one"):
        recovery(["chain"], ["cls"], ["none"], 1, ["random"], sizes=())


def test_recovery_summary_weighs_networks_not_images():
    table = synthetic({"a": 0.5})
    table["found"] = table["network"] == 0
    # more rows of one network do not make it count for more
    table = pd.concat([table, *[table[table["network"] == 0]] * 3])
    (row,) = recovery_summary(table).to_dict("records")
    assert row["value"] == 1 / 6 and row["networks"] == 6
    assert (row["low"], row["high"]) == bootstrap_interval(np.array([1, 0, 0, 0, 0, 0]))
    assert (row["least"], row["most"]) == (0, 1)
    (alone,) = recovery_summary(table[table["network"] == 0]).to_dict("records")
    assert [alone[name] for name in ("value", "low", "high")] == [1, 0, 1]
    assert list(recovery_summary(table, ["block"])["value"]) == [1 / 6] * 5


def test_score_preference_looks_at_missed_paths_only():
    table = synthetic({"neuron_path": 0.5})
    table["found"] = table["image"] != 0
    assert score_preference(table)[["images", "value"]].to_numpy().tolist() == [[6, 0]]
    table.loc[table["network"] < 3, "score"] = 3.0
    assert score_preference(table)[["images", "value"]].to_numpy().tolist() == [[6, 0.5]]
    # an image of another kind is another image
    twice = pd.concat([table, table.assign(kind="parallel", score=3.0)])
    assert score_preference(twice,
                            ["method"])[["images", "value"]].to_numpy().tolist() == [[12, 0.75]]
    assert score_preference(table.assign(found=True)).empty
    assert score_preference(table.assign(method="activation")).empty


# --- bad input ---


@pytest.mark.parametrize(("settings", "message"), [
    ({"kind": "star"}, "unknown kind 'star'; accepted: chain, parallel, redundant"),
    ({"scope": "auto"}, "unknown scope 'auto'; accepted: cls, patch"),
    ({"decoys": "quiet"}, "unknown decoys 'quiet'; accepted: none, loud, steep, common, all"),
    ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
    ({"n_images": 0}, "n_images must be a whole number of at least 1, got 0"),
    ({"classes": 1}, "classes must be a whole number of at least 2, got 1"),
    ({"blocks": 2.0}, "blocks must be a whole number of at least 1, got 2.0"),
    ({"neurons": 11}, "4 classes do not fit into 11 neurons a block; accepted: at most 12 "
                      "classes, and for so many at least 12 neurons"),
    ({"kind": "redundant", "neurons": 15}, "at least 16 neurons"),
    ({"classes": 13, "neurons": 99}, "at most 12 classes"),
    ({"strength": 0.0}, "strength must be positive and noise not negative, got 0.0 and 0.1"),
    ({"noise": float("nan")}, "strength must be positive and noise not negative"),
    ({"device": "tpu"}, "unknown device 'tpu'"),
    ({"dtype": "int8"}, "unknown dtype 'int8'"),
])
def test_bad_planting(settings, message):
    with pytest.raises(ValueError, match=message):
        planted_model(**settings)


def test_bad_recovery():
    with pytest.raises(ValueError,
                       match="unknown method 'magic'; accepted: neuron_path as published, "
                             "neuron_path, "):
        recovery(["chain"], ["cls"], ["none"], 1, ["magic"])
    with pytest.raises(ValueError, match="networks must be a whole number of at least 1, got 0"):
        recovery(["chain"], ["cls"], ["none"], 0, ["random"])
    with pytest.raises(ValueError, match="the grid is empty"):
        recovery(["chain"], ["cls"], ["none"], 1, [])
    with pytest.raises(ValueError,
                       match="unknown kind 'star'; accepted: chain, parallel, redundant"):
        predicted_recovery("star", "none", 1.0, 5)
    with pytest.raises(ValueError,
                       match="the share must lie in 0..1 and the count be at least 1, got 1.5 and 3"):
        wilson_interval(1.5, 3)


def test_smallest_networks():
    planted = planted_model("redundant", "patch", "all", classes=2, blocks=1, neurons=10,
                            n_images=1)
    assert planted.neurons.shape == (1, 1, 2) and verify(planted)["known"]
