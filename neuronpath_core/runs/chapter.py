"""A chapter as its notebook's file describes it: code cells, and what its metadata say of it.

A notebook's metadata have an entry ``neuronpath`` with, each optional:

* ``part``: ``"paper"`` for a section of the paper; the book executes those on every machine.
* ``seconds``: what it takes on one core with its own parameters, nearly.
* ``after``: the notebook whose path tables it uses; side by side with it, it would only wait.
* ``cost``: the function that counts its work, ``"module:function"``, see
  :class:`~neuronpath_core.cost.work.Work`; of a module of the library or one beside the notebook.
* ``took``: if its work is not counted, the ``seconds`` that it took with its own parameters on two
  CPU cores and what one default ``search``, with its draft, was estimated to take there for every
  model and image that they name.
* ``lacks``: what it starts from that cannot be had of any models and images.
* ``least_models``: how many models it compares at least.
* ``of_each``: for a number of images among its parameters, how many of every class it needs;
  elsewhere classes need not be covered.
* ``executed``: what its outputs were made from, when and where, see
  :mod:`~neuronpath_core.runs.current`.
"""

from __future__ import annotations

import ast
import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from neuronpath_core.support.sources import PACKAGE
from neuronpath_core.support.text import one_line
from neuronpath_core.support.typed import misfit


class _Cell(BaseModel):
    cell_type: str
    source: str | list[str]
    metadata: dict[str, Any]
    outputs: list[Any] = []

    @model_validator(mode="after")
    def _check_tags(self) -> _Cell:
        if not isinstance(self.metadata.get("tags", []), list):
            raise PydanticCustomError("accepted", "a list of tags")
        if self.cell_type == "code" and "outputs" not in self.model_fields_set:
            raise PydanticCustomError("accepted", "outputs of a cell of code")
        return self


class _Metadata(BaseModel):
    neuronpath: dict[str, Any] = {}


class _Notebook(BaseModel):
    nbformat: Annotated[int, Field(strict=True, ge=4, le=4)]
    cells: list[_Cell]
    metadata: _Metadata


@dataclass(frozen=True)
class Chapter:
    """A notebook's file.

    Attributes:
        path: where it lies.
        content: its JSON.
    """

    path: Path
    content: Mapping[str, Any]

    @classmethod
    def read(cls, root: Path, notebook: str) -> Chapter:
        """The chapter of a study's notebook."""
        return cls.at(root / "notebooks" / f"{notebook}.ipynb")

    @classmethod
    def at(cls, path: Path) -> Chapter:
        """The chapter of a notebook's file.

        Raises:
            ValueError: a file that cannot be read or is no whole notebook.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
            _Notebook.model_validate(content)
        except OSError as error:
            raise ValueError(f"notebook {path} cannot be read ({error.strerror or error}); "
                             f"accepted: a file with read permission") from error
        except (ValueError, RecursionError) as error:
            where = " ".join(misfit(error)[0]) if isinstance(error, ValidationError) else ""
            what = f"what is at {where}" if where else one_line(error, 80)
            raise ValueError(f"notebook {path} is damaged ({what}); accepted: a whole notebook "
                             f"of format 4, such as Jupyter writes it") from error
        return cls(path, content)

    @property
    def notes(self) -> Mapping[str, Any]:
        """Its metadata for this package."""
        return self.content["metadata"].get("neuronpath", {})

    @property
    def is_of_the_paper(self) -> bool:
        """Whether it is a section of the paper."""
        return self.notes.get("part") == "paper"

    @cached_property
    def code(self) -> list[str]:
        """The sources of its code cells."""
        return ["".join(cell["source"]) for cell in self.content["cells"]
                if cell["cell_type"] == "code"]

    @property
    def outputs(self) -> list:
        """The stored outputs of its code cells."""
        return [cell["outputs"] for cell in self.content["cells"] if cell["cell_type"] == "code"]

    @cached_property
    def tree(self) -> ast.Module | None:
        """The syntax of its code; ``None`` where a line is for IPython alone."""
        try:
            return ast.parse("\n".join(self.code))
        except SyntaxError:
            return None

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The values that its cell tagged ``parameters`` gives to names.

        Raises:
            ValueError: a cell that does not consist of names and plain values.
        """
        cell = next((cell for cell in self.content["cells"]
                     if "parameters" in cell["metadata"].get("tags", ())), {"source": ""})
        try:
            return {ast.unparse(node.targets[0]): ast.literal_eval(node.value)
                    for node in ast.parse("".join(cell["source"])).body
                    if isinstance(node, ast.Assign)}
        except (SyntaxError, ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"the cell of parameters of notebook {self.path} cannot be read "
                             f"({one_line(error, 100)}); accepted: NAME = VALUE, with plain values"
                             ) from error

    @cached_property
    def reads_profile(self) -> bool:
        """Whether the code reads the profile that it declares; one that shows stored measurements
        need not."""
        if self.tree is None:
            return True
        names = {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)
                 and isinstance(node.ctx, ast.Load)}
        return bool({"profile", "profiles"} & names)

    @cached_property
    def cost(self) -> Callable | None:
        """The function that counts its work with the values of its parameters, if it names one.

        Raises:
            ValueError: the metadata name no such function.
        """
        if "cost" not in self.notes:
            return None
        module, _, function = str(self.notes["cost"]).partition(":")
        try:
            return getattr(self._module(module), function)
        except (ImportError, AttributeError, OSError) as error:
            raise ValueError(f"the cost of notebook {self.path.stem} cannot be "
                             f"{self.notes['cost']!r} ({error}); accepted: MODULE:FUNCTION, a "
                             f"module of the library or beside the notebook") from error

    def _module(self, name: str) -> Any:
        if name.split(".")[0] == PACKAGE.name:
            return import_module(name)
        spec = importlib.util.spec_from_file_location(name, self.path.with_name(f"{name}.py"))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
