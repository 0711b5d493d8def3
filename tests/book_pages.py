"""The book of the stored notebooks, built once for all tests of its pages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from neuronpath_core.runs import current

ROOT = Path(__file__).resolve().parents[1]
_built: list[Path] = []


def built(tmp_path_factory) -> Path:
    """The folder of the finished pages; chapter 2 was executed in 70 s on this machine. Who only
    wants to look at a book that is there names its folder in NEURONPATH_BOOK."""
    if given := os.environ.get("NEURONPATH_BOOK"):
        return Path(given)
    if _built:
        return _built[0]
    out = tmp_path_factory.mktemp("book")
    executed = Path(shutil.copytree(ROOT / "notebooks", out / "executed"))
    nb = nbformat.read(executed / "02_table1.ipynb", 4)
    nb.metadata["neuronpath"]["executed"] = current.record("0" * 64, 70.0)
    nbformat.write(nb, executed / "02_table1.ipynb")
    done = subprocess.run([sys.executable, ROOT / "book/build.py", "--notebooks", executed,
                           "--out", out], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    _built.append(out / "html")
    return _built[0]
