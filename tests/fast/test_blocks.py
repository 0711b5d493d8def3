"""A block written out as functions, against the timm module that it stands for."""

import functools

import pytest
import torch
from timm.layers import GatedMlp, GluMlp, LayerNormFp32, RmsNorm, SwiGLU, SwiGLUPacked
from torch import nn
from torch.func import jvp

import neuronpath_core as npc
from neuronpath_core.edits import clamped
from neuronpath_core.fast import blocks
from tests import helpers

# float64 and a single block: nothing but the order of sums differs
close = functools.partial(torch.testing.assert_close, rtol=1e-12, atol=1e-12)

KINDS = {
    "plain": {},
    "layerscale and qk-norm": {"init_values": 0.3, "qk_norm": True},
    "registers": {"reg_tokens": 2, "pre_norm": True},
    "no bias": {"qkv_bias": False, "proj_bias": False},
    "relu": {"act_layer": nn.ReLU},
    "relu in place": {"act_layer": functools.partial(nn.ReLU, inplace=True)},
    "tanh gelu": {"act_layer": functools.partial(nn.GELU, approximate="tanh")},
    "silu": {"act_layer": nn.SiLU},
    "quick gelu": {"act_layer": "quick_gelu"},
    "timm's tanh gelu": {"act_layer": "gelu_tanh"},
    "ffn norm": {"scale_mlp_norm": True},
    "gate last": {"mlp_layer": GluMlp},
    "gate last with norm": {"mlp_layer": GluMlp, "scale_mlp_norm": True, "init_values": 0.3},
    "gate first": {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU},
    "swiglu": {"mlp_layer": SwiGLU, "act_layer": nn.SiLU},
    "swiglu in place with norm": {"mlp_layer": SwiGLU,
                                  "act_layer": functools.partial(nn.SiLU, inplace=True),
                                  "scale_mlp_norm": True},
    "dropout": {f"{kind}_rate": 0.5 for kind in ("drop", "pos_drop", "patch_drop", "proj_drop",
                                                 "attn_drop", "drop_path")},
}
SCOPES = {"cls": {}, "patch": {"global_pool": "avg"},
          "patch without class token": {"global_pool": "avg", "class_token": False}}
CASES = [(kind, scope) for kind in KINDS for scope in SCOPES if (kind, scope)
         != ("registers", "patch without class token")]
TWO_IMAGES, COPIES = 2, 3


class Case:
    """One block of a network, and what enters it: three copies each of two images."""

    def __init__(self, kind, scope, seed=301):
        arguments = KINDS[kind] | SCOPES[scope]
        model = helpers.small_vit(seed, **arguments)
        self.target = npc.TargetModel(model, scope="cls" if scope == "cls" else "patch")
        self.index, self.block = 1, model.blocks[1]
        # the reference: attention as a written-out module, which forward mode can follow, on the
        # same weights
        self.unfused = npc.TargetModel(helpers.small_vit(seed, fused=False, **arguments),
                                       scope=self.target.scope)
        self.plain = self.target.plain(self.index)
        generator = torch.Generator().manual_seed(seed)
        tokens = model.patch_embed.num_patches + model.num_prefix_tokens
        self.n_scope = len(range(tokens)[self.target.tokens])

        def normal(*shape):
            return torch.randn(*shape, dtype=torch.float64, generator=generator)
        self.stream, self.moved, self.weight = (normal(TWO_IMAGES * COPIES, tokens, 16)
                                                for _ in range(3))
        self.held = normal(TWO_IMAGES, self.n_scope, self.target.n_neurons)
        self.clean = normal(TWO_IMAGES, tokens, 16)
        self.class_stream = normal(TWO_IMAGES, COPIES, 16)
        self.class_moved = normal(TWO_IMAGES, COPIES, 16)

    def module(self, stream, held=None):
        """The module's own forward, a hook clamping the scope where ``held`` is given."""
        if held is None:
            return self.unfused.model.blocks[self.index](stream)
        with clamped(self.unfused,
                     {self.index: held.repeat_interleave(len(stream) // len(held), 0)}):
            return self.unfused.model.blocks[self.index](stream)

    def one_row(self, stream, held=None):
        """The class token's row of the module's output where the other rows of what enters are the
        clean ones."""
        full = self.clean.repeat_interleave(stream.shape[1], 0)
        full = torch.cat([stream.flatten(0, 1)[:, None], full[:, 1:]], 1)
        return self.module(full, held)[:, 0].unflatten(0, stream.shape[:2])


@pytest.fixture(params=CASES, ids=lambda value: "-".join(value))
def case(request):
    return Case(*request.param)


def test_every_kind_is_plain(case):
    assert blocks.is_plain(case.block)
    assert type(case.plain) is blocks.PlainBlock


def test_forward_equals_the_module(case):
    close(case.plain(case.stream), case.module(case.stream))
    close(case.plain(case.stream), case.block(case.stream))
    close(case.plain(case.stream, case.held), case.module(case.stream, case.held))
    assert not torch.allclose(case.plain(case.stream, case.held), case.plain(case.stream))


def test_forward_for_some_tokens_only(case):
    for only in (slice(0, 1), slice(1, 4)):
        close(case.plain(case.stream, only=only), case.module(case.stream)[:, only])
    if case.target.scope == "cls":
        found = case.plain(case.stream, case.held, slice(0, 1))
        assert found.shape == (6, 1, 16)
        close(found, case.module(case.stream, case.held)[:, :1])


def test_forward_returns_the_tokens_wanted_where_the_scope_is_elsewhere():
    """Patches clamped, the class token wanted: what the last block of a class-token model under
    scope "patch" is asked for."""
    case = Case("plain", "patch")
    close(case.plain(case.stream, case.held, slice(0, 1)),
          case.module(case.stream, case.held)[:, :1])


def test_held_once_a_copy_or_once_an_image(case):
    each = case.held.repeat_interleave(COPIES, 0)
    close(case.plain(case.stream, each), case.plain(case.stream, case.held))
    varied = each * torch.linspace(0.5, 2, len(each), dtype=torch.float64)[:, None, None]
    close(case.plain(case.stream, varied), case.module(case.stream, varied))


def test_gradients_equal_those_through_the_module(case):
    for wanted in (None, slice(0, 1)) if case.target.scope == "cls" else (None,):
        stream, held = case.stream.clone().requires_grad_(), case.held.clone().requires_grad_()
        rows = slice(None) if wanted is None else wanted
        expected = torch.autograd.grad((case.module(stream,
                                                    held)[:, rows] * case.weight[:, rows]).sum(),
                                       (stream, held))
        found = torch.autograd.grad((case.plain(stream, held, wanted) * case.weight[:, rows]).sum(),
                                    (stream, held))
        for one, other in zip(found, expected, strict=True):
            close(one, other)
    stream = case.stream.clone().requires_grad_()
    expected, = torch.autograd.grad((case.module(stream) * case.weight).sum(), stream)
    close(torch.autograd.grad((case.plain(stream) * case.weight).sum(), stream)[0], expected)


def test_tangent_equals_forward_mode_through_the_module(case):
    expected, slope = jvp(lambda stream: case.module(stream, case.held), (case.stream,),
                          (case.moved,))
    found = case.plain.tangent(case.stream, case.moved, case.held)
    close(found[0], expected)
    close(found[1], slope)
    if case.target.scope == "cls":
        found = case.plain.tangent(case.stream, case.moved, case.held, slice(0, 1))
        close(found[0], expected[:, :1])
        close(found[1], slope[:, :1])


def test_tangent_equals_central_differences(case):
    """Of the fused module, with no derivative of torch's own."""
    size = 1e-5
    with torch.no_grad(), clamped(case.target,
                                  {case.index: case.held.repeat_interleave(COPIES, 0)}):
        above, below = (case.block(case.stream + sign * size * case.moved) for sign in (1, -1))
    slope = case.plain.tangent(case.stream, case.moved, case.held)[1]
    torch.testing.assert_close((above - below) / (2 * size), slope, rtol=1e-6, atol=1e-6)


def test_tangent_is_linear(case):
    """A bias in a derivative would show here."""
    one, two = case.moved, case.weight
    slope = [case.plain.tangent(case.stream, moved, case.held)[1]
             for moved in (one, two, 2 * one - 3 * two)]
    close(slope[2], 2 * slope[0] - 3 * slope[1])
    assert not case.plain.tangent(case.stream, torch.zeros_like(one), case.held)[1].any()


def test_activations_are_what_enters_fc2(case):
    seen = []
    handle = case.block.mlp.fc2.register_forward_pre_hook(lambda _module,
                                                          inputs: seen.append(inputs[0]))
    expected = case.block(case.stream)
    handle.remove()
    stream, active = case.plain.activations(case.stream)
    close(stream, expected)
    assert active.shape[1] == case.n_scope
    close(active, seen[0][:, case.target.tokens])
    # holding what was read changes nothing
    close(case.plain(case.stream, active), expected)


# --- only the class token moves ---


@pytest.fixture(params=KINDS)
def class_case(request):
    return Case(request.param, "cls")


def test_keys_and_values_are_the_modules(class_case):
    """Of every token but the first, as they enter the module's attention."""
    attention, value = class_case.block.attn, class_case.block.norm1(class_case.clean)
    heads = attention.qkv(value).reshape(TWO_IMAGES, -1, 3, 2, 8).permute(2, 0, 3, 1, 4)
    key, value = class_case.plain.keys_values(class_case.clean)
    assert key.shape == (TWO_IMAGES, 2, class_case.clean.shape[1] - 1, 8)
    close(key, attention.k_norm(heads[1])[:, :, 1:])
    close(value, heads[2][:, :, 1:])


def test_frozen_equals_the_module_with_one_row_replaced(class_case):
    context = class_case.plain.keys_values(class_case.clean)
    stream = class_case.class_stream
    close(class_case.plain.frozen(stream, context), class_case.one_row(stream))
    close(class_case.plain.frozen(stream, context, class_case.held),
          class_case.one_row(stream, class_case.held))
    # held once a copy
    held = class_case.held.repeat_interleave(COPIES,
                                             0) * torch.linspace(0.5, 2, TWO_IMAGES * COPIES,
                                                                 dtype=torch.float64)[:, None, None]
    apart = held.unflatten(0, (TWO_IMAGES, COPIES))
    expected = torch.stack([class_case.one_row(stream, apart[:, copy])[:, copy]
                            for copy in range(COPIES)], 1)
    found = class_case.plain.frozen(stream.flatten(0, 1)[:, None],
                                    tuple(part.repeat_interleave(COPIES, 0) for part in context),
                                    held)
    close(found[:, 0].unflatten(0, (TWO_IMAGES, COPIES)), expected)


def test_frozen_on_the_clean_row_is_the_clean_row(class_case):
    context = class_case.plain.keys_values(class_case.clean)
    close(class_case.plain.frozen(class_case.clean[:, :1], context),
          class_case.module(class_case.clean)[:, :1])


def test_gradients_of_frozen_equal_those_through_the_module(class_case):
    context = class_case.plain.keys_values(class_case.clean)
    stream = class_case.class_stream.clone().requires_grad_()
    for held in (None, class_case.held):
        expected, = torch.autograd.grad((class_case.one_row(stream,
                                                            held) * class_case.class_moved).sum(),
                                        stream)
        found, = torch.autograd.grad((class_case.plain.frozen(stream, context,
                                                              held) * class_case.class_moved).sum(),
                                     stream)
        close(found, expected)


def test_tangent_of_frozen(class_case):
    """Against forward mode through itself, through the module, and central differences."""
    context = class_case.plain.keys_values(class_case.clean)
    held = class_case.held
    at = (class_case.class_stream,)
    along = (class_case.class_moved,)
    found = class_case.plain.frozen_tangent(*at, *along, context, held)
    for function in (lambda stream: class_case.plain.frozen(stream, context, held),
                     lambda stream: class_case.one_row(stream, held)):
        expected, slope = jvp(function, at, along)
        close(found[0], expected)
        close(found[1], slope)
        above, below = (function(at[0] + sign * 1e-5 * along[0]) for sign in (1, -1))
        torch.testing.assert_close((above - below) / 2e-5, found[1], rtol=1e-6, atol=1e-6)


# --- which blocks are left to the module ---

OTHERS = {
    "another gate": {"mlp_layer": GatedMlp},
    "gate of another function": {"mlp_layer": GluMlp, "act_layer": nn.Softsign},
    "norm in single precision": {"norm_layer": LayerNormFp32},
    "rms norm": {"norm_layer": RmsNorm},
    "rms qk-norm": {"norm_layer": RmsNorm, "qk_norm": True},
    "attention norm": {"scale_attn_norm": True},
    "differential attention": {"attn_layer": "diff"},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_blocks_are_not_plain(kind):
    model = helpers.small_vit(305, **OTHERS[kind])
    target = npc.TargetModel(model)
    images, labels = helpers.small_batch(2, 306)
    assert not blocks.is_plain(model.blocks[0])
    assert target.plain(0) is None
    stream = target.run(target.embed(images), 0, 3, pooled=True)
    assert stream.shape == (2, 1, 16)
    close(target.probability(stream, labels), model(images).softmax(-1)[range(2), labels])


def test_a_gated_attention_is_not_plain():
    model = helpers.small_vit(305)
    assert blocks.is_plain(model.blocks[1])
    model.blocks[1].attn.gate = nn.Linear(16, 16).double().eval()
    assert not blocks.is_plain(model.blocks[1])
    assert npc.TargetModel(model).plain(1) is None


def test_dropout_that_is_on_is_not_plain():
    model = helpers.small_vit(305, proj_drop_rate=0.5)
    target = npc.TargetModel(model)
    for index, block in enumerate(model.blocks):  # asked before and after it was first used
        if index:
            assert target.plain(index) is not None
        block.mlp.drop1.train()
        assert not blocks.is_plain(block)
        assert target.plain(index) is None
        block.eval()
        assert blocks.is_plain(block)
        assert target.plain(index) is not None


HOOKS = ("register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook",
         "register_full_backward_pre_hook")


@pytest.mark.parametrize("register", HOOKS)
def test_a_hook_anywhere_makes_a_block_not_plain(register):
    model = helpers.small_vit(305, init_values=0.3, qk_norm=True)
    target = npc.TargetModel(model)
    for index, block in enumerate(model.blocks):
        for part in block.modules():
            handle = getattr(part, register)(lambda *_: None)
            assert not blocks.is_plain(block)
            assert target.plain(index) is None
            handle.remove()
            assert blocks.is_plain(block)
            assert target.plain(index) is not None  # later hooks come to a block that was in use


def through(target, images, labels):
    """The label's probability, its gradient and its tangent by the target's own functions."""
    target.model.requires_grad_(False)
    stream, held = target.embed(images), npc.read_activations(target, images)
    free = target.probability(target.run(stream, 0, 3, pooled=True), labels)
    # of zero mean: a constant is lost in the norms
    along = torch.linspace(-1, 1, stream.shape[-1], dtype=stream.dtype).expand_as(stream)
    fixed = target.run_tangent(stream, along, 1, held[:, 1])
    return free, *fixed


REPLACED = ("norm1", "attn", "attn.qkv", "attn.proj", "ls1", "drop_path1", "mlp", "mlp.fc1",
            "mlp.act", "mlp.drop1", "drop_path2")


def by_a_hook(module):
    """What the module returns, half as much again; and how to undo it."""
    return module.register_forward_hook(lambda _module, _inputs, output: 1.5 * output).remove


def by_its_forward(module):
    """The same as people do who look into attention: the function of one module is exchanged."""
    native = module.forward
    module.forward = lambda *inputs, **named: 1.5 * native(*inputs, **named)
    return functools.partial(delattr, module, "forward")


@pytest.mark.each_value
@pytest.mark.parametrize("changed", [by_a_hook, by_its_forward])
@pytest.mark.parametrize("used", [False, True], ids=["new", "in use"])
@pytest.mark.parametrize("part", REPLACED)
def test_a_changed_part_is_respected(part, used, changed):
    """What it returns is what the target computes with, also where the block ran without it before;
    and no longer once it is undone."""
    target, images, labels = helpers.network("cls", 305)
    before = through(target, images, labels) if used else None
    undo = changed(target.model.blocks[1].get_submodule(part))
    assert not blocks.is_plain(target.model.blocks[1])
    found = through(target, images, labels)
    assert_as_the_module(target, images, labels, found)
    undo()
    assert blocks.is_plain(target.model.blocks[1])
    after = through(target, images, labels)
    assert not torch.allclose(found[0], after[0])
    if before is not None:
        for one, other in zip(before, after, strict=True):
            assert torch.equal(one, other)


def assert_as_the_module(target, images, labels, found):
    """``found`` by :func:`through` is what the network itself computes, and its slope by central
    differences."""
    close(found[0], target.model(images).softmax(-1)[range(len(labels)), labels])
    stream, held = target.embed(images), npc.read_activations(target, images)[:, 1]
    with torch.no_grad(), clamped(target, {1: held}):
        along = torch.linspace(-1, 1, stream.shape[-1], dtype=stream.dtype)
        middle, above, below = (target.model.blocks[1](stream + size * along)
                                for size in (0, 1e-5, -1e-5))
    close(found[1], middle)
    torch.testing.assert_close(found[2], (above - below) / 2e-5, rtol=1e-6, atol=1e-6)


class Louder(nn.Module):
    """Stands in for any part."""

    def forward(self, value):
        return 1.5 * value


@pytest.mark.each_value
@pytest.mark.parametrize("used", [False, True], ids=["new", "in use"])
@pytest.mark.parametrize("part", ["norm1", "ls1", "drop_path1", "drop_path2", "attn.q_norm",
                                  "attn.norm", "attn.attn_drop", "attn.proj_drop", "mlp.act",
                                  "mlp.norm", "mlp.drop1", "mlp.drop2"])
def test_a_replaced_part_is_respected(part, used):
    target, images, labels = helpers.network("cls", 305, fused=False)
    if used:
        through(target, images, labels)
    parent, _, name = part.rpartition(".")
    # in training mode it would be left out for that alone
    setattr(target.model.blocks[1].get_submodule(parent), name, Louder().eval())
    found = through(target, images, labels)
    assert_as_the_module(target, images, labels, found)


def _swap(block):
    block.norm1, block.norm2 = block.norm2, block.norm1


def _add_below(block):
    block.mlp.act.extra = nn.Identity()


def _remove(block):
    block.attn.norm = None


def _replace_below(block):
    block.mlp.drop1 = nn.Dropout(0.5)


def _other_heads(block):
    block.attn.num_heads, block.attn.head_dim = 1, block.attn.num_heads * block.attn.head_dim


@pytest.mark.parametrize("change", [_swap, _add_below, _remove, _replace_below, _other_heads])
def test_a_form_is_of_a_block_only_as_long_as_it_has_the_parts_that_it_had(change):
    block = npc.TargetModel(helpers.small_vit()).model.blocks[0]
    form = blocks.PlainBlock(block, slice(0, 1))
    assert form.is_of(block)
    change(block)
    assert not form.is_of(block)


def test_a_form_is_of_no_other_block():
    first, second = npc.TargetModel(helpers.small_vit()).model.blocks[:2]
    assert not blocks.PlainBlock(first, slice(0, 1)).is_of(second)
