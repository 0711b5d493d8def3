"""Where the parts of a long computation are done: in this process, or by the workers of a Ray
cluster.

An engine takes ``make_worker``, a picklable callable without arguments that returns
``work(part) -> DataFrame``, and ``parts``, the ranges to be done; it yields ``(part, table)`` as
parts are finished, in any order, each exactly once.  Only the process that iterates writes
anything.

On a named cluster this process runs on one of its machines (``ray start --address=HEAD:6379`` makes
any machine one), and every machine has what this one has: the versions of ``SAME_EVERYWHERE`` in
:mod:`neuronpath_core.study.engines.ray_worker` and the package's source, which is checked; images
and weights under the same paths. Workers get the ``NEURONPATH_`` variables and, where they exist
there, the working folder and import path of this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd

from neuronpath_core.study.engines.choice import check
from neuronpath_core.study.engines.ray_cluster import cluster
from neuronpath_core.study.engines.spread import Spread, Work, needs


def local(make_worker: Callable[[], Work],
          parts: Sequence[range]) -> Iterator[tuple[range, pd.DataFrame]]:
    """The parts one after the other in this process; the worker is built when the first is asked
    for, and what it raises is raised."""
    work = None
    for part in parts:
        work = work or make_worker()
        yield part, work(part)


def run(engine: str, make_worker: Callable[[], Work], parts: Sequence[range],
        **options) -> Iterator[tuple[range, pd.DataFrame]]:
    """The parts by one of ``ENGINES``; ``options`` are those of :func:`on_ray`, and errors those of
    :func:`~neuronpath_core.study.engines.choice.check` and of the engine."""
    check(engine, **options)
    return local(make_worker, parts) if engine == "local" else on_ray(make_worker, parts, **options)


def on_ray(
    make_worker: Callable[[], Work],
    parts: Sequence[range],
    workers: int | None = None,
    address: str | None = None,
    gpus_per_worker: int = 0,
    cpus_per_worker: int = 1,
) -> Iterator[tuple[range, pd.DataFrame]]:
    """The parts by workers of a Ray cluster, each a process that builds its own worker once and has
    at most ``spread.IN_FLIGHT`` parts at a time.

    A worker that dies is replaced and what it had is done again, with one ``EngineWarning`` for
    each death.  A part that kills its worker ``spread.ATTEMPTS`` times in a row is left out, the
    others are done, and then an error names it.  What the work itself raises is raised here as it
    is, and not tried again.  Warnings of the work are issued here.  When the iteration ends,
    however it ends, the workers end with it.

    Args:
        make_worker: picklable; what it refers to by name must be importable on the workers.
        parts: ranges, or whatever the work understands.
        workers: how many; by default as many as the cluster has room for.  Never more than there
            are parts.
        address: of a cluster, see :func:`~neuronpath_core.study.engines.ray_cluster.cluster`.
        gpus_per_worker: 1 if the work is done on ``"cuda"``, of which each worker sees its own
            alone; else 0.
        cpus_per_worker: cores of a worker and threads of its libraries.

    Raises:
        ValueError: as :func:`~neuronpath_core.study.engines.choice.check`; a cluster that cannot be
            used or has no room for so many workers; a machine with other versions than this one.
        EngineError: (a ``RuntimeError``) a part that kills its workers, or workers that die before
            they have done anything.
    """
    check("ray", workers, address, gpus_per_worker, cpus_per_worker)
    parts = list(parts)

    def results() -> Iterator[tuple[range, pd.DataFrame]]:
        if parts:
            with cluster(address) as ray:
                most = _room(ray.cluster_resources(), gpus_per_worker, cpus_per_worker)
                if workers is not None and workers > most or not most:
                    less = "a larger cluster or less for each worker"
                    fits = f"1..{most} workers" if most else less
                    raise ValueError(f"the Ray cluster has room for {most} workers with "
                                     f"{needs(gpus_per_worker, cpus_per_worker)} each, not for "
                                     f"{workers or 'any'}; accepted: {fits}")
                spread = Spread(ray, make_worker, parts, gpus_per_worker, cpus_per_worker)
                yield from spread.results(min(workers or most, len(parts)))

    return results()


def _room(resources: Mapping[str, float], gpus: int, cpus: int) -> int:
    """How many workers a cluster has room for, as if it were one machine."""
    by_cores = int(resources.get("CPU", 0)) // cpus
    return min(by_cores, int(resources.get("GPU", 0))) if gpus else by_cores
