import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest
from henaw.handler.observe.process_identity import identify_process
from henaw.handler.observe.worker_state import (
    Histogram,
    StateFile,
    Totals,
    WorkerState,
    read_states,
    remove_dead_states,
)


def make_state(**changes: object) -> WorkerState:
    state = WorkerState(
        pid=os.getpid(),
        created=identify_process(os.getpid()) or "",
        version="1.0",
        runtime="onnx",
        fallbacks=0,
        throttle_fallbacks=0,
        checked_at=100.0,
        differences=[],
        busy_since=None,
        drift_slot=3,
        drift_slots=12,
        drift_expected={"crp": (0.5, 0.5)},
        totals=Totals(
            request_seconds=Histogram.over(1.0),
            validation_seconds=Histogram.over(1.0),
            batch_requests=Histogram.over(1.0),
            biological_age=Histogram.over(1.0),
            imputed=[0] * 9,
            out_of_range=[0] * 9,
        ),
    )
    return msgspec.structs.replace(state, **changes)


def test_the_last_state_is_read(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "made")
    file.write(make_state(version="a long name " * 50))
    file.write(make_state(version="1.1", differences=["x"]))
    (state,) = read_states(tmp_path / "made")
    assert (state.version, state.differences) == ("1.1", ["x"])
    assert state.is_alive()
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0


def test_a_removed_file_is_recreated(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "f")
    file.write(make_state())
    for path in (tmp_path / "f").iterdir():
        path.unlink()
    file.write(make_state(version="2"))
    assert [state.version for state in read_states(tmp_path / "f")] == ["2"]


def test_a_closed_file_is_read_but_not_held_open(tmp_path: Path) -> None:
    before = psutil.Process().num_fds()
    file = StateFile(tmp_path)
    file.close()
    file.write(make_state(ended=True))
    file.close()
    assert psutil.Process().num_fds() == before
    (state,) = read_states(tmp_path)
    assert state.ended


@pytest.mark.parametrize("content", [b"", b"x", b"\x05\0\0\0\1\2\3\4hello", os.urandom(4096)])
def test_incomplete_and_foreign_files_are_ignored_and_removed(
    tmp_path: Path, content: bytes
) -> None:
    StateFile(tmp_path).write(make_state())
    (tmp_path / "7-7.state").write_bytes(content)
    assert len(read_states(tmp_path)) == 1
    remove_dead_states(tmp_path)
    assert not (tmp_path / "7-7.state").exists()
    assert len(read_states(tmp_path)) == 1


def test_a_dead_worker_is_told_from_a_living_one(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    created = identify_process(child.pid)
    state = make_state(pid=child.pid, created=created)
    assert state.is_alive()
    assert not make_state(pid=child.pid, created=f"{created}0").is_alive()
    child.kill()
    psutil.wait_procs([psutil.Process(child.pid)], timeout=0.1)
    assert not state.is_alive()
    child.communicate()
    assert not state.is_alive()


def test_a_clock_that_is_set_kills_no_worker(tmp_path: Path, set_clock: Callable[[], None]) -> None:
    StateFile(tmp_path).write(make_state())
    set_clock()
    remove_dead_states(tmp_path)
    (state,) = read_states(tmp_path)
    assert state.is_alive()


def test_a_worker_writes_its_state_on_a_full_disk(tmp_path: Path) -> None:
    """Fill a file system that has room for almost two files."""
    script = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_worker_state import make_state
from henaw.handler.observe.worker_state import StateFile, read_states
folder = Path(sys.argv[1])
file = StateFile(folder)
file.write(make_state())
filler = (folder / "filler").open("wb", buffering=0)
try:
    while True:
        filler.write(b"x" * 4096)
except OSError:
    pass
file.write(make_state(version="full " * 3000))
print(len(read_states(folder)[0].version))
"""
    mount = "mount -t tmpfs -o size=1m tmpfs '{0}' && exec '{1}' -c \"$0\" '{0}' '{2}'"
    command = mount.format(tmp_path, sys.executable, Path(__file__).parent)
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, script], capture_output=True, text=True, check=False
    )
    if "unshare" in result.stderr or "mount:" in result.stderr:
        pytest.skip(f"no mount of one's own here: {result.stderr.strip()}")
    assert result.stdout.strip() == "15000", result.stderr
