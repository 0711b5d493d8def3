"""Whether outputs are those of this checkout: the hash of all that a chapter's outputs are made
from, and the record of an execution that is kept with them.

The hash is over the code cells, the modules that they load, the parameters, the profiles with their
images and weights, files of measurements that the code names, and the versions of packages. Text,
comments and docstrings do not count.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from neuronpath_core.runs.chapter import Chapter
from neuronpath_core.runs.inputs import inputs_sha256
from neuronpath_core.runs.parameters import own_parameters
from neuronpath_core.study.profiles import profile_names
from neuronpath_core.study.vlm_profiles import any_profile
from neuronpath_core.support.sources import (
    PACKAGE,
    closure_of_names,
    fingerprint,
    packages_of,
    syntax,
    texts,
    texts_of,
    used,
)

# what every chapter computes or draws with, some of it through the others
NUMERIC = ("matplotlib", "numpy", "pandas", "pillow", "scikit-learn", "scipy", "seaborn", "timm",
           "torch", "torchvision")
# what code imports that changes neither a number nor a figure
SILENT = {"IPython", "click", "filelock", "huggingface_hub", "ipywidgets", "jaxtyping", "myst_nb",
          "nbformat", "papermill", "psutil", "pyarrow", "pydantic", "pydantic_core", "ray",
          "safetensors", "tqdm", "traitlets", "yaml", "datasets"}
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn"}
# of data/ and benchmarks/: the sources of measurements, not measurements; weights and images are
# inputs
NO_DATA = (".py", ".pyc", ".md", ".safetensors", ".jpg")


class Hashes:
    """Hashes of a study's chapters; what several of them share is read once.

    Args:
        root: the study's folder.
        package: the library's.
    """

    def __init__(self, root: Path, package: Path = PACKAGE):
        self.root, self.package = root, package
        self.profiles: dict[str, dict] = {}
        self.measured = list(_measurements(root))
        # scripts and styles of the library: a page carries those that its code names
        self.of_pages = sorted(path for ending in ("*.css", "*.js")
                               for path in package.rglob(ending))

    def sha256(self, notebook: str, parameters: Mapping[str, Any]) -> str:
        """SHA-256 over all that a notebook's outputs are made from, with these parameters beside
        its own."""
        chapter = Chapter.read(self.root, notebook)
        files = modules(chapter, self.package)
        sources = [path.read_text(encoding="utf-8") for path in files]
        sources += ["\n".join(chapter.code)] if chapter.tree is not None else []
        values = own_parameters(self.root, notebook) | dict(parameters)
        named = set().union(*map(texts_of, sources))
        profiles = _profiles(self.root, chapter, values)
        made_from = {
            "cells": [_cell(source) for source in chapter.code],
            "parameters": dict(parameters),
            "code": fingerprint(files, self.package),
            "profiles": {name: self._profile(name)
                         for name in profiles},
            "files": {**{path.relative_to(self.root).as_posix(): _sha256(path)
                         for folder, path in self.measured
                         if (path.name in named or folder != "data" and folder in named)
                         and self._trained_for(path) in (None, *profiles)},
                      **{path.relative_to(self.package).as_posix(): _sha256(path)
                         for path in self.of_pages if path.name in named}},
            "packages": {name: package_version(name)
                         for name in _packages(set().union(*map(packages_of, sources)))},
        }
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()

    def _trained_for(self, path: Path) -> str | None:
        """The profile whose weights a record in ``data/weights/`` is of; ``None`` for other files.
        The record of another profile's weights is nothing that a chapter could show."""
        folder = path.relative_to(self.root).parts
        return folder[2] if folder[:2] == ("data", "weights") and len(folder) > 3 else None

    def _profile(self, name: str) -> dict:
        if name not in self.profiles:
            entries = any_profile(name, self.root)
            # the parameters that it gives a notebook count with those of the run
            own = {key: value for key, value in entries.items() if key not in ("notebooks",
                                                                               "not_run")}
            self.profiles[name] = {"entries": own, "inputs": inputs_sha256(self.root, entries)}
        return self.profiles[name]


def modules(chapter: Chapter, package: Path = PACKAGE) -> list[Path]:
    """The files that a chapter's code loads, of the library and beside the notebook; the whole
    library where a line of it is for IPython alone."""
    if chapter.tree is None:
        return sorted(package.rglob("*.py"))
    return closure_of_names(used(chapter.tree, package.name), package, chapter.path.parent)


def _cell(source: str) -> str:
    """What a cell computes and whether it shows its last value."""
    try:
        return syntax(ast.parse(source)) + ";" * source.rstrip().endswith(";")
    except SyntaxError:
        return source


def _profiles(root: Path, chapter: Chapter, values: Mapping[str, Any]) -> list[str]:
    """The profiles that a chapter reads: its parameters', and those that its code names."""
    known = profile_names(root)
    asked = {values.get("profile"), *(values.get("profiles") or ())}
    named = {text for statement in chapter.tree.body if not _is_default(statement)
             for text in texts(statement)} if chapter.tree else set(known)
    return [name for name in known if name in named or chapter.reads_profile and name in asked]


def _is_default(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) in ("profile",
                                                                                      "profiles")


def _measurements(root: Path) -> Iterator[tuple[str, Path]]:
    """Files that code may name, of ``data/`` each by its name and of another folder of the study
    also all of them by the folder's: the folder and the file."""
    for folder in ("data", "benchmarks"):
        for path in sorted((root / folder).rglob("*.*")):
            if path.suffix in NO_DATA:
                continue
            hidden = any(part[0] in ".#~" for part in path.relative_to(root).parts)
            if not hidden and path.is_file():
                yield folder, path


def _packages(imports: set[str]) -> list[str]:
    """Distributions whose versions count: those that all compute with, and others that the code
    imports."""
    others = {DISTRIBUTIONS.get(name, name) for name in imports - SILENT
              - sys.stdlib_module_names - {PACKAGE.name}}
    return sorted({*NUMERIC, *(name for name in others if package_version(name))})


@cache
def package_version(name: str) -> str | None:
    """The version of an installed package without what tells builds for different devices apart;
    ``None`` for what is no package, such as a module of Python itself."""
    try:
        return metadata.version(name).partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record(sha256: str, seconds: float, device: str = "cpu") -> dict[str, Any]:
    """What is kept with the outputs of a notebook that has just been executed.

    Args:
        sha256: see :meth:`Hashes.sha256`.
        seconds: that it took.
        device: that it computed on.
    """
    return {"sha256": sha256, "date": time.strftime("%Y-%m-%d"), "seconds": round(seconds),
            "device": device_name(device), "python": platform.python_version(),
            **{name: package_version(name) for name in ("torch", "timm")}}


def device_name(device: str) -> str:
    """What a device is called by who made it."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line for line in lines if line.startswith("model name")).partition(": ")[2]
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def outputs_sha256(outputs: list) -> str:
    """SHA-256 over stored outputs, so that one that was edited by hand or mended in a merge is not
    taken for what was computed."""
    return hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()


def is_stored(chapter: Chapter, sha256: str) -> bool:
    """Whether a notebook's stored outputs are those of code, weights, parameters and packages with
    this hash."""
    executed = chapter.notes.get("executed", {})
    return executed.get("sha256") == sha256 and executed.get("outputs") == outputs_sha256(
        chapter.outputs)
