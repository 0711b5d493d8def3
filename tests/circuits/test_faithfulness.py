"""Curves of what is kept and removed, against hooks written by hand and closed forms; the rankings
that should do worse, and a network in which they do not."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import neuronpath_core as npc
from neuronpath_core.baselines import gradient_activation
from neuronpath_core.chapters.controls.paths import randomised
from neuronpath_core.circuits import masked_model
from neuronpath_core.circuits.curves import MEASURES, Faithfulness
from neuronpath_core.circuits.faithfulness import faithfulness, path_faithfulness
from neuronpath_core.circuits.masked_model import SHARES, MaskedModel
from neuronpath_core.circuits.ranking_controls import (
    activation_scores,
    matched_scores,
    other_class_scores,
    random_scores,
)
from neuronpath_core.models.planted import planted_model
from neuronpath_core.variants.sites import SiteModel
from tests import helpers, twins

FEW = (0.5, 5.0, 30.0, 100.0)


def random_of(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# --- a twin: hooks written by hand, one image at a time, neuron by neuron ---


def sites_of(model, kind):
    """The modules whose input holds the neurons, with how many there are and how wide each is."""
    found = []
    for block in model.blocks:
        attention = block.attn.proj, block.attn.proj.in_features
        if kind == "heads":
            width = block.attn.head_dim
            found.append((attention[0], attention[1] // width, width))
            continue
        if kind in ("attention", "mixed"):
            found.append((*attention, 1))
        if kind in ("ffn", "mixed"):
            found.append((block.mlp.fc2, block.mlp.fc2.in_features, 1))
    return found


def twin_logits(model, scope, image, kept, values=None, kind="ffn"):
    """Logits with every neuron but those of ``kept``, pairs (layer, neuron), at ``values``
    ``(layer, token, neuron)`` or at zero."""
    where, handles = twins.positions(model, scope), []

    def at(layer, units, width):
        def enter(_module, inputs):
            value = inputs[0].clone()
            for place, token in enumerate(where):
                for unit in range(units):
                    for neuron in range(unit * width, (unit + 1) * width):
                        if (layer, unit) in kept:
                            continue
                        if values is None:
                            value[0, token, neuron] = 0
                        else:
                            own = values[layer]
                            value[0, token, neuron] = own[place if len(own) > 1 else 0, neuron]
            return (value,)
        return enter

    for layer, (site, units, width) in enumerate(sites_of(model, kind)):
        handles.append(site.register_forward_pre_hook(at(layer, units, width)))
    return helpers.run_hooked(model, image, handles)


def twin_measures(logits, label, rival):
    weights = [math.exp(float(value) - float(logits.max())) for value in logits]
    return float(logits[label] - logits[rival]), weights[label] / sum(weights)


def twin_curves(model, scope, image, label, scores, shares, values=None, kind="ffn"):
    """By measure: f of keeping and of removing, one number a share."""
    with torch.no_grad():
        clean = model(image[None])[0]
    rival = max((c for c in range(len(clean)) if c != label), key=lambda c: float(clean[c]))
    every = [(layer, neuron) for layer, (_, units, _) in enumerate(sites_of(model, kind))
             for neuron in range(units)]
    best = sorted(every, key=lambda place: -float(scores[place]))

    def measured(kept):
        return twin_measures(twin_logits(model, scope, image, set(kept), values, kind), label,
                             rival)

    full, empty = twin_measures(clean, label, rival), measured([])
    curves = {}
    for index, name in enumerate(MEASURES):
        curves[name] = ([], [])
        for share in shares:
            count = int(share * len(best) / 100 + 1e-9)
            for side, kept in enumerate((best[:count], best[count:])):
                curves[name][side].append((measured(kept)[index] - empty[index])
                                          / (full[index] - empty[index]))
    return curves


@pytest.mark.each_value
@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("name", ["cls", "cls-of-averaging", "avg", "avg-registers",
                                  "patch-attention-pool", "cls-layerscale-qknorm"])
def test_curves_are_those_of_hooks_written_by_hand(name, replaced):
    target, images, labels = helpers.network(name, 501)
    tokens = len(twins.positions(target.model, target.scope))
    scores = random_of((2, target.n_blocks, 16), 1)
    values = random_of((2, target.n_blocks, tokens, 16), 2) if replaced else None
    found = faithfulness(target, images, labels, scores, FEW, values, smallest=1e-6)
    for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        expected = twin_curves(target.model, target.scope, image, label, scores[row], FEW,
                               None if values is None else values[row])
        for measure in MEASURES:
            # differences of about 0.01 in the denominator, of logits that are right to 1e-14
            np.testing.assert_allclose(found[measure].keep[row], expected[measure][0], atol=1e-10)
            np.testing.assert_allclose(found[measure].remove[row], expected[measure][1],
                                       atol=1e-10)
        assert np.ptp(found["logit_difference"].keep[row]) > 0.1  # there is a curve


@pytest.mark.parametrize("kind", ["attention", "heads", "mixed"])
def test_curves_over_other_sites(kind):
    model = helpers.small_vit(511, num_heads=4)
    target = SiteModel(model, sites=kind)
    images, labels = helpers.small_batch(2, 512)
    scores = random_of((2, target.n_blocks, target.n_neurons), 3)
    members = max(units * width for _, units, width in sites_of(model, kind))
    for values in (None, random_of((1, target.n_blocks, 1, members), 4)):
        found = faithfulness(target, images, labels, scores, FEW, values, smallest=1e-6)
        for row, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            expected = twin_curves(model, "cls", image, label, scores[row], FEW,
                                   None if values is None else values[0], kind)
            for measure in MEASURES:
                np.testing.assert_allclose(found[measure].keep[row], expected[measure][0],
                                           atol=1e-10)


def test_layers_of_different_sizes_share_one_ranking():
    """The larger layer's surplus is no neuron of the smaller one, whatever its score."""
    model = helpers.small_vit(513, mlp_ratio=2.0, depth=2)
    target, (images, labels) = SiteModel(model, sites="mixed"), helpers.small_batch(2, 514)
    scores = random_of((2, 4, 32), 5)
    scores[:, ::2, 16:] = 1e9  # attention has 16 neurons, the FFN 32
    shares = (10.0, 50.0, 100.0)
    found = faithfulness(target, images, labels, scores, shares, smallest=1e-6)
    assert found["probability"].counts == (9, 48, 96)
    for row in range(2):
        expected = twin_curves(model, "cls", images[row], int(labels[row]), scores[row], shares,
                               kind="mixed")
        np.testing.assert_allclose(found["logit_difference"].keep[row],
                                   expected["logit_difference"][0], atol=1e-10)
    surplus = random_scores(target, images)[:, ::2, 16:]
    assert torch.equal(surplus, torch.zeros_like(surplus))
    matched = matched_scores(target, images, scores)
    assert (matched[:, ::2, 16:] == 1e9).all() and (matched[:, ::2, :16] < 1e9).all()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_model_that_is_not_its_blocks_is_measured_as_it_is_called(replaced):
    """A hook that somebody set between blocks is in force in every masked pass."""
    target, images, labels = helpers.network("cls", 515)
    scores, values = random_of((2, 3, 16), 6), random_of((1, 3, 1, 16), 7) if replaced else None
    before = faithfulness(target, images, labels, scores, FEW, values, smallest=1e-6)
    target.model.blocks[1].register_forward_hook(lambda _m, _i, out: 1.5 * out.sin())
    found = faithfulness(target, images, labels, scores, FEW, values, smallest=1e-6)
    for row in range(2):
        expected = twin_curves(target.model, "cls", images[row], int(labels[row]), scores[row],
                               FEW, None if values is None else values[0])
        np.testing.assert_allclose(found["logit_difference"].keep[row],
                                   expected["logit_difference"][0], atol=1e-10)
    assert np.abs(found["logit_difference"].keep - before["logit_difference"].keep).max() > 1e-3


# --- closed forms ---


def linear_vit(slopes, active):
    """A network whose logit of label 0 is ``sum slopes * w``, of constant activations ``active``
    ``(layer, neuron)``, and whose other two logits are 0 and -1."""
    model = helpers.blank_vit("cls", depth=len(slopes), num_classes=3)
    with torch.no_grad():
        for block, slope, value in zip(model.blocks, slopes, active, strict=True):
            block.mlp.act = nn.Identity()
            block.mlp.fc1.bias.copy_(value)
            block.mlp.fc2.weight[0].copy_(slope)
        model.head.weight[0, 0] = 1
        model.head.bias[2] = -1
    return npc.TargetModel(model)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_linear_network_in_closed_form(replaced):
    """f(k) is the share of the sum that the best k products have, and CPR the trapezoids of that.
    """
    slopes, active = 0.1 * random_of((3, 16), 11) + 0.1, random_of((3, 16), 12).abs()
    values = random_of((1, 3, 1, 16), 13) if replaced else None
    target = linear_vit(slopes, active)
    images, labels = helpers.small_batch(1, 14)[0], torch.tensor([0])
    parts = slopes * (active - (0 if values is None else values[0, :, 0]))
    found = faithfulness(target, images, labels, parts[None], values=values)
    ordered = np.sort(parts.flatten().numpy())[::-1]
    counts = [0, 0, 0, 0, 0, 2, 4, 9, 24, 48]  # of 48, rounded down
    assert found["logit_difference"].counts == tuple(counts)
    expected = [ordered[:count].sum() / ordered.sum() for count in counts]
    curve = found["logit_difference"]
    np.testing.assert_allclose(curve.keep[0], expected, atol=1e-12)
    np.testing.assert_allclose(curve.remove[0], 1 - np.array(expected), atol=1e-12)
    assert curve.keep.max() > 1.01  # keeping what speaks for the label only
    widths, total = np.diff(SHARES) / 100, 0.0
    for width, first, second in zip(widths, expected, expected[1:], strict=False):
        total += width * (first + second) / 2
    np.testing.assert_allclose(curve.cpr(), total / 0.999, atol=1e-12)
    np.testing.assert_allclose(curve.removal(), 1 - total / 0.999, atol=1e-12)
    # the label's probability, of logits z, 0 and -1
    empty = 0.0 if values is None else float((slopes * values[0, :, 0]).sum())
    z = [empty + share * ordered.sum() for share in (0, *expected, 1)]
    p = [math.exp(each) / (math.exp(each) + 1 + math.exp(-1)) for each in z]
    np.testing.assert_allclose(found["probability"].keep[0],
                               [(each - p[0]) / (p[-1] - p[0]) for each in p[1:-1]], atol=1e-10)


def record(keep, shares=SHARES, full=None, **fields):
    """A record whose f is given, of gains of 1 and 2."""
    keep = np.atleast_2d(np.asarray(keep, float))
    full = np.arange(1.0, len(keep) + 1) if full is None else np.asarray(full, float)
    kept = full[:, None] * keep
    return Faithfulness("logit_difference", tuple(shares), (1,) * len(shares), full,
                        np.zeros(len(keep)), kept, full[:, None] - kept, **fields)


def test_areas_of_simple_curves():
    ones = record(np.ones((2, 10)))
    np.testing.assert_allclose(ones.cpr(), 1, rtol=1e-15)
    np.testing.assert_array_equal(ones.cmd(), 0)
    np.testing.assert_array_equal(ones.removal(), 0)
    over = record(np.full((1, 10), 1.25))
    np.testing.assert_allclose(over.cpr(), 1.25, rtol=1e-15)
    np.testing.assert_allclose(over.cmd(), 0.25, rtol=1e-14)
    axis = np.array(SHARES) / 100
    np.testing.assert_allclose(record(axis).cpr(), (1 + 0.001) / 2, rtol=1e-14)
    np.testing.assert_allclose(record(axis).cmd(), (1 - 0.001) / 2, rtol=1e-14)
    # |1 - f| is taken at the shares, as the benchmark does, not where the curve crosses 1
    np.testing.assert_allclose(record([0.0, 2.0], (50.0, 100.0)).cmd(), 1)
    # the logarithm of the axis would weigh the first step most: a curve that tells them apart
    late = record([0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    np.testing.assert_allclose(late.cpr(), 0.25 / 0.999, rtol=1e-14)
    helpers.refused(record([1.0], (5.0,)).cpr, "at least two shares")


def test_images_with_nothing_to_carry_are_left_out_and_counted():
    curve = record(np.ones((4, 10)), full=[1.0, 0.009, -0.009, -2.0])
    assert curve.included.tolist() == [True, False, False, True] and curve.excluded == 2
    assert np.isnan(curve.cpr()).tolist() == [False, True, True, False]
    assert np.isnan(curve.keep).any(1).tolist() == np.isnan(curve.remove).any(1).tolist() == [
        False, True, True, False]
    wider = record(np.ones((4, 10)), full=[1.0, 0.009, -0.009, -2.0], smallest=1e-3)
    assert wider.excluded == 0
    # in a network: the threshold is between the gains of two images
    target, images, labels = helpers.network("cls", 521, batch=6)
    scores = random_of((1, 3, 16), 8)
    gain = {name: np.abs(each.full - each.empty) for name, each in
            faithfulness(target, images, labels, scores, FEW).items()}
    for measure, values in gain.items():
        border = float(np.sort(values)[2:4].mean())
        found = faithfulness(target, images, labels, scores, FEW, smallest=border)[measure]
        assert found.excluded == 3
        assert np.isnan(found.cmd()).tolist() == (values < border).tolist()


def test_pooled_curves_are_ratios_of_means():
    curve = record([[0.0, 1.0], [1.0, 1.0]], (50.0, 100.0))
    np.testing.assert_allclose(curve.keep.mean(0), [0.5, 1])
    np.testing.assert_allclose(curve.pooled().keep, [[2 / 3, 1]])  # gains of 1 and 2
    np.testing.assert_allclose(curve.pooled().cpr(), [5 / 6])
    again = curve.take(np.array([1, 1, 0]))
    np.testing.assert_allclose(again.pooled().keep, [[4 / 5, 1]])
    frame = curve.to_frame()
    assert list(frame) == ["measure", "image", "side", "share", "neurons", "value", "full", "empty",
                           "faithfulness"]
    assert len(frame) == 2 * 2 * 2
    own = frame[(frame["image"] == 1) & (frame["side"] == "keep") & (frame["share"] == 50.0)]
    assert own[["value", "full", "empty", "faithfulness"]].values.tolist() == [[2.0, 2.0, 0.0, 1.0]]
    left = frame[(frame["image"] == 0) & (frame["side"] == "remove")]
    assert left["faithfulness"].tolist() == [1.0, 0.0]


def test_the_rival_is_the_strongest_other_class_of_the_clean_run():
    """Under a mask another class is stronger; the difference is still to the first one."""
    target = linear_vit(torch.ones(2, 16), torch.full((2, 16), 0.1))
    with torch.no_grad():  # class 1 has 0 in any run, class 2 has 5 - 2 z
        target.model.head.weight[2, 0], target.model.head.bias[2] = -2, 5
    images, scores = helpers.small_batch(1, 14)[0], torch.ones(1, 2, 16, dtype=torch.float64)
    curve = faithfulness(target, images, torch.tensor([0]), scores, (50.0, 100.0))[
        "logit_difference"]
    np.testing.assert_allclose(curve.full, 3.2, atol=1e-12)  # class 1; class 2 has -1.4
    np.testing.assert_allclose(curve.kept, [[1.6, 3.2]], atol=1e-12)
    np.testing.assert_allclose(curve.empty, 0, atol=1e-12)  # class 2 leads, by 5
    # where the label is not the predicted class, the rival is
    wrong = faithfulness(target, images, torch.tensor([1]), scores, (50.0, 100.0))
    np.testing.assert_allclose(wrong["logit_difference"].full, -3.2, atol=1e-12)


# --- planted networks, paths and their controls ---


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_planted_path_is_all_there_is(scope):
    target = npc.TargetModel(helpers.planted_vit(scope))
    images = helpers.small_batch(3, 6)[0].abs()
    labels = torch.full((3,), helpers.PLANTED_LABEL)
    path = torch.tensor([helpers.PLANTED])
    found = path_faithfulness(target, images, labels, path)
    for curve in found.values():
        assert curve.shares == (100 * 3 / 48,) and curve.counts == (3,) and curve.excluded == 0
        np.testing.assert_allclose(curve.keep, 1, atol=1e-12)
        np.testing.assert_allclose(curve.remove, 0, atol=1e-12)
    beside = path_faithfulness(target, images, labels, (path + 1) % 16)
    for curve in beside.values():  # the control
        np.testing.assert_allclose(curve.keep, 0, atol=1e-12)
        np.testing.assert_allclose(curve.remove, 1, atol=1e-12)
    # the same as a share of a ranking
    ranked = faithfulness(target, images, labels,
                          torch.zeros(1, 3, 16).scatter_(2, path[..., None], 1.0).double(),
                          (6.25, 100.0))
    np.testing.assert_array_equal(ranked["probability"].keep[:, :1], found["probability"].keep)


@pytest.mark.parametrize("kind", ["chain", "parallel", "redundant"])
def test_planted_networks_reach_the_model_at_the_planted_size_and_no_sooner(kind):
    planted = planted_model(kind, "patch", n_images=4)
    ranked = planted.neurons
    size = 100 * ranked.shape[2] / planted.target.n_neurons
    scores = torch.zeros(4, 5, 20, dtype=torch.float64).scatter_(2, ranked, 1.0)
    found = faithfulness(planted.target, planted.images, planted.labels, scores,
                         (size * 0.8, size, 100.0))
    for curve in found.values():
        # all others together, of small random weights, carry a few per cent
        np.testing.assert_allclose(curve.keep[:, 1:], 1, atol=0.1)
        np.testing.assert_allclose(curve.remove[:, 1:], 0, atol=0.1)
        assert (curve.keep[:, 0] < 0.9).all()


def planted_curves(kind, seed=0):
    planted = planted_model(kind, n_images=4, seed=seed)
    target, images, labels = planted.target, planted.images, planted.labels
    scores = gradient_activation(target, images, labels)
    permuted = randomised(target, range(target.n_blocks), seed)
    rankings = {
        "own": scores, "random": random_scores(target, images, seed),
        "matched": matched_scores(target, images, scores, seed),
        "other class": other_class_scores(scores, labels, seed),
        "permuted weights": gradient_activation(permuted, images, labels)}
    return {name: faithfulness(target, images, labels, each, (1.0, 5.0, 10.0, 20.0))[
        "logit_difference"] for name, each in rankings.items()}


@pytest.mark.parametrize("seed", [0, 1])
def test_controls_keep_less_than_a_ranking_that_finds_the_planted_neurons(seed):
    curves = planted_curves("chain", seed)
    own = curves.pop("own")
    assert (own.cpr() > 0.85).all() and (own.cmd() < 0.2).all()
    for name, curve in curves.items():  # a chain that lacks one neuron is none
        assert curve.cpr().mean() < 0.2 and curve.cmd().mean() > 0.8, name


@pytest.mark.parametrize("seed", [0, 1])
def test_controls_remove_less_than_a_ranking_that_finds_the_planted_neurons(seed):
    curves = planted_curves("parallel", seed)
    own = curves.pop("own")
    assert (own.removal() < 0.12).all()
    for name, curve in curves.items():
        # every neuron carries a fifth; a matched ranking has each of them in one case of two
        assert curve.removal().mean() > own.removal().mean() + 0.3, name


def test_loud_decoys_come_first_by_activation_and_carry_nothing():
    planted = planted_model("chain", decoys="loud", n_images=2)
    by = {"own": gradient_activation(planted.target, planted.images, planted.labels),
          "activation": activation_scores(planted.target, planted.images)}
    found = {name: faithfulness(planted.target, planted.images, planted.labels, scores,
                                (5.0, 10.0))["logit_difference"] for name, scores in by.items()}
    assert (found["own"].keep[:, 0] > 0.9).all()
    assert (np.abs(found["activation"].keep) < 0.1).all()


def test_where_all_neurons_are_alike_no_ranking_is_better_than_another():
    """The planted failure of every control: they must do as well as the ranking itself."""
    target = linear_vit(torch.ones(3, 16), torch.full((3, 16), 0.1))
    images, labels = helpers.small_batch(4, 15)[0], torch.tensor([0, 0, 1, 1])
    scores = random_of((4, 3, 16), 16)
    for each in (scores, random_scores(target, images), matched_scores(target, images, scores),
                 activation_scores(target, images), other_class_scores(scores, labels)):
        found = faithfulness(target, images, labels, each)["logit_difference"]
        np.testing.assert_allclose(found.keep, [[count / 48 for count in found.counts]] * 4,
                                   atol=1e-12)


# --- rankings ---


def test_random_rankings_are_uniform_and_each_image_its_own():
    target, images, _ = helpers.network("cls", 531, batch=4)
    scores = random_scores(target, images, 3)
    assert scores.dtype == torch.float64
    for row in scores.flatten(1):
        assert torch.equal(row.sort().values, torch.arange(1, 49, dtype=torch.float64) / 48)
    assert not torch.equal(scores[0], scores[1])
    assert torch.equal(random_scores(target, images[2:], 3), scores[2:])
    assert not torch.equal(random_scores(target, images, 4), scores)
    # over seeds every neuron comes first about as often: 3 of 48 seeds here, within 5 deviations
    first = np.bincount([int(random_scores(target, images[:1], seed).argmax())
                         for seed in range(144)], minlength=48)
    assert first.max() <= 3 + 5 * 3 ** 0.5 and (first > 0).sum() > 35


def test_matched_rankings_keep_blocks_and_activations():
    target, images, _ = helpers.network("avg", 533, batch=3)
    scores = random_of((3, 3, 16), 17)
    found = matched_scores(target, images, scores, 1)
    assert torch.equal(found.sort(-1).values, scores.sort(-1).values)
    active = activation_scores(target, images)
    moved = 0
    for row in range(3):
        expected = torch.stack([value.sum(0) for value in twins.clean_activations(
            target.model, "patch", images[row])])
        torch.testing.assert_close(active[row], expected, rtol=0, atol=1e-12)
        for block in range(3):
            order = active[row, block].argsort()
            for pair in order.reshape(-1, 2):  # n/10 is less than two
                assert torch.equal(found[row, block, pair].sort().values,
                                   scores[row, block, pair].sort().values)
                moved += int(found[row, block, pair[0]] != scores[row, block, pair[0]])
    assert 20 < moved < 52  # of 72, half of them
    assert torch.equal(matched_scores(target, images[1:], scores[1:], 1), found[1:])
    assert torch.equal(scores, random_of((3, 3, 16), 17))  # left as they were


def test_another_classs_ranking_is_one_of_the_batch():
    scores, labels = random_of((6, 2, 4), 18), torch.tensor([0, 0, 1, 1, 1, 2])
    found = other_class_scores(scores, labels, 2)
    for own, label in zip(found, labels, strict=True):
        source = [row for row in range(6) if torch.equal(scores[row], own)]
        assert len(source) == 1 and labels[source[0]] != label
    assert torch.equal(other_class_scores(scores, labels, 2), found)
    helpers.refused(lambda: other_class_scores(scores, torch.zeros(6, dtype=torch.int64)),
                    "one class", "accepted")
    helpers.refused(lambda: other_class_scores(scores, labels[:3]), "accepted")


# --- batches, draws, types ---


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_batch_gives_what_its_images_give_one_by_one(monkeypatch, count):
    target, images, labels = helpers.network("avg", 541, batch=5)
    scores, values = random_of((5, 3, 16), 21), random_of((2, 5, 3, 1, 16), 22)
    whole = faithfulness(target, images, labels, scores, FEW, values)
    path = random_of((5, 3, 16), 23).argmax(-1)
    place = path_faithfulness(target, images, labels, path, values)
    monkeypatch.setattr(masked_model, "images_at_once", lambda target, copies: count)
    parts = faithfulness(target, images, labels, scores, FEW, values)
    for measure in MEASURES:
        np.testing.assert_allclose(parts[measure].keep, whole[measure].keep, atol=1e-10)
        for row in range(5):
            one = [images[[row]], labels[[row]]]
            alone = faithfulness(target, *one, scores[[row]], FEW, values[:, [row]])
            np.testing.assert_allclose(alone[measure].kept[0], whole[measure].kept[row],
                                       atol=1e-12)
            np.testing.assert_allclose(alone[measure].removed[0], whole[measure].removed[row],
                                       atol=1e-12)
            own = path_faithfulness(target, *one, path[[row]], values[:, [row]])
            np.testing.assert_allclose(own[measure].kept[0], place[measure].kept[row], atol=1e-12)


def test_draws_are_averaged_and_zero_is_zero():
    target, images, labels = helpers.network("cls", 543)
    scores, values = random_of((2, 3, 16), 24), random_of((3, 1, 3, 1, 16), 25)
    together = faithfulness(target, images, labels, scores, FEW, values)
    apart = [faithfulness(target, images, labels, scores, FEW, draw) for draw in values]
    plain = faithfulness(target, images, labels, scores, FEW)
    zero = faithfulness(target, images, labels, scores, FEW, torch.zeros_like(values[0]))
    for measure in MEASURES:
        for field in ("full", "empty", "kept", "removed"):
            np.testing.assert_allclose(
                getattr(together[measure], field),
                np.mean([getattr(each[measure], field) for each in apart], 0), atol=1e-13)
            np.testing.assert_array_equal(getattr(zero[measure], field),
                                          getattr(plain[measure], field))
    assert np.abs(together["probability"].empty - plain["probability"].empty).max() > 1e-4


def test_replacing_a_neuron_by_its_own_value_leaves_nothing_to_carry():
    target, images, labels = helpers.network("avg", 545)
    values = torch.stack([torch.stack(twins.clean_activations(target.model, "patch", image))
                          for image in images])
    found = faithfulness(target, images, labels, random_of((2, 3, 16), 26), FEW, values)
    for curve in found.values():
        assert curve.excluded == 2 and np.isnan(curve.keep).all()
        np.testing.assert_allclose(curve.empty, curve.full, atol=1e-12)


def test_the_whole_is_the_model_and_passes_are_not_repeated():
    target, images, labels = helpers.network("cls", 547)
    scores = random_of((2, 3, 16), 27)
    sizes, handle = helpers.watch_batches(target.model)
    found = faithfulness(target, images, labels, scores)
    handle.remove()
    with torch.no_grad():
        clean = target(images).softmax(-1).gather(1, labels[:, None])[:, 0].numpy()
    np.testing.assert_array_equal(found["probability"].kept[:, -1], found["probability"].full)
    np.testing.assert_array_equal(found["probability"].removed[:, -1], found["probability"].empty)
    np.testing.assert_allclose(found["probability"].full, clean, atol=1e-15)
    # the strongest other class, all, none, and both sides of 2, 4, 9 and 24 of 48 neurons
    assert sizes == [2] * (3 + 2 * 4)


@pytest.mark.parametrize("side", ["keep", "remove"])
def test_one_side_is_that_of_both_and_the_other_costs_nothing(side):
    target, images, labels = helpers.network("cls", 548)
    scores = random_of((2, 3, 16), 34)
    both = faithfulness(target, images, labels, scores)
    sizes, handle = helpers.watch_batches(target.model)
    one = faithfulness(target, images, labels, scores, sides=(side,))
    handle.remove()
    assert sizes == [2] * (3 + 4)
    measured, missing = ("kept", "removed") if side == "keep" else ("removed", "kept")
    for measure in MEASURES:
        np.testing.assert_array_equal(getattr(one[measure], measured),
                                      getattr(both[measure], measured))
        assert np.isnan(getattr(one[measure], missing)).all()


def test_several_curves_of_one_model_measure_its_ends_once():
    target, images, labels = helpers.network("cls", 552)
    values = random_of((2, 1, 3, 1, 16), 36)
    first, second, path = random_of((2, 3, 16), 35), random_of((2, 3, 16), 37), torch.tensor(
        [[1, 2, 3], [4, 5, 6]])
    model = MaskedModel.of(target, images, labels, values)
    sizes, handle = helpers.watch_batches(target.model)
    found = [model.curves(first, FEW), model.curves(second, FEW), model.place(path)]
    shared = len(sizes)
    handle.remove()
    sizes, handle = helpers.watch_batches(target.model)
    alone = [faithfulness(target, images, labels, first, FEW, values),
             faithfulness(target, images, labels, second, FEW, values),
             path_faithfulness(target, images, labels, path, values)]
    handle.remove()
    # the clean run of each, and for two of them all neurons once and none in two draws
    assert len(sizes) - shared == 3 + 2 * (1 + 2)
    for one, other in zip(found, alone, strict=True):
        for measure in MEASURES:
            np.testing.assert_array_equal(one[measure].kept, other[measure].kept)
            np.testing.assert_array_equal(one[measure].removed, other[measure].removed)
            np.testing.assert_array_equal(one[measure].empty, other[measure].empty)


def test_single_precision():
    target, images, labels = helpers.network("cls", 549)
    scores = random_of((2, 3, 16), 28)
    double = faithfulness(target, images, labels, scores, FEW)
    single = faithfulness(target.in_dtype(torch.float32), images.float(), labels, scores.float(),
                          FEW)
    for measure in MEASURES:
        assert single[measure].kept.dtype == np.float64
        np.testing.assert_allclose(single[measure].kept, double[measure].kept, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu():
    target, images, labels = helpers.network("avg", 551)
    scores, values = random_of((2, 3, 16), 29), random_of((1, 3, 1, 16), 30)
    expected = faithfulness(target, images, labels, scores, FEW, values)
    drawn = random_scores(target, images)
    matched = matched_scores(target, images, scores)
    target = npc.TargetModel(target.model.cuda(), scope="patch")
    found = faithfulness(target, images.cuda(), labels.cuda(), scores.cuda(), FEW, values.cuda())
    for measure in MEASURES:
        np.testing.assert_allclose(found[measure].kept, expected[measure].kept, atol=1e-10)
    assert torch.equal(random_scores(target, images.cuda()).cpu(), drawn)
    assert torch.equal(matched_scores(target, images.cuda(), scores.cuda()).cpu(), matched)


# --- what is refused ---


def test_bad_input_is_refused():
    target, images, labels = helpers.network("cls", 553)
    scores = random_of((2, 3, 16), 31)

    def run(shares=FEW, values=None, scores=scores, **more):
        return lambda: faithfulness(target, images, labels, scores, shares, values, **more)

    for shares in ((), (0.0, 5.0), (-1.0,), (5.0, 100.1), (5.0, 5.0), (10.0, 5.0),
                   (float("nan"),), "ten", 5.0, ("a",)):
        helpers.refused(run(shares), "shares must be increasing percentages in (0, 100]")
    for bad in (scores[:, :2], scores[..., :5], scores[0], torch.cat([scores, scores]),
                scores.long(), None):
        helpers.refused(run(scores=bad), "scores must be", "(2 or 1, 3, 16)")
    holes = scores.clone()
    holes[0, 1, 2] = torch.nan
    helpers.refused(run(scores=holes), "NaN")
    for bad in (torch.zeros(3, 3, 1, 16).double(), torch.zeros(2, 3, 16).double(), "mean",
                torch.zeros(0, 2, 3, 1, 16).double(),
                torch.full((2, 3, 1, 16), torch.inf).double()):
        helpers.refused(run(values=bad), "values")
    for smallest in (0, -1.0, math.nan, "1", True):
        helpers.refused(run(smallest=smallest), "smallest must be a positive number")
    for sides in ((), "keep", ("kept",), (1,)):
        helpers.refused(run(sides=sides), "unknown sides", "keep, remove")
    helpers.refused(lambda: faithfulness(target.model, images, labels, scores), "TargetModel")
    helpers.refused(lambda: faithfulness(target, images, labels + 9, scores), "labels")
    helpers.refused(lambda: path_faithfulness(target, images, labels, torch.zeros(
        3, 3, dtype=torch.int64)), "3 images", "one path an image")
    helpers.refused(lambda: path_faithfulness(target, images, labels, torch.full((2, 3), 16)),
                    "0..15")
    for seed in (-1, 0.5, True, "a"):
        helpers.refused(lambda seed=seed: random_scores(target, images, seed), "seed must be")
    helpers.refused(lambda: matched_scores(target, images, scores[:, :1]), "scores must be")


def test_nothing_of_the_network_is_changed():
    target, images, labels = helpers.network("cls", 555)
    faithfulness(target, images, labels, random_of((2, 3, 16), 32), FEW)
    before = helpers.Snapshot(target.model)
    faithfulness(target, images, labels, random_of((2, 3, 16), 32), FEW,
                 random_of((1, 3, 1, 16), 33))
    before.check()
