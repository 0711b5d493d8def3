"""From a profile's model entry to the model whose neurons are looked at."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from neuronpath_core.models import build
from neuronpath_core.target import TargetModel
from neuronpath_core.variants.sites import SiteModel


def as_target(model: nn.Module, spec: Mapping) -> TargetModel:
    """A model seen as its profile entry says: ``scope`` and, where neurons are not those of the
    FFN, ``sites`` of :class:`~neuronpath_core.variants.sites.SiteModel`."""
    scope = spec.get("scope", "auto")
    return SiteModel(model, scope, spec["sites"]) if "sites" in spec else TargetModel(model, scope)


def outline(spec: Mapping) -> TargetModel:
    """A model entry without its weights, on no device: what it is made of, in no time and no
    memory."""
    with torch.device("meta"):
        return as_target(build.build_model(spec), spec)
