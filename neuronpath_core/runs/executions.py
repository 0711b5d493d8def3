"""Notebooks of a run one after the other in this process, or several at a time, each in a process
of its own with its share of the cores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from tqdm.auto import tqdm

from neuronpath_core.runs import papermill_process
from neuronpath_core.runs.notebooks import Run, execute
from neuronpath_core.study.engines.run import THREAD_VARIABLES
from neuronpath_core.study.profiles import RESULTS_VARIABLE
from neuronpath_core.study.store.lock import WAIT_VARIABLE
from neuronpath_core.support.environment import environment


def executed(root: Path, runs: Sequence[Run], results: Path, jobs: int = 1,
             progress: bool = True) -> Iterator[Run]:
    """Execute notebooks, ``jobs`` of them at a time; each is given when its output is there.

    Side by side, the libraries of each use 1/``jobs`` of the cores where ``OMP_NUM_THREADS`` does
    not say another number, and the longest are begun first, so that no long one is left for the
    end.  A notebook that names another one as that whose path tables it uses is begun after it; any
    other table that two of them want is searched by the first and waited for by the second.  When
    one fails no other is begun; those that run are finished first.

    Args:
        root, results: of :func:`~neuronpath_core.runs.notebooks.execute`.
        runs: of :func:`~neuronpath_core.runs.notebooks.plan`.
        jobs: at least 1.
        progress: show a bar: of a notebook's cells, or of the notebooks.

    Raises:
        NotebookError, ValueError: of the first notebook that failed, as
            :func:`~neuronpath_core.runs.notebooks.execute`.
    """
    if jobs == 1:
        with environment({RESULTS_VARIABLE: results}):
            for run in runs:
                execute(root, run, results, progress)
                yield run
    else:
        yield from _side_by_side(root, runs, results, jobs, progress)


def _side_by_side(root: Path, runs: Sequence[Run], results: Path, jobs: int,
                  progress: bool) -> Iterator[Run]:
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // jobs))
    variables = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, threads),
                 RESULTS_VARIABLE: str(results), WAIT_VARIABLE: "1"}
    processes = _Processes(variables)
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
                    working[pool.submit(execute, root, run, results, False,
                                        processes.through)] = run
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
        """Interrupt all, and whatever is started from now on."""
        with self.lock:
            self.stopped = True
            for process in self.running:
                process.send_signal(signal.SIGINT)

    def through(self, notebook: str, output: str, parameters: dict, folder: str, kernel: str,
                sockets: str, _progress: None) -> None:
        """:func:`~neuronpath_core.runs.papermill_process.through_papermill` in a process."""
        import papermill

        asked = {"notebook": notebook, "output": output, "parameters": parameters, "folder": folder,
                 "kernel": kernel, "sockets": sockets}
        with self.lock:
            # -P: its folder's modules must not stand for others of their names. In a session of its
            # own a terminal's interrupt reaches it once, from here
            process = subprocess.Popen([sys.executable, "-P", papermill_process.__file__],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, env=self.variables, text=True,
                                       start_new_session=True)
            self.running.add(process)
            if self.stopped:
                process.send_signal(signal.SIGINT)
        try:
            said, errors = process.communicate(json.dumps(asked))
        finally:
            with self.lock:
                self.running.discard(process)
        if process.returncode == 0:
            return
        try:
            reason = json.loads(said.splitlines()[-1])
        except (ValueError, IndexError):  # it had no time to say
            last = errors.strip().split("\n")[-1]
            reason = {"died": f"its process ended with status "
                              f"{process.returncode}{f' ({last})' if last else ''}"}
        raise RuntimeError(
            reason["died"]) if "died" in reason else papermill.PapermillExecutionError(**reason)
