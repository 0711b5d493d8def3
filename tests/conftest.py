"""What holds for every test: the hooks of :mod:`tests.choice`, and what the collector leaves alone."""

import gc

from tests.choice import (  # noqa: F401
    pytest_collection_modifyitems,
    pytest_runtest_call,
    pytest_runtest_setup,
    pytest_runtest_teardown,
    pytest_terminal_summary,
)

gc.set_threshold(50_000)  # what is imported and collected lives to the end of a run


def pytest_collection_finish() -> None:
    """Let the garbage collector look no more at modules and collected tests."""
    gc.freeze()
