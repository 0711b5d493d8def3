"""Classifiers of transformers' against timm's networks that take their place: logits, paths and
what removing them does, by hooks on transformers' own modules; broken tables must be noticed."""

from __future__ import annotations

import copy
import dataclasses
from contextlib import ExitStack

import pytest
import torch
from timm.layers import LayerNorm

import neuronpath_core as npc
from neuronpath_core.models.transformers import accepted, mapping, proof
from neuronpath_core.models.transformers.class_and_patches import ClassAndPatchesTransformer
from neuronpath_core.models.transformers.convert import convert
from tests.models.hub_models import CASES, CLASSES, WIDTH, make, pictures

# by how much of their root mean square logits may differ: a pass of some hundred rounded sums
LIMITS = {torch.float64: 1e-10, torch.float32: 1e-5}


def open_(model, **options):
    return npc.from_transformers(model, processor=False, **options)


def apart(found, wanted):
    return float((found - wanted).abs().max() / wanted.square().mean().sqrt())


@pytest.mark.each_value
@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_transformers(name, dtype):
    model = make(name, dtype=dtype)
    target = open_(model)
    for count, seed in ((1, 2), (4, 3)):
        images = pictures(model, count, seed=seed)
        with torch.no_grad():
            found, wanted = target(images), model(images).logits
        assert found.dtype == wanted.dtype == dtype and found.shape == (count, CLASSES)
        assert apart(found, wanted) < LIMITS[dtype]
        assert wanted.std(0).min() > 1e-2 if count > 1 else True  # images do change them


RESIZED = [name for name in CASES if "oblong" not in name]


@pytest.mark.each_value
@pytest.mark.parametrize("size", [(24, 24), (12, 20)])
@pytest.mark.parametrize("name", RESIZED)
def test_other_image_sizes_have_the_positions_of_transformers(name, size):
    model = make(name, seed=1)
    target = open_(model, image_size=size)
    images = pictures(model, 2, size)
    asked = {} if name.startswith("dinov2") else {"interpolate_pos_encoding": True}
    with torch.no_grad():
        assert apart(target(images), model(images, **asked).logits) < 1e-10
    with pytest.raises(ValueError, match="accepted|must be"):
        npc.find_paths(target, pictures(model, 2), torch.zeros(2, dtype=torch.int64))


def test_a_size_that_positions_cannot_be_resampled_for_is_refused():
    oblong = make("vit-grey-oblong")  # transformers resamples square grids alone
    for size, words in (((24, 24), "no positions .*accepted"), ((3, 3), "accepted: at least one")):
        with pytest.raises(ValueError, match=f"image_size cannot be.*{words}"):
            open_(oblong, image_size=size)
    for wrong in (0, True, "16", (16,), (16.0, 16), [16, -1]):
        with pytest.raises(ValueError, match="image_size cannot be .*accepted"):
            open_(make("vit"), image_size=wrong)


@pytest.mark.each_value
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["vit", "dinov2-registers", "clip"])
def test_half_precision_is_kept_and_proved_in_double(name, dtype):
    model = make(name, dtype=dtype)
    target, images = open_(model), pictures(model)
    assert target.dtype == dtype
    with torch.no_grad():
        found, wanted = target(images).double(), model(images).logits.double()
    assert apart(found, wanted) < 64 * torch.finfo(dtype).eps


@pytest.mark.parametrize("name", CASES)
def test_neurons_and_scope_are_those_of_the_class(name):
    model = make(name)
    target = open_(model)
    fc2 = [part for key, part in model.named_modules()
           if key.endswith(("mlp.fc2", "mlp.down_proj")) and "head" not in key]
    assert [layer.units for layer in target.layers] == [part.in_features for part in fc2]
    pooled = name.startswith(("clip", "siglip"))
    assert target.scope == ("patch" if pooled else "cls")
    assert open_(model, scope="patch").scope == "patch"
    assert not target.classifies_alone or name.startswith("vit") or name == "deit"


def removed_in_transformers(model, images, neurons, scope, first):
    """Probabilities without each image's path, one image at a time, by hooks on the layers that
    leave transformers' own FFNs."""
    fc2 = [part for key, part in model.named_modules()
           if key.endswith(("mlp.fc2", "mlp.down_proj")) and ".head." not in key]
    rows = []
    for image, path in zip(images, neurons.tolist(), strict=True):
        with ExitStack() as stack, torch.no_grad():
            for part, neuron in zip(fc2, path, strict=True):
                def zero(_part, given, neuron=neuron):
                    value = given[0].clone()
                    value[:, 0 if scope == "cls" else slice(first, None), neuron] = 0
                    return (value,)
                stack.callback(part.register_forward_pre_hook(zero).remove)
            rows.append(model(image[None]).logits.softmax(-1)[0])
    return torch.stack(rows)


@pytest.mark.parametrize("name", CASES)
def test_removing_a_path_does_what_it_does_in_transformers(name):
    model = make(name, seed=4)
    images, labels = pictures(model, 3, seed=5), torch.tensor([0, 3, 4])
    target = open_(model)
    paths = npc.find_paths(target, images, labels)
    with npc.edit(target, paths.neurons, "remove"), torch.no_grad():
        found = target(images).softmax(-1)
    first = {"deit": 2, "siglip": 0}.get(name.partition("-")[0], 1)
    registers = getattr(model.config, "num_register_tokens", 0)
    wanted = removed_in_transformers(model, images, paths.neurons, target.scope, first + registers)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    with torch.no_grad():
        assert (wanted - model(images).logits.softmax(-1)).abs().max() > 1e-4  # something is removed


@pytest.mark.parametrize("name", ["vit", "deit-two-heads", "dinov2-registers", "dinov2-gated", "clip", "siglip"])
def test_the_model_runs_block_by_block_and_by_every_engine(name):
    model = make(name, seed=6)
    target = open_(model)
    images, labels = pictures(model, 2), torch.tensor([1, 2])
    target.examine(images)
    assert target.differs is None
    assert all(target.plain(index) is not None for index in range(target.n_blocks))
    fast, plain = (npc.find_paths(target, images, labels, engine=engine, context="full")
                   for engine in ("fast", "plain"))
    assert torch.equal(fast.neurons, plain.neurons)
    torch.testing.assert_close(fast.score, plain.score, rtol=1e-8, atol=1e-12)


# --- the model is left alone ---


def test_the_model_is_neither_changed_nor_shared():
    model = make("vit")
    model.vit.layers[1].train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [part.training for part in model.modules()]
    state = torch.random.get_rng_state()
    target = open_(model)
    assert torch.equal(state, torch.random.get_rng_state())
    assert [part.training for part in model.modules()] == modes and any(modes)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    own = {value.data_ptr() for value in model.state_dict().values()}
    assert not own & {value.data_ptr() for value in target.model.state_dict().values()}
    images = pictures(model)
    with torch.no_grad():
        logits = target(images)
        for weight in model.parameters():
            weight.zero_()
        assert torch.equal(target(images), logits)


def test_a_recorder_of_hidden_states_is_no_hook():
    model = make("vit")
    with torch.no_grad():
        model(pictures(model), output_hidden_states=True)
    assert any(part._forward_hooks for part in model.modules())
    open_(model)


def test_inside_inference_mode_the_weights_are_ordinary():
    with torch.inference_mode():
        model = make("clip")
        target = open_(model)
    assert all(weight.is_inference() for weight in model.parameters())
    assert not any(weight.is_inference() for weight in target.model.parameters())


def test_names_of_classes_are_kept_and_placeholders_are_not():
    named = open_(make("vit", id2label={0: "crane", 1: "crane <b>", 2: "a\nb"}))
    assert named.model.pretrained_cfg["label_names"] == ["crane", "crane <b>", "a\nb"]
    assert named.model.pretrained_cfg["num_classes"] == 3
    assert "label_names" not in open_(make("vit")).model.pretrained_cfg


# --- the proof ---

# what is planted: table -> table with one thing wrong
def swapped(one, other):
    def plant(table):
        names = dict(table.block)
        names[one], names[other] = names[other], names[one]
        return dataclasses.replace(table, block=names)
    return plant


def with_arguments(**wrong):
    def plant(table):
        return dataclasses.replace(table, arguments=lambda config: table.arguments(config) | wrong)
    return plant


def heads_swapped(table):
    stem = dict(table.stem) | {"cls_classifier": "head_dist", "distillation_classifier": "head"}
    return dataclasses.replace(table, stem=stem)


def own_norm(eps):
    return lambda features, **others: LayerNorm(features, eps=eps, **others)


class RegistersPooled(ClassAndPatchesTransformer):
    def pool(self, x, pool_type=None):
        return torch.cat([x[:, 0], x[:, 1:].mean(1)], -1)


PLANTED = [
    ("vit", swapped("attention.q_proj", "attention.k_proj")),
    ("vit", swapped("attention.k_proj", "attention.v_proj")),
    ("vit", swapped("layernorm_before", "layernorm_after")),
    ("vit", with_arguments(norm_layer=own_norm(1e-6))),
    ("vit", with_arguments(act_layer=mapping.GELUTanh)),
    ("vit", with_arguments(num_heads=4)),
    ("deit-two-heads", heads_swapped),
    ("dinov2", swapped("layer_scale1.lambda1", "layer_scale2.lambda1")),
    ("dinov2-gated", swapped("mlp.gate_proj", "mlp.up_proj")),
    ("dinov2-registers", lambda table: dataclasses.replace(table, network=RegistersPooled)),
    ("clip", with_arguments(pool_include_prefix=True)),
    ("clip", with_arguments(act_layer=mapping.GELU)),
    ("siglip", with_arguments(global_pool="max")),
]


@pytest.mark.each_value
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("case", range(len(PLANTED)))
def test_a_table_with_one_thing_wrong_is_noticed(case, dtype, monkeypatch):
    name, plant = PLANTED[case]
    model = make(name, dtype=dtype)
    right = accepted.mapping_of(model)
    monkeypatch.setitem(accepted.MAPPINGS, right.kind, plant(right))
    with pytest.raises(ValueError, match="logits that differ by .* of their size; accepted"):
        open_(model)


def test_nothing_hides_behind_a_head_of_zeros_or_a_large_bias(monkeypatch):
    model = make("vit", dtype=torch.float32)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.fill_(1e6)
    open_(model)
    right = accepted.MAPPINGS["ViTForImageClassification"]
    monkeypatch.setitem(accepted.MAPPINGS, right.kind,
                        swapped("attention.q_proj", "attention.k_proj")(right))
    with pytest.raises(ValueError, match="in double precision.*differ"):
        open_(model)


def test_large_models_are_held_in_their_own_precision_and_in_double_in_doubt(monkeypatch):
    monkeypatch.setattr(proof, "MOST_WEIGHTS", 10)
    model = make("vit", dtype=torch.float32)
    network, calls = convert(model), []
    in_double = proof._in_double
    monkeypatch.setattr(proof, "_in_double", lambda *given: calls.append(1) or in_double(*given))
    proof.prove(model, network)
    assert not calls
    monkeypatch.setattr(proof, "SINGLE", 0.0)
    with torch.no_grad():
        network.head.bias[0] += 1e-5  # rounding, as far as single precision tells
    proof.prove(model, network)
    assert calls
    with torch.no_grad():
        network.head.bias[0] += 1.0
    with pytest.raises(ValueError, match="as they are called"):
        proof.prove(model, network)


@pytest.mark.parametrize("name", ["vit", "dinov2", "clip"])
def test_attention_written_out_is_proved_or_refused_by_its_precision(name):
    single = make(name, dtype=torch.float32)
    single.set_attn_implementation("eager")
    target, images = open_(single), pictures(single)
    with torch.no_grad():
        assert apart(target(images), single(images).logits) < 1e-5
    double = make(name)
    double.set_attn_implementation("eager")
    if name == "dinov2":  # whose softmax is in double precision then
        open_(double)
        return
    with pytest.raises(ValueError, match=r"differ by.*accepted.*set_attn_implementation\('sdpa'\)"):
        open_(double)


def test_what_somebody_does_to_a_class_is_noticed_by_calling_it(monkeypatch):
    from transformers.models.vit import modeling_vit

    model, own = make("vit"), modeling_vit.ViTMLP.forward
    monkeypatch.setattr(modeling_vit.ViTMLP, "forward", lambda self, x: 1.01 * own(self, x))
    with pytest.raises(ValueError, match="as they are called.*differ"):
        open_(model)


def test_weights_that_are_not_finite_are_refused():
    model = make("vit")
    with torch.no_grad():
        model.vit.layers[0].mlp.fc1.bias[0] = torch.nan
    with pytest.raises(ValueError, match="not finite.*accepted"):
        open_(model)


def test_a_copy_of_the_target_and_a_pickle_are_the_same(tmp_path):
    model = make("dinov2-registers")
    target, images = open_(model), pictures(model)
    copied = npc.TargetModel(copy.deepcopy(target.model))
    torch.save(target.model, tmp_path / "model.pt")
    stored = npc.TargetModel(torch.load(tmp_path / "model.pt", weights_only=False))
    for other in (copied, stored):
        assert other.scope == "cls" and other.model.pretrained_cfg == target.model.pretrained_cfg
        with torch.no_grad():
            assert torch.equal(other(images), target(images))


def test_the_head_of_dinov2_reads_class_token_and_mean_patch():
    model = make("dinov2-registers")
    network = convert(model)
    stream = torch.randn(2, 1 + model.config.num_register_tokens + 16, WIDTH, dtype=torch.float64)
    pooled = network.pool(stream)
    assert torch.equal(pooled[:, :WIDTH], stream[:, 0])
    torch.testing.assert_close(pooled[:, WIDTH:], stream[:, 5:].sum(1) / 16, rtol=1e-12, atol=0)
