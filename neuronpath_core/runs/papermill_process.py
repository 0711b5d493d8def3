"""The process that executes one notebook through papermill; it needs nothing else of this package.

It is given the number of its parent's process, reads one JSON object from standard input, the
arguments of :func:`through_papermill`, and says what went wrong in another one on its last line.
It ends, and its kernel with it, on SIGTERM and when its parent has ended.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

LOOK = 1.0  # seconds between looks whether the parent lives


def through_papermill(notebook: str, output: str, parameters: dict[str, Any], folder: str,
                      kernel: str, sockets: str, progress: str | None = None) -> None:
    """Execute a notebook.

    Args:
        notebook, output: files; the output is written after every cell.
        parameters: may be empty.
        folder: where the notebook runs.
        kernel: its name.
        sockets: a folder for them alone, and for the file that tells the kernel of them: no port is
            opened, no kernel warns of one, two runs do not meet, and all goes with the folder.
        progress: what a progress bar is called; ``None`` for none.

    Raises:
        RuntimeError: the kernel died or could not start; a cell that failed raises papermill's
            own error.
    """
    import papermill
    from traitlets.config import Config

    # all that a notebook leaves is written when its last cell is: to wait until the interpreter has
    # taken the libraries down costs more than a second
    papermill.execute_notebook(_literal(notebook), _literal(output),
                               parameters=parameters or None, cwd=folder,
                               progress_bar={"desc": progress} if progress else False,
                               kernel_name=kernel, log_output=False, shutdown_kernel="immediate",
                               config=Config(KernelManager={
                                   "transport": "ipc", "ip": f"{sockets}/kernel",
                                   "connection_file": f"{sockets}/kernel.json"}))


def _literal(path: str) -> str:
    """A path in which papermill finds no parameters to fill in."""
    return path.replace("{", "{{").replace("}", "}}")


def _stop(number: int, _frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what follows must not be cut
    raise KeyboardInterrupt(number)


def _end_with_the_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os.kill(os.getpid(), signal.SIGTERM)


def _remove(asked: dict[str, Any]) -> None:
    """Remove what the parent would have removed, had it lived."""
    Path(asked["output"]).unlink(missing_ok=True)
    shutil.rmtree(asked["sockets"], ignore_errors=True)


def _answer(asked: dict[str, Any]) -> dict[str, Any] | None:
    """Execute what was asked for; what went wrong, if anything did."""
    import papermill

    try:
        through_papermill(**asked)
    except papermill.PapermillExecutionError as error:
        return {"cell_index": error.cell_index, "exec_count": error.exec_count,
                "source": error.source, "ename": error.ename,
                "evalue": error.evalue, "traceback": error.traceback}
    except RuntimeError as error:
        return {"died": str(error)}
    except OSError as error:
        return {"refused": [error.errno, error.strerror or str(error)]}
    return None


def main() -> int:
    """Execute one notebook and say what went wrong.

    Returns:
        0; 1 if the notebook failed, which the last line of standard output then explains; 130 if
        the process was told to stop, by SIGTERM or by the end of its parent.
    """
    # whoever started the command may have had signals ignored, which every child inherits
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    asked, parent = json.load(sys.stdin), int(sys.argv[1])
    try:
        threading.Thread(target=_end_with_the_parent, args=(parent,), daemon=True).start()
        failure = _answer(asked)
    except KeyboardInterrupt:
        return 130
    finally:
        if os.getppid() != parent:
            _remove(asked)
    if failure is not None:
        print(json.dumps(failure))
    return int(failure is not None)


if __name__ == "__main__":
    sys.exit(main())
