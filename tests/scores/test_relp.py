"""RelP and LibraGrad: the linearised model against one written out without derivatives, and its
completeness."""

import pytest
import torch
from timm.layers import GluMlp, QuickGELU, RmsNorm, SwiGLU
from timm.models.eva import Eva
from torch import nn

import neuronpath_core as npc
from neuronpath_core.baselines import gradient_activation
from neuronpath_core.gradients import activation_gradients
from neuronpath_core.models.planted import planted_model
from neuronpath_core.scores.libragrad import libragrad
from neuronpath_core.scores.linearised import linearised
from neuronpath_core.scores.relp import relevance_patching
from neuronpath_core.support.memory import copy_bytes, memory_limit
from tests import helpers, twins
from tests.scores import held

# affine maps of numbers near 1, in double precision
CLOSE = {"rtol": 0, "atol": 1e-12}
RULES = {"half": relevance_patching, "held": libragrad}
WRITTEN = [name for name in helpers.NETWORKS if name != "patch-attention-pool"]
GATED = {"swiglu": {"mlp_layer": SwiGLU, "act_layer": nn.SiLU},
         "swiglu-quick": {"mlp_layer": SwiGLU, "act_layer": QuickGELU},
         "glu": {"mlp_layer": GluMlp, "act_layer": nn.GELU, "scale_mlp_norm": True},
         "glu-sigmoid": {"mlp_layer": GluMlp, "act_layer": nn.Sigmoid},
         "rms": {"norm_layer": RmsNorm, "qk_norm": True, "act_layer": nn.ReLU}}


def network(name, seed=401):
    """One of the helpers' networks, or one with gates or other norms."""
    if name in helpers.NETWORKS:
        return helpers.network(name, seed)
    return npc.TargetModel(helpers.small_vit(seed, **GATED[name])), *helpers.small_batch(2, seed)


def rotary(seed=403, **settings):
    """A network of timm's ``EvaBlock``."""
    sizes = {name: value for name, value in helpers.SIZES.items() if name != "mlp_ratio"}
    return npc.TargetModel(helpers.fill(Eva(**sizes, mlp_ratio=1.0, use_rot_pos_emb=True,
                                            **settings), seed))


def some_baseline(target, images=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = len(range(target.n_tokens)[target.tokens])
    return torch.randn(images, target.n_blocks, tokens, target.n_neurons, generator=generator,
                       dtype=target.dtype)


@pytest.mark.each_value
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", WRITTEN + list(GATED))
def test_scores_are_what_the_written_out_affine_map_loses(name, rule):
    target, images, labels = network(name)
    where, baseline = twins.positions(target.model, target.scope), some_baseline(target, 2)
    for of, base in (("probability", None), ("logit", baseline)):
        found = RULES[rule](target, images, labels, of, base)
        for row in range(2):
            expected = held.scores(target.model, where, images[row], int(labels[row]), rule, of,
                                   None if base is None else base[row])
            torch.testing.assert_close(found[row], expected, **CLOSE)


@pytest.mark.each_value
@pytest.mark.parametrize("gates", RULES)
@pytest.mark.parametrize("name", [*helpers.NETWORKS, *GATED])
def test_linearisation_leaves_values_as_they_are(name, gates):
    target, images, _ = network(name)
    with torch.no_grad():
        clean = target(images)
        with linearised(gates):
            again = target(images)
    torch.testing.assert_close(again, clean, rtol=0, atol=1e-12)


ROTARY = [{}, {"swiglu_mlp": True, "scale_mlp": True}, {"qkv_fused": False, "init_values": 0.1},
          {"qk_norm": True, "global_pool": "token"}, {"rope_type": "dinov3"},
          {"attn_type": "rope"}, {"scale_attn_inner": True, "dynamic_img_size": True}]


def bias_like(model):
    """Parameters that add to what passes, and so do not multiply it."""
    return {name: value for name, value in model.named_parameters()
            if name.endswith("bias") or name in ("pos_embed", "cls_token", "reg_token")}


def attributed(model, images, gates):
    """A logit, and what inputs and biases times their gradients add up to."""
    images, biases = images.clone().requires_grad_(), bias_like(model)
    if gates is None:
        logits = model(images)
    else:
        with linearised(gates):
            logits = model(images)
    leaves = [images, *biases.values()]
    slopes = torch.autograd.grad(logits[:, 1].sum(), leaves, allow_unused=True)
    return logits[:, 1].sum(), sum((leaf * slope).sum() for leaf, slope
                                   in zip(leaves, slopes, strict=True) if slope is not None)


@pytest.mark.each_value
@pytest.mark.parametrize("gates", RULES)
@pytest.mark.parametrize("name", [*helpers.NETWORKS, *GATED, *range(7)])
def test_inputs_and_biases_add_up_to_the_logit(name, gates):
    """FullGrad-completeness, which a part that was overlooked would break."""
    if isinstance(name, int):
        target, images = rotary(**ROTARY[name]), helpers.small_batch(2, 5)[0]
    else:
        target, images, _ = network(name)
    logit, total = attributed(target.model, images, gates)
    torch.testing.assert_close(total, logit, rtol=0, atol=1e-11)
    assert (logit - attributed(target.model, images, None)[1]).abs() > 1e-3


@pytest.mark.each_value
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["cls", "avg", "swiglu", "avg-registers"])
def test_a_blocks_scores_and_the_rest_add_up_to_the_logit(name, rule):
    target, images, labels = network(name)
    where = twins.positions(target.model, target.scope)
    scores = RULES[rule](target, images, labels, "logit")
    with torch.no_grad():
        for row, label in enumerate(labels.tolist()):
            noted = held.Held(rule)
            logit = held.logits(target.model, images[[row]], noted)[0, label]
            for block in range(3):
                rest = held.logits(target.model, images[[row]], noted.again(), where,
                                   {block: torch.zeros_like})[0, label]
                torch.testing.assert_close(scores[row, block].sum() + rest, logit, rtol=0,
                                           atol=1e-11)
                assert (logit - rest).abs() > 1e-6  # else nothing was tested


@pytest.mark.parametrize("scope", ["cls", "patch"])
def test_a_linear_network_has_nothing_to_linearise(scope):
    model = helpers.blank_vit(scope)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "attn" not in name:
                value.copy_(0.15 * torch.randn(value.shape, generator=generator))
        for block in model.blocks:
            block.mlp.act = nn.Identity()
            # queries and keys of zero: every token attends to all alike
            block.attn.qkv.weight[32:] = 0.15 * torch.randn(16, 16, generator=generator)
            block.attn.proj.weight.copy_(0.15 * torch.randn(16, 16, generator=generator))
    target, (images, labels) = npc.TargetModel(model, scope), helpers.small_batch(3, 7)
    plain = gradient_activation(target, images, labels)
    assert plain.abs().max() > 1e-3
    for method in RULES.values():
        torch.testing.assert_close(method(target, images, labels), plain, **CLOSE)


def test_a_curved_network_has():
    target, images, labels = network("cls")
    assert (relevance_patching(target, images, labels)
            - gradient_activation(target, images, labels)).abs().max() > 1e-3


def test_the_two_differ_in_gated_ffns_alone():
    for name in ("cls", "avg-unfused-qknorm", "patch-attention-pool", "rms", "glu-sigmoid"):
        one, other = (method(*network(name)) for method in RULES.values())
        assert torch.equal(one, other)
    for name in ("swiglu", "swiglu-quick", "glu"):
        one, other = (method(*network(name)) for method in RULES.values())
        assert (one - other).abs().max() > 1e-4


def test_what_is_negative_or_zero_before_an_activation():
    """The ratio is that of the value and the derivative at zero, for functions in place too."""
    for kind in (nn.GELU(), nn.ReLU(inplace=True), nn.SiLU(inplace=True), nn.ELU(inplace=True),
                 nn.LeakyReLU(0.1, inplace=True), nn.Tanh()):
        given = torch.tensor([-2.0, 0.0, 1.5], dtype=torch.float64, requires_grad=True)
        with linearised():
            found = kind(given)
        slope, = torch.autograd.grad(found.sum(), given)
        fresh = torch.tensor([0.0], dtype=torch.float64, requires_grad=True)
        at_zero, = torch.autograd.grad(kind(fresh.clone()), fresh)
        expected = kind(torch.tensor([-2.0, 0.0, 1.5], dtype=torch.float64))
        torch.testing.assert_close(found.detach(), expected, **CLOSE)
        torch.testing.assert_close(slope[[0, 2]], expected[[0, 2]] / torch.tensor([-2.0, 1.5]),
                                   rtol=1e-12, atol=0, check_dtype=False)
        assert slope[1] == at_zero


@pytest.mark.parametrize("name", ["cls", "avg", "swiglu"])
def test_images_one_by_one_and_small_budgets_give_the_same(name):
    target, images, labels = network(name)
    base = some_baseline(target, 2)
    together = relevance_patching(target, images, labels, baseline=base)
    apart = torch.cat([relevance_patching(target, images[[row]], labels[[row]],
                                          baseline=base[[row]]) for row in range(2)])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-13)
    with memory_limit(target, copy_bytes(target)):
        torch.testing.assert_close(relevance_patching(target, images, labels, baseline=base),
                                   together, rtol=0, atol=1e-13)


def test_a_baseline_of_the_activations_leaves_nothing_and_zeros_change_nothing():
    target, images, labels = network("avg")
    clean = npc.hooks.neurons_read(target, images)
    assert relevance_patching(target, images, labels,
                              baseline=torch.stack(clean, 1)).abs().max() < 1e-15
    zeros = torch.zeros(1, target.n_blocks, 1, target.n_neurons, dtype=torch.float64)
    assert torch.equal(relevance_patching(target, images, labels, baseline=zeros),
                       relevance_patching(target, images, labels))


def test_single_precision_is_single_precision():
    target, images, labels = network("cls-layerscale-qknorm")
    exact = relevance_patching(target, images, labels)
    found = relevance_patching(npc.TargetModel(target.model.float()), images.float(), labels)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5)


def test_planted_neurons_come_first_and_permuted_weights_change_the_ranking():
    planted = planted_model("chain", "cls", seed=3)
    target, images, labels = planted.target, planted.images, planted.labels
    found = relevance_patching(target, images, labels).argmax(-1)
    assert torch.equal(found, planted.neurons[..., 0])
    with torch.no_grad():
        for block in target.model.blocks:
            order = torch.randperm(target.n_neurons, generator=torch.Generator().manual_seed(1))
            block.mlp.fc2.weight.copy_(block.mlp.fc2.weight[:, order])
    again = relevance_patching(target, images, labels).argmax(-1)
    assert (again == planted.neurons[..., 0]).double().mean() < 0.5


def test_sites_and_hooks_of_ones_own():
    target, images, labels = network("cls")
    sites = npc.SiteModel(target.model, "cls", "mixed")
    found = relevance_patching(sites, images, labels)
    torch.testing.assert_close(found[:, 1::2], relevance_patching(target, images, labels), **CLOSE)
    # columns of the value projection: what enters attn.proj is affine in them
    assert found[:, ::2].abs().max() > 1e-3
    heads = npc.SiteModel(target.model, "cls", "heads")
    torch.testing.assert_close(relevance_patching(heads, images, labels),
                               found[:, ::2].unflatten(-1, (2, -1)).sum(-1), **CLOSE)
    before = relevance_patching(target, images, labels)
    handle = target.model.blocks[2].mlp.register_forward_hook(lambda _m, _i, out: 0.5 * out)
    halved = relevance_patching(target, images, labels)
    handle.remove()
    assert (halved - before).abs().max() > 1e-3


def test_a_compiled_model_and_nothing_left_behind():
    target, images, labels = network("cls")
    before, wanted = helpers.Snapshot(target.model), relevance_patching(target, images, labels)
    before.check()
    with torch.no_grad():  # gradients flow under a caller's no_grad
        assert torch.equal(relevance_patching(target, images, labels), wanted)
    target.model.compile(backend="eager")
    torch.testing.assert_close(relevance_patching(target, images, labels), wanted, **CLOSE)


class Squared(nn.Module):
    def forward(self, value):
        return value * value


def test_what_is_refused():
    target, images, labels = network("cls")
    helpers.refused(lambda: relevance_patching(target, images, labels, "loss"), "'loss'",
                    "probability, logit")
    helpers.refused(lambda: relevance_patching(target, images, labels + 9), "labels must lie")
    helpers.refused(lambda: relevance_patching(target, images, labels, baseline=images),
                    "shape", "(2, 3, 8, 8)")
    helpers.refused(lambda: relevance_patching(target.model, images, labels), "TargetModel")
    target.model.blocks[1].mlp.act = Squared().eval()
    for method in RULES.values():
        helpers.refused(lambda method=method: method(target, images, labels),
                        "blocks.1.mlp.act (Squared)", "SwiGLU")
    target.model.blocks[1].mlp.act = nn.GELU().eval()
    own = target.model.blocks[1].forward
    target.model.blocks[1].forward = lambda *given: own(*given)
    helpers.refused(lambda: relevance_patching(target, images, labels),
                    "blocks.1 (Block with a method of its own)")
    del target.model.blocks[1].forward
    other = npc.TargetModel(helpers.small_vit(1, attn_layer="diff"))
    helpers.refused(lambda: relevance_patching(other, images, labels), "attn", "DiffAttention")
    target.model.set_grad_checkpointing(True)
    helpers.refused(lambda: relevance_patching(target, images, labels),
                    "set_grad_checkpointing(False)")


def test_the_rule_is_gone_outside():
    target, images, _ = network("cls")
    with activation_gradients(target):
        given = images.clone().requires_grad_()
        plain, = torch.autograd.grad(target(given)[:, 0].sum(), given)
        with linearised():
            pass
        again, = torch.autograd.grad(target(given)[:, 0].sum(), given)
    assert torch.equal(plain, again)


@pytest.mark.parametrize("gates", RULES)
def test_a_zero_shot_heads_unit_length_is_held(gates):
    model, images = helpers.small_vit(5), helpers.small_batch(2, 5)[0]
    texts = torch.randn(3, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with npc.zero_shot(model, texts, scale=4.0):
        target = npc.TargetModel(model, "cls")
        logit, total = attributed(model, images, gates)
        torch.testing.assert_close(total, logit, rtol=0, atol=1e-11)
        assert (logit - attributed(model, images, None)[1]).abs() > 1e-3
        assert RULES[gates](target, images, torch.tensor([0, 2])).abs().max() > 1e-3
