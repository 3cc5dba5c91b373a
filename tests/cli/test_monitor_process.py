import json
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
from henaw.cli.server.monitor import read_monitor_port, start_monitor, stop_monitor

SERVE_CONFIG = Path(__file__).resolve().parents[2] / "serve_config"


def test_it_is_stopped_though_the_clock_was_set(
    tmp_path: Path, set_clock: Callable[[], None]
) -> None:
    (tmp_path / "logs").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_monitor(configuration=SERVE_CONFIG / "local", run=tmp_path, port=port)
    process = psutil.Process(json.loads((tmp_path / "monitor.json").read_text())["pid"])
    assert read_monitor_port(tmp_path) == port
    try:
        set_clock()
        stop_monitor(tmp_path)
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    finally:
        if process.is_running():
            process.kill()
            process.wait()
