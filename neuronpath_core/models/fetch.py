"""A file fetched from a URL: tried again when a connection breaks, continued where it broke, and
counted to its last byte."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from contextlib import suppress
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from tqdm.auto import tqdm

SECONDS = 30.0  # without a byte until a connection counts as broken
ATTEMPTS, PAUSE, LONGEST_PAUSE = 5, 1.0, 60.0  # and seconds before the second, doubled each time
CHUNK = 1 << 20
# a server's words for what may pass
PASSING = {408, 425, 429, 500, 502, 503, 504}


class Broken(OSError):
    """A connection ended before the file did, or its answer does not continue what is here."""


class _Redirects(HTTPRedirectHandler):
    """Redirections that do not give up encryption, nor leave the web."""

    def redirect_request(self, request, stream, code, message, headers, target):
        before, after = urlsplit(request.full_url).scheme, urlsplit(target).scheme
        if after not in ("https", before):
            raise OSError(f"it redirects from {before} to {target}, which is refused")
        return super().redirect_request(request, stream, code, message, headers, target)


def fetch(url: str, partial: Path, progress: bool = True) -> None:
    """Fetch a file; what came before a failure stays in ``partial`` for the next call, if the
    server tells versions of the file apart, and is removed otherwise.

    Args:
        url: ``https://``, ``http://``, ``ftp://`` or ``file://``.
        partial: where to; the caller renames it once it has looked at it.
        progress: show a bar on a terminal.

    Raises:
        OSError: no answer, an answer that is none of success, a redirection from https to http, a
            file that ends early at every attempt, or a disk that does not take it.
    """
    opener = build_opener(_Redirects)
    try:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return _fetch_once(opener, url, partial, progress)
            except (URLError, HTTPException, TimeoutError, ConnectionError, Broken) as error:
                if attempt == ATTEMPTS or not _may_pass(error):
                    raise
                time.sleep(_pause(error, attempt))
    except BaseException:
        if not _kept(url, partial)[0]:
            forget(partial)
        raise


def forget(partial: Path) -> None:
    """Remove what was fetched."""
    for path in (partial, _notes(partial)):
        path.unlink(missing_ok=True)


def _notes(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _kept(url: str, partial: Path) -> tuple[int, dict]:
    """How many bytes an earlier attempt has left, and of which version of the file."""
    try:
        known = json.loads(_notes(partial).read_text(encoding="utf-8"))
        if known["url"] == url and known["version"]:
            return partial.stat().st_size, known
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return 0, {}


def _fetch_once(opener: OpenerDirector, url: str, partial: Path, progress: bool) -> None:
    have, known = _kept(url, partial)
    if have and have == known.get("length"):
        return
    request = Request(url, headers={"User-Agent": "neuronpath", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", known["version"])
    with opener.open(request, timeout=SECONDS) as answer:
        start = _start(answer, have, known, partial)
        length = answer.headers.get("Content-Length")
        length = start + int(length) if (length or "").isdecimal() else None
        if not start:
            _note(url, partial, answer.headers, length)
        with open(partial, "r+b" if start else "wb") as stream, tqdm(
                total=length, initial=start, desc=urlsplit(url).path.rpartition("/")[2], unit="B",
                unit_scale=True, disable=None if progress else True) as bar:
            stream.seek(start)
            came = start + _copy(answer, stream, bar)
            os.fsync(stream.fileno())
    if length is not None and came != length:
        raise Broken(f"the connection ended after {came} of {length} bytes")


def _start(answer, have: int, known: dict, partial: Path) -> int:
    """From which byte an answer goes on: the whole file's first, or that which was asked for."""
    if getattr(answer, "status", None) != 206:
        return 0
    part = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
    if part and have and int(part[1]) == have and part[2] in ("*", str(known["length"])):
        return have
    forget(partial)
    raise Broken(f"the server sent {answer.headers.get('Content-Range')}, not the bytes from "
                 f"{have} on")


def _note(url: str, partial: Path, headers, length: int | None) -> None:
    tag = headers.get("ETag", "")
    version = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")
    partial.unlink(missing_ok=True)
    accepts = headers.get("Accept-Ranges", "").lower() != "none" and url.startswith("http")
    _notes(partial).write_text(json.dumps({"url": url, "version": version if accepts else None,
                                           "length": length}), encoding="utf-8")


def _copy(answer, stream: IO[bytes], bar: tqdm) -> int:
    came = 0
    read = getattr(answer, "read1", answer.read)  # what is there, and does not wait for more
    with suppress(IncompleteRead):  # told by the length
        while data := read(CHUNK):
            stream.write(data)
            stream.flush()  # kept if this process is killed
            bar.update(len(data))
            came += len(data)
    return came


def _may_pass(error: Exception) -> bool:
    if isinstance(error, HTTPError):
        return error.code in PASSING
    reason = getattr(error, "reason", error)
    if isinstance(reason, socket.gaierror):
        return reason.errno == socket.EAI_AGAIN
    return isinstance(reason, TimeoutError | ConnectionError | Broken | HTTPException)


def _pause(error: Exception, attempt: int) -> float:
    asked = error.headers.get("Retry-After", "") if isinstance(error, HTTPError) else ""
    usual = PAUSE * 2 ** (attempt - 1)
    return min(max(usual, float(asked)) if asked.isdecimal() else usual, LONGEST_PAUSE)
