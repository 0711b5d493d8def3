"""Which modules some code is made of, on a made-up package with a graph that is known."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from neuronpath_core.support.sources import closure, closure_of_names, fingerprint, used

FILES = {
    "__init__.py": "from neuronpath_core.core import run\nfrom neuronpath_core.deep.a import A\n"
                   "__version__ = '1'\n",
    "core.py": "from neuronpath_core.deep import b\n\ndef run():\n    return b.value\n",
    "alone.py": "ALONE = 1\n",
    "named.py": "PLACE = 'neuronpath_core.alone'\n",
    "late.py": "def late():\n    from neuronpath_core.alone import ALONE\n    return ALONE\n",
    "deep/__init__.py": "",
    "deep/a.py": "A = 1\n",
    "deep/b.py": "value = 2\n",
    "shop/__init__.py": '"""Offers."""\nfrom neuronpath_core.shop.x import first\n'
                        "from neuronpath_core.shop.y import second\n__all__ = ['first', 'second']\n",
    "shop/x.py": "import numpy\n\ndef first():\n    pass\n",
    "shop/y.py": "def second():\n    pass\n",
    "whole.py": "import neuronpath_core as npc\n\nhalf = vars(npc)\n",
}


@pytest.fixture
def package(tmp_path) -> Path:
    for name, source in FILES.items():
        path = tmp_path / "neuronpath_core" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "toy.py").write_text("from neuronpath_core.alone import ALONE\n")
    return tmp_path / "neuronpath_core"


def names(package: Path, code: str) -> set[str]:
    files = closure_of_names(used(ast.parse(code)), package, package.parent / "beside")
    return {str(path.relative_to(package if path.is_relative_to(package)
                                 else package.parent / "beside"))[:-3] for path in files}


@pytest.mark.parametrize(("code", "expected"), [
    ("import neuronpath_core.alone", {"alone"}),
    ("from neuronpath_core import alone", {"alone"}),
    ("from neuronpath_core.core import run", {"core", "deep/b"}),
    ("import neuronpath_core as npc\nnpc.run()", {"core", "deep/b"}),
    ("import neuronpath_core as npc\nnpc.A", {"deep/a"}),
    ("import neuronpath_core as npc\nnpc.deep.a.A", {"deep/a"}),
    ("import neuronpath_core as npc\nnpc.__version__", set()),
    ("from neuronpath_core import A", {"deep/a"}),
    ("import neuronpath_core as npc\ndir(npc)", {"core", "deep/a", "deep/b"}),
    ("from neuronpath_core import *", {"core", "deep/a", "deep/b"}),
    ("from neuronpath_core import shop\nshop.second()", {"shop/y"}),
    ("from neuronpath_core.shop import first", {"shop/x"}),
    ("from neuronpath_core import shop as s\nlist(map(getattr, [s]))", {"shop/x", "shop/y"}),
    ("import neuronpath_core.shop.y\nneuronpath_core.alone", {"shop/y", "alone"}),
    ("import neuronpath_core.named", {"named", "alone"}),
    ("from neuronpath_core.late import late", {"late", "alone"}),
    ("import neuronpath_core.whole", {"whole", "core", "deep/a", "deep/b"}),
    ("import toy", {"toy", "alone"}),
    ("import numpy, ast", set()),
])
def test_modules_that_code_is_made_of(package, code, expected):
    assert names(package, code) == expected


def test_a_table_of_public_names_is_read_too(package):
    (package / "__init__.py").write_text(
        "PLACES = {'core': ('run',), 'deep.a': ('A',)}\n\ndef __getattr__(name):\n    ...\n")
    assert names(package, "import neuronpath_core as npc\nnpc.A") == {"deep/a"}
    assert names(package, "import neuronpath_core as npc\nnpc.other") == {"core", "deep/a", "deep/b"}


def test_an_import_that_cannot_be_followed_is_refused(package):
    (package / "alone.py").write_text("from . import core\n")
    with pytest.raises(ValueError, match="alone.py.*accepted: whole names"):
        closure(["neuronpath_core.alone"], package)
    with pytest.raises(ValueError, match="nowhere is no module.*accepted"):
        closure(["neuronpath_core.nowhere"], package)


def test_a_fingerprint_is_of_what_is_computed(package):
    files = closure(["neuronpath_core.core"], package)
    before = fingerprint(files, package)
    path = package / "deep" / "b.py"
    path.write_text('"""Said."""\n\n# more\nvalue = (\n    2\n)\n')
    assert fingerprint(files, package) == before
    path.write_text("value = 3\n")
    assert fingerprint(files, package) != before
    path.write_text(FILES["deep/b.py"])
    assert fingerprint(files, package) == before
