"""Classes of PyTorch's and timm's that somebody patches, and modes of torch's, which may do with any
image, and at any time, what no look at the model tells."""

import functools

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import Mlp
from timm.models.vision_transformer import Attention, Block, LayerScale, VisionTransformer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import neuronpath_core as npc
from neuronpath_core.model_state import ModelState
from tests import helpers
from tests.core.test_as_called import PUBLISHED, quietly, searched


def assert_paths_are_the_models(target, images, labels):
    found = quietly(lambda: npc.find_paths(target, images, labels, **PUBLISHED))
    for row, (path, score) in enumerate(searched(target.model, "cls", images, labels)):
        assert found.neurons[row].tolist() == [each[0] for each in path]
        assert float(found.score[row]) == pytest.approx(score, rel=1e-9, abs=1e-13)


def test_a_class_that_acts_on_one_image_of_seven(monkeypatch):
    model, (images, labels) = helpers.small_vit(31), helpers.small_batch(7, 32)
    images[1] += 100
    native = VisionTransformer.forward
    monkeypatch.setattr(VisionTransformer, "forward", lambda self, x: native(self, torch.where(
        x.amax((1, 2, 3), keepdim=True) > 50, (x - 100) * 3, x)))
    assert_paths_are_the_models(npc.TargetModel(model), images, labels)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("kind", "name"), [
    (VisionTransformer, "forward_features"), (Block, "forward"), (Mlp, "forward"),
    (Attention, "forward"), (nn.Linear, "forward"), (LayerScale, "forward"),
    (Tensor, "softmax")], ids=lambda value: getattr(value, "__name__", value))
def test_a_patch_with_a_switch_is_followed(monkeypatch, kind, name, wrapped):
    model, (images, labels) = helpers.small_vit(31, init_values=0.5), helpers.small_batch(2, 32)
    for block in model.blocks:
        block.attn.fused_attn = False  # so that the softmax is a tensor's
    factor, native = [1.0], getattr(kind, name)

    def patched(self, *given, **named):
        return native(self * factor[0] if kind is Tensor else self, *given, **named) * (
            1 if kind is Tensor else factor[0])

    # a wrapper passes itself off as the function that it wraps
    monkeypatch.setattr(kind, name, functools.wraps(native)(patched) if wrapped else patched)
    target = npc.TargetModel(model)
    npc.find_paths(target, images, labels, **PUBLISHED)
    factor[0] = 0.5
    assert_paths_are_the_models(target, images, labels)


class Quieter(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        return 0.6 * out if function is F.gelu else out


def test_a_mode_is_seen_as_it_comes_and_goes():
    model, (images, labels) = helpers.small_vit(31), helpers.small_batch(2, 32)
    target = npc.TargetModel(model)
    assert_paths_are_the_models(target, images, labels)
    with Quieter():
        assert target.plain(0) is None  # threads that run blocks side by side are in no mode
        assert_paths_are_the_models(target, images, labels)
    assert target.plain(0) is not None
    assert_paths_are_the_models(target, images, labels)


@pytest.mark.parametrize("kind", [VisionTransformer, Block, Mlp])
@pytest.mark.parametrize("cut", ["no_grad", "detach"])
def test_a_class_that_cuts_gradients_is_refused(monkeypatch, kind, cut):
    model, (images, labels) = helpers.small_vit(31), helpers.small_batch(2, 32)
    native = kind.forward
    monkeypatch.setattr(kind, "forward", torch.no_grad()(native) if cut == "no_grad" else
                        lambda self, x, **named: native(self, x.detach(), **named).detach())
    target = npc.TargetModel(model)
    with pytest.raises(ValueError, match="are not its derivatives"):
        npc.find_paths(target, images, labels, "gradient_activation")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2",
                                  "deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224",
                                  "vit_small_patch16_dinov3"])
def test_networks_as_published_are_not_foreign(name):
    with torch.device("meta"):  # a mode of torch's own
        model = timm.create_model(name).eval()
        assert not ModelState.of(model).foreign


def test_what_transformers_hangs_on_every_module_is_no_patch(monkeypatch):
    """It does so as soon as it has built one model; elsewhere the same name is somebody's own."""
    transformers = pytest.importorskip("transformers")
    transformers.ViTModel(transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))
    model, (images, labels) = helpers.small_vit(31), helpers.small_batch(2, 32)
    assert not ModelState.of(model).foreign
    target = npc.TargetModel(model)
    assert_paths_are_the_models(target, images, labels)
    assert target.plain(0) is not None
    monkeypatch.setattr(nn.Module, "smart_apply", lambda self: None, raising=False)
    assert ModelState.of(model).foreign


class InTwoParts(torch.Tensor):
    """A weight as quantised layers have them: parts inside, and few operations defined."""

    @staticmethod
    def __new__(cls, whole, scale):
        return torch.Tensor._make_wrapper_subclass(cls, whole.shape, dtype=scale.dtype)

    def __init__(self, whole, scale):
        self.whole, self.scale = whole, scale

    def __tensor_flatten__(self):
        return ["whole", "scale"], None

    @staticmethod
    def __tensor_unflatten__(parts, _context, _size, _stride):
        return InTwoParts(parts["whole"], parts["scale"])

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        if operation in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
            return cls(args[0].whole, args[0].scale)
        if operation.overloadpacket is torch.ops.aten.sum:
            raise NotImplementedError(f"no {operation} of a weight in two parts")
        return operation(*(each.whole * each.scale if isinstance(each, cls) else each
                           for each in args), **(kwargs or {}))


def in_two_parts(model):
    for block in model.blocks:
        weight = block.mlp.fc2.weight.detach()
        scale = weight.abs().amax(1, keepdim=True) / 127
        whole = (weight / scale).round().to(torch.int8)
        block.mlp.fc2.weight = nn.Parameter(InTwoParts(whole, scale), requires_grad=False)
    return model


def test_weights_for_which_no_sum_is_defined():
    model = in_two_parts(helpers.small_vit(4))
    plain = helpers.small_vit(4)
    with torch.no_grad():
        for block, other in zip(model.blocks, plain.blocks, strict=True):
            other.mlp.fc2.weight.copy_(block.mlp.fc2.weight)
    images, labels = helpers.small_batch(2, 5)
    target = npc.TargetModel(model)
    found, expected = (npc.find_paths(each, images, labels, settings="published", steps=4)
                       for each in (target, npc.TargetModel(plain)))
    assert torch.equal(found.neurons, expected.neurons)
    torch.testing.assert_close(found.score, expected.score, rtol=1e-9, atol=1e-12)
    before = ModelState.of(model)
    assert before.finite and before.same(ModelState.of(model))
    model.blocks[1].mlp.fc2.weight.scale[0] *= 2
    assert not before.same(ModelState.of(model))
    model.blocks[1].mlp.fc2.weight.scale[0] = torch.nan
    assert not ModelState.of(model).finite


def test_weights_without_numbers_are_named():
    model = helpers.small_vit(4).to("meta")
    with pytest.raises(ValueError, match="weights are on meta, without numbers; accepted: weights"):
        npc.find_paths(npc.TargetModel(model), *helpers.small_batch(2, 5))
