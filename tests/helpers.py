"""Small networks with seeded or hand-set weights, and what the tests look at before and after a
call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn
from torch.utils.hooks import RemovableHandle

from neuronpath_core.examined import _EXAMINING
from neuronpath_core.fast.blocks import PlainBlock
from neuronpath_core.fast.plain import FORWARDS
from neuronpath_core.paths import Paths
from neuronpath_core.runs import cli
from neuronpath_core.target import TargetModel
from tests.golden import recipe

# these networks are so small that a second thread only costs time, and much of it where cores are
# shared
torch.set_num_threads(1)

GOLDEN = Path(__file__).parent / "golden"
SIZES = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 3, "num_heads": 2,
         "mlp_ratio": 1.0, "num_classes": 5}

# name -> (arguments of the network, token scope): what the twins are compared on
NETWORKS = {
    "cls": ({}, "cls"),
    "cls-unfused": ({"fused": False}, "cls"),
    "cls-layerscale-qknorm": ({"init_values": 0.1, "qk_norm": True}, "cls"),
    "cls-registers-prenorm": ({"reg_tokens": 2, "pre_norm": True}, "cls"),
    "cls-embed-apart": ({"no_embed_class": True, "scale_mlp_norm": True, "depth": 4}, "cls"),
    "cls-of-averaging": ({"global_pool": "avg"}, "cls"),
    "avg": ({"global_pool": "avg"}, "patch"),
    "avg-unfused-qknorm": ({"global_pool": "avg", "qk_norm": True, "fused": False}, "patch"),
    "avg-without-class-token": ({"global_pool": "avg", "class_token": False, "init_values": 0.1},
                                "patch"),
    "avg-registers": ({"global_pool": "avg", "reg_tokens": 2, "fc_norm": False}, "patch"),
    "patch-of-class-token": ({}, "patch"),
    "patch-attention-pool": ({"global_pool": "map", "class_token": False}, "patch"),
}


def fill(model: VisionTransformer, seed: int) -> VisionTransformer:
    """The network in float64 with the golden recipe's weights; deterministic, whatever torch's
    random state."""
    model = model.double()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict({name: torch.from_numpy(value) for name,
                           value in recipe.weights(shapes, seed).items()}, strict=True)
    return model.eval()


def small_vit(seed: int = 1, fused: bool = True, **overrides) -> VisionTransformer:
    """A seeded network of three blocks with 16 neurons, 4 patches and 5 classes, unless told
    otherwise."""
    model = fill(VisionTransformer(**{**SIZES, **overrides}), seed)
    for block in model.blocks:
        block.attn.fused_attn = fused
    return model


def small_batch(count: int = 3, seed: int = 1, classes: int = 5,
                size: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal images and labels of mixed classes."""
    rng = np.random.default_rng([seed, 20_000])
    images = rng.standard_normal((count, 3, size, size))
    labels = rng.permutation(max(count, classes))[:count] % classes
    return torch.from_numpy(images), torch.from_numpy(labels)


def network(name: str, seed: int, batch: int = 2, **overrides) -> tuple[TargetModel, torch.Tensor,
                                                                        torch.Tensor]:
    """One of ``NETWORKS``, with images and labels of the next seed."""
    arguments, scope = NETWORKS[name]
    return TargetModel(small_vit(seed, **arguments | overrides),
                       scope=scope), *small_batch(batch, seed + 1)


def golden(name: str) -> tuple[VisionTransformer, torch.Tensor, torch.Tensor, int,
                               dict[str, np.ndarray]]:
    """Network, images, labels, steps and expected arrays of one golden case."""
    with np.load(GOLDEN / f"{name}.npz") as stored:
        case = {key: stored[key] for key in stored.files}
    spec = json.loads(str(case.pop("spec")))
    sizes = {key: spec[key] for key in ("img_size", "patch_size", "embed_dim", "depth", "num_heads",
                                        "mlp_ratio", "num_classes")}
    model = fill(VisionTransformer(global_pool=spec["pool"], **sizes), spec["weight_seed"])
    pictures = torch.from_numpy(recipe.images(spec["batch"], spec["img_size"], spec["input_seed"]))
    return model, pictures, torch.full((spec["batch"],), spec["label"]), spec["steps"], case


def blank_vit(scope: str, **overrides) -> VisionTransformer:
    """A float64 network whose weights are all zero and whose norms do nothing, to be set by hand.

    Scope ``"cls"`` classifies from the class token, ``"patch"`` from the mean of the patch tokens
    (no class token).
    """
    pooled = {"global_pool": "token"} if scope == "cls" else {"global_pool": "avg",
                                                              "class_token": False}
    model = VisionTransformer(**{**SIZES, **pooled, **overrides}).double().eval()
    model.norm, model.fc_norm = nn.Identity(), nn.Identity()
    for block in model.blocks:
        block.norm1, block.norm2 = nn.Identity(), nn.Identity()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    return model


def without_attention(model: VisionTransformer) -> VisionTransformer:
    """Tokens no longer see each other: every block is its FFN alone."""
    with torch.no_grad():
        for block in model.blocks:
            block.attn.proj.weight.zero_()
            block.attn.proj.bias.zero_()
    return model


class AffineProduct(nn.Module):
    """Class log-probabilities of ``F = 1/4 + x0 x1 / 2``, from channels 0 and 1."""

    def forward(self, value):
        probability = 0.25 + 0.5 * value[..., 0] * value[..., 1]
        return torch.stack([probability.log(), torch.log1p(-probability)], -1)


def product_vit(scope: str) -> tuple[VisionTransformer, torch.Tensor]:
    """Two blocks; F of label 0 is exactly ``1/4 + w1 w2 / 2`` with w1 neuron 3 of block 0 and w2
    neuron 5 of block 1.

    For scope ``"patch"`` w1 and w2 are means over four patch tokens that hold different values.

    Returns:
        The network, and the clean values ``(block, token)`` of the two neurons.
    """
    model = blank_vit(scope, depth=2, num_classes=2)
    model.head = nn.Linear(2, 2, bias=False).double()
    values = torch.tensor([[0.9], [0.6]]) if scope == "cls" else torch.tensor(
        [[0.9, 0.5, 0.7, 0.1], [0.6, 0.2, 0.8, 1.0]])
    with torch.no_grad():
        model.head.weight.copy_(torch.eye(2))
        # each token's position tells the neuron its value, in channels 8 and 9
        model.pos_embed[0, :values.shape[1], 8:10] = values.T.double()
        for number, (block, neuron) in enumerate(zip(model.blocks, (3, 5), strict=True)):
            block.mlp.act = nn.Identity()
            block.mlp.fc1.bias.copy_(torch.linspace(-0.5, 0.4, 16))
            block.mlp.fc1.bias[neuron] = 0
            block.mlp.fc1.weight[neuron, 8 + number] = 1
            block.mlp.fc2.weight[number, neuron] = 1
    if scope == "cls":
        model.norm = AffineProduct()
    else:
        model.fc_norm = AffineProduct()
    return model, values.double()


PLANTED, PLANTED_LABEL, SLOPES = (4, 11, 7), 1, (0.3, 0.5, 0.4)


def planted_vit(scope: str) -> VisionTransformer:
    """Three blocks in which one neuron each, ``PLANTED``, drives the label; all others write
    nothing.

    Neuron ``PLANTED[l]`` reads channel 2 + l, which for l > 0 is what the previous one wrote and
    for l = 0 the image, and writes channel 3 + l, and ``SLOPES[l]`` times itself into channel 0,
    the logit of ``PLANTED_LABEL``.  The other two logits of three are zero, so that
    ``F = e^z / (e^z + 2)`` with ``z = sum_l SLOPES[l] w_l``.
    """
    model = blank_vit(scope, num_classes=3)
    with torch.no_grad():
        model.patch_embed.proj.weight[2] = 0.05
        # uniform attention of block 0 carries channel 2 from the patches to the class token
        if scope == "cls":
            attention = model.blocks[0].attn
            attention.qkv.weight[2 * 16 + 2, 2] = 1
            attention.proj.weight[2, 2] = 1
        for number, (block, neuron) in enumerate(zip(model.blocks, PLANTED, strict=True)):
            block.mlp.fc1.bias.copy_(torch.linspace(-0.4, 0.4, 16))
            block.mlp.fc1.bias[neuron] = 1.5
            block.mlp.fc1.weight[neuron, 2 + number] = 0.5
            block.mlp.fc2.weight[3 + number, neuron] = 1
            block.mlp.fc2.weight[0, neuron] = SLOPES[number]
        model.head.weight[PLANTED_LABEL, 0] = 1
    return model


def hook_count(model: nn.Module) -> int:
    """Hooks of every kind on every module."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Inside, torch has so many threads, for which images are computed side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
        assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)


def watch_batches(model: VisionTransformer) -> tuple[list[int], RemovableHandle]:
    """Sizes of the batches that enter the network from now on, until the handle is removed.

    The hook sits before the blocks, so that they are written out as if nobody listened. What is
    looked at while the model is held against itself does not count.
    """
    sizes: list[int] = []

    def count(_module, inputs):
        if not _EXAMINING._is_owned():
            sizes.append(len(inputs[0]))
    return sizes, model.patch_embed.register_forward_pre_hook(count)


def refused_command(root, monkeypatch, capsys, *arguments: str) -> str:
    """The one line with which a command of a study is refused."""
    monkeypatch.chdir(root)
    monkeypatch.setattr("sys.argv", ["neuronpath", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and said.count("\n") == 1
    return said


def overlook_checks(monkeypatch, watcher) -> None:
    """Count in ``watcher.looking`` while a model is held against itself, which is none of the
    passes that a test counts, and have blocks whose class is watched written out."""
    watcher.looking = 0

    def overlooked(check):
        def look(self, given):
            watcher.looking += 1
            try:
                return check(self, given)
            finally:
                watcher.looking -= 1
        return look

    for name in ("examine", "repeated_by"):
        monkeypatch.setattr(TargetModel, name, overlooked(getattr(TargetModel, name)))
    monkeypatch.setitem(FORWARDS, Block, Block.forward)


def watch_copies(monkeypatch, model: VisionTransformer, block: int) -> list[int]:
    """Copies of images that enter one block from now on, whether the block is run by its module or
    written out."""
    sizes: list[int] = []

    def watched(function):
        def call(self, stream, *arguments):
            if self.block is model.blocks[block]:
                sizes.append(len(stream))
            return function(self, stream, *arguments)
        return call

    for name in ("__call__", "tangent", "activations"):
        monkeypatch.setattr(PlainBlock, name, watched(getattr(PlainBlock, name)))
    forward = type(model.blocks[block]).forward

    def module_forward(self, value, *arguments, **settings):
        if self is model.blocks[block]:
            sizes.append(len(value))
        return forward(self, value, *arguments, **settings)

    # of the class, not of the module: a module with a forward of its own is not written out
    monkeypatch.setattr(type(model.blocks[block]), "forward", module_forward)
    monkeypatch.setitem(FORWARDS, type(model.blocks[block]), module_forward)
    examine = TargetModel.examine

    def unseen(self, images):
        before = len(sizes)
        verdict = examine(self, images)
        del sizes[before:]
        return verdict

    monkeypatch.setattr(TargetModel, "examine", unseen)
    return sizes


class Snapshot:
    """Everything of a network that a call must leave as it was."""

    def __init__(self, model: nn.Module):
        self.model = model
        self.state = {name: value.clone() for name, value in model.state_dict().items()}
        self.wanted = {name: parameter.requires_grad for name,
                       parameter in model.named_parameters()}
        self.held = {name: parameter.grad for name, parameter in model.named_parameters()}
        self.grads = {name: None if grad is None else grad.clone() for name,
                      grad in self.held.items()}
        self.hooks, self.modules = hook_count(model), [id(module) for module in model.modules()]
        self.forwards = [vars(module).get("forward") for module in model.modules()]

    def check(self) -> None:
        """Assert that nothing differs."""
        assert hook_count(self.model) == self.hooks
        assert [id(module) for module in self.model.modules()] == self.modules
        assert [vars(module).get("forward") for module in self.model.modules()] == self.forwards
        for name, value in self.model.state_dict().items():
            assert torch.equal(value, self.state[name]), name
        for name, parameter in self.model.named_parameters():
            assert parameter.requires_grad == self.wanted[name], name
            assert parameter.grad is self.held[name], name
            assert self.grads[name] is None or torch.equal(parameter.grad, self.grads[name]), name


def run_hooked(model, image, handles):
    """The logits of one image, ``(class,)``, with hooks that are set, which are then taken away."""
    try:
        with torch.no_grad():
            return model(image[None])[0]
    finally:
        for handle in handles:
            handle.remove()


def refused(call, *words):
    """``call`` raises a ``ValueError`` of one line that holds every word; the line."""
    with pytest.raises(ValueError, match=".+") as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    return message


def drawn_paths(name="cls", seed=3, batch=3, top=None, dtype=torch.float64):
    """A model, its batch, and paths drawn at random."""
    arguments, scope = NETWORKS[name]
    target = TargetModel(small_vit(seed, **arguments).to(dtype), scope=scope)
    images, labels = small_batch(batch, seed + 1)
    draws = torch.rand(batch, 3, 16, generator=torch.Generator().manual_seed(seed)).argsort(-1)
    neurons = draws[..., 0] if top is None else draws[..., :top]
    score = torch.linspace(-1, 1, batch, dtype=dtype)
    return target, images.to(dtype), labels, Paths(neurons, score, torch.full((batch,), 3))


# tensors that are no array of whole numbers, by what is said of them
ODD_NUMBERS = {
    "a nested tensor": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)],
                                                          layout=torch.jagged),
    "on the meta device": lambda: torch.ones(2, 2, dtype=torch.int64, device="meta"),
    "torch.sparse_coo": lambda: torch.ones(2, 2, dtype=torch.int64).to_sparse(),
    "torch.bfloat16 (2, 2)": lambda: torch.ones(2, 2, dtype=torch.bfloat16),
    "torch.bool (2, 2)": lambda: torch.ones(2, 2, dtype=torch.bool),
}
