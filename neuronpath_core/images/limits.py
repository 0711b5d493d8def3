"""How much of a machine the reading of images may take."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


MOST_OF_MEMORY = 0.6
MOST_THREADS = 16
def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def default_threads() -> int:
    """As many threads as this process may use cores, up to 16."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os,
                                                    "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MOST_THREADS)
