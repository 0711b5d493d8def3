"""The package loads when it is used, module by module, in whatever order."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

import neuronpath_core as npc

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "neuronpath_core"
HEAVY = ("torch", "timm", "pandas", "papermill", "matplotlib", "ray", "numpy")


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True,
                          text=True).stdout


def test_the_package_alone_loads_none_of_its_libraries():
    assert python(f"import sys, neuronpath_core as npc; npc.__version__; dir(npc)\n"
                  f"print([name for name in {HEAVY} if name in sys.modules])") == "[]\n"


# each as if nothing of the package had been imported before
FORGET = """
for each in [each for each in sys.modules if each.startswith("neuronpath_core")]:
    del sys.modules[each]
"""


def test_public_names_and_modules_are_there_when_asked_for():
    python("import sys\n" + FORGET.join([
        "from neuronpath_core import find_paths, METHODS",
        "import neuronpath_core; neuronpath_core.find_paths",
        "import neuronpath_core; neuronpath_core.paths.find_paths",
        "from neuronpath_core import *; find_paths",
        "from neuronpath_core import paths, support"]))


def test_every_public_name_is_told_alike_to_people_tools_and_python():
    """``__all__``, the imports that type checkers read, and the places that Python looks in."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block, = [node for node in tree.body if isinstance(node, ast.If)]
    imports = {node.module: tuple(alias.name for alias in node.names) for node in block.body}
    assert imports == {f"neuronpath_core.{place}": names for place, names in npc.PLACES.items()}
    assert npc.__all__ == sorted(name for names in npc.PLACES.values() for name in names)
    assert set(npc.__all__) <= set(dir(npc))
    for place, names in npc.PLACES.items():
        module = __import__(f"neuronpath_core.{place}", fromlist=names)
        assert all(getattr(npc, name) is getattr(module, name) for name in names)


def test_a_name_that_there_is_not_is_an_attribute_error():
    assert not hasattr(npc, "walk") and not hasattr(npc, "_paths")
    with pytest.raises(ImportError, match="walk"):
        from neuronpath_core import walk  # noqa: F401


MOST_LINES = 250
# lines of code of all modules at the top of the package, without docstrings, comments and blank
# lines: who adds to the core takes something out of it, or finds a room for it
CORE_LINES = 2_850  # 3,047 before graphs of paths left it; a fifth refuses changed models


def code_lines(path: Path) -> int:
    """Lines of a module that hold code: no docstring, no comment, nothing blank."""
    source = path.read_text(encoding="utf-8")
    told = {row for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
            for row in range(node.lineno, node.end_lineno + 1)}
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    rows = {row for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type not in skipped
            for row in range(token.start[0], token.end[0] + 1)}
    return len(rows - told)


def test_lines_of_code_are_counted_without_words(tmp_path):
    path = tmp_path / "a.py"
    path.write_text('"""A\n\nb."""\n\nimport os  # c\n\n\ndef f():\n    """D."""\n    # e\n    return (os,\n            """g\n            h""")\n')
    assert code_lines(path) == 5


def test_no_module_is_longer_than_a_page_that_is_read_at_once():
    lengths = {path.relative_to(PACKAGE).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
               for path in PACKAGE.rglob("*.py")}
    assert len(lengths) > 300  # else nothing was looked at
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_the_core_does_not_grow():
    counted = {path.name: code_lines(path) for path in PACKAGE.glob("*.py")}
    assert sum(counted.values()) <= CORE_LINES, counted
