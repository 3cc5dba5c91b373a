"""The report on a shadow, from two real monitors."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from click.testing import CliRunner
from henaw.cli.main import commands
from henaw.handler.observe.monitor import build_application
from henaw.handler.observe.worker_state import Compared, Histogram, StateFile, Totals, WorkerState
from henaw.model.errors import RuntimeUnavailableError

BOUNDS = (0.1, 0.5, 1.0, 5.0)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def make_state(
    version: str, other: str, requests: dict[str, int], differences: list[float], unlike: int
) -> WorkerState:
    compared = Compared(
        same_status=len(differences), other_status=unlike, difference=Histogram.over(*BOUNDS)
    )
    for difference in differences:
        compared.difference.observe(difference)
    empty, ages = Histogram.over(1.0), Histogram.over(50.0)
    ages.observe(52.25, 4)
    return WorkerState(
        pid=1,
        created="a boot and ticks",
        version=version,
        runtime="onnx",
        fallbacks=0,
        throttle_fallbacks=0,
        checked_at=0.0,
        differences=[],
        busy_since=None,
        drift_slot=1,
        drift_slots=12,
        drift_expected={},
        totals=Totals(
            requests=requests,
            request_seconds=empty,
            validation_seconds=empty,
            batch_requests=empty,
            biological_age=ages,
            imputed=[0] * 9,
            out_of_range=[0] * 9,
            compared={other: compared},
        ),
    )


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[list[str]]:
    """The addresses of both monitors."""
    states = (
        make_state("0.1.0", "0.2.0", {"200": 97, "422": 5}, [0.05] * 50 + [0.3] * 40, 1),
        make_state("0.2.0", "0.1.0", {"200": 97, "429": 1}, [0.7] * 9 + [2.0], 1),
    )
    servers = []
    for number, state in enumerate(states):
        folder = tmp_path / str(number)
        StateFile(folder).write(state)
        application = build_application(folder, patience_s=15.0)
        servers.append(make_server("127.0.0.1", 0, application, handler_class=Quiet))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
    yield [f"http://127.0.0.1:{server.server_port}/metrics" for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_counts_of_both_versions_are_added_up(urls: list[str]) -> None:
    arguments = [part for url in (*urls, urls[0]) for part in ("--metrics", url)]
    result = CliRunner().invoke(commands, ["shadow", *arguments])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "0.1.0 and 0.2.0: 102 requests compared",
        "  other status: 2 (1.96%)",
        "  biological age of 100 people differs by: median at most 0.1 years, "
        "p90 at most 0.5 years, p99 at most 1 years, largest at most 5 years",
        "0.1.0: all requests by status: 200: 97, 422: 5; mean biological age: 52.25 years",
        "0.2.0: all requests by status: 200: 97, 429: 1; mean biological age: 52.25 years",
    ]


def test_the_report_says_if_nothing_is_compared_yet(tmp_path: Path) -> None:
    application = build_application(tmp_path, patience_s=15.0)
    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        result = CliRunner().invoke(commands, ["shadow", "--metrics", url])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("no requests compared yet")


def test_a_monitor_that_does_not_answer_is_named() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/metrics"
        with pytest.raises(RuntimeUnavailableError, match=f"{url} does not answer"):
            CliRunner().invoke(commands, ["shadow", "--metrics", url], catch_exceptions=False)
