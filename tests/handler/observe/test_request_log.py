"""Where records of requests go."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from henaw.handler.observe import request_log
from henaw.handler.observe.request_log import RequestLog


def read(path: Path) -> list[int]:
    return [json.loads(line)["status"] for line in path.read_text().splitlines()]


@pytest.fixture
def open_log() -> Iterator[Callable[..., RequestLog]]:
    with contextlib.ExitStack() as opened:
        yield lambda *where: opened.enter_context(contextlib.closing(RequestLog(*where)))


def log_statuses(log: RequestLog, *statuses: int) -> None:
    for status in statuses:
        log.write({"event": "request", "status": status})
    log.flush()


def test_records_have_a_file_and_notices_do_not(
    tmp_path: Path, open_log: Callable[..., RequestLog]
) -> None:
    printed = io.BytesIO()
    log = open_log(printed, tmp_path / "logs")
    log_statuses(log, 200, 422)
    log.report("ready")
    log_statuses(log, 503)
    assert read(tmp_path / "logs" / "requests.0.log") == [200, 422, 503]
    notice = json.loads(printed.getvalue())
    assert (notice["event"], notice["message"]) == ("notice", "ready")


def test_each_worker_has_a_file_and_takes_over_a_dead_ones(tmp_path: Path) -> None:
    program = """
import io, sys
from pathlib import Path
from henaw.handler.observe.request_log import RequestLog
log = RequestLog(io.BytesIO(), Path(sys.argv[1]))
log.write({"status": int(sys.argv[2])})
log.flush()
print("written", flush=True)
sys.stdin.read()
"""

    def start(status: int) -> "subprocess.Popen[str]":
        worker = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(status)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert worker.stdout is not None
        assert worker.stdout.readline() == "written\n"
        return worker

    first, second = start(1), start(2)
    first.kill()
    first.communicate()
    third = start(3)
    assert read(tmp_path / "requests.0.log") == [1, 3]
    assert read(tmp_path / "requests.1.log") == [2]
    for worker in (second, third):
        worker.communicate("")


def test_old_records_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_log: Callable[..., RequestLog]
) -> None:
    monkeypatch.setattr(request_log, "_LARGEST_BYTES", 200)
    log = open_log(io.BytesIO(), tmp_path)
    for status in range(100, 130):
        log_statuses(log, status)
    files = sorted(tmp_path.glob("requests.0.log*"))
    assert len(files) == 6
    assert all(path.stat().st_size <= 300 for path in files)
    assert read(tmp_path / "requests.0.log")[-1] == 129


def test_without_a_folder_records_are_printed_with_a_notice(
    tmp_path: Path, open_log: Callable[..., RequestLog]
) -> None:
    (tmp_path / "file").write_text("")
    printed = io.BytesIO()
    log = open_log(printed, tmp_path / "file" / "logs")
    log_statuses(log, 200)
    notice, record = map(json.loads, printed.getvalue().splitlines())
    assert "requests are logged here and not in" in notice["message"]
    assert record["status"] == 200


def test_a_full_disk_loses_only_log_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], open_log: Callable[..., RequestLog]
) -> None:
    class Full(io.BytesIO):
        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    (tmp_path / "requests.0.log").symlink_to("/dev/full")
    log = open_log(Full(), tmp_path)
    log_statuses(log, 200)
    log.report("something")
    assert capfd.readouterr() == ("", "")
