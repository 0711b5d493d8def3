"""The package loads when it is used, module by module, in whatever order."""

from __future__ import annotations

import ast
import subprocess
import sys
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
