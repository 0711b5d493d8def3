"""Relevance maps in class space: the published numbers, closed form against autograd, directional
derivatives, and what is refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import neuronpath_core as npc
from neuronpath_core.readings.attention_maps import attention, attention_maps
from neuronpath_core.readings.relevance import CHOICES, relevance
from tests.helpers import blank_vit, network, small_vit
from tests.readings.spaces import SPACES, space

NETWORKS = ("cls", "cls-unfused", "cls-layerscale-qknorm", "cls-registers-prenorm", "avg",
            "avg-without-class-token", "avg-registers")


@pytest.mark.parametrize("name", SPACES)
def test_the_published_maps(name):
    target, images, labels, expected, _ = space(name)
    for form in ("closed", "autograd"):
        own = relevance(target, images, labels, reduce="head", loss="published", form=form)
        np.testing.assert_allclose(own.numpy(), expected["relevance"], rtol=0, atol=1e-9)
        logit = relevance(target, images, labels, reduce="head", loss="logit", form=form)
        np.testing.assert_allclose(logit.numpy(), expected["relevance_logit"], rtol=0, atol=1e-9)
    found = relevance(target, images, labels, loss="published")
    np.testing.assert_allclose(found.numpy(), expected["relevance_global"], rtol=0, atol=1e-9)
    # one softmax is another map, by more than the tolerance
    assert (relevance(target, images, labels) - found).abs().max() > 1e-2


@pytest.mark.each_value
@pytest.mark.parametrize("of", CHOICES["of"])
@pytest.mark.parametrize(("loss", "terms"), [
    *((loss, "derivative") for loss in CHOICES["loss"]), ("corrected", "contribution"), ("corrected", "positive")])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_closed_form_is_the_gradient(name, of, loss, terms):
    target, images, labels = network(name, 5, batch=3)
    chosen = {"of": of, "loss": loss, "terms": terms, "reduce": "head"}
    closed = relevance(target, images, labels, **chosen, form="closed")
    twin = relevance(target, images, labels, **chosen, form="autograd")
    # the same sums in another order, in double precision
    torch.testing.assert_close(closed, twin, rtol=0, atol=1e-10)
    assert closed.shape == (3, 3, 2, 4) and closed.abs().max() > 1e-3
    assert torch.equal(relevance(target, images, labels, **chosen), closed)


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_maps_are_the_directional_derivative(name):
    """Weights of one block moved a little along a direction change the loss by the map's inner
    product with it; what the loss is of is computed here with the model's modules alone."""
    target, images, labels = network(name, 5, batch=1)
    model, step = target.model, 1e-5
    rows = relevance(target, images, labels, reduce="head", of="block")
    direction = torch.zeros(1, 2, 5, 5, dtype=torch.float64)
    direction[..., 1:] = torch.randn(1, 2, 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for block in range(3):
        losses = []
        for sign in (1, -1):
            with torch.no_grad(), attention(target, lambda index, weights, block=block, sign=sign: weights + (
                    sign * step * direction if index == block else 0)):
                stream = target.embed(images)
                for index in range(block + 1):
                    stream = model.blocks[index](stream)
            logits = model.head(model.norm(stream)[:, 0] if name == "cls" else model.fc_norm(stream[:, 1:].mean(1)))
            losses.append(-F.cross_entropy(logits, labels))
        slope = (losses[0] - losses[1]) / (2 * step)
        own = (rows[0, block] * direction[0, :, 0, 1:]).sum()
        # a central difference: the error is of the order of step squared
        torch.testing.assert_close(own, slope, rtol=1e-6, atol=1e-9)


def test_contributions_are_derivatives_times_attention():
    target, images, labels = network("cls", 5, batch=3)
    derivative, contribution, positive = (relevance(target, images, labels, reduce="head", terms=each)
                                          for each in CHOICES["terms"])
    row = attention_maps(target, images)[:, :, :, 0, 1:].transpose(0, 1)
    torch.testing.assert_close(contribution, derivative * row, rtol=0, atol=1e-14)
    torch.testing.assert_close(positive, contribution.clamp(min=0), rtol=0, atol=0)
    assert 0 < (positive == 0).double().mean() < 1
    # of a model that pools, by the graph's own entries for each token that looks
    target, images, labels = network("avg", 5, batch=3)
    contribution = relevance(target, images, labels, reduce="head", terms="contribution")
    with torch.no_grad():
        stream = target.embed(images)
    block = target.model.blocks[0]
    with torch.enable_grad(), attention(target, lambda _, weights: weights.detach().requires_grad_()) as kept:
        logits = target.model.head(target.model.fc_norm(block.attn(block.norm1(stream))[:, 1:].mean(1)))
        slope, = torch.autograd.grad(-F.cross_entropy(logits, labels, reduction="sum"), kept[0][0])
    wanted = sum(slope[:, :, token, 1:] * kept[0][0][:, :, token, 1:] for token in range(5)).detach()
    torch.testing.assert_close(contribution[:, 0], wanted, rtol=0, atol=1e-13)


def test_reductions_are_sums():
    target, images, labels = network("cls", 5, batch=3)
    head, block, whole = (relevance(target, images, labels, reduce=each) for each in CHOICES["reduce"])
    torch.testing.assert_close(head.sum(2), block, rtol=0, atol=1e-14)
    torch.testing.assert_close(block.sum(1), whole, rtol=0, atol=1e-14)


def test_a_batch_is_its_images_one_by_one_in_either_precision(monkeypatch):
    target, images, labels = network("cls", 5, batch=5)
    every = relevance(target, images, labels)
    for image in range(5):
        one = slice(image, image + 1)
        torch.testing.assert_close(relevance(target, images[one], labels[one])[0], every[image], rtol=0, atol=1e-13)
    single = npc.TargetModel(small_vit(5).float())
    found = relevance(single, images.float(), labels)
    assert found.dtype == torch.float32 and not found.requires_grad
    torch.testing.assert_close(found.double(), every, rtol=1e-3, atol=1e-4)
    monkeypatch.setattr("neuronpath_core.readings.relevance.images_at_once", lambda *_: 2)
    torch.testing.assert_close(relevance(target, images, labels), every, rtol=0, atol=1e-13)


def test_the_patch_whose_value_writes_the_class_is_the_relevant_one():
    """By hand: one block, uniform attention, values are the tokens, the head reads channel 0 as class
    0 and channel 1 as class 1; token 2 shows class 0, token 3 class 1, the others nothing."""
    model = blank_vit("cls", depth=1, num_classes=2, num_heads=1)
    attn = model.blocks[0].attn
    with torch.no_grad():
        attn.qkv.weight[32:] = torch.eye(16)
        attn.proj.weight.copy_(torch.eye(16))
        model.pos_embed[0, 2, 0] = 1.0
        model.pos_embed[0, 3, 1] = 1.0
        model.head.weight[:, :2] = torch.eye(2)
    target = npc.TargetModel(model)
    images = torch.zeros(2, 3, 8, 8, dtype=torch.float64)
    found = relevance(target, images, torch.tensor([0, 1]))
    # logits are (1/5, 1/5): the cross-entropy's slope is 1/2 towards the label, -1/2 away from it
    wanted = torch.tensor([[0, 0.5, -0.5, 0], [0, -0.5, 0.5, 0]], dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-15)
    # a second softmax: probabilities are (1/2, 1/2) again, times their slope of 1/4 + 1/4
    twice = relevance(target, images, torch.tensor([0, 1]), loss="published")
    torch.testing.assert_close(twice, wanted / 2, rtol=0, atol=1e-15)
    logit = relevance(target, images, torch.tensor([0, 1]), loss="logit")
    torch.testing.assert_close(logit, torch.tensor([[0, 1, 0, 0], [0, 0, 1, 0]]).double(), rtol=0, atol=1e-15)


@pytest.mark.parametrize(("chosen", "message"), [
    ({"of": "ffn"}, "unknown of 'ffn'; accepted: attention, block"),
    ({"loss": "hinge"}, "unknown loss 'hinge'; accepted: corrected, published, logit"),
    ({"terms": "negative"}, "unknown terms 'negative'; accepted: derivative, contribution, positive"),
    ({"reduce": "token"}, "unknown reduce 'token'; accepted: head, block, global"),
    ({"form": None}, "unknown form None; accepted: auto, closed, autograd"),
])
def test_unknown_choices_are_refused(chosen, message):
    target, images, labels = network("cls", 5)
    with pytest.raises(ValueError, match=message):
        relevance(target, images, labels, **chosen)


def test_models_that_cannot_be_read_are_refused():
    target, images, labels = network("patch-attention-pool", 5)
    with pytest.raises(ValueError, match="no linear function of a normed token; accepted"):
        relevance(target, images, labels)
    target, images, labels = network("cls", 5)
    with pytest.raises(ValueError, match="labels must lie in 0..4"):
        relevance(target, images, labels + 5)
    target.model.blocks[1].forward = lambda stream, inner=target.model.blocks[1].forward: inner(stream)[:, :, :]
    relevance(target, images, labels)  # a method of its own that changes nothing
    target.model.pos_drop.forward = lambda stream: 2 * stream
    target.model.forward = lambda images, inner=target.model.forward: 2 * inner(images)
    with pytest.raises(ValueError, match="not its blocks put together: .*accepted here"):
        relevance(target, images, labels)


def test_blocks_that_are_not_written_out_are_differentiated():
    model = small_vit(5, scale_attn_norm=True)
    target, images, labels = npc.TargetModel(model), *network("cls", 5)[1:]
    assert target.plain(0) is None
    found = relevance(target, images, labels)
    with pytest.raises(ValueError, match="accepted here: form='autograd'"):
        relevance(target, images, labels, form="closed")
    torch.testing.assert_close(found, relevance(target, images, labels, form="autograd"), rtol=0, atol=0)
