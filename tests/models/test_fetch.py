"""Downloads from a server of our own that breaks, stalls, redirects and lies."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from neuronpath_core.models.checkpoints import check_entry
from neuronpath_core.models.download import download
from tests import helpers
from tests.processes import eventually

ROOT = Path(__file__).parents[2]


class Server(ThreadingHTTPServer):
    """Serves ``content`` under every path but those of ``elsewhere``; what it was asked for is in
    ``asked``: the path and the range."""

    daemon_threads = True

    def __init__(self, content):
        self.content, self.asked, self.elsewhere = content, [], {}
        self.statuses = []  # of the next answers
        self.cuts = []  # bytes after which the next connections end
        self.stalls = 0
        self.tag, self.ranges, self.lies = '"one"', True, False
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append((self.path, wanted))
        if self.path in server.elsewhere:
            self.send_response(302)
            self.send_header("Location", server.elsewhere[self.path])
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if server.statuses:
            self.send_response(server.statuses.pop(0))
            self.send_header("Content-Length", "0")
            return self.end_headers()
        start = 0
        same = self.headers.get("If-Range") == server.tag
        if wanted and server.ranges and same:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            first = start - 1 if server.lies else start
            self.send_header("Content-Range",
                             f"bytes {first}-{len(server.content) - 1}/{len(server.content)}")
        if server.tag:
            self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else None
        self.wfile.write(body[:cut])
        self.wfile.flush()
        if server.stalls:
            server.stalls -= 1
            time.sleep(5)
        if cut is not None:
            self.close_connection = True
            self.connection.close()


@pytest.fixture
def content(tmp_path):
    torch.save(helpers.small_vit(3).state_dict(), tmp_path / "served.pth")
    return (tmp_path / "served.pth").read_bytes()


@pytest.fixture
def server(content, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("neuronpath_core.models.fetch.PAUSE", 0.01)
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def get(server, tmp_path):
    """Downloads the weights of an entry."""
    def call(**more):
        spec = {"architecture": helpers.SIZES, "weights": "net.pth", "url": f"{server.url}/net.pth",
                "sha256": hashlib.sha256(server.content).hexdigest(), **more}
        return download({key: value for key, value in spec.items() if value is not None}, tmp_path,
                        tmp_path / "weights", progress=False)
    return call


def left(tmp_path):
    folder = tmp_path / "weights"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def message_of(call):
    with pytest.raises(ValueError, match="accepted: ") as refused:
        call()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_connection_that_breaks_is_continued_where_it_broke(server, get, tmp_path):
    server.cuts = [1000, 2000]
    assert get().read_bytes() == server.content
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000-", "bytes=3000-"]
    assert left(tmp_path) == ["net.pth"]


def test_a_connection_that_stalls_is_given_up(server, get, monkeypatch):
    monkeypatch.setattr("neuronpath_core.models.fetch.SECONDS", 0.3)
    server.cuts, server.stalls = [1000], 1
    assert get().read_bytes() == server.content
    assert len(server.asked) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_asked_again(server, get, status):
    server.statuses = [status, status]
    assert get().read_bytes() == server.content and len(server.asked) == 3


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_server_that_refuses_is_not(server, get, tmp_path, status):
    server.statuses = [status]
    assert str(status) in message_of(get)
    assert len(server.asked) == 1 and left(tmp_path) == []


def test_attempts_come_to_an_end(server, get, tmp_path):
    server.cuts = [100] * 20
    said = message_of(get)
    assert "could not be fetched" in said and "500 of" in said and len(server.asked) == 5
    server.cuts = []
    assert get().read_bytes() == server.content
    assert server.asked[-1][1] == "bytes=500-" and left(tmp_path) == ["net.pth"]


def test_a_file_that_has_changed_meanwhile_is_fetched_from_the_start(server, get, tmp_path):
    server.cuts = [100] * 5
    message_of(get)
    server.tag, server.content = '"two"', server.content[:-1] + b"\0"
    server.content = bytes(server.content)
    said = message_of(lambda: get(sha256="0" * 64))
    assert "000000" in said and left(tmp_path) == []  # whole, and another one
    server.tag = '"three"'
    torch.save(helpers.small_vit(4).state_dict(), tmp_path / "other.pth")
    server.content = (tmp_path / "other.pth").read_bytes()
    assert get().read_bytes() == server.content


@pytest.mark.parametrize("change", [{"ranges": False}, {"tag": None}, {"lies": True}], ids=str)
def test_a_server_that_cannot_continue(server, get, tmp_path, change):
    for name, value in change.items():
        setattr(server, name, value)
    server.cuts = [1000]
    assert get().read_bytes() == server.content
    assert left(tmp_path) == ["net.pth"]


def test_what_cannot_be_continued_is_not_kept(server, get, tmp_path):
    server.tag, server.cuts = None, [100] * 5
    message_of(get)
    assert left(tmp_path) == []


def test_a_short_file_without_a_digest_is_noticed(server, get, tmp_path):
    server.cuts = [len(server.content) - 10] * 5
    server.tag = None
    assert "of" in message_of(lambda: get(sha256=None, unencrypted=True))
    assert left(tmp_path) == []


def test_an_unencrypted_address_needs_a_digest_or_a_word(server, get, tmp_path):
    said = message_of(lambda: get(sha256=None))
    assert "sha256" in said and "unencrypted: true" in said
    assert server.asked == [] and left(tmp_path) == []
    assert get(sha256=None, unencrypted=True).is_file()
    message_of(lambda: check_entry({"architecture": {}, "weights": "a.pth", "unencrypted": "yes"}))


def test_redirections(server, get, monkeypatch):
    server.elsewhere = {"/net.pth": f"{server.url}/there/net.pth"}
    assert get().read_bytes() == server.content
    assert [path for path, _ in server.asked] == ["/net.pth", "/there/net.pth"]


@pytest.mark.parametrize("target", ["http://127.0.0.1/net.pth", "ftp://127.0.0.1/net.pth",
                                    "file:///etc/hostname"])
def test_a_redirection_that_gives_up_encryption_is_refused(target):
    from urllib.request import Request

    from neuronpath_core.models.fetch import _Redirects

    with pytest.raises(OSError, match="redirects from https"):
        _Redirects().redirect_request(Request("https://example.org/net.pth"), None, 302, "", {},
                                      target)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/net.pth"])
def test_a_redirection_out_of_the_web_is_refused(server, get, tmp_path, target):
    server.elsewhere = {"/net.pth": target}
    assert "could not be fetched" in message_of(get) and left(tmp_path) == []
    assert len(server.asked) == 1


def test_a_page_instead_of_a_file(server, get, tmp_path):
    server.content = b"<html>Please log in</html>"
    assert "web page" in message_of(get) and left(tmp_path) == []


def test_a_killed_download_is_continued(server, get, tmp_path):
    server.cuts, server.stalls = [1000], 1
    code = f"""
from neuronpath_core.models.download import download
download({{"architecture": {helpers.SIZES!r}, "weights": "net.pth", "url": "{server.url}/net.pth",
          "sha256": "{hashlib.sha256(server.content).hexdigest()}"}}, {str(tmp_path)!r},
         {str(tmp_path / "weights")!r})
"""
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=os.environ)
    partial = tmp_path / "weights" / ".partial-net.pth"
    assert eventually(lambda: server.asked != [] and partial.exists())
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.cuts, server.stalls = [], 0
    assert get().read_bytes() == server.content
    assert left(tmp_path) == ["net.pth"]


def test_two_at_a_time_fetch_it_once(server, get, tmp_path):
    server.cuts, server.stalls = [1000], 0
    found = []
    threads = [threading.Thread(target=lambda: found.append(get())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3 and found[0].read_bytes() == server.content
    assert len(server.asked) == 2 and left(tmp_path) == ["net.pth"]
