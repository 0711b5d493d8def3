"""What the commands of this folder check alike."""

from __future__ import annotations

import click

from neuronpath_core.models.build import parse_device


def device_there(_context: click.Context, _option: click.Parameter, name: str) -> str:
    """The name of a device that this machine has."""
    try:
        parse_device(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return name
