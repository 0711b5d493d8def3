"""Networks that somebody changed: what the library computes is what the network computes as it is
called, or a refusal; one list of changes for searches, baselines, scores, edits, readings, value
vectors and pruning."""

import _thread
import threading
import types
import warnings

import peft
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from timm.models.vision_transformer import Attention, Block
from torch import nn
from torch.ao import quantization
from torch.nn.utils import parametrizations, parametrize, prune

import neuronpath_core as npc
from neuronpath_core import edits
from neuronpath_core.hooks import neurons_read
from neuronpath_core.interventions import class_probabilities, edited_probabilities
from neuronpath_core.models.importance import mean_activations
from neuronpath_core.models.pruning import prune_ffn
from neuronpath_core.search import path_scores
from neuronpath_core.variants.sites import SiteModel
from tests import helpers, twins

STEPS = 4
PUBLISHED = {"context": "full", "quadrature": "left", "steps": STEPS, "draft": None}


def normal(*shape, seed=9):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class LoRALinear(nn.Linear):
    """A linear layer with a low-rank addition that its weight does not show."""

    def __init__(self, linear, size=0.3):
        super().__init__(linear.in_features, linear.out_features)
        self.weight, self.bias = linear.weight, linear.bias
        self.down = nn.Parameter(size * normal(2, linear.in_features))
        self.up = nn.Parameter(size * normal(linear.out_features, 2, seed=10))

    def forward(self, value):
        return super().forward(value) + value @ self.down.T @ self.up.T


class Adapter(nn.Module):
    """A bottleneck, which is not affine."""

    def __init__(self, width=16):
        super().__init__()
        self.down, self.up = nn.Parameter(normal(3, width)), nn.Parameter(normal(width, 3, seed=2))

    def forward(self, value):
        return value + torch.relu(value @ self.down.T) @ self.up.T


class Routed(nn.Linear):
    """Sends hidden vectors of some lengths to another expert; without a bias neither end of the way
    from nothing to a longer one shows it."""

    def __init__(self, linear, low, high):
        super().__init__(linear.in_features, linear.out_features, bias=False)
        self.weight, self.other = linear.weight, nn.Parameter(-linear.weight.detach())
        self.low, self.high = low, high

    def forward(self, value):
        length = value.norm(dim=-1, keepdim=True)
        routed = (self.low < length) & (length < self.high)
        return torch.where(routed, value @ self.other.T, value @ self.weight.T)


class Twice(torch.Tensor):
    """A weight that counts double, as those of quantised layers are not what they show."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is F.linear:
            args = [each.as_subclass(torch.Tensor) if isinstance(each, Twice) else each
                    for each in args]
            return F.linear(args[0], 2 * args[1], *args[2:], **(kwargs or {}))
        return super().__torch_function__(function, types, args, kwargs or {})


class Scale(nn.Module):
    def forward(self, value):
        return 0.5 * value


class AlwaysDropping(nn.Module):
    def forward(self, value):
        return F.dropout(value, 0.5, training=True)


class OverImages(nn.Module):
    """Looks at the other images of a batch."""

    def forward(self, value):
        return value - 0.5 * value.mean(0, keepdim=True)


class Skipping(nn.Sequential):
    """Blocks in a container of somebody's own."""

    def forward(self, stream):
        for block in list(self)[:-1]:
            stream = block(stream)
        return stream + 0.5 * self[-1](stream)


class Gain(nn.Module):
    def forward(self, weight):
        return 1.5 * weight


def normalising(model):
    model.register_forward_pre_hook(lambda _module, inputs: ((inputs[0] - 0.5) / 0.25,))


def tempered(model):
    model.register_forward_hook(lambda _module, _inputs, logits: logits / 0.2)


def forward_of_this_instance(model):
    native = model.forward
    model.forward = lambda pictures: native((pictures - 0.5) / 0.25)


def features_of_this_instance(model):
    native = model.forward_features
    model.forward_features = lambda pictures, **named: 1.7 * native(pictures, **named)


def pool_of_this_instance(model):
    model.pool = lambda tokens, *_: tokens[:, 1:].mean(1)


def positions_of_this_instance(model):
    native = model._pos_embed
    model._pos_embed = lambda tokens: 1.3 * native(tokens)


def hooked_container(model):
    mixing = 0.3 * normal(16, 16)
    model.blocks.register_forward_hook(lambda _module, _inputs, stream: stream + stream @ mixing)


def own_container(model):
    model.blocks = Skipping(*model.blocks)


def norm_that_mixes_tokens(model):
    model.norm.register_forward_hook(lambda _module, _inputs, value: value + value.mean(1, True))


def lora(*names):
    def change(model):
        for block in model.blocks:
            for name in names:
                parent = block.get_submodule(name.rpartition(".")[0])
                leaf = name.rpartition(".")[2]
                setattr(parent, leaf, LoRALinear(getattr(parent, leaf)))
    return change


def lora_of_pefts(*names, **settings):
    """Adapters of the library that most people take, which stand in the place of a layer."""
    def change(model):
        with torch.random.fork_rng():
            torch.manual_seed(11)
            peft.inject_adapter_in_model(peft.LoraConfig(
                r=2, target_modules=list(names), init_lora_weights=False, **settings), model)
        model.double().eval()
    return change


def lora_by_a_hook(model):
    low = 0.2 * normal(16, 16)
    for block in model.blocks:
        block.mlp.fc2.register_forward_hook(lambda _module, inputs, out: out + inputs[0] @ low)


def scaled_ffn(model):
    model.blocks[1].mlp.register_forward_hook(lambda _module, _inputs, written: 1.5 * written)


def another_layer_scale(model):
    for block in model.blocks:
        block.ls2 = Scale()


def adapter(model):
    for block in model.blocks:
        block.mlp.drop2 = Adapter()


def adapter_of_attention(model):
    for block in model.blocks:
        block.attn.proj_drop = Adapter()


def tokens_mixed_after_the_ffn(model):
    model.blocks[1].mlp.register_forward_hook(
        lambda _module, _inputs, written: written + 0.5 * written.mean(1, keepdim=True))


def deep_prompts(model):
    for block in list(model.blocks)[1:]:
        block.register_forward_pre_hook(
            lambda _module, inputs: (torch.cat([inputs[0][:, :1], inputs[0][:, 1:] + 0.3], 1),))


def shallow_prompts(model):
    prompts = 0.5 * normal(1, 2, 16)
    model.blocks[0].register_forward_pre_hook(lambda _module, inputs: (
        torch.cat([inputs[0], prompts.expand(len(inputs[0]), -1, -1)], 1),))


def weight_norm(model):
    for block in model.blocks:
        parametrizations.weight_norm(block.mlp.fc2)


def parametrised(model):
    for block in model.blocks:
        parametrize.register_parametrization(block.mlp.fc2, "weight", Gain())


def weights_of_another_class(*names):
    def weights_that_count_double(model):
        for block in model.blocks:
            for name in names:
                layer = block.get_submodule(name)
                layer.weight = nn.Parameter(layer.weight.data.as_subclass(Twice))
    return weights_that_count_double


def pruned_by_torch(model):
    for block in model.blocks:
        prune.l1_unstructured(block.mlp.fc2, "weight", 0.5)
        prune.l1_unstructured(block.attn.qkv, "weight", 0.3)


def attention_of_this_instance(model):
    native = model.blocks[1].attn.forward
    model.blocks[1].attn.forward = lambda value, **named: 0.7 * native(value, **named)


def other_scale(model):
    for block in model.blocks:
        block.attn.fused_attn, block.attn.scale = False, 1.7 * block.attn.scale


def other_heads(model):
    for block in model.blocks:
        block.attn.num_heads, block.attn.head_dim = 4, 4


def always_dropping(model):
    model.blocks[1].mlp.drop1 = AlwaysDropping()


def over_images(model):
    model.blocks[1].drop_path1 = OverImages()


def sequential_head(model):
    model.head = nn.Sequential(nn.Dropout(0.1), model.head).eval()


def head_with_a_norm(model):
    model.head = nn.Sequential(nn.BatchNorm1d(16, affine=False), model.head).double().eval()


def act_of_a_class_of_its_own(model):
    class Louder(nn.GELU):
        def forward(self, value):
            return 1.5 * super().forward(value) + 0.1 * value

    for block in model.blocks:
        block.mlp.act = Louder()


CHANGES = [normalising, tempered, forward_of_this_instance, features_of_this_instance,
           pool_of_this_instance, positions_of_this_instance, hooked_container, own_container,
           norm_that_mixes_tokens, lora("mlp.fc2"), lora("mlp.fc1", "attn.qkv"), lora("attn.proj"),
           lora_of_pefts("fc2"), lora_of_pefts("qkv", "proj", "fc1", "fc2", use_dora=True),
           lora_by_a_hook, scaled_ffn, another_layer_scale, adapter, adapter_of_attention,
           tokens_mixed_after_the_ffn, deep_prompts, shallow_prompts, weight_norm, parametrised,
           pruned_by_torch, attention_of_this_instance, other_scale, other_heads, sequential_head,
           head_with_a_norm, act_of_a_class_of_its_own, weights_of_another_class("mlp.fc2"),
           weights_of_another_class("mlp.fc1", "attn.qkv", "attn.proj")]
NAMES = [change.__name__ if change.__name__ in globals() else f"{change.__name__} {number}"
         for number, change in enumerate(CHANGES)]
# what no change can make right: each call gives something else
REFUSED = [always_dropping, over_images]


def changed(change, scope="cls"):
    model = helpers.small_vit(31, **({} if scope == "cls" else {"global_pool": "avg"}))
    change(model)
    return model, *helpers.small_batch(2, 32)


def quietly(call):
    """What a call gives, or ``None`` if it refuses."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            return call()
        except ValueError as error:
            assert "accepted" in str(error) and "\n" not in str(error)
            return None


def searched(model, scope, images, labels):
    rule = twins.rule("left", STEPS)
    return [twins.published_search(model, scope, image, int(label), *rule)
            for image, label in zip(images, labels, strict=True)]


@pytest.mark.each_value
@pytest.mark.parametrize("scope", ["cls", "patch"])
@pytest.mark.parametrize("change", CHANGES, ids=NAMES)
def test_paths_and_scores_are_those_of_the_model_as_it_is_called(change, scope):
    model, images, labels = changed(change, scope)
    found = quietly(lambda: npc.find_paths(npc.TargetModel(model, scope), images, labels,
                                           **PUBLISHED))
    if found is None:
        # only where the scope's tokens are no longer those that the model began with
        assert change is shallow_prompts and scope == "patch"
        return
    for row, (path, score) in enumerate(searched(model, scope, images, labels)):
        assert found.neurons[row].tolist() == [each[0] for each in path]
        assert float(found.score[row]) == pytest.approx(score, rel=1e-9, abs=1e-13)


def by_effect(model, image, label):
    """The neurons whose removal after that of the path's so far lowers F most; a copy of the image
    for each neuron that a block has."""
    path = []
    for _ in model.blocks:
        left = by_hooks(model, image.repeat(16, 1, 1, 1), [*path, torch.arange(16)], 0.0)
        path.append(int(left.softmax(-1)[:, label].argmin()))
    return path


@pytest.mark.parametrize("change", CHANGES, ids=NAMES)
def test_what_needs_the_blocks_is_right_or_refused(change):
    model, images, labels = changed(change)
    target, rule = npc.TargetModel(model), twins.rule("left", STEPS)
    wanted = [
        (lambda: npc.knowledge_attribution(target, images, labels, "left", STEPS),
         lambda image, label: twins.knowledge_attribution(model, "cls", image, label, *rule)),
        (lambda: npc.find_paths(target, images, labels, "activation").neurons,
         lambda image, label: torch.tensor(twins.activation_path(model, "cls", image))[:, 0]),
        (lambda: npc.find_paths(target, images, labels, "ablation").neurons,
         lambda image, label: torch.tensor(by_effect(model, image, label))),
        (lambda: npc.joint_attribution_score(target, images, labels,
                                             torch.tensor([[1, 2, 3]] * 2), "left", STEPS),
         lambda image, label: torch.tensor(twins.joint_attribution_score(
             model, "cls", image, label, [[1], [2], [3]], *rule), dtype=torch.float64)),
        (lambda: npc.complete_attribution(target, images, labels, torch.tensor([[1, 2, 3]] * 2)),
         lambda image, label: torch.tensor(twins.complete_attribution(
             model, "cls", image, label, [[1], [2], [3]]), dtype=torch.float64)),
    ]
    for call, twin in wanted:
        found = quietly(call)
        if found is not None:
            expected = torch.stack([twin(image, int(label)) for image, label
                                    in zip(images, labels, strict=True)])
            torch.testing.assert_close(found, expected.to(found.dtype), rtol=1e-9, atol=1e-13)


def by_hooks(model, images, path, factor):
    """Logits with neurons of every block multiplied at the class token: one, or one an image."""
    handles = []
    for block, neuron in zip(model.blocks, path, strict=False):  # or some of the first
        def edit(_module, inputs, neuron=neuron):
            value = inputs[0].clone()
            value[torch.arange(len(value)), 0, neuron] *= factor
            return (value,)
        handles.append(block.mlp.fc2.register_forward_pre_hook(edit))
    with torch.no_grad():
        logits = model(images)
    for handle in handles:
        handle.remove()
    return logits


@pytest.mark.parametrize("change", CHANGES, ids=NAMES)
def test_edits_and_readings_are_of_the_model_as_it_is_called(change):
    model, images, _ = changed(change)
    target, path = npc.TargetModel(model), [3, 5, 7]
    with torch.no_grad():
        torch.testing.assert_close(class_probabilities(target, images), model(images).softmax(-1))
    read = npc.read_activations(target, images)
    for row, image in enumerate(images):
        for block, expected in enumerate(twins.clean_activations(model, "cls", image)):
            torch.testing.assert_close(read[row, block], expected)
    expected = by_hooks(model, images, path, 2.0)
    found = edited_probabilities(target, images, torch.tensor([path] * 2), "enhance")
    torch.testing.assert_close(found, expected.softmax(-1))
    with npc.edit(target, torch.tensor([path]), "enhance"), torch.no_grad():
        torch.testing.assert_close(target(images), expected)
    assert mean_activations(target, images).shape == (3, 16)


@pytest.mark.each_value
@pytest.mark.parametrize("change", CHANGES, ids=NAMES)
@pytest.mark.parametrize("sites", ["ffn", "attention"])
def test_value_vectors_are_what_one_unit_adds_to_the_stream(change, sites):
    model, images, _ = changed(change)
    target = SiteModel(model, sites=sites)
    vectors = quietly(lambda: target.value_vectors(1))
    if vectors is None:
        # not affine, or hooks on a whole block, of which halves are wanted
        assert change in (adapter, adapter_of_attention, deep_prompts, shallow_prompts)
        return
    # one unit more of neuron 2 and of neuron 7, by the layer itself
    stream = normal(1, 5, 16, seed=4)
    with torch.no_grad():
        for neuron in (2, 7):
            added = []
            for amount in (0.0, 1.0):
                value = torch.zeros(1, 1, vectors.shape[0], dtype=torch.float64)
                value[..., neuron] = amount
                with edits.clamped(target, {1: value}):
                    out = quietly(lambda: target.layer(1, stream))
                if out is None:  # a hook on a whole block, of which halves are wanted
                    assert sites == "attention"
                    return
                added.append(out[0, 0])
            if change is tokens_mixed_after_the_ffn and sites == "ffn":
                continue  # which the batch at hand shows, see the searches
            torch.testing.assert_close(vectors[neuron], added[1] - added[0])


@pytest.mark.parametrize("change", CHANGES, ids=NAMES)
def test_a_pruned_model_that_keeps_all_is_the_model_or_is_refused(change):
    model, images, _ = changed(change)
    pruned = quietly(lambda: prune_ffn(model, [range(16)] * 3))
    if pruned is not None:
        with torch.no_grad():
            torch.testing.assert_close(pruned(images), model(images))


@pytest.mark.each_value
@pytest.mark.parametrize("sites", ["attention", "heads", "mixed", "halves"])
@pytest.mark.parametrize("change", CHANGES, ids=NAMES)
def test_other_sites_are_searched_as_the_model_is_called_or_refused(change, sites):
    """Against the plain page, which calls the model; that page is held to the twins for FFNs."""
    model, images, labels = changed(change)
    target = quietly(lambda: SiteModel(model, sites=sites))
    if target is None:
        return
    found = quietly(lambda: npc.find_paths(target, images, labels, **PUBLISHED))
    plain = quietly(lambda: npc.find_paths(target, images, labels, engine="plain", **PUBLISHED))
    assert (found is None) == (plain is None)
    if found is not None:
        assert torch.equal(found.neurons, plain.neurons)
        torch.testing.assert_close(found.score, plain.score, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("change", REFUSED)
def test_a_model_that_answers_otherwise_each_time_is_refused_by_everything(change):
    model, images, labels = changed(change)
    target, neurons = npc.TargetModel(model), torch.tensor([[1, 2, 3]] * 2)
    calls = [lambda method=method: npc.find_paths(target, images, labels, method)
             for method in (*npc.METHODS, "recommended")]
    calls += [lambda: npc.find_paths(target, images, labels, **PUBLISHED, engine="plain"),
              lambda: npc.knowledge_attribution(target, images, labels),
              lambda: npc.joint_attribution_score(target, images, labels, neurons),
              lambda: npc.exact_effects(target, images, labels),
              lambda: npc.faithfulness(target, images, labels, normal(2, 3, 16)),
              lambda: npc.circuit_tests(target, images, labels, neurons, draws=20),
              lambda: npc.read_activations(target, images),
              lambda: class_probabilities(target, images),
              lambda: edited_probabilities(target, images, neurons, "remove")]
    for call in calls:
        with pytest.raises(ValueError, match="answers otherwise when it is called again.*block 1"):
            call()


def no_grad_in_a_block(model):
    native = model.blocks[0].forward
    model.blocks[0].forward = torch.no_grad()(native)


def no_grad_in_the_features(model):
    model.forward_features = torch.no_grad()(model.forward_features)


def first_blocks_frozen(model):
    class Frozen(nn.Sequential):
        def forward(self, stream):
            with torch.no_grad():
                for block in list(self)[:2]:
                    stream = block(stream)
            return self[2](stream)

    model.blocks = Frozen(*model.blocks)


def detached(model):
    model.blocks[1].register_forward_hook(lambda _module, _inputs, stream: stream.detach())


def guided(model):
    for block in model.blocks:
        block.mlp.act.register_full_backward_hook(
            lambda _module, entering, _leaving: (3 * torch.relu(entering[0]),))


def half_detached(model):
    model.blocks[1].mlp.register_forward_hook(
        lambda _module, _inputs, written: 0.5 * written + 0.5 * written.detach())


@pytest.mark.parametrize("change", [no_grad_in_a_block, no_grad_in_the_features,
                                    first_blocks_frozen, detached, guided, half_detached])
def test_gradients_that_are_not_derivatives_are_refused(change):
    model, images, labels = changed(change)
    target, neurons = npc.TargetModel(model), torch.tensor([[1, 2, 3]] * 2)
    calls = [lambda method=method: npc.find_paths(target, images, labels, method)
             for method in (*npc.METHODS, "recommended")]
    calls += [lambda: npc.joint_attribution_score(target, images, labels, neurons),
              lambda: npc.knowledge_attribution(target, images, labels),
              lambda: npc.path_edges(target, images, labels, neurons)]
    for call in calls:
        with pytest.raises(ValueError, match="not its derivatives"):
            call()
    with torch.no_grad():  # which need none
        torch.testing.assert_close(class_probabilities(target, images), model(images).softmax(-1))
        found = edited_probabilities(target, images, torch.tensor([[3, 5, 7]] * 2), "enhance")
        torch.testing.assert_close(found, by_hooks(model, images, [3, 5, 7], 2.0).softmax(-1))


class Cut(LoRALinear):
    def forward(self, value):
        return super().forward(value.detach())


@pytest.mark.parametrize("arguments", [{}, {"global_pool": "avg", "class_token": False}])
@pytest.mark.parametrize("cut", ["mlp.fc1", "attn.qkv"])
def test_a_cut_before_the_neurons_of_later_blocks_is_seen(arguments, cut):
    """Also where every token's neurons are in scope."""
    model, (images, labels) = helpers.small_vit(31, **arguments), helpers.small_batch(2, 32)
    leaf = model.blocks[1].get_submodule(cut)
    setattr(model.blocks[1].get_submodule(cut.split(".")[0]), cut.split(".")[1], Cut(leaf))
    with pytest.raises(ValueError, match="not its derivatives"):
        npc.find_paths(npc.TargetModel(model), images, labels)


@pytest.mark.filterwarnings("ignore:torch.ao.quantization:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning")
@pytest.mark.parametrize("part", ["mlp.fc1", "attn.qkv", "attn.proj", "head"])
def test_quantised_layers_are_refused_by_name(part):
    """They have no derivative, and scale an image by the others of its batch."""
    model, images, labels = changed(lambda model: model.float())
    target = npc.TargetModel(model)
    npc.find_paths(target, images.float(), labels)
    names = {name: quantization.default_dynamic_qconfig
             for name, _ in model.named_modules() if name.endswith(part)}
    quantization.quantize_dynamic(model, names, inplace=True)
    for call in (lambda: npc.TargetModel(model), lambda: SiteModel(model, sites="heads"),
                 lambda: npc.find_paths(target, images.float(), labels),
                 lambda: npc.read_activations(target, images.float())):
        with pytest.raises(ValueError, match=f"^{next(iter(names))} is quantised.*accepted"):
            call()


def test_hooks_that_only_look_at_gradients_are_fine():
    model, images, labels = changed(lambda _model: None)
    expected = npc.find_paths(npc.TargetModel(model), images, labels)
    for block in model.blocks:
        block.mlp.act.register_full_backward_hook(lambda *_: None)
    found = npc.find_paths(npc.TargetModel(model), images, labels)
    assert torch.equal(found.neurons, expected.neurons)
    torch.testing.assert_close(found.score, expected.score, rtol=1e-4, atol=0)


# --- the check itself ---


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.1), (0.3, 0.95)])
def test_an_ffn_that_is_affine_at_both_ends_only(low, high):
    """What it writes between is seen, so that the model itself is called."""
    model, images, labels = changed(lambda _model: None)
    for block in model.blocks:
        nn.init.zeros_(block.mlp.fc2.bias)
    read = neurons_read(npc.TargetModel(model), images, everywhere=True)
    for block, value in zip(model.blocks, read, strict=True):
        least = float(value.norm(dim=-1).min())
        block.mlp.fc2 = Routed(block.mlp.fc2, low * least, high * least)
    target = npc.TargetModel(model)
    with pytest.warns(RuntimeWarning, match="not affine in its neurons"):
        found = npc.find_paths(target, images, labels, **PUBLISHED)
    for row, (path, score) in enumerate(searched(model, "cls", images, labels)):
        assert found.neurons[row].tolist() == [each[0] for each in path]
        torch.testing.assert_close(float(found.score[row]), score, rtol=1e-9, atol=1e-13)
    with pytest.raises(ValueError, match="not affine in its neurons"):
        npc.knowledge_attribution(target, images, labels)


def test_a_model_that_nobody_changed_is_looked_at_once(monkeypatch):
    model, images, labels = changed(lambda _: None)
    target, looked = npc.TargetModel(model), []
    from neuronpath_core import examined as module
    compare = module.compare
    monkeypatch.setattr(module, "compare", lambda *given: looked.append(1) or compare(*given))
    for _ in range(3):
        npc.find_paths(target, images, labels, **PUBLISHED)
        class_probabilities(target, images)
    with npc.edit(target, torch.tensor([[1, 2, 3]])):
        class_probabilities(target, images)
    assert looked == [1] and target.differs is None
    assert all(target.plain(index) is not None for index in range(3))


def load(model):
    model.load_state_dict({name: 0.9 * value for name, value in model.state_dict().items()})


def train_on(model):
    with torch.no_grad():
        model.blocks[1].mlp.fc1.weight.mul_(1.1)


def behind_the_counter(model):
    model.blocks[1].mlp.fc1.weight.data.mul_(1.1)  # of which the version says nothing


@pytest.mark.parametrize("change", [*CHANGES, load, train_on, behind_the_counter],
                         ids=[*NAMES, "load", "train_on", "behind_the_counter"])
def test_what_changes_after_a_first_search_is_seen(change):
    model, images, labels = changed(lambda _: None)
    target = npc.TargetModel(model)
    npc.find_paths(target, images, labels, **PUBLISHED)
    state = target._state
    change(model)
    model.eval()
    found = quietly(lambda: npc.find_paths(target, images, labels, **PUBLISHED))
    assert target._state is not state
    if found is not None:
        for row, (path, score) in enumerate(searched(model, "cls", images, labels)):
            assert found.neurons[row].tolist() == [each[0] for each in path]
            assert float(found.score[row]) == pytest.approx(score, rel=1e-9, abs=1e-13)


def test_an_adapter_that_begins_with_nothing_and_is_trained():
    """At first it is the model; what was found of it then must not be believed later."""
    model, images, labels = changed(lambda _: None)
    for block in model.blocks:
        block.mlp.fc2 = LoRALinear(block.mlp.fc2, size=0.3)
        with torch.no_grad():
            block.mlp.fc2.up.zero_()
    target = npc.TargetModel(model)
    npc.find_paths(target, images, labels, **PUBLISHED)
    with torch.no_grad():
        for block in model.blocks:
            block.mlp.fc2.up.copy_(normal(16, 2))
    found = npc.find_paths(target, images, labels, **PUBLISHED)
    for row, (path, score) in enumerate(searched(model, "cls", images, labels)):
        assert found.neurons[row].tolist() == [each[0] for each in path]
        assert float(found.score[row]) == pytest.approx(score, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_hides_no_other_model(dtype):
    model, images, labels = changed(lambda _: None)
    model, images, neurons = model.to(dtype), images.to(dtype), torch.tensor([[1, 2, 3]] * 2)
    target = npc.TargetModel(model)
    npc.joint_attribution_score(target, images, labels, neurons, "left", STEPS)
    assert target.differs is None
    model.register_forward_hook(lambda _module, _inputs, logits: logits * 1.15)
    found = npc.joint_attribution_score(target, images, labels, neurons, "left", STEPS)
    rule = npc.quadrature_rule("left", STEPS)
    rule = rule[0].to(dtype), rule[1].float()
    assert target.differs is not None
    assert torch.equal(found, path_scores(target, images, labels, neurons[..., None], rule))


def rescaling(model):
    model.register_forward_pre_hook(lambda _module, inputs: (torch.where(
        inputs[0].amax((1, 2, 3), keepdim=True) > 50, inputs[0] / 255, inputs[0]),))


def test_what_somebodys_own_part_does_with_some_images_only_is_seen():
    model, images, labels = changed(rescaling)
    target = npc.TargetModel(model)
    npc.find_paths(target, images, labels, **PUBLISHED)
    assert target.differs is None
    for many in (images * 60 + 100, torch.cat([images, images * 60 + 100, images, images])):
        wanted = labels.repeat(len(many) // 2)
        with pytest.warns(RuntimeWarning, match="engine 'plain' searches it"):
            found = npc.find_paths(target, many, wanted, **PUBLISHED)
        for row, (path, score) in enumerate(searched(model, "cls", many, wanted)):
            assert found.neurons[row].tolist() == [each[0] for each in path]
            assert float(found.score[row]) == pytest.approx(score, rel=1e-9, abs=1e-13)


def steered(model):
    strength, vector = [0.0], normal(16)
    model.blocks.register_forward_hook(
        lambda _module, _inputs, out: out + strength[0] * vector * out.roll(1, -1))
    return lambda: strength.__setitem__(0, 3.0)


def scaled_as_peft_does(model):
    class Scaled(LoRALinear):
        def forward(self, value):
            return nn.Linear.forward(self, value) + self.scaling["default"] * (
                value @ self.down.T @ self.up.T)

    for block in model.blocks:
        block.mlp.fc2 = Scaled(block.mlp.fc2)
        block.mlp.fc2.scaling = {"default": 3.0}
    return lambda: [block.mlp.fc2.scaling.update(default=0.0) for block in model.blocks]


def with_a_tensor_of_its_own(model):
    model.gain = torch.zeros(3, 1, 1, dtype=torch.float64)
    model.register_forward_pre_hook(lambda module, inputs: (inputs[0] * (1 + module.gain),))
    return lambda: model.gain.fill_(1.0)


@pytest.mark.parametrize("change", [steered, scaled_as_peft_does, with_a_tensor_of_its_own])
def test_changes_that_no_attribute_tells_are_seen(change):
    model, images, labels = changed(lambda _: None)
    later = change(model)
    target = npc.TargetModel(model)
    npc.find_paths(target, images, labels, **PUBLISHED)
    later()
    found = quietly(lambda: npc.find_paths(target, images, labels, **PUBLISHED))
    for row, (path, score) in enumerate(searched(model, "cls", images, labels)):
        assert found.neurons[row].tolist() == [each[0] for each in path]
        assert float(found.score[row]) == pytest.approx(score, rel=1e-9, abs=1e-13)


def test_the_call_of_a_class_that_somebody_patches(monkeypatch):
    model, images, labels = changed(lambda _: None)
    target = npc.TargetModel(model)
    npc.find_paths(target, images, labels, **PUBLISHED)
    native = Block.__call__
    monkeypatch.setattr(Block, "__call__", lambda self, *given: 0.7 * native(self, *given))
    found = npc.find_paths(target, images, labels, **PUBLISHED)
    for row, (path, _) in enumerate(searched(model, "cls", images, labels)):
        assert found.neurons[row].tolist() == [each[0] for each in path]


def test_value_vectors_follow_weights_that_are_trained_further():
    model, images, labels = changed(lora("mlp.fc2"))
    target = npc.TargetModel(model)
    npc.find_paths(target, images, labels, **PUBLISHED)
    fc2 = model.blocks[1].mlp.fc2
    with torch.no_grad():
        fc2.up.mul_(3)
        expected = fc2(torch.eye(16).double()) - fc2(torch.zeros(1, 16).double())
    torch.testing.assert_close(target.value_vectors(1), expected)
    for layer in (99, -1, True, "1", None):
        with pytest.raises(ValueError, match="a layer must be a whole number in 0..2"):
            target.value_vectors(layer)


class WithASecondArgument(nn.Linear):
    def forward(self, value, scale=1.0):
        return super().forward(value) * scale


@pytest.mark.parametrize("by_name", [False, True])
def test_edits_leave_further_arguments_alone(by_name):
    model, images, _ = changed(lambda _: None)
    for block in model.blocks:
        linear = block.mlp.fc2
        block.mlp.fc2 = WithASecondArgument(16, 16).double()
        block.mlp.fc2.load_state_dict(linear.state_dict())

        def forward(self, stream):
            active = self.act(self.fc1(stream))
            return self.fc2(value=active, scale=3.0) if by_name else self.fc2(active, 3.0)

        block.mlp.forward = types.MethodType(forward, block.mlp)
    model.eval()
    target = npc.TargetModel(model)
    with torch.no_grad():
        expected = model(images).softmax(-1)
    found = edited_probabilities(target, images, torch.tensor([[1, 2, 3]] * 2), 1.0)
    torch.testing.assert_close(found, expected)


def test_value_vectors_of_a_model_that_was_changed_after_a_search():
    model, images, labels = changed(lambda _: None)
    target = npc.TargetModel(model)
    npc.find_paths(target, images, labels, **PUBLISHED)
    before = target.value_vectors(1)
    with npc.edit(target, torch.tensor([[1, 2, 3]])):
        assert torch.equal(target.value_vectors(1), before)
    lora("mlp.fc2")(model)
    out = model.blocks[1].mlp.fc2
    with torch.no_grad():
        expected = out(torch.eye(16).double()) - out(torch.zeros(1, 16).double())
    torch.testing.assert_close(target.value_vectors(1), expected)


def test_a_class_that_somebody_patches(monkeypatch):
    model, images, labels = changed(lambda _: None)
    target = npc.TargetModel(model)
    npc.find_paths(target, images, labels, **PUBLISHED)
    native = Attention.forward
    monkeypatch.setattr(Attention, "forward",
                        lambda self, value, **named: 0.5 * native(self, value, **named))
    found = npc.find_paths(target, images, labels, **PUBLISHED)
    assert target.plain(0) is None
    for row, (path, _) in enumerate(searched(model, "cls", images, labels)):
        assert found.neurons[row].tolist() == [each[0] for each in path]


@pytest.mark.each_value
@pytest.mark.parametrize("name", ["scaled_dot_product_attention", "linear", "layer_norm", "gelu"])
@pytest.mark.parametrize("later", [False, True])
def test_a_function_of_torchs_that_somebody_replaces(monkeypatch, name, later):
    """As packages of other attention kernels say to do."""
    model, images, labels = changed(lambda _model: None)
    target, native = npc.TargetModel(model), getattr(F, name)
    if later:
        npc.find_paths(target, images, labels, **PUBLISHED)
    monkeypatch.setattr(F, name, lambda *given, **named: 1.3 * native(*given, **named))
    found = npc.find_paths(target, images, labels, **PUBLISHED)
    for row, (path, score) in enumerate(searched(model, "cls", images, labels)):
        assert found.neurons[row].tolist() == [each[0] for each in path]
        assert float(found.score[row]) == pytest.approx(score, rel=1e-9, abs=1e-13)


def test_a_hook_on_every_module():
    model, images, labels = changed(lambda _: None)
    target = npc.TargetModel(model)
    npc.find_paths(target, images, labels, **PUBLISHED)
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, _inputs, out: 0.8 * out if isinstance(module, Attention) else None)
    try:
        found = npc.find_paths(target, images, labels, **PUBLISHED)
        expected = searched(model, "cls", images, labels)
    finally:
        handle.remove()
    for row, (path, _) in enumerate(expected):
        assert found.neurons[row].tolist() == [each[0] for each in path]


def test_an_answer_that_depends_on_the_image_alone_is_seen_in_the_batch_at_hand():
    """A forward that leaves early where it is sure."""
    model, images, labels = changed(lambda _: None)

    def early(self, pictures):
        tokens = self.norm_pre(self._pos_embed(self.patch_embed(pictures)))
        half = self.blocks[0](tokens)
        sure = pictures.mean((1, 2, 3))[:, None, None] > 5
        return self.forward_head(self.norm(torch.where(sure, half, self.blocks[2](
            self.blocks[1](half)))))

    model.forward = types.MethodType(early, model)
    target = npc.TargetModel(model)
    npc.knowledge_attribution(target, images, labels)
    model.extra = 1  # something changes
    images[1] += 10
    with pytest.raises(ValueError, match="the model as it is called"):
        npc.knowledge_attribution(target, images, labels)


# --- modes, compilation, calls, threads, precision ---


def test_a_model_in_training_mode_is_refused_by_everything():
    model, images, labels = changed(lambda _: None)
    target = npc.TargetModel(model)
    for part, name in ((model, "the model"), (model.blocks[1].drop_path1, "blocks.1.drop_path1")):
        part.train()
        for call in (lambda: npc.find_paths(target, images, labels), lambda: target(images),
                     lambda: npc.read_activations(target, images),
                     lambda: edited_probabilities(target, images, torch.ones(2, 3).long(), 0.0),
                     lambda: npc.knowledge_attribution(target, images, labels)):
            with pytest.raises(ValueError, match=f"^{name} is in training mode"):
                call()
        model.eval()
    npc.find_paths(target, images, labels)


@pytest.mark.parametrize("compiled", ["model", "blocks", "forward"])
def test_an_edit_of_a_compiled_model_is_in_force(compiled):
    model, images, labels = changed(lambda _: None)
    target = npc.TargetModel(model)
    paths = npc.find_paths(target, images, labels)
    expected = edited_probabilities(target, images, paths.neurons, "remove")
    clean, read = class_probabilities(target, images), npc.read_activations(target, images)
    if compiled == "model":
        model.compile(backend="eager")
    elif compiled == "blocks":
        for block in model.blocks:
            block.compile(backend="eager")
    else:
        model.forward = torch.compile(model.forward, backend="eager")
    with torch.no_grad():
        model(images)
    found = edited_probabilities(target, images, paths.neurons, "remove")
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, clean)
    torch.testing.assert_close(npc.read_activations(target, images), read)
    assert torch.equal(npc.find_paths(target, images, labels).neurons, paths.neurons)


def test_a_compiled_wrapper_says_where_the_model_is():
    with pytest.raises(ValueError, match="the model inside, its ._orig_mod"):
        npc.TargetModel(torch.compile(helpers.small_vit(1), backend="eager"))
    with pytest.raises(ValueError, match="the model inside, its .module"):
        npc.TargetModel(nn.DataParallel(helpers.small_vit(1)))


def test_wrappers_of_other_libraries_say_where_the_model_is():
    adapted = peft.get_peft_model(helpers.small_vit(1), peft.LoraConfig(target_modules=["fc2"]))
    with pytest.raises(ValueError, match=r"the model inside, its \.base_model\.model\)"):
        npc.TargetModel(adapted)
    module = nn.Module()  # as a LightningModule of one's own has it
    module.network = helpers.small_vit(1)
    with pytest.raises(ValueError, match=r"the model inside, its \.network\)"):
        npc.TargetModel(module)
    with pytest.raises(ValueError) as refused:
        npc.TargetModel(nn.Linear(2, 2))
    assert "the model inside" not in str(refused.value)


def test_a_class_of_the_same_name_is_told_by_whose_it_is():
    other = torchvision.models.VisionTransformer(16, 8, 1, 2, 16, 32)
    with pytest.raises(ValueError, match="got torchvision's VisionTransformer; accepted: timm's "):
        npc.TargetModel(other)


@pytest.mark.parametrize("shared", ["block", "mlp", "fc2"])
def test_layers_that_are_one_module_are_refused(shared):
    model = helpers.small_vit(1)
    if shared == "block":
        model.blocks = nn.Sequential(model.blocks[0], model.blocks[1], model.blocks[0])
    elif shared == "mlp":
        model.blocks[2].mlp = model.blocks[0].mlp
    else:
        model.blocks[2].mlp.fc2 = model.blocks[0].mlp.fc2
    with pytest.raises(ValueError, match="^block 1, block 3 share one module"):
        npc.TargetModel(model)


def test_a_block_that_runs_twice_is_refused():
    model, images, labels = changed(lambda _: None)
    native = Block.forward
    model.blocks[1].forward = types.MethodType(
        lambda self, stream: native(self, native(self, stream)), model.blocks[1])
    target = npc.TargetModel(model)
    for call in (lambda: npc.find_paths(target, images, labels),
                 lambda: npc.read_activations(target, images),
                 lambda: edited_probabilities(target, images, torch.ones(2, 3).long(), 0.0)):
        with pytest.raises(ValueError, match="block 2 are computed 2 times"):
            call()


def test_blocks_that_are_replaced_by_others_of_another_width():
    model, images, labels = changed(lambda _: None)
    target = npc.TargetModel(model)
    model.blocks[1] = helpers.small_vit(2, mlp_ratio=2.0).blocks[1]
    with pytest.raises(ValueError, match="^blocks have 16, 32 FFN neurons"):
        npc.find_paths(target, images, labels)
    model.blocks = model.blocks[:1].eval()
    with pytest.raises(ValueError, match="no longer those with which"):
        npc.find_paths(target, images, labels)


def test_no_thread_sees_anothers_edit():
    model, images, labels = changed(lambda _: None)
    target, path = npc.TargetModel(model), torch.tensor([[1, 2, 3]])
    clean, found = class_probabilities(target, images), {}
    searched_alone = npc.find_paths(target, images, labels)
    inside, done = threading.Event(), threading.Event()

    def edits():
        with npc.edit(target, path, 5.0):
            inside.set()
            done.wait(60)
            found["edited"] = class_probabilities(target, images)

    def looks():
        inside.wait(60)
        found["clean"] = class_probabilities(target, images)
        found["paths"] = npc.find_paths(target, images, labels)
        found["frozen"] = npc.find_paths(target, images, labels, context="mixed")
        done.set()

    threads = [threading.Thread(target=work) for work in (edits, looks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(found["clean"], clean)
    assert torch.equal(found["paths"].neurons, searched_alone.neurons)
    with npc.edit(target, path, 5.0):
        assert torch.equal(found["edited"], class_probabilities(target, images))
    assert not torch.allclose(found["edited"], clean)


def test_an_edit_does_not_act_in_a_thread_that_threading_did_not_start():
    model, images, _ = changed(lambda _: None)
    target = npc.TargetModel(model)
    clean, found, done = class_probabilities(target, images), [], threading.Event()

    def work():
        try:
            found.append(class_probabilities(target, images))
        finally:
            done.set()

    with npc.edit(target, torch.tensor([[1, 2, 3]]), 50.0):
        _thread.start_new_thread(work, ())
        assert done.wait(60)
    assert torch.equal(found[0], clean)


def test_an_edit_acts_where_autograd_runs_a_block_again():
    model, images, labels = changed(lambda _: None)
    expected = npc.find_paths(npc.TargetModel(model), images, labels, engine="plain", **PUBLISHED)
    model.set_grad_checkpointing()
    found = npc.find_paths(npc.TargetModel(model), images, labels, engine="plain", **PUBLISHED)
    torch.testing.assert_close(found.score, expected.score)


def test_another_threads_passes_are_not_taken_for_the_models():
    model, images, labels = changed(lambda _: None)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            with torch.no_grad():
                model(images)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(10):
            target = npc.TargetModel(model)
            npc.knowledge_attribution(target, images, labels, "left", 1)
            assert target.differs is None
    finally:
        stop.set()
        thread.join()


def test_a_first_look_in_inference_mode_says_nothing_false():
    model, images, labels = changed(lora("mlp.fc2"))
    target = npc.TargetModel(model)
    with torch.inference_mode():
        npc.read_activations(target, images)
    npc.knowledge_attribution(target, images, labels, "left", STEPS)
    assert target.differs is None


def test_parts_that_cannot_be_run_as_they_would_have_to_be():
    images, labels = helpers.small_batch(2, 32)
    # an activation without a forward-mode derivative: the model itself is called
    model = helpers.small_vit(31, act_layer="hard_mish")
    found = quietly(lambda: npc.find_paths(npc.TargetModel(model), images, labels, **PUBLISHED))
    for row, (path, _) in enumerate(searched(model, "cls", images, labels)):
        assert found.neurons[row].tolist() == [each[0] for each in path]
    # a copy that does not run in another precision is no draft
    model = helpers.small_vit(31)
    native = model._pos_embed
    model._pos_embed = lambda tokens: 1.3 * native(tokens)
    target = npc.TargetModel(model)
    assert torch.equal(npc.find_paths(target, images, labels, draft="float32").neurons,
                       npc.find_paths(target, images, labels, draft=None).neurons)
    # what refuses to be looked at otherwise than by its model
    model = helpers.small_vit(31)

    def whole(_module, inputs):
        assert inputs[0].shape[1] == 5

    model.norm.register_forward_pre_hook(whole)
    assert quietly(lambda: npc.find_paths(npc.TargetModel(model), images, labels)) is not None
    model = helpers.small_vit(31)
    with pytest.warns((DeprecationWarning, FutureWarning)):
        model.norm = torch.jit.trace(model.norm, torch.zeros(2, 5, 16, dtype=torch.float64))
    with pytest.raises(ValueError, match="norm is a module of torch.jit"):
        npc.TargetModel(model)
    model = helpers.small_vit(31)
    model.forward = torch.no_grad()(model.forward)
    with pytest.raises(ValueError, match="not its derivatives"):
        npc.find_paths(npc.TargetModel(model), images, labels, engine="plain", **PUBLISHED)
    model = helpers.small_vit(31)
    target = npc.TargetModel(model)
    model.global_pool = "avg"
    with pytest.raises(ValueError, match="head is no longer"):
        npc.find_paths(target, images, labels)


def test_pruning_refuses_what_a_pruned_model_could_not_be():
    model = helpers.small_vit(31)
    for kept, words in (([1, 2, 3], "one list of neurons a block"),):
        with pytest.raises(ValueError, match=words):
            prune_ffn(model, kept)
    with pytest.raises(ValueError, match="not a TargetModel of it"):
        prune_ffn(npc.TargetModel(model), [range(8)] * 3)
    model.blocks[1].mlp.act = nn.Softmax(-1)
    with pytest.raises(ValueError, match="block 1 has Softmax"):
        prune_ffn(model, [range(8)] * 3)
    model = helpers.small_vit(31)
    model.lock = threading.Lock()
    with pytest.raises(ValueError, match="cannot be copied"):
        prune_ffn(model, [range(8)] * 3)


def test_a_pruned_model_has_no_edit_of_another_thread():
    model, images, _ = changed(lambda _: None)
    inside, done, target = threading.Event(), threading.Event(), npc.TargetModel(model)

    def edits():
        with npc.edit(target, torch.tensor([[1, 2, 3]]), 5.0):
            inside.set()
            done.wait(60)

    thread = threading.Thread(target=edits)
    thread.start()
    inside.wait(60)
    pruned = prune_ffn(model, [range(16)] * 3)
    done.set()
    thread.join()
    assert helpers.hook_count(pruned) == 0


def test_threads_that_carry_tangents_take_turns():
    model, images, labels = changed(scaled_ffn)
    target = npc.TargetModel(model)
    expected = npc.find_paths(target, images, labels, "conductance").neurons
    found = [None] * 4

    def work(place):
        found[place] = npc.find_paths(target, images, labels, "conductance").neurons

    threads = [threading.Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(each is not None and torch.equal(each, expected) for each in found)


def test_precisions_that_differ_are_named():
    model, images, labels = changed(lambda _: None)
    target = npc.TargetModel(model)
    model.head = nn.Linear(16, 5).eval()
    with pytest.raises(ValueError, match="^head.weight is torch.float32"):
        npc.find_paths(target, images, labels)
    with torch.inference_mode():
        other = helpers.small_vit(1)
    with pytest.raises(ValueError, match="weight is made in torch.inference_mode"):
        npc.TargetModel(other)
    with pytest.raises(ValueError, match="inside torch.autocast"), torch.autocast("cpu"):
        npc.find_paths(npc.TargetModel(helpers.small_vit(1)), images, labels)
    with torch.inference_mode():
        made = images.clone()
    with pytest.raises(ValueError, match="images are made in torch.inference_mode"):
        npc.find_paths(npc.TargetModel(helpers.small_vit(1)), made, labels)


# --- what is the matter is said ---


def views_side_by_side(model):
    """Every image and its mirror image run in one batch, as in test-time augmentation."""
    native = model.forward
    model.forward = lambda pictures: native(
        torch.stack([pictures, pictures.flip(-1)], 1).flatten(0, 1)).unflatten(0, (-1, 2)).mean(1)


def normalising_in_place(model):
    model.register_forward_pre_hook(lambda _module, inputs: (inputs[0].sub_(0.5).div_(0.25),))


def without_the_last_class(model):
    def masked(_module, _inputs, logits):
        return logits.index_fill(1, torch.tensor([logits.shape[1] - 1]), -torch.inf)

    model.register_forward_hook(masked)


@pytest.mark.parametrize(("change", "words"), [
    (views_side_by_side, "block 1 sees 4 rows of tokens of a batch of 2"),
    (normalising_in_place, "changes the images that it is given, in place"),
    (without_the_last_class, "logits are not finite.*-1e4, in place of -inf")])
def test_what_no_pass_can_be_held_against_is_refused_by_name(change, words):
    model, images, labels = changed(change)
    given, target = images.clone(), npc.TargetModel(model)
    neurons = torch.tensor([[1, 2, 3]] * 2)
    plain = npc.find_paths(npc.TargetModel(helpers.small_vit(31)), images, labels)
    for call in (lambda: npc.read_activations(target, given),
                 lambda: npc.find_paths(target, given, labels),
                 lambda: npc.find_paths(target, given, labels, **PUBLISHED, engine="plain"),
                 lambda: npc.joint_attribution_score(target, given, labels, neurons),
                 lambda: class_probabilities(target, given),
                 lambda: edited_probabilities(target, given, neurons, "remove"),
                 lambda: plain.to_frame(target, given, labels)):
        with pytest.raises(ValueError, match=words):
            call()
        assert torch.equal(given, images)


class StandsFor(nn.Module):
    """In the place of a linear layer, of which it tells nothing."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear

    def forward(self, value):
        return self.linear(value)


def test_what_stands_for_fc2_tells_its_sizes():
    model, images, labels = changed(lambda model: None)
    paths = npc.find_paths(npc.TargetModel(model, "cls"), images, labels, **PUBLISHED)
    for block in model.blocks:
        block.mlp.fc2 = StandsFor(block.mlp.fc2)
    with pytest.raises(ValueError, match=r"^fc2 of block 0 is StandsFor; accepted: a linear "
                                         "layer, or a module in its place that has whole numbers"):
        npc.TargetModel(model, "cls")
    for block in model.blocks:
        block.mlp.fc2.in_features = block.mlp.fc2.linear.in_features
        block.mlp.fc2.out_features = block.mlp.fc2.linear.out_features
    wrapped = npc.TargetModel(model, "cls")
    found = npc.find_paths(wrapped, images, labels, **PUBLISHED)
    assert torch.equal(found.neurons, paths.neurons)
    torch.testing.assert_close(wrapped.value_vectors(1),
                               model.blocks[1].mlp.fc2.linear.weight.T.detach())


def test_wrong_sizes_of_what_stands_for_fc2_are_no_silent_answer():
    model, images, labels = changed(lambda model: None)
    for block in model.blocks:
        block.mlp.fc2 = StandsFor(block.mlp.fc2)
        block.mlp.fc2.in_features = block.mlp.fc2.out_features = 8
    target = npc.TargetModel(model, "cls")
    for call in (lambda: npc.find_paths(target, images, labels, **PUBLISHED),
                 lambda: npc.find_paths(target, images, labels),
                 lambda: target.value_vectors(0)):
        with pytest.raises(ValueError, match="accepted"):
            call()


@pytest.mark.parametrize("last", [nn.Softmax(-1), nn.Sigmoid(), nn.Sequential(nn.Softmax(1))])
def test_a_head_that_gives_probabilities_is_refused(last):
    model, images, labels = changed(lambda _model: None)
    target, native = npc.TargetModel(model), model.head
    model.head = nn.Sequential(native, last)
    for call in (lambda: npc.TargetModel(model), lambda: SiteModel(model, sites="heads"),
                 lambda: npc.explain(model, images[0])):
        with pytest.raises(ValueError, match="head ends in S.*accepted.*without its last module"):
            call()
    with pytest.raises(ValueError, match="head is no longer"):
        npc.find_paths(target, images, labels)
    model.head = nn.Sequential(native, nn.LogSoftmax(-1))  # whose softmax is the probabilities
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = class_probabilities(npc.TargetModel(model), images)
    torch.testing.assert_close(found, model(images).exp(), rtol=0, atol=1e-13)


def test_probabilities_in_place_of_logits_are_warned_of():
    model, images, labels = changed(lambda model: model.register_forward_hook(
        lambda _module, _inputs, logits: logits.softmax(-1)))
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        model.to(dtype)
        with pytest.warns(RuntimeWarning, match="looks like probabilities"):
            class_probabilities(npc.TargetModel(model), images.to(dtype))
    with pytest.warns(RuntimeWarning, match="looks like probabilities"):
        npc.explain(model.double(), images[0])
    for change in (lambda _model: None, normalising, lambda model: model.register_forward_hook(
            lambda _module, _inputs, logits: logits.softmax(-1) * 1.01)):
        model, images, labels = changed(change)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            class_probabilities(npc.TargetModel(model), images)


# --- nothing to explain ---


def test_where_nothing_can_be_explained_it_is_said():
    images, labels = helpers.small_batch(2, 1)
    one = helpers.small_vit(1, num_classes=1)
    with pytest.raises(ValueError, match="one output, whose softmax is 1"):
        npc.find_paths(npc.TargetModel(one), images, torch.zeros(2).long())
    blank = helpers.small_vit(1)
    nn.init.zeros_(blank.head.weight)
    for method in ("neuron_path", "complete", "knowledge", "gradient_activation"):
        with pytest.warns(RuntimeWarning, match="2 in all layers in which every neuron scores"):
            npc.find_paths(npc.TargetModel(blank), images, labels, method)
    with pytest.warns(RuntimeWarning, match="a trained model"):
        npc.find_paths(npc.TargetModel(blank), images, labels, engine="plain", **PUBLISHED)
    for method in ("ablation", "recommended"):
        with pytest.warns(RuntimeWarning, match="2 of 2 images have a path whose edit leaves"):
            npc.find_paths(npc.TargetModel(blank), images, labels, method)
    silent = helpers.small_vit(1)
    nn.init.zeros_(silent.blocks[1].mlp.fc2.weight)  # one block writes the same whatever it sees
    with pytest.warns(RuntimeWarning, match="2 of 2 images have a layer"):
        npc.find_paths(npc.TargetModel(silent), images, labels, "knowledge")


def test_a_projection_is_no_classifier():
    clip = {"depth": 1, "embed_dim": 64, "num_heads": 2}
    with pytest.warns(UserWarning, match="512 outputs means nothing"):
        npc.TargetModel(timm.create_model("vit_base_patch16_clip_224.openai", **clip))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        npc.TargetModel(timm.create_model("vit_base_patch16_clip_224.openai", num_classes=10,
                                          **clip))
        npc.TargetModel(timm.create_model("vit_base_patch16_clip_224.openai_ft_in1k", **clip))
