"""The two files that say what a table's folder holds, and the notes of its parts: what must be in
them before they are believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neuronpath_core.support.text import one_line
from neuronpath_core.support.typed import Text, misfit, number, said, shown, text_like, whole

SCHEMA, READABLE = 2, (1, 2)  # the first had no parts, and its neurons were int64
MOST_ROWS = 10**10
Sessions = Annotated[list[dict[str, Any]], Field(strict=True), said("a list of mappings")]
Mapping = Annotated[dict[str, Any], Field(strict=True), said("a mapping")]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class Manifest(_Record):
    """Of a finished table."""

    rows: whole(1, MOST_ROWS)
    sha256: text_like("[0-9a-f]{64}", "64 hexadecimal digits")
    computed_from: Mapping
    sessions: Sessions = []


class Run(_Record):
    """Of a table that is being computed."""

    count: whole(1, MOST_ROWS)
    part_size: whole(1, MOST_ROWS)
    computed_from: Mapping
    sessions: Sessions


class _Notes(_Record):
    session: whole(0, MOST_ROWS)
    seconds: number(0, 1e12)
    finished: Text


class Unreadable(ValueError):
    """A record that is damaged, or of another version of the store; the message says which."""


def read_record(path: Path, kind: type[Manifest] | type[Run]) -> dict:
    """The record in a file, of which every entry that is used later is of its type.

    Raises:
        Unreadable: it cannot be read or believed.
    """
    name = "the manifest is damaged" if kind is Manifest else f"{path.name} is damaged"
    name = f"{name} ({path.name}:"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise Unreadable(f"{name} holds {shown(record)}; accepted: a mapping)")
        schema, readable = record.get("schema"), READABLE if kind is Manifest else (SCHEMA,)
        if type(schema) is int and schema not in readable:
            raise Unreadable(f"written with schema {schema}, this version reads "
                             f"{' and '.join(map(str, READABLE))}; accepted: one of these")
        if type(schema) is not int:
            raise Unreadable(f"{name} schema is {shown(schema)}; accepted: {SCHEMA})")
        kind.model_validate(record)
    except ValidationError as error:
        keys, found, accepted = misfit(error)
        raise Unreadable(f"{name} {'.'.join(keys)} {found}; accepted: {accepted})") from error
    except Unreadable:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise Unreadable(f"{name} {type(error).__name__}: {one_line(error, 80)}; accepted: the "
                         f"file as it was written)") from error
    return record


def check_notes(notes: dict, sessions: int) -> None:
    """Raise ``ValueError`` for notes of a part that are not of their types, or that name a session
    beyond the number of those that there are."""
    try:
        session = _Notes.model_validate(notes).session
    except ValidationError as error:
        keys, found, accepted = misfit(error)
        raise ValueError(f"its notes: {' '.join(keys)} {found}; accepted: {accepted}") from error
    if session >= sessions:
        raise ValueError(f"its notes: session {session} of {sessions}; accepted: one of these")
