"""Edges of a path against finite differences, passes edited by hooks and products of Jacobians; in
networks in which it is known what flows where; and their controls where these must not hold."""

import numpy as np
import pandas as pd
import pytest
import torch
from timm.layers import GluMlp, RmsNorm, SwiGLU
from torch import nn
from torch.autograd.functional import jacobian

import neuronpath_core as npc
from neuronpath_core.circuits import edges, graphs
from neuronpath_core.circuits.composition import composition
from neuronpath_core.circuits.edge_controls import (
    CONTROLS,
    edge_controls,
    matched_partners,
    other_image_partners,
    shuffled_partners,
)
from neuronpath_core.circuits.edges import edge_table, path_edges
from neuronpath_core.models.planted import planted_model
from neuronpath_core.support.memory import copy_bytes, memory_limit
from neuronpath_core.variants.sites import SiteModel
from tests import helpers, twins
from tests.core.test_as_called import hooked_container
from tests.core.test_coverage import ZOO

MEASURED = [*edges.EFFECTS, "composition"]


def paths(target, count=2, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, target.n_neurons, (count, target.n_blocks), generator=generator)


def somewhere(target, images, seed=6):
    """A baseline of its own for every image, layer, token and neuron."""
    shape = npc.read_activations(target, images).shape
    generator = torch.Generator().manual_seed(seed)
    return 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64).to(target.dtype)


def as_matrix(table, effect, blocks):
    """``(image, source, target)``, 0 where there is no edge."""
    found = np.zeros((table["image"].nunique(), blocks, blocks))
    found[table["image"], table["source_block"] - 1, table["target_block"] - 1] = table[effect]
    return found


# --- twins: one image, one pair at a time ---


def run_with(model, scope, image, block, neuron, values):
    """Logits, and every block's scope activations, with one neuron at ``values`` (token,)."""
    held = twins.clean_activations(model, scope, image)[block][None].clone()
    held[0, :, neuron] = values
    seen = {}
    with torch.no_grad():
        logits = twins.forward(model, scope, image[None], {block: held}, seen)
    return logits, [seen[number][0, twins.positions(model, scope)]
                    for number in range(len(model.blocks))]


def difference_twin(model, scope, image, label, path, partners, base):
    """Total by a difference quotient of the fourth order, and the exact effects by two edited
    passes, ``(3, source, target)``."""
    size, clean = len(path), twins.clean_activations(model, scope, image)
    found = np.zeros((3, size, size))
    with torch.no_grad():
        probability = model(image[None]).softmax(-1)[0, label]
    for source in range(size):
        value = clean[source][:, path[source]]
        away = value - base[source][:, path[source]]

        def moved(step, source=source, value=value, away=away):
            return run_with(model, scope, image, source, path[source], value + step * away)[1]

        near, far = ([moved(sign * step) for sign in (1, -1)] for step in (1e-3, 2e-3))
        replaced = moved(-1)
        for later in range(source + 1, size):
            at = (slice(None), partners[later])
            slopes = [(up[later][at] - down[later][at]).mean() for up, down in (near, far)]
            found[0, source, later] = (8 * slopes[0] - slopes[1]) / 12e-3
            found[1, source, later] = (clean[later][at] - replaced[later][at]).mean()
            logits, _ = run_with(model, scope, image, later, partners[later], replaced[later][at])
            found[2, source, later] = probability - logits.softmax(-1)[0, label]
    return found


def jacobian_twin(model, scope, image, path, base):
    """Total, residual, attention and others, ``(4, source, target)``: products of the halves'
    Jacobians, along routes that are told apart by hand."""
    entering, handles = [], []
    for block in model.blocks:
        handles.append(block.register_forward_pre_hook(
            lambda _module, inputs: entering.append(inputs[0][0].detach())))
    with torch.no_grad():
        model(image[None])
    for handle in handles:
        handle.remove()
    where, size = twins.positions(model, scope), len(path)
    clean = twins.clean_activations(model, scope, image)
    tokens, width = entering[0].shape
    # which entries of a matrix of tokens lead from a token of the scope to itself
    itself = torch.zeros(tokens, tokens, dtype=torch.float64)
    itself[where, where] = 1
    itself = torch.kron(itself, torch.ones(width, width, dtype=torch.float64))
    found = np.zeros((4, size, size))
    for source in range(size - 1):
        block = model.blocks[source]
        gamma = getattr(block.ls2, "gamma", 1.0)
        start = torch.zeros(tokens, width, dtype=torch.float64)
        away = (clean[source] - base[source])[:, path[source]]
        start[where] = away[:, None] * (block.mlp.fc2.weight[:, path[source]] * gamma)
        routes = {"residual": start.flatten(), "attention": torch.zeros(tokens * width).double(),
                  "others": torch.zeros(tokens * width).double()}
        for later in range(source + 1, size):
            block, stream = model.blocks[later], entering[later]

            def attend(value, block=block):
                return block.ls1(block.attn(block.norm1(value[None])))[0]

            def act(value, block=block):
                ffn = block.mlp
                return ffn.norm(ffn.act(ffn.fc1(block.norm2(value))))

            def write(value, block=block, act=act):
                return block.ls2(block.mlp.fc2(act(value)))

            every = jacobian(attend, stream).reshape(tokens * width, -1)
            own, alone = every * itself, routes["residual"] + routes["attention"]
            routes = {"residual": routes["residual"],
                      "attention": routes["attention"] + own @ alone,
                      "others": routes["others"] + every @ routes["others"]
                      + (every - own) @ alone}
            middle = stream + attend(stream).detach()
            reads = jacobian(lambda value, act=act, later=later: act(value)[where, path[later]],
                             middle).reshape(len(where), -1).mean(0)
            effects = [(reads @ route).item() for route in routes.values()]
            found[:, source, later] = [sum(effects), *effects]
            through = jacobian(write, middle).reshape(tokens * width, -1)
            routes = {name: route + through @ route for name, route in routes.items()}
    return found


def quotients(target, images, labels, neurons, partners, base):
    return np.stack([difference_twin(target.model, target.scope, *each) for each in zip(
        images, labels.tolist(), neurons.tolist(), partners.tolist(), base, strict=True)], 1)


@pytest.mark.each_value
@pytest.mark.parametrize("zero", [True, False])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_total_and_exact_effects(name, zero):
    target, images, labels = helpers.network(name, 901)
    neurons, partners = paths(target), paths(target, seed=7)
    base = somewhere(target, images) * (not zero)
    table = path_edges(target, images, labels, neurons, None if zero else base, partners=partners)
    total, exact, probability = quotients(target, images, labels, neurons, partners, base)
    # little of the class token reaches a head that averages the patches
    least = 1e-7 if name == "cls-of-averaging" else 1e-5
    assert np.abs(total).max() > 1e-3 and np.abs(probability).max() > least
    size = target.n_blocks
    # of a difference quotient of step h = 1e-3 the error is of order h^4
    np.testing.assert_allclose(as_matrix(table, "total", size), total, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(as_matrix(table, "exact", size), exact, rtol=0, atol=1e-12)
    np.testing.assert_allclose(as_matrix(table, "exact_probability", size), probability, rtol=0,
                               atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ZOO)
def test_networks_of_every_kind(name):
    make, scope = ZOO[name]
    target = npc.TargetModel(make(), scope)
    images, labels = helpers.small_batch(2, 903)
    neurons, base = paths(target), somewhere(target, images)
    plain = all(target.plain(block) is not None for block in range(target.n_blocks))
    split = scope == "cls" or plain
    table = path_edges(target, images, labels, neurons, base, split=split)
    total, exact, probability = quotients(target, images, labels, neurons, neurons, base)
    size = target.n_blocks
    np.testing.assert_allclose(as_matrix(table, "total", size), total, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(as_matrix(table, "exact", size), exact, rtol=0, atol=1e-12)
    np.testing.assert_allclose(as_matrix(table, "exact_probability", size), probability, rtol=0,
                               atol=1e-12)
    if split:
        assert table[list(edges.PARTS)].abs().to_numpy().max() > 0
        return
    helpers.refused(lambda: path_edges(target, images, labels, neurons), "block 0", "plain",
                    "split=False")


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_parts_are_the_routes(name):
    """Each part by itself, not as what is left of the total."""
    target, images, labels = helpers.network(name, 905, depth=4)
    neurons, base = paths(target), somewhere(target, images)
    table = path_edges(target, images, labels, neurons, base, exact=False)
    expected = np.stack([jacobian_twin(target.model, target.scope, *each)
                         for each in zip(images, neurons.tolist(), base, strict=True)], 1)
    for effect, values in zip(("total", *edges.PARTS), expected, strict=True):
        assert np.abs(values).max() > 1e-4
        np.testing.assert_allclose(as_matrix(table, effect, 4), values, rtol=0, atol=1e-10)
    added = table[list(edges.PARTS)].sum(axis=1)
    np.testing.assert_allclose(added, table["total"], rtol=0, atol=1e-10)


def test_one_half_is_not_enough_to_come_back_from_another_token():
    target, images, labels = helpers.network("cls", 907)
    table = path_edges(target, images, labels, paths(target), exact=False)
    next_to = table["target_block"] == table["source_block"] + 1
    assert table.loc[next_to, "others"].abs().max() < 1e-12
    assert table.loc[~next_to, "others"].abs().min() > 1e-6


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_both_modes_agree(name):
    target, images, labels = helpers.network(name, 909)
    neurons, base = paths(target), somewhere(target, images)[:1, :, :1]
    found = {way: path_edges(target, images, labels, neurons, base, split=False, derivative=way)
             for way in ("auto", "forward", "reverse")}
    pd.testing.assert_frame_equal(found["auto"], found["forward"])
    np.testing.assert_allclose(found["forward"], found["reverse"], rtol=0, atol=1e-12)


# --- what flows is known ---


def wired(scope):
    """Three linear blocks with uniform attention. Neuron 1 of block 0 writes channel 2; attention
    carries channel 2 to 3 in block 1, and 3 to 4 in block 2. Neuron 2 of block 1 reads
    ``0.5 x2 + 0.7 x3``, neuron 3 of block 2 ``0.2 x2 + x4``; neither writes.

    A norm divides by 1e6 and multiplies by it again. What is written has mean zero over channels,
    so that nothing is taken off.
    """
    model = helpers.blank_vit(scope)
    first, second, third = model.blocks
    with torch.no_grad():
        for block in model.blocks:
            block.mlp.act = nn.LeakyReLU(1.0)
            block.norm1, block.norm2 = (nn.LayerNorm(16, eps=1e12).double() for _ in range(2))
            block.norm1.weight.fill_(1e6)
            block.norm2.weight.fill_(1e6)
        first.mlp.fc1.bias[1] = 3.0
        first.mlp.fc2.weight[2, 1], first.mlp.fc2.weight[10, 1] = 1, -1
        for block, channel in ((second, 2), (third, 3)):
            block.attn.qkv.weight[2 * 16 + channel, channel] = 1
            block.attn.proj.weight[channel + 1, channel] = 1
            block.attn.proj.weight[channel + 9, channel] = -1
        second.mlp.fc1.weight[2, 2], second.mlp.fc1.weight[2, 3] = 0.5, 0.7
        third.mlp.fc1.weight[3, 2], third.mlp.fc1.weight[3, 4] = 0.2, 1.0
    return model


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_parts_in_closed_form(scope):
    """Every token takes 1/T of what all T write; of a scope of one token only it writes."""
    target = npc.TargetModel(wired(scope))
    images, labels = helpers.small_batch(1, 911, classes=3)
    base = torch.zeros(1, 3, 1, 16, dtype=torch.float64)
    base[:, 0, :, 1] = 1.0
    table = path_edges(target, images, labels, torch.tensor([[1, 2, 3]]), base)
    lost = 3.0 - 1.0
    if scope == "cls":  # five tokens; the others have what they took in block 1
        expected = {(1, 2): (0.5, 0.7 / 5, 0.0), (1, 3): (0.2, 1 / 25, 4 / 25)}
    else:  # four tokens, all of which write
        expected = {(1, 2): (0.5, 0.7 / 4, 0.7 * 3 / 4), (1, 3): (0.2, 1 / 16, 15 / 16)}
    for row in table.itertuples():
        parts = expected.get((row.source_block, row.target_block), (0, 0, 0))
        wanted = [lost * part for part in parts]
        # the norm's variance beside 1e12
        np.testing.assert_allclose([row.residual, row.attention, row.others], wanted, rtol=0,
                                   atol=1e-10)
        # the network is linear up to its softmax
        np.testing.assert_allclose([row.total, row.exact], sum(wanted), rtol=0, atol=1e-10)
    assert (table["exact_probability"].abs() < 1e-12).all()  # neither writes


def strength(planted, **settings):
    """Of each edge of the planted path, which share of the target's activation it makes."""
    table = path_edges(planted.target, planted.images, planted.labels, planted.neurons[..., 0],
                       **settings)
    return table.assign(share=table["exact"] / table["target_activation"],
                        slope=table["total"] / table["target_activation"])


def flows(table):
    """Whether every edge to the next block carries more than half of its target."""
    following = table[table["target_block"] == table["source_block"] + 1]
    return bool((following["share"] > 0.5).all() and (following["exact_probability"] > 0.1).all())


@pytest.mark.parametrize("scope", ["cls", "patch"])
@pytest.mark.parametrize("seed", [0, 1])
def test_chains_have_edges_and_parallel_paths_have_none(scope, seed):
    chain, parallel = (strength(planted_model(kind, scope, seed=seed))
                       for kind in ("chain", "parallel"))
    assert flows(chain) and not flows(parallel)
    for name in ("share", "slope"):
        assert chain[name].min() > 0.9 and parallel[name].abs().max() < 0.05
    # a chain is written along the stream of the token itself
    np.testing.assert_allclose(chain["residual"], chain["total"], rtol=0.1)
    following = chain["target_block"] == chain["source_block"] + 1
    assert chain.loc[following, "composition"].min() > 1 - 1e-9
    assert chain.loc[~following, "composition"].abs().max() < 1e-9
    assert parallel["composition"].abs().max() < 1e-9


def test_a_chain_that_is_cut_has_no_edges_there():
    planted = planted_model("chain", n_images=2)
    with torch.no_grad():  # block 2 no longer writes what block 3 reads
        planted.target.model.blocks[2].mlp.fc2.weight.zero_()
    table = strength(planted)
    across = (table["source_block"] <= 3) & (table["target_block"] > 3)
    assert not flows(table)
    assert table.loc[across, "exact"].abs().max() < 0.1
    assert table.loc[table["target_block"] <= 3, "share"].min() > 0.9


def strengths(table):
    """By control the mean of each measure, and not of its share of an activation near zero."""
    return table.groupby("control")[["exact", "total"]].mean()


def everyone_reads(planted):
    """All neurons of a block read what the planted ones of the block before write: a path that is
    as much of a path as any other choice of neurons."""
    for number, block in enumerate(planted.target.model.blocks):
        if number > 0:
            with torch.no_grad():
                reads = block.mlp.fc1.weight[planted.neurons[:, number, 0]].sum(0)
                block.mlp.fc1.weight.copy_(reads.expand_as(block.mlp.fc1.weight))
                block.mlp.fc1.bias.zero_()
    return planted


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_partners_off_the_path(scope):
    """Controls hold where the path is one, and show it where it is none."""
    planted = planted_model("chain", scope)
    found = [strengths(edge_controls(each.target, each.images, each.labels, each.neurons[..., 0],
                                     split=False))
             for each in (planted, everyone_reads(planted_model("chain", scope)))]
    for control in CONTROLS[1:]:
        assert (found[0].loc["path"] > 5).all(), control
        assert (found[0].loc[control].abs() < 0.2 * found[0].loc["path"]).all(), control
        # where everyone reads the path has nothing of its own
        assert (found[1].loc["path"] > 2).all(), control
        assert (found[1].loc[control] > 0.8 * found[1].loc["path"]).all(), control


def test_pairs_of_the_path_itself_are_no_controls():
    target, images, labels = helpers.network("cls", 913)
    neurons = paths(target)
    neurons[1, 1] = neurons[0, 1]  # two images share a neuron
    table = edge_controls(target, images, labels, neurons, split=False, exact=False,
                          controls=("path", "another image"))
    assert table["control"].value_counts().to_dict() == {"path": 6, "another image": 4}
    assert table.columns[0] == "control"
    other = table[table["control"] == "another image"]
    assert set(other["target_block"]) == {3}
    assert (other["target_neuron"].to_numpy() == neurons.flip(0)[:, 2].repeat_interleave(
        2).numpy()).all()


# --- partners ---


def test_another_image_is_never_the_same():
    neurons = torch.arange(7)[:, None] * 10 + torch.arange(3)
    for seed in range(20):
        partners = other_image_partners(neurons, seed)
        assert (partners != neurons).all()
        assert sorted(partners[:, 0].tolist()) == neurons[:, 0].tolist()
    assert torch.equal(other_image_partners(neurons[..., None], 3),
                       other_image_partners(neurons, 3))
    assert not torch.equal(other_image_partners(neurons, 3),
                           other_image_partners(neurons, 4))


def test_shuffled_blocks_keep_no_block():
    target, _, _ = helpers.network("cls-embed-apart", 915)
    neurons = torch.arange(4).expand(3, 4)
    for seed in range(20):
        partners = shuffled_partners(target, neurons, seed)
        assert (partners != neurons).all() and (partners == partners[0]).all()
        assert sorted(partners[0].tolist()) == [0, 1, 2, 3]


def test_matched_partners_are_about_as_active():
    target, images, _ = helpers.network("avg", 917)
    neurons = paths(target)
    partners = matched_partners(target, images, neurons, 2)
    active = npc.read_activations(target, images).sum(2)
    places = active.argsort(-1, descending=True).argsort(-1)
    apart = (places.gather(2, neurons[..., None]) - places.gather(2, partners[..., None])).abs()
    assert (partners != neurons).all() and apart.max() <= 2


# --- weights alone ---


def cosine(first, second):
    return (first @ second / first.norm() / second.norm()).item()


@pytest.mark.parametrize("changes", [
    {}, {"init_values": 0.1}, {"norm_layer": RmsNorm},
    {"mlp_layer": SwiGLU, "act_layer": "silu"}, {"mlp_layer": GluMlp, "act_layer": "sigmoid"}])
def test_composition(changes):
    model = helpers.small_vit(919, **changes)
    with torch.no_grad():  # a norm that weighs channels differently
        for block in model.blocks:
            block.norm2.weight.copy_(torch.linspace(0.5, 2, 16))
    target = npc.TargetModel(model)
    neurons = paths(target)
    found = composition(target, neurons)
    assert found.shape == (2, 3, 3) and torch.isnan(found).sum() == 12
    for image in range(2):
        for source, later in ((0, 1), (0, 2), (1, 2)):
            ffn, block = model.blocks[later].mlp, model.blocks[later]
            rows = ffn.fc1_g.weight if isinstance(ffn, SwiGLU) else ffn.fc1.weight
            if isinstance(ffn, GluMlp):
                rows = rows[len(rows) // 2:]  # timm's gate is the last half
            value = model.blocks[source].mlp.fc2.weight[:, neurons[image, source]]
            value = value * getattr(model.blocks[source].ls2, "gamma", 1.0)
            key = rows[neurons[image, later]] * block.norm2.weight
            if "norm_layer" not in changes:
                value, key = value - value.mean(), key - key.mean()
            assert found[image, source, later].item() == pytest.approx(cosine(value, key),
                                                                       abs=1e-12)


def test_composition_without_rows_or_norm_of_a_known_kind():
    model = helpers.small_vit(921)

    class Linear(nn.Linear):
        pass

    model.blocks[1].mlp.fc1.__class__ = Linear
    found = composition(npc.TargetModel(model), torch.zeros(1, 3, dtype=torch.int64))
    assert torch.isnan(found).tolist() == [[[True, True, False], [True, True, False], [True] * 3]]


# --- the table ---


def test_rows_and_columns():
    target, images, labels = helpers.network("cls", 923)
    neurons = paths(target)
    table = path_edges(target, images, labels, neurons)
    assert table.columns.tolist() == [
        "image", "source_block", "source_neuron", "target_block", "target_neuron",
        "target_activation", "total", "residual", "attention", "others", "exact",
        "exact_probability", "composition"]
    pairs = [(image, source, later) for image in range(2)
             for source, later in ((1, 2), (1, 3), (2, 3))]
    # none leads backwards, or to its own block
    assert list(table[["image", "source_block", "target_block"]].itertuples(
        index=False, name=None)) == pairs
    for row in table.itertuples():
        assert row.source_neuron == neurons[row.image, row.source_block - 1]
        assert row.target_neuron == neurons[row.image, row.target_block - 1]
        clean = twins.clean_activations(target.model, "cls", images[row.image])
        assert row.target_activation == pytest.approx(
            clean[row.target_block - 1][0, row.target_neuron].item(), abs=1e-12)
    assert not table.isna().any().any()
    bare = path_edges(target, images, labels, neurons, split=False, exact=False)
    empty = bare.columns[bare.isna().all()].tolist()
    assert empty == ["residual", "attention", "others", "exact", "exact_probability"]
    pd.testing.assert_series_equal(bare["total"], table["total"], rtol=0, atol=1e-12)


def test_nothing_reaches_an_earlier_neuron():
    """What the table leaves out is zero: a later neuron replaced changes none before it."""
    target, images, _ = helpers.network("avg", 925)
    clean = twins.clean_activations(target.model, "patch", images[0])
    _, seen = run_with(target.model, "patch", images[0], 2, 3, torch.full((4,), 9.0).double())
    assert all(torch.equal(seen[block], clean[block]) for block in (0, 1))
    assert not torch.equal(seen[2], clean[2])


def test_as_the_edges_of_a_graph():
    target, images, labels = helpers.network("cls", 927)
    table = path_edges(target, images, labels, paths(target), exact=False)
    found = edge_table(table, "attention", 1)
    assert found.columns.tolist() == ["source_block", "source_neuron", "target_block",
                                      "target_neuron", "effect"]
    assert found["effect"].tolist() == table.loc[table["image"] == 1, "attention"].tolist()
    assert found.index.tolist() == [0, 1, 2]
    helpers.refused(lambda: edge_table(table, "weight"), "unknown effect 'weight'", "accepted")
    helpers.refused(lambda: edge_table(table, "exact"), "'exact' not computed", "accepted")
    helpers.refused(lambda: edge_table(table.drop(columns="image")), "columns image", "path_edges")
    helpers.refused(lambda: edge_table(table, "total", 2), "no edges of image 2", "accepted")


def test_a_graph_takes_them():
    target, images, labels = helpers.network("cls", 928)
    neurons = paths(target)
    table = edge_table(path_edges(target, images, labels, neurons, exact=False), "total", 1)
    frame = pd.DataFrame({"image": 1, "block": [1, 2, 3], "rank": 1, "neuron": neurons[1].numpy(),
                          "score": 0.5})
    graph = graphs.path_graph(frame, table)
    own = neurons[1].tolist()
    assert len(graph.edges) == 3
    for source, later, effect in zip((1, 1, 2), (2, 3, 3), table["effect"], strict=True):
        joined = graph.edges[(source, own[source - 1]), (later, own[later - 1])]
        assert joined["effect"] == effect


# --- batches, precision, and what is left behind ---


@pytest.mark.each_value
@pytest.mark.parametrize("derivative", ["forward", "reverse"])
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_a_batch_gives_what_its_images_give_one_by_one(name, derivative):
    target, images, labels = helpers.network(name, 929, batch=5)
    neurons, base = paths(target, 5), somewhere(target, images)
    split = derivative == "forward"
    whole = path_edges(target, images, labels, neurons, base, split=split, derivative=derivative)
    parts = [path_edges(target, images[[row]], labels[[row]], neurons[[row]], base[[row]],
                        split=split, derivative=derivative).assign(image=row) for row in range(5)]
    pd.testing.assert_frame_equal(whole, pd.concat(parts, ignore_index=True), rtol=0, atol=1e-12)
    sizes, handle = helpers.watch_batches(target.model)
    with memory_limit(target, 2 * copy_bytes(target)):
        chunked = path_edges(target, images, labels, neurons, base, split=split,
                             derivative=derivative)
    handle.remove()
    assert max(sizes) == 2
    pd.testing.assert_frame_equal(whole, chunked, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["cls", "avg"])
def test_single_precision(name):
    target, images, labels = helpers.network(name, 931)
    neurons, base = paths(target), somewhere(target, images)
    exact = path_edges(target, images, labels, neurons, base)
    target.model.float()
    single = npc.TargetModel(target.model, target.scope)
    found = path_edges(single, images.float(), labels, neurons, base)
    assert (found[MEASURED].dtypes == np.float64).all()
    np.testing.assert_allclose(found[MEASURED], exact[MEASURED], rtol=0, atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["cls", "avg"])
def test_on_a_gpu(name):
    target, images, labels = helpers.network(name, 933)
    neurons, base = paths(target), somewhere(target, images)
    expected = path_edges(target, images, labels, neurons, base)
    there = npc.TargetModel(target.model.cuda(), target.scope)
    for way in ({}, {"split": False, "derivative": "reverse"}):
        found = path_edges(there, images.cuda(), labels.cuda(), neurons, base, **way)
        kept = found.columns[~found.isna().any()]
        np.testing.assert_allclose(found[kept], expected[kept], rtol=0, atol=1e-10)


def test_nothing_is_left_behind_and_no_grad_does_not_matter():
    target, images, labels = helpers.network("avg", 935)
    neurons, before = paths(target), helpers.Snapshot(target.model)
    images.requires_grad_()
    expected = path_edges(target, images, labels, neurons)
    with torch.no_grad():
        pd.testing.assert_frame_equal(path_edges(target, images, labels, neurons), expected)
        path_edges(target, images, labels, neurons, split=False, derivative="reverse")
    before.check()
    assert images.grad is None


# --- models that are not their blocks put together ---


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", ["container", "activation"])
def test_models_that_have_to_be_called(change):
    """Something after the blocks; an activation without a forward-mode derivative."""
    if change == "container":
        model = helpers.small_vit(937)
        hooked_container(model)
    else:
        model = helpers.small_vit(937, act_layer="hard_mish")
    target, (images, labels) = npc.TargetModel(model), helpers.small_batch(2, 938)
    neurons, base = paths(target), somewhere(target, images)
    table = path_edges(target, images, labels, neurons, base, split=False)
    assert target.differs is not None
    expected = quotients(target, images, labels, neurons, neurons, base)
    for effect, values in zip(("total", "exact", "exact_probability"), expected, strict=True):
        np.testing.assert_allclose(as_matrix(table, effect, 3), values, rtol=1e-6, atol=1e-9)
    assert table["composition"].isna().all()
    helpers.refused(lambda: path_edges(target, images, labels, neurons), "parts", "split=False")
    helpers.refused(lambda: path_edges(target, images, labels, neurons, split=False,
                                       derivative="forward"), "blocks put together", "'reverse'")


def test_checkpointed_blocks():
    target, images, labels = helpers.network("cls", 939)
    neurons = paths(target)
    settings = {"split": False, "derivative": "reverse"}
    expected = path_edges(target, images, labels, neurons, **settings)
    target.model.set_grad_checkpointing()
    target.model.train().eval()
    found = path_edges(target, images, labels, neurons, **settings)
    pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-12)


def test_a_block_that_is_hooked_as_a_whole():
    target, images, labels = helpers.network("cls", 941)
    neurons = paths(target)
    handle = target.model.blocks[1].register_forward_hook(
        lambda _module, _inputs, out: out + 0.1 * out.roll(1, -1))
    helpers.refused(lambda: path_edges(target, images, labels, neurons), "block 1", "hooked",
                    "split=False")
    table = path_edges(target, images, labels, neurons, split=False)
    expected = quotients(target, images, labels, neurons, neurons,
                         torch.zeros(2, 3, 1, 16).double())
    handle.remove()
    for effect, values in zip(("total", "exact"), expected[:2], strict=True):
        np.testing.assert_allclose(as_matrix(table, effect, 3), values, rtol=1e-6, atol=1e-9)


def test_halves_that_are_not_the_block(monkeypatch):
    target, images, labels = helpers.network("cls", 943)
    family, native = type(target.family), type(target.family).run_half

    def other(self, model, index, half, stream):
        out = native(self, model, index, half, stream)
        return out + 0.01 * stream if (index, half) == (1, "ffn") else out

    monkeypatch.setattr(family, "run_half", other)
    helpers.refused(lambda: path_edges(target, images, labels, paths(target)), "block 1",
                    "half by half", "split=False")


# --- refused ---


def test_what_is_refused():
    target, images, labels = helpers.network("cls", 945)
    neurons = paths(target)

    def call(*given, **settings):
        return lambda: path_edges(*(given or (target, images, labels, neurons)), **settings)

    helpers.refused(call(target.model, images, labels, neurons), "TargetModel", "accepted")
    helpers.refused(call(target, images, labels, neurons[:1]), "one path an image")
    helpers.refused(call(target, images, labels, neurons[..., None].expand(-1, -1, 1) + 99),
                    "0..15")
    ranks = torch.stack([neurons, (neurons + 1) % 16], -1)
    helpers.refused(call(target, images, labels, ranks), "2 a block", "one neuron a block")
    helpers.refused(call(partners=ranks), "2 a block", "one neuron a block")
    helpers.refused(call(target, images, labels + 9, neurons), "labels")
    helpers.refused(call(derivative="numeric"), "unknown derivative 'numeric'", "forward")
    helpers.refused(call(derivative="reverse"), "parts", "split=False")
    helpers.refused(call(baseline=torch.zeros(1, 3, 16)), "accepted")
    helpers.refused(call(baseline=torch.zeros(3, 3, 1, 16)), "2")
    helpers.refused(call(baseline=torch.full((1, 3, 1, 16), torch.nan)), "finite")
    helpers.refused(call(baseline=torch.zeros(1, 3, 4, 16)), "4 tokens", "accepted")
    attention = SiteModel(target.model, sites="attention")
    helpers.refused(call(attention, images, labels, neurons), "sites 'attention'", "TargetModel")
    same = SiteModel(target.model, sites="ffn")
    pd.testing.assert_frame_equal(path_edges(same, images, labels, neurons), call()())
    single = npc.TargetModel(helpers.small_vit(1, depth=1))
    helpers.refused(call(single, images, labels, neurons[:, :1]), "no edges", "two blocks")
    helpers.refused(lambda: composition(target, ranks), "2 a block")
    helpers.refused(lambda: other_image_partners(neurons[:1]), "two images")
    helpers.refused(lambda: edge_controls(target, images, labels, neurons, controls=("luck",)),
                    "unknown control 'luck'", "matched")
    helpers.refused(lambda: edge_controls(target, images, labels, neurons, controls=()),
                    "no controls", "matched")
    with torch.inference_mode():
        helpers.refused(call(), "inference_mode")
