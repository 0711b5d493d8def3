"""Who searches for paths: what a command says, else what the environment names."""

from __future__ import annotations

import os

from neuronpath_core.study.engines.choice import check as check_engine
from neuronpath_core.study.profiles import ENGINE_VARIABLE, WORKERS_VARIABLE


def chosen_engine(engine: str | None = None, workers: int | None = None,
                  device: str = "cpu") -> tuple[str, dict]:
    """Who searches and with what, for :func:`~neuronpath_core.study.engines.run.run`: what is
    given, else what the environment names.

    Raises:
        ValueError: an engine that cannot be used like that; see
            :func:`~neuronpath_core.study.engines.choice.check`.
    """
    engine = engine or os.environ.get(ENGINE_VARIABLE) or "local"
    said = os.environ.get(WORKERS_VARIABLE)
    if engine == "local":  # the variable is that of workers, some of whom it reaches
        options = {"workers": workers}
    elif workers is None and said and not (said.isdecimal() and int(said)):
        raise ValueError(f"{WORKERS_VARIABLE} cannot be {said!r}; accepted: a whole number of at "
                         f"least 1")
    else:
        options = {"workers": int(said) if workers is None and said else workers,
                   "gpus_per_worker": int(device.startswith("cuda"))}
    check_engine(engine, **options)
    return engine, options
