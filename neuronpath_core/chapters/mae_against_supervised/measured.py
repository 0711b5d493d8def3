"""Where the knowledge neurons of models from several training seeds lie, read at either scope."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from neuronpath_core.chapters.knowledge_neurons.measured import knowledge_neurons
from neuronpath_core.images.image_set import ImageSet
from neuronpath_core.study.study import Study

SCOPES = ("cls", "patch")


def replicas(study: Study, model: str) -> list[str]:
    """A model of the profile and its replicas from other seeds of training."""
    return [model, *(name for name in study.variants(model) if name.startswith(f"{model} seed "))]


def knowledge_at_scopes(
    study: Study, kinds: Sequence[str], images: ImageSet, top: int = 5,
    quadrature: str = "gauss-legendre", steps: int = 4, scopes: Sequence[str] = SCOPES
) -> pd.DataFrame:
    """Knowledge neurons of every replica of every kind, read at every scope (Fig. 2, App. B).

    Args:
        kinds: models of the profile, each standing for its replicas.
        scopes: ``"cls"``, ``"patch"``.

    Returns:
        the columns of
        :func:`~neuronpath_core.chapters.knowledge_neurons.measured.knowledge_neurons`, and
        ``kind``, ``scope``, ``own`` (whether the model's neurons are read at that scope by
        default), ``blocks`` (their number).

    Raises:
        ValueError: an unknown model, or kinds of different depth, whose blocks cannot be compared
            one by one.
    """
    if len(depths := {study.target(kind).n_blocks for kind in study.check_models(list(kinds))}) > 1:
        raise ValueError(f"the models have {sorted(depths)} blocks; accepted: models of one depth")
    tables = []
    for kind in kinds:
        own = study.target(kind).scope
        for scope in scopes:
            found = knowledge_neurons(study, replicas(study, kind), images, top,
                                                  quadrature, steps, scope)
            tables.append(found.assign(kind=kind, scope=scope, own=scope == own,
                                       blocks=study.target(kind).n_blocks))
    return pd.concat(tables, ignore_index=True)


def mean_shares(table: pd.DataFrame) -> pd.DataFrame:
    """Share of each model's knowledge neurons in each block, over all images.

    Args:
        table: of :func:`knowledge_at_scopes`, with a column ``data``.

    Returns:
        ``data, kind, scope, own, model, block, value``; the blocks of a model sum to one.
    """
    keys, parts = ["data", "kind", "scope", "own", "model"], []
    for names, group in table.groupby(keys, sort=False):
        blocks = int(group["blocks"].iloc[0])
        value = np.bincount(group["block"] - 1, minlength=blocks) / len(group)
        parts.append(pd.DataFrame(dict(zip(keys, names, strict=True))
                                  | {"block": np.arange(1, blocks + 1), "value": value}))
    return pd.concat(parts, ignore_index=True)
