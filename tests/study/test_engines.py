"""Engines: the same tables from this process and from real Ray workers, whatever dies, is raised or
is given up on the way."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from neuronpath_core.study.engines import choice, ray_cluster, spread
from neuronpath_core.study.engines import run as engines
from tests.processes import eventually, in_the_background, in_the_foreground, with_variable

ROOT = Path(__file__).resolve().parents[2]
HAS_PROC = Path("/proc/self/environ").exists()
PARTS = [range(start, start + 2) for start in range(0, 16, 2)]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


class Family:
    """Processes that a test starts and all that stem from them, told by a variable that they
    inherit."""

    def __init__(self, folder: Path):
        # whose path is too long for sockets, of which there are some among temporary files
        self.folder = folder
        self.temporary = tempfile.TemporaryDirectory(prefix="np-",
                                                     dir="/tmp",
                                                     ignore_cleanup_errors=True)

    def start(self, *command: str, signals: Callable = in_the_foreground,
              **variables: str) -> subprocess.Popen:
        inherited = {name: value for name, value in os.environ.items()
                     if not name.startswith("RAY_")}
        return subprocess.Popen([sys.executable, *command], cwd=self.folder, start_new_session=True,
                                text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                preexec_fn=signals, env=inherited | variables | {"NEURONPATH_TEST": str(self.folder),
                                                             "PYTHONPATH": str(ROOT),
                                                             "HOME": str(self.folder),
                                                             "TMPDIR": self.temporary.name})

    def script(self, seconds: float, address: str = "local",
               signals: Callable = in_the_foreground) -> subprocess.Popen:
        (self.folder / "script.py").write_text(SCRIPT)
        return self.start("script.py", str(seconds), address, signals=signals)

    def members(self) -> list[int]:
        return with_variable("NEURONPATH_TEST", self.folder)

    def listening_elsewhere(self) -> list[str]:
        """Addresses other than loopback at which one of the processes listens."""
        sockets = set()
        for process in self.members():
            for entry in Path(f"/proc/{process}/fd").glob("*"):
                with contextlib.suppress(OSError):
                    sockets.add(os.readlink(entry))
        lines = [line.split() for table in ("tcp", "tcp6")
                 for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
        listening = [line[1] for line in lines if line[3] == "0A"
                     and f"socket:[{line[9]}]" in sockets]
        assert listening
        return [each for each in listening
                if not each.startswith(("0100007F", "0000000000000000FFFF00000100007F"))]


@pytest.fixture
def family(tmp_path) -> Iterator[Family]:
    if not HAS_PROC:
        pytest.skip("processes are told by /proc")
    started = Family(tmp_path)
    yield started
    for process in started.members():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    started.temporary.cleanup()


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Iterator[None]:
    """This process, connected to a cluster of two cores that it started; nothing of it is left in
    the end."""
    started, before = Family(tmp_path_factory.mktemp("two")), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURONPATH_TEST", str(started.folder))
        with ray_cluster.cluster("local", cpus=2) as ray:
            assert ray.cluster_resources()["CPU"] == 2
            yield
        with pytest.raises(ValueError,
                           match="this process has started a Ray cluster of its own .*; accepted: "
                                 "a new process"), ray_cluster.cluster("auto"):
            pass
    assert not HAS_PROC or eventually(lambda: not started.members())
    assert signal.getsignal(signal.SIGTERM) is before


def squares(seconds: float = 0.0, act: Callable[[range], object] = lambda part: None) -> Callable:
    """Builds workers that take their time, do something, and return squares and their process; it
    travels by value, so that workers load little."""
    def make():
        def work(part):
            import os
            import time

            import pandas as pd

            time.sleep(seconds)
            act(part)
            return pd.DataFrame({"image": list(part), "square": [number**2 / 3 for number in part],
                                 "process": os.getpid()})
        return work
    return make


def merged(results) -> pd.DataFrame:
    """One table, each part exactly once; without the process, which may differ."""
    results = sorted(results, key=lambda each: each[0].start)
    assert len({part for part, _ in results}) == len(results)
    return pd.concat([table for _, table in results], ignore_index=True).drop(columns="process")


def same(found, parts=PARTS) -> None:
    expected = merged(engines.local(squares(), parts))
    pd.testing.assert_frame_equal(merged(found), expected, check_exact=True)


def test_local_goes_through_the_parts_in_order_and_builds_one_worker():
    built = []

    def make():
        built.append(True)
        return squares()()

    results = engines.run("local", make, PARTS)
    assert not built
    assert [part for part, _ in results] == PARTS and built == [True]
    assert list(engines.run("local", make, [])) == [] and built == [True]


def test_two_workers_return_what_this_process_does(two):
    found = list(engines.run("ray", squares(0.05), PARTS, workers=2))
    same(found)
    processes = {table["process"][0] for _, table in found}
    assert len(processes) == 2 and os.getpid() not in processes
    found[0][1].loc[0, "square"] = 0.0  # a table of one's own, not a view of Ray's memory


def search_worker():
    import neuronpath_core as npc
    from tests import helpers

    target = npc.TargetModel(helpers.small_vit(5, in_chans=3))
    images, labels = helpers.small_batch(8, 6)

    def work(part):
        found = npc.find_paths(target, images[part.start:part.stop], labels[part.start:part.stop])
        return pd.DataFrame({"image": list(part), "score": found.score.numpy(),
                             "neurons": found.neurons.tolist(), "process": os.getpid()})
    return work


def test_paths_of_a_model_are_the_same_bit_for_bit(two):
    parts = PARTS[:4]
    pd.testing.assert_frame_equal(merged(engines.run("ray", search_worker, parts)),
                                  merged(engines.local(search_worker, parts)), check_exact=True)


def test_a_worker_that_is_killed_loses_nothing(two):
    results, killed = engines.on_ray(squares(0.2), PARTS, workers=2), None
    with pytest.warns(choice.EngineWarning,
                      match=r"worker \d \(process \d+ on .*\) died while it did part \d+\.\.\d+, "
                            r"attempt 1 of 3$") as told:
        found = []
        for part, table in results:
            found.append((part, table))
            if killed is None:
                killed = int(table["process"][0])
                os.kill(killed, signal.SIGKILL)
    same(found)
    assert len(told) == 1 and f"process {killed}" in str(told[0].message)


def test_a_part_that_always_kills_is_named_after_the_others_are_done(two):
    def act(part):
        if 5 in part:
            os.kill(os.getpid(), signal.SIGKILL)

    found = []
    with pytest.warns(choice.EngineWarning, match="died while it did part 4..5") as told, \
            pytest.raises(RuntimeError,
                          match=r"^part 4\.\.5 killed its worker 3 times in a row; all other "
                                r"parts are done; accepted: .*$"):
        for each in engines.on_ray(squares(act=act), PARTS, workers=2):
            found.append(each)
    same(found, [part for part in PARTS if part != range(4, 6)])
    assert [str(each.message).split(", ")[1] for each in told] == ["attempt 1 of 3",
                                                                   "attempt 2 of 3",
                                                                   "attempt 3 of 3"]


@pytest.mark.skipif(not HAS_PROC, reason="needs /proc")
def test_where_every_part_kills_its_worker_it_is_said_that_the_others_were_not_tried(two, tmp_path,
                                                                                     monkeypatch):
    """The second worker is at another part when the last attempt is spent; what it had is not tried
    again either."""
    def act(part):
        (tmp_path / str(os.getpid())).write_text("")
        for _ in range(80):  # no worker dies alone, unless it is the only one left
            if any(path.name != str(os.getpid()) and Path(f"/proc/{path.name}").exists()
                   for path in tmp_path.iterdir()):
                break
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(spread, "ATTEMPTS", 2)
    with pytest.warns(choice.EngineWarning, match="died while it did part") as told, \
            pytest.raises(RuntimeError,
                          match=r"^part .* killed their worker 2 times in a row; nothing more was "
                                r"tried; accepted: .*$"):
        list(engines.on_ray(squares(act=act), PARTS, workers=2))
    assert len(told) < len(PARTS)


def test_workers_that_die_before_they_are_ready_end_it(two):
    with pytest.warns(choice.EngineWarning,
                      match="before it was ready"), pytest.raises(RuntimeError,
                                                                  match="died 3 times in a row "
                                                                        "before it was ready"):
        list(engines.on_ray(lambda: os._exit(1), PARTS, workers=1))


def test_what_the_work_raises_is_raised_as_it_is_and_once(two, tmp_path):
    def act(part):
        if 5 in part:
            (tmp_path / str(time.time_ns())).touch()
            raise ValueError("images must be finite; accepted: finite numbers")

    with pytest.raises(ValueError,
                       match="^images must be finite; accepted: finite numbers$") as caught:
        list(engines.on_ray(squares(act=act), PARTS, workers=2))
    assert caught.type is ValueError and "in act" in str(caught.value.__cause__)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_building_a_worker_raises_is_raised_too_and_what_cannot_travel_is_told(two):
    class Odd(Exception):
        def __init__(self, one, another):
            super().__init__(f"{one} {another}")

    lock = threading.Lock()

    def missing():
        raise ValueError("weights not found")

    def odd():
        raise Odd("something", "odd")

    with pytest.raises(ValueError, match="^weights not found$"):
        list(engines.on_ray(missing, PARTS, workers=1))
    with pytest.raises(RuntimeError, match="^Odd: something odd$"):
        list(engines.on_ray(odd, PARTS, workers=1))
    with pytest.raises(ValueError, match="make_worker cannot be sent to workers: .*; accepted"):
        list(engines.on_ray(lambda: lock, PARTS))


def test_warnings_of_the_work_are_issued_here(two):
    def act(part):
        __import__("warnings").warn(f"picture {part.start} cannot be read", UserWarning,
                                    stacklevel=1)

    with pytest.warns(UserWarning) as told:
        list(engines.on_ray(squares(act=act), PARTS[:2], workers=1))
    assert {str(each.message) for each in told} == {"picture 0 cannot be read",
                                                    "picture 2 cannot be read"}


def test_a_stop_in_the_middle_leaves_no_worker_and_no_more_than_two_parts_each_are_begun(
        two, tmp_path):
    def act(part):
        (tmp_path / str(part.start)).touch()

    results = engines.on_ray(squares(act=act), PARTS, workers=2)
    _, table = next(results)
    # the first part may come back before the second worker is there
    assert eventually(lambda: len(list(tmp_path.iterdir())) >= spread.IN_FLIGHT)
    time.sleep(0.3)
    assert len(list(tmp_path.iterdir())) in (spread.IN_FLIGHT,
                                             2 * spread.IN_FLIGHT) and len(
        PARTS) > 2 * spread.IN_FLIGHT
    process = int(table["process"][0])
    assert is_running(process)
    results.close()
    assert eventually(lambda: not is_running(process))


def test_workers_get_variables_threads_folder_and_import_path(two, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("ANSWER = 42\n")
    monkeypatch.setenv("NEURONPATH_DATA", "pictures")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def make():
        import importlib

        import torch

        only_here = importlib.import_module("only_here")

        def work(part):
            return pd.DataFrame({"data": [os.environ["NEURONPATH_DATA"]],
                                 "threads": torch.get_num_threads(),
                                 "omp": os.environ["OMP_NUM_THREADS"],
                                 "folder": os.getcwd(), "answer": only_here.ANSWER})
        return work

    (_, table), = engines.on_ray(make, PARTS[:1], cpus_per_worker=2)
    assert table.iloc[0].to_dict() == {"data": "pictures", "threads": 2, "omp": "2",
                                       "folder": str(tmp_path), "answer": 42}


def test_no_more_workers_than_parts_and_none_without_parts(two):
    (_, table), = engines.on_ray(squares(), PARTS[:1], workers=2)
    assert len(table) == 2
    assert list(engines.on_ray(lambda: os._exit(1), [])) == []


def test_a_machine_with_another_source_is_refused(two, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "neuronpath_core", tmp_path / "neuronpath_core",
                    ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "neuronpath_core" / "metrics.py").open("a") as source:
        source.write("CHANGED = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError,
                       match=r"worker \d .* has the source of neuronpath_core \w+, this process "
                             r"has .*; accepted: the same on every machine"):
        list(engines.on_ray(squares(), PARTS))


def test_what_the_cluster_has_no_room_for_is_refused(two):
    with pytest.raises(ValueError,
                       match="room for 2 workers with 1 CPU each, not for 3; accepted: 1..2"):
        next(engines.on_ray(squares(), PARTS, workers=3))
    with pytest.raises(ValueError,
                       match="room for 0 workers with a GPU and 1 CPU each, not for any; "
                             "accepted: a larger cluster"):
        next(engines.on_ray(squares(), PARTS, gpus_per_worker=1))


@pytest.mark.parametrize(("options", "message"), [
    ({"engine": "dask"}, "unknown engine 'dask'; accepted: local, ray"),
    ({"engine": "local", "workers": 2}, "engine 'local' takes no workers: .*; accepted: engine "
                                        "'ray'"),
    ({"engine": "local", "address": "auto"}, "engine 'local' takes no address: .*; accepted: "
                                             "engine 'ray'"),
    ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
    ({"workers": True}, "workers must be a whole number of at least 1, got True"),
    ({"cpus_per_worker": 0}, "cpus_per_worker must be a whole number of at least 1, got 0"),
    ({"gpus_per_worker": 2}, "gpus_per_worker must be 0 or 1, got 2"),
    ({"address": "nonsense"}, "'nonsense' is no address of a Ray cluster; accepted: HOST:PORT"),
    ({"address": "ray://127.0.0.1:10001"}, "'ray://127.0.0.1:10001' is no address of a Ray "
                                           "cluster; accepted: HOST:PORT"),
    ({"address": "127.0.0.1:99999"}, "is no address of a Ray cluster; accepted: HOST:PORT"),
])
def test_what_is_refused_before_anything_starts(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        engines.run(**{"engine": "ray", "make_worker": squares(), "parts": PARTS} | options)
    assert "\n" not in str(caught.value)


def test_an_address_where_nothing_answers_is_refused_wherever_it_is_named(monkeypatch):
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(ValueError,
                       match=f"no Ray cluster answers at {address} .*; accepted: HOST:PORT"):
        engines.on_ray(squares(), PARTS, address=address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ValueError, match=f"no Ray cluster answers at {address}"):
        choice.check("ray")
    choice.check("local")
    choice.check("ray", address="local")  # one that is started here


def test_without_ray_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for call in (lambda: choice.check("ray"), lambda: engines.run("ray", squares(), PARTS),
                 lambda: next(engines.on_ray(squares(), PARTS))):
        with pytest.raises(ValueError,
                           match=r'^engine \'ray\' needs Ray; accepted: pip install '
                                 r'"neuronpath-core\[ray\]"$'):
            call()
    assert len(list(engines.run("local", squares(), PARTS))) == len(PARTS)


# prints the parts as they arrive, and who did them; a part takes as many seconds as it is told
SCRIPT = """
import os, sys, time, pandas as pd
from neuronpath_core.study.engines import run as engines

def make():
    def work(part):
        time.sleep(seconds)
        return pd.DataFrame({"image": list(part), "process": os.getpid()})
    return work

if __name__ == "__main__":
    seconds, address, before = float(sys.argv[1]), sys.argv[2], dict(os.environ)
    try:
        for part, table in engines.run("ray", make, [range(4), range(4, 6), range(6, 7)], workers=1, address=address):
            print(part, table["process"][0], sep=" by ", flush=True)
    finally:
        print("environment", "restored" if dict(os.environ) == before else set(os.environ) ^ set(before), flush=True)
"""


@pytest.mark.parametrize(("number", "signals"), [
    (signal.SIGINT, in_the_foreground), (signal.SIGTERM, in_the_foreground),
    (signal.SIGKILL, in_the_foreground), (signal.SIGTERM, in_the_background)])
def test_a_command_that_is_stopped_takes_its_cluster_along(family, number, signals):
    process = family.script(1, signals=signals)
    part, worker = process.stdout.readline().split(" by ")
    assert part == "range(0, 4)" and is_running(int(worker))
    assert family.listening_elsewhere() == []
    # Ctrl-C reaches the whole group
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert eventually(lambda: not is_running(int(worker)))
    if number == signal.SIGKILL:
        return  # two small processes of Ray's look for their cluster for another minute
    assert output == "environment restored\n" and (number == signal.SIGTERM
                                                   or errors.rstrip().endswith("KeyboardInterrupt"))
    assert eventually(lambda: not family.members())
    assert not (family.folder / ".ray").exists() and not list(Path(family.temporary.name).iterdir())


def test_a_named_cluster_is_used_and_left_running(family):
    port = free_port()
    head = family.start("-c", "from ray.scripts.scripts import main; main()", "start", "--head",
                        "--block", "--num-cpus=1", f"--port={port}",
                        "--node-ip-address=127.0.0.1", "--include-dashboard=false",
                        "--disable-usage-stats", f"--temp-dir={family.temporary.name}/ray",
                        "--object-store-memory=100000000", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
                        RAY_AUTH_MODE="disabled")
    assert any("Ray runtime started" in line for line in head.stdout), head.stderr.read()
    process = family.script(0, f"127.0.0.1:{port}")
    output, errors = process.communicate(timeout=60)
    assert errors == "" and process.returncode == 0
    assert [line.split(" by ")[0] for line in output.splitlines()] == ["range(0, 4)", "range(4, 6)",
                                                                       "range(6, 7)",
                                                                       "environment restored"]
    assert eventually(lambda: not is_running(int(output.splitlines()[0].split(" by ")[1])))
    assert head.poll() is None
    head.terminate()
    head.communicate(timeout=60)
    assert eventually(lambda: not family.members())
