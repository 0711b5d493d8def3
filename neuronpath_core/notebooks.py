"""Notebooks: which there are, whether parameters fit them, their execution, and what a run leaves that says nothing."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuronpath_core import models
from neuronpath_core.attribution import QUADRATURES
from neuronpath_core.contexts import CONTEXTS
from neuronpath_core.datasets import load_part
from neuronpath_core.paths import METHODS
from neuronpath_core.store import check_writable, write_atomically
from neuronpath_core.study import DEFAULT_PROFILE, RESULTS_VARIABLE, load_profile, profile_names

if TYPE_CHECKING:
    from nbformat import NotebookNode

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
RUN_METADATA = ("papermill", "execution", "ExecuteTime")


class NotebookError(RuntimeError):
    """A notebook failed while it ran; the message names notebook, cell and error in one line."""


def normalise_notebook(nb: NotebookNode) -> NotebookNode:
    """Return a copy of ``nb`` whose metadata do not change from run to run, so that a diff shows results only.

    Removed: papermill's records and the timings of notebook and cells, empty tag lists, Python's version. Set: the kernel,
    to ``python3``. Sources, outputs, widget state and all other metadata stay as they are, in their order.
    """
    nb = deepcopy(nb)
    for metadata in (nb.metadata, *(cell.metadata for cell in nb.cells)):
        for key in RUN_METADATA:
            metadata.pop(key, None)
    for cell in nb.cells:
        if cell.metadata.get("tags") == []:  # papermill gives one to every cell
            del cell.metadata["tags"]
    nb.metadata["kernelspec"] = dict(KERNEL)
    nb.metadata.get("language_info", {}).pop("version", None)
    return nb


def notebook_names(root: Path) -> list[str]:
    """The study's notebooks, in reading order."""
    return [path.stem for path in sorted((root / "notebooks").glob("[0-9]*.ipynb"))]


def resolve_notebooks(root: Path, wanted: list[str]) -> list[str]:
    """Notebook names for what was typed: a number (``02``), a name, a file name or a path; all of them for nothing.

    Raises:
        ValueError: something typed matches no notebook, or several.
    """
    known, chosen = notebook_names(root), []
    for text in wanted:
        stem = Path(text).stem
        matches = [name for name in known if name == stem] or [name for name in known if name.split("_")[0] == stem.zfill(2)]
        if len(matches) != 1:
            raise ValueError(f"unknown notebook {text!r}; accepted: {', '.join(known)}")
        chosen += matches
    return list(dict.fromkeys(chosen)) or known


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and len(value) > 0 and all(check(entry) for entry in value)


def _one_of(names: Sequence[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in names


def _accepts(check: Callable[[str], object]) -> Callable[[Any], bool]:
    def accepted(value: Any) -> bool:
        try:
            check(value)
        except (ValueError, TypeError):
            return False
        return True
    return accepted


def _image_counts(profile: dict) -> tuple[Callable[[Any], bool], str]:
    """Numbers of images that can be spread evenly over the held-out images' classes; the data are loaded when first asked."""
    def accepted(value: Any) -> bool:
        load_part(profile["dataset"], "held_out").balanced(value)  # says itself what it accepts
        return True
    return accepted, "a whole number"


def parameter_checks(root: Path, profile: dict) -> dict[str, tuple[Callable[[Any], bool], str]]:
    """For every parameter that a notebook may have: a test of its value, and what it accepts in words."""
    names, share = list(profile["models"]), "numbers from 0 to 1"
    model, images, positive = (_one_of(names), f"one of {', '.join(names)}"), _image_counts(profile), (_whole(1), "a whole number of at least 1")
    several = (_list_of(model[0]), f"a list of one or more of {', '.join(names)}")
    return {
        "profile": (_one_of(profile_names(root)), f"one of {', '.join(profile_names(root))}"),
        "profiles": (_list_of(_one_of(profile_names(root))), f"a list of one or more of {', '.join(profile_names(root))}"),
        "model": model,
        "models": several,
        "pruning_models": several,
        "methods": (_list_of(_one_of(METHODS)), f"a list of one or more of {', '.join(METHODS)}"),
        "quadrature": (_one_of(QUADRATURES), f"one of {', '.join(QUADRATURES)}"),
        "context": (_one_of(CONTEXTS), f"one of {', '.join(CONTEXTS)}"),
        "steps": (lambda value: value in (None, "auto") or _whole(1)(value), "a whole number of at least 1, auto, or null for the rule's own number"),
        "nodes": (lambda value: value is None or _whole(1)(value), "a whole number of at least 1, or null for as many as steps"),
        **dict.fromkeys(("n_images", "agreement_images", "pool_images", "pruning_images"), images),
        **dict.fromkeys(("top", "toys", "repeats", "width", "draws", "budget"), positive),
        **dict.fromkeys(("splits", "networks"), (_whole(2), "a whole number of at least 2")),
        "strength": (_positive, "a positive number"),
        "strengths": (_list_of(_positive), "a list of positive numbers"),
        "tops": (_list_of(_whole(1)), "a list of whole numbers of at least 1"),
        "shares": (_list_of(lambda value: isinstance(value, int | float) and 0 <= value <= 1), f"a list of {share}"),
        "measurements": (_one_of(sorted(path.stem for path in (root / "benchmarks").glob("*.json"))), "the name of a file in benchmarks/, without .json"),
        "seed": (_whole(0), "a whole number of at least 0"),
        "device": (_accepts(models.parse_device), "a device that this machine has: cpu, cuda, cuda:1, …"),
        "other_dtypes": (_list_of(_one_of(list(models.DTYPES))), f"a list of one or more of {', '.join(models.DTYPES)}"),
        "dtype": (_one_of(list(models.DTYPES)), f"one of {', '.join(models.DTYPES)}"),
        "progress": (lambda value: isinstance(value, bool), "true or false"),
    }


def known_parameters(root: Path, notebook: str) -> list[str]:
    """Names of the parameters that a notebook declares."""
    import papermill

    return list(papermill.inspect_notebook(str(root / "notebooks" / f"{notebook}.ipynb")))


def check_parameters(notebook: str, known: list[str], checks: Mapping[str, tuple[Callable[[Any], bool], str]], values: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for a parameter that the notebook does not have or a value that it does not accept."""
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"notebook {notebook} has no parameter {name!r}; accepted: {', '.join(known)}")
        if name not in checks:
            raise ValueError(f"parameter {name} of notebook {notebook} has no check, so no other value than its own; accepted: {', '.join(checks)}")
        accepted, words = checks[name]
        try:
            fits = accepted(value)
        except ValueError as error:
            raise ValueError(f"parameter {name} of notebook {notebook}: {error}") from error
        if not fits:
            raise ValueError(f"parameter {name} of notebook {notebook} cannot be {value!r}; accepted: {words}")


@dataclass(frozen=True)
class Run:
    """One notebook of a run: its parameters, where its output goes, and what that output would be made from."""

    notebook: str
    parameters: dict[str, Any]
    output: Path
    made_from: str

    @property
    def record(self) -> Path:
        """The file beside the output that says what it was made from."""
        return self.output.with_suffix(".made_from")

    @property
    def is_current(self) -> bool:
        """Whether the output exists and nothing that it depends on has changed since."""
        return self.output.is_file() and self.record.is_file() and self.record.read_text() == self.made_from


def _digest(root: Path, notebook: Path, profile: str, parameters: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps([profile, dict(parameters)], sort_keys=True).encode())
    # all profiles: a notebook may take more than the one that it is run with
    sources = [*sorted((root / "profiles").glob("*.yml")), *sorted((root / "data").rglob("*.csv")), *sorted((root / "data").rglob("*.json")),
               *sorted((root / "benchmarks").glob("*.json")), *sorted((root / "neuronpath_core").glob("*.py"))]
    for path in sources:
        digest.update(path.read_bytes())
    cells = json.loads(notebook.read_text())["cells"]
    digest.update(json.dumps([cell["source"] for cell in cells]).encode())
    return digest.hexdigest()


def plan(root: Path, profile: str, notebooks: list[str], overrides: Mapping[str, Any], results: Path, store: bool = False) -> list[Run]:
    """Everything that a run would do, validated before any work starts.

    A notebook gets the profile's parameters for it and then those overrides that it has; each override must have a taker.

    Raises:
        ValueError: unknown profile, notebook or parameter, a value not accepted, outputs to be stored that are not those of the
            notebooks' own parameters, or an unwritable results folder.
    """
    entries, runs = load_profile(profile, root), []
    if unknown := set(entries["notebooks"]) - set(notebook_names(root)):
        raise ValueError(f"profile {profile!r} has parameters for unknown notebooks {', '.join(sorted(unknown))}; accepted: {', '.join(notebook_names(root))}")
    if store and (overrides or profile != DEFAULT_PROFILE):
        raise ValueError(f"only outputs of the notebooks' own parameters can be stored; accepted: --store with profile {DEFAULT_PROFILE} and no -p")
    checks, known = parameter_checks(root, entries), {name: known_parameters(root, name) for name in resolve_notebooks(root, notebooks)}
    for name in overrides:
        if not any(name in names for names in known.values()):
            offered = list(dict.fromkeys(parameter for names in known.values() for parameter in names))
            raise ValueError(f"no chosen notebook has a parameter {name!r}; accepted: {', '.join(offered)}")
    for notebook, names in known.items():
        # the notebooks' own defaults are those of a run with the default profile, so that they are only told of another one
        parameters = dict(entries["notebooks"].get(notebook) or {})
        # one without models and images of a profile is the same with every profile
        if profile != DEFAULT_PROFILE and ({"profile", "profiles", "model", "models", "n_images"} & set(names)):
            parameters |= {"profiles": [profile]} if "profiles" in names else {"profile": profile}
        parameters.update({name: value for name, value in overrides.items() if name in names})
        check_parameters(notebook, names, checks, parameters)
        made_from = _digest(root, root / "notebooks" / f"{notebook}.ipynb", profile, parameters)
        runs.append(Run(notebook, parameters, results / "notebooks" / f"{notebook}.ipynb", made_from))
    check_writable(results / "notebooks")
    return runs


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """An environment variable for the kernels started inside."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def execute(root: Path, run: Run, results: Path, progress: bool = True) -> None:
    """Run one notebook through papermill; its output appears only when it is whole.

    The notebook keeps its path tables under ``results`` too.  A failed notebook's cells are kept beside the outputs as
    ``<name>.failed.ipynb``; what an earlier run left stays.

    Raises:
        NotebookError: a cell failed, or the kernel died.
    """
    import papermill

    failed = run.output.with_suffix(".failed.ipynb")

    def write(working: Path) -> None:
        try:
            with _environment(RESULTS_VARIABLE, str(results)):
                _papermill(root, run, working, progress)
        except papermill.PapermillExecutionError as error:
            os.replace(working, failed)
            # papermill puts the cell of overridden parameters after the notebook's own
            cell = error.cell_index + (0 if run.parameters else 1)
            raise NotebookError(f"notebook {run.notebook}, cell {cell}: {error.ename}: {' '.join(str(error.evalue).split())[:300]}; see {failed}") from error
        except RuntimeError as error:  # the kernel died or could not start
            raise NotebookError(f"notebook {run.notebook}: {' '.join(str(error).split())[:300]}") from error
        run.record.unlink(missing_ok=True)

    write_atomically(run.output, write)
    run.record.write_text(run.made_from)
    failed.unlink(missing_ok=True)


def _papermill(root: Path, run: Run, working: Path, progress: bool) -> None:
    import papermill
    from traitlets.config import Config

    # sockets in a folder of their own: no port is opened, no kernel warns of one, and two runs do not meet
    with tempfile.TemporaryDirectory(prefix="np-") as sockets:
        papermill.execute_notebook(
            str(root / "notebooks" / f"{run.notebook}.ipynb"), str(working), parameters=run.parameters or None, cwd=str(root / "notebooks"),
            progress_bar={"desc": run.notebook} if progress else False, kernel_name=KERNEL["name"], log_output=False,
            config=Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"}))


def store_outputs(root: Path, run: Run) -> None:
    """Put an executed notebook, without what changes from run to run, in place of the one it was made from."""
    import nbformat

    executed = normalise_notebook(nbformat.read(run.output, as_version=4))
    if any("injected-parameters" in cell.metadata.get("tags", []) for cell in executed.cells):
        raise ValueError(f"notebook {run.notebook} ran with other parameters than its own; only a run with none can be stored")
    write_atomically(root / "notebooks" / f"{run.notebook}.ipynb", lambda path: nbformat.write(executed, path))
