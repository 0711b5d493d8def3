"""YAML that people write, read without surprises: what Python's reader takes silently for something
else, or never finishes, is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from neuronpath_core.support.text import one_line

# written in C where PyYAML was built with it
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MOST_BYTES = 1_000_000
MOST_VALUES = 20_000  # counted as often as aliases repeat them
DEEPEST = 40  # the reader written in C crashes where lists lie in lists a hundred thousand deep
STRANGE_NUMBER = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
ACCEPTED = "accepted: a file of text in UTF-8"


def read_yaml(path: Path) -> Any:
    """The value that a file holds; a byte order mark before it does not matter.

    Raises:
        ValueError: a file that cannot be read, is too large, no UTF-8, or what :func:`parse`
            refuses.
    """
    try:
        with open(path, "rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read ({error.strerror or error}); {ACCEPTED} with read "
                         f"permission") from error
    if len(content) > MOST_BYTES:
        raise ValueError(f"it is longer than {MOST_BYTES} bytes; {ACCEPTED}, shorter than that")
    try:
        return parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (byte {error.start}); {ACCEPTED}") from error


def parse(text: str) -> Any:
    """The value that a text of YAML stands for; ``None`` for an empty one.

    Raises:
        ValueError: no YAML; a key that is given twice or is no text; numbers that YAML reads as
            octal (``0400``) or in sixties (``1:30``); an alias within what it stands for; more or
            deeper values than anybody writes by hand.
    """
    try:
        depth = 0
        for event in yaml.parse(text, LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise ValueError(f"it is nested deeper than {DEEPEST} levels; accepted: less")
        loader = LOADER(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _measure(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML: {one_line(error, 200)}; accepted: YAML") from error
    except ValueError as error:
        if "accepted:" in str(error):
            raise
        # of a number with thousands of digits, of a date that no calendar has
        raise ValueError(f"it holds a value that cannot be read ({one_line(error, 80)}); accepted: "
                         f"numbers, words, lists and mappings") from error


def _measure(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """How many values a node stands for and how deep they lie, however often aliases repeat them;
    each is checked once."""
    if id(node) in known:
        if (measured := known[id(node)]) is None:
            raise ValueError(f"an alias in {_line(node)} stands for what it is part of; accepted: "
                             f"aliases of values that are complete")
        return measured
    known[id(node)] = None
    if isinstance(node, yaml.ScalarNode):
        _check_number(node)
        children = []
    else:
        pairs = isinstance(node, yaml.MappingNode)
        children = [each for pair in node.value for each in pair] if pairs else node.value
        if pairs:
            _check_keys(node)
    measures = [_measure(child, known) for child in children]
    count, depth = 1 + sum(each for each, _ in measures), 1 + max((deep for _, deep in measures),
                                                                  default=0)
    if count > MOST_VALUES or depth > DEEPEST:
        raise ValueError(f"aliases repeat values more than {MOST_VALUES} times or deeper than "
                         f"{DEEPEST} levels in {_line(node)}; accepted: less")
    known[id(node)] = count, depth
    return count, depth


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in ("tag:yaml.org,2002:str",
                                                                   "tag:yaml.org,2002:merge"):
            scalar = isinstance(key, yaml.ScalarNode)
            what = repr(key.value[:80]) if scalar else "a list or mapping"
            raise ValueError(f"a key in {_line(key)} is no text: {what}; accepted: words, in "
                             f"quotes where YAML takes them for numbers, dates or yes and no")
        if key.value in seen:
            raise ValueError(f"key {key.value[:80]!r} is given twice, again in {_line(key)}; "
                             f"accepted: every key once")
        seen.add(key.value)


def _check_number(node: yaml.ScalarNode) -> None:
    if node.tag in ("tag:yaml.org,2002:int",
                    "tag:yaml.org,2002:float") and STRANGE_NUMBER.fullmatch(node.value):
        raise ValueError(f"{node.value[:80]} in {_line(node)} would be read as "
                         f"{yaml.safe_load(node.value)}; accepted: that number itself, or quotes "
                         f"around it if it is no number")


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"
