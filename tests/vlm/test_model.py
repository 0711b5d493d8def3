"""The embedded model: what it is made of, its weights as files, and the gates against slow twins and
models that look, do not look, or know it all."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from neuronpath_core.vlm.gates import (
    caption_accuracy,
    is_right,
    measure,
    passed,
    question_accuracy,
)
from neuronpath_core.vlm.model import build, load_weights, pixel_values, processor, save_weights
from neuronpath_core.vlm.questions import chance, one_each
from neuronpath_core.vlm.scenes import HELD_OUT_PAIRS, compose_many
from neuronpath_core.vlm.sequences import caption_turn, padded, sequence
from neuronpath_core.vlm.tokens import vocabulary
from neuronpath_core.vlm.words import SEEN, caption
from tests.helpers import refused
from tests.vlm.planted import SMALL

SCENES = compose_many("held_out", 84)
NUMBERS = vocabulary()


def test_the_model_is_the_one_of_the_table():
    model = build()
    assert type(model).__module__.startswith("transformers.")
    assert 1.40e6 < sum(value.numel() for value in model.parameters()) < 1.50e6
    config = model.config
    assert config.vision_feature_layer == -1 and config.image_token_id == NUMBERS["<image>"]
    assert sum(layer.mlp.down_proj.in_features
               for layer in model.model.language_model.layers) == 2560
    assert sum(layer.mlp.fc2.in_features
               for layer in model.model.vision_tower.encoder.layers) == 1728
    assert model.lm_head.weight is not model.get_input_embeddings().weight


def test_weights_are_their_seeds_alone():
    state = torch.get_rng_state()
    one, two, other = build(3, *SMALL), build(3, *SMALL), build(4, *SMALL)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(),
                                                 two.state_dict().values(), strict=True))
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


def test_weights_go_through_a_file(tmp_path):
    model = build(1, *SMALL)
    save_weights(model, tmp_path / "full.safetensors", half=False)
    save_weights(model, tmp_path / "half.safetensors")
    full, half = (load_weights(tmp_path / f"{name}.safetensors", *SMALL)
                  for name in ("full", "half"))
    for name, value in model.state_dict().items():
        assert torch.equal(full.state_dict()[name], value)
        assert torch.equal(half.state_dict()[name], value.half().float())
    assert (tmp_path / "half.safetensors").stat().st_size < 0.7 * (
        tmp_path / "full.safetensors").stat().st_size


def test_damaged_and_other_weights_are_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    refused(lambda: load_weights(file), "cannot be read", "accepted: a safetensors file")
    file.write_bytes(b"no weights")
    refused(lambda: load_weights(file), "cannot be read", "accepted: a safetensors file")
    model = build(1, *SMALL)
    save_weights(model, file)
    refused(lambda: load_weights(file), "has other weights than the model, such as")
    with torch.no_grad():
        model.lm_head.weight[0, 0] = float("nan")
    save_weights(model, file)
    refused(lambda: load_weights(file, *SMALL), "some not finite; accepted: finite ones")
    refused(lambda: build(0, {"hidden_size": 15}), "no model of tower", "accepted: settings of")


def test_scenes_are_what_the_processor_makes_of_them():
    found = processor()(images=[scene.pixels for scene in SCENES[:3]], text=["<image>"] * 3,
                        return_tensors="pt")
    torch.testing.assert_close(found["pixel_values"], pixel_values(SCENES[:3]), rtol=0, atol=1e-6)
    assert (found["input_ids"] == NUMBERS["<image>"]).sum(1).tolist() == [64] * 3


def test_the_chat_template_is_the_sequence_of_training():
    own = processor()
    said = own.apply_chat_template([
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "where is the star ?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "top left"}]},
        {"role": "user", "content": [{"type": "text", "text": "how many shapes are there ?"}]}],
        add_generation_prompt=True)
    ids = own(images=[SCENES[0].pixels], text=[said])["input_ids"][0]
    assert list(ids) == sequence([("where is the star ?", "top left"),
                                  ("how many shapes are there ?", "")])


# --- gates ---


class Oracle(nn.Module):
    """Says the truth for the share of scenes that it knows, by their pixels; else another word."""

    def __init__(self, scenes, turns, knows=lambda place: True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        rows = pixel_values(scenes).flatten(1)
        self.known = {(rows[place].numpy().tobytes(), turn[0]): (sequence([turn]), knows(place))
                      for place, turn in enumerate(turns)}
        self.requests = {turn[0] for turn in turns}

    def forward(self, input_ids, pixel_values):
        logits = torch.zeros(*input_ids.shape, len(NUMBERS))
        words = {number: word for word, number in NUMBERS.items()}
        for row, (ids, pixels) in enumerate(zip(input_ids.tolist(), pixel_values, strict=True)):
            text = " ".join(words[number] for number in ids)
            request = next(each for each in self.requests if f"{each} assistant" in text)
            truth, knows = self.known.get((pixels.numpy().tobytes(), request), ([], False))
            for place in range(len(ids) - 1):
                right = place + 1 < len(truth) and knows
                logits[row, place, truth[place + 1] if right else NUMBERS["<unk>"]] = 1
        return type("Out", (), {"logits": logits})()


def test_gates_of_a_model_that_knows_a_share():
    asked = one_each(SCENES)
    turns = [(question.text, question.answer) for question in asked]
    model = Oracle(SCENES, turns, lambda place: place % 4 != 0)
    found = question_accuracy(model, SCENES, asked)
    assert found["all"] == 0.75
    for kind in ("colour", "presence"):
        places = [place for place, question in enumerate(asked) if question.type == kind]
        assert math.isclose(found[kind], np.mean([place % 4 != 0 for place in places]))
    new = [place for place, question in enumerate(asked) if question.is_of_new_pair]
    assert math.isclose(found["new pair"], np.mean([place % 4 != 0 for place in new]))
    # it looks: with the next scene's image it knows nothing
    others = [*SCENES[1:], *SCENES[:1]]
    assert question_accuracy(model, others, asked)["all"] == 0


def test_caption_accuracy_counts_attribute_words_alone():
    turns = [caption_turn(scene) for scene in SCENES]
    model = Oracle(SCENES, turns, lambda place: place % 3 == 0)
    found = caption_accuracy(model, SCENES)
    words = [[word for word in caption(scene) if word.kind in SEEN] for scene in SCENES]
    share = sum(len(row) for row in words[::3]) / sum(map(len, words))
    assert math.isclose(found["all"], share)
    new = [[word for word in row if word.thing >= 0 and word.kind in ("colour", "outline") and (
        scene.things[word.thing].colour, scene.things[word.thing].outline) in HELD_OUT_PAIRS]
        for row, scene in zip(words, SCENES, strict=True)]
    assert math.isclose(found["new pair"], sum(map(len, new[::3])) / sum(map(len, new)))


def test_words_are_right_one_by_one_as_a_model_of_transformers_says():
    model = build(0, *SMALL)
    turns = [caption_turn(scene) for scene in SCENES[:5]]
    found = is_right(model, SCENES[:5], turns, batch=2)
    for scene, turn, hits in zip(SCENES, turns, found, strict=False):
        ids = padded([sequence([turn])])
        said = model(input_ids=ids, pixel_values=pixel_values([scene])).logits[0].argmax(-1)
        count = len(turn[1].split()) + 1
        np.testing.assert_array_equal(hits, (said[-count - 1:-1] == ids[0, -count:]).numpy())


def test_a_model_without_learning_passes_no_gate_but_that_of_blindness():
    found = measure(build(0, *SMALL), SCENES)
    assert found["chance"] == chance(one_each(SCENES))
    assert passed(found) == {"captions": False, "questions": False, "looks": True}


@pytest.mark.parametrize(("captions", "questions", "other", "expected"), [
    (0.9, 0.85, 0.35, (True, True, True)), (0.89, 0.96, 0.36, (False, True, False)),
    (1.0, 0.97, 0.2, (True, False, True)), (0.95, 0.84, 0.3, (True, False, True))])
def test_gates_on_both_sides(captions, questions, other, expected):
    found = passed({"captions": {"all": captions}, "questions": {"all": questions},
                    "other_image": other, "chance": 0.3})
    assert tuple(found.values()) == expected
