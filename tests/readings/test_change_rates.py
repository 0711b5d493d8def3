"""How halves change the class: the published rates, a network set by hand, and the partition."""

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.readings import change_rates
from neuronpath_core.readings.streams import Streams, read_streams
from tests import helpers
from tests.readings.spaces import SPACES, space


def of_label(change, labels):
    return change.gather(-1, labels[:, None, None].expand(*change.shape[:2], 1))[..., 0]


@pytest.mark.parametrize("name", SPACES)
def test_published_change_rates(name):
    target, images, labels, expected, _ = space(name)
    streams, mask = read_streams(target, images), torch.from_numpy(expected["token_mask"]).flatten(1)
    for block in range(1, target.n_blocks):
        rates, apart = [], []
        for half in ("attention", "ffn"):
            change = of_label(change_rates.class_change(target, streams, block, half, "published"),
                              labels)
            rates += [(part > 0).double().mean() for part in (change[:, :1], change[:, 1:])]
            apart.append(change[:, 1:][mask == 1].mean() - change[:, 1:][mask == 0].mean())
        np.testing.assert_allclose(rates, expected["similarity_change_rate"][:, block - 1],
                                   atol=1e-9)
        np.testing.assert_allclose(
            apart, expected["similarity_change_context_difference"][:, block - 1], atol=1e-9)


@pytest.mark.parametrize("name", SPACES)
def test_published_residual_match(name):
    target, images, _, expected, _ = space(name)
    streams = read_streams(target, images)
    for block in range(1, target.n_blocks):
        tops = change_rates.top_classes(target, streams, block)
        found = list(change_rates.residual_match(tops, published=True).values())
        for tokens, key in ((slice(None), "residual_match"), (slice(0, 1), "residual_match_cls")):
            shares = [100 * own[:, tokens].double().mean() for own in found]
            np.testing.assert_allclose(shares, expected[key][:, block - 1], atol=1e-9)


def hand_set():
    """Two blocks without norm: the attention of each adds 0.25 to class 1 at every token, the FFN of
    the first nothing, that of the second takes 1 from class 1 and gives 3 to class 2."""
    model = helpers.blank_vit("cls", depth=2, num_classes=4)
    with torch.no_grad():
        model.head.weight[:, :4] = torch.eye(4)
        model.pos_embed[..., 1] = 1
        for block in model.blocks:
            block.attn.proj.bias[1] = 0.25
        model.blocks[1].mlp.fc2.bias[1:3] = torch.tensor([-1.0, 3.0])
    target, images = npc.TargetModel(model), torch.zeros(2, 3, 8, 8, dtype=torch.float64)
    return target, read_streams(target, images)


def test_three_comparisons_of_a_network_set_by_hand():
    target, streams = hand_set()

    def change(block, half, of, label):
        found = change_rates.class_change(target, streams, block, half, of)[..., label]
        assert (found == found[0, 0]).all()
        return float(found[0, 0])

    # the ledger has what is written; a half that writes nothing changes nothing
    assert [change(block, "attention", "ledger", 1) for block in (0, 1)] == [0.25, 0.25]
    assert change(0, "ffn", "ledger", 1) == 0
    assert [change(1, "ffn", "ledger", label) for label in range(4)] == [0, -1, 3, 0]
    # against the stream: 0.25 is less than the 1.25 that enters the second block
    assert change(1, "attention", "published", 1) == change(1, "attention", "written", 1) == -1
    # the FFN against what enters the block, and against what enters the FFN
    assert change(1, "ffn", "published", 1) == -2.25
    assert change(1, "ffn", "written", 1) == -2.5
    assert change(1, "ffn", "published", 2) == 3
    tops = change_rates.top_classes(target, streams, 1)
    assert {name: int(own[0, 0]) for name, own in tops.items()} == {
        "after": 2, "previous": 1, "attention": 1, "ffn": 2}
    assert (change_rates.residual_partition(tops) == 4).all()
    # the published code does not ask the FFN, and says that the class came from nowhere
    assert change_rates.residual_match(tops, published=True)["none"].all()
    assert not change_rates.residual_match(tops)["none"].any()


@pytest.mark.parametrize("of", change_rates.CHANGES)
def test_a_half_that_writes_the_class_raises_it_and_its_opposite_lowers_it(of):
    """A half that adds ten times the class's row to a stream that is small beside it, behind a norm
    with gain and shift."""
    target, images, labels = helpers.network("cls", 2)
    streams, row = read_streams(target, images), target.model.head.weight.detach()[labels]
    row = row - row.mean(-1, keepdim=True)
    for sign in (1, -1):
        added = (10 * sign * row * target.model.norm.weight.detach())[:, None].expand_as(
            streams.blocks[0])
        # a stream that speaks against the class, or for it
        other = Streams(-added, streams.blocks, added[None], added[None])
        for half in ("attention", "ffn"):
            if half == "ffn" and of == "written":
                continue  # what enters the FFN is then exactly nothing
            change = of_label(change_rates.class_change(target, other, 0, half, of), labels)
            assert (change * sign > 0).all()


def test_ledgers_add_up_to_the_logits_of_a_model_without_norm():
    """Without norm the logits are those of the embedding and all halves, to 1e-12 of sums of
    products of order one."""
    model = helpers.small_vit(3)
    model.norm = torch.nn.Identity()
    target, (images, _) = npc.TargetModel(model), helpers.small_batch()
    streams = read_streams(target, images)
    total = model.head(streams.embedded[:, 0]) + sum(
        change_rates.class_change(target, streams, block, half)[:, 0]
        for block in range(3) for half in ("attention", "ffn"))
    with torch.no_grad():
        torch.testing.assert_close(total, target(images), rtol=0, atol=1e-12)


def test_the_partition_by_every_combination():
    """Every token is of one part, and the sum of the overlapping shares is that of the bits."""
    codes = torch.arange(8)
    tops = {"after": torch.zeros(8, dtype=torch.long)} | {
        name: 1 - (codes >> place & 1) for place, name in enumerate(change_rates.SOURCES)}
    assert change_rates.residual_partition(tops).tolist() == list(range(8))
    match = change_rates.residual_match(tops)
    assert [int(own.sum()) for own in match.values()] == [4, 4, 4, 1]
    assert int(change_rates.residual_match(tops, published=True)["none"].sum()) == 2


def test_unknown_names_are_refused():
    target, streams = hand_set()
    helpers.refused(lambda: change_rates.class_change(target, streams, 0, "mlp"), "attention, ffn")
    helpers.refused(lambda: change_rates.class_change(target, streams, 0, "ffn", "logit"),
                    "published, written, ledger")
