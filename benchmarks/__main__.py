"""``python -m benchmarks``: measure and write ``benchmarks/<device>.json``."""

from __future__ import annotations

import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import click
import torch

from benchmarks import measure
from benchmarks.options import device_there
from neuronpath_core.models.build import parse_device
from neuronpath_core.study.study import Study
from neuronpath_core.support.files import write_atomically

SECTIONS = ("search", "growth", "architectures", "precision", "captum", "ceiling")


@click.command()
@click.option("--device", default="cpu", show_default=True, callback=device_there)
@click.option("--section", "sections", multiple=True, type=click.Choice(SECTIONS),
              help="Only this one; repeatable.  [default: all that the device has]")
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1),
              help="Repetitions of each timing.")
@click.option("--images", default=60, show_default=True, type=click.IntRange(10),
              help="Images for the cheap ways; 20 of them for agreement.")
@click.option("--out", type=click.Path(path_type=Path),
              help="File to write.  [default: benchmarks/<device>.json]")
def main(device: str, sections: tuple[str, ...], repeats: int, images: int,
         out: Path | None) -> None:
    """Time the search against the published procedure, in one run on this machine; ratios travel,
    seconds do not."""
    study, gpu = Study(device=device), device.startswith("cuda")
    out = out or Path(__file__).parent / f"{parse_device(device).type}.json"
    calls = {
        "search": lambda: measure.search(study, repeats, few=4, many=images,
                                         compared=min(images, 20)),
        "growth": lambda: measure.growth(device, min(repeats, 2)),
        "architectures": lambda: measure.architectures(device, "float32"),
        "precision": lambda: measure.precision(study, min(images, 20)),
        "captum": lambda: measure.captum(study, min(repeats, 2), count=4),
        "ceiling": lambda: measure.ceiling(device),
    }
    wanted = sections or [name for name in SECTIONS if gpu or name != "ceiling"]
    found = json.loads(out.read_text(encoding="utf-8")) if sections and out.is_file() else {}
    found["machine"] = {
        "device": torch.cuda.get_device_name(device) if gpu else platform.machine(),
        "cpu_threads": torch.get_num_threads(),
        "python": platform.python_version(), "torch": version("torch"), "timm": version("timm"),
    }
    for name in wanted:
        click.echo(f"== {name}")
        started = time.perf_counter()
        found[name] = calls[name]()
        click.echo(f"   {time.perf_counter() - started:.0f} s")
        text = json.dumps(found, indent=1) + "\n"
        write_atomically(out, lambda path, text=text: path.write_text(
            text, encoding="utf-8"))
    click.echo(f"measurements are in {out}")


if __name__ == "__main__":
    main()
