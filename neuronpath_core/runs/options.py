"""What commands have in common: options for where inputs are and who does the work, the study's
folder, and what is told of it."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import click

from neuronpath_core.runs.choice import strays
from neuronpath_core.study.engines.choice import ENGINES
from neuronpath_core.study.engines.choice import check as check_engine
from neuronpath_core.study.profiles import ENGINE_VARIABLE, WORKERS_VARIABLE, project_root
from neuronpath_core.support.environment import DATA_VARIABLE, WEIGHTS_VARIABLE, environment


def study_root() -> Path:
    """The study's folder; what lies about in it is told once."""
    tell(strays(root := project_root()))
    return root


def tell(line: str | None) -> None:
    """Say a line, if there is one, on standard error."""
    if line:
        click.echo(f"neuronpath: {line}", err=True)


def places(command):
    """Options for where inputs are and who does the work; inside the command they are environment
    variables, which notebooks and workers inherit."""
    options = [
        click.option("--data", type=click.Path(path_type=Path),
                     help="Folder of the profile's images.  [default: $NEURONPATH_DATA, else the "
                          "profile's]"),
        click.option("--weights", type=click.Path(path_type=Path),
                     help="Folder of weight files.  [default: $NEURONPATH_WEIGHTS, else project "
                          "and cache]"),
        click.option("--engine", type=click.Choice(ENGINES),
                     help="Who searches: this process, or Ray workers.  [default: "
                          "$NEURONPATH_ENGINE, else local]"),
        click.option("--workers", type=click.IntRange(1),
                     help="How many Ray workers.  [default: one a GPU, or a CPU]"),
        click.option("--address",
                     help="Of a running Ray cluster.  [default: $RAY_ADDRESS, else Ray is started "
                          "here]"),
    ]

    @functools.wraps(command)
    def inside(*arguments, data, weights, engine, workers, address, **others):
        places = {name: None if path is None else path.resolve() for name,
                  path in ((DATA_VARIABLE, data), (WEIGHTS_VARIABLE, weights))}
        if (engine or os.environ.get(ENGINE_VARIABLE) or "local") == "local":
            check_engine("local", workers, address)
        with environment({**places, ENGINE_VARIABLE: engine, WORKERS_VARIABLE: workers,
                          "RAY_ADDRESS": address}):
            return command(*arguments, **others)

    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), inside)


def checked(command):
    """Options of what runs for long: where results go, :func:`places`, and a look beforehand."""
    command = click.option("--check", is_flag=True, help=(
        "Only say what is missing, and what the run would cost in time, memory and disk."))(command)
    return click.option("--results", type=click.Path(path_type=Path), help=(
        "Where results go.  [default: results/<profile>]"))(places(command))
