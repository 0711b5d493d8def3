"""The ``neuronpath`` command."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path

import click

# what takes seconds to load is imported inside commands: help and refusals come at once
from neuronpath_core.images.policies import POLICIES
from neuronpath_core.runs.arguments import parameter_values, steps_value
from neuronpath_core.runs.choice import NotebookError, chosen_notebooks
from neuronpath_core.runs.explaining import card, explain
from neuronpath_core.runs.leftovers import tidy
from neuronpath_core.runs.options import checked, places, study_root, tell
from neuronpath_core.runs.stopping import stopped_by_signals
from neuronpath_core.study.engines.choice import EngineError
from neuronpath_core.study.profiles import (
    DEFAULT_PROFILE,
    RESULTS_VARIABLE,
    load_profile,
    model_entries,
    project_root,
    results_folder,
)
from neuronpath_core.support.environment import WEIGHTS_VARIABLE, environment
from neuronpath_core.support.files import working_folder
from neuronpath_core.support.text import show_whatever_comes

PLAIN_WARNING = warnings.formatwarning


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="neuronpath-core")
def cli() -> None:
    """Find, check and use influential neuron paths in vision Transformers."""


@cli.command()
@click.argument("notebooks", nargs=-1)
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True, help="A file of profiles/.")
@click.option("-p", "--parameter", "parameters", type=(str, str), multiple=True,
              metavar="NAME VALUE", callback=lambda _c, _o, pairs: parameter_values(pairs),
              help="Override a notebook parameter; repeatable.")
@checked
@click.option("--quick", is_flag=True,
              help="A tenth of the images: wide intervals, soon.  Outputs go to a folder quick.")
@click.option("--force", is_flag=True,
              help="Run notebooks again even if nothing has changed since their last run.")
@click.option("--stale", is_flag=True,
              help="Leave out chapters beyond the paper's own whose stored outputs are those of "
                   "this checkout.")
@click.option("--store", is_flag=True,
              help="Also put the outputs into notebooks/: they become the reference that nbval "
                   "checks against.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1),
              help="Notebooks at a time, each with its share of the CPU's cores.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def run(notebooks: tuple[str, ...], profile: str, parameters: dict, results: Path | None,
        check: bool, quick: bool, force: bool, stale: bool, store: bool, jobs: int,
        quiet: bool) -> None:
    """Execute NOTEBOOKS (02, 02_table1, …; all by default) with a profile's parameters."""
    root = study_root()
    folder = results_folder(root, profile, results)
    chosen_notebooks(root, profile, list(notebooks), bool(parameters) or quick, store)
    tell(tidy(root, folder))
    from neuronpath_core.runs import commands

    commands.run(root, folder, profile, list(notebooks), parameters, check=check, force=force,
                 stale=stale, store=store, jobs=jobs, progress=not quiet, quick=quick,
                 is_asked=bool(results or os.environ.get(RESULTS_VARIABLE)))


@cli.command()
@click.option("--model", "models", multiple=True,
              help="A model of the profile; repeatable.  [default: all]")
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True, help="A file of profiles/.")
@click.option("--method", default="neuron_path", show_default=True)
@click.option("--search", default="joint", show_default=True)
@click.option("--context", default="auto", show_default=True, help="auto, full, frozen or mixed.")
@click.option("--quadrature", default="gauss-legendre", show_default=True)
@click.option("--steps",
              help="Of the rule, several (8,4,2) for one block after the other, or auto.  "
                   "[default: 20, of gauss-legendre 8,4 or 12,6,4,2]")
@click.option("--nodes", type=int, help="Evaluate the rule at so many places only.  [default: all]")
@click.option("--top", type=int, help="Neurons per block.  [default: one]")
@click.option("--budget", type=int,
              help="Gradients an image, of method recommended.  [default: 3]")
@click.option("--question", help="Of the same method: remove, enhance or keep.  [default: remove]")
@click.option("--n-images", default=100, show_default=True,
              help="Held-out images, spread evenly over the classes.")
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--dtype", default="float64", show_default=True)
@click.option("--memory-budget",
              help="At most this much at once, such as 6GB.  [default: by the device]")
@click.option("--results", type=click.Path(path_type=Path),
              help="Where results go.  [default: results/<profile>]")
@places
@click.option("--check", is_flag=True,
              help="Only say what is missing, and what the search would cost in time, memory and "
                   "disk.")
def paths(models, profile, n_images, device, dtype, results, memory_budget, check,
          **settings) -> None:
    """Find paths and store them; found once, they are used again by every notebook with the same
    settings."""
    root = study_root()
    load_profile(profile, root)
    tell(tidy(root, results_folder(root, profile, results)))
    settings["steps"] = steps_value(settings["steps"])
    from neuronpath_core.runs import commands

    commands.paths(list(models), profile, n_images, device, dtype, results, memory_budget, check,
                   settings)


@cli.command()
@click.option("--profile", required=True, help="A file of profiles/.")
@click.option("--weights", type=click.Path(path_type=Path), required=True,
              help="Folder that the files go to.")
@click.option("--model", "models", multiple=True,
              help="A model of the profile; repeatable.  [default: all]")
def download(profile: str, weights: Path, models: tuple[str, ...]) -> None:
    """Fetch the weights of a profile's models; what is there already is checked and kept."""
    root = study_root()
    entries = model_entries(load_profile(profile, root))
    if unknown := set(models) - set(entries):
        raise ValueError(f"unknown models {', '.join(sorted(unknown))}; accepted: "
                         f"{', '.join(entries)}")
    with environment({WEIGHTS_VARIABLE: weights}):
        tell(tidy(root))
    from neuronpath_core.models.download import download as fetch

    for name in models or entries:
        path = fetch(entries[name], root, weights)
        click.echo(f"{name}: {path or 'needs no weights'}")


cli.add_command(explain)
cli.add_command(card)


@cli.command("types")
@click.option("--profile", required=True,
              help="A file of profiles/ whose models are of kind hub.")
@click.option("--model", "models", multiple=True,
              help="A model of the profile; repeatable.  [default: all]")
@click.option("--device", default="cpu", show_default=True)
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1),
              help="Captions at once.")
@checked
def neuron_types(profile: str, models: tuple[str, ...], device: str, batch: int,
                 results: Path | None, check: bool) -> None:
    """Type the neurons of published vision-language models as visual, text, multi-modal or unknown;
    a stopped run goes on where it was."""
    root = study_root()
    from neuronpath_core.runs.types import types

    types(root, results_folder(root, profile, results), profile, list(models), device, batch, check)


@cli.command("new-profile")
@click.argument("name")
@click.option("--model", "models", multiple=True, required=True,
              help="A timm name, hf-hub:owner/name, or TIMM_NAME=FILE for a checkpoint "
                   "of your own; repeatable.")
@click.option("--data", type=click.Path(path_type=Path),
              help="Folder or tar file of images, a folder for each class.")
@click.option("--reader", default="",
              help="Of timm, such as hfds/NAME for a Hugging Face data set.  [default: folder or "
                   "tar file]")
@click.option("--split", default="validation", show_default=True)
@click.option("--class-map", type=click.Path(path_type=Path),
              help="Text file with the folder of output 0 in its first line.")
@click.option("--unreadable", type=click.Choice(POLICIES), default=POLICIES[0], show_default=True,
              help="What to do about images that cannot be read.")
def new_profile(name: str, models: tuple[str, ...], data: Path | None, reader: str, split: str,
                class_map: Path | None, unreadable: str) -> None:
    """Write profiles/NAME.yml for models and images of your own; every other command then takes
    --profile NAME."""
    from neuronpath_core.runs.new_profile import write_profile

    dataset = {"name": "files", "root": None if data is None else str(data.resolve()),
               "reader": reader, "split": split, "unreadable": unreadable}
    if class_map is not None:
        dataset["class_map"] = str(class_map.resolve())
    click.echo(f"{write_profile(project_root(), name, models, dataset)} is written; 'neuronpath "
               f"run --profile {name} --check' says what a run needs")


def _formatted(message: Warning | str, category: type[Warning], *where, **more) -> str:
    """A warning of this library as one line; others as Python shows them."""
    if category.__module__.startswith("neuronpath_core"):
        return f"neuronpath: {' '.join(str(message).split())}\n"
    return PLAIN_WARNING(message, category, *where, **more)


def main() -> None:
    """Entry point: every foreseen error is one line on standard error and exit status 2; that of a
    failed notebook or of dying workers is 1, that of a command that a signal stops 128 and the
    signal's number."""
    show_whatever_comes()
    warnings.formatwarning = _formatted
    try:
        with stopped_by_signals() as caught:
            working_folder()  # without one not even libraries load
            cli.main(sys.argv[1:] or ["--help"], standalone_mode=False)
        sys.exit()
    except click.ClickException as error:
        message, status = error.format_message(), 2
        if isinstance(error, click.UsageError) and error.ctx and error.ctx.command is cli:
            message += f" accepted: {', '.join(cli.commands)}"
    except ValueError as error:
        message, status = str(error), 2
    except (NotebookError, EngineError) as error:
        message, status = str(error), 1
    except (KeyboardInterrupt, click.Abort):
        message = "stopped; finished notebooks and path tables are kept"
        status = 128 + (caught or [signal.SIGINT])[0]
    finally:
        warnings.formatwarning = PLAIN_WARNING
    click.echo(f"neuronpath: {' '.join(message.split())}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
