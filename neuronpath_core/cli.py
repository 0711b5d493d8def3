"""The ``neuronpath`` command."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import yaml

from neuronpath_core.notebooks import NotebookError, execute, plan, store_outputs
from neuronpath_core.study import DEFAULT_PROFILE, Study, project_root, results_folder


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="neuronpath-core")
def cli() -> None:
    """Find, check and use influential neuron paths in vision Transformers."""


def _parameter(_context, _option, pairs: tuple[tuple[str, str], ...]) -> dict:
    try:
        return {name: yaml.safe_load(value) for name, value in pairs}
    except yaml.YAMLError as error:
        raise ValueError(f"a parameter's value must be YAML (a number, a word, a list): {' '.join(str(error).split())[:200]}") from error


@cli.command()
@click.argument("notebooks", nargs=-1)
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True, help="A file of profiles/.")
@click.option("-p", "--parameter", "parameters", type=(str, str), multiple=True, metavar="NAME VALUE", callback=_parameter,
              help="Override a notebook parameter; repeatable.")
@click.option("--results", type=click.Path(path_type=Path), help="Where results go.  [default: results/<profile>]")
@click.option("--force", is_flag=True, help="Run notebooks again even if nothing has changed since their last run.")
@click.option("--store", is_flag=True, help="Also put the outputs into notebooks/: they become the reference that nbval checks against.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def run(notebooks: tuple[str, ...], profile: str, parameters: dict, results: Path | None, force: bool, store: bool, quiet: bool) -> None:
    """Execute NOTEBOOKS (02, 02_table1, …; all by default) with a profile's parameters."""
    root = project_root()
    folder = results_folder(root, profile, results)
    runs = plan(root, profile, list(notebooks), parameters, folder, store)
    for each in runs:
        if each.is_current and not force:
            click.echo(f"{each.notebook}: nothing has changed since its last run, kept")
        else:
            execute(root, each, folder, progress=not quiet)
        if store:
            store_outputs(root, each)
    click.echo(f"executed notebooks are in {folder / 'notebooks'}")


@cli.command()
@click.option("--model", "models", multiple=True, help="A model of the profile; repeatable.  [default: all]")
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True, help="A file of profiles/.")
@click.option("--method", default="neuron_path", show_default=True)
@click.option("--search", default="joint", show_default=True)
@click.option("--context", default="auto", show_default=True, help="auto, full, frozen or mixed.")
@click.option("--quadrature", default="gauss-legendre", show_default=True)
@click.option("--steps", help="Of the rule, or auto.  [default: 20, of gauss-legendre 3 or 4]")
@click.option("--nodes", type=int, help="Evaluate the rule at so many places only.  [default: all]")
@click.option("--top", type=int, help="Neurons per block.  [default: one]")
@click.option("--n-images", default=100, show_default=True, help="Held-out images, spread evenly over the classes.")
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--dtype", default="float64", show_default=True)
@click.option("--memory-budget", help="At most this much at once, such as 6GB.  [default: by the device]")
@click.option("--results", type=click.Path(path_type=Path), help="Where results go.  [default: results/<profile>]")
def paths(models, profile, n_images, device, dtype, results, memory_budget, **settings) -> None:
    """Find paths and store them; found once, they are used again by every notebook with the same settings."""
    study = Study(profile, device, dtype, results, progress=True, memory_budget=memory_budget)
    settings["steps"] = int(settings["steps"]) if (settings["steps"] or "").isdecimal() else settings["steps"]
    images = study.images(n_images, settings["seed"])
    for model in study.check_models(list(models) or study.model_names):
        found = study.paths(model, images, **settings)
        click.echo(f"{model} {settings['method']}: {len(found)} paths, mean joint attribution score {found.score.mean():.4f}")
    click.echo(f"path tables are in {study.results_folder / 'paths'}")


def main() -> None:
    """Entry point: every foreseen error is one line on standard error and exit status 2; a failed notebook's is 1."""
    try:
        sys.exit(cli.main(sys.argv[1:] or ["--help"], standalone_mode=False))
    except click.ClickException as error:
        message, status = error.format_message(), 2
        if isinstance(error, click.UsageError) and error.ctx and error.ctx.command is cli:
            message += f" accepted: {', '.join(cli.commands)}"
    except ValueError as error:
        message, status = str(error), 2
    except NotebookError as error:
        message, status = str(error), 1
    except (KeyboardInterrupt, click.Abort):
        message, status = "stopped; finished notebooks and path tables are kept", 130
    click.echo(f"neuronpath: {' '.join(message.split())}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
