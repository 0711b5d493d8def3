"""A server on this machine that replays answers in the place of a language model, to rehearse what
would be sent, and what comes of answers of every kind."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One answer of the server.

    Attributes:
        content: what the model says; ``None``: it refuses.
        status: of HTTP; other than 200 an error of the server with ``content`` as its message.
        wait: seconds before it is sent.
        body: sent as it is in the place of a chat completion.
    """

    content: str | None = ""
    status: int = 200
    wait: float = 0.0
    body: bytes | None = None


@dataclass
class Replay:
    """A server that replays.

    Attributes:
        base_url: its address for :class:`neuronpath_core.vlm.endpoint.Endpoint`.
        requests: the body of every request, in order.
    """

    base_url: str
    requests: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def replaying(answers: Sequence[Reply | str] | Callable[[dict[str, Any]], Reply | str]
              ) -> Iterator[Replay]:
    """Inside, a server on a free port of the loopback interface answers chat requests.

    Args:
        answers: one after another, the last for all further requests; or a function of the
            request.
    """
    stop = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    found = Replay(f"http://127.0.0.1:{server.server_address[1]}/v1")

    def reply(request: dict[str, Any]) -> Reply:
        found.requests.append(request)
        chosen = answers(request) if callable(answers) else answers[
            min(len(found.requests), len(answers)) - 1]
        return Reply(chosen) if isinstance(chosen, str) else chosen

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", 0))
            chosen = reply(json.loads(self.rfile.read(size)))
            stop.wait(chosen.wait)
            body = _completion(chosen) if chosen.body is None else chosen.body
            try:
                self.send_response(chosen.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # who asked has gone, as after a time-out
                pass

        def log_message(self, *_) -> None:
            pass

    server.RequestHandlerClass = Handler
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02},
                              daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _completion(reply: Reply) -> bytes:
    if reply.status != 200:
        return json.dumps({"error": {"message": reply.content, "type": "replayed"}}).encode()
    refusal = "refused" if reply.content is None else None
    return json.dumps({
        "id": "replayed", "object": "chat.completion", "created": 0, "model": "replayed",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {
            "role": "assistant", "content": reply.content, "refusal": refusal}}]}).encode()
