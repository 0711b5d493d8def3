"""``python -m benchmarks.dissection``: every neuron of an embedded 12-block model held against the
28 concepts of 1,200 scenes, in seconds and bytes; writes ``benchmarks/dissection.json``.

Memory is the largest resident size of the process, Python and torch included; the scenes and the
model are loaded without the rest of their profile.
"""

from __future__ import annotations

import json
import os
import platform
import resource
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time

import click
import torch

from neuronpath_core.images.shapes import load_shapes
from neuronpath_core.models import build
from neuronpath_core.neurons.dissection import dissect
from neuronpath_core.readings.concepts import concepts
from neuronpath_core.study.profiles import load_profile, project_root
from neuronpath_core.support.files import write_atomically
from neuronpath_core.target import TargetModel

CASES = {
    "patch": {"level": "patch"},
    "patch, 99 permutations": {"level": "patch", "permutations": 99},
    "pixel": {"level": "pixel"},
    "pixel, 99 permutations": {"level": "pixel", "permutations": 99},
}


def peak() -> float:
    """Megabytes, the largest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@click.command()
@click.option("--case", type=click.Choice(list(CASES)), required=True)
@click.option("--images", type=click.IntRange(24), default=1200)
@click.option("--model", default="tiny-B-16")
@click.option("--threads", type=click.IntRange(1), default=2)
@click.option("--out", type=click.Path(path_type=Path),
              default=Path(__file__).with_name("dissection.json"))
def main(case: str, images: int, model: str, threads: int, out: Path) -> None:
    """Measure one case, in a process of its own, for the peak of memory is the process's."""
    torch.set_num_threads(threads)
    root = project_root()
    settings = load_profile("shapes", root)
    spec = settings["models"][model]
    target = TargetModel(build.load_model(spec, root, "cpu", "float64"))
    own = settings["dataset"]
    scenes = load_shapes("held_out", images, own["seed"], own["difficulty"])
    known = concepts(scenes)
    before, load = peak(), os.getloadavg()[0]
    start, worked = perf_counter(), process_time()
    found = dissect(target, scenes.images, known, labels=scenes.labels,
                    **{"permutations": 0, **CASES[case]})
    row = {"images": images, "model": model, "neurons": found.iou[..., 0].size,
           "concepts": len(known.names), "threads": threads,
           "seconds": round(perf_counter() - start, 1),
           "seconds of the processor": round(process_time() - worked, 1),
           "megabytes": round(peak()), "megabytes before": round(before),
           "load when it began": round(load, 1),
           "machine": f"{platform.machine()}, {os.cpu_count()} cores", "torch": version("torch")}
    table = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    text = json.dumps({**table, case: row}, indent=1) + "\n"
    write_atomically(out, lambda path: path.write_text(text, encoding="utf-8"))
    click.echo(f"{case}: {row}")


if __name__ == "__main__":
    main()
