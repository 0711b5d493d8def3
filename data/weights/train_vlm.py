"""Train the vision-language models of a profile from their seeds, on a CPU, and write them as
safetensors with a record.

    python data/weights/train_vlm.py [--profile vlm] [--model NAME ...]
                                     [--out data/weights/vlm] [--state DIR]

The recipe ``staged`` has four stages, each one cosine cycle of the learning rates (Muon for the
matrices of the layers, AdamW for all else): ``tower``, with linear heads that read outline, fill
and colour from the mean of a quarter's patches, the background from that of all, and from each
patch where it lies; ``words``, the decoder on captions and questions without an image;
``projector``, which is scaled so that patches are as large as words, and alone learns to hand them
over; ``everything``. A recipe may leave stages out. Loss is
taken on answers. In the last stage the tower may learn more slowly (``tower_rate``): as long as
the decoder does not look, its gradients are noise, which the optimisers would make full steps of,
and what the tower has learnt would be lost. A sequence is one caption, or three questions about one
scene in turns.

Every so many steps the state is kept in ``--state``: stopped at whatever moment and begun again, a
training goes on from there to the very weights that it would have had. A state of other settings
is refused. At the end, and at the checkpoints that a model names, the gates are measured on
held-out scenes; weights are written in half precision where that changes no accuracy by more than
0.2 points.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from train import Kept  # noqa: E402

from neuronpath_core.images.drawing import FILLS, OUTLINES
from neuronpath_core.images.shapes import BACKGROUNDS, COLOURS, TONES
from neuronpath_core.models.weight_files import file_sha256  # noqa: E402
from neuronpath_core.study.profiles import ENDING  # noqa: E402
from neuronpath_core.study.vlm_profiles import (  # noqa: E402
    checked_entries,
    load_vlm_profile,
    vlm_entries,
)
from neuronpath_core.support.yaml_file import read_yaml  # noqa: E402
from neuronpath_core.vlm.gates import measure, passed  # noqa: E402
from neuronpath_core.vlm.model import build, pixel_values, save_weights  # noqa: E402
from neuronpath_core.vlm.scenes import CELLS, Scene, compose  # noqa: E402
from neuronpath_core.vlm.sequences import (  # noqa: E402
    caption_turn,
    is_target,
    padded,
    question_turns,
    sequence,
)

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("tower", "words", "projector", "everything")
CAPTIONS, VARIANTS, TURNS = 0.6, 4, 3  # share of captions, forms of each, questions of a sequence
BATCH, RATE, MUON, DECAY = 48, 3e-3, 1e-2, 0.05
HALVED = 0.002
SIDE = 2  # quarters along an image
PLACES = 0.25  # weight of where a patch lies in the loss of the tower
CHECKED = 420  # held-out scenes by which a checkpoint is measured
CALIBRATED = 64  # scenes by which the projector is scaled


def scenes_of(part: str, count: int, seed: int) -> list[Scene]:
    """Scenes without their masks, which no training looks at."""
    return [replace(compose(part, index, seed), masks={}) for index in range(count)]


class Heads(nn.Module):
    """Linear heads behind the tower: what lies in each quarter, if anything, and what behind it;
    and of each patch where it lies, which the decoder has to know."""

    def __init__(self, width: int, side: int):
        super().__init__()
        self.places = nn.ModuleList(nn.Linear(width, side) for _ in range(2))
        self.things = nn.ModuleList(nn.Linear(width, len(names) + 1)
                                    for names in (OUTLINES, FILLS, COLOURS))
        self.grounds = nn.ModuleList(nn.Linear(width, len(names)) for names in (BACKGROUNDS, TONES))

    def forward(self, patches: Tensor, things: Tensor, grounds: Tensor) -> Tensor:
        """The sum of the cross-entropies."""
        batch, count, width = patches.shape
        side = int(count ** 0.5)
        grid = patches.transpose(1, 2).reshape(batch, width, side, side)
        quarters = F.adaptive_avg_pool2d(grid, SIDE).flatten(2).transpose(1, 2)
        loss = sum(F.cross_entropy(head(quarters).flatten(0, 1), things[..., number].flatten())
                   for number, head in enumerate(self.things))
        place = torch.arange(count)
        for head, where in zip(self.places, (place // side, place % side), strict=True):
            loss = loss + PLACES * F.cross_entropy(head(patches).flatten(0, 1),
                                                   where.repeat(batch))
        return loss + sum(F.cross_entropy(head(patches.mean(1)), grounds[:, number])
                          for number, head in enumerate(self.grounds))


def attributes(scene: Scene) -> tuple[Tensor, Tensor]:
    """Outline, fill and colour of each quarter, 0 where nothing lies; kind and tone behind."""
    things = torch.zeros(len(CELLS), 3, dtype=torch.long)
    for thing in scene.things:
        things[CELLS.index(thing.cell)] = 1 + torch.tensor([
            list(names).index(value) for names, value in
            ((OUTLINES, thing.outline), (FILLS, thing.fill), (COLOURS, thing.colour))])
    kind, tone = scene.ground
    return things, torch.tensor([BACKGROUNDS.index(kind), list(TONES).index(tone)])


def conversation(scene: Scene, image_tokens: int) -> list[int]:
    """One caption, or three questions, as coins say."""
    if torch.rand(()) < CAPTIONS:
        turns = [caption_turn(scene, int(torch.randint(VARIANTS, ())))]
    else:
        every = question_turns(scene)
        turns = [every[place] for place in torch.randperm(len(every))[:TURNS].tolist()]
    return sequence(turns, image_tokens)


def tower_of(model: nn.Module, scenes: list[Scene]) -> Tensor:
    """What the projector is given of each patch."""
    return model.model.vision_tower(pixel_values(scenes)).last_hidden_state[:, 1:]


@torch.no_grad()
def calibrate(model: nn.Module, scenes: list[Scene]) -> None:
    """Scale the two matrices of the projector so that it hands over patches as large as words are:
    a tower without a final norm gives vectors a hundred times as long, to which the decoder could
    add nothing."""
    projector, patches = model.model.multi_modal_projector, tower_of(model, scenes)
    projector.linear_1.weight /= projector.linear_1(patches).std()
    words = model.get_input_embeddings().weight.square().mean().sqrt()
    projector.linear_2.weight *= words / projector(patches).square().mean().sqrt()


def stages(model: nn.Module, scenes: list[Scene]) -> dict[str, tuple[nn.Module, Callable]]:
    """Stage -> what is trained, and its loss on a batch of scenes."""
    side = model.config.vision_config.image_size // model.config.vision_config.patch_size
    patches, heads = side * side, Heads(model.config.vision_config.hidden_size, side)
    told = [attributes(scene) for scene in scenes]

    def tower(chosen: list[int]) -> Tensor:
        things, grounds = (torch.stack([told[number][half] for number in chosen])
                           for half in (0, 1))
        return heads(tower_of(model, [scenes[number] for number in chosen]), things, grounds)

    def speech(chosen: list[int], image: bool) -> Tensor:
        ids = padded([conversation(scenes[number], patches if image else 0) for number in chosen])
        inputs = {"pixel_values": pixel_values([scenes[number] for number in chosen])}
        # padding stands on the right, where no token that counts sees it
        states = model.model(input_ids=ids, attention_mask=torch.ones_like(ids),
                             **(inputs if image else {})).last_hidden_state
        counted = is_target(ids)[:, 1:]
        return F.cross_entropy(model.lm_head(states[:, :-1][counted]), ids[:, 1:][counted])

    parts = model.model
    decoder = nn.ModuleList([parts.language_model, model.lm_head])
    return {"tower": (nn.ModuleList([parts.vision_tower, heads]), tower),
            "words": (decoder, lambda chosen: speech(chosen, False)),
            "projector": (parts.multi_modal_projector, lambda chosen: speech(chosen, True)),
            "everything": (model, lambda chosen: speech(chosen, True))}


def is_matrix(name: str, value: Tensor, phase: str) -> bool:
    """Whether Muon trains a parameter: the matrices of layers and of the projector."""
    return value.ndim == 2 and ("layers." in name or "projector" in name or "projector" in phase)


def optimise(module: nn.Module, model: nn.Module, loss: Callable, count: int, steps: int,
             settings: dict, name: str, kept: Kept, phase: str,
             after_step: Callable[[int], None] = lambda step: None) -> None:
    """``loss`` of batches of scenes is minimised over the weights of ``module`` in one cosine
    cycle, from the step on that ``kept`` has."""
    batch, every = settings.get("batch", BATCH), settings.get("keep", 50)
    model.requires_grad_(False)
    module.requires_grad_(True)
    share = settings.get("rates", {}).get(phase.split()[1], 1.0)
    slow = share * (settings.get("tower_rate", 1.0) if phase == "3 everything" else 1.0)
    optimisers, schedules = [], []
    for matrices, kind, rate, options in (
            (False, torch.optim.AdamW, RATE, {}),
            (True, torch.optim.Muon, MUON, {"adjust_lr_fn": "match_rms_adamw"})):
        chosen = {part: [value for key, value in module.named_parameters()
                         if is_matrix(key, value, phase) == matrices
                         and ("vision_tower" in key) == (part == "tower")]
                  for part in ("rest", "tower")}
        groups = [(values, rate * (slow if part == "tower" else share))
                  for part, values in chosen.items() if values]
        optimisers.append(kind([{"params": values} for values, _ in groups], lr=rate,
                               weight_decay=DECAY, **options))
        schedules.append(torch.optim.lr_scheduler.OneCycleLR(
            optimisers[-1], [most for _, most in groups], total_steps=steps, pct_start=0.1,
            cycle_momentum=False))
    parts = [model, module, *optimisers, *schedules]
    model.train()
    started, total = time.perf_counter(), []
    for step in range(kept.resume(phase, parts), steps):
        module.zero_grad()
        value = loss(torch.randint(count, (batch,)).tolist())
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        for each in (*optimisers, *schedules):
            each.step()
        total.append(value.item())
        after_step(step + 1)
        if (step + 1) % every == 0 or step + 1 == steps:
            kept.keep(phase, step + 1, parts)
            print(f"  {name} {phase} {step + 1}/{steps} loss {sum(total) / len(total):.4f} "
                  f"{time.perf_counter() - started:.0f} s", flush=True)
            total = []


def train(name: str, spec: dict, dataset: dict, out: Path, state: Path) -> dict[str, dict]:
    """One model, from its seed; its weights and those of its checkpoints are written, and the
    record of every file is returned."""
    torch.set_num_threads(1)
    settings, started = spec["training"], time.perf_counter()
    held = scenes_of("held_out", dataset["held_out_scenes"], dataset["seed"])
    scenes = scenes_of("train", dataset["train_scenes"], dataset["seed"])
    kept = Kept(state / f"{Path(spec['weights']).stem}.pt", [dataset, spec])
    torch.manual_seed(settings["seed"])
    model = build(settings["seed"], spec.get("tower"), spec.get("decoder"))
    trained = stages(model, scenes)
    records = kept.records

    def write(file: str, measured: int | None = None) -> None:
        random = torch.get_rng_state()
        records[file] = saved(model, held[:measured], out / file, name, settings)
        torch.set_rng_state(random)
        model.train()
        print(f"{file}: {json.dumps(records[file]['gates'])}, "
              f"{time.perf_counter() - started:.0f} s", flush=True)

    wanted = {step: f"{Path(spec['weights']).stem}.step-{step}.safetensors"
              for step in settings.get("checkpoints", [])}
    for number, stage in enumerate(STAGES):
        steps, phase = settings["steps"].get(stage, 0), f"{number} {stage}"
        if not steps or kept.is_past(phase):
            continue
        module, loss = trained[stage]
        if stage == "projector":
            calibrate(model, scenes[:CALIBRATED])
        optimise(module, model, loss, len(scenes), steps, settings, name, kept, phase,
                 lambda step, stage=stage: write(wanted[step], CHECKED)
                 if stage == "everything" and step in wanted else None)
    write(Path(spec["weights"]).name)
    return records


def saved(model: nn.Module, held: list[Scene], file: Path, name: str, settings: dict) -> dict:
    """Write weights, in half precision where the gates stay where they are; their record.  The
    model keeps its own."""
    full = {key: value.clone() for key, value in model.state_dict().items()}
    gates = measure(model, held)
    model.load_state_dict({key: value.half() for key, value in full.items()})
    rounded = measure(model, held)
    half = all(abs(gates[key]["all"] - rounded[key]["all"]) <= HALVED
               for key in ("captions", "questions"))
    model.load_state_dict(full)
    save_weights(model, file, half)
    found = rounded if half else gates
    return {"model": name, "sha256": file_sha256(file), "bytes": file.stat().st_size,
            "parameters": sum(value.numel() for value in model.parameters()),
            "half_precision": half, "held_out_scenes": len(held), "passed": passed(found),
            "gates": json.loads(json.dumps(found), parse_float=lambda text: round(float(text), 4)),
            "training": settings}


def entries(profile: dict) -> dict[str, dict]:
    """The models of a profile and their replicas, which differ in the seed alone."""
    return {name: spec for name, spec in vlm_entries(profile).items() if " step " not in name}


def opened(profile: str) -> dict:
    """The entries of a profile of this study, or of a file of one."""
    if Path(profile).suffix == ENDING:
        return checked_entries(read_yaml(Path(profile)), Path(profile).stem)
    return load_vlm_profile(profile, ROOT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="vlm", help="its name, or a file")
    parser.add_argument("--model", nargs="*", help="train only these, one after another")
    parser.add_argument("--out", type=Path, help="folder; by default data/weights/<profile>")
    parser.add_argument("--state", type=Path, help="folder of what is kept on the way; by default "
                        "results/training/<profile>")
    arguments = parser.parse_args()
    try:
        profile = opened(arguments.profile)
    except ValueError as error:
        parser.error(str(error))
    specs, name = entries(profile), Path(arguments.profile).stem
    out = arguments.out or ROOT / "data" / "weights" / name
    state = arguments.state or ROOT / "results" / "training" / name
    if unknown := set(arguments.model or ()) - set(specs):
        parser.error(f"unknown models: {', '.join(sorted(unknown))}; accepted: {', '.join(specs)}")
    out.mkdir(parents=True, exist_ok=True)
    record_file = out / "weights.json"
    for name in arguments.model or specs:
        records = train(name, specs[name], profile["dataset"], out, state)
        known = record_file.read_text(encoding="utf-8") if record_file.is_file() else "{}"
        record_file.write_text(json.dumps(dict(sorted({**json.loads(known), **records}.items())),
                                          indent=2) + "\n", encoding="utf-8")
    print(f"weights and {record_file.name} are in {out}")


if __name__ == "__main__":
    main()
