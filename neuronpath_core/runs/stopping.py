"""A command that is told to stop does so as by Ctrl-C, however it was started."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """A signal other than Ctrl-C's has told the command to stop.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def _stop(number: int, _frame: object) -> None:
    for each in SIGNALS:  # once is enough: what follows must not be cut
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Inside, SIGTERM and SIGHUP raise :class:`Stopped`: nothing half done stays, and all that the
    command has started ends.

    A signal that is ignored stays so, as SIGHUP under ``nohup`` and SIGINT in the background: that
    is how whoever started the command wants it.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
