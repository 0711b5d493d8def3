"""Notebooks of a run, one after the other or several at a time with a share of the cores, each in a
process of its own, which ends with this one however this one ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from pathlib import Path

from tqdm.auto import tqdm

from neuronpath_core.runs import papermill_process
from neuronpath_core.runs.notebooks import Run, execute
from neuronpath_core.study.engines.choice import THREAD_VARIABLES
from neuronpath_core.study.profiles import RESULTS_VARIABLE
from neuronpath_core.study.store.lock import WAIT_VARIABLE
from neuronpath_core.support.text import as_utf8

GRACE = 10.0  # seconds from a request to stop until a process is killed


def executed(root: Path, runs: Sequence[Run], results: Path, jobs: int = 1,
             progress: bool = True) -> Iterator[Run]:
    """Execute notebooks, ``jobs`` of them at a time; each is given when its output is there.

    One at a time they are executed in the order given.  Side by side, the libraries of each use
    1/``jobs`` of the cores where ``OMP_NUM_THREADS`` does not say another number, and the longest
    are begun first, so that no long one is left for the end.  A notebook that names another one as
    that whose path tables it uses is begun after it; any other table that two of them want is
    searched by the first and waited for by the second.  When one fails no other is begun; those
    that run are finished first.

    Args:
        root, results: of :func:`~neuronpath_core.runs.notebooks.execute`.
        runs: of :func:`~neuronpath_core.runs.notebooks.plan`.
        jobs: at least 1.
        progress: show a bar: of a notebook's cells, or of the notebooks.

    Raises:
        NotebookError, ValueError: of the first notebook that failed, as
            :func:`~neuronpath_core.runs.notebooks.execute`.
    """
    # whatever the locale, a notebook prints what it likes
    variables = {**os.environ, "PYTHONUTF8": "1"}
    if jobs > 1:
        threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // jobs))
        variables |= {**dict.fromkeys(THREAD_VARIABLES, threads), WAIT_VARIABLE: "1"}
        yield from _side_by_side(root, runs, results, jobs, progress, _Processes(variables))
        return
    processes = _Processes(variables)
    for run in runs:
        execute(root, run, results, processes.with_tables(run.tables or results), progress)
        yield run


def _side_by_side(root: Path, runs: Sequence[Run], results: Path, jobs: int, progress: bool,
                  processes: _Processes) -> Iterator[Run]:
    pending = sorted(runs, key=lambda run: -run.seconds)
    working = {}
    failure = None

    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(runs), desc="notebooks", unit="notebook",
                                                disable=not progress) as bar:
        try:
            while working or (pending and failure is None):
                unfinished = {run.notebook for run in (*pending, *working.values())}
                # also of a circle
                ready = [run for run in pending
                         if run.after not in unfinished] or pending[:not working]
                for run in ready[:jobs - len(working)] if failure is None else []:
                    pending.remove(run)
                    through = processes.with_tables(run.tables or results)
                    working[pool.submit(execute, root, run, results, through, False)] = run
                bar.set_postfix_str(", ".join(run.notebook for run in working.values()))
                for future in wait(working, return_when=FIRST_COMPLETED).done:
                    run = working.pop(future)
                    if (error := future.exception()) is None:
                        bar.update()
                        yield run
                    else:
                        failure = failure or error
        finally:  # a failure has left none of them; who stops in between stops all
            processes.stop()
    if failure is not None:
        raise failure


class _Processes:
    """Those that execute notebooks now.

    Args:
        variables: their environment.
    """

    def __init__(self, variables: dict[str, str]):
        self.variables = variables
        self.running = set()
        self.stopped = False
        self.lock = threading.Lock()

    def stop(self) -> None:
        """End all, and whatever is started from now on; who is not done after ``GRACE`` seconds is
        killed, and its kernel notices."""
        with self.lock:
            self.stopped = True
            running = list(self.running)
        # SIGINT would not do: it stays ignored in all that is started in the background
        for process in running:
            process.terminate()
        until = time.monotonic() + GRACE
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            process.kill()

    def with_tables(self, results: Path) -> Callable[..., None]:
        """:meth:`through` for a notebook whose tables go to this folder of results."""
        return partial(self.through, results)

    def through(self, results: Path, notebook: str, output: str, parameters: dict, folder: str,
                kernel: str, sockets: str, progress: str | None) -> None:
        """:func:`~neuronpath_core.runs.papermill_process.through_papermill` in a process."""
        process = self._started(results, quiet=progress is None)
        try:
            said, errors = process.communicate(json.dumps(
                {"notebook": as_utf8(notebook), "output": as_utf8(output),
                 "parameters": parameters, "folder": as_utf8(folder), "kernel": kernel,
                 "sockets": sockets, "progress": progress}))
        except KeyboardInterrupt:
            self.stop()
            raise
        finally:
            with self.lock:
                self.running.discard(process)
        if process.returncode != 0:
            raise _failure(said, errors or "", process.returncode)

    def _started(self, results: Path, quiet: bool) -> subprocess.Popen:
        with self.lock:
            # -P: its folder's modules must not stand for others of their names. In a session of its
            # own a terminal's interrupt does not reach it: it is told to stop from here
            process = subprocess.Popen([sys.executable, "-P", papermill_process.__file__,
                                        str(os.getpid())],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE if quiet else None,
                                       env={**self.variables, RESULTS_VARIABLE: str(results)},
                                       encoding="utf-8",
                                       errors="backslashreplace", start_new_session=True)
            self.running.add(process)
            if self.stopped:
                process.terminate()
        return process


def _failure(said: str, errors: str, status: int) -> Exception:
    """What the last line of a process that executed a notebook says, as an exception."""
    import papermill

    try:
        reason = json.loads(said.splitlines()[-1])
    except (ValueError, IndexError):  # it had no time to say
        last = errors.strip().split("\n")[-1]
        return RuntimeError(f"its process ended with status {status}"
                            f"{f' ({last})' if last else ''}")
    if "refused" in reason:
        return OSError(*reason["refused"])
    return RuntimeError(reason["died"]) if "died" in reason else papermill.PapermillExecutionError(
        **reason)
