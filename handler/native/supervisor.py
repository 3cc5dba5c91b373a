"""The supervisor: it starts workers, replaces those that die, commands them, and ends them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
from henaw.handler.native.control import Command, Reply, WorkerSetup
from henaw.handler.native.models import ModelVersion
from henaw.model.errors import HenawError

_START_TIMEOUT_S = 120.0
_COMMAND_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 45.0
"""How long a worker may take for its last requests, and some seconds more."""

_LOOK_EVERY_S = 0.2
_RESTART_AFTER_S = (0.0, 1.0, 2.0, 5.0)
"""Wait before a worker is replaced, by the number of failed starts since a worker last served."""

_LEAST_PATIENCE_S = 10.0
"""Least time before a worker that hangs is killed."""


class WorkerError(HenawError, RuntimeError):
    """A worker did not carry out a command."""


class NoWorkerError(HenawError, RuntimeError):
    """No worker is alive, and none starts."""


@dataclass(frozen=True, eq=False)
class _Served:
    """The versions and the default one; a change replaces both at once."""

    models: Mapping[str, ModelVersion]
    default: str


@dataclass(eq=False)
class _Worker:
    number: int
    served: _Served
    """What it was started with, or told last."""
    process: subprocess.Popen[bytes]
    control: socket.socket
    lock: threading.Lock = field(default_factory=threading.Lock)
    received: bytes = b""
    is_awaited: bool = True
    """Whether its first reply is still awaited."""
    is_ready: bool = False

    def ask(self, command: Command, timeout_s: float = _COMMAND_TIMEOUT_S) -> Reply:
        """Send a command, and return the reply.

        Raises:
            WorkerError: the command failed, or there is no reply.
        """
        with self.lock:
            try:
                self.control.sendall(msgspec.json.encode(command) + b"\n")
            except OSError as error:
                raise WorkerError(f"worker {self.process.pid} is gone") from error
            return self.wait_for_reply(timeout_s)

    def wait_for_reply(self, timeout_s: float) -> Reply:
        """Return the next reply.

        Raises:
            WorkerError: the reply has a problem, or there is no reply.
        """
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self.received:
            self.control.settimeout(max(0.001, deadline_s - time.monotonic()))
            try:
                chunk = self.control.recv(65536)
            except TimeoutError as error:
                # A late reply would be taken for the reply to the next command.
                self.process.kill()
                raise WorkerError(
                    f"worker {self.process.pid} did not answer in {timeout_s:g} s"
                ) from error
            except OSError:
                chunk = b""
            if not chunk:
                raise WorkerError(f"worker {self.process.pid} ended before it answered")
            self.received += chunk
        line, _, self.received = self.received.partition(b"\n")
        reply = msgspec.json.decode(line, type=Reply)
        if reply.problem is not None:
            raise WorkerError(reply.problem)
        return reply


class Supervisor:
    """Workers that share one socket.

    A worker that has other versions than the present ones is ended and replaced, unless it can be
    told them.

    Args:
        listener: a socket that is bound and listens.
        setup: the setup of every worker; the supervisor fills in its number and descriptors.
        workers: the number of workers.
        patience_s: a worker that hangs for twice this time is killed; the server ends if no worker
            is alive for four times this time.
        find_hung: returns the processes that have hung for the given number of seconds.
        report: called with one sentence when a worker ends, hangs or does not start.

    Attributes:
        models: the versions that are served.
        default: the version that answers requests that name no version.
    """

    def __init__(
        self,
        listener: socket.socket,
        setup: WorkerSetup,
        *,
        workers: int,
        patience_s: float,
        find_hung: Callable[[float], set[int]],
        report: Callable[[str], None],
    ) -> None:
        self._served = _Served({model.version: model for model in setup.models}, setup.default)
        self._listener = listener
        self._setup = setup
        self._count = workers
        self._hung_after_s = max(_LEAST_PATIENCE_S, 2 * patience_s)
        self._give_up_after_s = 4 * patience_s
        self._find_hung = find_hung
        self._report = report
        self._workers: list[_Worker] = []
        self._failures = 0
        self._start_at_s = 0.0
        self._alive_at_s = time.monotonic()
        self._ending = threading.Event()
        self._looked_s = 0.0
        self._failed = ""
        # One change at a time. A change may wait long for a worker; the main loop must not.
        self._changing = threading.Lock()

    @property
    def models(self) -> Mapping[str, ModelVersion]:
        return self._served.models

    @property
    def default(self) -> str:
        return self._served.default

    def start(self) -> None:
        """Start the workers, and return when all are ready.

        Raises:
            WorkerError: a worker did not start; the message says why.
        """
        with self._changing:
            self._workers = [self._spawn(number) for number in range(self._count)]
            try:
                for worker in self._workers:
                    worker.wait_for_reply(_START_TIMEOUT_S)
                    worker.is_awaited, worker.is_ready = False, True
            except WorkerError:
                self._kill_all()
                raise

    def run(self) -> None:
        """Replace workers that end or hang, until :meth:`end` is called; then end all workers.

        Raises:
            NoWorkerError: no worker has been alive for a while.
        """
        try:
            while not self._ending.wait(_LOOK_EVERY_S):
                self._look()
        except NoWorkerError:
            self._kill_all()
            raise
        self._end_all()

    def _look(self) -> None:
        try:
            self._replace_dead()
            if time.monotonic() - self._looked_s > 1.0:
                self._looked_s = time.monotonic()
                self._kill_hung()
            self._failed = ""
        # Such as too many open files. The workers answer meanwhile.
        except OSError as error:
            if self._failed != str(error):
                self._report(f"the workers cannot be watched at present: {error.strerror}")
            self._failed = str(error)

    def end(self) -> None:
        """Let :meth:`run` end; may be called from any thread or signal handler."""
        self._ending.set()

    def count_ready(self) -> int:
        """Return the number of workers that answer."""
        return sum(worker.is_ready for worker in self._workers)

    def add(self, model: ModelVersion) -> None:
        """Let every worker serve another version.

        Raises:
            WorkerError: one worker failed, or none answers; then no worker serves the version.
        """
        with self._changing:
            ready = self._list_ready()
            if not ready:
                raise WorkerError("no worker answers")
            before = self._served
            after = _Served({**before.models, model.version: model}, before.default)
            try:
                for worker in ready:
                    worker.ask(Command(add=model))
                    worker.served = after
            except WorkerError:
                self._tell_all(Command(remove=model.version))
                raise
            self._change(after, Command(add=model))

    def set_default(self, version: str) -> None:
        """Let this version answer requests that name no version.

        Raises:
            WorkerError: the version is not served.
        """
        with self._changing:
            self._require(version)
            # A change would end workers that are starting.
            if version == self.default:
                return
            self._change(_Served(self.models, version), Command(default=version))

    def remove(self, version: str) -> None:
        """Let every worker stop serving a version.

        Raises:
            WorkerError: the version is not served, or is the default one.
        """
        with self._changing:
            self._require(version)
            if version == self.default:
                raise WorkerError(f"{version} is the default version: set another one first")
            left = {name: model for name, model in self.models.items() if name != version}
            self._change(_Served(left, self.default), Command(remove=version))

    def describe(self, version: str) -> bytes:
        """Return the description of a version, as JSON.

        Raises:
            WorkerError: no worker answers.
        """
        for worker in self._list_ready():
            return bytes(worker.ask(Command(describe=version)).description)
        raise WorkerError("no worker answers")

    def _require(self, version: str) -> None:
        if version not in self.models:
            raise WorkerError(f"version {version} is not served")

    def _list_ready(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.is_ready]

    def _change(self, served: _Served, command: Command) -> None:
        """Change the present versions, and let every worker that has others carry out a command."""
        for worker in self._workers:
            self._read_first_reply(worker)
        self._served = served
        self._tell_all(command)

    def _tell_all(self, command: Command) -> None:
        """Bring every worker to the present versions by a command, or end it."""
        served = self._served
        for worker in self._workers:
            if worker.served is served:
                continue
            if worker.is_ready:
                with contextlib.suppress(WorkerError):
                    worker.ask(command)
                    worker.served = served
                    continue
            worker.process.kill()

    def _spawn(self, number: int) -> _Worker:
        served = self._served
        ours, theirs = socket.socketpair()
        setup = msgspec.structs.replace(
            self._setup,
            number=number,
            listener=self._listener.fileno(),
            control=theirs.fileno(),
            models=list(served.models.values()),
            default=served.default,
        )
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "henaw.handler.native.worker"],
                env={**os.environ, "HENAW_WORKER": msgspec.json.encode(setup).decode()},
                pass_fds=(self._listener.fileno(), theirs.fileno()),
                stdin=subprocess.DEVNULL,
            )
        return _Worker(number=number, served=served, process=process, control=ours)

    def _replace_dead(self) -> None:
        now_s = time.monotonic()
        for place, worker in enumerate(self._workers):
            has_ended = worker.process.poll() is not None
            is_stale = worker.is_awaited and worker.served is not self._served
            if is_stale:
                worker.process.kill()
            else:
                # A worker that has ended may have sent the reason before that.
                self._read_first_reply(worker)
            if not has_ended:
                continue
            if worker.is_ready:
                self._report(f"worker {worker.process.pid} ended: {_describe_end(worker)}")
            if worker.is_ready or is_stale:
                worker.is_ready = worker.is_awaited = False
                self._failures = 0
                self._start_at_s = now_s
            if now_s >= self._start_at_s:
                worker.control.close()
                self._workers[place] = self._spawn(worker.number)
                self._start_at_s = (
                    now_s + _RESTART_AFTER_S[min(self._failures, len(_RESTART_AFTER_S) - 1)]
                )
                self._failures += 1
        if self.count_ready():
            self._alive_at_s = now_s
        elif now_s - self._alive_at_s > self._give_up_after_s:
            raise NoWorkerError(
                f"no worker has been alive for {self._give_up_after_s:g} s. The log says why"
            )

    def _read_first_reply(self, worker: _Worker) -> None:
        """Read it if it is awaited and has come, and the worker was not ended for a change."""
        if not worker.is_awaited or worker.served is not self._served:
            return
        # Nothing is asked of a worker before this, so the wait is short.
        with worker.lock:
            if not worker.is_awaited or not select.select([worker.control], [], [], 0)[0]:
                return
            worker.is_awaited = False
            try:
                worker.wait_for_reply(1.0)
                worker.is_ready = True
                self._failures = 0
            except WorkerError as error:
                self._report(f"worker {worker.process.pid} did not start: {error}")

    def _kill_hung(self) -> None:
        hung = self._find_hung(self._hung_after_s)
        for worker in self._list_ready():
            if worker.process.pid in hung:
                self._report(f"worker {worker.process.pid} hangs and is killed")
                worker.process.kill()

    def _end_all(self) -> None:
        """End every worker after it has answered the requests that it accepted."""
        self._listener.close()
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.control.sendall(msgspec.json.encode(Command(end=True)) + b"\n")
        deadline_s = time.monotonic() + _END_TIMEOUT_S
        for worker in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.0, deadline_s - time.monotonic()))
        self._kill_all()

    def _kill_all(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.process.wait()
            worker.control.close()


def _describe_end(worker: _Worker) -> str:
    status = worker.process.returncode
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


@contextlib.contextmanager
def end_by_signals(supervisor: Supervisor) -> Iterator[None]:
    """Let SIGTERM, Ctrl-C and a closed terminal end the supervisor; once is enough."""
    numbers = [signal.SIGTERM, signal.SIGINT]
    # As under nohup.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: supervisor.end()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen(address: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
