"""Where neurons live: what is read, held and multiplied, and that nothing else is touched."""

import pytest
import torch

import neuronpath_core as npc
from neuronpath_core import gradients
from neuronpath_core import hooks as core
from tests import helpers, twins


def clean_values(model, images):
    """Per block all tokens' FFN activations, ``(batch, token, neuron)``."""
    seen = {}
    with torch.no_grad():
        twins.forward(model, "cls", images, seen=seen)
    return [seen[number] for number in range(len(model.blocks))]


def some_path(model, batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 16, (batch, len(model.blocks)), generator=generator)


# --- the target ---


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_what_a_target_knows(name):
    arguments, scope = helpers.NETWORKS[name]
    model = helpers.small_vit(81, **arguments).train()
    target = npc.TargetModel(model, scope=scope)
    assert target.model is model
    assert not any(module.training for module in model.modules())
    assert (target.n_blocks, target.n_neurons, target.n_classes) == (len(model.blocks), 16, 5)
    assert target.scope == scope
    assert target.dtype == torch.float64
    assert target.device == torch.device("cpu")
    images, _ = helpers.small_batch(2, 82)
    with torch.no_grad():
        assert torch.equal(target(images), model(images))
        stream = target.embed(images)
        assert list(range(stream.shape[1]))[target.tokens] == twins.positions(model, scope)


@pytest.mark.parametrize(("arguments", "scope"), [
    ({}, "cls"), ({"reg_tokens": 2}, "cls"),
    ({"global_pool": "avg"}, "patch"), ({"global_pool": "avg", "class_token": False}, "patch"),
    ({"global_pool": "map", "class_token": False}, "patch"), ({"global_pool": "max"}, "patch"),
    ({"global_pool": "avgmax"}, "patch")])
def test_auto_scope_follows_the_head(arguments, scope):
    assert npc.TargetModel(helpers.small_vit(81, **arguments)).scope == scope


def test_a_deep_equal_model_gives_the_same_target():
    """The target holds no state of its own: two targets of one model do not disturb each other."""
    model = helpers.small_vit(81)
    first, second = npc.TargetModel(model), npc.TargetModel(model, scope="patch")
    images, labels = helpers.small_batch(2, 82)
    expected = npc.find_paths(first, images, labels, steps=2)
    npc.find_paths(second, images, labels, steps=2)
    assert torch.equal(npc.find_paths(first, images, labels, steps=2).neurons, expected.neurons)


def another_block(model):
    model.blocks[1] = helpers.small_vit(99).blocks[1]


def another_layer(model):
    """As an adapter does it: a layer that computes more than its weight says."""
    model.blocks[1].mlp.fc1 = torch.nn.Sequential(model.blocks[1].mlp.fc1,
                                                  helpers.small_vit(99).blocks[1].mlp.fc1)


def another_function(model):
    model.blocks[1].mlp.act = torch.nn.Softsign()


def another_forward(model):
    layer = model.blocks[1].mlp.fc1
    forward = layer.forward
    layer.forward = lambda value: 2 * forward(value)


@pytest.mark.parametrize("change", [another_block, another_layer, another_function,
                                    another_forward])
@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_target_follows_a_model_that_is_changed_later(scope, change):
    """The model is not copied: after a search the target still computes what its model computes."""
    model = helpers.small_vit(81)
    target, (images, labels) = npc.TargetModel(model, scope=scope), helpers.small_batch(2, 82)
    settings = {"context": "full", "quadrature": "left", "steps": 2}
    before = npc.find_paths(target, images, labels, **settings)
    change(model)
    found, expected = (npc.find_paths(each, images, labels, **settings)
                       for each in (target, npc.TargetModel(model, scope=scope)))
    assert not torch.allclose(expected.score, before.score)
    assert torch.equal(found.neurons, expected.neurons)
    torch.testing.assert_close(found.score, expected.score, rtol=1e-9, atol=1e-13)


# --- reading ---


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_read_activations(name):
    arguments, scope = helpers.NETWORKS[name]
    model = helpers.small_vit(81, **arguments)
    images, _ = helpers.small_batch(2, 82)
    found = npc.read_activations(npc.TargetModel(model, scope=scope), images)
    assert found.shape == (2, len(model.blocks), 1 if scope == "cls" else 4, 16)
    assert not found.requires_grad
    for image, values in zip(images, found, strict=True):
        for value, expected in zip(values, twins.clean_activations(model, scope, image),
                                   strict=True):
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-13)


def test_a_neuron_is_the_output_of_the_activation_function():
    """By hand for the first block, without hooks: GELU of the first linear layer."""
    model = helpers.small_vit(81)
    target = npc.TargetModel(model)
    images, _ = helpers.small_batch(2, 82)
    block = model.blocks[0]
    with torch.no_grad():
        stream = torch.cat([model.cls_token.expand(2, -1, -1), model.patch_embed(images)],
                           1) + model.pos_embed
        stream = stream + block.attn(block.norm1(stream))
        expected = torch.nn.functional.gelu(block.norm2(stream) @ block.mlp.fc1.weight.T
                                            + block.mlp.fc1.bias)
    torch.testing.assert_close(npc.read_activations(target, images)[:, 0, 0], expected[:, 0],
                               rtol=0, atol=1e-13)


# --- editing ---


@pytest.mark.parametrize(("operation", "factor"), [("remove", 0.0), ("enhance", 2.0), (0, 0.0),
                                                   (-1.5, -1.5), (0.5, 0.5)])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_edit_multiplies_the_current_value(name, operation, factor):
    """Against a forward pass written out by hand, in which a later block's neuron feels the earlier
    edits."""
    arguments, scope = helpers.NETWORKS[name]
    model = helpers.small_vit(83, **arguments)
    target = npc.TargetModel(model, scope=scope)
    images, _ = helpers.small_batch(2, 84)
    path = some_path(model, 2)
    with torch.no_grad(), npc.edit(target, path, operation) as edited:
        assert edited is target
        found = target(images)
    for image, neurons, logits in zip(images, path.tolist(), found, strict=True):
        expected = twins.edited_logits(model, scope, image, [[neuron] for neuron in neurons],
                                       factor)
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_the_current_value_is_not_the_clean_one(scope):
    """Holding the path at twice its clean values is another intervention; here the two differ
    visibly."""
    model = helpers.small_vit(83)
    target = npc.TargetModel(model, scope=scope)
    images, _ = helpers.small_batch(2, 84)
    path, where = some_path(model, 2), twins.positions(model, scope)
    with torch.no_grad():
        held, seen = {}, {}
        twins.forward(model, scope, images, seen=seen)
        with npc.edit(target, path, "enhance"):
            edited = target(images)
            # its hooks come after the edit's: what really enters fc2
            current = clean_values(model, images)
        for block, value in seen.items():
            held[block] = current[block][:, where].clone()
            index = path[:, block, None, None].expand(-1, len(where), 1)
            held[block].scatter_(2, index, 2 * value[:, where].gather(2, index))
        clean_held = twins.forward(model, scope, images, held)
    assert (edited - clean_held).abs().max() > 1e-3


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_an_edit_and_its_control(scope):
    model = helpers.small_vit(83)
    target = npc.TargetModel(model, scope=scope)
    images, _ = helpers.small_batch(2, 84)
    path, where = some_path(model, 2), twins.positions(model, scope)
    rest = [token for token in range(5) if token not in where]
    with torch.no_grad():
        logits, clean = target(images), clean_values(model, images)
        with npc.edit(target, path, 1.0):
            assert torch.equal(target(images), logits)  # a factor of one changes nothing
        with npc.edit(target, path, "remove"):
            edited = clean_values(model, images)
            assert (target(images) - logits).abs().max() > 1e-3  # zero does
        assert torch.equal(target(images), logits)  # and it is over
    for image in range(2):
        first, neuron = path[image, 0], torch.arange(16) != path[image, 0]
        # other tokens are untouched,
        assert torch.equal(edited[0][image, rest], clean[0][image, rest])
        # and so are other neurons
        assert torch.equal(edited[0][image][where][:, neuron], clean[0][image][where][:, neuron])
        assert (edited[0][image][where][:, first] == 0).all()
        assert (clean[0][image][where][:, first] != 0).all()
    for block in range(3):
        index = path[:, block, None, None].expand(-1, len(where), 1)
        assert (edited[block][:, where].gather(2, index) == 0).all()
    assert not torch.equal(edited[1], clean[1])  # later blocks feel it


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_where_tokens_do_not_mix_the_other_tokens_never_feel_an_edit(scope):
    model = helpers.without_attention(helpers.small_vit(83))
    target = npc.TargetModel(model, scope=scope)
    images, _ = helpers.small_batch(2, 84)
    where = twins.positions(model, scope)
    rest = [token for token in range(5) if token not in where]
    clean = clean_values(model, images)
    with npc.edit(target, some_path(model, 2), "enhance"):
        edited = clean_values(model, images)
    for block in range(3):
        assert torch.equal(edited[block][:, rest], clean[block][:, rest])
        assert not torch.equal(edited[block][:, where], clean[block][:, where])


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_editing_the_planted_path(scope):
    target = npc.TargetModel(helpers.planted_vit(scope))
    images, planted = helpers.small_batch(2, 6)[0].abs(), torch.tensor([helpers.PLANTED])
    with torch.no_grad():
        clean = target(images).softmax(-1)
        with npc.edit(target, planted, "remove"):
            torch.testing.assert_close(target(images).softmax(-1), torch.full_like(clean, 1 / 3),
                                       rtol=0, atol=1e-15)
        with npc.edit(target, planted, "enhance"):
            assert (target(images).softmax(-1)[:, helpers.PLANTED_LABEL]
                    > clean[:, helpers.PLANTED_LABEL] + 0.01).all()
        for operation in ("remove", "enhance"):
            with npc.edit(target, (planted + 1) % 16, operation):  # the control
                assert torch.equal(target(images).softmax(-1), clean)
    assert (clean[:, helpers.PLANTED_LABEL] > 0.5).all()


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_an_edit_for_one_image_holds_for_every_image(scope):
    model = helpers.small_vit(83)
    target = npc.TargetModel(model, scope=scope)
    images, _ = helpers.small_batch(3, 84)
    path = some_path(model, 1)
    with torch.no_grad():
        with npc.edit(target, path, "remove"):
            broadcast = target(images)
        with npc.edit(target, path.expand(3, -1), "remove"):
            assert torch.equal(target(images), broadcast)


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_each_image_has_its_own_edit(scope):
    model = helpers.small_vit(83)
    target = npc.TargetModel(model, scope=scope)
    images, _ = helpers.small_batch(3, 84)
    path = some_path(model, 3)
    with torch.no_grad():
        with npc.edit(target, path, "enhance"):
            together = target(images)
        for i in range(3):
            with npc.edit(target, path[i:i + 1], "enhance"):
                torch.testing.assert_close(target(images[i:i + 1]), together[i:i + 1], rtol=0,
                                           atol=1e-12)


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_several_neurons_a_block_are_edited_together(scope):
    model = helpers.small_vit(83)
    target = npc.TargetModel(model, scope=scope)
    images, _ = helpers.small_batch(1, 84)
    path = torch.tensor([[[1, 8, 15], [0, 2, 4], [5, 3, 9]]])
    with torch.no_grad(), npc.edit(target, path, "remove"):
        found = target(images)
    torch.testing.assert_close(found[0],
                               twins.edited_logits(model, scope, images[0], path[0].tolist(), 0.0),
                               rtol=0, atol=1e-12)


def test_nested_edits_multiply():
    model = helpers.small_vit(83)
    target = npc.TargetModel(model)
    images, _ = helpers.small_batch(2, 84)
    path = some_path(model, 2)
    with torch.no_grad():
        with npc.edit(target, path, 3.0):
            expected = target(images)
        with npc.edit(target, path, 2.0), npc.edit(target, path, 1.5):
            torch.testing.assert_close(target(images), expected, rtol=0, atol=1e-12)


def test_gradients_flow_through_an_edit():
    target = npc.TargetModel(helpers.small_vit(83))
    images, _ = helpers.small_batch(1, 84)
    images.requires_grad_()
    with npc.edit(target, some_path(target.model, 1), "enhance"):
        assert torch.autograd.gradcheck(lambda value: target(value)[0, :2], images, eps=1e-6,
                                        atol=1e-6, fast_mode=True)


# --- hooks ---


def contexts(target, images):
    held = {block: value[:, target.tokens] for block,
            value in enumerate(clean_values(target.model, images))}
    return {
        "edit": lambda: npc.edit(target, some_path(target.model, 2), "remove"),
        "scaled": lambda: core.scaled(target, torch.zeros(2, 3, 16, dtype=torch.float64)),
        "clamped": lambda: core.clamped(target, held),
        "reading": lambda: core.reading(target),
        "activation_gradients": lambda: gradients.activation_gradients(target),
    }


@pytest.mark.parametrize("name", ["edit", "scaled", "clamped", "reading", "activation_gradients"])
def test_contexts_leave_nothing_behind_even_after_an_error(name):
    model = helpers.small_vit(83)
    list(model.parameters())[3].requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    target = npc.TargetModel(model)
    images, _ = helpers.small_batch(2, 84)
    context = contexts(target, images)[name]
    before = helpers.Snapshot(model)
    logits = target(images).detach()
    with context():
        assert name == "activation_gradients" or helpers.hook_count(model) > before.hooks
        target(images)
    before.check()
    def interrupted():
        with context():
            target(images)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    before.check()
    if name in ("edit", "scaled"):  # the forward itself fails
        with pytest.raises(ValueError, match="2 images"), context():
            target(images[:1].expand(3, -1, -1, -1))
        before.check()
    assert torch.equal(target(images).detach(), logits)


def test_clamping_to_clean_values_changes_nothing_and_to_others_does():
    model = helpers.small_vit(83)
    images, _ = helpers.small_batch(2, 84)
    for scope in ("cls", "patch"):
        target = npc.TargetModel(model, scope=scope)
        held = {block: value[:, target.tokens] for block,
                value in enumerate(clean_values(model, images))}
        with torch.no_grad():
            logits = target(images)
            with core.clamped(target, held):
                torch.testing.assert_close(target(images), logits, rtol=0, atol=1e-12)
            with core.clamped(target, {1: 0 * held[1]}):
                assert (target(images) - logits).abs().max() > 1e-3


def test_a_users_own_hooks_survive():
    model = helpers.small_vit(83)
    target, calls = npc.TargetModel(model), []
    images, labels = helpers.small_batch(2, 84)
    handle = model.blocks[1].mlp.fc2.register_forward_pre_hook(lambda *_: calls.append(1))
    npc.find_paths(target, images, labels, steps=2)
    with npc.edit(target, some_path(model, 2), "remove"):
        target(images)
    calls.clear()
    target(images)
    assert calls == [1]
    handle.remove()


# --- pieces the search is built from ---


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_embed_run_probability_are_the_forward_in_parts(name):
    target, images, labels = helpers.network(name, 85)
    with torch.no_grad():
        stream = target.run(target.run(target.embed(images), 0, 2), 2, target.n_blocks)
        expected = target.model(images).softmax(-1)[torch.arange(2), labels]
        torch.testing.assert_close(target.probability(stream, labels), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_value_vectors_are_what_a_unit_of_a_neuron_writes(name):
    target, images, _ = helpers.network(name, 85, batch=1)
    with torch.no_grad():
        entering = target.embed(images)
        for neuron in (0, 7):
            held = clean_values(target.model, images)[0][:, target.tokens].clone()
            with core.clamped(target, {0: held}):
                before = target.run(entering, 0, 1)
            held[..., neuron] += 1
            with core.clamped(target, {0: held}):
                moved = target.run(entering, 0, 1) - before
            expected = torch.zeros_like(moved)
            expected[:, target.tokens] = target.value_vectors(0)[neuron]
            torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)
