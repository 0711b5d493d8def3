"""The kinds of networks that Vilas et al. read, each by its name in timm and small: every reading of
relevance runs on them, and the one whose blocks are of another kind is refused."""

import pytest
import timm
import torch

import neuronpath_core as npc
from neuronpath_core.readings.attributions import chefer
from neuronpath_core.readings.probes import fit_probes
from neuronpath_core.readings.removal import kept_counts, ranked, removal_curves
from neuronpath_core.readings.streams import read_streams

SMALL = {"embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}
# name -> image size: B/32, B/16, L/16, MIIL (without biases of queries, keys and values); B/16 also stands
# for the variants trained on CIFAR-100 and with hierarchical heads
KINDS = {"vit_base_patch32_224": 64, "vit_base_patch16_224": 32, "vit_large_patch16_224": 32,
         "vit_base_patch16_224_miil": 32}


def tiny(name, size, **others):
    torch.manual_seed(0)
    return timm.create_model(name, img_size=size, **SMALL, **others).double().eval()


@pytest.mark.parametrize("name", KINDS)
def test_every_reading_runs(name):
    target = npc.TargetModel(tiny(name, KINDS[name]))
    images = torch.randn(6, 3, KINDS[name], KINDS[name], dtype=torch.float64,
                         generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6) % 5
    closed = npc.relevance(target, images, labels, form="closed")
    torch.testing.assert_close(closed, npc.relevance(target, images, labels, form="autograd"), rtol=0, atol=1e-10)
    assert closed.shape == (6, 4) and closed.abs().max() > 0
    orders = torch.stack([ranked(closed), ranked(chefer(target, images, labels))])
    right = removal_curves(target, images, labels, orders, kept_counts(4), "negative")
    assert right.shape == (2, 4, 6)
    assert torch.equal(right[0, 0], target(images).argmax(-1) == labels)
    streams = read_streams(target, images)
    assert fit_probes(streams.blocks.transpose(1, 2), labels, 5).weight.shape == (2, 5, 24, 5)


def test_blocks_with_a_norm_behind_them_are_refused():
    model = tiny("vit_base_patch16_rpn_224", 32)
    assert not hasattr(model, "cls_token") or model.cls_token is None
    with pytest.raises(ValueError, match="ResPostBlock.*accepted: timm's pre-norm Block"):
        npc.TargetModel(model)
