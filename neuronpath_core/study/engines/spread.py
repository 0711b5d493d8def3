"""Parts of a computation spread over the actors of a Ray cluster, and done again when one dies."""

from __future__ import annotations

import os
import pickle
import sys
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pandas as pd

from neuronpath_core.study.engines.choice import THREAD_VARIABLES, EngineError, EngineWarning
from neuronpath_core.study.engines.ray_worker import definitions
from neuronpath_core.support.text import one_line

Work = Callable[[range], pd.DataFrame]

# how often a part may kill its worker, and how many parts may do so, before nothing more is tried
ATTEMPTS = 3
IN_FLIGHT = 2  # parts that a worker has at once: the next one is there when it has finished one
PATIENCE = 30.0  # seconds without any worker placed after which a warning says what is waited for
CALLER = 5  # frames from a method that warns up to whoever iterates


@dataclass
class _Worker:
    """An actor and the calls it has not answered yet, in the order in which it answers them:
    ``(reference, index of the part or what else it is)``."""

    number: int
    actor: object
    name: str = "worker"
    ready: bool = False
    calls: deque[tuple[object, int | str]] = field(default_factory=deque)


class Spread:
    """The parts of one computation and who does them.

    All that is known about them is kept here, so that a lost machine takes nothing along.

    Args:
        ray: the module, connected to a cluster.
        make_worker, parts, gpus, cpus: of :func:`~neuronpath_core.study.engines.run.on_ray`.

    Raises:
        ValueError: ``make_worker`` cannot be pickled.
    """

    def __init__(self, ray: ModuleType, make_worker: Callable[[], Work], parts: list, gpus: int,
                 cpus: int):
        self.ray, self.parts, self.gpus, self.cpus = ray, parts, gpus, cpus
        try:
            self.pickled = ray.put(ray.cloudpickle.dumps(make_worker))
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise ValueError(f"make_worker cannot be sent to workers: {one_line(error)}; accepted: "
                             f"what pickle accepts") from error
        versions, definition = definitions()
        self.here, variables = versions(), {name: str(cpus) for name in THREAD_VARIABLES} | {
            name: value for name, value in os.environ.items() if name.startswith("NEURONPATH_")}
        self.actor_class = ray.remote(definition).options(
            num_cpus=cpus, num_gpus=gpus, max_restarts=0, runtime_env={"env_vars": variables})
        self.pending, self.deaths, self.lethal = deque(range(len(parts))), Counter(), []
        self.pool: list[_Worker] = []
        self.told = False

    def results(self, count: int) -> Iterator[tuple[range, pd.DataFrame]]:
        """The parts as ``count`` workers finish them; when the iteration ends, so do they."""
        try:
            self.pool += [self._hired(number) for number in range(count)]
            while self.pending or any(isinstance(call, int) for worker in self.pool
                                      for _, call in worker.calls):
                self._hand_out()
                for worker in self._answering():
                    if (finished := self._taken(worker)) is not None:
                        yield finished
            self._judge()
        finally:
            for worker in self.pool:
                with suppress(Exception):
                    self.ray.kill(worker.actor)

    def _hired(self, number: int) -> _Worker:
        worker = _Worker(number, self.actor_class.remote())
        # where this package lies too: a folder of its name in the working folder would hide one
        # that is installed in editable mode
        search_path = [*sys.path, str(Path(__file__).parents[3])]
        worker.calls.append((worker.actor.hello.remote(os.getcwd(), search_path), "hello"))
        return worker

    def _hand_out(self) -> None:
        for _ in range(IN_FLIGHT):  # one to each in turn
            for worker in self.pool:
                if worker.ready and self.pending and len(worker.calls) < IN_FLIGHT:
                    index = self.pending.popleft()
                    worker.calls.append((worker.actor.do.remote(self.parts[index]), index))

    def _answering(self) -> list[_Worker]:
        """Workers whose first call has come back, or that have died; a warning once if none is
        placed for long."""
        heads = {worker.calls[0][0]: worker for worker in self.pool if worker.calls}
        unplaced = all(worker.calls and worker.calls[0][1] == "hello" for worker in self.pool)
        finished, _ = self.ray.wait(list(heads),
                                    timeout=PATIENCE if unplaced and not self.told else None)
        if not finished:
            self.told = True
            warnings.warn(f"no worker has started for {PATIENCE:.0f} s: waiting until the Ray "
                          f"cluster has {needs(self.gpus, self.cpus)} free",
                          EngineWarning, stacklevel=CALLER - 1)
        return [heads[each] for each in finished]

    def _taken(self, worker: _Worker) -> tuple[range, pd.DataFrame] | None:
        """The part that the worker's first call has finished, if that was one."""
        try:
            reply = self.ray.get(worker.calls[0][0])
        except self.ray.exceptions.RayError as error:
            self._died(worker, error)
            return None
        _, call = worker.calls.popleft()
        if isinstance(call, int):
            return self.parts[call], pickle.loads(_answered(reply))
        if call == "hello":
            self._check_versions(worker, *reply)
            worker.calls.append((worker.actor.build.remote(self.pickled, self.cpus), "build"))
        else:
            _answered(reply)
            worker.ready = True
            self.deaths[f"start {worker.number}"] = 0
        return None

    def _check_versions(self, worker: _Worker, host: str, process: int,
                        there: Mapping[str, str]) -> None:
        worker.name = f"worker {worker.number} (process {process} on {host})"
        if different := [name for name in self.here | there
                         if self.here.get(name) != there.get(name)]:
            raise ValueError(f"{worker.name} has {_list(there, different)}, this process has "
                             f"{_list(self.here, different)}; accepted: the same on every machine")

    def _died(self, worker: _Worker, error: Exception) -> None:
        """Take back what the dead worker had, blame the part that it was doing, and hire another if
        there is something left to do."""
        had = worker.calls[0][1]
        blamed = had if isinstance(had, int) else f"start {worker.number}"
        self.deaths[blamed] += 1
        self.pending.extendleft(reversed([call for _, call in worker.calls
                                          if isinstance(call, int)]))
        with suppress(Exception):  # it may live on behind a broken connection
            self.ray.kill(worker.actor)
        doing = (f"while it did {_name(self.parts[had])}" if isinstance(had, int)
                 else "before it was ready")
        reason = _reason(self.ray, error)
        warnings.warn(f"{worker.name} died {doing}{reason}, attempt {self.deaths[blamed]} of "
                      f"{ATTEMPTS}", EngineWarning, stacklevel=CALLER)
        if self.deaths[blamed] == ATTEMPTS:
            self._give_up(had, reason)
        # also of a worker that was still at something when that number was reached
        if len(self.lethal) >= ATTEMPTS:
            self.pending.clear()
        self.pool.remove(worker)
        if self.pending:
            self.pool.append(self._hired(worker.number))

    def _give_up(self, had: int | str, reason: str) -> None:
        if not isinstance(had, int):
            raise EngineError(f"a worker died {ATTEMPTS} times in a row before it was ready"
                              f"{reason}; accepted: workers that their machine has memory for")
        self.pending.remove(had)
        self.lethal.append(had)

    def _judge(self) -> None:
        """``EngineError`` if parts were left out because they killed their workers."""
        if not self.lethal:
            return
        names = ", ".join(_name(self.parts[index]) for index in self.lethal)
        rest = ("nothing more was tried" if len(self.lethal) >= ATTEMPTS
                else "all other parts are done")
        raise EngineError(f"{names} killed {'its' if len(self.lethal) == 1 else 'their'} worker "
                          f"{ATTEMPTS} times in a row; {rest}; accepted: parts that the machine "
                          f"has memory for")


def _answered(reply: tuple) -> bytes:
    """What a call returned; what it raised or warned of is raised or warned of here."""
    kind, value, warned = reply
    for message in pickle.loads(warned):
        warnings.warn(message, stacklevel=CALLER)
    if kind == "raised":
        error, where = pickle.loads(value)
        raise error from where
    return value


def needs(gpus: int, cpus: int) -> str:
    """The resources of one worker, in words."""
    return f"{'a GPU and ' if gpus else ''}{cpus} CPU{'s' if cpus > 1 else ''}"


def _name(part: object) -> str:
    return f"part {part.start}..{part.stop - 1}" if isinstance(part, range) else f"part {part!r}"


def _reason(ray: ModuleType, error: Exception) -> str:
    """What Ray knows about a death, if it is more than that the process is gone."""
    if isinstance(error, ray.exceptions.ActorDiedError):
        return " (its machine ran low on memory)" if "low on memory" in str(error) else ""
    return f" ({one_line(error)})"


def _list(versions: Mapping[str, str], names: list[str]) -> str:
    return ", ".join(f"{name} {versions.get(name, 'nowhere')}" for name in names)
