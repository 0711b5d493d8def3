"""What holds for every test: the hooks of :mod:`tests.choice`."""

from tests.choice import (  # noqa: F401
    pytest_collection_modifyitems,
    pytest_runtest_call,
    pytest_runtest_setup,
    pytest_runtest_teardown,
    pytest_terminal_summary,
)
