"""A command that is told to stop does so as by Ctrl-C, however it was started."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def stopped_by_signals() -> Iterator[list[int]]:
    """Inside, SIGTERM and SIGHUP raise ``KeyboardInterrupt``: nothing half done stays, and all that
    the command has started ends. What it gives is empty until then, and holds the signal's number
    from then on: the exception itself may be replaced on its way, as it is by click and by Ray.

    A signal that is ignored stays so, as SIGHUP under ``nohup`` and SIGINT in the background: that
    is how whoever started the command wants it.
    """
    before, caught = {}, []

    def stop(number: int, _frame: object) -> None:
        for each in SIGNALS:  # once is enough: what follows must not be cut
            signal.signal(each, signal.SIG_IGN)
        caught.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
