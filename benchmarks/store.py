"""``python -m benchmarks.store``: what keeping paths costs beside finding them, in seconds and on
disk; written to ``benchmarks/store.json``."""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from timm.models.vision_transformer import VisionTransformer

from benchmarks.measure import REAL, spread, timed
from benchmarks.options import device_there
from neuronpath_core.paths import find_paths
from neuronpath_core.study.store import tables as store
from neuronpath_core.support.files import write_atomically
from neuronpath_core.target import TargetModel

MANIFEST = {"model": "random numbers"}
NEURONS = 3072  # of a block of ViT-B/16


class Paused(Exception):
    """Ends a run whose parts are all there, before they become one table."""


def random_paths(rows: range, blocks: int, top: int) -> pd.DataFrame:
    """A part of a path table with numbers that do not compress."""
    rng = np.random.default_rng(rows.start)
    return pd.DataFrame({"image": np.arange(rows.start, rows.stop),
                         "label": rng.integers(0, 1000, len(rows)),
                         "score": rng.standard_normal(len(rows)),
                         "steps": rng.integers(1, 49, len(rows)),
                         "neurons": list(rng.integers(0, NEURONS, (len(rows), blocks * top)))})


def search_seconds(device: str) -> float:
    """Seconds an image of the cheapest search, that in frozen context: ViT-B/16 with random
    weights, single precision."""
    torch.manual_seed(0)
    target = TargetModel(VisionTransformer(img_size=224, num_classes=1000,
                                           **REAL["ViT-B/16"]).to(device))
    image = torch.randn(1, 3, 224, 224, device=device)
    label = torch.zeros(1, dtype=torch.int64, device=device)
    # the first call of the kernels is not timed
    find_paths(target, image, label, context="frozen", steps=1)
    return timed(device, find_paths, target, image, label, context="frozen")[0]


def bytes_in(folder: Path) -> int:
    """Sizes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measured(folder: Path, images: int, blocks: int, top: int, part_size: int,
             repeats: int) -> dict:
    """A long run: every part, all of them after a stop, the finished table."""
    pauses: list[float] = []

    def compute(pending: list[range]) -> Iterator[tuple[range, pd.DataFrame]]:
        for rows in pending:
            part = random_paths(rows, blocks, top)
            before = time.perf_counter()
            yield rows, part
            # from when the part is handed over to when the next one is asked for
            pauses.append(time.perf_counter() - before)
        raise Paused

    try:
        store.read_or_compute(folder, MANIFEST, images, compute, part_size)
    except Paused:
        pass
    parts_bytes = bytes_in(folder)
    merged, _ = timed("cpu", store.read_or_compute, folder, MANIFEST, images, compute, part_size)

    def read() -> int:
        return np.stack(store.read_or_compute(folder, MANIFEST, images, compute,
                                              part_size)["neurons"].to_numpy()).size

    reads = [timed("cpu", read)[0] for _ in range(repeats)]
    return {
        "images": images, "blocks": blocks, "top": top, "part_size": part_size,
        "parts": len(pauses), "part_seconds": spread(pauses),
        "all_parts_seconds": sum(pauses), "merge_seconds": merged, "read_seconds": spread(reads),
        "parts_bytes": parts_bytes, "table_bytes": bytes_in(folder),
    }


@click.command()
@click.option("--images", default=50_000, show_default=True, type=click.IntRange(1))
@click.option("--blocks", default=12, show_default=True, type=click.IntRange(1))
@click.option("--top", default=50, show_default=True, type=click.IntRange(1),
              help="Neurons a block.")
@click.option("--part-size", default=store.PART_SIZE, show_default=True, type=click.IntRange(1))
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1),
              help="Repetitions of reading the finished table.")
@click.option("--device", default="cpu", show_default=True, callback=device_there,
              help="Where the search is timed.")
@click.option("--search-seconds", "seconds", type=float,
              help="Of one image.  [default: measured, ViT-B/16, frozen context]")
@click.option("--folder", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="A folder on the disk that is meant.  [default: temporary files]")
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).with_suffix(".json"),
              show_default="benchmarks/store.json")
def main(images: int, blocks: int, top: int, part_size: int, repeats: int, device: str,
         seconds: float | None, folder: Path | None, out: Path) -> None:
    """Time the store against the search, with a table of random numbers."""
    seconds = search_seconds(device) if seconds is None else seconds
    with tempfile.TemporaryDirectory(dir=folder) as place:
        found = measured(Path(place) / "table", images, blocks, top, part_size, repeats)
    found["search_seconds_per_image"] = seconds
    found["search_device"] = torch.cuda.get_device_name(device) if device.startswith(
        "cuda") else platform.machine()
    found["part_share"] = found["part_seconds"]["median"] / (seconds * part_size)
    found["whole_share"] = (found["all_parts_seconds"]
                            + found["merge_seconds"]) / (seconds * images)
    found["versions"] = {"python": platform.python_version(),
                         **{name: version(name)
                            for name in ("numpy", "pandas", "pyarrow", "torch")}}
    text = json.dumps(found, indent=1) + "\n"
    write_atomically(out, lambda path: path.write_text(text, encoding="utf-8"))
    for what, value in {
        f"search of {part_size} images": f"{seconds * part_size:.2f} s",
        "store, a part": f"{1e3 * found['part_seconds']['median']:.1f} ms (at most "
                         f"{1e3 * found['part_seconds']['maximum']:.1f}), "
                         f"{found['part_share']:.3%} of the search",
        "store, parts and merge": f"{found['all_parts_seconds'] + found['merge_seconds']:.1f} s, "
                                  f"{found['whole_share']:.3%} of the search",
        f"size, {images} x {blocks} x {top}": f"{found['table_bytes'] / 1e6:.1f} MB "
                                              f"({found['parts_bytes'] / 1e6:.1f} MB in parts)",
        "resume, finished": f"{found['read_seconds']['median']:.2f} s",
        "resume, all parts there": f"{found['merge_seconds']:.2f} s",
    }.items():
        click.echo(f"{what:<32}{value}")
    click.echo(f"measurements are in {out}")


if __name__ == "__main__":
    main()
