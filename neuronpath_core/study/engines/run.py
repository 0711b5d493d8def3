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

import os
import pickle
import sys
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pandas as pd

from neuronpath_core.study.engines.ray_cluster import check_cluster, cluster
from neuronpath_core.study.engines.ray_worker import definitions
from neuronpath_core.support.text import one_line

Work = Callable[[range], pd.DataFrame]

ENGINES = ("local", "ray")
# how often a part may kill its worker, and how many parts may do so, before nothing more is tried
ATTEMPTS = 3
IN_FLIGHT = 2  # parts that a worker has at once: the next one is there when it has finished one
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PATIENCE = 30.0  # seconds without any worker placed after which a warning says what is waited for


class EngineError(RuntimeError):
    """Workers that die again and again."""


class EngineWarning(UserWarning):
    """A worker died and its part is done again, or no worker can be placed yet."""


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
    :func:`check` and of the engine."""
    check(engine, **options)
    return local(make_worker, parts) if engine == "local" else on_ray(make_worker, parts, **options)


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


def on_ray(
    make_worker: Callable[[], Work],
    parts: Sequence[range],
    workers: int | None = None,
    address: str | None = None,
    gpus_per_worker: int = 0,
    cpus_per_worker: int = 1,
) -> Iterator[tuple[range, pd.DataFrame]]:
    """The parts by workers of a Ray cluster, each a process that builds its own worker once and has
    at most ``IN_FLIGHT`` parts at a time.

    A worker that dies is replaced and what it had is done again, with one :class:`EngineWarning`
    for each death.  A part that kills its worker ``ATTEMPTS`` times in a row is left out, the
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
        ValueError: as :func:`check`; a cluster that cannot be used or has no room for so many
            workers; a machine with other versions than this one.
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
                                     f"{_needs(gpus_per_worker, cpus_per_worker)} each, not for "
                                     f"{workers or 'any'}; accepted: {fits}")
                yield from _spread(ray, make_worker, parts, min(workers or most, len(parts)),
                                   gpus_per_worker, cpus_per_worker)

    return results()


def _room(resources: Mapping[str, float], gpus: int, cpus: int) -> int:
    """How many workers a cluster has room for, as if it were one machine."""
    by_cores = int(resources.get("CPU", 0)) // cpus
    return min(by_cores, int(resources.get("GPU", 0))) if gpus else by_cores


def _needs(gpus: int, cpus: int) -> str:
    return f"{'a GPU and ' if gpus else ''}{cpus} CPU{'s' if cpus > 1 else ''}"


def _name(part: object) -> str:
    return f"part {part.start}..{part.stop - 1}" if isinstance(part, range) else f"part {part!r}"


@dataclass
class _Worker:
    """An actor and the calls it has not answered yet, in the order in which it answers them:
    ``(reference, index of the part or what else it is)``."""

    number: int
    actor: object
    name: str = "worker"
    ready: bool = False
    calls: deque[tuple[object, int | str]] = field(default_factory=deque)


def _spread(ray: ModuleType, make_worker: Callable[[], Work], parts: list, count: int, gpus: int,
            cpus: int) -> Iterator[tuple[range, pd.DataFrame]]:
    """The parts by ``count`` actors; all that is known about them is kept here, so that a lost
    machine takes nothing along."""
    try:
        pickled = ray.put(ray.cloudpickle.dumps(make_worker))
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise ValueError(f"make_worker cannot be sent to workers: {one_line(error)}; accepted: "
                         f"what pickle accepts") from error
    versions, definition = definitions()
    here, variables = versions(), {name: str(cpus) for name in THREAD_VARIABLES} | {
        name: value for name, value in os.environ.items() if name.startswith("NEURONPATH_")}
    actor_class = ray.remote(definition).options(num_cpus=cpus, num_gpus=gpus, max_restarts=0,
                                                 runtime_env={"env_vars": variables})
    pending, deaths, lethal = deque(range(len(parts))), Counter(), []

    def hired(number: int) -> _Worker:
        worker = _Worker(number, actor_class.remote())
        # where this package lies too: a folder of its name in the working folder would hide one
        # that is installed in editable mode
        worker.calls.append((worker.actor.hello.remote(os.getcwd(),
                                                       [*sys.path, str(Path(__file__).parents[3])]),
                             "hello"))
        return worker

    def answered(worker: _Worker, reply: tuple) -> bytes:
        """What the call returned; what it raised or warned of is raised or warned of here."""
        kind, value, warned = reply
        for message in pickle.loads(warned):
            warnings.warn(message, stacklevel=4)
        if kind == "raised":
            error, where = pickle.loads(value)
            raise error from where
        return value

    def died(worker: _Worker, error: Exception) -> None:
        """Take back what the dead worker had, blame the part that it was doing, and hire another if
        there is something left to do."""
        had = worker.calls[0][1]
        blamed = had if isinstance(had, int) else f"start {worker.number}"
        deaths[blamed] += 1
        pending.extendleft(reversed([call for _, call in worker.calls if isinstance(call, int)]))
        with suppress(Exception):  # it may live on behind a broken connection
            ray.kill(worker.actor)
        doing = f"while it did {_name(parts[had])}" if isinstance(had,
                                                                  int) else "before it was ready"
        warnings.warn(f"{worker.name} died {doing}{_reason(ray, error)}, attempt {deaths[blamed]} "
                      f"of {ATTEMPTS}", EngineWarning, stacklevel=4)
        if deaths[blamed] == ATTEMPTS:
            if blamed != had:
                raise EngineError(f"a worker died {ATTEMPTS} times in a row before it was "
                                  f"ready{_reason(ray, error)}; "
                                   "accepted: workers that their machine has memory for")
            pending.remove(had)
            lethal.append(had)
        # also of a worker that was still at something when that number was reached
        if len(lethal) >= ATTEMPTS:
            pending.clear()
        pool.remove(worker)
        if pending:
            pool.append(hired(worker.number))

    pool: list[_Worker] = []
    try:
        pool += [hired(number) for number in range(count)]
        told = False
        while pending or any(isinstance(call, int) for worker in pool for _, call in worker.calls):
            for _ in range(IN_FLIGHT):  # one to each in turn
                for worker in pool:
                    if worker.ready and pending and len(worker.calls) < IN_FLIGHT:
                        index = pending.popleft()
                        worker.calls.append((worker.actor.do.remote(parts[index]), index))
            heads = {worker.calls[0][0]: worker for worker in pool if worker.calls}
            unplaced = all(worker.calls and worker.calls[0][1] == "hello" for worker in pool)
            finished, _ = ray.wait(list(heads), timeout=PATIENCE if unplaced and not told else None)
            if not finished:
                told = True
                warnings.warn(f"no worker has started for {PATIENCE:.0f} s: waiting until the Ray "
                              f"cluster has {_needs(gpus, cpus)} free",
                              EngineWarning, stacklevel=3)
            for worker in [heads[each] for each in finished]:
                try:
                    reply = ray.get(worker.calls[0][0])
                except ray.exceptions.RayError as error:
                    died(worker, error)
                    continue
                _, call = worker.calls.popleft()
                if call == "hello":
                    host, process, there = reply
                    worker.name = f"worker {worker.number} (process {process} on {host})"
                    if different := [name for name in here | there if here.get(name)
                                     != there.get(name)]:
                        raise ValueError(f"{worker.name} has {_list(there, different)}, this "
                                         f"process has {_list(here, different)}; "
                                         "accepted: the same on every machine")
                    worker.calls.append((worker.actor.build.remote(pickled, cpus), "build"))
                elif call == "build":
                    answered(worker, reply)
                    worker.ready = True
                    deaths[f"start {worker.number}"] = 0
                else:
                    yield parts[call], pickle.loads(answered(worker, reply))
        if lethal:
            names = ", ".join(_name(parts[index]) for index in lethal)
            rest = "nothing more was tried" if len(
                lethal) >= ATTEMPTS else "all other parts are done"
            raise EngineError(f"{names} killed {'its' if len(lethal) == 1 else 'their'} worker "
                              f"{ATTEMPTS} times in a row; {rest}; "
                               "accepted: parts that the machine has memory for")
    finally:
        for worker in pool:
            with suppress(Exception):
                ray.kill(worker.actor)


def _reason(ray: ModuleType, error: Exception) -> str:
    """What Ray knows about a death, if it is more than that the process is gone."""
    if isinstance(error, ray.exceptions.ActorDiedError):
        return " (its machine ran low on memory)" if "low on memory" in str(error) else ""
    return f" ({one_line(error)})"


def _list(versions: Mapping[str, str], names: list[str]) -> str:
    return ", ".join(f"{name} {versions.get(name, 'nowhere')}" for name in names)
