"""Exemplars, labels, whether they are true, and what changes a neuron."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

import neuronpath_core as npc
from neuronpath_core.hooks import neurons_read
from neuronpath_core.images.shapes import load_shapes, render
from neuronpath_core.neurons import label_truth, labels
from neuronpath_core.neurons.clip_labels import MISSING, by_clip, clip_similarity, load_clip
from neuronpath_core.neurons.counterfactuals import CHANGES, contrasts, families
from neuronpath_core.neurons.dissection import dissect
from neuronpath_core.neurons.exemplars import NeuronExemplars, find_exemplars, image_scores
from neuronpath_core.neurons.sensitivity import from_scores, sensitivity
from neuronpath_core.readings.concepts import concepts
from tests.neurons.planted import made_up, red_network, small

CLOSE = 1e-10
DATASET = {"name": "shapes", "train_images": 24, "held_out_images": 48, "seed": 0,
           "difficulty": 0.15}


@pytest.mark.parametrize("reduction", ["max", "mean", "token"])
def test_exemplars_by_sorting_everything(reduction):
    target, images, _ = small(9)
    found = find_exemplars(target, images, 4, 0.9, reduction)
    for block, values in enumerate(neurons_read(target, images, everywhere=True)):
        patches = values[:, 1:].numpy()
        scores = {"max": patches.max(1), "mean": patches.mean(1),
                  "token": values[:, 0].numpy()}[reduction]
        for neuron in (0, 11):
            order = sorted(range(9), key=lambda each: -scores[each, neuron])[:4]  # noqa: B023
            own = found.of(block, neuron)
            assert own.images.tolist() == order
            np.testing.assert_allclose(own.values, scores[order, neuron], atol=CLOSE)
            limit = np.sort(patches[..., neuron].ravel())[int(0.9 * (9 * 16 - 1))]
            assert found.threshold[block, neuron] == limit
            np.testing.assert_array_equal(own.masks, patches[order][..., neuron] > limit)
    np.testing.assert_allclose(image_scores(target, images, reduction), found.scores)


def test_bad_exemplars_are_refused():
    target, images, _ = small(5)
    pooled, *_ = small(5, global_pool="avg", class_token=False)
    for why, arguments in (("15 exemplars of 5 images", (target, images)),
                           ("0 exemplars", (target, images, 0)),
                           ("quantile cannot be 1", (target, images, 3, 1)),
                           ("unknown reduction 'sum'", (target, images, 3, 0.9, "sum")),
                           ("without a token before", (pooled, images, 3, 0.9, "token"))):
        with pytest.raises(ValueError, match=why) as error:
            find_exemplars(*arguments)
        assert "accepted" in str(error.value)
    found = find_exemplars(target, images, 2)
    for block, neuron in ((3, 0), (0, 16), (-1, 0), (True, 0)):
        with pytest.raises(ValueError, match="whole number"):
            found.of(block, neuron)


def test_correlations_are_those_of_scipy():
    rng = np.random.default_rng(0)
    scores, present = rng.standard_normal((3, 40)), rng.random((4, 40)) < 0.3
    scores[2], present[3] = 5.1, True
    found = labels.point_biserial(scores, present)
    for row in range(2):
        for column in range(3):
            assert found[row, column] == pytest.approx(
                stats.pointbiserialr(present[column], scores[row]).statistic, abs=CLOSE)
    assert np.isnan(found[2]).all() and np.isnan(found[:, 3]).all()
    with pytest.raises(ValueError, match="a column for each image"):
        labels.point_biserial(scores, present[:, :3])


def test_soft_wpmi_by_loops():
    rng = np.random.default_rng(1)
    scores, present = rng.standard_normal((5, 30)), (rng.random((30, 3)) < 0.4).astype(float)
    top = 6
    joint = np.zeros((5, 3))
    for neuron in range(5):
        order = sorted(range(30), key=lambda each: -scores[neuron, each])[:top]  # noqa: B023
        for rank, image in enumerate(order):
            member = 0.998 - rank / top * (0.998 - 0.97)
            given = np.exp(10 * present[image]) / np.exp(10 * present[image]).sum()
            joint[neuron] += np.log(1 + member * (given - 1))
    prior = np.log(np.exp(joint).mean(0))
    np.testing.assert_allclose(labels.soft_wpmi(scores, present, top), joint - prior, atol=1e-9)
    np.testing.assert_allclose(labels.soft_wpmi(scores, present, top, weight=0), joint, atol=1e-9)
    assert labels.top_count(50_000) == 1000 and labels.top_count(120) == 5
    assert labels.top_count(3) == 3
    for wrong in (0, 31, 2.5, True):
        with pytest.raises(ValueError, match="top images cannot be"):
            labels.soft_wpmi(scores, present, wrong)


def test_milans_trade_off_by_hand():
    present = np.zeros((3, 10), bool)
    present[0, :8], present[1, :2] = True, True
    exemplars = np.array([0, 1, 2, 3])
    common, rare = np.log((4 + 0.8) / 5), np.log((2 + 0.2) / 5)
    found = labels.milan_score(exemplars, present, 0.2)
    np.testing.assert_allclose(found[:2], [common - 0.2 * np.log(0.8), rare - 0.2 * np.log(0.2)])
    assert np.isnan(found[2])
    assert labels.milan_score(exemplars, present, 0)[:2].argmax() == 0
    assert labels.milan_score(exemplars, present, 1)[:2].argmax() == 1  # the specific one
    many = labels.milan_score(np.stack([exemplars, exemplars + 6]), present, 0.2)
    np.testing.assert_allclose(many[0], found)


def exemplar_of(scores, block=0, neuron=0, count=5):
    order = np.argsort(-scores, kind="stable")[:count]
    return NeuronExemplars(block, neuron, order, scores[order], np.zeros((count, 4), bool), scores)


def test_every_labeler_finds_a_planted_concept_and_none_a_permuted_one():
    scenes = load_shapes("held_out", 96, difficulty=0.15)
    known = concepts(scenes)
    rng = np.random.default_rng(0)
    red = known.names.index("red")
    planted = known.present[red] + 0.2 * rng.random(96)
    noise = rng.random((20, 96))
    scores = np.concatenate([planted[None], noise])[None]
    makers = (labels.by_correlation(known), labels.by_milan(known),
              labels.by_wpmi(known.names, known.present.T, scores))
    for labeler in makers:
        found = labeler.label(exemplar_of(planted))
        assert found.text == "red" and len(found.alternatives) == 3
        assert found.score >= found.alternatives[0][1]
    dealt = known.present[:, rng.permutation(96)]
    again = labels.point_biserial(scores[0], dealt)
    true = labels.point_biserial(scores[0], known.present)
    assert true[0, red] > 0.9 > 0.4 > np.nanmax(again[0])
    dead = labels.by_correlation(known).label(exemplar_of(np.ones(96)))
    assert dead.text == labels.NOTHING and np.isnan(dead.score) and not dead.alternatives


def test_labels_of_a_dissection():
    target, images, _ = small(8)
    masks = np.random.default_rng(0).random((3, 8, 16, 16)) < 0.4
    found = dissect(target, images, made_up(masks), 0.9, permutations=0)
    exemplars = find_exemplars(target, images, 3)
    label = labels.by_iou(found).label(exemplars.of(1, 2))
    order = np.argsort(-found.iou[1, 2])
    assert label.text == f"concept {order[0]}"
    assert label.alternatives[0] == (f"concept {order[1]}", found.iou[1, 2, order[1]])


# --- whether labels are true ---


def test_influences_give_the_variance_of_an_area():
    rng = np.random.default_rng(0)
    inside = np.arange(60) < 20
    scores = rng.standard_normal((2, 60)) + inside
    found = label_truth.influences(scores, inside)
    drawn = [np.concatenate([rng.choice(np.flatnonzero(side), side.sum()) for side in (
        inside, ~inside)]) for _ in range(1500)]
    for row in range(2):
        areas = [roc_auc_score(inside[each], scores[row, each]) for each in drawn]
        # 1,500 resamples know a standard deviation to 2 %; the two formulas differ by 1/n
        assert np.sqrt((found[row] ** 2).sum()) == pytest.approx(np.std(areas), rel=0.12)
    assert np.abs(found.sum(1)).max() < CLOSE
    for wrong in (np.ones(60, bool), np.zeros(60, bool)):
        with pytest.raises(ValueError, match="at least one inside"):
            label_truth.influences(scores, wrong)


def world(effect, seed=0, neurons=12, images=80):
    """Two blocks of neurons, each with a label of four, whose scores follow it by ``effect``."""
    rng = np.random.default_rng(seed)
    present = np.zeros((5, images), bool)
    present[rng.integers(0, 4, images), np.arange(images)] = True
    present[4] = True  # in all images
    given = rng.integers(0, 4, (2, neurons))
    scores = rng.standard_normal((2, neurons, images)) + effect * present[given]
    return scores, present, given


def test_true_labels_are_told_from_labels_that_are_dealt():
    scores, present, given = world(1.5)
    given[0, 0], given[1, 1] = -1, 4  # without a label, and with one that predicts nothing
    row = label_truth.prediction_row(scores, present, given)
    table = label_truth.predicted(scores, present)
    kept = (given >= 0) & (given < 4)
    own = table[kept, given[kept]]
    assert row["neurons"] == 22 and row["own"] == pytest.approx(own.mean())
    expected = np.mean([table[block, neuron, given[block][kept[block]]].mean()
                        for block, neuron in np.argwhere(kept)])
    assert row["dealt"] == pytest.approx(expected)
    assert row["value"] == pytest.approx(row["own"] - expected) and row["low"] > 0.2
    assert row["value"] > row["chance"] and row["p"] == 0.001
    assert table[0, 0, 0] == pytest.approx(roc_auc_score(present[0], scores[0, 0]))


def test_false_labels_are_not_called_true():
    """Neurons that follow no concept: in a few of twenty worlds at most chance passes for truth."""
    rows = [label_truth.prediction_row(*world(0, seed), seed=seed) for seed in range(20)]
    assert sum(row["low"] > 0 for row in rows) <= 3
    assert sum(row["p"] <= 0.025 for row in rows) <= 3
    scores, present, given = world(1.5)
    against = label_truth.prediction_row(-scores, present, given)
    assert against["high"] < 0 and against["p"] == 1
    nothing = label_truth.truth_row(label_truth.predicted(scores, present), np.full((2, 12), -1))
    assert nothing["neurons"] == 0 and np.isnan(nothing["value"])


def test_dealt_means_keep_labels_within_blocks():
    table = np.zeros((2, 3, 2))
    table[0, :, 0], table[1, :, 1] = 1, 1
    given = np.array([[0, 0, 0], [1, 1, 1]])
    assert (label_truth.dealt_means(table, given, 20) == 1).all()


# --- what changes a neuron ---


def test_families_change_one_thing_inside_the_masks():
    drawn = families(DATASET, [0, 5])
    assert drawn.shape == (2, len(CHANGES), 3, 32, 32) and CHANGES[0] == {}
    for scene, index in enumerate((0, 5)):
        plain = render("held_out", index, 0, 0.15)
        for change, pixels in zip(CHANGES, drawn[scene], strict=True):
            other = render("held_out", index, 0, 0.15, change=change or None)
            differ = (pixels != drawn[scene, 0]).any(0).numpy()
            if "background" in change:
                assert not differ[(plain.painted == 1)].any()
            else:  # paint reaches half a pixel beyond the mask, along its edge
                union = (plain.painted > 0) | (other.painted > 0)
                assert not differ[~union].any()
            value = next(iter(change.items()), (None, None))
            same = value[0] is None or plain.attributes.get(value[0], "") == value[1]
            assert same != differ.any()
    for each in contrasts():
        assert not (each.with_it & each.without).any()
        assert each.with_it.any() and each.without.any()
    assert [each.name for each in contrasts()][:3] == ["object", "circle", "square"]
    counts = {each.kind: (int(each.with_it.sum()), int(each.without.sum()))
              for each in contrasts()[1:]}
    assert counts == {"outline": (1, 5), "fill": (1, 3), "colour": (1, 7), "background": (3, 6),
                      "tone": (3, 6)}


def test_planted_scores_have_their_sensitivity():
    """A neuron that is 1 for red and 0 else moves by red alone: in the units of its own spread."""
    values = [next(iter(change.items()), ("", "")) for change in CHANGES]
    own_red = np.array([True, False, False, True])
    scores = np.zeros((1, 3, 4, len(CHANGES)))
    scores[0, 0] = own_red[:, None]
    for place, (name, value) in enumerate(values):
        if name in ("colour", "object"):
            scores[0, 0, :, place] = value == "red"
    scores[0, 1] = 0.3  # dead
    scores[0, 2] = np.random.default_rng(0).random((4, len(CHANGES)))
    found = from_scores(scores)
    red = found.names.index("red")
    assert found.value[0, 0, red] == pytest.approx(1 / own_red.std())
    fills = [found.names.index(name) for name in ("solid", "hollow", "striped", "dotted")]
    assert np.abs(found.value[0, 0, fills]).max() == 0
    assert found.value[0, 0, found.names.index("blue")] == pytest.approx(-1 / 7 / own_red.std())
    assert np.isnan(found.value[0, 1]).all()
    np.testing.assert_allclose(found.pairs.mean(0)[0, 0], found.value[0, 0])
    reordered = found.of(["fill area", "red"])
    assert np.isnan(reordered[..., 0]).all()
    np.testing.assert_array_equal(reordered[..., 1], found.pairs[..., red])


def test_a_planted_neuron_is_moved_by_red_and_not_by_fills():
    """Patches of four pixels lie wholly on the band of no outline, so that a red neuron's maximum
    depends on how much paint a patch holds; what that moves is small beside the colour."""
    target = red_network(patch=2)
    found = sensitivity(target, DATASET, range(12))
    own = dict(zip(found.names, found.value[0, 0], strict=True))
    assert own["red"] > 0.8 and own["object"] > 0.2
    assert max(abs(own[name]) for name in ("solid", "hollow", "striped", "dotted")) < 0.15
    assert own["green"] < 0 and dict(zip(found.names, found.value[0, 1], strict=True))["green"] > .8
    flat = families(DATASET, range(12)).flatten(0, 1)
    scores = neurons_read(target, flat, everywhere=True)[0][:, 1:].amax(1).reshape(12, -1, 4)
    reds = [place for place, change in enumerate(CHANGES) if change == {"colour": "red"}]
    others = [place for place, change in enumerate(CHANGES) if "colour" in change
              and change["colour"] != "red"]
    gap = scores[:, reds, 0].mean(1) - scores[:, others, 0].mean(1)
    assert own["red"] == pytest.approx(float(gap.mean() / scores[:, 0, 0].std(correction=0)))


def test_what_cannot_be_drawn_again_is_refused():
    target = red_network()
    for why, arguments in (("cannot be drawn again", ({"name": "digits"}, [0, 1])),
                           ("at least two", (DATASET, [0])),
                           ("of part 'test'", (DATASET, [0, 1], "max", "test")),
                           ("unknown reduction", (DATASET, [0, 1], "sum"))):
        with pytest.raises(ValueError, match=why) as error:
            sensitivity(target, *arguments)
        assert "accepted" in str(error.value)


# --- labels by CLIP ---


class Towers(torch.nn.Module):
    """Stands for a CLIP model: an image's mean colour, and a text's colour word."""

    def encode_image(self, images):
        return images.mean((2, 3))

    def encode_text(self, tokens):
        return torch.eye(3)[tokens]


def test_labels_by_similarities_of_a_planted_model():
    words = ("red", "green", "blue")
    images = torch.eye(3)[torch.arange(30) % 3][:, :, None, None].expand(30, 3, 8, 8)
    similarity = clip_similarity(Towers(), lambda texts: torch.tensor(
        [words.index(text) for text in texts]), images, words)
    np.testing.assert_allclose(similarity, np.eye(3)[np.arange(30) % 3], atol=1e-6)
    rng = np.random.default_rng(0)
    scores = rng.random((1, 6, 30))
    scores[0, 2] += np.arange(30) % 3 == 1
    labeler = by_clip(words, similarity, scores)
    assert labeler.label(exemplar_of(scores[0, 2], 0, 2)).text == "green"
    for wrong in ((), ("red",), ("red", " ")):
        with pytest.raises(ValueError, match="at least two texts"):
            clip_similarity(Towers(), None, images, wrong)
    with pytest.raises(ValueError, match="no towers"):
        clip_similarity(torch.nn.Identity(), None, images, words)


def test_labels_by_a_tiny_open_clip_model():
    open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed: labels by a "
                                                        "model of its own are NOT tested")
    torch.manual_seed(0)
    model = open_clip.CLIP(
        embed_dim=8, vision_cfg=open_clip.CLIPVisionCfg(layers=1, width=64, image_size=32,
                                                        patch_size=8),
        text_cfg=open_clip.CLIPTextCfg(layers=1, width=64, heads=2)).eval()
    images = torch.randn(12, 3, 32, 32)
    texts = ("a red circle", "a striped star", "nothing")
    similarity = clip_similarity(model, open_clip.get_tokenizer("ViT-B-32"), images, texts)
    assert similarity.shape == (12, 3) and np.abs(similarity).max() <= 1 + 1e-6
    target, pictures, _ = small(12)
    found = find_exemplars(target, pictures, 5, reduction="token")
    assert by_clip(texts, similarity, found.scores).label(found.of(0, 0)).text in texts


def test_open_clip_that_is_not_there(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "open_clip", None)
    with pytest.raises(ValueError) as error:
        load_clip("ViT-B-32")
    assert str(error.value) == MISSING and "accepted" in MISSING
    assert isinstance(small(2)[0], npc.TargetModel)
