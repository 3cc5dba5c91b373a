"""Versions are changed while a worker restarts or hangs; the workers are real."""

import contextlib
import json
import select
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from henaw.handler.configuration import load_configuration
from henaw.handler.native import engine, supervisor
from henaw.handler.native.control import Command, WorkerSetup
from henaw.handler.native.models import ModelVersion, copy_model
from henaw.handler.native.supervisor import Supervisor, WorkerError

pytestmark = pytest.mark.lengthy

SERVE_CONFIG = Path(__file__).resolve().parents[3] / "serve_config"
SHIPPED = SERVE_CONFIG.parent / "model" / "weights"
CANDIDATE = "99.0.0"
PERSON = {"age": 54, "sex": 0, "biomarkers": {"crp": 1.2}}


def wait_until(look: Callable[[], Any], seconds: float = 20) -> None:
    deadline_s = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


class Supervised:
    """Two workers, and a thread that supervises them."""

    def __init__(self, folder: Path) -> None:
        handler = yaml.safe_load((SERVE_CONFIG / "local" / "handler.yaml").read_text())
        # A slow machine is not overload.
        handler["limits"]["batch_s"] = 60
        (folder / "handler.yaml").write_text(yaml.safe_dump(handler))
        self.models = folder / "models"
        self.states = folder / "states"
        self.shipped = copy_model(SHIPPED, self.models).version
        source = Path(shutil.copytree(SHIPPED, folder / "candidate"))
        sidecar = json.loads((source / "henaw.json").read_text())
        (source / "henaw.json").write_text(json.dumps({**sidecar, "version": CANDIDATE}))
        self.candidate = copy_model(source, self.models)
        self.said: list[str] = []
        listener = supervisor.listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/predictions/henaw"
        model = ModelVersion(
            version=self.shipped, folder=str(self.models / self.shipped), source=""
        )
        setup = WorkerSetup(
            number=0,
            listener=-1,
            control=-1,
            configuration=load_configuration(folder / "handler.yaml"),
            run=str(folder),
            logs=str(folder / "logs"),
            store=str(folder / "throttle.sqlite3"),
            states=str(self.states),
            keys=str(folder / "client-keys"),
            models=[model],
            default=model.version,
            operator_keys=[],
        )
        self.supervisor = Supervisor(
            listener,
            setup,
            workers=2,
            patience_s=30.0,
            find_hung=lambda _: engine._find_hung(self.states, 3.0),
            report=self.said.append,
        )
        self.supervisor.start()
        self.thread = threading.Thread(target=self.supervisor.run)
        self.thread.start()

    def list_pids(self) -> list[int]:
        return [worker.process.pid for worker in self.supervisor._workers]

    def list_workers(self) -> list[psutil.Process]:
        return [psutil.Process(pid) for pid in self.list_pids()]

    def kill_one(self) -> None:
        """Kill a worker, and return when another one starts in its place."""
        before = self.list_workers()
        before[0].kill()
        wait_until(lambda: self.list_pids()[0] != before[0].pid)

    def wait_until_ready(self) -> None:
        wait_until(lambda: self.supervisor.count_ready() == 2)

    def ask(self, path: str = "") -> str:
        response = requests.post(self.url + path, json=PERSON, timeout=20)
        return str(response.json().get("model", {}).get("version", response.status_code))

    def ask_each(self, path: str = "") -> list[str]:
        """Return the version, or the status, that each worker answers with."""
        seen = []
        for worker in self.list_workers():
            with contextlib.ExitStack() as stack:
                for other in self.list_workers():
                    if other != worker:
                        other.suspend()
                        stack.callback(other.resume)
                seen.append(self.ask(path))
        return seen

    def end(self) -> None:
        for pid in self.list_pids():
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).resume()
        self.supervisor.end()
        self.thread.join(timeout=60)


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervised]:
    monkeypatch.setattr(supervisor, "_END_TIMEOUT_S", 5.0)
    made = Supervised(tmp_path)
    yield made
    made.end()
    assert not made.thread.is_alive()


def test_a_worker_that_starts_during_a_change_gets_the_new_versions(
    supervised: Supervised,
) -> None:
    shipped = supervised.shipped
    supervised.kill_one()
    supervised.supervisor.add(supervised.candidate)
    supervised.wait_until_ready()
    assert supervised.ask_each(f"/{CANDIDATE}") == [CANDIDATE] * 2

    supervised.kill_one()
    supervised.supervisor.set_default(CANDIDATE)
    supervised.wait_until_ready()
    assert supervised.ask_each() == [CANDIDATE] * 2
    assert supervised.ask_each(f"/{shipped}") == [shipped] * 2

    supervised.kill_one()
    supervised.supervisor.remove(shipped)
    shutil.rmtree(supervised.models / shipped)
    supervised.wait_until_ready()
    assert supervised.ask_each(f"/{shipped}") == ["404"] * 2
    assert supervised.ask_each() == [CANDIDATE] * 2
    assert not [said for said in supervised.said if "did not start" in said]


def test_no_client_gets_a_wrong_version_while_a_worker_restarts(supervised: Supervised) -> None:
    supervised.kill_one()
    supervised.supervisor.add(supervised.candidate)
    supervised.supervisor.set_default(CANDIDATE)
    seen = set()
    while supervised.supervisor.count_ready() < 2:
        seen |= {supervised.ask(), supervised.ask(f"/{CANDIDATE}")}
    assert seen == {CANDIDATE}


def test_a_worker_that_becomes_ready_during_a_change_gets_the_new_versions(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first worker is told the version, and the second becomes ready before the third step."""
    ask = supervisor._Worker.ask

    def ask_slowly(worker: Any, command: Command, *timeout_s: float) -> Any:
        reply = ask(worker, command, *timeout_s)
        wait_until(lambda: supervised.supervisor.count_ready() == 2)
        return reply

    supervised.kill_one()
    monkeypatch.setattr(supervisor._Worker, "ask", ask_slowly)
    supervised.supervisor.add(supervised.candidate)
    assert supervised.supervisor.count_ready() == 2
    assert supervised.ask_each(f"/{CANDIDATE}") == [CANDIDATE] * 2


def test_no_version_is_added_while_no_worker_can_check_it(supervised: Supervised) -> None:
    for worker in supervised.list_workers():
        worker.kill()
    wait_until(lambda: supervised.supervisor.count_ready() == 0)
    with pytest.raises(WorkerError, match="no worker answers"):
        supervised.supervisor.add(supervised.candidate)
    assert list(supervised.supervisor.models) == [supervised.shipped]
    supervised.wait_until_ready()


@contextlib.contextmanager
def adding_while_a_worker_hangs(supervised: Supervised) -> Iterator[list[str]]:
    """Add a version, which waits for a suspended worker; yield the error's message."""
    refused: list[str] = []

    def add() -> None:
        try:
            supervised.supervisor.add(supervised.candidate)
        except WorkerError as error:
            refused.append(str(error))

    adding = threading.Thread(target=add)
    supervised.list_workers()[0].suspend()
    adding.start()
    wait_until(supervised.supervisor._changing.locked)
    yield refused
    adding.join(timeout=20)
    assert not adding.is_alive()


def test_workers_are_replaced_while_a_change_waits_for_one_that_hangs(
    supervised: Supervised,
) -> None:
    wait_until(lambda: len(list(supervised.states.glob("*.state"))) == 2)
    hung, other = supervised.list_workers()
    with adding_while_a_worker_hangs(supervised) as refused:
        other.kill()
        wait_until(lambda: other.pid not in supervised.list_pids(), seconds=2)
        psutil.wait_procs([hung], timeout=10)
        assert not hung.is_running()
    assert refused == [f"worker {hung.pid} ended before it answered"]
    wait_until(lambda: hung.pid not in supervised.list_pids())
    supervised.wait_until_ready()
    assert supervised.ask_each() == [supervised.shipped] * 2
    assert supervised.ask_each(f"/{CANDIDATE}") == ["404"] * 2


def test_the_supervisor_ends_while_a_change_waits_for_a_worker_that_hangs(
    supervised: Supervised,
) -> None:
    _, other = supervised.list_workers()
    with adding_while_a_worker_hangs(supervised):
        other.kill()
        # Until the supervisor has seen it.
        wait_until(lambda: supervised.supervisor.count_ready() == 1)
        supervised.supervisor.end()
        supervised.thread.join(timeout=10)
        assert not supervised.thread.is_alive()


def test_a_worker_that_does_not_answer_a_command_is_replaced(supervised: Supervised) -> None:
    """Else its late reply would be taken for the reply to the next command."""
    worker = supervised.supervisor._workers[0]
    (process, _) = supervised.list_workers()
    process.suspend()
    with pytest.raises(WorkerError, match="did not answer"):
        worker.ask(Command(describe=supervised.shipped), 0.1)
    wait_until(lambda: process.pid not in supervised.list_pids(), seconds=2)
    supervised.wait_until_ready()


@pytest.mark.parametrize("when", ["it starts", "its reply is unread"])
def test_a_worker_ends_when_its_supervisor_is_killed(supervised: Supervised, when: str) -> None:
    worker = supervised.supervisor._spawn(2)
    if when == "its reply is unread":
        select.select([worker.control], [], [])
    worker.control.close()
    try:
        worker.process.wait(timeout=15)
    finally:
        worker.process.kill()


def test_the_default_version_is_not_removed_in_a_race(supervised: Supervised) -> None:
    """The requests wait for a change that takes long, so both were allowed before it."""
    supervised.supervisor.add(supervised.candidate)
    refused = []

    def run(change: Callable[[str], None]) -> None:
        try:
            change(CANDIDATE)
        except WorkerError as error:
            refused.append(str(error))

    changes = (supervised.supervisor.set_default, supervised.supervisor.remove)
    threads = [threading.Thread(target=run, args=(change,)) for change in changes]
    with supervised.supervisor._changing:
        for thread in threads:
            thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    assert supervised.supervisor.default in supervised.supervisor.models
    with pytest.raises(WorkerError, match="is the default version"):
        supervised.supervisor.remove(supervised.supervisor.default)
    with pytest.raises(WorkerError, match="is not served"):
        supervised.supervisor.remove("0.0.0")


def test_to_set_the_same_default_again_ends_no_worker(supervised: Supervised) -> None:
    supervised.kill_one()
    starting = supervised.list_pids()
    supervised.supervisor.set_default(supervised.shipped)
    supervised.wait_until_ready()
    assert supervised.list_pids() == starting


def test_a_worker_without_its_model_says_so(supervised: Supervised) -> None:
    shutil.rmtree(supervised.models / supervised.shipped)
    supervised.kill_one()
    wait_until(lambda: supervised.said and "did not start" in supervised.said[-1])
    assert "No such file or directory" in supervised.said[-1]


def test_the_supervisor_goes_on_when_it_cannot_look(supervised: Supervised) -> None:
    def fail(_: float) -> set[int]:
        raise OSError(24, "Too many open files")

    supervised.supervisor._find_hung = fail
    wait_until(lambda: supervised.said)
    supervised.kill_one()
    supervised.wait_until_ready()
    assert supervised.ask_each() == [supervised.shipped] * 2
    assert sum("cannot be watched at present" in said for said in supervised.said) == 1
