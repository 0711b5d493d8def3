"""The path explorer: a picture, a network and a method, and every neuron of the path on, off or
doubled.

On a page the network itself runs, in the page's own script, from weights of 14 bits; in Jupyter a
widget asks the library.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neuronpath_core.edits import scaled
from neuronpath_core.figures.explore.explored import (
    ExploredPath,
    Network,
    Picture,
    View,
    check_explored,
    methods_of,
)
from neuronpath_core.figures.explore.page import explorer_html, png, show, table
from neuronpath_core.figures.explore.weights import packed, packed_rows
from neuronpath_core.hooks import read_activations
from neuronpath_core.stats.labels import method_labels
from neuronpath_core.target import TargetModel

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

FACTORS = {"on": 1.0, "off": 0.0, "×2": 2.0}
SCRIPTS = ("vit.js", "page.js", "paths.js")
# methods whose whole paths are set beside one another for every picture
COMPARED = ("neuron_path", "conditional_gradient", "gradient_activation", "random")


def page_data(networks: Mapping[str, Network],
              pictures: Sequence[Picture]) -> tuple[dict[str, Any], dict[str, str]]:
    """What the page's script reads, and the networks' weights by key."""
    texts, known = {}, {}
    for key, network in networks.items():
        settings, texts[key] = packed(network.target)
        known[key] = {"name": network.name, "classes": list(network.classes), "settings": settings}

    def view(seen: View) -> dict[str, Any]:
        return {"paths": {method: {"neurons": path.neurons.tolist(),
                                   "attribution": [round(float(value), 5)
                                                   for value in path.attribution]}
                          for method, path in seen.paths.items()}}

    shown = []
    for picture in pictures:
        values = picture.values.cpu().double().numpy().reshape(1, -1)
        largest = float(np.abs(values).max()) or 1.0
        shown.append({"name": picture.name, "label": picture.label, "image": png(picture.pixels),
                      "values": packed_rows(values, largest), "largest": largest,
                      "views": {key: view(seen) for key, seen in picture.views.items()}})
    methods, labels = methods_of(pictures), method_labels()
    compared = [labels[key] for key in COMPARED if labels.get(key) in methods]
    return {"networks": known, "pictures": shown, "compared": compared,
            "methods": [[method, method] for method in methods]}, texts


def path_svg(neurons: Sequence[int], factors: Sequence[float], most: int, width: int = 300,
             height: int = 90) -> str:
    """A path as a line through the blocks, with what is done to each neuron: a full circle is on, a
    crossed one off, a large one doubled."""
    across = (width - 20) / len(neurons)
    points = [(10 + (block + 0.5) * across, 10 + (height - 20) * neuron / max(1, most - 1))
              for block, neuron in enumerate(neurons)]
    line = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
    marks = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="{7 if factor > 1 else 4}" stroke="currentColor" '
        f'fill="{"currentColor" if factor else "none"}"/>'
        + (f'<path d="M{x - 3:.0f} {y - 3:.0f}l6 6m0-6l-6 6" stroke="currentColor"/>'
           if not factor else "")
        for (x, y), factor in zip(points, factors, strict=True))
    words = html.escape(", ".join(f"block {block + 1} neuron {neuron}"
                                  for block, neuron in enumerate(neurons)))
    return (f'<svg role="img" aria-label="{words}" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" style="max-width:100%"><polyline points="{line}" '
            f'fill="none" stroke="currentColor" stroke-width="1.5"/>{marks}</svg>')


def _small_figure(network: Network, picture: Picture, method: str, path: ExploredPath) -> str:
    line = path_svg(path.neurons.tolist(), [1.0] * len(path.neurons), network.target.n_neurons)
    words = html.escape(f"{picture.name}: {method}, {network.name}")
    return (f'<figure style="display:inline-block;margin:0 1em 1em 0"><img '
            f'src="{png(picture.pixels)}" alt="{html.escape(picture.name)}" width="48" '
            f'height="48">{line}<figcaption>{words}</figcaption></figure>')


def static_view(networks: Mapping[str, Network], pictures: Sequence[Picture]) -> str:
    """What a page says without a script: every picture with its neuron path, and what removing and
    doubling each method's path does to the true class."""
    method = methods_of(pictures)[0]
    small = "".join(_small_figure(networks[key], each, method, view.paths[method])
                    for each in pictures for key, view in list(each.views.items())[:1])
    rows = [[each.name, networks[key].name, method, f"{view.clean[each.label]:.3f}",
             f"{path.removed[each.label]:.3f}", f"{path.doubled[each.label]:.3f}"]
            for each in pictures for key, view in each.views.items()
            for method, path in view.paths.items()]
    return small + table("Probability of the true class with each whole path removed and doubled",
                         ["Picture", "Network", "Path found by", "Untouched", "Removed", "Doubled"],
                         rows)


def path_explorer_html(networks: Mapping[str, Network], pictures: Sequence[Picture], key: str,
                       on_page: Sequence[str] | None = None) -> str:
    """The path explorer of a page.

    Args:
        networks: by key, as the pictures' views name them.
        pictures: in the order in which they are offered.
        key: identifier on the page; letters, digits and hyphens.
        on_page: keys of the networks whose weights are written into the page, about 480 kB each for
            200,000 of them; ``None`` for all.

    Raises:
        ValueError: nothing to explore, a network that a page cannot run or that is not there, or a
            key that a page cannot use.
    """
    wanted = list(networks) if on_page is None else on_page
    networks = {key: network for key, network in networks.items() if key in wanted}
    pictures = [replace(picture, views={key: view for key, view in picture.views.items()
                                        if key in wanted}) for picture in pictures]
    check_explored(networks, pictures)
    data, weights = page_data(networks, pictures)
    return explorer_html(key, "startPathExplorer", SCRIPTS, data, static_view(networks, pictures),
                         "Whole paths removed and doubled, as a table", weights)


@torch.no_grad()
def edited_state(target: TargetModel, values: Float[torch.Tensor, "channel height width"],
                 neurons: Int64[np.ndarray, "layer"], factors: Float[np.ndarray, "layer"]
                 ) -> tuple[Float[np.ndarray, "class"], Float[np.ndarray, "layer"]]:
    """Class probabilities with each neuron of a path multiplied by its own factor, and the neurons'
    activations then, means over the tokens of the scope."""
    every = torch.ones(1, target.n_blocks, target.n_neurons, dtype=target.dtype,
                       device=target.device)
    every[0, torch.arange(target.n_blocks), torch.as_tensor(neurons)] = torch.as_tensor(
        factors, dtype=target.dtype, device=target.device)
    image = values[None].to(dtype=target.dtype, device=target.device)
    with scaled(target, every):
        probabilities = target(image).softmax(-1)[0]
        activations = read_activations(target, image)[0].mean(1)
    own = activations[torch.arange(target.n_blocks), torch.as_tensor(neurons)]
    return probabilities.cpu().double().numpy(), own.cpu().double().numpy()


def state_html(network: Network, picture: Picture, key: str, method: str,
               factors: Sequence[float]) -> str:
    """What the widget shows of a state: the picture, the path, its neurons, and the probabilities
    of the classes before and after."""
    view = picture.views[key]
    path = view.paths[method]
    now, activations = edited_state(network.target, picture.values, path.neurons,
                                    np.array(factors))
    neurons = "".join(
        f"<tr><td>{block + 1}</td><td>{neuron}</td><td>{activations[block]:+.2f}</td>"
        f"<td>{path.attribution[block]:+.3f}</td></tr>"
        for block, neuron in enumerate(path.neurons.tolist()))
    classes = "".join(
        f"<tr><td>{html.escape(name)}{' <b>(true)</b>' if index == picture.label else ''}</td><td>"
        f'<meter min="0" max="1" value="{after:.4f}"></meter></td><td>{after:.3f}</td>'
        f"<td>{before:.3f}</td></tr>"
        for index, (name, before, after) in enumerate(zip(network.classes, view.clean, now,
                                                          strict=True)))
    return (f'<img src="{png(picture.pixels)}" alt="{html.escape(picture.name)}" width="96" '
            f'style="image-rendering:pixelated">'
            f"{path_svg(path.neurons.tolist(), factors, network.target.n_neurons, 480, 140)}"
            f'<div style="display:flex;gap:2em"><table><tr><th>block</th><th>neuron</th>'
            f"<th>activation</th><th>attribution</th></tr>{neurons}</table><table><tr><th>class"
            f"</th><th></th><th>now</th><th>before</th></tr>{classes}</table></div>")


def path_explorer_widget(networks: Mapping[str, Network], pictures: Sequence[Picture]):
    """The path explorer of Jupyter: every change runs the network through the library."""
    import ipywidgets

    choice = ipywidgets.Dropdown(options=[(each.name, index)
                                          for index, each in enumerate(pictures)],
                                 description="picture")
    model = ipywidgets.Dropdown(description="network")
    method = ipywidgets.Dropdown(options=methods_of(pictures), description="path by")
    layers = max(network.target.n_blocks for network in networks.values())
    switches = [ipywidgets.Dropdown(options=list(FACTORS), description=f"block {block + 1}",
                                    layout={"width": "10em"}) for block in range(layers)]
    shown = ipywidgets.HTML()

    def offer(_change=None) -> None:
        views = pictures[choice.value].views
        model.options = [(networks[key].name, key) for key in views]
        model.index = 0
        show_state()

    def show_state(_change=None) -> None:
        key = model.value
        if key not in pictures[choice.value].views:
            return  # between two choices
        count = networks[key].target.n_blocks
        factors = [FACTORS[switch.value] for switch in switches[:count]]
        shown.value = state_html(networks[key], pictures[choice.value], key, method.value, factors)

    choice.observe(offer, "value")
    for control in (model, method, *switches):
        control.observe(show_state, "value")
    offer()
    return ipywidgets.VBox([choice, model, method,
                            ipywidgets.HBox(switches, layout={"flex_flow": "row wrap"}), shown])


def explore_paths(networks: Mapping[str, Network], pictures: Sequence[Picture], key: str,
                  on_page: Sequence[str] | None = None) -> None:
    """Display the path explorer, in Jupyter of all networks; see `path_explorer_html` for
    arguments and errors."""
    markup = path_explorer_html(networks, pictures, key, on_page)
    check_explored(networks, pictures)
    show(f"an explorer of the paths of {len(pictures)} pictures", markup,
         path_explorer_widget(networks, pictures))
