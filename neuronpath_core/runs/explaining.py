"""The commands that explain: pictures, and a single neuron."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

# what takes seconds to load is imported inside commands: help and refusals come at once
from neuronpath_core.runs.leftovers import tidy
from neuronpath_core.runs.options import places, tell
from neuronpath_core.study.profiles import (
    DEFAULT_PROFILE,
    load_profile,
    model_entries,
    project_root,
    results_folder,
)
from neuronpath_core.study.vlm_profiles import is_vlm_profile
from neuronpath_core.support.environment import WEIGHTS_VARIABLE, environment
from neuronpath_core.support.text import shown


@click.command()
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


@click.command()
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
@places
def card(model, block, neuron, profile, n_images, seed, steps, no_paths, no_others, out, numbers,
         results, device, dtype) -> None:
    """The card of one neuron of a profile's MODEL: what it reads, writes, means and does.  BLOCK
    counts from 1 and NEURON from 0, as on the pages of the book; as sentences here, a page in a
    folder."""
    root = project_root()
    if is_vlm_profile(profile, root):
        _check_unused("steps", "no_paths", "no_others", "dtype")
        folder = results_folder(root, profile, results)
        tell(tidy(root, folder))
        from neuronpath_core.runs.card import show_vlm_card

        show_vlm_card(profile, n_images, device, folder, root, (model, block, neuron), seed, out,
                      numbers)
        return
    named = load_profile(profile, root)
    if model not in (entries := model_entries(named)):
        raise ValueError(f"unknown model {shown(model)}; accepted: {', '.join(entries)}")
    folder = results_folder(root, profile, results)
    tell(tidy(root, folder))
    from neuronpath_core.explanations.card_store import CardSettings
    from neuronpath_core.runs.card import show_card
    from neuronpath_core.study.study import Study

    count = {} if n_images is None else {"n_images": n_images}
    settings = CardSettings(**count, seed=seed, steps=steps, paths=not no_paths,
                            others=not no_others)
    show_card(Study(profile, device, dtype, folder, root=root), model, block, neuron, settings,
              out, numbers)


def _check_unused(*names: str) -> None:
    """Raise ``ValueError`` for an option that was typed and that a vision-language model lacks."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise ValueError(f"--{name.replace('_', '-')} is of classifiers alone; accepted: none "
                             "for a profile of vision-language models")
