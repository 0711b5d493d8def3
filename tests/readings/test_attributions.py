"""Maps to compare with: each against the published numbers, a loop by hand, or what it must sum to."""

import numpy as np
import pytest
import torch

from neuronpath_core.readings.attention_maps import attention, attention_maps
from neuronpath_core.readings.attributions import (
    chefer,
    last_attention,
    of_pixels,
    patch_sums,
    rollout,
)
from tests.helpers import network, small_vit
from tests.readings.spaces import SPACES, space


@pytest.mark.parametrize("name", SPACES)
def test_the_published_rule_of_chefer(name):
    target, images, labels, expected, _ = space(name)
    np.testing.assert_allclose(chefer(target, images, labels).numpy(), expected["chefer"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["cls-registers-prenorm", "avg", "avg-registers"])
def test_chefer_by_loops(name):
    """Image by image, head by head, entry by entry; derivatives by central differences."""
    target, images, labels = network(name, 5, batch=1)
    with attention(target) as kept, torch.no_grad():
        target(images)
    size, first, step = kept[0][0].shape[-1], target.family.prefix_tokens(target.model), 1e-5
    found = np.eye(size)
    for block in range(target.n_blocks):
        weights = kept[block][0][0].numpy()
        cam = np.zeros((size, size))
        for head in range(2):
            for row in range(size):
                for column in range(size):
                    logits = []
                    for sign in (1, -1):
                        nudge = torch.zeros(1, 2, size, size, dtype=torch.float64)
                        nudge[0, head, row, column] = sign * step
                        with torch.no_grad(), attention(target, lambda index, own, nudge=nudge, block=block: (
                                own + nudge if index == block else own)):
                            logits.append(target(images)[0, labels[0]].item())
                    slope = (logits[0] - logits[1]) / (2 * step)
                    cam[row, column] += max(slope * weights[head, row, column], 0) / 2
        found = found + cam @ found
    rows = found[:1] if name.startswith("cls") else found[first:]
    # central differences of a smooth function: step squared, and rounding over the step
    np.testing.assert_allclose(chefer(target, images, labels)[0].numpy(), rows.mean(0)[first:], rtol=1e-4, atol=1e-8)


def test_rollout_by_hand_and_its_mass():
    target, images, _ = network("cls-registers-prenorm", 5, batch=3)
    maps = attention_maps(target, images).numpy()
    for image in range(3):
        mixed = np.eye(7)
        for block in range(3):
            own = sum(maps[block, image, head] for head in range(2)) / 2 + np.eye(7)
            mixed = own / own.sum(1, keepdims=True) @ mixed
        np.testing.assert_allclose(rollout(target, images)[image].numpy(), mixed[0, 3:], rtol=0, atol=1e-14)
        assert 0 < mixed[0, 3:].sum() < 1
        np.testing.assert_allclose(last_attention(target, images)[image].numpy(),
                                   (maps[2, image, 0, 0, 3:] + maps[2, image, 1, 0, 3:]) / 2, rtol=0, atol=1e-15)


def test_a_pooling_model_is_read_at_all_its_patches():
    target, images, _ = network("avg-without-class-token", 5, batch=2)
    maps = attention_maps(target, images)
    torch.testing.assert_close(last_attention(target, images), maps[-1].mean((1, 2)), rtol=0, atol=1e-15)
    torch.testing.assert_close(rollout(target, images).sum(1), torch.ones(2).double(), rtol=0, atol=1e-14)


def test_maps_of_pixels_are_what_they_must_be():
    pytest.importorskip("captum")
    target, images, labels = network("cls", 5, batch=3)
    given = images.clone().requires_grad_()
    slope, = torch.autograd.grad(target(given).gather(1, labels[:, None]).sum(), given)
    by_hand = torch.stack([(slope * images)[:, :, row:row + 4, column:column + 4].sum((1, 2, 3))
                           for row in (0, 4) for column in (0, 4)], 1)
    torch.testing.assert_close(of_pixels(target, images, labels), by_hand, rtol=0, atol=1e-12)
    own = of_pixels(target, images, labels, "integrated_gradients", steps=60)
    with torch.no_grad():
        risen = (target(images) - target(torch.zeros_like(images))).gather(1, labels[:, None])[:, 0]
    # captum's nodes are in single precision; the rest is the rule's own error on a smooth path
    torch.testing.assert_close(own.sum(1), risen, rtol=0, atol=1e-4)
    assert (own - by_hand).abs().max() > 1e-2
    with pytest.raises(ValueError, match="unknown method 'saliency'; accepted"):
        of_pixels(target, images, labels, "saliency")


def test_patches_are_summed_row_by_row():
    target = network("cls", 5)[0]
    pixels = torch.arange(2 * 3 * 64, dtype=torch.float64).view(2, 3, 8, 8)
    wanted = [[sum(pixels[image, channel, 4 * row + down, 4 * column + across].item() for channel in range(3)
                   for down in range(4) for across in range(4)) for row in range(2) for column in range(2)]
              for image in range(2)]
    assert patch_sums(target, pixels).tolist() == wanted


@pytest.mark.parametrize("method", [rollout, last_attention, lambda target, images: chefer(
    target, images, torch.zeros(len(images), dtype=torch.int64))])
def test_bad_input_is_refused_and_the_model_left_as_it_was(method):
    target, images, _ = network("cls", 5)
    with pytest.raises(ValueError, match="images must be"):
        method(target, images[:, :2])
    before = target(images)
    found = method(target, images)
    assert not found.requires_grad and torch.equal(target(images), before)
    assert all(parameter.grad is None for parameter in target.model.parameters())
    from neuronpath_core.target import TargetModel
    single = TargetModel(small_vit(5).float())
    again = method(single, images.float())
    assert again.dtype == torch.float32
    torch.testing.assert_close(again.double(), method(TargetModel(small_vit(5)), images), rtol=1e-3, atol=1e-4)
