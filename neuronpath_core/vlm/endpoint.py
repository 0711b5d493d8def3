"""A language model behind an OpenAI-compatible server, asked through OpenAI's own client; every
answer is kept on disk, so that what was interrupted goes on where it was.

Nothing is contacted unless somebody gives a base URL: neither the client's default address nor a
key of the environment is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from neuronpath_core.support.files import plain_errors, write_atomically
from neuronpath_core.support.text import one_line, shown

TIMEOUT, RETRIES = 60.0, 2  # seconds for an answer; further attempts at one, by the client
NO_KEY = "none"  # what servers without keys are told
Message = Mapping[str, Any]


class AnswerCache:
    """Answers by the content of what was asked, in memory and, with a folder, on disk.

    Args:
        folder: where each answer is a JSON file named by the SHA-256 of its request; ``None``:
            memory alone.
    """

    def __init__(self, folder: Path | None = None):
        self.folder, self._known = folder, {}

    @staticmethod
    def key(request: Mapping[str, Any]) -> str:
        """The SHA-256 of a request as canonical JSON."""
        told = json.dumps(request, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(told.encode()).hexdigest()

    def get(self, request: Mapping[str, Any]) -> str | None:
        """The answer, or ``None``; a file that is no answer counts as none."""
        key = self.key(request)
        if key not in self._known and self.folder is not None:
            try:
                answer = json.loads(
                    (self.folder / f"{key}.json").read_text(encoding="utf-8"))["answer"]
            except (OSError, ValueError, KeyError, TypeError):
                return None
            if isinstance(answer, str):
                self._known[key] = answer
        return self._known.get(key)

    def put(self, request: Mapping[str, Any], answer: str) -> None:
        """Keep an answer; on disk whole or not at all."""
        key = self.key(request)
        self._known[key] = answer
        if self.folder is not None:
            told = json.dumps({"answer": answer, "model": request.get("model")},
                              ensure_ascii=False)
            with plain_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                write_atomically(self.folder / f"{key}.json",
                                 lambda path: path.write_text(told, encoding="utf-8"))

    def __len__(self) -> int:
        return len(self._known)


class Endpoint:
    """A model of an OpenAI-compatible server.

    Args:
        base_url: of the server, such as ``http://localhost:8000/v1``; there is no default.
        model: its name there.
        api_key: sent to this server alone; the environment's is never read.
        timeout: seconds that an answer may take.
        retries: further attempts after a time-out or an error that may pass.
        cache: answers that are known.
        seed: sent with every request, with temperature 0.

    Raises:
        ValueError: no base URL or none of http, no name of a model, or openai is not installed.
    """

    def __init__(self, base_url: str | None, model: str, api_key: str = NO_KEY,
                 timeout: float = TIMEOUT, retries: int = RETRIES,
                 cache: AnswerCache | None = None, seed: int = 0):
        if not isinstance(base_url, str) or not _is_http(base_url):
            raise ValueError(f"base_url cannot be {shown(base_url)}, and nothing is asked without "
                             "one; accepted: the address of an OpenAI-compatible server, such as "
                             "http://localhost:8000/v1")
        if not isinstance(model, str) or not model.strip():
            raise ValueError(f"model cannot be {shown(model)}; accepted: the name that the server "
                             "has for it")
        if find_spec("openai") is None:
            raise ValueError("an endpoint needs openai's client, which is not installed; accepted: "
                             'pip install "neuronpath-core[explain]"')
        from openai import OpenAI

        self.base_url, self.model, self.seed = base_url.rstrip("/"), model, seed
        self._key = api_key
        self.cache = cache if cache is not None else AnswerCache()
        self._client = OpenAI(base_url=self.base_url, api_key=api_key, organization="", project="",
                              timeout=timeout, max_retries=retries)

    def ask(self, messages: Sequence[Message]) -> str:
        """What the model answers to a conversation; empty where it says nothing or refuses.

        Raises:
            ValueError: the server times out, cannot be reached, refuses the request or answers
                something that is no chat completion; what was answered before is kept.
        """
        request = {"base_url": self.base_url, "model": self.model, "messages": list(messages),
                   "temperature": 0, "seed": self.seed}
        if (known := self.cache.get(request)) is not None:
            return known
        answer = self._asked(messages)
        self.cache.put(request, answer)
        return answer

    def _asked(self, messages: Sequence[Message]) -> str:
        import openai

        try:
            found = self._client.chat.completions.create(
                model=self.model, messages=list(messages), temperature=0, seed=self.seed)
            content = found.choices[0].message.content
        except openai.APITimeoutError as error:
            raise self._failure("did not answer in time") from error
        except openai.APIConnectionError as error:
            raise self._failure("cannot be reached") from error
        except openai.APIStatusError as error:
            raise self._failure(f"refuses with status {error.status_code}: "
                                f"{self._without_key(one_line(error, 160))}") from error
        except (openai.OpenAIError, AttributeError, IndexError, TypeError, ValueError) as error:
            raise self._failure("answers nothing that is a chat completion") from error
        if content is not None and not isinstance(content, str):
            raise self._failure("answers nothing that is a chat completion")
        return content or ""

    def _failure(self, what: str) -> ValueError:
        return ValueError(f"{shown(self.base_url)} {what}; accepted: an OpenAI-compatible server "
                          f"that has {shown(self.model)} ({len(self.cache)} answers so far are "
                          "kept, ask again to go on)")

    def _without_key(self, text: str) -> str:
        return text if self._key == NO_KEY else text.replace(self._key, "…")


def _is_http(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
