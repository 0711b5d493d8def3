"""Cuts: the published numbers, and other ways to compute the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.readings.class_space import read_classes
from neuronpath_core.readings.grids import grid_of
from neuronpath_core.readings.projection import project_vectors, ranks
from neuronpath_core.readings.token_cuts import (
    _run,
    cut_attention,
    cut_mask,
    drop_tokens,
    forbid,
)
from neuronpath_core.support.memory import copy_bytes, memory_limit
from tests import helpers
from tests.readings.spaces import SPACES, space

NAMES = ["cls", "cls-unfused", "cls-layerscale-qknorm", "cls-registers-prenorm", "avg",
         "avg-unfused-qknorm", "avg-without-class-token"]


@pytest.mark.each_value
@pytest.mark.parametrize("cut", ["self_only", "no_cls"])
@pytest.mark.parametrize("name", SPACES)
def test_published_cuts(name, cut):
    target, images, labels, expected, _ = space(name)
    found = cut_attention(target, images, labels, cut, "published")
    assert np.array_equal(found.rank, expected[f"{cut}_rank"])
    assert np.array_equal(found.predicted == labels, expected[f"{cut}_correct"])
    uncut = read_classes(target, images, labels).identified()[-1]
    rates = [100 * found.identified().double().mean().item(), 100 * uncut[:, 1:].mean()]
    np.testing.assert_allclose(rates, expected[f"{cut}_rate"], rtol=0, atol=1e-4)
    assert (found.rank.numpy() != read_classes(target, images, labels).rank[-1]).any()


@pytest.mark.parametrize(("kept", "key"), [(1, "no_context"), (0, "no_class_label")])
@pytest.mark.parametrize("name", SPACES)
def test_published_context_cuts(name, kept, key):
    target, images, labels, expected, _ = space(name)
    keep = torch.from_numpy(expected["token_mask"].reshape(len(images), -1) == kept)
    found = drop_tokens(target, images, labels, keep)
    assert np.array_equal(found.rank.nan_to_num(-1), expected[f"{key}_rank"])
    assert np.array_equal(found.predicted == labels, expected[f"{key}_correct"])
    # with the class token, an image at a time; uncut over the tokens of all images
    stays = ~found.rank.isnan()
    cut = torch.stack([found.identified()[i, stays[i]].double().mean()
                       for i in range(len(images))]).mean().item()
    uncut = read_classes(target, images, labels).identified()[-1, :, 1:][keep.numpy()].mean()
    np.testing.assert_allclose([100 * cut, 100 * uncut], expected[f"{key}_rate"], rtol=0,
                               atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_token_that_sees_itself_alone_is_a_model_of_one_token(name):
    target, images, labels = helpers.network(name, 5, batch=3)
    model, prefix = target.model, target.family.prefix_tokens(target.model)
    streams = _run(target, images, cut_mask("self_only", target.n_tokens, prefix), True,
                      set(range(3)))
    embedded = target.embed(images)
    for token in range(prefix, target.n_tokens):
        alone = embedded[:, token:token + 1]
        for block in model.blocks:
            alone = block(alone)
        torch.testing.assert_close(streams[:, token], alone[:, 0], rtol=0, atol=1e-12)
    whole = target.run(embedded, 0, 3)
    assert (streams[:, prefix:] - whole[:, prefix:]).abs().max() > 1e-3
    for variant in ("published", "corrected"):
        found = cut_attention(target, images, labels, "self_only", variant)
        assert torch.equal(found.rank, ranks(project_vectors(target, streams), labels[:, None]))


def looks_at(target, images, allowed):
    """How much the last stream of each token changes with the pixels of each patch, by the
    gradient: (token, patch)."""
    pixels, grid = images.clone().requires_grad_(), grid_of(target, images)
    stream = _run.__wrapped__(target, pixels, allowed, True, {0, 1, 2})
    direction = torch.randn(stream.shape[-1], dtype=stream.dtype,
                            generator=torch.Generator().manual_seed(0))
    found = []
    for query in range(target.n_tokens):
        change, = torch.autograd.grad((stream[:, query] @ direction).sum(), pixels,
                                      retain_graph=True)
        found.append(change.abs().amax((0, 1)).reshape(grid.rows, grid.height, grid.columns,
                                                       grid.width).amax((1, 3)).flatten())
    return torch.stack(found)


@pytest.mark.parametrize("name", NAMES)
def test_by_the_gradient_a_token_that_sees_itself_alone_depends_on_itself_alone(name):
    target, images, _ = helpers.network(name, 5, batch=2)
    tokens, prefix = target.n_tokens, target.family.prefix_tokens(target.model)
    seen = looks_at(target, images, cut_mask("self_only", tokens, prefix))
    own = torch.eye(tokens - prefix, dtype=torch.bool)
    assert (seen[prefix:][own] > 1e-6).all()
    assert (seen[prefix:][~own] == 0).all()  # not by way of the class token either
    assert (seen[:prefix] > 1e-6).all()  # whose own row stays
    assert (looks_at(target, images, torch.ones(tokens, tokens, dtype=torch.bool)) > 1e-6).all()


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"avg-without-class-token"}))
def test_a_forbidden_column_is_a_mask_before_the_softmax(name):
    """timm's own mask, true where attention is allowed."""
    target, images, labels = helpers.network(name, 5, batch=3)
    allowed = cut_mask("no_cls", target.n_tokens, target.family.prefix_tokens(target.model))
    stream = target.embed(images)
    with torch.no_grad():
        for block in target.model.blocks:
            stream = block(stream, attn_mask=allowed)
        found = _run(target, images, allowed, True, set(range(3)))
    torch.testing.assert_close(found, stream, rtol=0, atol=1e-12)
    assert torch.equal(cut_attention(target, images, labels, "no_cls").rank,
                       ranks(project_vectors(target, stream), labels[:, None]))
    zeroed = _run(target, images, allowed, False, set(range(3)))
    assert (zeroed - found).abs().max() > 1e-3  # not renormalised is another model


@pytest.mark.parametrize("name", NAMES)
def test_tokens_that_nobody_sees_are_tokens_that_are_not_there(name):
    target, images, labels = helpers.network(name, 6, batch=4)
    model, prefix = target.model, target.family.prefix_tokens(target.model)
    keep = torch.tensor([[True, False, True, True], [False, False, False, True],
                         [True, True, True, True], [True, False, False, True]])
    found = drop_tokens(target, images, labels, keep)
    for image in range(4):
        stream = target.embed(images[image:image + 1])
        there = torch.cat([torch.ones(prefix, dtype=torch.bool), keep[image]])
        stream = stream[:, there]
        with torch.no_grad():
            for block in model.blocks:
                stream = block(stream)
            logits = model.forward_head(model.norm(stream))
            rank = ranks(project_vectors(target, stream), labels[image])
        assert torch.equal(found.rank[image, there], rank[0])
        assert found.rank[image, ~there].isnan().all()
        assert found.predicted[image] == logits.argmax()
        seen = torch.zeros(1, 1, 1, target.n_tokens, dtype=torch.bool)
        seen[..., there] = True
        masked = _run(target, images[image:image + 1], seen, True, set(range(3)))
        torch.testing.assert_close(masked[:, there], stream, rtol=0, atol=1e-12)


def test_a_cut_of_nothing_changes_nothing_and_chunks_change_nothing():
    target, images, labels = helpers.network("cls", 5, batch=5)
    clean = read_classes(target, images, labels).rank[-1]
    every = torch.ones(5, 5, dtype=torch.bool)
    for renormalise in (True, False):
        assert np.array_equal(forbid(target, images, labels, every, renormalise).rank, clean)
    mask = cut_mask("self_only", 5, 1)
    assert np.array_equal(forbid(target, images, labels, mask, blocks=()).rank, clean)
    whole = forbid(target, images, labels, mask.expand(5, 5, 5))
    assert not np.array_equal(whole.rank, clean)
    with memory_limit(target, copy_bytes(target)):
        assert torch.equal(forbid(target, images, labels, mask).rank, whole.rank)


def test_written_leaves_a_token_less_than_all_of_itself():
    target, images, labels = helpers.network("cls", 5, batch=5)
    mask = cut_mask("self_only", 5, 1)
    written = _run(target, images, mask, False, {0, 1, 2})
    corrected = _run(target, images, mask, True, {0, 1, 2})
    assert (written - corrected)[:, 1:].abs().max() > 1e-3
    found = cut_attention(target, images, labels, "self_only", "written")
    assert torch.equal(found.rank, ranks(project_vectors(target, written), labels[:, None]))


def test_a_lonely_key_has_all_the_weight_however_little_the_softmax_left_it():
    model = helpers.small_vit()
    with torch.no_grad():
        for block in model.blocks:
            block.attn.qkv.weight[:32] *= 300  # of a weight of e^-1000 nothing is left
    target, (images, labels) = npc.TargetModel(model), helpers.small_batch()
    found = cut_attention(target, images, labels, "self_only")
    assert found.rank.isfinite().all()


def test_the_model_is_put_back_and_bad_input_is_refused():
    target, images, labels = helpers.network("cls", 5)
    before = [block.attn.attn_drop for block in target.model.blocks]
    clean = target(images)
    for call, words in (
            (lambda: cut_attention(target, images, labels, "all"), "self_only, no_cls"),
            (lambda: cut_attention(target, images, labels, "no_cls", "raw"), "written, corrected"),
            (lambda: forbid(target, images, labels, torch.ones(4, 4, dtype=torch.bool)),
             r"truth values \(5, 5\)"),
            (lambda: forbid(target, images, labels, torch.zeros(5, 5, dtype=torch.bool)),
             "at least one for each query"),
            (lambda: forbid(target, images, labels, torch.eye(5) > 0, blocks=[3]), r"0\.\.2"),
            (lambda: drop_tokens(target, images, labels, torch.zeros(2, 4, dtype=torch.bool)),
             "of 2 images no patch stays"),
            (lambda: drop_tokens(target, images, labels, torch.zeros(2, 5, dtype=torch.bool)),
             r"\(2, 4\), one a patch")):
        with pytest.raises(ValueError, match=words):
            call()
    assert [block.attn.attn_drop for block in target.model.blocks] == before
    assert torch.equal(target(images), clean)
    pooled, images, labels = helpers.network("avg-without-class-token", 5)
    with pytest.raises(ValueError, match="a model with one"):
        cut_attention(pooled, images, labels, "no_cls")
