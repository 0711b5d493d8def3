"""Which cases `make test` runs, and what its tests cost: a plugin of pytest's.

Cases of a test over a product of parameters, marked ``each_value``, are thinned out: `make test`
runs some in which every value of every parameter stands, `make test ALL=1` the whole product.

What a test costs is counted in processor seconds, those of the processes that it starts among them.
They do not grow when other work runs beside it, as seconds by the clock do.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

import pytest

# processor seconds that a test may take in each run of `make test`; beyond them it is to be made
# quicker or marked thorough
MOST_SECONDS = 10.0


def with_each_value(cases: Sequence[Mapping[str, Hashable]]) -> list[int]:
    """Indices of cases in which every value of every parameter stands.

    The next case is the one with most values that no chosen one has; of several the one whose
    values were chosen least often, so that values meet many different others.

    Args:
        cases: the value of each parameter, by the parameter's name.
    """
    left = {pair for case in cases for pair in case.items()}
    uses: Counter[tuple[str, Hashable]] = Counter()

    def worth(index: int) -> tuple[int, int, int]:
        pairs = cases[index].items()
        return len(left & set(pairs)), -sum(uses[pair] for pair in pairs), -index

    chosen = []
    while left:
        best = max(range(len(cases)), key=worth)
        chosen.append(best)
        uses.update(cases[best].items())
        left.difference_update(cases[best].items())
    return sorted(chosen)


def _values(case: pytest.Item) -> dict[str, Hashable]:
    """What tells the values of a case's parameters apart: which objects they are, those of one
    ``parametrize`` together."""
    groups = [mark.args[0] for mark in case.iter_markers("parametrize")]
    groups = [each.replace(" ", "").split(",") if isinstance(each, str) else each
              for each in groups]
    # a fixture's, too
    groups += [[name] for name in case.callspec.params if not any(name in each for each in groups)]
    return {",".join(each): tuple(id(case.callspec.params[name]) for name in each)
            for each in groups}


@pytest.hookimpl(tryfirst=True)  # before pytest looks at marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as thorough the cases of products that are not among :func:`with_each_value`, and let
    one process run all tests of a file, so that what they share is built once. Groups of tests that
    have a name of their own take longest and begin first: otherwise one process ends with them
    while the others have nothing to do."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
    products = defaultdict(list)
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            file = item.nodeid.partition("::")[0].removeprefix("tests/").removesuffix(".py")
            item.add_marker(pytest.mark.xdist_group(file))
        if item.get_closest_marker("each_value"):
            products[item.nodeid.partition("[")[0]].append(item)
    for cases in products.values():
        chosen = with_each_value([_values(case) for case in cases])
        for index in set(range(len(cases))) - set(chosen):
            cases[index].add_marker("thorough")


def _counted(phase: str) -> Callable:
    """A hook that notes what a phase of a test took, with the processes that it started and that
    have ended."""
    @pytest.hookimpl(wrapper=True)
    def hook(item: pytest.Item) -> Iterator[None]:
        before = sum(os.times()[:4])
        try:
            return (yield)
        finally:
            item.user_properties.append((f"processor seconds of {phase}",
                                         sum(os.times()[:4]) - before))
    return hook


pytest_runtest_setup = _counted("setup")
pytest_runtest_call = _counted("call")
pytest_runtest_teardown = _counted("teardown")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the tests of every folder took, with what they share, and which tests took more
    than they may by themselves."""
    took: dict[tuple[str, str], float] = {}
    thorough = set()
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        if isinstance(report, pytest.TestReport):
            name = re.sub(r"@[^]@]+$", "", report.nodeid)  # without the group that xdist appends
            noted = dict(report.user_properties)
            took[name, report.when] = noted.get(f"processor seconds of {report.when}", 0.0)
            thorough |= {name} if "thorough" in report.keywords else set()
    folders: Counter[str] = Counter()
    for (name, _), seconds in took.items():
        folders["/".join(name.partition("::")[0].split("/")[1:-1]) or "."] += seconds
    if sum(folders.values()) >= MOST_SECONDS:
        parts = [f"{folder} {seconds:.0f}" for folder, seconds in folders.most_common()]
        terminalreporter.write_line(f"processor seconds: {sum(folders.values()):.0f}, of these "
                                    + ", ".join(parts))
    slow = {name: seconds for (name, phase), seconds in took.items()
            if phase == "call" and seconds > MOST_SECONDS and name not in thorough}
    for name, seconds in sorted(slow.items(), key=lambda each: -each[1]):
        terminalreporter.write_line(
            f"TOO SLOW for each run: {name} took {seconds:.0f} processor seconds; accepted: at most "
            f"{MOST_SECONDS:.0f}, or the mark thorough", red=True)
