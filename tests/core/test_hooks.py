"""Where neurons live: what is read, held and multiplied, and that nothing else is touched."""

import asyncio
import threading

import pytest
import torch
from torch import nn

import neuronpath_core as npc
from neuronpath_core import edits, gradients
from neuronpath_core import hooks as core
from neuronpath_core.interventions import class_probabilities
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


@pytest.mark.each_value
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


# --- replacing ---


def some_values(target, images=2, tokens=None, seed=3):
    """Normal values ``(image, layer, token, neuron)`` of the scope's tokens."""
    tokens = len(range(target.n_tokens)[target.tokens]) if tokens is None else tokens
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, target.n_blocks, tokens, 16, generator=generator,
                       dtype=torch.float64)


def replaced_logits(model, where, image, factors, values):
    """Logits of one image; a plain hook of each block's ``fc2`` turns w of the tokens ``where``
    into v + f (w - v), neuron by neuron."""
    def hook(factor, value):
        def enter(_module, inputs):
            current = inputs[0].clone()
            for place, token in enumerate(where):
                for neuron in range(16):
                    v = value[place if len(value) > 1 else 0, neuron]
                    current[0, token, neuron] = v + factor[neuron] * (current[0, token, neuron] - v)
            return (current,)
        return enter

    handles = [block.mlp.fc2.register_forward_pre_hook(hook(factor, value))
               for block, factor, value in zip(model.blocks, factors, values, strict=True)]
    return helpers.run_hooked(model, image, handles)


@pytest.mark.each_value
@pytest.mark.parametrize("tokens", ["each", "one"])
@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("name", ["cls", "cls-registers-prenorm", "avg", "avg-registers",
                                  "patch-of-class-token"])
def test_values_replace_as_a_hook_written_by_hand(name, everywhere, tokens):
    """Every neuron has a factor of its own, and values at its tokens or one for all of them."""
    target, images, _ = helpers.network(name, 83)
    where = list(range(target.n_tokens)) if everywhere else twins.positions(target.model,
                                                                            target.scope)
    values = some_values(target, tokens=len(where) if tokens == "each" else 1)
    factors = 2 * torch.rand(2, target.n_blocks, 16, dtype=torch.float64,
                             generator=torch.Generator().manual_seed(2))
    factors[:, :, :3], factors[:, :, 3:6] = 0.0, 1.0
    with torch.no_grad(), edits.scaled(target, factors, everywhere, values):
        found = target(images)
    for index, logits in enumerate(found):
        torch.testing.assert_close(logits, replaced_logits(target.model, where, images[index],
                                                           factors[index], values[index]), rtol=0,
                                   atol=1e-11)


@pytest.mark.each_value
@pytest.mark.parametrize("operation", ["remove", "enhance", 1.0, 0.3, -1.7])
@pytest.mark.parametrize("name", helpers.NETWORKS)
def test_values_of_zero_are_none_bit_for_bit(name, operation):
    target, images, _ = helpers.network(name, 83)
    path, values = some_path(target.model, 2), 0 * some_values(target)
    with torch.no_grad():
        with npc.edit(target, path, operation):
            expected = target(images)
        for zero in (values, values[:1], values[:, :, :1], -values):
            with npc.edit(target, path, operation, zero):
                assert torch.equal(target(images), expected)
        with npc.edit(target, path, operation, values + 0.5):  # the control
            assert (operation == 1.0) == torch.equal(target(images), expected)


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_without_values_the_numbers_are_those_of_a_product(scope):
    """What an edit computed before there were replacement values, to the last bit: the scope's
    activations times their factors, joined with the other tokens."""
    model = helpers.small_vit(83)
    target, (images, _) = npc.TargetModel(model, scope=scope), helpers.small_batch(2, 84)
    factors = torch.rand(2, 3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    where = slice(0, 1) if scope == "cls" else slice(1, None)

    def hook(number):
        def enter(_module, inputs):
            value = inputs[0]
            return (torch.cat([value[:, :where.start], value[:, where] * factors[:, number, None],
                               value[:, 1:][:, :4 * (scope == "cls")]], 1),)
        return enter

    handles = [block.mlp.fc2.register_forward_pre_hook(hook(number))
               for number, block in enumerate(model.blocks)]
    with torch.no_grad():
        expected = model(images)
        for handle in handles:
            handle.remove()
        with edits.scaled(target, factors):
            assert torch.equal(target(images), expected)


def test_values_touch_the_path_at_the_scope_alone():
    model = helpers.without_attention(helpers.small_vit(83))
    images, _ = helpers.small_batch(2, 84)
    for scope in ("cls", "patch"):
        target, path, where = npc.TargetModel(model, scope=scope), some_path(model, 2), \
            twins.positions(model, scope)
        rest = [token for token in range(5) if token not in where]
        values, clean = some_values(target), clean_values(model, images)
        with npc.edit(target, path, "remove", values):
            edited = clean_values(model, images)
        for block in range(3):
            assert torch.equal(edited[block][:, rest], clean[block][:, rest])
            index = path[:, block, None, None].expand(-1, len(where), 1)
            assert torch.equal(edited[block][:, where].gather(2, index),
                               values[:, block].gather(2, index))
        for image in range(2):
            others = torch.arange(16) != path[image, 0]
            assert torch.equal(edited[0][image, where][:, others],
                               clean[0][image, where][:, others])


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_nested_edits_move_to_the_same_values_in_turn(scope):
    """v + b (v + a (w - v) - v) = v + ab (w - v); a removal outside of another's values wins."""
    target = npc.TargetModel(helpers.small_vit(83), scope=scope)
    images, _ = helpers.small_batch(2, 84)
    path, values, others = some_path(target.model, 2), *(some_values(target, seed=seed)
                                                         for seed in (3, 4))
    with torch.no_grad():
        with npc.edit(target, path, 3.0, values):
            expected = target(images)
        with npc.edit(target, path, 2.0, values), npc.edit(target, path, 1.5, values):
            torch.testing.assert_close(target(images), expected, rtol=0, atol=1e-12)
        with npc.edit(target, path, "remove", others):
            last = target(images)
        with npc.edit(target, path, 2.0, values), npc.edit(target, path, "remove", others):
            torch.testing.assert_close(target(images), last, rtol=0, atol=1e-12)
            with core.unedited():
                assert torch.equal(target(images), target.model(images))
        assert (last - expected).abs().max() > 1e-3


def test_values_act_in_the_thread_that_set_them_alone():
    target = npc.TargetModel(helpers.small_vit(83))
    images, _ = helpers.small_batch(2, 84)
    clean, found = target(images).detach(), []
    with npc.edit(target, some_path(target.model, 2), "remove", some_values(target)):
        other = threading.Thread(target=lambda: found.append(target(images).detach()))
        other.start()
        other.join()
        assert (target(images) - clean).abs().max() > 1e-3
    assert torch.equal(found[0], clean)


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_gradients_flow_to_values(scope):
    target = npc.TargetModel(helpers.small_vit(83), scope=scope)
    images, _ = helpers.small_batch(1, 84)
    values, path = some_values(target, 1).requires_grad_(), some_path(target.model, 1)

    def logits(values):
        with npc.edit(target, path, 0.5, values):
            return target(images)[0, :2]

    assert torch.autograd.gradcheck(logits, values, eps=1e-6, atol=1e-6, fast_mode=True)
    gradient, = torch.autograd.grad(logits(values).sum(), values)
    index = path[:, :, None, None].expand(-1, -1, gradient.shape[2], 1)
    # after the last block nothing of a patch reaches the class token
    assert gradient.gather(3, index)[:, :2].abs().min() > 0
    assert not gradient.scatter(3, index, 0.0).any()  # of no other neuron


def test_values_in_another_precision_are_taken_in_the_models():
    target = npc.TargetModel(helpers.small_vit(83))
    images, _ = helpers.small_batch(2, 84)
    path, values = some_path(target.model, 2), some_values(target).float()
    with torch.no_grad():
        with npc.edit(target, path, "remove", values.double()):
            expected = target(images)
        with npc.edit(target, path, "remove", values):
            assert torch.equal(target(images), expected)


@pytest.mark.parametrize(("made", "words"), [
    (lambda values: values[0], "values must have shape (image or 1, 3, token or 1, 16)"),
    (lambda values: values[None], "one draw of npc.replacement_values"),
    (lambda values: values[:, :2], "values must have shape"),
    (lambda values: values[..., :15], "values must have shape"),
    (lambda values: values[:0], "values must have shape"),
    (lambda values: values.long(), "floating-point numbers, got torch.int64"),
    (lambda values: values.tolist(), "floating-point numbers, got list"),
    (lambda values: "mean", "floating-point numbers, got str"),
    (lambda values: values.to_sparse(), "of layout torch.sparse_coo"),
    (lambda values: values.to("meta"), "on the meta device"),
    (lambda values: values * float("nan"), "values hold NaN"),
    (lambda values: values / 0, "values hold NaN or infinite"),
])
def test_values_that_are_none(made, words):
    target = npc.TargetModel(helpers.small_vit(83))
    values, before = some_values(target), helpers.Snapshot(target.model)

    def entered():
        with npc.edit(target, some_path(target.model, 2), "remove", made(values)):
            pass

    helpers.refused(entered, words)
    before.check()


def test_values_too_large_for_a_draft():
    target = npc.TargetModel(helpers.small_vit(83))
    values = 1e39 + 0 * some_values(target)

    def entered(model):
        with npc.edit(model, some_path(target.model, 2), "remove", values):
            pass

    entered(target)  # which double precision holds
    helpers.refused(lambda: entered(target.in_dtype(torch.float32)), "in torch.float32")


@pytest.mark.parametrize(("scope", "everywhere", "images", "tokens"), [
    ("cls", False, 2, 5), ("cls", False, 3, 1), ("patch", False, 2, 5), ("patch", False, 3, 4),
    ("cls", True, 2, 4), ("patch", True, 2, 4)])
def test_values_for_other_images_or_tokens_are_told_on_the_forward(scope, everywhere, images,
                                                                   tokens):
    target = npc.TargetModel(helpers.small_vit(83), scope=scope)
    before, pictures = helpers.Snapshot(target.model), helpers.small_batch(2, 84)[0]

    def run():
        with edits.scaled(target, torch.zeros(1, 3, 16), everywhere,
                         some_values(target, images, tokens)):
            target(pictures)

    helpers.refused(run, f"for {images} images of {tokens} tokens", "the edit is of 2 images at")
    before.check()


# --- hooks ---


def contexts(target, images):
    held = {block: value[:, target.tokens] for block,
            value in enumerate(clean_values(target.model, images))}
    return {
        "edit": lambda: npc.edit(target, some_path(target.model, 2), "remove"),
        "scaled": lambda: edits.scaled(target, torch.zeros(2, 3, 16, dtype=torch.float64)),
        "replaced": lambda: edits.scaled(target, torch.zeros(2, 3, 16, dtype=torch.float64),
                                        values=some_values(target)),
        "clamped": lambda: edits.clamped(target, held),
        "reading": lambda: core.reading(target),
        "activation_gradients": lambda: gradients.activation_gradients(target),
    }


@pytest.mark.parametrize("name", ["edit", "scaled", "replaced", "clamped", "reading",
                                  "activation_gradients"])
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
    if name in ("edit", "scaled", "replaced"):  # the forward itself fails
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
            with edits.clamped(target, held):
                torch.testing.assert_close(target(images), logits, rtol=0, atol=1e-12)
            with edits.clamped(target, {1: 0 * held[1]}):
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
            with edits.clamped(target, {0: held}):
                before = target.run(entering, 0, 1)
            held[..., neuron] += 1
            with edits.clamped(target, {0: held}):
                moved = target.run(entering, 0, 1) - before
            expected = torch.zeros_like(moved)
            expected[:, target.tokens] = target.value_vectors(0)[neuron]
            torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)


# --- where an edit acts: compiled code, tasks ---


@pytest.mark.parametrize("around", ["wrapper", "function", "larger model"])
def test_an_edit_is_in_force_in_what_was_compiled_around_the_model(around):
    model, (images, _) = helpers.small_vit(3), helpers.small_batch(2)
    target, path = npc.TargetModel(model), torch.tensor([[1, 2, 3]])
    outer = {"wrapper": model, "function": lambda value: model(value),
             "larger model": nn.Sequential(model)}[around]
    compiled = torch.compile(outer, backend="eager")
    with torch.no_grad():
        clean = compiled(images)
        with npc.edit(target, path, 5.0):
            found, expected = compiled(images), target(images)
        after = compiled(images)
    assert torch.equal(found, expected) and not torch.allclose(found, clean)
    assert torch.equal(after, clean)


def test_compiled_code_runs_compiled_again_after_edits_that_end_in_any_order():
    model, (images, _) = helpers.small_vit(3), helpers.small_batch(2)
    target, path, ran = npc.TargetModel(model), torch.tensor([[1, 2, 3]]), []

    def backend(graph, _example):
        return lambda *given: (ran.append(1), graph.forward(*given))[1]

    compiled = torch.compile(model, backend=backend)
    inside, left = threading.Event(), threading.Event()

    def other():
        with npc.edit(target, path):
            inside.set()
            left.wait(60)

    thread = threading.Thread(target=other)
    with torch.no_grad():
        compiled(images)
        before = len(ran)
        with npc.edit(target, path):
            thread.start()
            inside.wait(60)
        compiled(images)  # the other thread's edit is still in force
        assert len(ran) == before > 0
        left.set()
        thread.join()
        compiled(images)
    assert len(ran) > before


def test_an_edit_of_one_task_does_not_act_in_another():
    target, (images, _) = npc.TargetModel(helpers.small_vit(3)), helpers.small_batch(2)
    path, clean = torch.tensor([[1, 2, 3]]), class_probabilities(target, images)
    with npc.edit(target, path, 5.0):
        edited = class_probabilities(target, images)

    async def looks():
        return class_probabilities(target, images)

    async def edits(inside, done):
        with npc.edit(target, path, 5.0):
            inside.set()
            await done.wait()
            return await asyncio.create_task(looks()), await looks()  # in one that it starts, too

    async def main():
        inside, done = asyncio.Event(), asyncio.Event()
        editing = asyncio.create_task(edits(inside, done))
        await inside.wait()
        other = await asyncio.create_task(looks()), await looks()
        done.set()
        return other, await editing

    other, own = asyncio.run(main())
    assert all(torch.equal(each, clean) for each in other)
    assert all(torch.equal(each, edited) for each in own)
    assert not torch.allclose(edited, clean)


def test_an_edit_that_a_finished_task_entered_is_in_force():
    """As where a notebook runs every cell in a task of its own."""
    target, (images, _) = npc.TargetModel(helpers.small_vit(3)), helpers.small_batch(2)
    clean, edit = class_probabilities(target, images), npc.edit(target, torch.tensor([[1, 2, 3]]), 5)

    async def cell(work):
        return work()

    asyncio.run(cell(edit.__enter__))
    found = asyncio.run(cell(lambda: class_probabilities(target, images)))
    asyncio.run(cell(lambda: edit.__exit__(None, None, None)))
    assert not torch.allclose(found, clean)
    assert torch.equal(class_probabilities(target, images), clean)
