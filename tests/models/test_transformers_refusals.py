"""Models of transformers' that are refused, each in one line that says what is accepted; names and
folders of models."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import neuronpath_core as npc
from neuronpath_core.models.transformers import load
from tests.models.hub_models import FFN, SIZES, make, pictures, transformers

ROOT = Path(__file__).resolve().parents[2]


def refusal(model, **options) -> str:
    with pytest.raises(ValueError) as caught:
        npc.from_transformers(model, **{"processor": False} | options)
    text = str(caught.value)
    assert "\n" not in text and "accepted" in text and len(text) < 600
    return text


SWIN = {"image_size": 16, "patch_size": 4, "embed_dim": 8, "depths": [1], "num_heads": [2],
        "window_size": 2}
DECODER = {"decoder_hidden_size": 8, "decoder_num_hidden_layers": 1,
           "decoder_num_attention_heads": 2, "decoder_intermediate_size": 8}
TEXT = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 8, "vocab_size": 9, "bos_token_id": 1, "eos_token_id": 2,
        "pad_token_id": 0}
OTHERS = {
    "SwinForImageClassification": ("SwinConfig", SWIN, ""),
    "BeitForImageClassification": ("BeitConfig", SIZES | FFN, ""),
    "ConvNextForImageClassification": (
        "ConvNextConfig", {"hidden_sizes": [8], "depths": [1], "num_stages": 1}, ""),
    "ViTMSNForImageClassification": ("ViTMSNConfig", SIZES | FFN, ""),
    "ViTModel": ("ViTConfig", SIZES | FFN, ""),
    "ViTForMaskedImageModeling": ("ViTConfig", SIZES | FFN, "classifies nothing"),
    "ViTMAEForPreTraining": ("ViTMAEConfig", SIZES | FFN | DECODER, "classifies nothing"),
    "CLIPModel": ("CLIPConfig", {"vision_config": SIZES | FFN, "text_config": TEXT},
                  "npc.zero_shot"),
    "SiglipModel": ("SiglipConfig", {"vision_config": SIZES | FFN, "text_config": TEXT},
                    "npc.zero_shot"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_classes_are_refused_by_name(kind):
    config, arguments, words = OTHERS[kind]
    model = getattr(transformers, kind)(getattr(transformers, config)(**arguments))
    text = refusal(model)
    assert text.startswith(f"model cannot be a {kind}") and "ViTForImageClassification" in text
    assert words in text


def test_what_is_no_model_of_transformers_is_refused():
    class ViTForImageClassification(nn.Module):
        """The name alone."""

    class Own(type(make("vit"))):
        """A class of somebody's own."""

    assert "model cannot be 3" in refusal(3)
    assert "model cannot be a Linear" in refusal(nn.Linear(2, 2))
    assert "model cannot be a ViTForImageClassification" in refusal(ViTForImageClassification())
    assert "model cannot be a Own" in refusal(Own(make("vit").config))


def test_the_way_to_what_is_meant_is_told():
    model = make("vit")
    assert "its ._orig_mod" in refusal(torch.compile(model, backend="eager"))
    assert "its .module" in refusal(nn.DataParallel(model))
    assert "npc.TargetModel(model)" in refusal(npc.from_transformers(model, processor=False).model)


def test_a_wrapped_timm_model_is_pointed_out():
    class TimmWrapperForImageClassification(nn.Module):
        """As transformers names it."""

    assert "npc.TargetModel(model.timm_model)" in refusal(TimmWrapperForImageClassification())


class Adapter(nn.Module):
    """As parameter-efficient tuning leaves a layer: the layer inside, a low-rank path beside."""

    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base_layer, self.rank = base, nn.Linear(base.in_features, base.out_features)

    def forward(self, x):
        return self.base_layer(x) + self.rank(x)


def with_adapter(model):
    model.vit.layers[0].attention.q_proj = Adapter(model.vit.layers[0].attention.q_proj).double()


def with_adapters_loaded(model):
    model._hf_peft_config_loaded = True


def quantised(model):
    model.is_quantized = True


def with_integers(model):
    weight = model.vit.layers[0].mlp.fc1.weight
    model.vit.layers[0].mlp.fc1.weight = nn.Parameter(weight.to(torch.int8), requires_grad=False)


def with_two_precisions(model):
    model.vit.layers[0].mlp.fc1.float()


def hooked(model):
    model.vit.layers[1].register_forward_hook(lambda part, given, made: made)


def hooked_before(model):
    model.vit.layers[1].mlp.fc2.register_forward_pre_hook(lambda part, given: None)


def patched(model):
    part = model.vit.layers[1].mlp
    part.forward = part.forward


def another_head(model):
    model.classifier = nn.Sequential(nn.Linear(24, 5)).double()


def a_larger_head(model):
    model.classifier = nn.Linear(12, 5).double()


def parametrised(model):
    nn.utils.parametrizations.weight_norm(model.vit.layers[0].mlp.fc1)


def another_part(model):
    model.vit.layers[0].extra = nn.Linear(2, 2).double()


def compiled(model):
    model.vit.layers[0].compile(backend="eager")


def flash(model):
    model.config._attn_implementation = "flash_attention_2"


CHANGES = {
    with_adapter: "vit.layers.0.attention.q_proj cannot be .*Adapter",
    with_adapters_loaded: "cannot have adapters.*merge",
    quantised: "cannot be quantised",
    with_integers: "fc1.weight cannot be Tensor of torch.int8",
    with_two_precisions: "fc1.weight cannot be torch.float32",
    hooked: "vit.layers.1 cannot have hooks",
    hooked_before: "vit.layers.1.mlp.fc2 cannot have hooks",
    patched: "vit.layers.1.mlp cannot have a forward of its own",
    another_head: "classifier cannot be Sequential.*torch.nn.Linear",
    a_larger_head: "other weights than its configuration",
    parametrised: "cannot be|has a weight",
    another_part: "has a weight vit.layers.0.extra",
    compiled: "cannot be compiled",
    flash: "attn_implementation cannot be 'flash_attention_2'.*sdpa, eager",
}


@pytest.mark.parametrize("change", CHANGES)
def test_models_that_their_class_does_not_describe_are_refused(change):
    model = make("vit")
    npc.from_transformers(model, processor=False)  # the control
    change(model)
    assert re.search(CHANGES[change], refusal(model))


def test_a_hook_on_all_modules_is_refused_while_it_is_set():
    model = make("vit")
    handle = nn.modules.module.register_module_forward_hook(lambda part, given, made: None)
    try:
        assert "hooks on all modules" in refusal(model)
    finally:
        handle.remove()
    npc.from_transformers(model, processor=False)


def test_configurations_that_timm_has_no_place_for_are_refused():
    assert "classifier cannot be Identity" in refusal(make("vit", num_labels=0))
    assert "hidden_act cannot be 'mish'" in refusal(make("vit", hidden_act="mish"))
    assert "num_attention_heads cannot be 5" in refusal(make("vit", num_attention_heads=5))
    for problem in ("regression", "multi_label_classification"):
        assert f"problem_type cannot be '{problem}'" in refusal(make("vit", problem_type=problem))
    npc.from_transformers(make("vit", problem_type="single_label_classification"), processor=False)


def test_a_model_without_numbers_is_refused():
    with torch.device("meta"):
        model = transformers.ViTForImageClassification(transformers.ViTConfig(**SIZES, **FFN))
    assert "on meta" in refusal(model)


def test_scopes_are_those_of_a_target_model():
    assert "unknown scope 'token'" in refusal(make("vit"), scope="token")
    assert "unknown scope" in refusal(make("vit"), scope=["cls"])
    assert "accepted here: patch" in refusal(make("siglip"), scope="cls")


def test_without_transformers_the_extra_is_named(monkeypatch):
    model = make("vit")
    monkeypatch.setattr(load, "find_spec", lambda name: None)
    assert 'pip install "neuronpath-core[transformers]"' in refusal(model)


# --- names and folders ---


@pytest.mark.parametrize("name", ["vit", "deit-two-heads", "dinov2-registers", "clip", "siglip"])
def test_a_folder_is_loaded_in_the_precision_of_its_file(name, tmp_path):
    model = make(name, dtype=torch.float32, id2label={0: "a", 1: "b", 2: "c"})
    model.save_pretrained(tmp_path)
    for source in (str(tmp_path), tmp_path):
        target = npc.from_transformers(source, processor=False)
        assert target.dtype == torch.float32
        assert target.model.pretrained_cfg["label_names"] == ["a", "b", "c"]
        images = pictures(model)
        with torch.no_grad():
            torch.testing.assert_close(target(images), model(images).logits, rtol=1e-5, atol=1e-5)


def test_a_file_without_a_classifier_is_refused(tmp_path):
    """transformers would draw one at random."""
    backbone = transformers.ViTModel(transformers.ViTConfig(**SIZES, **FFN, num_labels=5),
                                     add_pooling_layer=False)
    backbone.save_pretrained(tmp_path)
    assert "cannot be a ViTModel" in refusal(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["architectures"] = ["ViTForImageClassification"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert "no fitting weights for classifier.bias, classifier.weight" in refusal(tmp_path)


def test_a_file_of_another_size_is_refused(tmp_path):
    make("vit").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["hidden_size"] = 12
    (tmp_path / "config.json").write_text(json.dumps(config))
    refusal(tmp_path)


def damaged(path):
    path.write_bytes(path.read_bytes()[:200])


def missing(path):
    path.unlink()


@pytest.mark.parametrize("damage", [damaged, missing])
@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_damaged_folder_is_refused_in_one_line(file, damage, tmp_path):
    make("vit").save_pretrained(tmp_path)
    damage(tmp_path / file)
    assert "cannot be read" in refusal(tmp_path)


def test_no_code_of_a_repository_is_run(tmp_path):
    make("vit").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "own.Own"}
    config["model_type"] = "own"
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    assert "cannot be read" in refusal(tmp_path)
    assert not (tmp_path / "ran").exists()


def printed(code, cache):
    """What another interpreter prints that has this cache of the hub and no network."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, text=True,
                          capture_output=True, env=os.environ | {
                              "HF_HUB_OFFLINE": "1", "HF_HOME": str(cache)}).stdout


def test_a_name_that_is_not_in_the_cache_is_refused_without_a_network(tmp_path):
    code = ("import neuronpath_core as npc\n"
            "try: npc.from_transformers('hf-hub:nobody/no-model')\n"
            "except ValueError as error: print(error)\n")
    said = printed(code, tmp_path)
    assert said.startswith("'nobody/no-model' cannot be read: ") and said.count("\n") == 1
    assert "accepted: the name of a model on the hub" in said


def test_a_name_in_the_cache_is_loaded_without_a_network(tmp_path):
    """The cache is laid out by hand as the hub's client leaves it."""
    commit, repository = "0" * 40, tmp_path / "hub" / "models--somebody--tiny"
    model = make("vit", dtype=torch.float32)
    model.save_pretrained(repository / "snapshots" / commit)
    transformers.ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(
        repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    code = ("import neuronpath_core as npc\n"
            "target = npc.from_transformers('somebody/tiny')\n"
            "print(target.n_classes, target.model.pretrained_cfg['crop_mode'])\n")
    assert printed(code, tmp_path) == "5 squash\n"


def test_the_package_does_not_load_transformers_until_it_is_asked(tmp_path):
    code = ("import sys, neuronpath_core as npc\nfrom neuronpath_core import find_paths\n"
            "npc.from_transformers\nprint('transformers' in sys.modules)\n")
    assert printed(code, tmp_path) == "False\n"
