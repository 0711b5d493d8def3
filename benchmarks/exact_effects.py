"""``python -m benchmarks.exact_effects``: the exact effect of every neuron of one image, beside
captum's ablation of one neuron after another; writes ``benchmarks/exact_effects.json``.

Both are timed in one run on a few neurons and extrapolated to all of them. What captum takes for a
neuron does not depend on its block, because it runs the whole model; what the library takes is
affine in the number of blocks that follow, because it runs those alone.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmarks.measure import REAL, spread, timed
from benchmarks.options import device_there
from neuronpath_core.models.build import DTYPES
from neuronpath_core.scores.exact import exact_effects, exact_passes
from neuronpath_core.support.files import write_atomically
from neuronpath_core.target import TargetModel

# where no block follows, or one token moves, a neuron takes so little that it needs more of them
CHEAP = 48


def random_model(name: str, device: str, dtype: str) -> tuple[TargetModel, Tensor, Tensor]:
    """One of the paper's architectures at 224 pixels with random weights, and one image."""
    torch.manual_seed(0)
    model = VisionTransformer(img_size=224, num_classes=1000, **REAL[name])
    torch.nn.init.normal_(model.head.weight, std=0.02)  # timm begins with zeros, and no effects
    target = TargetModel(model.to(device=device, dtype=DTYPES[dtype]))
    images = torch.randn(1, 3, 224, 224, device=device, dtype=target.dtype)
    return target, images, target(images).argmax(1).detach()


def captum_ablation(target: TargetModel, images: Tensor, labels: Tensor, block: int,
                    count: int) -> Tensor:
    """captum's effects of the first ``count`` neurons of the class token, one forward pass of the
    whole model each; all else in the layer is one feature more."""
    from captum.attr import LayerFeatureAblation

    def probability(kept: Tensor) -> Tensor:
        return target(kept).softmax(-1).gather(1, labels[:, None])[:, 0]

    site = target.site(block)
    mask = torch.full((1, target.n_tokens, site.in_features), count, device=target.device)
    mask[0, 0, :count] = torch.arange(count, device=target.device)
    with torch.no_grad():
        found = LayerFeatureAblation(probability, site).attribute(
            images, layer_mask=mask, attribute_to_layer_input=True)
    return found[0, 0, :count]


def library(target: TargetModel, images: Tensor, labels: Tensor, block: int, count: int,
            context: str) -> Tensor:
    """The library's effects of the same neurons."""
    neurons = torch.arange(count, device=target.device)[None, None]
    return exact_effects(target, images, labels, blocks=[block], neurons=neurons,
                         context=context)[0, 0]


def per_neuron(device: str, function, few: int, many: int, *arguments) -> tuple[float, Tensor]:
    """Seconds that one neuron more takes, and the effects of the many."""
    short = timed(device, function, *arguments, few)[0]
    long, found = timed(device, function, *arguments, many)
    return (long - short) / (many - few), found


def measured(name: str, device: str, dtype: str, few: int, many: int, repeats: int) -> dict:
    """Seconds of a neuron by both, block by block, and what they come to for all neurons."""
    target, images, labels = random_model(name, device, dtype)
    depth, width = target.n_blocks, target.n_neurons
    blocks = [0, depth // 2, depth - 1]
    target.check_batch(images, labels)  # the model is examined once, which is not timed

    def ours(context):
        return lambda block, count: library(target, images, labels, block, count, context)

    def theirs(block, count):
        return captum_ablation(target, images, labels, block, count)

    theirs(depth - 1, 1)  # the first calls are not timed
    library(target, images, labels, 0, 1, "full")
    rows, totals = [], {"captum": [], "full": [], "frozen": []}
    for _ in range(repeats):
        spent, effects = per_neuron(device, theirs, 1, few, blocks[1])
        rows.append({"way": "captum", "block": blocks[1], "neurons": few, "seconds": spent})
        totals["captum"].append(spent * depth * width)
        for context in ("full", "frozen"):
            every = []
            for block in blocks:
                cheap = CHEAP if context == "frozen" or block == depth - 1 else 1
                spent, found = per_neuron(device, ours(context), few, cheap * many, block)
                rows.append({"way": context, "block": block, "neurons": cheap * many,
                             "seconds": spent})
                every.append(spent)
                if context == "full" and block == blocks[1]:
                    difference = (found[:few] - effects).abs().max().item()
            # a line through them, by the number of blocks that follow
            slope, level = np.polyfit([depth - 1 - block for block in blocks], every, 1)
            totals[context].append(width * sum(level + slope * later for later in range(depth)))
    return {
        "model": name, "dtype": dtype, "blocks": depth, "neurons_a_block": width, "timed": rows,
        "extrapolation": "captum: seconds of a neuron times all neurons; library: the line through "
                         "seconds of a neuron by blocks that follow, summed over all blocks and "
                         "neurons",
        "largest_difference": difference,
        "passes_of_blocks": {"captum": depth * depth * width,
                             "full": sum(exact_passes(target).values())},
        "seconds_for_all": {way: spread(values) for way, values in totals.items()},
        "ratio": {context: spread([slow / fast for slow, fast in zip(
            totals["captum"], totals[context], strict=True)]) for context in ("full", "frozen")},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@click.command()
@click.option("--model", "name", default="ViT-B/16", show_default=True, type=click.Choice(REAL))
@click.option("--device", default="cpu", show_default=True, callback=device_there)
@click.option("--dtype", default="float32", show_default=True, type=click.Choice(list(DTYPES)))
@click.option("--few", default=4, show_default=True, type=click.IntRange(2),
              help="Neurons that captum is timed on.")
@click.option("--many", default=12, show_default=True, type=click.IntRange(3),
              help="Neurons of each of three blocks that the library is timed on.")
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1),
              help="Repetitions of each timing, by turns.")
@click.option("--out", type=click.Path(path_type=Path),
              default=Path(__file__).parent / "exact_effects.json", help="File to write.")
def main(name: str, device: str, dtype: str, few: int, many: int, repeats: int,
         out: Path) -> None:
    """Time exact effects against captum's ablation, in one run on this machine; ratios travel,
    seconds do not."""
    if many <= few:
        raise click.UsageError(f"--many {many} is not more than --few {few}; accepted: more")
    gpu = device.startswith("cuda")
    found = {"machine": {
        "device": torch.cuda.get_device_name(device) if gpu else platform.machine(),
        "cpu_threads": torch.get_num_threads(), "python": platform.python_version(),
        **{package: _version(package) for package in ("torch", "timm", "captum")}},
        "measured": measured(name, device, dtype, few, many, repeats)}
    text = json.dumps(found, indent=1) + "\n"
    write_atomically(out, lambda path: path.write_text(text, encoding="utf-8"))
    for way, ratio in found["measured"]["ratio"].items():
        click.echo(f"{way}: {ratio['median']:.1f} times captum's speed "
                   f"({ratio['minimum']:.1f} to {ratio['maximum']:.1f})")
    click.echo(f"measurements are in {out}")


if __name__ == "__main__":
    main()
