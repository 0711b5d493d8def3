"""Tags of a page, found in one walk over it: CSS selectors take ten times as long, and a book has
two hundred thousand tags that a dozen steps ask for."""

from __future__ import annotations

from bs4 import Tag


def tags(node: Tag, *names: str) -> list[Tag]:
    """The tags in a node, of these names or of any, as they follow one another."""
    found = [each for each in node.descendants if isinstance(each, Tag)]
    return [each for each in found if each.name in names] if names else found


def classes(node: Tag) -> list[str]:
    """The classes of a tag."""
    given = node.get("class") or ""
    return given.split() if isinstance(given, str) else given


def has_class(node: Tag, *names: str) -> bool:
    """Whether a tag has all of these classes."""
    own = classes(node)
    return all(name in own for name in names)


def is_inside(node: Tag, name: str) -> bool:
    """Whether a tag lies in one of this name, at any depth."""
    return any(each.name == name for each in node.parents)
