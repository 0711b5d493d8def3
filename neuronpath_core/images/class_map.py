"""Class maps: which of a model's outputs stands for each folder of pictures, as people write it
down."""

from __future__ import annotations

import codecs
import difflib
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from neuronpath_core.support.files import own_path
from neuronpath_core.support.text import NAMED, as_utf8, listed, plain

ACCEPTED = "accepted: folder name -> whole number of at least 0"
# the longer ones first: the mark of UTF-32 begins with that of UTF-16
MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig",
         codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def same_name(name: str) -> str:
    """A name in one of the forms in which Unicode can write it, the composed one, and the same
    whatever the locale."""
    return unicodedata.normalize("NFC", as_utf8(name))


def read_class_map(class_map: Mapping[str, int] | str | Path | None,
                   folders: Iterable[Path | str | None] = ()) -> dict[str, int] | None:
    """Folder name -> class index, of a mapping or of a text file with one folder name per line, the
    first of which is class 0.

    Args:
        class_map: the mapping, or the file, itself or in one of ``folders``.

    Raises:
        ValueError: no such file, another kind of file, names that are no text, blank or there
            twice, or indices that are not whole numbers of at least 0.
    """
    if class_map is None:
        return None
    if not isinstance(class_map, Mapping):
        places = [own_path(class_map), *(Path(folder) / own_path(class_map) for folder in folders
                                                  if folder is not None)]
        found = [place for place in places if place.is_file() and place.suffix == ".txt"]
        if not found:
            raise ValueError(f"class map {class_map} not found or not a .txt file; looked for "
                             f"{', '.join(map(str, places))}; "
                             "accepted: a text file with one folder name per line, or a mapping "
                             "from folder name to class index")
        return _of_lines(found[0])
    return _of_mapping(class_map)


def _of_mapping(class_map: Mapping) -> dict[str, int]:
    check_names(class_map, "class_map")
    wrong = [name for name, index in class_map.items()
             if isinstance(index, bool) or not isinstance(index, int) or index < 0]
    if not class_map or wrong:
        said = f"{plain(str(wrong[0]))}: {class_map[wrong[0]]!r}" if wrong else "no entry"
        raise ValueError(f"the class map is empty or its values are not class indices ({said}); "
                         f"{ACCEPTED}")
    names = [same_name(str(name)) for name in class_map]
    if len(set(names)) < len(names):
        raise ValueError(f"the class map has {_twice(names)} more than once; {ACCEPTED}, each name "
                         f"once")
    return dict(zip(names, class_map.values(), strict=True))


def check_names(names: Iterable, setting: str) -> None:
    """Refuse names that YAML has read as something else than text; whole numbers are taken as they
    are written.

    Raises:
        ValueError: a truth value, a fraction, a date, nothing.
    """
    if strange := [name for name in names
                   if isinstance(name, bool) or not isinstance(name, (str, int))]:
        raise ValueError(f"{len(strange)} names of {setting} are no text but "
                         f"{listed([repr(name) for name in strange])}, as YAML reads no, yes, 1.10 "
                         f"and the like; accepted: such names in quotes")


def _twice(names: list[str]) -> str:
    return listed(sorted({name for name in names if names.count(name) > 1}))


def _of_lines(file: Path) -> dict[str, int]:
    accepted = "accepted: UTF-8 or UTF-16 text, the folder of output 0 in its first line"
    data = file.read_bytes()
    code = next((code for mark, code in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        # bytes that are not UTF-8 may be those of a folder's name
        errors = "surrogateescape" if code.startswith("utf-8") else "strict"
        lines = [same_name(line.strip()) for line in data.decode(code, errors).strip().splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"class map {file} is not text in {code.upper()}; {accepted}") from error
    if any("\0" in line for line in lines):
        raise ValueError(f"class map {file} holds zero bytes, as UTF-16 without a byte order mark "
                         f"does; {accepted}")
    if not lines or "" in lines:
        what = f"blank in line {lines.index('') + 1}" if lines else "empty"
        raise ValueError(f"class map {file} is {what}; {accepted}, none of them blank")
    if len(set(lines)) < len(lines):
        raise ValueError(f"class map {file} has {_twice(lines)} more than once; {accepted}, each "
                         f"folder once")
    return {name: index for index, name in enumerate(lines)}


def merged(class_map: Mapping[str, int]) -> list[str]:
    """What is to be told of a class map that makes one class of several folders."""
    folders: dict[int, list[str]] = {}
    for name, index in class_map.items():
        folders.setdefault(index, []).append(plain(name))
    several = [f"{index} for {' and '.join([listed(names[:-1]), names[-1]])}"
               for index, names in sorted(folders.items()) if len(names) > 1]
    if not several:
        return []
    return [f"the class map gives one number to several folders, which become one class: "
            f"{listed(several)}"]


def matched(class_map: Mapping[str, int], counts: Mapping[str, int]) -> list[str]:
    """What is to be told of a class map and the folders that it is for: names without a folder and
    folders that are not in it.

    Args:
        counts: class folder -> number of pictures.

    Raises:
        ValueError: no name has a folder.
    """
    missing = [name for name in class_map if name not in counts]
    left = [name for name in counts if name not in class_map]
    said = []
    if missing:
        said.append(f"names of the class map without a folder: {len(missing)}, "
                    f"{_with_nearest(missing, left)}")
    if left:
        pictures = sum(counts[name] for name in left)
        said.append(f"folders that are not in the class map, left out: {len(left)} with {pictures} "
                    f"pictures ({listed(left)})")
    if len(missing) == len(class_map):
        raise ValueError(f"Found 0 images of the class map: {'; '.join(said)}; accepted: a class "
                         f"map of the class folders' names, in quotes where YAML would read a "
                         f"number")
    return said


def _with_nearest(names: list[str], others: list[str]) -> str:
    """The first few names, each with the nearest of the others."""
    said = []
    for name in names[:NAMED]:
        near = difflib.get_close_matches(name, others, 1)
        said.append(plain(name) + (f" (nearest folder: {plain(near[0])})" if near else ""))
    return ", ".join(said) + (", …" if len(names) > NAMED else "")
