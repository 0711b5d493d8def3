"""What runs in a worker's process."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pickle
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SAME_EVERYWHERE = ("neuronpath-core", "torch", "timm", "torchvision", "numpy", "pillow")


def definitions() -> tuple[Callable[[], dict[str, str]], type]:
    """``versions()``, what a machine would compute with, and the class of the workers.

    Both are defined in here so that they travel to the workers whole: a machine that lacks the
    package, or has another one, can still say so.
    """
    def versions() -> dict[str, str]:
        found = {}
        for name in SAME_EVERYWHERE:
            with suppress(importlib.metadata.PackageNotFoundError):
                found[name] = importlib.metadata.version(name)
        # by a module in it: an empty folder of the package's name may stand before the package
        with suppress(ModuleNotFoundError):
            inside = importlib.util.find_spec("neuronpath_core.support.sources")
            folder, digest = Path(inside.origin).parents[1], hashlib.sha256()
            for path in sorted(folder.rglob("*.py")):
                digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
            found["the source of neuronpath_core"] = digest.hexdigest()[:12]
        return found

    def outcome(call: Callable) -> tuple[str, bytes, bytes]:
        from ray import cloudpickle

        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("default")
            try:
                told = "done", pickle.dumps(call(), protocol=5)
            except Exception as error:
                where = RuntimeError(f"on {socket.gethostname()}, process "
                                     f"{os.getpid()}:\n{traceback.format_exc()}")
                try:
                    pickled = cloudpickle.dumps((error, where))
                    cloudpickle.loads(pickled)
                except Exception:  # an exception that cannot travel
                    pickled = cloudpickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"),
                                                 where))
                told = "raised", pickled
        return *told, cloudpickle.dumps([each.message for each in seen])

    class Worker:
        def hello(self, folder: str, search_path: list[str]) -> tuple[str, int, dict[str, str]]:
            if os.path.isdir(folder):
                os.chdir(folder)
            sys.path[:] = [each for each in search_path
                           if os.path.exists(each or folder)] + [each for each in sys.path
                                                                 if each not in search_path]
            return socket.gethostname(), os.getpid(), versions()

        def build(self, pickled: bytes, threads: int) -> tuple[str, bytes, bytes]:
            def start() -> None:
                self.work = pickle.loads(pickled)()
                if "torch" in sys.modules:
                    sys.modules["torch"].set_num_threads(threads)
            return outcome(start)

        def do(self, part: range) -> tuple[str, bytes, bytes]:
            return outcome(lambda: self.work(part))

    return versions, Worker
