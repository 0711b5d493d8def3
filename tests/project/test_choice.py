"""The choice of cases for each run, and the count of what tests take."""

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.choice import with_each_value

ROOT = Path(__file__).parents[2]


def product(**sizes):
    return [dict(zip(sizes, values, strict=True))
            for values in itertools.product(*map(range, sizes.values()))]


@pytest.mark.parametrize("sizes", [{"a": 1}, {"a": 5}, {"a": 4, "b": 3}, {"a": 2, "b": 7, "c": 3}])
def test_every_value_is_chosen_in_no_more_cases_than_the_longest_parameter_has(sizes):
    cases = product(**sizes)
    chosen = [cases[index] for index in with_each_value(cases)]
    assert len(chosen) == max(sizes.values())
    for name, size in sizes.items():
        assert {case[name] for case in chosen} == set(range(size))


def test_values_of_the_shorter_parameter_are_chosen_about_equally_often():
    chosen = [case for index, case in enumerate(product(a=31, b=2))
              if index in with_each_value(product(a=31, b=2))]
    assert abs(sum(case["b"] for case in chosen) - 15.5) <= 1


def test_a_value_that_stands_in_one_case_alone_is_chosen_with_it():
    cases = [*product(a=3, b=2), {"a": 3, "b": 0}]
    assert 6 in with_each_value(cases)


TESTS = """
import subprocess, sys, time
import pytest

@pytest.fixture(scope="module", autouse=True)
def built():
    with open("built", "a") as file:
        file.write("it ")
    exec(BUSY.format(time.process_time() + 0.6))  # what is shared is not one test's

BUSY = "import time\\nwhile time.process_time() < {0}: pass"

@pytest.mark.each_value
@pytest.mark.parametrize("b", "xyz")
@pytest.mark.parametrize(("a", "c"), [(each, None) for each in range(4)])
def test_product(a, b, c): pass

def test_busy(): exec(BUSY.format(time.process_time() + 0.6))
def test_starts_another(): subprocess.run([sys.executable, "-c", BUSY.format(0.6)])
@pytest.mark.thorough
def test_thorough(): exec(BUSY.format(time.process_time() + 0.6))
def test_waits(): time.sleep(0.8)
"""


LONG = """
import pytest

@pytest.mark.xdist_group("long")
def test_long():
    with open("built", "a") as file:
        file.write("long ")
"""


@pytest.mark.parametrize(("options", "passed"), [(["-m", "not thorough"], 8),
                                                 (["-p", "xdist", "-n", "2",
                                                   "--dist", "loadgroup", "--no-loadscope-reorder"], 17)])
def test_a_run_says_which_tests_took_more_than_they_may(tmp_path, options, passed):
    """Processor seconds count, a child's too; waiting does not, nor what is marked. What the tests
    of a file share is built once, whatever the number of processes; a group with a name begins first.
    """
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n each_value: \n thorough: \n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(TESTS)
    (tmp_path / "tests" / "test_later.py").write_text(LONG)
    (tmp_path / "conftest.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom tests import choice\n"
        "choice.MOST_SECONDS = 0.5\nfrom tests.choice import *\n")
    said = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options,
                           "tests"], cwd=tmp_path, capture_output=True, text=True,
                          env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}).stdout
    assert f"{passed} passed" in said, said
    assert {line.split("::")[1].split()[0] for line in said.splitlines()
            if line.startswith("TOO SLOW")} == {"test_busy", "test_starts_another"}, said
    begun = (tmp_path / "built").read_text().split()
    assert (begun if "-n" not in options else sorted(begun, reverse=True)) == ["long", "it"]
    whole = float(re.search(r"processor seconds: (\d+)", said)[1])
    assert whole >= 2  # with what is shared: three or four times 0.6
