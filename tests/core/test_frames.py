"""Paths as tables, against loops over their rows and slow twins of their activations and slopes."""

import numpy as np
import pandas as pd
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core import frames
from neuronpath_core.paths import Paths
from neuronpath_core.support import memory
from tests import helpers, twins


@pytest.mark.parametrize("top", [None, 1, 3])
def test_a_table_has_a_row_for_each_image_block_and_rank(top):
    _, _, _, paths = helpers.drawn_paths(top=top)
    frame = paths.to_frame()
    ranked = paths.neurons.reshape(3, 3, -1)
    expected = [(image, block + 1, rank + 1, int(ranked[image, block, rank]), float(paths.score[image]))
                for image in range(3) for block in range(3) for rank in range(ranked.shape[2])]
    assert list(frame.columns) == ["image", "block", "rank", "neuron", "score"]
    assert list(frame.itertuples(index=False, name=None)) == expected


def test_images_are_called_what_they_are_called():
    _, _, _, paths = helpers.drawn_paths()
    assert paths.to_frame(ids=["b", "a", "c"])["image"].tolist() == ["b"] * 3 + ["a"] * 3 + ["c"] * 3
    assert paths.to_frame(ids=[7, 5, 9])["image"].tolist() == [7] * 3 + [5] * 3 + [9] * 3


@pytest.mark.each_value
@pytest.mark.parametrize("top", [None, 2])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_activation_and_attribution_are_those_of_slow_twins(name, top):
    arguments, scope = helpers.NETWORKS[name]
    model = helpers.small_vit(3, **arguments)
    target, (images, labels) = npc.TargetModel(model, scope=scope), helpers.small_batch(3, 4)
    depth = len(model.blocks)
    draws = torch.rand(3, depth, 16, generator=torch.Generator().manual_seed(5)).argsort(-1)
    paths = Paths(draws[..., 0] if top is None else draws[..., :top], torch.zeros(3), torch.ones(3))
    frame = paths.to_frame(target, images, labels)
    for image in range(3):
        clean = twins.clean_activations(model, scope, images[image])
        slopes = twins.gradient_activation(model, scope, images[image], int(labels[image]))
        for row in frame[frame["image"] == image].to_dict("records"):
            block, neuron = row["block"] - 1, row["neuron"]
            assert row["activation"] == pytest.approx(clean[block][:, neuron].mean().item(), abs=1e-12)
            assert row["attribution"] == pytest.approx(float(slopes[block][neuron]), abs=1e-12)
    assert frame["attribution"].abs().max() > 1e-6  # otherwise zeros would pass


def test_attribution_is_positive_where_removal_costs_probability():
    """On the planted network, where every planted neuron supports its label."""
    target = npc.TargetModel(helpers.planted_vit("cls"), scope="cls")
    images, _ = helpers.small_batch(2, 4)
    labels = torch.full((2,), helpers.PLANTED_LABEL)
    paths = Paths(torch.tensor([helpers.PLANTED] * 2), torch.zeros(2), torch.ones(2))
    frame = paths.to_frame(target, images, labels)
    with torch.no_grad():
        clean = target(images).softmax(-1)[:, helpers.PLANTED_LABEL]
        with npc.edit(target, paths.neurons):
            removed = target(images).softmax(-1)[:, helpers.PLANTED_LABEL]
    assert (removed < clean).all() and (frame["attribution"] > 0).all()


def test_a_table_is_that_of_its_images_one_by_one_in_whatever_memory():
    target, images, labels, paths = helpers.drawn_paths("avg", batch=5)
    together = paths.to_frame(target, images, labels)
    with memory.memory_limit(target, memory.copy_bytes(target)):
        sizes, handle = helpers.watch_batches(target.model)
        pd.testing.assert_frame_equal(paths.to_frame(target, images, labels), together, rtol=0, atol=1e-13)
        handle.remove()
    assert set(sizes) == {1} and len(sizes) == 10  # a forward for each of the two columns
    for image in range(5):
        alone = Paths(paths.neurons[image:image + 1], paths.score[image:image + 1],
                      paths.steps[image:image + 1]).to_frame(
            target, images[image:image + 1], labels[image:image + 1], ids=[image])
        own = together[together["image"] == image].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, own, rtol=0, atol=1e-13)


def test_a_model_that_is_not_its_blocks_is_measured_as_it_is_called():
    """A hook doubles its logits, which nothing in its blocks shows, and with them every slope."""
    model = helpers.small_vit(3)
    model.register_forward_hook(lambda _module, _inputs, logits: 2 * logits)
    target, (images, labels) = npc.TargetModel(model, scope="cls"), helpers.small_batch(2, 4)
    paths = Paths(torch.tensor([[1, 2, 3]] * 2), torch.zeros(2), torch.ones(2))
    frame = paths.to_frame(target, images, labels)
    assert target.differs is not None
    plain = paths.to_frame(npc.TargetModel(helpers.small_vit(3), scope="cls"), images, labels)
    for image in range(2):
        slopes = twins.gradient_activation(model, "cls", images[image], int(labels[image]))
        own = frame[frame["image"] == image]["attribution"]
        np.testing.assert_allclose(own, slopes[range(3), [1, 2, 3]], rtol=0, atol=1e-12)
    assert not np.allclose(frame["attribution"], plain["attribution"], rtol=1e-3)  # the control


def test_single_precision_and_attention_heads():
    target, images, labels, paths = helpers.drawn_paths(dtype=torch.float32)
    wide, wide_images = npc.TargetModel(helpers.small_vit(3), scope="cls"), images.double()
    narrow = paths.to_frame(target, images, labels)
    double = paths.to_frame(wide, wide_images, labels)
    np.testing.assert_allclose(narrow["attribution"], double["attribution"], rtol=0, atol=1e-5)
    heads = npc.SiteModel(helpers.small_vit(3), "cls", sites="heads")
    units = Paths(torch.tensor([[0, 1, 1]]), torch.zeros(1), torch.ones(1))
    frame = units.to_frame(heads, wide_images[:1], labels[:1])
    norms = npc.read_activations(heads, wide_images[:1])[0, range(3), 0, [0, 1, 1]]
    np.testing.assert_allclose(frame["activation"], norms.numpy(), rtol=0, atol=1e-13)


def test_what_a_table_refuses():
    target, images, labels, paths = helpers.drawn_paths()
    helpers.refused(lambda: paths.to_frame(target, images), "accepted: target, images and labels")
    helpers.refused(lambda: paths.to_frame(target, images, labels[:2]), "labels must be")
    helpers.refused(lambda: paths.to_frame(target, images[:2], labels[:2]), "paths of 3 images")
    helpers.refused(lambda: paths.to_frame("model", images, labels), "a TargetModel is needed")
    helpers.refused(lambda: paths.to_frame(ids=[1, 2]), "one for each path")
    helpers.refused(lambda: frames.path_frame(paths.neurons, paths.score[:2]), "one for each path")
    for neurons in (paths.neurons.double(), paths.neurons[0], paths.neurons - 99, [[1, 2]],
                    paths.neurons[:0]):
        helpers.refused(lambda neurons=neurons: frames.path_frame(neurons, paths.score),
                        "neurons must be whole numbers")


@pytest.mark.parametrize("odd", helpers.ODD_NUMBERS, ids=str)
def test_tensors_without_values_are_no_neurons(odd):
    for score in (torch.zeros(2), helpers.ODD_NUMBERS["on the meta device"]()):
        helpers.refused(lambda score=score: frames.path_frame(helpers.ODD_NUMBERS[odd](), score),
                        "neurons must be whole numbers", odd)
    helpers.refused(lambda: frames.path_frame(torch.ones(2, 2, dtype=torch.int64), helpers.ODD_NUMBERS[odd]()), "score")
