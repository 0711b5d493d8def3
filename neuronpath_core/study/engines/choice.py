"""Which engines there are and whether one can be used as asked for; loads neither pandas nor torch
nor Ray."""

from __future__ import annotations

import os

from neuronpath_core.study.engines.ray_cluster import check_cluster
from neuronpath_core.study.profiles import ENGINE_VARIABLE, WORKERS_VARIABLE
from neuronpath_core.support.text import is_one_of, shown

ENGINES = ("local", "ray")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class EngineError(RuntimeError):
    """Workers that die again and again."""


class EngineWarning(UserWarning):
    """A worker died and its part is done again, or no worker can be placed yet."""


def check(engine: str, workers: int | None = None, address: str | None = None,
          gpus_per_worker: int = 0, cpus_per_worker: int = 1) -> None:
    """Whether an engine can be used as asked for, found out in a moment and without starting
    anything.

    Raises:
        ValueError: unknown engine, ``workers`` or ``address`` for the local one, numbers of no
            meaning, Ray not installed, or no cluster at the address.
    """
    if not is_one_of(engine, ENGINES):
        raise ValueError(f"unknown engine {shown(engine)}; accepted: {', '.join(ENGINES)}")
    for name, value, least, most in (("workers", workers, 1, None),
                                     ("gpus_per_worker", gpus_per_worker, 0, 1),
                                     ("cpus_per_worker", cpus_per_worker, 1, None)):
        if name == "workers" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value,
                                                     int) or value < least or (most is not None
                                                                               and value > most):
            raise ValueError(f"{name} must be "
                             f"{'0 or 1' if most else f'a whole number of at least {least}'}, got "
                             f"{shown(value)}")
    if engine == "local":
        if workers is not None or address is not None:
            raise ValueError(f"engine 'local' takes no "
                             f"{'workers' if address is None else 'address'}: it is this process "
                             f"alone; accepted: engine 'ray'")
        return
    check_cluster(address)


def chosen_engine(engine: str | None = None, workers: int | None = None,
                  device: str = "cpu") -> tuple[str, dict]:
    """Who searches and with what, for :func:`~neuronpath_core.study.engines.run.run`: what is
    given, else what the environment names.

    Raises:
        ValueError: an engine that cannot be used like that; see
            :func:`check`.
    """
    if engine is None or isinstance(engine, str) and not engine:
        engine = os.environ.get(ENGINE_VARIABLE) or "local"
    if not is_one_of(engine, ENGINES):
        raise ValueError(f"unknown engine {shown(engine)}; accepted: {', '.join(ENGINES)}")
    said = os.environ.get(WORKERS_VARIABLE)
    if engine == "local":  # the variable is that of workers, some of whom it reaches
        options = {"workers": workers}
    elif workers is None and said and not (said.isdecimal() and int(said)):
        raise ValueError(f"{WORKERS_VARIABLE} cannot be {said!r}; accepted: a whole number of at "
                         f"least 1")
    else:
        options = {"workers": int(said) if workers is None and said else workers,
                   "gpus_per_worker": int(device.startswith("cuda"))}
    check(engine, **options)
    return engine, options
