"""``python -m benchmarks.agreement``: which rules find the paths of a converged integral, on every
trained model; writes ``benchmarks/agreement.json``.

Nothing is timed, so it may run beside anything, and its numbers change with the code alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import click
import pandas as pd

from benchmarks.measure import EXACT, SPARING
from benchmarks.options import device_there
from neuronpath_core.chapters.search_cost.agreement import path_agreement
from neuronpath_core.study.study import Study
from neuronpath_core.support.files import write_atomically

# the nodes of the first blocks must show, where F changes abruptly: 32, 16, 8 still miss 1 % of the
# paths of one model
CONVERGED = {"context": "full", "steps": [48, 24, 12, 6]}
WAYS = {"published rule": EXACT, "default": {},
        "by block, single at last": {"context": "full", "steps": SPARING},
        "three nodes": {"context": "full", "steps": 3}}
CONDENSED = {f"{count} of 20": EXACT | {"nodes": count} for count in (8, 12)}


def agreement(studies: Sequence[Study], count: int) -> dict[str, list[dict]]:
    """Every trained model of several profiles.

    Returns:
        ``converged``: rows of
        :func:`~neuronpath_core.chapters.search_cost.agreement.path_agreement` for each of ``WAYS``,
        against a converged integral; ``condensed``: the same for the published sum at few places,
        against that sum.
    """
    found: dict[str, list[dict]] = {"converged": [], "condensed": []}
    for study in studies:
        images = study.images(count)
        for model in study.model_names:
            click.echo(f"{study.profile} {model}", err=True)
            for name, ways, reference in (("converged", WAYS, CONVERGED),
                                          ("condensed", CONDENSED, EXACT)):
                table = path_agreement(study, [model], images, ways,
                                       reference).drop(columns="score")
                found[name] += [{"profile": study.profile, "images": len(images)} | row
                                for row in table.to_dict("records")]
    return found


@click.command()
@click.option("--images", default=200, show_default=True, type=click.IntRange(1),
              help="Of each data set.")
@click.option("--device", default="cpu", show_default=True, callback=device_there)
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).with_suffix(".json"),
              show_default="benchmarks/agreement.json")
def main(images: int, device: str, out: Path) -> None:
    """Compare quadrature rules on every trained model of both data sets; about fifteen minutes on
    two cores."""
    found = agreement([Study(profile, device) for profile in ("digits", "shapes")], images)
    found["versions"] = {name: version(name) for name in ("torch", "timm")}
    text = json.dumps(found, indent=1) + "\n"
    write_atomically(out, lambda path: path.write_text(text, encoding="utf-8"))
    for name, rows in found.items():
        if name != "versions":
            click.echo(pd.DataFrame(rows).pivot_table(index=["profile", "model"], columns="way",
                                                      values=["neurons", "paths"],
                                                      sort=False).round(3).to_string())
    click.echo(f"measurements are in {out}")


if __name__ == "__main__":
    main()
