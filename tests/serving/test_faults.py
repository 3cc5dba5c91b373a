"""What clients see while parts of a server die under load."""

import concurrent.futures
import contextlib
import http.client
import json
import random
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import psutil
import pytest
import requests
from henaw.cli.checks.deployment import Deployment, examine
from henaw.cli.server import torchserve
from henaw.cli.server.example_request import wait_for_answer
from henaw.cli.server.record import ServerError, find_server
from henaw.cli.server.torchserve import stop_server
from henaw.model.biomarkers import PANEL

PEOPLE: list[dict[str, Any]] = [
    {
        "age": age,
        "sex": age % 2,
        "biomarkers": {b.name: b.minimum + (b.maximum - b.minimum) * age / 2000 for b in PANEL},
    }
    for age in range(20, 84, 4)
]
CLIENTS = 8


class Observed:
    """The statuses and wrong answers that several clients got."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.wrong: list[Any] = []


PLENTY = {"anonymous": {"rate": 1_000_000, "period_s": 1, "burst": 1_000_000}}


@pytest.fixture(scope="module")
def serve(start: Callable[..., Any]) -> Callable[..., Any]:
    """Start the shipped local server with other limits, and without a throttle."""

    def make(**limits: float) -> Any:
        server = start("local", throttle={**PLENTY, "cost_per_instance": 0}, limits=limits)
        wait_for_answer(server.record, server.run)
        return server

    return make


@contextlib.contextmanager
def clients_of(server: Any) -> Iterator[Observed]:
    """Send requests without a pause, and compare each answer with the first one."""
    expected = [server.post(person).json()["biological_age"] for person in PEOPLE]
    observed, ended = Observed(), threading.Event()

    def ask(client: int) -> None:
        with requests.Session() as session:
            for turn in range(client, 1_000_000):
                if ended.is_set():
                    return
                row = turn % len(PEOPLE)
                try:
                    response = session.post(
                        f"{server.record.url}/predictions/henaw", json=PEOPLE[row], timeout=60
                    )
                except requests.ConnectionError:
                    observed.statuses.append(0)
                    continue
                observed.statuses.append(response.status_code)
                if response.ok and response.json()["biological_age"] != expected[row]:
                    observed.wrong.append((row, response.text))

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask, client) for client in range(CLIENTS)]
        try:
            yield observed
        finally:
            ended.set()
        for future in asking:
            future.result()
    assert not observed.wrong


def wait_for_more(observed: Observed, status: int = 200, count: int = 50) -> None:
    """Wait until clients have got that status so many more times."""
    begin = len(observed.statuses)
    deadline_s = time.monotonic() + 60
    while observed.statuses[begin:].count(status) < count:
        assert time.monotonic() < deadline_s, observed.statuses[begin:]
        time.sleep(0.02)


NOTHING_IS_LOST = "TorchServe closes what it has accepted when it is told to end"


@pytest.fixture(scope="module")
def lasting(serve: Callable[..., Any]) -> Any:
    """One server for the faults that it survives."""
    return serve(batch_s=60)


def test_a_killed_worker_fails_what_was_in_flight_and_nothing_else(lasting: Any) -> None:
    with clients_of(lasting) as observed:
        wait_for_more(observed)
        (worker,) = lasting.list_workers()
        worker.kill()
        psutil.wait_procs([worker], timeout=30)
        wait_for_more(observed)
    # Requests that had not reached the worker wait for the next; each client sends one at a time.
    failed = [status for status in observed.statuses if status != 200]
    assert len(failed) <= CLIENTS
    assert ({0} if lasting.record.engine == "native" else {500, 503, 507}) >= set(failed)


def test_it_serves_while_the_disk_for_logs_is_full(lasting: Any) -> None:
    everything = resource.RLIM_INFINITY
    processes = lasting.list_processes()
    log = lasting.run / "logs" / "requests.0.log"
    with clients_of(lasting) as observed:
        wait_for_more(observed)
        try:
            for process in processes:
                process.rlimit(psutil.RLIMIT_FSIZE, (0, everything))
            wait_for_more(observed, count=5)
            full = log.stat().st_size
            wait_for_more(observed, count=300)
            assert log.stat().st_size <= full
        finally:
            for process in processes:
                process.rlimit(psutil.RLIMIT_FSIZE, (everything, everything))
        wait_for_more(observed)
    assert set(observed.statuses) == {200}


@pytest.mark.parametrize("fault", ["overwritten", "deleted", "emptied"])
def test_it_serves_while_the_throttles_store_is_damaged(lasting: Any, fault: str) -> None:
    store = lasting.run / "throttle.sqlite3"
    with clients_of(lasting) as observed:
        wait_for_more(observed)
        assert store.is_file()
        match fault:
            case "overwritten":
                store.write_bytes(b"\xa5" * 8192)
            case "deleted":
                for path in store.parent.glob(f"{store.name}*"):
                    path.unlink()
            case "emptied":
                store.write_bytes(b"")
        wait_for_more(observed, count=1000)
    assert set(observed.statuses) == {200}
    limit = lasting.post(PEOPLE[0]).headers
    assert int(limit["RateLimit-Remaining"]) < int(limit["RateLimit-Limit"])


def test_a_server_is_found_after_the_clock_was_set(
    lasting: Any, set_clock: Callable[[], None]
) -> None:
    set_clock()
    assert find_server(lasting.run) == lasting.record


def test_a_server_that_is_stopped_answers_accepted_requests(
    serve: Callable[..., Any], stop_engine: Callable[[Path], None]
) -> None:
    server = serve(batch_s=60)
    # Four such answers must fit together in what a worker has room for (answers_bytes).
    crowd = {"instances": PEOPLE * 300, "outputs": ["biological_age"]}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(server.post, crowd) for _ in range(4)]
        deadline_s = time.monotonic() + 30
        while sum(client.status == "ESTABLISHED" for client in _list_clients(server)) < len(taken):
            assert time.monotonic() < deadline_s
        time.sleep(0.05)
        stop_engine(server.run)
        responses = [future.result() for future in taken]
    said = [response.text[:300] for response in responses if response.status_code != 200]
    assert [response.status_code for response in responses] == [200] * 4, said
    for response in responses:
        assert len(response.json()["predictions"]) == len(crowd["instances"])


class Caller(threading.Thread):
    """One client who asks without a pause, over one connection for as long as it is kept.

    Attributes:
        seen: status, ``Retry-After`` and ``Connection`` of each answer.
        lost: what happened to each request that was sent and not answered.
        cut_off: how many of them were the first on their connection: one that the kernel had
            taken and TorchServe had not when it stopped listening is reset.
        refused: whether it ended by nobody listening any more.
    """

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port
        self.seen: list[tuple[int, str | None, str | None]] = []
        self.lost: list[str] = []
        self.cut_off = 0
        self.refused = False

    def run(self) -> None:
        body, headers = json.dumps(PEOPLE[0]), {"Content-Type": "application/json"}
        while True:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
            try:
                connection.connect()
            except ConnectionRefusedError:
                self.refused = True
                return
            answered = False
            try:
                while connection.sock is not None:
                    connection.request("POST", "/predictions/henaw", body, headers)
                    response = connection.getresponse()
                    response.read()
                    kept = response.getheader("connection")
                    self.seen.append((response.status, response.getheader("retry-after"), kept))
                    answered = True
            except (OSError, http.client.HTTPException) as error:
                if answered:
                    self.lost.append(repr(error))
                else:
                    self.cut_off += 1
            finally:
                connection.close()


def check_no_answer_is_lost(callers: list[Caller], engine: str) -> None:
    """Each was answered, on TorchServe then sent away, and then refused.

    What the kernel had taken and the server had not is reset, once on each connection.
    """
    assert [lost for caller in callers for lost in caller.lost] == []
    for caller in callers:
        assert caller.cut_off <= 1
        assert caller.refused
        kept = [seen for seen in caller.seen if seen[0] == 200]
        assert kept
        sent_away = {(503, "1", "close")} if engine == "torchserve" else set()
        assert set(caller.seen[len(kept) :]) == sent_away


def call_all_the_while(url: str) -> list[Caller]:
    callers = [Caller(url) for _ in range(CLIENTS)]
    for caller in callers:
        caller.start()
    deadline_s = time.monotonic() + 60
    while not all(len(caller.seen) > 50 for caller in callers):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    return callers


@pytest.mark.only("native", NOTHING_IS_LOST)
def test_a_server_that_is_stopped_under_load_loses_no_answer(
    serve: Callable[..., Any], stop_engine: Callable[[Path], None]
) -> None:
    server = serve(batch_s=60)
    callers = call_all_the_while(server.record.url)
    stop_engine(server.run)
    for caller in callers:
        caller.join(timeout=10)
    check_no_answer_is_lost(callers, server.record.engine)
    assert find_server(server.run) is None


@pytest.mark.only("native", NOTHING_IS_LOST)
def test_a_server_in_the_foreground_loses_no_answer_when_it_is_terminated(
    start: Callable[..., Any],
    stop_engine: Callable[[Path], None],
    free_ports: Callable[[], int],
    tmp_path: Path,
) -> None:
    made = start("local", throttle={**PLENTY, "cost_per_instance": 0})
    stop_engine(made.run)
    port = free_ports()
    command = [
        *(sys.executable, "-c", "from henaw.cli.main import main; main()", "serve", "--foreground"),
        *("--config", str(made.run / "config"), "--archive", str(made.run / "henaw.mar")),
        *("--run", str(tmp_path / "run"), "--port", str(port)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = next(line for line in process.stdout if "answers on" in line)
            callers = call_all_the_while(said.split()[3])
            process.terminate()
            time.sleep(1)
            process.terminate()  # Who asks twice cuts nothing off.
            assert process.wait(timeout=90) == 0
        finally:
            process.kill()
            stop_engine(tmp_path / "run")
    for caller in callers:
        caller.join(timeout=10)
    check_no_answer_is_lost(callers, made.record.engine)


@pytest.mark.only("torchserve", "the native engine ends by itself once it is told")
def test_after_an_interrupted_stop_the_server_still_answers(
    lasting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        if (lasting.run / "drain").exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(torchserve, "_wait_until_idle", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stop_server(lasting.run)
    assert lasting.post(PEOPLE[0]).status_code == 200


@pytest.mark.only("torchserve", "the native engine has no mark to be left")
def test_the_doctor_finds_the_rest_of_an_interrupted_stop(lasting: Any) -> None:
    configuration, archive = lasting.run / "config", lasting.run / "henaw.mar"
    deployment = Deployment(configuration=configuration, archive=archive, run=lasting.run)

    def find_problems() -> list[str]:
        findings = examine(deployment)
        return [f.seen for f in findings if (f.check, f.status) == ("drain", "problem")]

    assert find_problems() == []
    drain = lasting.run / "drain"
    drain.mkdir()
    try:
        assert lasting.post(PEOPLE[0]).status_code == 503
        (seen,) = find_problems()
    finally:
        shutil.rmtree(drain)
    assert seen.startswith(f"{drain} exists, so ")
    assert lasting.post(PEOPLE[0]).status_code == 200


@pytest.mark.only("native", "TorchServe's own front end would need a time limit")
def test_a_worker_that_hangs_is_killed_and_replaced(quick: Any) -> None:
    (worker,) = quick.list_workers()
    worker.suspend()
    psutil.wait_procs([worker], timeout=60)
    assert quick.post(PEOPLE[0]).status_code == 200
    assert [other.pid for other in quick.list_workers()] != [worker.pid]


@pytest.mark.only("native", "TorchServe keeps its front end without a worker")
def test_a_server_without_a_worker_ends_and_says_why(quick: Any) -> None:
    process = psutil.Process(quick.record.pid)
    for path in (quick.run / "models").rglob("henaw.onnx"):
        path.write_bytes(b"damaged")
    (worker,) = quick.list_workers()
    worker.kill()
    psutil.wait_procs([process], timeout=60)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    # Another process writes the log.
    log, deadline_s = quick.run / "logs" / "console.log", time.monotonic() + 30
    while "error: no worker has been alive for 8 s" not in (said := log.read_text()):
        assert time.monotonic() < deadline_s, said
        time.sleep(0.1)
    assert "henaw.onnx was changed" in said, said


@pytest.mark.only("native", "of TorchServe nothing watches the front end")
def test_workers_end_when_their_supervisor_is_killed(serve: Callable[..., Any]) -> None:
    server = serve(batch_s=60)
    workers = server.list_workers()
    psutil.Process(server.record.pid).kill()
    _, left = psutil.wait_procs(workers, timeout=30)
    assert not left


def _write_message(*fields: tuple[int, bytes]) -> bytes:
    """Return a message of Protocol Buffers whose fields are bytes of less than 16 KiB."""
    return b"".join(
        bytes([number << 3 | 2, len(value) % 128 | 128, len(value) // 128]) + value
        for number, value in fields
    )


@pytest.mark.only("torchserve", "the native engine has no gRPC")
def test_calls_by_grpc_end_no_worker(lasting: Any) -> None:
    """Calls of each kind, cancelled at any moment or closed before an answer."""
    body = _write_message((1, b"body"), (2, json.dumps(PEOPLE[0]).encode()))
    request = _write_message((1, b"henaw"), (3, body), (4, b"a sequence"))
    # With the description by the worker.
    describe = _write_message((1, b"henaw")) + bytes([3 << 3, 1])
    port = int(lasting.record.url.rpartition(":")[2]) + 3
    chance = random.Random(0)
    workers = lasting.list_workers()

    def call_and_cancel(channel: grpc.Channel, management: grpc.Channel) -> None:
        package = "/org.pytorch.serve.grpc"
        inference = f"{package}.inference.InferenceAPIsService"
        calls = (
            lambda: channel.unary_unary(f"{inference}/Predictions").future(request),
            lambda: channel.unary_stream(f"{inference}/StreamPredictions")(request),
            lambda: channel.stream_stream(f"{inference}/StreamPredictions2")(iter([request] * 3)),
            lambda: management.unary_unary(
                f"{package}.management.ManagementAPIsService/DescribeModel"
            ).future(describe),
        )
        for _ in range(1_000):
            call = chance.choice(calls)()
            time.sleep(chance.uniform(0, 0.004))
            call.cancel()

    with (
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        grpc.insecure_channel(f"127.0.0.1:{port + 1}") as management,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
    ):
        for future in [pool.submit(call_and_cancel, channel, management) for _ in range(4)]:
            future.result()
            assert lasting.post(PEOPLE[0]).status_code == 200
    assert lasting.list_workers() == workers


@pytest.fixture(scope="module")
def quick(start: Callable[..., Any]) -> Any:
    """A server with short timeouts."""
    return start("local", throttle=PLENTY, monitor={"check_every_s": 0.2, "patience_s": 2.0})


def _list_clients(server: Any) -> list[Any]:
    port = int(server.record.url.rpartition(":")[2])
    seen = (c for process in server.list_processes() for c in process.net_connections(kind="tcp"))
    return [c for c in seen if c.laddr.port == port and c.raddr]


def test_overload_is_refused_with_retry_after(serve: Callable[..., Any]) -> None:
    server = serve(batch_s=0.004)
    crowd = {"instances": PEOPLE * 12}

    def ask(_: int) -> list[requests.Response]:
        with requests.Session() as session:
            url = f"{server.record.url}/predictions/henaw"
            return [session.post(url, json=crowd, timeout=60) for _ in range(10)]

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        responses = [response for some in pool.map(ask, range(24)) for response in some]
    refused = [response for response in responses if response.status_code != 200]
    assert 0 < len(refused) < len(responses)
    for response in refused:
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        assert response.headers["content-type"] == "application/problem+json"
    answers = {response.text for response in responses if response.status_code == 200}
    assert len(answers) == 1
    assert server.post(PEOPLE[0]).status_code == 200


@pytest.mark.only("torchserve", "its start script may hang")
def test_a_start_that_takes_too_long_leaves_nothing_behind(
    start: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    base = str(tmp_path_factory.getbasetemp())

    def list_processes() -> set[int]:
        found = psutil.process_iter(["cwd"])
        return {p.pid for p in found if (p.info["cwd"] or "").startswith(base)}

    before = list_processes()
    monkeypatch.setattr(torchserve, "_START_TIMEOUT_S", 0.001)
    with pytest.raises(ServerError, match="TorchServe did not start within"):
        start("local")
    assert list_processes() <= before
