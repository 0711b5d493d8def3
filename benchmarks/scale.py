"""``python -m benchmarks.scale``: one single-threaded process against Ray workers of one thread
each; writes ``benchmarks/scale.json``."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click
import pandas as pd
import torch

from benchmarks.measure import spread
from neuronpath_core.settings import SearchSettings
from neuronpath_core.study.engines import run as engines
from neuronpath_core.study.engines.ray_cluster import cluster
from neuronpath_core.study.path_tables import SearchWorker
from neuronpath_core.study.study import Study
from neuronpath_core.support.files import write_atomically


@dataclass(frozen=True)
class Searching:
    """Builds a worker of the default search that notes when it worked on a part; none begins before
    all are there."""

    profile: str
    model: str
    count: int
    meeting: str
    workers: int

    def __call__(self) -> Callable[[range], pd.DataFrame]:
        """The model, loaded and used once, so that a part's time is that of searching alone."""
        torch.set_num_threads(1)
        study = Study(self.profile, engine="local")
        images = study.images(self.count)
        arguments = SearchSettings().complete(study.target(self.model)).as_dict()
        search = SearchWorker(study, self.model, images, {"arguments": arguments}, [None]).search

        def work(part: range) -> pd.DataFrame:
            began = time.time()
            return search(part).assign(began=began, ended=time.time())

        work(range(1))
        (Path(self.meeting) / str(os.getpid())).touch()
        while len(list(Path(self.meeting).iterdir())) < self.workers:
            time.sleep(0.01)
        return work


def timed(engine: str, profile: str, model: str, count: int, size: int,
          workers: int) -> tuple[float, float, pd.DataFrame]:
    """Seconds from the first part's begin to the last one's end, seconds before that, and the
    table; a Ray cluster is started for it and ended after it."""
    parts = [range(start, min(start + size, count)) for start in range(0, count, size)]
    with tempfile.TemporaryDirectory() as meeting:
        asked = time.time()
        if engine == "local":
            found = list(engines.local(Searching(profile, model, count, meeting, 1), parts))
        else:
            with cluster("local", cpus=workers):
                found = list(engines.on_ray(Searching(profile, model, count, meeting, workers),
                                            parts, workers))
    table = pd.concat([each for _, each in sorted(found, key=lambda pair: pair[0].start)],
                      ignore_index=True)
    return table["ended"].max() - table["began"].min(), table["began"].min() - asked, table.drop(
        columns=["began", "ended"])


@click.command()
@click.option("--profile", default="digits", show_default=True)
@click.option("--model", default="tiny-B-16", show_default=True)
@click.option("--images", default=160, show_default=True, type=click.IntRange(10))
@click.option("--part", "size", default=10, show_default=True, type=click.IntRange(1),
              help="Images in a part.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1),
              help="Of Ray, with a core and a thread each.")
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1),
              help="Repetitions of each timing, by turns.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).parent
              / "scale.json", help="File to write.  [default: benchmarks/scale.json]")
def main(profile: str, model: str, images: int, size: int, workers: int, repeats: int,
         out: Path) -> None:
    """How many times faster Ray's workers are than one process, start-up apart; nothing else should
    run meanwhile."""
    if -(-images // size) < workers:
        raise click.UsageError(f"{images} images in parts of {size} are fewer parts than workers; "
                               f"accepted: at least {size * (workers - 1) + 1} images")
    seconds, before, tables = {"local": [], "ray": []}, {"local": [], "ray": []}, []
    for _ in range(repeats):
        for engine in seconds:
            spent, started, table = timed(engine, profile, model, images, size, workers)
            seconds[engine].append(spent)
            before[engine].append(started)
            tables.append(table)
            click.echo(f"{engine}: {spent:.2f} s, and {started:.2f} s before the first part")
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)
    measured = {
        "machine": {"device": platform.machine(), "cpus": os.cpu_count(),
                    "python": platform.python_version(),
                    **{package: version(package) for package in ("torch", "timm", "ray")}},
        "profile": profile, "model": model, "images": images, "part": size, "workers": workers,
        "seconds": {engine: spread(values) for engine, values in seconds.items()},
        "startup_seconds": {engine: spread(values) for engine, values in before.items()},
        "ratio": spread([slow / fast for slow,
                         fast in zip(seconds["local"], seconds["ray"], strict=True)]),
        "identical": True,
    }
    text = json.dumps(measured, indent=1) + "\n"
    write_atomically(out, lambda path: path.write_text(text, encoding="utf-8"))
    click.echo(f"{workers} workers are {measured['ratio']['median']:.2f} times as fast as one "
               f"process (median of {repeats}); measurements are in {out}")


if __name__ == "__main__":
    main()
