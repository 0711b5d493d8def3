"""Paths from counterfactual to image: the attribution against autograd and a closed form, planted
neurons that one change moves and another does not, overlap by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from neuronpath_core.circuits.pairs import (
    PairPaths,
    image_overlap,
    overlap_table,
    pair_paths,
    size_table,
)
from neuronpath_core.images.shape_pairs import pairs_for
from neuronpath_core.images.shapes import load_shapes
from neuronpath_core.target import TargetModel
from neuronpath_core.variants.sites import SiteModel
from tests.helpers import NETWORKS, blank_vit, network, refused, small_batch, small_vit

OWN = {"red": (4, 9, 1), "blue": (11, 2, 7)}  # neurons that read one channel of the image each
SLOPE = {"red": 0.3, "blue": 0.2}
LABEL, BIAS = 1, 0.5


def planted(scope="patch"):
    """Three blocks of which one neuron each reads the red channel and another the blue one; both
    write to the logit of ``LABEL``, all others write nothing. Green is not looked at."""
    model = blank_vit("patch", num_classes=3)
    with torch.no_grad():
        for stream, channel in ((2, 0), (3, 2)):
            model.patch_embed.proj.weight[stream, channel] = 1 / 16
        for place, block in enumerate(model.blocks):
            block.mlp.fc1.bias.copy_(torch.linspace(-0.4, 0.4, 16))
            for name, stream in (("red", 2), ("blue", 3)):
                neuron = OWN[name][place]
                block.mlp.fc1.bias[neuron] = BIAS
                block.mlp.fc1.weight[neuron, stream] = 1
                block.mlp.fc2.weight[0, neuron] = SLOPE[name]
        model.head.weight[LABEL, 0] = 1
    return TargetModel(model, scope=scope)


def coloured(red, green, blue, count=1):
    """Images of one colour; as much of it at each of the four patches."""
    return torch.tensor([red, green, blue], dtype=torch.float64)[None, :, None, None].expand(count, 3, 8, 8)


def gelu(value):
    return value * (1 + math.erf(value / math.sqrt(2))) / 2


LABELS = torch.tensor([LABEL])


def test_the_attribution_in_closed_form():
    """Of red r to r': slope (w(r) - w(r')) F (1 - F) in each block, with F = e^z / (e^z + 2) and
    z the sum of what the six neurons write."""
    paths = pair_paths(planted(), coloured(0.9, 0.2, 0.4), LABELS,
                       {"red": coloured(-0.3, 0.2, 0.4), "blue": coloured(0.9, 0.2, 0.1)})

    def probability(red, blue):
        logit = 3 * (SLOPE["red"] * gelu(BIAS + red) + SLOPE["blue"] * gelu(BIAS + blue))
        return math.exp(logit) / (math.exp(logit) + 2)

    clean = probability(0.9, 0.4)
    slope = clean * (1 - clean)
    expected = [3 * SLOPE["red"] * (gelu(BIAS + 0.9) - gelu(BIAS - 0.3)) * slope,
                3 * SLOPE["blue"] * (gelu(BIAS + 0.4) - gelu(BIAS + 0.1)) * slope]
    np.testing.assert_allclose(paths.attribution[:, 0], expected, rtol=1e-12)
    np.testing.assert_allclose(paths.total[:, 0], expected, rtol=1e-12)  # nothing else moves
    np.testing.assert_allclose(paths.effect[:, 0], [clean - probability(-0.3, 0.4),
                                                    clean - probability(0.9, 0.1)], rtol=1e-12)
    assert paths.neurons[:, 0].tolist() == [list(OWN["red"]), list(OWN["blue"])]


def test_planted_changes_find_their_own_neurons_and_the_unseen_one_none():
    images = torch.cat([coloured(0.9, 0.2, 0.4), coloured(0.5, -0.1, 0.8), coloured(0.7, 0, 0.7)])
    lower = torch.tensor([0.4, 0.5, 0.6], dtype=torch.float64)[:, None, None]
    pairs = {name: images.clone() for name in ("red", "more red", "blue", "green")}
    pairs["red"][:, 0] -= lower
    pairs["more red"][:, 0] -= 2 * lower
    pairs["blue"][:, 2] -= lower
    pairs["green"][:, 1] += lower
    paths = pair_paths(planted(), images, LABELS.expand(3), pairs)
    table = overlap_table(paths).set_index(["first", "second"])
    assert table.value[("red", "more red")] == 1 and table.value[("red", "blue")] == 0
    assert table.low[("red", "more red")] == 1 and table.high[("red", "blue")] == 0
    assert (paths.neurons[3] == -1).all()
    unseen = table.loc[("red", "green")]
    assert unseen.images == 0 and np.isnan(unseen[["value", "low", "high", "other_images"]].astype(float)).all()
    # a model that uses the same neurons for every image: other images agree as much
    assert table.other_images[("red", "more red")] == 1
    assert (table.chance == 1 / 16).all()
    sizes = size_table(paths, control="green").set_index(["change", "measure"])
    for measure in ("attribution", "total", "effect"):
        assert abs(sizes.value[("green", measure)]) < 1e-14
        for change in ("red", "more red", "blue"):
            assert sizes.less_control_low[(change, measure)] > 0.01
        assert sizes.less_control[("green", measure)] == 0


# --- against a twin ---


def twin(model, tokens, image, label, pair):
    """One image by plain hooks and autograd on the network: activations of both images, and the
    gradient at the clean one."""
    def run(picture):
        seen = []
        handles = [block.mlp.fc2.register_forward_pre_hook(
            lambda _module, inputs: seen.append(inputs[0])) for block in model.blocks]
        probability = model(picture[None]).softmax(-1)[0, label]
        for handle in handles:
            handle.remove()
        return probability, seen

    probability, clean = run(image.clone().requires_grad_())
    with torch.no_grad():
        other, base = run(pair)
    gradients = torch.autograd.grad(probability, clean)
    scores = torch.stack([((value.detach() - held) * gradient)[0, tokens].sum(0)
                          for value, held, gradient in zip(clean, base, gradients, strict=True)])
    return scores, float(probability.detach() - other)


@pytest.mark.parametrize("name", NETWORKS)
def test_against_hooks_and_autograd(name):
    target, images, labels = network(name, 3, batch=3)
    pairs = small_batch(3, 17)[0]
    paths = pair_paths(target, images, labels, {"other": pairs})
    for place in range(3):
        scores, effect = twin(target.model, target.tokens, images[place], labels[place],
                              pairs[place])
        # of the class token, which an average does not look at, the last block has no path
        best = scores.argmax(1).masked_fill((scores == 0).all(1), -1)
        assert paths.neurons[0, place].tolist() == best.tolist()
        # double precision: sums of some hundred products of order 0.01
        for found, expected in ((paths.attribution, scores.amax(1).sum()),
                                (paths.total, scores.abs().sum()), (paths.effect, effect)):
            np.testing.assert_allclose(found[0, place], float(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_a_batch_gives_what_its_images_give_one_by_one(name, monkeypatch):
    target, images, labels = network(name, 5, batch=4)
    pairs = {"one": small_batch(4, 8)[0], "two": small_batch(4, 9)[0]}
    whole = pair_paths(target, images, labels, pairs)
    single = [pair_paths(target, images[[place]], labels[[place]],
                         {key: value[[place]] for key, value in pairs.items()})
              for place in range(4)]
    monkeypatch.setattr("neuronpath_core.circuits.pairs.images_at_once", lambda *_: 3)
    chunked = pair_paths(target, images, labels, pairs)
    for field in ("neurons", "attribution", "total", "effect"):
        joined = np.concatenate([getattr(each, field) for each in single], 1)
        np.testing.assert_allclose(getattr(whole, field), joined, rtol=0, atol=1e-13)
        np.testing.assert_allclose(getattr(whole, field), getattr(chunked, field), rtol=0,
                                   atol=1e-13)


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_single_precision(name):
    target, images, labels = network(name, 6, batch=4)
    pairs = small_batch(4, 8)[0]
    expected = pair_paths(target, images, labels, {"one": pairs})
    single = TargetModel(target.model.float(), scope=target.scope)
    found = pair_paths(single, images.float(), labels, {"one": pairs.float()})
    assert found.attribution.dtype == np.float64
    np.testing.assert_allclose(found.attribution, expected.attribution, rtol=1e-4, atol=1e-6)


@pytest.mark.each_value
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_equal_pairs_have_no_path(name, dtype, monkeypatch):
    """Their activations differ by rounding, if by anything, which must not pass for a path; paths
    of the smallest change that one pixel can have are kept."""
    target, images, labels = network(name, 7, batch=5, depth=12)
    target = TargetModel(target.model.to(dtype), scope=target.scope)
    images = images.to(dtype)
    monkeypatch.setattr("neuronpath_core.circuits.pairs.images_at_once", lambda *_: 2)
    slight = images.clone()
    slight[:, 0, 3, 3] += 1 / 127.5
    paths = pair_paths(target, images, labels, {"none": images.clone(), "slight": slight})
    assert (paths.neurons[0] == -1).all() and (paths.neurons[1] >= 0).all()
    assert np.isnan(overlap_table(paths).value).all()
    # a control: rounding that is made as large as it may be is still no path
    noise = images * (1 + torch.finfo(dtype).eps * torch.sign(small_batch(5, 30)[0].to(dtype)))
    assert not torch.equal(noise, images)
    noisy = pair_paths(target, images, labels, {"noise": noise})
    assert (noisy.neurons == -1).all() and noisy.total.max() > 0


def test_attention_neurons_and_heads():
    model = small_vit(2)
    images, labels = small_batch(3, 4)
    for sites in ("attention", "heads", "mixed", "halves"):
        target = SiteModel(model, sites=sites)
        paths = pair_paths(target, images, labels, {"one": small_batch(3, 8)[0]})
        assert paths.neurons.shape == (1, 3, target.n_blocks)
        assert paths.sizes == tuple(layer.units for layer in target.layers)
        assert (paths.neurons < np.array(paths.sizes)).all()


# --- overlap by hand ---


FIRST = np.array([[1, 2, 3, 4], [5, -1, 7, 8], [-1, -1, -1, 2]])
SECOND = np.array([[1, 2, 0, 0], [5, -1, -1, 9], [4, 4, 4, -1]])


def by_hand(neurons):
    neurons = np.array(neurons)
    flat = np.zeros(neurons.shape[:2])
    return PairPaths(tuple("abc"[:len(neurons)]), neurons, flat, flat, flat, (10, 10, 20, 20))


def test_overlap_is_over_blocks_that_both_have():
    np.testing.assert_array_equal(image_overlap(FIRST, SECOND), [0.5, 0.5, np.nan])
    table, = overlap_table(by_hand([FIRST, SECOND])).to_dict("records")
    assert (table["first"], table["second"], table["images"]) == ("a", "b", 2)
    assert table["value"] == table["low"] == table["high"] == 0.5
    assert table["chance"] == pytest.approx((0.1 + 0.1 + 0.05 + 0.05) / 4)


def test_overlap_with_other_images_by_brute_force():
    rng = np.random.default_rng(0)
    first, second = rng.integers(-1, 4, (2, 7, 6))
    table, = overlap_table(by_hand([first, second])).to_dict("records")
    means = []
    for one in range(7):
        shares = []
        for other in range(7):
            both = [(a, b) for a, b in zip(first[one], second[other], strict=True) if a >= 0 and b >= 0]
            if one != other and both:
                shares.append(sum(a == b for a, b in both) / len(both))
        means.append(np.mean(shares))
    assert table["images"] == 7
    assert table["other_images"] == pytest.approx(np.mean(means), abs=1e-14)


def test_paths_of_the_same_image_overlap_more_where_they_follow_the_image():
    """Planted: each image has neurons of its own, whatever changes; then other images do not."""
    own = np.arange(20).reshape(5, 4)
    table = overlap_table(by_hand([own, own, own + 100]))
    assert table.value.tolist() == [1, 0, 0] and table.other_images.tolist() == [0, 0, 0]
    assert list(zip(table["first"], table["second"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]


def test_sizes_by_hand():
    rng = np.random.default_rng(1)
    attribution, total, effect = rng.random((3, 2, 30))
    paths = PairPaths(("a", "b"), np.zeros((2, 30, 1), np.int64), attribution, total, effect, (5,))
    table = size_table(paths, "b").set_index(["change", "measure"])
    for measure, values in (("attribution", attribution), ("total", total), ("effect", effect)):
        row = table.loc[("a", measure)]
        assert row.value == pytest.approx(values[0].mean())
        assert row.low < row.value < row.high
        assert row.less_control == pytest.approx((values[0] - values[1]).mean())
        assert row.less_control_low < row.less_control < row.less_control_high
    assert "less_control" not in size_table(paths)
    frame = paths.to_frame()
    assert frame.columns.tolist() == ["change", "image", "attribution", "total", "effect"]
    assert len(frame) == 60
    row, = frame[(frame.change == "b") & (frame.image == 11)].to_dict("records")
    assert (row["attribution"], row["total"], row["effect"]) == (attribution[1, 11], total[1, 11],
                                                                effect[1, 11])


# --- scenes ---


def test_pairs_of_scenes():
    """A head that reads the mean colour of the picture: changes of colour move it, those of the
    fill less, and what is attributed has the sign of what happens."""
    dataset = {"name": "shapes", "train_images": 24, "held_out_images": 24, "difficulty": 0.15}
    images = load_shapes("held_out", 24, 0, 0.15)
    torch.manual_seed(0)
    model = small_vit(3, img_size=32, patch_size=8, num_classes=24, depth=2, global_pool="avg")
    model.fc_norm = nn.Identity()
    target = TargetModel(model)
    pairs = {change: pairs_for(dataset, images, change).images
             for change in ("outline", "fill", "background")}
    paths = pair_paths(target, images.images, images.labels, pairs)
    assert (paths.neurons >= 0).all() and (paths.total > 0).all()
    assert len(overlap_table(paths)) == 3 and len(size_table(paths, "background")) == 9
    for place, change in enumerate(pairs):
        scores, effect = twin(model, target.tokens, images.images[6], images.labels[6],
                              pairs[change][6])
        assert paths.neurons[place, 6].tolist() == scores.argmax(1).tolist()
        assert paths.effect[place, 6] == pytest.approx(effect, abs=1e-13)


# --- bad input ---


def test_what_is_refused():
    target, images, labels = network("cls", 1, batch=2)
    pair = {"one": images}
    for pairs in ({}, images, None, {3: images}, {"": images}):
        refused(lambda pairs=pairs: pair_paths(target, images, labels, pairs), "pairs cannot be",
                "accepted: a mapping")
    for value in (images[:1], images[..., :4], "picture", images[0]):
        refused(lambda value=value: pair_paths(target, images, labels, {"fill": value}),
                "pairs of 'fill' are", "accepted: a tensor of the batch's shape")
    refused(lambda: pair_paths(target, images, labels, {"fill": images * torch.nan}), "pairs")
    refused(lambda: pair_paths(target, images, labels, {"fill": images.float()}), "pairs")
    refused(lambda: pair_paths(target, images, labels + 90, pair), "labels must lie in")
    paths = pair_paths(target, images, labels, pair)
    refused(lambda: overlap_table(paths), "accepted: pairs of two changes or more")
    refused(lambda: size_table(paths, "fill"), "unknown control 'fill'; accepted: one")
    refused(lambda: size_table(pair_paths(target, images[:1], labels[:1], {"one": images[:1]})),
            "at least two")
