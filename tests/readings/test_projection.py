"""Projection to classes, identifiability and the ledger: published numbers, closed forms, slow
twins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import neuronpath_core as npc
from neuronpath_core.readings.ledger import ledger
from neuronpath_core.readings.projection import (
    effective_rows,
    head_rows,
    of_ranks,
    project_vectors,
    ranks,
)
from neuronpath_core.readings.streams import read_streams
from neuronpath_core.support.memory import copy_bytes, memory_limit
from tests import helpers
from tests.readings.spaces import SPACES, space

LINEAR = sorted(set(helpers.NETWORKS) - {"patch-attention-pool"})
HALVES = (("block", ""), ("attention", "_attn"), ("ffn", "_mlp"))


@pytest.mark.each_value
@pytest.mark.parametrize(("at", "suffix"), HALVES)
@pytest.mark.parametrize("name", SPACES)
def test_identifiability_and_logits_are_the_published_ones(name, at, suffix):
    target, images, labels, expected, _ = space(name)
    found = npc.identifiability(target, images, labels, at=at)
    np.testing.assert_allclose(found, expected[f"identifiability{suffix}"], rtol=0, atol=1e-9)
    for block in (0, target.n_blocks - 1):
        one = npc.identifiability(target, images, labels, block, at)
        assert torch.equal(one, found[block])
        logits = npc.project(target, images, block, at)
        own = logits.gather(2, labels[:, None, None].expand(-1, logits.shape[1], 1))[..., 0]
        np.testing.assert_allclose(own, expected[f"class_logit{suffix}"][block], rtol=0, atol=1e-9)
        assert np.array_equal(logits.argmax(-1), expected[f"top1{suffix}"][block])


def python_rank(row: list[float], label: int) -> float:
    """By sorting: the mean place of all that equal the label's number."""
    places = [place for place, value in enumerate(sorted(row, reverse=True)) if value == row[label]]
    return sum(places) / len(places)


def test_ranks_are_those_of_a_sorted_list_also_with_ties():
    rng = np.random.default_rng(3)
    logits = rng.integers(0, 4, (3, 20, 6)).astype(float)  # so few values that most rows tie
    labels = torch.from_numpy(rng.integers(0, 6, 3))
    found = ranks(torch.from_numpy(logits), labels[:, None])
    slow = [[python_rank(list(row), int(label)) for row in own]
            for own, label in zip(logits, labels, strict=True)]
    assert found.tolist() == slow
    assert any(value % 1 for row in slow for value in row)
    # first together with another is not first
    assert ranks(torch.tensor([[2.0, 2.0, 1.0]]), torch.tensor([0])).tolist() == [0.5]


def test_identifiability_of_hand_set_ranks_and_of_a_random_order():
    assert of_ranks(torch.tensor([0.0, 1, 3]), 4).tolist() == [1, 0.75, 0.25]
    assert of_ranks(torch.tensor([0.0, 1, 3]), 4, "full").tolist() == pytest.approx([1, 2 / 3, 0])
    classes, count = 24, 40_000
    logits = torch.from_numpy(np.random.default_rng(0).random((count, classes)))
    drawn = of_ranks(ranks(logits, torch.zeros(count, dtype=torch.int64)), classes)
    error = drawn.std().item() / count ** 0.5
    assert abs(drawn.mean().item() - (0.5 + 1 / (2 * classes))) < 3 * error
    assert abs(drawn.mean().item() - 0.5) > 10 * error  # the level that published figures draw


def test_a_perfect_predictor_identifies_and_a_positive_factor_of_the_head_changes_no_rank():
    target, images, _ = helpers.network("cls", 5, batch=4)
    predicted = target(images).argmax(-1)
    assert (npc.identifiability(target, images, predicted, 2)[:, 0] == 1).all()
    before = npc.identifiability(target, images, predicted)
    assert not torch.equal(before[0], before[2])
    with torch.no_grad():
        target.model.head.weight.mul_(7), target.model.head.bias.mul_(7)
    assert torch.equal(npc.identifiability(target, images, predicted), before)


def test_the_four_projections_of_a_vector_by_hand():
    target, _, _ = helpers.network("cls", 5)
    norm, head = target.model.norm, target.model.head
    vector = torch.from_numpy(np.random.default_rng(1).standard_normal(16))
    centred = vector - vector.mean()
    norm.requires_grad_(False), head.requires_grad_(False)
    normed = centred / (vector.var(unbiased=False) + norm.eps).sqrt() * norm.weight + norm.bias
    by_hand = {
        "normed": [float(row @ normed + bias) for row, bias in
                   zip(head.weight, head.bias, strict=True)],
        "raw": [float(row @ vector) for row in head.weight],
        "unit": [float(row @ vector / row.norm() / vector.norm()) for row in head.weight],
        "effective": [float((row * norm.weight) @ centred) for row in head.weight]}
    for name, wanted in by_hand.items():
        found = project_vectors(target, vector, name)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
        batch = project_vectors(target, vector.expand(2, 3, 16), name)
        assert batch.shape == (2, 3, 5)
    assert project_vectors(target, torch.zeros(16).double(), "unit").tolist() == [0] * 5


@pytest.mark.parametrize("name", LINEAR)
def test_the_ledger_adds_up_to_the_logits(name):
    target, images, _ = helpers.network(name, 5, batch=3)
    found = ledger(target, images)
    torch.testing.assert_close(found.logits(), target(images), rtol=0, atol=1e-10)
    halves = sum(found.half(half).sum((0, 2)) for half in ("attention", "ffn"))
    whole = found.constant + found.embedding().sum(1) + halves
    torch.testing.assert_close(whole, target(images), rtol=0, atol=1e-10)
    with memory_limit(target, copy_bytes(target)):
        torch.testing.assert_close(ledger(target, images).parts, found.parts, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["cls", "avg", "avg-registers"])
def test_a_part_of_the_ledger_is_what_its_absence_takes_with_the_deviation_frozen(name):
    """By the norm's formula, written out for one image: the part is subtracted before the norm,
    whose σ stays."""
    target, images, _ = helpers.network(name, 6, batch=1)
    model, streams, found = target.model, read_streams(target, images), ledger(target, images)
    last = streams.blocks[-1][0, found.tokens]
    without = last - streams.ffn[1][0, found.tokens]
    norm = model.norm if isinstance(model.norm, nn.LayerNorm) else model.fc_norm

    def logits(tokens, deviation_of):
        if norm is model.fc_norm and name != "cls":
            tokens, deviation_of = tokens.mean(0, keepdim=True), deviation_of.mean(0, keepdim=True)
        sigma = (deviation_of.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
        normed = (tokens - tokens.mean(-1, keepdim=True)) / sigma * norm.weight + norm.bias
        return model.head(normed.mean(0))

    lost = logits(last, last) - logits(without, last)
    torch.testing.assert_close(found.half("ffn")[1].sum((0, 1)), lost, rtol=0, atol=1e-12)
    assert lost.abs().max() > 1e-3


def test_without_a_norm_the_ledger_is_the_head_itself():
    model = helpers.blank_vit("cls")
    rng = np.random.default_rng(2)
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(rng.standard_normal((5, 16))))
        model.pos_embed.copy_(torch.from_numpy(rng.standard_normal(model.pos_embed.shape)))
    target, (images, _) = npc.TargetModel(model), helpers.small_batch()
    found = ledger(target, images)
    assert torch.equal(effective_rows(target), model.head.weight)
    torch.testing.assert_close(found.parts[:, 0, 0], target(images), rtol=0, atol=1e-12)
    assert not found.parts[:, 1:].any()


def refused(model: nn.Module) -> pytest.RaisesExc:
    with pytest.raises(ValueError, match="accepted:") as told:
        head_rows(npc.TargetModel(model))
    return told


def test_heads_that_are_not_linear_in_a_normed_token_are_refused():
    told = refused(helpers.small_vit(global_pool="map", class_token=False))
    assert "pooled by 'map'" in str(told.value)
    two = helpers.fill(VisionTransformerDistilled(**helpers.SIZES), 1)
    assert "two heads" in str(refused(two).value)
    tower = helpers.small_vit()
    texts = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 5)))
    with npc.zero_shot(tower, texts):
        assert "prototypes" in str(refused(tower).value)


def test_other_bad_input_is_refused_in_a_line():
    target, images, labels = helpers.network("cls", 5)
    vectors = torch.zeros(2, 16, dtype=torch.float64)
    for call, words in (
            (lambda: project_vectors(target, vectors, "cosine"), "normed, raw, unit, effective"),
            (lambda: project_vectors(target, vectors[:, :3]), r"\(\.\.\., 16\)"),
            (lambda: project_vectors(target, vectors.float()), "float64"),
            (lambda: npc.project(target, images, 3), r"0\.\.2"),
            (lambda: npc.project(target, images, True), r"0\.\.2"),
            (lambda: npc.project(target, images, 0, at="mlp"), "block, attention, ffn"),
            (lambda: npc.identifiability(target, images, labels, scale="raw"), "published, full"),
            (lambda: npc.identifiability(target, images, labels + 5), r"0\.\.4"),
            (lambda: npc.identifiability(target, images, labels[:1]), r"\(2,\)"),
            (lambda: ledger(target, images).half("block"), "attention, ffn")):
        with pytest.raises(ValueError, match=words):
            call()
    one = npc.TargetModel(helpers.small_vit(num_classes=1))
    with pytest.raises(ValueError, match="two classes"):
        npc.identifiability(one, images, torch.zeros(2, dtype=torch.int64))


def test_two_norms_are_refused_where_the_formula_needs_one():
    model = helpers.small_vit()
    model.fc_norm = nn.LayerNorm(16).double()
    with pytest.raises(ValueError, match="one LayerNorm"):
        effective_rows(npc.TargetModel(model))
    assert isinstance(model, VisionTransformer)
