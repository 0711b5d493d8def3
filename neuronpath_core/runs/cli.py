"""The ``neuronpath`` command."""

from __future__ import annotations

import functools
import os
import signal
import sys
import warnings
from pathlib import Path

import click
from click.core import ParameterSource

# what takes seconds to load is imported inside commands: help and refusals come at once
from neuronpath_core.images.policies import POLICIES
from neuronpath_core.runs.arguments import parameter_values, steps_value
from neuronpath_core.runs.choice import NotebookError, chosen_notebooks, strays
from neuronpath_core.runs.leftovers import tidy
from neuronpath_core.runs.stopping import stopped_by_signals
from neuronpath_core.study.engines.choice import ENGINES, EngineError
from neuronpath_core.study.engines.choice import check as check_engine
from neuronpath_core.study.profiles import (
    DEFAULT_PROFILE,
    ENGINE_VARIABLE,
    WORKERS_VARIABLE,
    load_profile,
    model_entries,
    project_root,
    results_folder,
)
from neuronpath_core.study.vlm_profiles import is_vlm_profile
from neuronpath_core.support.environment import DATA_VARIABLE, WEIGHTS_VARIABLE, environment
from neuronpath_core.support.text import show_whatever_comes, shown

PLAIN_WARNING = warnings.formatwarning


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="neuronpath-core")
def cli() -> None:
    """Find, check and use influential neuron paths in vision Transformers."""


def _root() -> Path:
    """The study's folder; what lies about in it is told once."""
    _tell(strays(root := project_root()))
    return root


def _tell(line: str | None) -> None:
    if line:
        click.echo(f"neuronpath: {line}", err=True)


def _check_unused(*names: str) -> None:
    """Raise ``ValueError`` for an option that was typed and that a vision-language model lacks."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise ValueError(f"--{name.replace('_', '-')} is of classifiers alone; accepted: none "
                             "for a profile of vision-language models")


def _places(command):
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


def _checked(command):
    """Options of what runs for long: where results go, :func:`_places`, and a look beforehand."""
    command = click.option("--check", is_flag=True, help=(
        "Only say what is missing, and what the run would cost in time, memory and disk."))(command)
    return click.option("--results", type=click.Path(path_type=Path), help=(
        "Where results go.  [default: results/<profile>]"))(_places(command))


@cli.command()
@click.argument("notebooks", nargs=-1)
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True, help="A file of profiles/.")
@click.option("-p", "--parameter", "parameters", type=(str, str), multiple=True,
              metavar="NAME VALUE", callback=lambda _c, _o, pairs: parameter_values(pairs),
              help="Override a notebook parameter; repeatable.")
@_checked
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
    root = _root()
    folder = results_folder(root, profile, results)
    chosen_notebooks(root, profile, list(notebooks), bool(parameters) or quick, store)
    _tell(tidy(root, folder))
    from neuronpath_core.runs import commands

    commands.run(root, folder, profile, list(notebooks), parameters, check=check, force=force,
                 stale=stale, store=store, jobs=jobs, progress=not quiet, quick=quick)


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
@_places
@click.option("--check", is_flag=True,
              help="Only say what is missing, and what the search would cost in time, memory and "
                   "disk.")
def paths(models, profile, n_images, device, dtype, results, memory_budget, check,
          **settings) -> None:
    """Find paths and store them; found once, they are used again by every notebook with the same
    settings."""
    root = _root()
    load_profile(profile, root)
    _tell(tidy(root, results_folder(root, profile, results)))
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
    root = _root()
    entries = model_entries(load_profile(profile, root))
    if unknown := set(models) - set(entries):
        raise ValueError(f"unknown models {', '.join(sorted(unknown))}; accepted: "
                         f"{', '.join(entries)}")
    with environment({WEIGHTS_VARIABLE: weights}):
        _tell(tidy(root))
    from neuronpath_core.models.download import download as fetch

    for name in models or entries:
        path = fetch(entries[name], root, weights)
        click.echo(f"{name}: {path or 'needs no weights'}")


@cli.command()
@click.argument("pictures", nargs=-1, required=True)
@click.option("--model", required=True,
              help="A timm name, hf-hub:owner/name, or FILE.safetensors.")
@click.option("--architecture", metavar="NAME",
              help="Of timm, for a FILE of which nothing else says what network it is of.")
@click.option("--label", default="auto", show_default=True,
              help="The class to explain: its number, its name, or auto for the most probable.")
@click.option("--method", default="recommended", show_default=True)
@click.option("--class-names", type=click.Path(path_type=Path),
              help="Text file with the name of output 0 in its first line.  [default: the model's]")
@click.option("--out", type=click.Path(path_type=Path), default="explanations", show_default=True,
              help="Folder that pages and figures go to.")
@click.option("--weights", type=click.Path(path_type=Path),
              help="Folder of weight files.  [default: $NEURONPATH_WEIGHTS, else project and "
                   "cache]")
@click.option("--device", default="cpu", show_default=True)
@click.option("--dtype", default="float32", show_default=True)
@click.option("--memory-budget",
              help="At most this much at once, such as 6GB.  [default: by the device]")
def explain(pictures: tuple[str, ...], weights: Path | None, **arguments) -> None:
    """Explain PICTURES, files or folders of them: classes, the path, what it does, and where its
    neurons are active; as a table here, a figure and a page in a folder."""
    root = project_root()
    from neuronpath_core.runs.explain import explain_pictures

    with environment({WEIGHTS_VARIABLE: None if weights is None else weights.resolve()}):
        explain_pictures(root, pictures, **arguments)


@cli.command()
@click.argument("model")
@click.argument("block", type=int)
@click.argument("neuron", type=int)
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True, help="A file of profiles/.")
@click.option("--n-images", type=int,
              help="Held-out images, spread evenly over the classes; of a vision-language model "
                   "composed scenes.  [default: 120, or 1200 scenes]")
@click.option("--seed", default=0, show_default=True)
@click.option("--steps", default=48, show_default=True,
              help="Of the image that is made to excite the neuron; 0 for none.")
@click.option("--no-paths", is_flag=True, help="Search no paths, which takes longest.")
@click.option("--no-others", is_flag=True,
              help="Show that image to no other models of the profile.")
@click.option("--out", type=click.Path(path_type=Path), default="cards", show_default=True,
              help="Folder that the page goes to.")
@click.option("--json", "numbers", is_flag=True, help="Also write a file with every number.")
@click.option("--results", type=click.Path(path_type=Path),
              help="Where paths and cards are kept.  [default: results/<profile>]")
@click.option("--device", default="cpu", show_default=True)
@click.option("--dtype", default="float64", show_default=True)
@_places
def card(model, block, neuron, profile, n_images, seed, steps, no_paths, no_others, out, numbers,
         results, device, dtype) -> None:
    """The card of one neuron of a profile's MODEL: what it reads, writes, means and does.  BLOCK
    counts from 1 and NEURON from 0, as on the pages of the book; as sentences here, a page in a
    folder."""
    root = project_root()
    if is_vlm_profile(profile, root):
        _check_unused("steps", "no_paths", "no_others", "dtype")
        folder = results_folder(root, profile, results)
        _tell(tidy(root, folder))
        from neuronpath_core.runs.card import show_vlm_card

        show_vlm_card(profile, n_images, device, folder, root, (model, block, neuron), seed, out,
                      numbers)
        return
    named = load_profile(profile, root)
    if model not in (entries := model_entries(named)):
        raise ValueError(f"unknown model {shown(model)}; accepted: {', '.join(entries)}")
    folder = results_folder(root, profile, results)
    _tell(tidy(root, folder))
    from neuronpath_core.explanations.card_store import CardSettings
    from neuronpath_core.runs.card import show_card
    from neuronpath_core.study.study import Study

    count = {} if n_images is None else {"n_images": n_images}
    settings = CardSettings(**count, seed=seed, steps=steps, paths=not no_paths,
                            others=not no_others)
    show_card(Study(profile, device, dtype, folder, root=root), model, block, neuron, settings,
              out, numbers)


@cli.command("types")
@click.option("--profile", required=True,
              help="A file of profiles/ whose models are of kind hub.")
@click.option("--model", "models", multiple=True,
              help="A model of the profile; repeatable.  [default: all]")
@click.option("--device", default="cpu", show_default=True)
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1),
              help="Captions at once.")
@_checked
def neuron_types(profile: str, models: tuple[str, ...], device: str, batch: int,
                 results: Path | None, check: bool) -> None:
    """Type the neurons of published vision-language models as visual, text, multi-modal or unknown;
    a stopped run goes on where it was."""
    root = _root()
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
