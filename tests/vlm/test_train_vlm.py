"""Training of the vision-language models, on tiny ones: killed and begun again it gives the very
weights; stages train what they say; a state of other settings is refused."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from neuronpath_core.vlm.model import load_weights

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "data" / "weights" / "train_vlm.py"
STEPS = {"tower": 20, "words": 20, "projector": 20, "everything": 30}
SPEC = {
    "kind": "llava", "weights": "data/weights/vlm/staged.safetensors",
    "training": {"seed": 1, "batch": 4, "keep": 5, "steps": STEPS, "checkpoints": [10]},
    "tower": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 16},
    "decoder": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "num_key_value_heads": 2, "intermediate_size": 16}}
PROFILE = {"dataset": {"name": "scenes", "train_scenes": 40, "held_out_scenes": 14, "seed": 0},
           "models": {"staged": SPEC}, "replicas": {"staged": [5]}}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_vlm", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def trained(script, folder, spec=SPEC):
    folder.mkdir(exist_ok=True)
    return script.train("staged", spec, PROFILE["dataset"], folder, folder / "state")


@pytest.fixture(scope="module")
def whole(script, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, trained(script, folder)


def phase_and_step(state: Path) -> tuple[str, int]:
    try:
        held = torch.load(state, weights_only=True)
        return held["phase"], held["epoch"]
    except (OSError, RuntimeError, EOFError):
        return "", 0


def test_killed_and_begun_again_it_gives_the_very_weights(script, whole, tmp_path):
    profile, state = tmp_path / "vlm.yml", tmp_path / "state" / "staged.pt"
    profile.write_text(yaml.safe_dump(PROFILE), encoding="utf-8")
    command = [sys.executable, SCRIPT, "--profile", profile, "--model", "staged", "--out", tmp_path,
               "--state", state.parent]
    running = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)},
                               stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while phase_and_step(state) < ("1 words", 10) and time.monotonic() < deadline:
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    phase, step = phase_and_step(state)
    assert (phase, step) < ("3 everything", 30)
    records = trained(script, tmp_path)
    folder, expected = whole
    for name in ("staged.safetensors", "staged.step-10.safetensors"):
        found, wanted = load_file(tmp_path / name), load_file(folder / name)
        assert all(torch.equal(found[key], wanted[key]) for key in wanted)
        assert records[name]["sha256"] == expected[name]["sha256"]
        assert records[name]["gates"] == expected[name]["gates"] or any(
            value != value for value in records[name]["gates"]["captions"].values())


def test_another_seed_gives_other_weights_and_a_used_state_is_refused(script, whole):
    folder, _ = whole
    other = script.entries(PROFILE)["staged seed 5"]
    assert other["weights"].endswith("staged.seed-5.safetensors")
    assert other["training"] == {"seed": 5, "batch": 4, "keep": 5, "steps": STEPS}
    with pytest.raises(SystemExit, match="training with other settings; accepted: another --state"):
        trained(script, folder, {**SPEC, "training": {**SPEC["training"], "batch": 5}})


def test_weights_and_record(whole):
    folder, records = whole
    assert set(records) == {"staged.safetensors", "staged.step-10.safetensors"}
    record = records["staged.safetensors"]
    model = load_weights(folder / "staged.safetensors", SPEC["tower"], SPEC["decoder"])
    assert record["parameters"] == sum(value.numel() for value in model.parameters())
    assert record["bytes"] == (folder / "staged.safetensors").stat().st_size
    assert record["held_out_scenes"] == 14 and record["half_precision"]
    assert set(record["gates"]) == {"captions", "questions", "other_image", "chance"}
    json.dumps(record)
    early = load_file(folder / "staged.step-10.safetensors")
    assert not torch.equal(early["lm_head.weight"], model.state_dict()["lm_head.weight"].half())


@pytest.mark.parametrize(("stage", "moves"), [
    ("tower", "vision_tower"), ("words", "language_model"), ("projector", "projector")])
def test_a_stage_trains_its_part_alone(script, tmp_path, stage, moves):
    """Held against a joint training of one step: what did not move has the weights of the seed."""
    spec = {**SPEC, "training": {"seed": 1, "batch": 4, "steps": {stage: 20}}}
    trained(script, tmp_path, spec)
    found = load_file(tmp_path / "staged.safetensors")
    start = script.build(1, SPEC["tower"], SPEC["decoder"]).state_dict()
    moved = {name for name, value in found.items()
             if not torch.equal(value, start[name].to(value.dtype))}
    assert moved and all(moves in name or (stage == "words" and name == "lm_head.weight")
                         for name in moved)
    assert any(moves in name and name.endswith("weight") for name in moved)


def test_a_tower_that_learns_at_no_rate_stays_as_it_was(script, tmp_path):
    spec = {**SPEC, "training": {"seed": 1, "batch": 4, "steps": {"everything": 20},
                                 "tower_rate": 0.0}}
    trained(script, tmp_path, spec)
    found = load_file(tmp_path / "staged.safetensors")
    start = script.build(1, SPEC["tower"], SPEC["decoder"]).state_dict()
    same = {name: torch.equal(value, start[name].to(value.dtype)) for name, value in found.items()}
    assert all(same[name] for name in found if "vision_tower" in name)
    assert not any(same[name] for name in found
                   if "language_model" in name and name.endswith("proj.weight"))


def test_each_stage_learns(script):
    """The loss of every stage falls in forty steps of four scenes."""
    torch.manual_seed(0)
    scenes = script.scenes_of("train", 4, 0)
    model = script.build(1, SPEC["tower"], SPEC["decoder"])
    for module, loss in script.stages(model, scenes).values():
        model.requires_grad_(False)
        module.requires_grad_(True)
        optimiser = torch.optim.AdamW(module.parameters(), 1e-2)
        values = []
        for _ in range(40):
            module.zero_grad()
            value = loss([0, 1, 2, 3])
            value.backward()
            optimiser.step()
            values.append(value.item())
        assert sum(values[-10:]) < 0.97 * sum(values[:10])


def test_a_calibrated_projector_hands_over_vectors_as_long_as_words(script):
    scenes = script.scenes_of("train", 8, 0)
    model = script.build(1, SPEC["tower"], SPEC["decoder"])
    with torch.no_grad():
        model.model.vision_tower.embeddings.position_embedding.weight.mul_(100)
    script.calibrate(model, scenes)
    patches = script.tower_of(model, scenes)
    found = model.model.multi_modal_projector(patches).square().mean()
    torch.testing.assert_close(found, model.get_input_embeddings().weight.square().mean())


def test_attributes_of_quarters_by_hand(script):
    scene = next(scene for scene in script.scenes_of("train", 20, 0) if len(scene.things) == 2)
    things, ground = script.attributes(scene)
    for cell, row in zip(script.CELLS, things.tolist(), strict=True):
        there = [thing for thing in scene.things if thing.cell == cell]
        assert row == ([1 + list(script.OUTLINES).index(there[0].outline),
                        1 + list(script.FILLS).index(there[0].fill),
                        1 + list(script.COLOURS).index(there[0].colour)] if there else [0, 0, 0])
    assert (script.BACKGROUNDS[ground[0]], list(script.TONES)[ground[1]]) == scene.ground
