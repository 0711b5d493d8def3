"""One notebook through papermill; run by its path it is a process that does so and needs nothing
else of this package.

As a process it reads one JSON object from standard input, the arguments of
:func:`through_papermill`, and says what went wrong in one on its last line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import Any

LOOK = 2.0  # seconds between looks whether the parent lives


def through_papermill(notebook: str, output: str, parameters: dict[str, Any], folder: str,
                      kernel: str, sockets: str, progress: str | None = None) -> None:
    """Execute a notebook.

    Args:
        notebook, output: files; the output is written after every cell.
        parameters: may be empty.
        folder: where the notebook runs.
        kernel: its name.
        sockets: a folder for them alone: no port is opened, no kernel warns of one, and two runs do
            not meet.
        progress: what a progress bar is called; ``None`` for none.

    Raises:
        papermill.PapermillExecutionError: a cell failed.
        RuntimeError: the kernel died or could not start.
    """
    import papermill
    from traitlets.config import Config

    # all that a notebook leaves is written when its last cell is: to wait until the interpreter has
    # taken the libraries down costs more than a second
    papermill.execute_notebook(notebook, output, parameters=parameters or None, cwd=folder,
                               progress_bar={"desc": progress} if progress else False,
                               kernel_name=kernel, log_output=False, shutdown_kernel="immediate",
                               config=Config(KernelManager={"transport": "ipc",
                                                            "ip": f"{sockets}/kernel"}))


def _end_with_the_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os.kill(os.getpid(), signal.SIGINT)


def main() -> int:
    """0; 1 if the notebook failed, which the last line of standard output then explains."""
    threading.Thread(target=_end_with_the_parent, args=(os.getppid(),), daemon=True).start()
    import papermill

    try:
        through_papermill(**json.load(sys.stdin))
    except papermill.PapermillExecutionError as error:
        print(json.dumps({"cell_index": error.cell_index, "exec_count": error.exec_count,
                          "source": error.source, "ename": error.ename,
                          "evalue": error.evalue, "traceback": error.traceback}))
        return 1
    except RuntimeError as error:
        print(json.dumps({"died": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
