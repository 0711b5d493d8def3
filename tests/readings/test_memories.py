"""Halves of a block as memories: the published numbers, slow loops, planted memories, and what is
refused."""

import numpy as np
import pytest
import torch

import neuronpath_core as npc
from neuronpath_core.hooks import reading
from neuronpath_core.readings import memories
from neuronpath_core.readings.memory_nulls import any_by_chance
from neuronpath_core.readings.projection import head_rows, project_vectors
from neuronpath_core.readings.streams import read_streams
from tests import helpers
from tests.readings.spaces import SPACES, space

NAMES = {"attention": "attn", "ffn": "mlp"}
READ = ["cls", "cls-layerscale-qknorm", "cls-registers-prenorm", "cls-embed-apart", "avg",
        "avg-without-class-token"]


def entering(streams, block, half):
    return streams.before(block) if half == "attention" else streams.middle(block)


def own_class(by_class, labels):
    index = labels[:, None, None].expand(*by_class.shape[:2], 1)
    return by_class.gather(-1, index)[..., 0]


# --- the published functions ---


@pytest.mark.each_value
@pytest.mark.parametrize("half", memories.HALVES)
@pytest.mark.parametrize("name", SPACES)
def test_published_agreement_and_composition(name, half):
    """Booleans are equal, cosines to 1e-9: nothing is added up but 48 products."""
    target, images, labels, expected, _ = space(name)
    streams, short = read_streams(target, images), NAMES[half]
    for block in range(target.n_blocks):
        vectors = memories.value_matrix(target, block, half)
        found = memories.class_value_agreement(head_rows(target)[0], vectors)
        np.testing.assert_allclose(found.numpy(), expected[f"class_value_{short}"][block],
                                   rtol=0, atol=1e-9)
        ranked = memories.coefficients(target, block, half, entering(streams, block, half),
                                       before_activation=half == "ffn")
        active, raw = memories.most_active(ranked), project_vectors(target, vectors, "raw")
        stands = memories.memory_classes(raw, "published", 5)
        agree = own_class(memories.agreement(active, stands, "published"), labels)
        np.testing.assert_array_equal(agree.numpy(), expected[f"key_value_{short}"][block])
        written = project_vectors(target, streams.at(half)[block]).argmax(-1)
        match = memories.composition_match(active, raw.argmax(-1), written)
        np.testing.assert_array_equal(match.numpy(), expected[f"composition_match_{short}"][block])


@pytest.mark.parametrize("name", SPACES)
def test_published_rates(name):
    """Per class over all tokens and over class tokens, and correct minus wrong images."""
    target, images, labels, expected, spec = space(name)
    kinds = len(labels) // spec["images_per_class"]
    correct = torch.from_numpy(expected["correct"]).bool()
    for row, short in enumerate(("attn", "mlp")):
        agree = torch.from_numpy(expected[f"key_value_{short}"]).double()
        by_kind = agree.unflatten(1, (kinds, -1))
        np.testing.assert_allclose(100 * by_kind.mean((2, 3)), expected[f"key_value_rate_{short}"],
                                   atol=1e-9)
        np.testing.assert_allclose(100 * by_kind[..., 0].mean(2),
                                   expected[f"key_value_rate_cls_{short}"], atol=1e-9)
        match = torch.from_numpy(expected[f"composition_match_{short}"])
        np.testing.assert_allclose(100 * match.any(-1).double().mean((1, 2)),
                                   expected["composition_rate"][row], atol=1e-9)
        if correct.any() and not correct.all():
            apart = agree[:, correct, 0].mean(1) - agree[:, ~correct, 0].mean(1)
            np.testing.assert_allclose(100 * apart, expected["agreement_correct_difference"][row],
                                       atol=1e-4)


# --- what memories are ---


@pytest.mark.each_value
@pytest.mark.parametrize("half", memories.HALVES)
@pytest.mark.parametrize("name", READ)
def test_memories_write_what_the_half_adds(name, half):
    """Coefficients times value vectors and the bias, times LayerScale, are the half's output, to
    1e-12 of sums of at most 32 products of order one."""
    target, images, _ = helpers.network(name, 3)
    streams = read_streams(target, images)
    for number, block in enumerate(target.model.blocks):
        last = block.attn.proj if half == "attention" else block.mlp.fc2
        scale = getattr(block.ls1 if half == "attention" else block.ls2, "gamma", 1)
        values = memories.coefficients(target, number, half, entering(streams, number, half))
        vectors = memories.value_matrix(target, number, half)
        written = memories.without_bias(values, vectors) + last.bias.detach() * scale
        torch.testing.assert_close(written, streams.at(half)[number], rtol=0, atol=1e-12)


@pytest.mark.parametrize("half", memories.HALVES)
def test_memories_are_the_neurons_of_the_paths(half):
    """Coefficients and value vectors are those that the library's own layers of paths have."""
    model = helpers.small_vit(4, init_values=0.1)
    target, (images, _) = npc.TargetModel(model), helpers.small_batch()
    site = npc.SiteModel(model, sites=half)
    site.check_images(images)
    with reading(site) as seen, torch.no_grad():
        site(images)
    streams = read_streams(target, images)
    for block in range(3):
        values = memories.coefficients(target, block, half, entering(streams, block, half))
        torch.testing.assert_close(values[:, :1], seen[block], rtol=0, atol=1e-12)
        torch.testing.assert_close(memories.value_matrix(target, block, half),
                                   site.value_vectors(block), rtol=0, atol=0)


def test_before_the_activation_the_most_active_are_the_same_while_five_are_positive():
    target, images, _ = helpers.network("cls", 5, batch=6)
    streams, alike = read_streams(target, images), []
    for block in range(3):
        before, after = (memories.coefficients(target, block, "ffn", streams.middle(block), raw)
                         for raw in (True, False))
        torch.testing.assert_close(torch.nn.functional.gelu(before), after)
        enough = (before > 0).sum(-1) >= 5
        same = memories.most_active(before) == memories.most_active(after)
        assert same[enough].all()
        alike += [*enough.flatten().tolist()]
    assert any(alike)


def test_single_precision_follows_the_model():
    target, images, _ = helpers.network("cls", 5)
    streams = read_streams(target, images)
    double = memories.coefficients(target, 1, "attention", streams.before(1))
    single = npc.TargetModel(target.model.float())
    found = memories.coefficients(single, 1, "attention", streams.before(1).float())
    assert found.dtype == torch.float32 == memories.value_matrix(single, 1, "ffn").dtype
    torch.testing.assert_close(found.double(), double, rtol=0, atol=1e-5)


# --- measures on tables ---


def test_class_value_agreement_of_planted_vectors():
    rows, vectors = torch.randn(4, 6).double(), torch.randn(9, 6).double()
    vectors[3] = 0.01 * rows[2]
    vectors[5] = 0
    found = memories.class_value_agreement(rows, vectors)
    assert found[2] == pytest.approx(1, abs=1e-12) and (found.abs() <= 1 + 1e-12).all()
    for label in range(4):
        cosines = [float(rows[label] @ vector / (rows[label].norm() * vector.norm()))
                   for vector in vectors if vector.norm() > 0]
        assert found[label] == pytest.approx(max(0.0, *cosines), abs=1e-12)
    both = memories.class_value_agreement(rows, torch.stack([vectors, -vectors]))
    torch.testing.assert_close(both[0], found)
    # with all else opposite the planted one points away
    only = memories.class_value_agreement(rows, -vectors[3:4])
    assert only[2] == pytest.approx(-1, abs=1e-12)


@pytest.mark.parametrize("variant", memories.AGREEMENTS)
def test_agreement_by_a_slow_triple_loop(variant):
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(3, 4, 12, generator=rng, dtype=torch.float64)
    logits = torch.randn(12, 7, generator=rng, dtype=torch.float64)
    active = memories.most_active(values)
    found = memories.agreement(active, memories.memory_classes(logits, variant, 2), variant)
    for image in range(3):
        for token in range(4):
            largest = sorted(range(12), key=lambda m, i=image, t=token: -float(values[i, t, m]))[:5]
            assert active[image, token].tolist() == largest
            for label in range(7):
                if variant == "published":
                    of_class = sorted(range(12), key=lambda m, c=label: -float(logits[m, c]))[:2]
                    expected = any(memory in of_class for memory in largest)
                else:
                    own = [label in sorted(range(7), key=lambda c, m=memory: -float(logits[m, c]))[:2]
                           for memory in largest]
                    expected = all(own) if variant == "all" else any(own)
                assert found[image, token, label] == expected


def test_a_planted_memory_agrees_and_permuted_labels_agree_as_often_as_chance():
    """Every image uses the memory of its class among four that stand for no class in particular;
    over all other classes the rate is that of four random memories."""
    classes, memories_, images = 6, 60, 600
    rng = np.random.default_rng(0)
    top = np.arange(memories_) % classes
    logits = torch.nn.functional.one_hot(torch.from_numpy(top), classes).double()
    labels = torch.from_numpy(rng.integers(0, classes, images))
    values = torch.from_numpy(rng.random((images, 1, memories_)))
    random = values.clone()
    for image, label in enumerate(labels.tolist()):
        values[image, 0, label + classes * int(rng.integers(0, 10))] = 2
    stands = memories.memory_classes(logits, "written", 1)
    planted, chance = (memories.agreement(memories.most_active(each), stands)
                       for each in (values, random))
    assert own_class(planted, labels).all()
    expected = float(any_by_chance(10, memories_))
    error = np.sqrt(expected * (1 - expected) / images)
    assert abs(own_class(chance, labels).double().mean() - expected) < 3 * error
    others = (planted.double().sum(-1) - 1) / (classes - 1)
    # four of five memories are drawn at random
    assert abs(others.mean() - float(any_by_chance(10, memories_, 4))) < 0.03


def test_one_active_memory_matches_and_two_that_cancel_do_not():
    vectors = torch.zeros(6, 4, dtype=torch.float64)
    vectors[0, 1], vectors[1] = 1, torch.tensor([2.0, -1, 0, 0.5])
    vectors[2] = torch.tensor([-2.0, 0, 0, 0.5])
    head = torch.eye(4, dtype=torch.float64)

    def match(values):
        active = memories.most_active(values)
        written = memories.without_bias(values, vectors) @ head.T
        return memories.composition_match(active, (vectors @ head.T).argmax(-1),
                                          written.argmax(-1))

    one = torch.zeros(1, 1, 6, dtype=torch.float64)
    one[..., 0] = 3
    assert match(one)[0, 0].tolist()[0]
    # classes 0 and 3 of the two, minus each other, leave the fourth, which neither raises most;
    # the others' coefficients are negative, so that they are among the five only in name
    vectors[2] = torch.tensor([-2.0, 0, 3, 2.9])
    vectors[1] = torch.tensor([3.0, 0, -3, 2.9])
    vectors[3:] = torch.tensor([0, 1.0, 0, 0], dtype=torch.float64)
    vectors[0] = torch.tensor([0, 1.0, 0, 0], dtype=torch.float64)
    two = torch.zeros(1, 1, 6, dtype=torch.float64)
    two[..., 1:3] = 1
    assert not match(two).any()


# --- refusals ---


def test_bad_input_is_refused_in_one_line():
    target, images, _ = helpers.network("cls", 1)
    streams = read_streams(target, images)
    helpers.refused(lambda: memories.value_matrix(target, 3, "ffn"), "0..2", "3")
    helpers.refused(lambda: memories.value_matrix(target, True, "ffn"), "True")
    helpers.refused(lambda: memories.value_matrix(target, 0, "mlp"), "attention, ffn", "'mlp'")
    helpers.refused(lambda: memories.value_matrix(target.model, 0, "ffn"), "TargetModel")
    helpers.refused(lambda: memories.coefficients(target, 0, "ffn", streams.blocks), "(image, token, 16)")
    helpers.refused(lambda: memories.coefficients(target, 0, "ffn", None), "NoneType")
    helpers.refused(lambda: memories.coefficients(target, 0, "attention", streams.before(0), True),
                    "before an activation")
    helpers.refused(lambda: memories.most_active(torch.zeros(2, 4)), "1 to 4", "5")
    logits = torch.zeros(4, 3)
    helpers.refused(lambda: memories.memory_classes(logits, "any"), "published, written, all")
    helpers.refused(lambda: memories.memory_classes(logits[:, :2]), "at least three")
    helpers.refused(lambda: memories.memory_classes(logits, "written", 4), "1 to 3", "4")
    helpers.refused(lambda: memories.memory_classes(logits, "published", 0), "1 to 4", "0")
    helpers.refused(lambda: memories.class_value_agreement(logits, torch.zeros(5, 2)), "width 3")


def test_a_model_that_is_not_its_parts_is_refused():
    target, images, _ = helpers.network("cls", 1)
    stream = read_streams(target, images).before(0)
    handle = target.model.blocks[0].mlp.register_forward_hook(lambda *_: None)
    helpers.refused(lambda: memories.coefficients(target, 0, "ffn", stream), "block 0", "hooked")
    handle.remove()
    memories.coefficients(target, 0, "ffn", stream)
    swiglu = npc.TargetModel(helpers.small_vit(1, mlp_layer=__import__("timm").layers.SwiGLU))
    streams = read_streams(swiglu, images)
    helpers.refused(lambda: memories.coefficients(swiglu, 0, "ffn", streams.middle(0), True),
                    "not gated")
    gated = memories.coefficients(swiglu, 0, "ffn", streams.middle(0))
    written = memories.without_bias(gated, memories.value_matrix(swiglu, 0, "ffn"))
    torch.testing.assert_close(written + swiglu.model.blocks[0].mlp.fc2.bias.detach(),
                               streams.ffn[0], rtol=0, atol=1e-12)
