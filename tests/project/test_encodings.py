"""No text is read or written in the encoding of whoever's locale it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for folder in ("neuronpath_core", "benchmarks", "book", "data", "notebooks")
           for path in sorted((ROOT / folder).rglob("*.py"))]


def without_encoding(source: str) -> list[str]:
    """Calls that read or write text, or talk to a process in text, and name no encoding."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or any(each.arg == "encoding" for each in node.keywords):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(
            node.func, "id", "")
        words = {each.arg: ast.unparse(each.value) for each in node.keywords}
        places = [ast.unparse(each) for each in node.args]
        mode = words.get("mode", places[1] if called == "open" and len(places) > 1 else "'r'")
        texts = called in ("read_text", "write_text") or isinstance(
            node.func, ast.Name) and called == "open" and "b" not in mode
        if texts or "True" in (words.get("text"), words.get("universal_newlines")):
            found.append(ast.unparse(node))
    return found


def test_what_has_no_encoding_is_found():
    calls = ["open('a')", "open('a', 'w')", "open('a', mode='r+')", "Path('a').read_text()",
             "path.write_text(text)", "path.read_text(errors='replace')", "run([], text=True)"]
    for call in calls:
        assert without_encoding(call) == [call]
    for call in ("open('a', 'rb')", "open('a', encoding='utf-8')", "Image.open(stream)",
                 "path.read_bytes()", "path.read_text(encoding='utf-8')", "run([])"):
        assert without_encoding(call) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_text_names_its_encoding(path):
    assert without_encoding(path.read_text(encoding="utf-8")) == []
