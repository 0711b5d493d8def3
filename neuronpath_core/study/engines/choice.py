"""Which engines there are and whether one can be used as asked for; loads neither pandas nor torch
nor Ray."""

from __future__ import annotations

from neuronpath_core.study.engines.ray_cluster import check_cluster

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
    if engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r}; accepted: {', '.join(ENGINES)}")
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
                             f"{value!r}")
    if engine == "local":
        if workers is not None or address is not None:
            raise ValueError(f"engine 'local' takes no "
                             f"{'workers' if address is None else 'address'}: it is this process "
                             f"alone; accepted: engine 'ray'")
        return
    check_cluster(address)
