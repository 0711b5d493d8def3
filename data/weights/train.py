"""Train the models of a profile from their seeds, on a CPU, and write them as safetensors with a
record.

    python data/weights/train.py [--profile digits] [--model NAME ...] [--out data/weights/digits]
                                 [--data DIR] [--state DIR]

Trained are the profile's models, their replicas from other seeds, and on the way the checkpoints
that the profile names. Supervised models: cross-entropy, AdamW (with a ``muon`` rate: Muon for the
weight matrices of the blocks), one cycle of the learning rate, images shifted by at most two pixels
(one of the original scan of a digit). Scenes are also mirrored left to right, which no outline and
no fill is changed by; digits are not, because a mirrored digit is none. Models with
``pretrain_epochs``: first a masked autoencoder (He et al., 2022; 75 % of the patches hidden, two
decoder blocks, per-patch normalised pixels as the target) on the unlabelled training images, then
fine-tuned as the others. Only the profile's training images are used; accuracy is measured on the
held-out ones, once, at the end. Every model is trained in a process of its own with one thread,
because the order of a sum across threads would change the last bits and with them, after thousands
of steps, the weights.

After each epoch the state of a training is kept in ``--state``: stopped at whatever moment and
begun again, it goes on from there to the very weights that it would have had. A state of other
settings is refused. Weights of networks that were trained on files are kept in half precision
where the held-out accuracy is the same to a tenth of a point.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from timm.layers import PatchDropoutWithIndices
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from neuronpath_core.images.data_sets import load_part
from neuronpath_core.images.declared import check_declared, record_file
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.models.build import build_model, preprocessing
from neuronpath_core.models.weight_files import file_sha256
from neuronpath_core.study.profiles import load_profile, model_entries

ROOT = Path(__file__).resolve().parents[2]
BATCH, RATE, PRETRAIN_RATE, SHIFT = 50, 1e-3, 2e-3, 2
HALVED = 0.001  # of the held-out accuracy: what half precision may change


def shifted(images: Tensor, most: int) -> Tensor:
    """Every image moved by its own whole number of pixels, at most ``most`` each way; the edge is
    repeated."""
    batch, _, height, width = images.shape
    padded = F.pad(images, (most,) * 4, mode="replicate")
    rows = torch.randint(0, 2 * most + 1, (batch, 1)) + torch.arange(height)
    columns = torch.randint(0, 2 * most + 1, (batch, 1)) + torch.arange(width)
    return padded[torch.arange(batch)[:, None, None], :, rows[:, :, None],
                  columns[:, None, :]].permute(0, 3, 1, 2)


def mirrored(images: Tensor) -> Tensor:
    """Every image as it is or mirrored left to right, as its own coin says."""
    return torch.where(torch.randint(0, 2, (len(images), 1, 1, 1)) == 1, images.flip(3), images)


class MaskedAutoencoder(nn.Module):
    """The encoder sees a quarter of the patches; a small decoder reconstructs the hidden ones."""

    def __init__(self, encoder: VisionTransformer, hidden: float = 0.75, depth: int = 2):
        super().__init__()
        self.encoder = encoder
        self.drop = PatchDropoutWithIndices(hidden, encoder.num_prefix_tokens)
        width, patches = encoder.embed_dim, encoder.patch_embed.num_patches
        self.patch = encoder.patch_embed.patch_size[0]
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(1, patches, width))
        self.bridge = nn.Linear(width, width)
        self.blocks = nn.Sequential(*[Block(width, 4 if width % 4 == 0 else 3, qkv_bias=True)
                                      for _ in range(depth)])
        self.pixels = nn.Sequential(nn.LayerNorm(width),
                                    nn.Linear(width,
                                              self.patch**2 * encoder.patch_embed.proj.in_channels))

    def forward(self, images: Tensor) -> Tensor:
        """Mean squared error over the hidden patches."""
        tokens = self.encoder._pos_embed(self.encoder.patch_embed(images))
        visible, kept = self.drop(tokens)
        visible = self.encoder.blocks(self.encoder.norm_pre(visible))
        visible = visible[:, self.encoder.num_prefix_tokens:]
        batch, _, width = visible.shape
        everything = self.mask_token.expand(batch, self.position.shape[1], width)
        everything = everything.scatter(1, kept[..., None].expand(-1, -1, width),
                                        self.bridge(visible))
        guess = self.pixels(self.blocks(everything + self.position))
        target = F.unfold(images, self.patch, stride=self.patch).transpose(1, 2)
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True,
                                                                        unbiased=False)
                                                             + 0.05).sqrt()
        hidden = torch.ones(target.shape[:2]).scatter(1, kept, 0.0)
        return ((guess - target).square().mean(-1) * hidden).sum() / hidden.sum()


class Kept:
    """The state of one training on disk, by phase and epoch, written whole or not at all."""

    def __init__(self, file: Path, settings: object) -> None:
        self.file = file
        self.settings = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        self.records: dict[str, dict] = {}
        self.held = torch.load(file, weights_only=True) if file.is_file() else None
        if self.held and self.held["settings"] != self.settings:
            raise SystemExit(f"{file} is the state of a training with other settings; accepted: "
                             f"another --state, or none of that file")
        if self.held:
            self.records = json.loads(self.held["records"])

    def is_past(self, phase: str) -> bool:
        """Whether the training that was stopped had gone beyond this phase."""
        return bool(self.held) and self.held["phase"] > phase

    def resume(self, phase: str, parts: list) -> int:
        """Put the state back into ``parts`` and return the number of epochs that are done."""
        if not self.held or self.held["phase"] != phase:
            return 0
        for part, state in zip(parts, self.held["parts"], strict=True):
            part.load_state_dict(state)
        torch.set_rng_state(self.held["random"])
        return self.held["epoch"]

    def keep(self, phase: str, epoch: int, parts: list) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        half = self.file.with_name(f"{self.file.name}.{os.getpid()}")
        torch.save({"settings": self.settings, "phase": phase, "epoch": epoch,
                    "parts": [part.state_dict() for part in parts],
                    "random": torch.get_rng_state(), "records": json.dumps(self.records)}, half)
        half.replace(self.file)


# in the order of their names, by which the state of a training tells which is past
RECONSTRUCTION, CLASSIFICATION = "1 reconstruction", "2 classification"


def optimise(module: nn.Module, loss, count: int, rates: tuple[float, float | None], settings: dict,
             epochs: int, name: str, kept: Kept, phase: str,
             after_epoch=lambda epoch: None) -> None:
    """``loss(batch of positions)`` is minimised in one cosine cycle of the learning rates, from the
    epoch on that ``kept`` has.

    By AdamW at the first of ``rates``, or, where there is a second, by Muon at that one for the
    weight matrices of the blocks and by AdamW for the others.
    """
    batch = settings.get("batch", BATCH)
    steps = (count + batch - 1) // batch
    matrices = [value for key, value in module.named_parameters() if rates[1] and value.ndim == 2
                and "blocks." in key]
    others = [value for value in module.parameters()
              if not any(value is matrix for matrix in matrices)]
    optimisers = [torch.optim.AdamW(others, lr=rates[0], weight_decay=0.05)]
    if matrices:
        optimisers.append(torch.optim.Muon(matrices, lr=rates[1], weight_decay=0.05,
                                           adjust_lr_fn="match_rms_adamw"))
    schedules = [torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, epochs=epochs,
                                                     steps_per_epoch=steps, pct_start=0.1
                                                     if matrices else 0.2,
                                                     cycle_momentum=not matrices)
                 for optimiser, rate in zip(optimisers, rates, strict=False)]
    parts = [module, *optimisers, *schedules]
    module.train()
    started = time.perf_counter()
    for epoch in range(kept.resume(phase, parts), epochs):
        total = 0.0
        for chosen in torch.randperm(count).split(batch):
            module.zero_grad()
            value = loss(chosen)
            value.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            for each in (*optimisers, *schedules):
                each.step()
            total += value.item() * len(chosen)
        after_epoch(epoch + 1)
        kept.keep(phase, epoch + 1, parts)
        if (epoch + 1) % 20 == 0 or epoch + 1 == epochs:
            print(f"  {name} epoch {epoch + 1}/{epochs} loss {total / count:.4f} "
                  f"{time.perf_counter() - started:.0f} s", flush=True)


@torch.no_grad()
def accuracy(model: nn.Module, data: ImageSet) -> float:
    """Share of images whose most probable class is their label."""
    model.eval()
    predicted = torch.cat([model(part.float()).argmax(1) for part in data.images.split(256)])
    return (predicted == data.labels).double().mean().item()


def train(name: str, spec: dict, train_set: ImageSet, kept: Kept,
          after_epoch) -> VisionTransformer:
    """One model, from its seed; ``after_epoch(model, epoch)`` is called while it is trained as a
    classifier."""
    settings = spec["training"]
    torch.manual_seed(settings["seed"])
    model = build_model(spec)
    images, labels = train_set.images.float(), train_set.labels

    def view(chosen: Tensor) -> Tensor:
        pictures = images[chosen]
        return shifted(mirrored(pictures) if settings.get("mirror") else pictures, SHIFT)

    if settings.get("pretrain_epochs") and not kept.is_past(RECONSTRUCTION):
        autoencoder = MaskedAutoencoder(model)
        optimise(autoencoder, lambda chosen: autoencoder(view(chosen)), len(images),
                 (PRETRAIN_RATE, settings.get("muon")), settings,
                 settings["pretrain_epochs"], f"{name} reconstruction", kept, RECONSTRUCTION)
    optimise(model, lambda chosen: F.cross_entropy(model(view(chosen)), labels[chosen]),
             len(images), (settings.get("rate", RATE), settings.get("muon")),
             settings, settings["epochs"], f"{name} classification", kept, CLASSIFICATION,
             lambda epoch: after_epoch(model, epoch))
    return model


def data_of(dataset: dict, spec: dict, base: Path | None) -> tuple[ImageSet, ImageSet]:
    """What the model is trained on and what it is judged by, in memory, as it sees them."""
    parts = [load_part(dataset, part, base=base) for part in ("train", "held_out")]
    if dataset["name"] == "files":
        parts = [part.loaded(preprocessing(spec, build_model(spec))) for part in parts]
    return parts[0], parts[1]


def halved(model: VisionTransformer, held_out: ImageSet) -> bool:
    """Round the weights to half precision, unless that changes the held-out accuracy."""
    before, full = accuracy(model, held_out), {key: value.clone() for key, value
                                               in model.state_dict().items()}
    model.load_state_dict({key: value.half() for key, value in full.items()})
    same = abs(accuracy(model, held_out) - before) <= HALVED
    if not same:
        model.load_state_dict(full)
    return same


def train_and_save(name: str, specs: dict[str, dict], dataset: dict, out: Path, state: Path,
                   base: Path | None = None) -> dict[str, dict]:
    """Train one model; write its weights and those of its checkpoints, and return the record of
    every file."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    train_set, held_out = data_of(dataset, specs[name], base)
    same = {key: value for key, value in dataset.items() if key != "root"}  # wherever it lies
    kept = Kept(state / f"{Path(specs[name]['weights']).stem}.pt", [same, specs])
    records = kept.records

    def write(model: VisionTransformer, entry: str) -> None:
        training = {key: value.clone() for key, value in model.state_dict().items()}
        model.eval()
        half = dataset["name"] == "files" and halved(model, held_out)
        file = out / Path(specs[entry]["weights"]).name
        save_file({key: (value.half() if half else value).contiguous()
                   for key, value in model.state_dict().items()}, file)
        records[file.name] = {
            "model": entry,
            "sha256": file_sha256(file),
            "bytes": file.stat().st_size,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "train_images": len(train_set),
            "train_accuracy": round(accuracy(model, train_set), 4),
            "held_out_images": len(held_out),
            "held_out_accuracy": round(accuracy(model, held_out), 4),
            "training": specs[entry]["training"],
        }
        print(f"{entry}: held-out accuracy {records[file.name]['held_out_accuracy']:.4f}, "
              f"{time.perf_counter() - started:.0f} s", flush=True)
        model.load_state_dict(training)
        model.train()

    wanted = {spec["training"]["checkpoint"]: entry for entry, spec in specs.items()
              if "checkpoint" in spec["training"]}
    model = train(name, specs[name], train_set, kept,
                  lambda model, epoch: write(model, wanted[epoch]) if epoch in wanted else None)
    write(model, name)
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="digits")
    parser.add_argument("--model", nargs="*", help="train only these, with their checkpoints")
    parser.add_argument("--out", type=Path, help="folder; by default data/weights/<profile>")
    parser.add_argument("--data", type=Path, help="folder that the profile's files lie in")
    parser.add_argument("--state", type=Path, help="folder of what is kept after every epoch; by "
                        "default results/training/<profile>")
    parser.add_argument("--processes", type=int, default=2, help="models trained at the same time")
    arguments = parser.parse_args()
    profile = load_profile(arguments.profile, ROOT)
    out = arguments.out or ROOT / "data" / "weights" / arguments.profile
    entries = model_entries(profile)
    chosen = [name for name, spec in entries.items() if "checkpoint" not in spec["training"]
              and (not arguments.model or name in arguments.model)]
    if unknown := set(arguments.model or ()) - set(chosen):
        parser.error(f"unknown models: {', '.join(sorted(unknown))}; accepted: "
                     f"{', '.join(name for name in entries if ' epoch ' not in name)}")
    state = arguments.state or ROOT / "results" / "training" / arguments.profile
    dataset = dict(profile["dataset"])
    if arguments.data is not None:
        dataset["root"] = str(arguments.data.resolve())
    if record_file(profile["dataset"], ROOT):
        for part in ("train", "held_out"):
            try:
                check_declared(load_part(dataset, part, base=ROOT), profile["dataset"], ROOT, part)
            except ValueError as error:
                raise SystemExit(str(error)) from error
    out.mkdir(parents=True, exist_ok=True)
    record = out / "weights.json"
    # a fresh interpreter for every model: nothing of the one before can reach its random numbers
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn"),
                             max_tasks_per_child=1) as pool:
        jobs = []
        for name in chosen:
            specs = {entry: spec for entry, spec in entries.items() if entry == name
                     or entry.startswith(f"{name} epoch ")}
            jobs.append(pool.submit(train_and_save, name, specs, dataset, out, state, ROOT))
        for job in as_completed(jobs):
            known = record.read_text(encoding="utf-8") if record.is_file() else "{}"
            found = dict(sorted({**json.loads(known), **job.result()}.items()))
            record.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(f"weights and {record.name} are in {out}")


if __name__ == "__main__":
    main()
