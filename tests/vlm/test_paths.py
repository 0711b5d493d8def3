"""Paths of answer words through tower and decoder: against the model as it is called, against hooks
of torch's own, against plants."""

import warnings

import pytest
import torch

import neuronpath_core as npc
from neuronpath_core import finding
from neuronpath_core.edits import scaled
from neuronpath_core.fast import engine as fast_engine
from neuronpath_core.vlm import path_search
from neuronpath_core.vlm.model import pixel_values
from neuronpath_core.vlm.path_target import POSITIONS, VlmTarget
from neuronpath_core.vlm.precise import in_double
from neuronpath_core.vlm.scenes import compose_many
from tests.vlm.planted import random_vlm

ASKED = "what colour is the star ?"
WORDS = ("red", "blue", "yes")


@pytest.fixture(scope="module")
def images():
    return pixel_values(compose_many("held_out", len(WORDS))).double()


def double_vlm(seed=0):
    return in_double(random_vlm(seed))


@pytest.fixture(scope="module")
def vlm():
    return double_vlm()


@pytest.fixture(scope="module", params=POSITIONS)
def target(request, vlm):
    return VlmTarget(vlm, ASKED, at=request.param)


@pytest.mark.parametrize("before", ["", "the image shows"])
def test_its_logits_are_those_of_the_model_as_it_is_called(vlm, before):
    scenes = compose_many("held_out", len(WORDS))
    given = vlm.encode([scene.pixels for scene in scenes], [ASKED] * len(scenes),
                       [before] * len(scenes) if before else None)
    with torch.no_grad():
        whole = vlm.model(**given.values).logits
    # behind words that are said the batch has an end
    # other shapes of the same products: rounding
    torch.testing.assert_close(VlmTarget(vlm, ASKED, before)(given.values["pixel_values"]),
                               whole[:, -2 if before else -1], rtol=0, atol=1e-13)


def test_a_model_in_double_precision_is_the_same_model(images):
    single, double = random_vlm(), double_vlm()
    one, two = VlmTarget(single, ASKED)(images), VlmTarget(double, ASKED)(images)
    # transformers' norms are in single precision
    torch.testing.assert_close(one, two, rtol=0, atol=1e-6)
    assert not torch.equal(one, two)


def test_layers_are_those_that_reach_the_answer(vlm):
    target, few = VlmTarget(vlm, ASKED), VlmTarget(vlm, ASKED, at="image")
    assert [layer.name for layer in target.layers] == [
        "tower block 1", "tower block 2", "tower block 3", "decoder block 1", "decoder block 2"]
    assert target.tower_layers == 3
    assert [layer.width for layer in target.layers] == [64, 64, 64, 1, 1]
    assert few.n_blocks == 4  # what the last layer does at image tokens reaches no answer


def test_find_paths_finds_those_of_the_plain_search_on_the_model_as_it_is_called(target, images):
    labels = target.numbers(WORDS)
    found = npc.find_paths(target, images, labels)
    plain = npc.find_paths(target, images, labels, engine="plain", steps=found.settings.steps)
    assert torch.equal(found.neurons, plain.neurons)
    torch.testing.assert_close(found.score, plain.score, rtol=1e-9, atol=1e-15)
    alone = npc.find_paths(target, images[1:2], labels[1:2])
    assert torch.equal(alone.neurons, found.neurons[1:2])


def test_the_joint_score_is_the_number_of_units_times_the_complete_attribution(target, images):
    labels = target.numbers(WORDS)
    neurons = npc.find_paths(target, images, labels, top=2).neurons
    rule = {"quadrature": "gauss-legendre", "steps": 12}
    joint = npc.joint_attribution_score(target, images, labels, neurons, **rule)
    integral = npc.complete_attribution(target, images, labels, neurons, **rule)
    torch.testing.assert_close(joint, 2 * target.n_blocks * integral)


def test_fundamental_theorem(target, images):
    labels = target.numbers(WORDS)
    neurons = npc.find_paths(target, images, labels).neurons
    exact = npc.complete_attribution(target, images, labels, neurons)
    integral = npc.complete_attribution(target, images, labels, neurons, "gauss-legendre", 16)
    assert exact.abs().min() > 1e-6
    # analytic in alpha: 16 nodes leave rounding alone, of probabilities of about 0.01
    torch.testing.assert_close(exact, integral, rtol=0, atol=1e-12)


def test_fundamental_theorem_with_transformers_own_norms(images):
    target = VlmTarget(random_vlm(), ASKED)
    labels = target.numbers(WORDS)
    neurons = npc.find_paths(target, images, labels).neurons
    exact = npc.complete_attribution(target, images, labels, neurons)
    integral = npc.complete_attribution(target, images, labels, neurons, "gauss-legendre", 16)
    torch.testing.assert_close(exact, integral, rtol=0, atol=1e-8)


def held_by_torchs_own_hooks(vlm, target, image, neurons):
    """F with a path's units zero and every other neuron at their positions clean, by hooks on
    ``down`` and nothing of the library's."""
    clean, handles = {}, []
    with torch.no_grad():
        for index, place in enumerate(target.model.places):
            handles.append(place.half.down.register_forward_pre_hook(
                lambda _, given, index=index: clean.update({index: given[0].clone()})))
        whole = vlm.model(input_ids=target.model.ids[None], pixel_values=image).logits[0, -1]
        for handle in handles:
            handle.remove()
        handles = []
        for index, place in enumerate(target.model.places):
            def hold(_, given, index=index, place=place):
                value = given[0].clone()
                for position in place.positions.tolist():
                    value[0, position] = clean[index][0, position]
                    value[0, position, neurons[index]] = 0
                return (value,)
            handles.append(place.half.down.register_forward_pre_hook(hold))
        zeroed = vlm.model(input_ids=target.model.ids[None], pixel_values=image).logits[0, -1]
        for handle in handles:
            handle.remove()
    return whole.softmax(-1), zeroed.softmax(-1)


def test_complete_attribution_is_what_zeroing_under_clamping_does(vlm, target, images):
    labels = target.numbers(WORDS)
    neurons = npc.find_paths(target, images, labels).neurons
    found = npc.complete_attribution(target, images, labels, neurons)
    for row, label in enumerate(labels):
        before, after = held_by_torchs_own_hooks(vlm, target, images[row:row + 1], neurons[row])
        torch.testing.assert_close(found[row], (before - after)[label], rtol=1e-9, atol=1e-14)


def test_edits_move_a_unit_at_its_positions_alone(vlm, images):
    target = VlmTarget(vlm, ASKED, at="image")
    neurons = torch.zeros(1, target.n_blocks, dtype=torch.int64)
    seen = {}
    half = vlm.halves["decoder"][0]

    def keep(name):
        return half.down.register_forward_pre_hook(
            lambda _, given: seen.update({name: given[0].detach()}))

    def called(name):
        handle = keep(name)
        target(images)
        handle.remove()

    called("clean")
    with npc.edit(target, neurons, 1.0):
        called("left")
    last = target.n_blocks - 1
    assert torch.equal(seen["clean"], seen["left"])
    with npc.edit(target, neurons, "remove"):
        assert not target.model.ports[last]._forward_pre_hooks == {}
        target(images)
    assert target.model.ports[last]._forward_pre_hooks == {}
    assert torch.equal(target(images), target(images))


def test_a_planted_path_is_found(images):
    vlm = double_vlm(3)
    target = VlmTarget(vlm, ASKED, at="last")
    planted = torch.tensor([5, 2, 9, 4, 1])
    with torch.no_grad():
        for place, neuron in zip(target.model.places, planted, strict=True):
            others = torch.arange(place.half.width) != neuron
            place.half.down.weight[:, others] *= 1e-4
    # a word that the last planted neuron speaks for, whatever the sign of its activation
    labels = torch.stack([_raised_by(target, image, planted) for image in images])
    found = npc.find_paths(target, images, labels).neurons
    assert torch.equal(found[:, -1], planted[-1:].expand(3))
    agreeing = (found == planted).double().mean()
    assert agreeing > 0.8
    # the null: without the plant the same labels' paths go elsewhere
    other = npc.find_paths(VlmTarget(double_vlm(4), ASKED), images, labels).neurons
    assert (other == planted).double().mean() < 0.5


def _raised_by(target, image, planted):
    with torch.no_grad():
        clean = target(image[None]).softmax(-1)
        with npc.edit(target, planted[None], "remove"):
            return (clean - target(image[None]).softmax(-1)).argmax()


def test_an_answer_that_needs_no_image_has_a_tower_part_of_no_effect(images):
    vlm = double_vlm(5)
    with torch.no_grad():  # attention hands nothing on, so the last word sees itself alone
        for layer in vlm.model.model.language_model.layers:
            layer.self_attn.v_proj.weight.zero_()
    target = VlmTarget(vlm, ASKED)
    labels = target.numbers(WORDS)
    with pytest.warns(RuntimeWarning, match="every neuron scores the same"):
        neurons = npc.find_paths(target, images, labels).neurons
    with torch.no_grad():
        clean = target(images)
        for first in (0, target.tower_layers):
            factors = torch.ones(1, target.n_blocks, target.n_neurons, dtype=torch.float64)
            factors[0, first:first + target.tower_layers] = 0
            with scaled(target, factors):
                same = torch.equal(target(images), clean)
            assert same == (first == 0)
    # with attention the same tower has an effect
    seeing = VlmTarget(double_vlm(5), ASKED)
    with torch.no_grad(), npc.edit(seeing, neurons, "remove"):
        assert not torch.equal(seeing(images), clean)


def test_what_is_taken_from_all_units_of_a_layer_is_the_sum_of_theirs(target, images):
    labels = target.numbers(WORDS)
    found = path_search.unit_attributions(target, images, labels, steps=16)
    assert found.shape == (3, target.n_blocks, target.n_neurons)
    with torch.no_grad():
        clean = target(images).softmax(-1)
        for index in range(target.n_blocks):
            factors = torch.ones(1, target.n_blocks, target.n_neurons, dtype=torch.float64)
            factors[0, index] = 0
            with scaled(target, factors):
                removed = target(images).softmax(-1)
            effect = (clean - removed).gather(1, labels[:, None])[:, 0]
            torch.testing.assert_close(found[:, index].sum(1), effect, rtol=1e-7, atol=1e-12)


def test_other_targets_go_through_the_door_as_they_went(monkeypatch):
    class Vit:
        sites = "ffn"

    seen = []
    opened = finding.ENGINES["fast"]
    assert opened.of_units
    path_search.open_the_door()
    assert finding.ENGINES["fast"] is opened  # once
    monkeypatch.setitem(finding.ENGINES, "fast", lambda *given: seen.append(given))
    path_search.open_the_door()
    finding.ENGINES["fast"](Vit(), 1, 2, 3, 4, 5)
    assert seen and seen[0][1:] == (1, 2, 3, 4, 5)
    assert fast_engine.search is not opened


def test_what_is_refused(vlm, images):
    target = VlmTarget(vlm, ASKED)
    labels = target.numbers(WORDS)
    for given, message in (
            ({"search": "beam"}, "accepted: search 'joint'"),
            ({"steps": "auto"}, "accepted: search 'joint'"),
            ({"baseline": torch.zeros(1, 5, 1, target.n_neurons * 64).double()}, "accepted")):
        with pytest.raises(ValueError, match=message):
            npc.find_paths(target, images, labels, **given)
    with pytest.raises(ValueError, match="accepted: last, image, all"):
        VlmTarget(vlm, ASKED, at="first")
    with pytest.raises(ValueError, match="images must be a tensor"):
        npc.find_paths(target, images[..., :32], labels)
    with pytest.raises(ValueError, match="images are torch.float32"):
        npc.find_paths(target, images.float(), labels)
    with pytest.raises(ValueError, match="labels must be an int64 tensor"):
        npc.find_paths(target, images, labels[:2])
    with pytest.raises(ValueError, match="labels must lie in"):
        npc.find_paths(target, images, labels + 10_000)
    with pytest.raises(ValueError, match="no single token"):
        target.numbers(["crimson"])


def test_a_model_that_does_something_else_is_refused(images):
    vlm = double_vlm(6)
    target = VlmTarget(vlm, ASKED)
    labels = target.numbers(WORDS)
    npc.find_paths(target, images, labels)
    handle = vlm.model.model.multi_modal_projector.register_forward_hook(
        lambda _module, _given, out: out)
    npc.find_paths(target, images, labels)  # it changes nothing
    handle.remove()
    handle = vlm.model.register_forward_hook(
        lambda _module, _given, out: out.__setitem__("logits", 2 * out.logits))
    with pytest.raises(ValueError, match="not its layers put together"):
        npc.find_paths(target, images, labels)
    handle.remove()
    npc.find_paths(target, images, labels)
    with torch.no_grad():
        vlm.model.lm_head.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite"), warnings.catch_warnings():
        npc.find_paths(target, images, labels)
