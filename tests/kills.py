"""Kills commands at random moments and looks for what the next one leaves:

    python -m tests.kills --minutes 10 --seed 0

``run --jobs 2`` and ``paths --engine ray`` on a small study get SIGTERM, SIGINT or SIGKILL, alone
or with their whole group, or everything that stems from them is killed at once. Then the same
command runs to its end, and no temporary file or folder, no process and no lock may be there.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from neuronpath_core.support.owners import leftovers
from tests import rehearsal, small_study
from tests.processes import eventually, in_the_foreground, with_variable

VARIABLE = "NEURONPATH_TEST"
COMMANDS = {"run": ("run", "--jobs", "2", "--quiet"),
            "paths": ("paths", "--engine", "ray", "--workers", "1", "--n-images", "60",
                      "--model", "one", "--steps", "40")}
LONGEST = {"run": 14.0, "paths": 16.0}  # seconds until a kill
NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)


def start(root: Path, temporary: Path, *arguments: str) -> subprocess.Popen:
    """The command in a session of its own, told by a variable that all its processes inherit."""
    return subprocess.Popen([sys.executable, "-m", "neuronpath_core.runs.cli", *arguments],
                            cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True, preexec_fn=in_the_foreground,
                            env=rehearsal.environment(root) | {"TMPDIR": str(temporary),
                                                               "JUPYTER_DATA_DIR": str(root / "jupyter"),
                                                               VARIABLE: str(root)})


def left(root: Path, temporary: Path) -> list[str]:
    """What should not be there once a command has ended: hidden files, locks, temporary folders,
    processes."""
    eventually(lambda: not with_variable(VARIABLE, root), 10)
    files = [path for place in (root / "results", root / "notebooks", root / "profiles",
                                root / "data") for path in place.rglob("*")
             if path.name.startswith(".") or path.suffix in (".lock", ".writer", ".partial")]
    # short enough for Ray's sockets; where it is not, folders lie in /tmp
    files += [*temporary.iterdir(), *leftovers("/tmp"), *(root / "jupyter").rglob("kernel-*")]
    processes = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                 for pid in with_variable(VARIABLE, root)]
    return [*map(str, files), *processes]


def kill(process: subprocess.Popen, root: Path, number: int, whom: str) -> None:
    """Send a signal to a process, to its group, or to all that stems from it."""
    try:
        if whom == "all":
            for member in with_variable(VARIABLE, root):
                os.kill(member, number)
        elif whom == "group":
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    except ProcessLookupError:  # it has ended by itself
        pass


def one_round(root: Path, temporary: Path, rng: random.Random) -> str | None:
    """Kill one command and run it again; what was wrong, if anything was."""
    kind = rng.choice(list(COMMANDS))
    number, whom = rng.choice(NUMBERS), rng.choice(["process", "group", "all"])
    after = rng.uniform(0.2, LONGEST[kind])
    process = start(root, temporary, *COMMANDS[kind])
    time.sleep(after)
    kill(process, root, number, whom)
    told = f"{kind}, {signal.Signals(number).name} to {whom} after {after:.1f} s"
    try:
        process.communicate(timeout=120)
        again = start(root, temporary, *COMMANDS[kind], *(["--force"] if kind == "run" else []))
        _, errors = again.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        return f"{told}: it does not end"
    if again.returncode:
        return f"{told}: the next one failed: {errors[-500:]}"
    found = left(root, temporary)
    print(f"{told}: {'nothing' if not found else found} left", flush=True)
    return f"{told}: {found}" if found else None


def main() -> int:
    """Rounds until the time is used up; status 1 if something was left in one of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    asked, faults = parser.parse_args(), []
    rng, end, rounds = random.Random(asked.seed), time.monotonic() + 60 * asked.minutes, 0
    with tempfile.TemporaryDirectory(prefix="k-", dir="/tmp") as folder:
        root = small_study.make_study(Path(folder) / "study")
        small_study.write_notebook(root, "01_sum", "steps = 20\nseed = 0",
                                   "import time; time.sleep(1)", "steps + seed")
        (Path(folder) / "t").mkdir()
        while time.monotonic() < end:
            rounds += 1
            if rng.random() < 0.5:  # from the beginning, else from what the last round left
                for path in (root / "results").rglob("*.made_from"):
                    path.unlink()
                subprocess.run(["rm", "-rf", str(root / "results" / "digits" / "paths")],
                               check=False)
            if fault := one_round(root, Path(folder) / "t", rng):
                faults.append(fault)
                print(f"FAULT {fault}", flush=True)
        for member in with_variable(VARIABLE, root):
            os.kill(member, signal.SIGKILL)
    print(f"{rounds} rounds, {len(faults)} faults")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
