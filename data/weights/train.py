"""Train the four models of a profile from their seeds, on a CPU, and write them as safetensors with a record.

    python data/weights/train.py [--profile digits] [--model NAME ...] [--out data/weights]

Supervised models: cross-entropy, AdamW, one learning-rate cycle, images shifted by at most two pixels (one of the original scan).
Models with ``pretrain_epochs``: first a masked autoencoder (He et al., 2022; 75 % of the patches hidden, two decoder
blocks, per-patch normalised pixels as the target) on the unlabelled training images, then fine-tuned as the others.
Only the profile's training images are used; accuracy is measured on the held-out ones, once, at the end.
Every model is trained in a process of its own with one thread, because the order of a sum across threads would change
the last bits and with them, after thousands of steps, the weights.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
import yaml
from safetensors.torch import save_file
from timm.layers import PatchDropoutWithIndices
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from neuronpath_core.datasets import ImageSet, load_dataset
from neuronpath_core.models import build_model, file_sha256

ROOT = Path(__file__).resolve().parents[2]
BATCH = 50


def shifted(images: Tensor, most: int) -> Tensor:
    """Every image moved by its own whole number of pixels, at most ``most`` each way; the edge is repeated."""
    batch, _, height, width = images.shape
    padded = F.pad(images, (most,) * 4, mode="replicate")
    rows = torch.randint(0, 2 * most + 1, (batch, 1)) + torch.arange(height)
    columns = torch.randint(0, 2 * most + 1, (batch, 1)) + torch.arange(width)
    return padded[torch.arange(batch)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class MaskedAutoencoder(nn.Module):
    """The encoder sees a quarter of the patches; a small decoder reconstructs the hidden ones."""

    def __init__(self, encoder: VisionTransformer, hidden: float = 0.75, depth: int = 2):
        super().__init__()
        self.encoder, self.drop = encoder, PatchDropoutWithIndices(hidden, encoder.num_prefix_tokens)
        width, patches = encoder.embed_dim, encoder.patch_embed.num_patches
        self.patch = encoder.patch_embed.patch_size[0]
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.position = nn.Parameter(0.02 * torch.randn(1, patches, width))
        self.bridge = nn.Linear(width, width)
        self.blocks = nn.Sequential(*[Block(width, 4 if width % 4 == 0 else 3, qkv_bias=True) for _ in range(depth)])
        self.pixels = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, self.patch**2 * encoder.patch_embed.proj.in_channels))

    def forward(self, images: Tensor) -> Tensor:
        """Mean squared error over the hidden patches."""
        tokens = self.encoder._pos_embed(self.encoder.patch_embed(images))
        visible, kept = self.drop(tokens)
        visible = self.encoder.blocks(self.encoder.norm_pre(visible))[:, self.encoder.num_prefix_tokens:]
        batch, _, width = visible.shape
        everything = self.mask_token.expand(batch, self.position.shape[1], width)
        everything = everything.scatter(1, kept[..., None].expand(-1, -1, width), self.bridge(visible))
        guess = self.pixels(self.blocks(everything + self.position))
        target = F.unfold(images, self.patch, stride=self.patch).transpose(1, 2)
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True, unbiased=False) + 0.05).sqrt()
        hidden = torch.ones(target.shape[:2]).scatter(1, kept, 0.0)
        return ((guess - target).square().mean(-1) * hidden).sum() / hidden.sum()


def optimise(module: nn.Module, loss, images: Tensor, epochs: int, rate: float, name: str) -> None:
    """AdamW with one cosine cycle of the learning rate; ``loss(batch of positions)`` is minimised."""
    steps = (len(images) + BATCH - 1) // BATCH
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, epochs=epochs, steps_per_epoch=steps, pct_start=0.2)
    module.train()
    started = time.perf_counter()
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(images)).split(BATCH):
            optimiser.zero_grad()
            value = loss(chosen)
            value.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += value.item() * len(chosen)
        if (epoch + 1) % 20 == 0 or epoch + 1 == epochs:
            print(f"  {name} epoch {epoch + 1}/{epochs} loss {total / len(images):.4f} {time.perf_counter() - started:.0f} s", flush=True)


@torch.no_grad()
def accuracy(model: nn.Module, data: ImageSet) -> float:
    """Share of images whose most probable class is their label."""
    model.eval()
    predicted = torch.cat([model(part.float()).argmax(1) for part in data.images.split(256)])
    return (predicted == data.labels).double().mean().item()


def train(name: str, spec: dict, train_set: ImageSet) -> VisionTransformer:
    """One model, from its seed."""
    settings = spec["training"]
    torch.manual_seed(settings["seed"])
    model = build_model(spec)
    images, labels = train_set.images.float(), train_set.labels
    if settings.get("pretrain_epochs"):
        autoencoder = MaskedAutoencoder(model)
        optimise(autoencoder, lambda chosen: autoencoder(shifted(images[chosen], 2)), images,
                 settings["pretrain_epochs"], 2e-3, f"{name} reconstruction")
    optimise(model, lambda chosen: F.cross_entropy(model(shifted(images[chosen], 2)), labels[chosen]), images,
             settings["epochs"], 1e-3, f"{name} classification")
    return model


def train_and_save(name: str, spec: dict, dataset: dict, out: Path) -> tuple[str, dict]:
    """Train one model, write its weights, and return the file's name and record."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    train_set, held_out = load_dataset(dataset)
    model = train(name, spec, train_set)
    file = out / Path(spec["weights"]).name
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, file)
    record = {
        "model": name,
        "sha256": file_sha256(file),
        "bytes": file.stat().st_size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "train_images": len(train_set),
        "train_accuracy": round(accuracy(model, train_set), 4),
        "held_out_images": len(held_out),
        "held_out_accuracy": round(accuracy(model, held_out), 4),
        "training": spec["training"],
    }
    print(f"{name}: held-out accuracy {record['held_out_accuracy']:.4f}, {time.perf_counter() - started:.0f} s", flush=True)
    return file.name, record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", default="digits")
    parser.add_argument("--model", nargs="*", help="train only these")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "weights")
    parser.add_argument("--processes", type=int, default=2, help="models trained at the same time")
    arguments = parser.parse_args()
    profile = yaml.safe_load((ROOT / "profiles" / f"{arguments.profile}.yml").read_text())
    chosen = {name: spec for name, spec in profile["models"].items() if not arguments.model or name in arguments.model}
    arguments.out.mkdir(parents=True, exist_ok=True)
    record_file = arguments.out / "weights.json"
    record = json.loads(record_file.read_text()) if record_file.is_file() else {}
    # a fresh interpreter for every model: nothing of the one before can reach its random numbers
    with ProcessPoolExecutor(arguments.processes, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        jobs = [pool.submit(train_and_save, name, spec, profile["dataset"], arguments.out) for name, spec in chosen.items()]
        record.update(job.result() for job in jobs)
    record_file.write_text(json.dumps(dict(sorted(record.items())), indent=2) + "\n")
    print(f"weights and {record_file.name} are in {arguments.out}")


if __name__ == "__main__":
    main()
