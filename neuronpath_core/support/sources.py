"""Which modules some code is made of, and a fingerprint of what they compute.

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


def module_file(name: str, package: Path = PACKAGE, beside: Path | None = None) -> Path | None:
    """The file of a module of the library, or of one in the folder ``beside``, by its dotted name;
    ``None`` for a name that is no module there, such as a function's."""
    first, *rest = name.split(".")
    if first == package.name:
        place = package.joinpath(*rest)
    elif beside is not None:
        place = beside.joinpath(first, *rest)
    else:
        return None
    if place != package and place.with_suffix(".py").is_file():
        return place.with_suffix(".py")
    return place / "__init__.py" if (place / "__init__.py").is_file() else None


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


def texts(tree: ast.AST) -> set[str]:
    """The string constants of a syntax tree."""
    return {node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def used(tree: ast.AST, package: str = PACKAGE.name) -> set[str]:
    """Dotted names that a syntax tree may load: what it imports, the library's modules that it
    names in a string, and what it reads from what it imported (``npc.find_paths``).

    What is passed on as a whole stands for all that it offers, ``npc.*``.

    Raises:
        ValueError: an import that is relative.
    """
    found = {*imported(tree), *(text for text in texts(tree)
                                if re.fullmatch(rf"{package}(\.\w+)+", text))}
    bound = _bound(tree, package)
    read = set()
    for node in ast.walk(tree):
        below, parts = node, []
        while isinstance(below, ast.Attribute):
            parts.append(below.attr)
            below = below.value
        if parts and isinstance(below, ast.Name) and below.id in bound:
            found.add(".".join([bound[below.id], *reversed(parts)]))
            read.add(id(below))
    return found | {f"{bound[node.id]}.*" for node in ast.walk(tree)
                    if isinstance(node, ast.Name) and node.id in bound and id(node) not in read}


def _bound(tree: ast.AST, package: str) -> dict[str, str]:
    """The names that imports of the library bind in a syntax tree, and what each stands for."""
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            bound |= {alias.asname or package: alias.name if alias.asname else package
                      for alias in node.names if alias.name.split(".")[0] == package}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError("an import that begins with a dot cannot be followed; accepted: "
                                 "whole names of modules")
            bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}"
                      for alias in node.names if node.module.split(".")[0] == package}
    return bound


def offered(folder: str, name: str, package: Path = PACKAGE) -> set[str]:
    """The modules that a name comes from which a package of the library offers in its ``__init__``,
    as that says by an import or in a table of names; all that it offers where it does not say.

    Args:
        folder: the package's dotted name.
        name: what is read from it.
        package: the library's folder.
    """
    tree = parsed(module_file(folder, package).read_text(encoding="utf-8"))

    def modules(found: set[str]) -> set[str]:
        return {text for text in {*found, *(f"{folder}.{text}" for text in found)}
                if text != package.name and re.fullmatch(r"\w+(\.\w+)*", text)
                and module_file(text, package)}

    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and name in {alias.asname or alias.name
                                                         for alias in node.names}:
            return {node.module}
        if isinstance(node, ast.Assign) and name in {ast.unparse(each) for each in node.targets}:
            return set()
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                both = texts(value) | (texts(key) if key is not None else set())
                if name in both:
                    return modules(both - {name}) or modules(both)
    return modules({*imported(tree), *texts(tree)})


@cache
def _only_offers(source: str) -> bool:
    """Whether an ``__init__`` imports and does nothing else."""
    return all(isinstance(node, ast.Import | ast.ImportFrom)
               or isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
               or isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
               for node in parsed(source).body)


def closure(names: Iterable[str], package: Path = PACKAGE,
            beside: Path | None = None) -> list[Path]:
    """Files of the named modules and of every module that they import, directly or not, sorted:
    those of the library and those in the folder ``beside``.

    An ``__init__`` that only imports, as the package's own, decides nothing: of what it offers,
    that is followed which is used.

    Raises:
        ValueError: a name that is no module, or a module with a relative import.
    """
    waiting = list(names)
    for name in waiting:
        if module_file(name, package, beside) is None:
            raise ValueError(f"{name} is no module of the library; accepted: a dotted name below "
                             f"{package.name}")
    return closure_of_names(waiting, package, beside)


def closure_of_names(names: Iterable[str], package: Path = PACKAGE,
                     beside: Path | None = None) -> list[Path]:
    """:func:`closure` of dotted names of which some may be no modules, such as those of
    :func:`used`."""
    @cache
    def file(dotted: str) -> Path | None:
        return module_file(dotted, package, beside)

    found: set[Path] = set()
    known: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        known.add(name)
        parts = name.split(".")
        # importing a module executes those that it lies in
        for count in range(1, len(parts) + 1):
            folder = ".".join(parts[:count])
            path = file(folder)
            if path is None:  # the name of a function, or another package's
                break
            if path in found:
                continue
            source = path.read_text(encoding="utf-8")
            if path == package / "__init__.py" or path.name == "__init__.py" and _only_offers(
                    source):
                if count < len(parts) and file(f"{folder}.{parts[count]}") is None:
                    waiting |= offered(folder, parts[count], package) - known
            else:
                found.add(path)
                waiting |= _used_by(path, source, package.name) - known
    return sorted(found)


def fingerprint(files: Iterable[Path], package: Path = PACKAGE) -> str:
    """SHA-256 over the names of source files and what they compute: their syntax without docstrings
    and comments."""
    digest = hashlib.sha256()
    for path in files:
        name = path.relative_to(package) if path.is_relative_to(package) else Path(path.name)
        digest.update(name.as_posix().encode())
        digest.update(meaning(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()


@cache
def meaning(source: str) -> str:
    """A source's syntax as text, without docstrings; the same for every Python that parses it
    alike."""
    # not the cached tree, which others read
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return syntax(tree)


def syntax(node: object) -> str:
    """Nodes of a syntax tree as text, with those fields that hold something: later Pythons add
    fields that are empty."""
    if isinstance(node, ast.AST):
        fields = [f"{name}={syntax(value)}" for name, value in ast.iter_fields(node)
                  if value is not None and value != []]
        return f"{type(node).__name__}({','.join(fields)})"
    return f"[{','.join(map(syntax, node))}]" if isinstance(node, list) else repr(node)


@cache
def parsed(source: str) -> ast.Module:
    """A source's syntax tree, which several readers share: it is not to be changed."""
    return ast.parse(source)


@cache
def texts_of(source: str) -> frozenset[str]:
    """:func:`texts` of a source."""
    return frozenset(texts(parsed(source)))


@cache
def packages_of(source: str) -> frozenset[str]:
    """The first parts of what a source imports."""
    return frozenset(name.split(".")[0] for name in imported(parsed(source)))


@cache
def _used_by(path: Path, source: str, package: str) -> frozenset[str]:
    try:
        return frozenset(used(parsed(source), package))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
