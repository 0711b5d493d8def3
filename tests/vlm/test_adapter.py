"""The adapter: neurons against forwards written by hand, batches against single samples, the
families of models, and every refusal."""

import copy
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from neuronpath_core.vlm import sequences
from neuronpath_core.vlm.adapter import VisionLanguageModel
from neuronpath_core.vlm.feed_forward import feed_forwards
from neuronpath_core.vlm.inputs import Inputs
from neuronpath_core.vlm.model import CHAT, build, pixel_values, processor
from neuronpath_core.vlm.scenes import compose_many
from tests.helpers import refused
from tests.vlm.planted import ASK, SMALL, image, planted_vlm, random_vlm

SCENES = compose_many("held_out", 4)
TURNS = [sequences.caption_turn(scene) for scene in SCENES]


def encode(vlm, scenes=SCENES, turns=TURNS):
    return vlm.encode([scene.pixels for scene in scenes], [turn[0] for turn in turns],
                      [turn[1] for turn in turns])


# --- what goes in ---


def test_the_processor_gives_the_sequences_and_roles_of_training():
    inputs = encode(random_vlm())
    ids = sequences.padded([sequences.sequence([turn]) for turn in TURNS])
    torch.testing.assert_close(inputs.values["input_ids"], ids, rtol=0, atol=0)
    torch.testing.assert_close(inputs.roles, sequences.roles(ids), rtol=0, atol=0)
    torch.testing.assert_close(inputs.values["pixel_values"].float(), pixel_values(SCENES),
                               rtol=0, atol=1e-6)
    assert inputs.grid == (8, 8) and inputs.visual.sum(1).tolist() == [64] * 4
    for row, turn in enumerate(TURNS):
        told = inputs.text()[row].nonzero()[:, 0].tolist()
        assert [inputs.words[row][place] for place in told] == turn[1].split()


def test_text_that_counts_is_a_choice():
    inputs = encode(random_vlm())
    assert (inputs.text("prompt+answer") & ~inputs.text()).sum(1).tolist() == [4] * 4
    every = inputs.text("all") | inputs.visual
    torch.testing.assert_close(every, inputs.values["attention_mask"].bool())
    refused(lambda: inputs.text("captions"), "unknown text 'captions'; accepted: answer, prompt")


def test_without_answers_the_model_is_about_to_answer():
    vlm = random_vlm()
    inputs = vlm.encode([SCENES[0].pixels], ["where is the star ?"])
    assert not inputs.text().any() and inputs.words[0][-2:] == ("assistant", ":")
    said = vlm.generate([scene.pixels for scene in SCENES[:2]], ["where is the star ?"] * 2, 3)
    for scene, words in zip(SCENES, said, strict=False):
        ids, answer = sequences.sequence([("where is the star ?", "")]), []
        for _ in range(3):  # greedy by hand, the whole sequence again for every word
            logits = vlm.model(input_ids=torch.tensor([ids]),
                               pixel_values=pixel_values([scene]).double()).logits[0, -1]
            ids.append(int(logits.argmax()))
            answer.append(vlm.processor.tokenizer.convert_ids_to_tokens(ids[-1]))
        assert words.split() == [word for word in answer if not word.startswith("<")]


# --- what is read ---


def test_decoder_neurons_are_those_of_a_forward_by_hand():
    vlm = random_vlm()
    inputs = encode(vlm)
    found = {site: vlm.activations(inputs, site) for site in ("activation", "product")}
    states = vlm.model(**inputs.values, output_hidden_states=True).hidden_states
    for number, layer in enumerate(vlm.model.model.language_model.layers):
        seen = []
        handle = layer.post_attention_layernorm.register_forward_hook(
            lambda _module, _inputs, out, seen=seen: seen.append(out))
        vlm.model(**inputs.values)
        handle.remove()
        half = layer.mlp
        gate = F.silu(seen[0] @ half.gate_proj.weight.T)
        product = gate * (seen[0] @ half.up_proj.weight.T)
        torch.testing.assert_close(found["activation"][number], gate, rtol=0, atol=1e-12)
        torch.testing.assert_close(found["product"][number], product, rtol=0, atol=1e-12)
    assert len(states) == 3 and [half.width for half in vlm.halves["decoder"]] == [10, 10]


def test_tower_neurons_are_those_of_a_forward_by_hand():
    vlm = random_vlm()
    inputs = encode(vlm)
    layers = vlm.model.model.vision_tower.encoder.layers
    found = vlm.activations(inputs, part="tower")
    assert len(found) == len(layers) == 3 and found[0].shape == (4, 65, 12)
    for layer, values in zip(layers, found, strict=True):
        seen = []
        handle = layer.layer_norm2.register_forward_hook(
            lambda _module, _inputs, out, seen=seen: seen.append(out))
        vlm.model(**inputs.values)
        handle.remove()
        hidden = layer.mlp.fc1(seen[0])
        torch.testing.assert_close(values, hidden * torch.sigmoid(1.702 * hidden), rtol=0,
                                   atol=1e-12)


@pytest.mark.parametrize("site", ["activation", "product"])
def test_a_batch_with_padding_is_its_samples_one_by_one(site):
    vlm = random_vlm()
    together = encode(vlm)
    assert len(set(together.values["attention_mask"].sum(1).tolist())) > 1
    batch = vlm.activations(together, site)
    for row, (scene, turn) in enumerate(zip(SCENES, TURNS, strict=True)):
        alone = encode(vlm, [scene], [turn])
        for many, one in zip(batch, vlm.activations(alone, site), strict=True):
            torch.testing.assert_close(many[row, :one.shape[1]], one[0], rtol=0, atol=1e-11)


def test_reading_leaves_the_model_as_it_was():
    vlm = random_vlm()
    inputs = encode(vlm)
    before = vlm.model(**inputs.values).logits
    vlm.activations(inputs)
    torch.testing.assert_close(vlm.model(**inputs.values).logits, before, rtol=0, atol=0)
    assert not any(module._forward_hooks or module._forward_pre_hooks
                   for module in vlm.model.modules() if module in [
                       half.down for half in vlm.halves["decoder"]])


def test_the_towers_unread_layers_are_no_layers():
    """With LLaVA's own -2 the last block feeds nothing: changing it changes no answer."""
    vlm = random_vlm()
    vlm.model.config.vision_feature_layer = -2
    short = VisionLanguageModel(vlm.model, vlm.processor)
    assert [half.layer for half in short.halves["tower"]] == [0, 1]
    inputs = encode(short)
    before = short.model(**inputs.values).logits
    layers = vlm.model.model.vision_tower.encoder.layers
    with torch.no_grad():
        layers[2].mlp.fc2.weight.normal_()
    torch.testing.assert_close(short.model(**inputs.values).logits, before, rtol=0, atol=0)
    with torch.no_grad():
        layers[1].mlp.fc2.weight.normal_()
    assert (short.model(**inputs.values).logits - before).abs().max() > 1e-6


def test_the_planted_model_fires_where_it_was_planted():
    vlm = planted_vlm()
    inputs = vlm.encode([image(3)], [ASK], ["a red star ."])
    found = vlm.activations(inputs)[0][0]
    visual = inputs.visual[0]
    bright = found > 0.3 * found.amax(0, keepdim=True).clamp(min=1e-9)
    assert bright[visual, 0].nonzero()[:, 0].tolist() == [0, 1, 2] and not bright[~visual, 0].any()
    words = inputs.words[0]
    assert [words[place] for place in bright[:, 1].nonzero()[:, 0]] == ["red"]
    assert [words[place] for place in bright[:, 2].nonzero()[:, 0]] == ["<image>"] * 3 + ["red"]
    assert [words[place] for place in bright[:, 3].nonzero()[:, 0]] == ["star"]
    assert found[:, 4].max() <= 0


# --- other families, by structure ---


def by_hand(ids, token, **values):
    roles = torch.where(ids == token, sequences.ROLES.index("image"),
                        sequences.ROLES.index("answer"))
    return Inputs({"input_ids": ids, "attention_mask": torch.ones_like(ids), **values}, roles,
                  (("",),))


def held(vlm, inputs, decoder, tower):
    """Both parts' products give, through the last projection, what each half gives as called."""
    for part, halves in (("decoder", decoder), ("tower", tower)):
        found = vlm.activations(inputs, "product", part)
        assert len(found) == len(halves) == len(vlm.halves[part])
        for half, values in zip(halves, found, strict=True):
            out = []
            handle = half.register_forward_hook(lambda _m, _i, made, out=out: out.append(made))
            vlm.model(**inputs.values)
            handle.remove()
            down = getattr(half, "down_proj", None) or half.fc2
            torch.testing.assert_close(down(values), out[0], rtol=0, atol=1e-12)


def test_internvl_of_transformers():
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    config = InternVLConfig(
        vision_config={"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
                       "intermediate_size": 12, "image_size": [28, 28], "patch_size": [14, 14]},
        text_config={"model_type": "qwen2", "hidden_size": 16, "num_hidden_layers": 2,
                     "num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 10,
                     "vocab_size": 20}, image_token_id=5, downsample_ratio=0.5)
    model = InternVLForConditionalGeneration(config).double()
    vlm = VisionLanguageModel(model, processor())
    inputs = by_hand(torch.tensor([[1, 5, 7, 8]]), 5,
                     pixel_values=torch.rand(1, 3, 28, 28, dtype=torch.float64))
    held(vlm, inputs, [layer.mlp for layer in model.model.language_model.layers],
         [layer.mlp for layer in model.model.vision_tower.encoder.layer])


def test_qwen_with_gated_halves_in_the_tower_too():
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(
        vision_config={"hidden_size": 16, "depth": 2, "num_heads": 2, "intermediate_size": 12,
                       "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2,
                       "out_hidden_size": 16, "window_size": 16, "fullatt_block_indexes": [1]},
        text_config={"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
                     "num_key_value_heads": 2, "intermediate_size": 10, "vocab_size": 20,
                     "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1]}},
        image_token_id=5, vision_start_token_id=6, video_token_id=9)
    model = Qwen2_5_VLForConditionalGeneration(config).double()
    vlm = VisionLanguageModel(model, processor())
    inputs = by_hand(torch.tensor([[1, 6, 5, 5, 5, 5, 7, 8]]), 5,
                     pixel_values=torch.rand(16, 96, dtype=torch.float64),
                     image_grid_thw=torch.tensor([[1, 4, 4]]))
    held(vlm, inputs, [layer.mlp for layer in model.model.language_model.layers],
         [block.mlp for block in model.model.visual.blocks])


def test_llava_next_with_several_crops():
    """Crops and the ends of their rows are image tokens that make no grid."""
    from transformers import (
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    small, pinpoints = build(0, *SMALL), [[64, 64], [64, 128]]
    config = LlavaNextConfig(
        vision_config=small.config.vision_config, text_config=small.config.text_config,
        image_token_id=small.config.image_token_id, image_grid_pinpoints=pinpoints,
        vision_feature_layer=-1, vision_feature_select_strategy="default")
    own = LlavaNextProcessor(
        LlavaNextImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64},
                                image_grid_pinpoints=pinpoints),
        processor().tokenizer, patch_size=8, vision_feature_select_strategy="default",
        num_additional_image_tokens=1, image_token="<image>", chat_template=CHAT)
    model = LlavaNextForConditionalGeneration(config).double()
    vlm = VisionLanguageModel(model, own)
    inputs = encode(vlm)
    assert inputs.grid is None and inputs.visual.sum(1).tolist() == [64 + 64 + 8] * 4
    held(vlm, inputs, [layer.mlp for layer in model.model.language_model.layers],
         [layer.mlp for layer in model.model.vision_tower.encoder.layers])
    own.num_additional_image_tokens = 0
    refused(lambda: encode(VisionLanguageModel(model, own)), "num_additional_image_tokens is 0")


class InternLm2Half(nn.Module):
    """The names of InternLM2's remote code."""

    def __init__(self, old):
        super().__init__()
        self.w1, self.w3, self.w2, self.act_fn = (old.gate_proj, old.up_proj, old.down_proj,
                                                  old.act_fn)

    def forward(self, x):
        return self.w2(self.act_fn(self.w1(x)) * self.w3(x))


def test_other_names_of_the_same_parts():
    vlm = random_vlm()
    inputs = encode(vlm)
    wanted = vlm.activations(inputs)
    model = copy.deepcopy(vlm.model)
    for layer in model.model.language_model.layers:
        layer.mlp = InternLm2Half(layer.mlp)
    again = VisionLanguageModel(model, vlm.processor)
    for found, old in zip(again.activations(inputs), wanted, strict=True):
        torch.testing.assert_close(found, old, rtol=0, atol=0)


# --- refusals ---


@pytest.mark.parametrize(("setting", "value", "words"), [
    ("patch_size", 16, "patch_size is 16, the tower's is 8"),
    ("vision_feature_select_strategy", "full",
     "vision_feature_select_strategy is full, the model's is default"),
    ("num_additional_image_tokens", 0,
     "num_additional_image_tokens is 0, the tower has 1 beside its patches")])
def test_image_tokens_that_do_not_match_name_the_setting(setting, value, words):
    vlm = random_vlm()
    setattr(vlm.processor, setting, value)
    refused(lambda: encode(vlm), "image tokens", words, "accepted: the processor that belongs to")


def test_a_tower_without_a_class_token_must_not_lose_a_patch():
    """Both numbers agree at 63, and the grid would be shifted by a patch."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    tower = SiglipVisionConfig(image_size=64, patch_size=8, hidden_size=16, num_hidden_layers=1,
                               num_attention_heads=2, intermediate_size=12)
    small = build(0, *SMALL)
    config = LlavaConfig(vision_config=tower, text_config=small.config.text_config,
                         image_token_id=small.config.image_token_id, vision_feature_layer=-1,
                         vision_feature_select_strategy="default")
    kept = processor()
    kept.num_additional_image_tokens = 0
    vlm = VisionLanguageModel(LlavaForConditionalGeneration(config), kept)
    refused(lambda: encode(vlm), "which drops a class token, and the tower has none")
    vlm.model.config.vision_feature_select_strategy = "full"
    kept.vision_feature_select_strategy = "full"
    assert encode(VisionLanguageModel(vlm.model, kept)).grid == (8, 8)


def test_kernels_that_bypass_the_activation_are_noticed():
    vlm = random_vlm()
    half = vlm.model.model.language_model.layers[1].mlp
    half.forward = lambda x: half.down_proj(F.silu(half.gate_proj(x)) * half.up_proj(x))
    refused(lambda: vlm.activations(encode(vlm)), "layers.1.mlp ran past its activation function",
            "accepted: halves as transformers writes them")


def test_halves_that_make_something_else_of_it_are_noticed():
    for planted in (lambda half, x: 2 * half.down_proj(half.act_fn(half.gate_proj(x))
                                                       * half.up_proj(x)),
                    lambda half, x: half.down_proj(half.act_fn(1.01 * half.gate_proj(x))
                                                   * half.up_proj(x)),
                    lambda half, x: half.down_proj(half.act_fn(half.gate_proj(x)))):
        vlm = random_vlm()
        half = vlm.model.model.language_model.layers[0].mlp
        half.forward = lambda x, half=half, planted=planted: planted(half, x)
        refused(lambda vlm=vlm: vlm.activations(encode(vlm)), "layers.0.mlp does not give its output")


def test_tied_quantised_and_unloaded_weights_are_refused():
    model = build(0, *SMALL)
    layers = model.model.language_model.layers
    layers[1].mlp.up_proj.weight = layers[0].mlp.up_proj.weight
    refused(lambda: feed_forwards(model), "layers.1.mlp has the weights of", "not tied")
    model = build(0, *SMALL)
    half = model.model.vision_tower.encoder.layers[0].mlp
    half.fc1.weight = nn.Parameter(half.fc1.weight.to(torch.int8), requires_grad=False)
    refused(lambda: feed_forwards(model), "cannot have torch.int8 weights", "neither quantised")
    model = build(0, *SMALL)
    model.is_quantized = True
    refused(lambda: VisionLanguageModel(model, processor()), "model cannot be quantised")


def test_other_models_and_processors_are_refused():
    from transformers import CLIPVisionConfig, CLIPVisionModel

    tower = CLIPVisionModel(CLIPVisionConfig(hidden_size=16, num_hidden_layers=1,
                                             num_attention_heads=2, intermediate_size=12))
    refused(lambda: VisionLanguageModel(tower, processor()), "model cannot be a CLIPVisionModel",
            "accepted: LlavaForConditionalGeneration, ")
    refused(lambda: VisionLanguageModel(build(0, *SMALL), "auto"), "processor cannot be 'auto'")
    vlm = random_vlm()
    refused(lambda: vlm.activations(encode(vlm), "gate"), "unknown site 'gate'; accepted: activation")
    refused(lambda: vlm.activations(encode(vlm), part="head"), "unknown part 'head'; accepted: dec")
    refused(lambda: vlm.encode([SCENES[0].pixels], []), "1 images, 0 requests and 0 answers")
    vlm.processor.chat_template = None
    refused(lambda: encode(vlm), "no chat template", "accepted: one that places image and request")
    vlm.model.config.vision_feature_layer = 9
    refused(lambda: VisionLanguageModel(vlm.model, vlm.processor),
            "vision_feature_layer 9 is none of a tower of 3 layers; accepted: from -4 to 3")


def test_without_transformers_one_line_says_what_to_install(monkeypatch):
    model, own = build(0, *SMALL), processor()
    monkeypatch.setattr("neuronpath_core.vlm.tokens.find_spec", lambda name: None)
    for call in (lambda: VisionLanguageModel(model, own), build, processor):
        refused(call, "need transformers, which is not installed", "neuronpath-core[transformers]")


def test_the_room_is_imported_without_transformers():
    import subprocess

    code = ("import sys; sys.modules['transformers'] = None; sys.modules['tokenizers'] = None;"
            "import neuronpath_core.vlm.adapter, neuronpath_core.vlm.modality_nulls,"
            "neuronpath_core.vlm.model, neuronpath_core.vlm.gates, neuronpath_core.vlm.tokens")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
