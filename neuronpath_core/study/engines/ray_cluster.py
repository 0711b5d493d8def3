"""A connection to a Ray cluster: one that is named, or one started on this machine and ended with
the connection."""

from __future__ import annotations

import importlib.util
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from types import ModuleType

from neuronpath_core.support.environment import environment
from neuronpath_core.support.owners import FOLDER_VARIABLE, own_folder
from neuronpath_core.support.text import one_line

# in a folder that Ray makes of the time and the number of this process
ROOM_FOR_SOCKETS = len("/session_2000-01-01_00-00-00_000000_1234567/sockets/plasma_store")
ADDRESS_VARIABLE = "RAY_ADDRESS"
OBJECT_STORE_BYTES = 200_000_000  # of a cluster started here: only tables pass through it
MISSING = "engine 'ray' needs Ray; accepted: pip install \"neuronpath-core[ray]\""
ACCEPTED = ("HOST:PORT of a head that 'ray start --head' started, or 'auto', on a machine of that "
            "cluster")
# a death is told once, by the engine; Ray's own twenty lines about it are not printed
QUIET = {"RAY_DEDUP_LOGS_SKIP_REGEX": "A worker died or was killed while executing"}
# 127.0.0.1 is meant where it is said, and nothing listens elsewhere
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
SET_BY_RAY = ("RAY_AUTH_MODE", "RAY_CLIENT_MODE", "PYTHONBREAKPOINT")
ALONE = {"RAY_USAGE_STATS_ENABLED": "0", **LOOPBACK}
# one attempt and not twenty, of 40 s each, where something answers that is no Ray cluster
BOUNDED = {"RAY_gcs_server_port_wait_time_s": "1", "RAY_py_gcs_connect_timeout_s": "10"}


def named_cluster(address: str | None) -> str | None:
    """The address that was asked for or that ``RAY_ADDRESS`` names; ``None`` if a cluster is to be
    started."""
    named = os.environ.get(ADDRESS_VARIABLE) if address is None else address
    return None if named in (None, "", "local") else named


def check_cluster(address: str | None = None) -> None:
    """Whether Ray is installed and something answers at the cluster's address, found out in a
    moment and without starting anything.

    Raises:
        ValueError: it is not, or nothing does.
    """
    if importlib.util.find_spec("ray") is None:
        raise ValueError(MISSING)
    named = named_cluster(address)
    if named in (None, "auto"):
        return
    host, _, port = named.rpartition(":")
    if "/" in named or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{named!r} is no address of a Ray cluster; accepted: {ACCEPTED}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise ValueError(f"no Ray cluster answers at {named} ({one_line(error)}); accepted: "
                         f"{ACCEPTED}") from error


@contextmanager
def cluster(address: str | None = None, cpus: int | None = None) -> Iterator[ModuleType]:
    """A connection to a Ray cluster, as Ray's module; held around several runs it saves starting
    one for each.

    The cluster is the one that this process is connected to already, else the one at ``address``
    (``"HOST:PORT"`` or ``"auto"``) or named by ``RAY_ADDRESS``; all of these are left running.
    Else one is started, for this process alone, and ended on leaving, also by an error or Ctrl-C.

    Args:
        address: see above; ``"local"`` starts one whatever ``RAY_ADDRESS`` says.
        cpus: cores of a cluster that is started; by default all that this process may use.

    Raises:
        ValueError: Ray is not installed, the cluster cannot be reached or started, or one is named
            after another was started here.
    """
    connected = sys.modules.get("ray")
    if connected is not None and connected.is_initialized():
        yield connected
        return
    check_cluster(address)
    named = named_cluster(address)
    if named and _token.cache_info().currsize:  # Ray would go on using the password of that one
        raise ValueError(f"this process has started a Ray cluster of its own and cannot use that "
                         f"at {named} any more; accepted: a new process")
    with ExitStack() as stack:
        own = ALONE | {"RAY_AUTH_TOKEN": _token()} if named is None else BOUNDED | (
            LOOPBACK if _is_here(named) else {})
        stack.enter_context(environment(QUIET | own, restored=SET_BY_RAY))
        try:
            import ray  # which reads its environment now
        except ImportError as error:
            raise ValueError(
                f"{MISSING}; the one installed cannot be imported: {one_line(error)}") from error
        settings: dict = {"address": named or "local", "log_to_driver": False,
                          "logging_level": "ERROR"}
        if named is None:
            folder = stack.enter_context(own_folder(ROOM_FOR_SOCKETS))
            stack.enter_context(environment({FOLDER_VARIABLE: folder}))
            settings |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES,
                         "_temp_dir": folder, "_node_ip_address": "127.0.0.1"}
            bound = hasattr(os, "sched_getaffinity")
            allowed = len(os.sched_getaffinity(0)) if bound else os.cpu_count()
            # otherwise Ray counts, which knows the limits of a container
            if cpus or allowed != os.cpu_count():
                settings["num_cpus"] = cpus or allowed
        # Ray puts its own in place and leaves it there
        before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
        stack.callback(_handle_sigterm, before)
        stack.callback(ray.shutdown)
        try:
            ray.init(**settings)
        except (ray.exceptions.RayError, RuntimeError, ValueError, OSError) as error:
            if named is None:
                raise ValueError(f"no Ray cluster could be started on this machine: "
                                 f"{one_line(error)}; accepted: {ACCEPTED}, or engine "
                                 f"'local'") from error
            raise ValueError(f"the Ray cluster at {named} cannot be used from here: "
                             f"{one_line(error)}; accepted: {ACCEPTED}") from error
        if before != signal.SIG_DFL:  # whoever handles it here ends the cluster by leaving
            _handle_sigterm(before)
        yield ray


def _handle_sigterm(handler: object) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _is_here(address: str) -> bool:
    return address.rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]")


@cache
def _token() -> str:
    """The password of clusters started by this process: one for all of them, since Ray keeps the
    first that it has seen."""
    return secrets.token_hex(32)
