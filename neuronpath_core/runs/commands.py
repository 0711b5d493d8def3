"""What commands do with models, images and tables; loaded when there is something to do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

import click
import pandas as pd

from neuronpath_core.runs.absent import absent_images, told
from neuronpath_core.runs.choice import not_run
from neuronpath_core.runs.dry_run import as_text, estimate_run, estimate_searches
from neuronpath_core.runs.executions import executed
from neuronpath_core.runs.leftovers import tidy
from neuronpath_core.runs.notebooks import outputs_folder, plan
from neuronpath_core.runs.options import tell
from neuronpath_core.runs.outputs import store_outputs
from neuronpath_core.runs.preflight import demand, problems, run_problems
from neuronpath_core.study.engines.choice import chosen_engine
from neuronpath_core.study.engines.ray_cluster import cluster
from neuronpath_core.study.profiles import ENGINE_VARIABLE
from neuronpath_core.study.study import Study
from neuronpath_core.study.vlm_profiles import any_profile
from neuronpath_core.support.text import one_line


def _check(found: Iterable[str], estimate: Callable[[], pd.DataFrame]) -> None:
    """What is missing or wrong, and what the work would cost; ``ValueError`` if something is."""
    found = list(found)
    for problem in found:
        click.echo(f"missing or wrong: {problem}")
    try:
        click.echo(as_text(estimate()))
    except ValueError as error:
        if not found:
            raise
        more = "" if any(str(error) in problem for problem in found) else f": {one_line(error)}"
        click.echo(f"until then nothing can be estimated{more}")
    if found:
        raise ValueError(f"{len(found)} of the things that this run needs are missing or wrong; "
                         f"accepted: what the lines above name")
    click.echo("nothing is missing")


def run(root: Path, folder: Path, profile: str, notebooks: list[str], parameters: dict[str, Any],
        check: bool, force: bool, stale: bool, store: bool, jobs: int, progress: bool,
        quick: bool = False, is_asked: bool = True) -> None:
    """``neuronpath run``: execute notebooks of the study in ``root`` with results in ``folder``,
    which was asked for or is the profile's own."""
    runs = plan(root, profile, notebooks, parameters, folder, store, quick, is_asked)
    for other in dict.fromkeys(each.tables for each in runs if each.tables):
        tell(tidy(root, other))
    for each in [each for each in runs if stale and each.can_be_shown]:
        runs.remove(each)
        click.echo(f"{each.notebook}: its stored outputs are those of this checkout, not executed")
    for each in [] if notebooks else list(runs):  # what is asked for by name is not left out
        if reason := absent_images(root, each.notebook, each.parameters, profile):
            runs.remove(each)
            click.echo(told(each.notebook, reason))
    found = run_problems(root, [each for each in runs if force or not each.is_current])
    if not check:
        demand(found)
    if not notebooks:
        for name, reason in not_run(root, any_profile(profile, root)).items():
            click.echo(f"{name}: not run with profile {profile}: {reason}")
    if jobs > 1 and os.environ.get(ENGINE_VARIABLE) == "ray":
        raise ValueError(f"engine 'ray' spreads every notebook's work by itself, got --jobs "
                         f"{jobs}; accepted: --jobs 1 with it")
    if check:
        _check(found, lambda: estimate_run(root, runs, force=force))
        return
    kept = [each for each in runs if each.is_current and not force]
    for each in kept:
        click.echo(f"{each.notebook}: nothing has changed since its last run, kept")
    with closing(executed(root, [each for each in runs if each not in kept], folder, jobs,
                          progress=progress)) as finished:
        for each in chain(kept, finished):
            if store:
                store_outputs(root, each)
    click.echo(f"executed notebooks are in {outputs_folder(folder, quick)}")


def paths(models: list[str], profile: str, n_images: int, device: str, dtype: str,
          results: Path | None, memory_budget: str | None, check: bool,
          settings: dict[str, Any]) -> None:
    """``neuronpath paths``: find paths with the ``settings`` of a search and store them."""
    if check:
        study = Study(profile, dtype=dtype, memory_budget=memory_budget)
        names = study.check_models(models or study.model_names)
        _check(problems(study.root, profile, names, device, n_images),
               lambda: estimate_searches(study.root, profile, names, n_images, settings, device,
                                         dtype, memory_budget))
        return
    study = Study(profile, device, dtype, results, progress=True, memory_budget=memory_budget)
    names = study.check_models(models or study.model_names)
    demand(problems(study.root, profile, names, device, n_images, study))
    images = study.images(n_images, settings["seed"])
    # one for all models
    with cluster() if chosen_engine(device=device)[0] == "ray" else nullcontext():
        for model in names:
            found = study.paths(model, images, **settings)
            click.echo(f"{model} {settings['method']}: {len(found)} paths, mean joint attribution "
                       f"score {found.score.mean():.4f}")
    click.echo(f"path tables are in {study.results_folder / 'paths'}")
