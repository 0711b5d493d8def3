"""Which modules of the library some code is made of, and a fingerprint of what they compute.

The list of modules is the import closure, read from the sources themselves, so that nobody has to
keep it by hand. Comments, docstrings and the width of a line do not enter a fingerprint: they
change no number.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def module_file(name: str, package: Path = PACKAGE) -> Path | None:
    """The file of a module of the library by its dotted name; ``None`` for a name that is no
    module, such as a function's."""
    parts = name.split(".")
    if parts[0] != package.name:
        return None
    folder = package.joinpath(*parts[1:])
    if len(parts) > 1 and folder.with_suffix(".py").is_file():
        return folder.with_suffix(".py")
    return folder / "__init__.py" if (folder / "__init__.py").is_file() else None


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a syntax tree imports, inside functions too.

    Of ``from a import b`` both ``a`` and ``a.b``; and every text that could be the dotted name of a
    module, which is how a registry names what it loads when it is asked.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"\w+(\.\w+)+", node.value):
                yield node.value


def closure(names: Iterable[str], package: Path = PACKAGE) -> list[Path]:
    """Files of the named modules and of every module of the library that they import, directly or
    not, sorted.

    The package's own ``__init__`` offers everything and decides nothing: it is left out.

    Raises:
        ValueError: a name that is no module of the library.
    """
    found: set[Path] = set()
    waiting = list(names)
    for name in waiting:
        if module_file(name, package) is None:
            raise ValueError(f"{name} is no module of the library; accepted: a dotted name below "
                             f"{package.name}")
    while waiting:
        path = module_file(waiting.pop(), package)
        if path is not None and path not in found and path != package / "__init__.py":
            found.add(path)
            waiting += imported(_tree(path.read_text(encoding="utf-8")))
    return sorted(found)


def fingerprint(files: Iterable[Path], package: Path = PACKAGE) -> str:
    """SHA-256 over the names of source files and what they compute: their syntax without docstrings
    and comments."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(meaning(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()


@cache
def meaning(source: str) -> str:
    """A source's syntax as text, without docstrings; the same for every Python that parses it
    alike."""
    tree = _tree(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0],
                                                          ast.Expr) and isinstance(body[0].value,
                                                                                   ast.Constant):
            if isinstance(body[0].value.value, str):
                body[0] = ast.Pass()
    return _text(tree)


@cache
def _tree(source: str) -> ast.Module:
    return ast.parse(source)


def _text(node: object) -> str:
    """Nodes with those fields that hold something: later Pythons add fields that are empty."""
    if isinstance(node, ast.AST):
        fields = [f"{name}={_text(value)}" for name, value in ast.iter_fields(node)
                  if value is not None and value != []]
        return f"{type(node).__name__}({','.join(fields)})"
    return f"[{','.join(map(_text, node))}]" if isinstance(node, list) else repr(node)
