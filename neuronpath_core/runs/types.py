"""``neuronpath types``: the types of the neurons of published vision-language models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import pandas as pd

from neuronpath_core.study.hub_models import hub_types, load_hub_model
from neuronpath_core.study.hub_profiles import (
    cost,
    device_rate,
    hub_problems,
    read_captions,
)
from neuronpath_core.study.hub_schema import is_hub
from neuronpath_core.study.vlm_profiles import load_vlm_profile
from neuronpath_core.support.files import write_atomically
from neuronpath_core.support.typed import listed
from neuronpath_core.vlm.modality import TYPES, confident, layer_profile, top_places, type_shares
from neuronpath_core.vlm.running_types import RunningTypes


def types(root: Path, folder: Path, profile: str, models: Sequence[str], device: str, batch: int,
          check: bool) -> None:
    """Type the neurons of a profile's models, or only say what is missing and what it would cost.

    Raises:
        ValueError: a profile of another kind, an unknown model, something that is missing, and what
            loading and typing refuse.
    """
    entries = load_vlm_profile(profile, root)
    if not is_hub(entries):
        raise ValueError(f"profile {profile!r} is not of published models; accepted: one whose "
                         "models are of kind hub; chapters run on the others")
    if unknown := [name for name in models if name not in entries["models"]]:
        raise ValueError(f"unknown model {unknown[0]!r}; accepted: {listed(entries['models'])}")
    names = list(models) or list(entries["models"])
    found = list(hub_problems(entries, names))
    if check:
        _tell(entries, names, found, device, batch)
    if found:
        raise ValueError(found[0] if not check else f"{len(found)} of the things that this run "
                         "needs are missing or wrong; accepted: what the lines above name")
    if check:
        click.echo("nothing is missing")
        return
    pairs = read_captions(entries["dataset"])
    for name in names:
        spec = entries["models"][name]
        model = load_hub_model(name, spec, device)
        found_types = hub_types(name, spec, entries["dataset"], pairs, model, folder, batch,
                                tell=lambda line, name=name: click.echo(f"{name}: {line}"))
        written = write_types(folder, name, found_types)
        click.echo(f"{name}: {summary(found_types)}; every neuron in {written.name}")


def _tell(entries: dict, names: Sequence[str], found: Sequence[str], device: str, batch: int
          ) -> None:
    for problem in found:
        click.echo(f"missing or wrong: {problem}")
    for name in names:
        spec = entries["models"][name]
        rate = device_rate(device, spec["dtype"])
        takes = cost(spec, entries["dataset"]["samples"], rate, batch)
        click.echo(f"{name}: {spec['layers'] * spec['neurons']:,} neurons; "
                   f"{takes.memory / 1e9:.1f} GB of memory on {device}, {takes.disk / 1e9:.2f} GB "
                   f"on disk, {takes.seconds / 3600:,.1f} hours at {rate / 1e12:.2f} TFLOP/s, "
                   f"{entries['dataset']['samples']:,} captions passed twice")


def summary(found: RunningTypes) -> str:
    """Shares of the types in one line: by the most probable, and surer than 0.8."""
    live = max(1, int((found.maxima > 0).sum()))
    shares = type_shares(found.p)
    shares[found.maxima <= 0] = 0
    sure = confident(found.p)
    return ", ".join(f"{kind} {100 * share:.1f} % (p above 0.8: {100 * above:.1f} %)"
                     for kind, share, above in zip(TYPES, shares.sum(0) / live, sure, strict=True))


def write_types(folder: Path, name: str, found: RunningTypes) -> Path:
    """A row for each neuron, ``layer, neuron, maximum`` and the probabilities of the types, as CSV
    in ``folder``; beside it where the surest 3 % of each type lie."""
    layers = found.layers
    first = np.searchsorted(layers, layers)
    table = pd.DataFrame({"layer": layers, "neuron": range(len(layers)), "maximum": found.maxima,
                          **dict(zip(TYPES, found.p.T, strict=True))})
    table["neuron"] -= first
    profile = pd.DataFrame({"layer": range(int(layers.max()) + 1),
                            **{kind: layer_profile(top_places(found.p[:, place]), layers)
                               for place, kind in enumerate(TYPES)}})
    file = folder / f"{name}.types.csv"
    for path, rows in ((file, table), (folder / f"{name}.layers.csv", profile)):
        write_atomically(path, lambda temporary, rows=rows: rows.to_csv(
            temporary, index=False, float_format="%.6g"))
    return file
