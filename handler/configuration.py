"""The handler's configuration: limits, runtime and throttle, typed and checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from henaw.model.errors import ConfigurationError

_VALUES, _VALUES_PER_PERSON = 1_000, 40
"""A person with nine values and units has 32 values in the JSON."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
_HEADER = re.compile(r"[a-z0-9-]+")
_ORIGIN = re.compile(r"https?://[a-z0-9.:\[\]-]+")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one request, and of a batch.

    Attributes:
        body_bytes: the largest body, bytes.
        instances: the most people.
        answer_bytes: the largest answer, bytes.
        answers_bytes: the most of all answers of a batch together, bytes.
        batch_s: seconds of CPU time that a batch may take while requests come faster than they
            are answered; requests beyond are refused with 503.
    """

    body_bytes: int = 8 * 1024 * 1024
    instances: int = 10_000
    answer_bytes: int = 32 * 1024 * 1024
    answers_bytes: int = 56 * 1024 * 1024
    batch_s: float = 0.004

    def __post_init__(self) -> None:
        names = ("body_bytes", "instances", "answer_bytes", "answers_bytes", "batch_s")
        problems = _not_positive(self, *names)
        if self.answers_bytes < self.answer_bytes:
            problems.append(
                f"answers_bytes must be at least answer_bytes, {self.answer_bytes}; "
                f"got {self.answers_bytes}"
            )
        _check("limits", problems)

    @property
    def values(self) -> int:
        """The most values in a body, counted as objects, arrays and commas."""
        return _VALUES + _VALUES_PER_PERSON * self.instances


@dataclass(frozen=True, kw_only=True)
class RuntimeConfiguration:
    """How the graph is evaluated.

    Attributes:
        threads: ONNX Runtime threads of one worker.
        cooldown_s: seconds on the CPU after the GPU failed, before the GPU is tried again.
    """

    threads: int = 1
    cooldown_s: float = 30.0

    def __post_init__(self) -> None:
        _check("runtime", _not_positive(self, "threads", "cooldown_s"))


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A token bucket: it gets ``rate`` tokens in each ``period_s``, and has room for ``burst``.

    Attributes:
        rate: tokens in a period.
        period_s: the period, seconds.
        burst: tokens in a full bucket.
    """

    rate: int
    period_s: float
    burst: int

    def __post_init__(self) -> None:
        _check("bucket", _not_positive(self, "rate", "period_s", "burst"))


@dataclass(frozen=True, kw_only=True)
class ThrottleConfiguration:
    """How often clients may ask. The defaults are those of production.

    Attributes:
        anonymous: the bucket of a client without a key.
        keyed: the bucket of a client with a key.
        cost_per_instance: tokens for a person; a request costs at least one.
        proxy_header: a header, in lower case, in which a trusted proxy identifies clients
            without a key. With None all of them share one bucket.
        accepted_keys: SHA-256 digests, in hexadecimal, of the keys that were issued. None accepts
            any key, so that a client can invent as many as it likes.
        accepted_keys_file: the absolute path of a file with such digests, one on each line. It
            is read again when it changes, so that no restart is needed.
        store: the file that all workers share, relative to the server's working directory.
        redis: the URL of a Redis by which several hosts share the buckets: ``redis://``,
            ``rediss://`` or ``unix://``. While it does not answer, ``store`` is used. It may
            contain a password: only the server should be able to read the configuration.
        redis_file: the absolute path of a file that contains that URL instead, such as a mounted
            Secret. It is read once, at the start.
    """

    anonymous: Bucket = field(default_factory=lambda: Bucket(rate=10, period_s=60.0, burst=10))
    keyed: Bucket = field(default_factory=lambda: Bucket(rate=600, period_s=60.0, burst=600))
    cost_per_instance: float = 0.05
    proxy_header: str | None = None
    accepted_keys: frozenset[str] | None = frozenset()
    accepted_keys_file: str | None = None
    store: str = "run/throttle.sqlite3"
    redis: str | None = None
    redis_file: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if not self.cost_per_instance >= 0:
            problems.append(f"cost_per_instance must be at least 0; got {self.cost_per_instance}")
        if self.proxy_header is not None and not _HEADER.fullmatch(self.proxy_header):
            problems.append(
                f"proxy_header must be a header in lower case; got {self.proxy_header!r}"
            )
        if self.redis is not None and not self.redis.startswith(_REDIS_SCHEMES):
            # The message does not repeat the URL: it may contain a password.
            problems.append(f"redis must begin with one of {', '.join(_REDIS_SCHEMES)}")
        if self.redis_file is not None and not Path(self.redis_file).is_absolute():
            problems.append(f"redis_file must be an absolute path; got {self.redis_file!r}")
        if self.accepted_keys_file is not None and not Path(self.accepted_keys_file).is_absolute():
            problems.append(
                f"accepted_keys_file must be an absolute path; got {self.accepted_keys_file!r}"
            )
        if not all(map(_DIGEST.fullmatch, self.accepted_keys or ())):
            # The message does not repeat the entry: it may be a key, put here by mistake.
            problems.append("accepted_keys must be SHA-256 digests, 64 of 0-9 a-f each")
        _check("throttle", problems)


@dataclass(frozen=True, kw_only=True)
class MonitorConfiguration:
    """How the workers are monitored.

    Attributes:
        address: of metrics and readiness. It should be loopback, since neither needs a key.
        port: of that address.
        folder: of the workers' states, relative to the server's working directory.
        check_every_s: seconds between a worker's checks of its model.
        patience_s: seconds without a check, or in one batch, after which a worker counts as
            hung.
        drift_window_s: seconds of the sliding window for drift.
        pairs: a file that the servers of a stable version and of its shadow share, relative to
            the server's working directory. In it they compare their answers to the same
            requests. None compares nothing.
    """

    address: str = "127.0.0.1"
    port: int = 8083
    folder: str = "run/monitor"
    check_every_s: float = 5.0
    patience_s: float = 15.0
    drift_window_s: float = 3600.0
    pairs: str | None = None

    def __post_init__(self) -> None:
        problems = _not_positive(self, "port", "check_every_s", "drift_window_s")
        if not self.patience_s > self.check_every_s:
            problems.append(
                f"patience_s must be above check_every_s, {self.check_every_s:g}; "
                f"got {self.patience_s:g}"
            )
        _check("monitor", problems)


@dataclass(frozen=True, kw_only=True)
class NativeConfiguration:
    """The native engine's network. TorchServe's is in its ``config.properties``.

    Attributes:
        address: of predictions.
        port: of that address.
        workers: processes, each with its own copy of the model; one keeps a core busy.
        certificate: the absolute path of the certificate chain, PEM. With it and ``key`` the
            address answers TLS only. Both files are read again when they change.
        key: the absolute path of its private key.
        management_port: on loopback, to manage versions; None opens none.
        require_key: whether a client needs one of the throttle's accepted keys.
        cors: origins of pages whose scripts may ask, such as ``https://clinic.example``.
        connections: the most open connections of each process.
        header_s: seconds from a request's first byte to the end of its headers.
        body_s: seconds from there to the end of its body, and to read its answer.
        idle_s: seconds that a connection may stay open between two requests.
        body_memory: the most bytes of bodies over 64 KiB in each process.
    """

    address: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    certificate: str | None = None
    key: str | None = None
    management_port: int | None = 8081
    require_key: bool = False
    cors: frozenset[str] = frozenset()
    connections: int = 1000
    header_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 75.0
    body_memory: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        problems = _not_positive(
            self,
            *("port", "workers", "connections", "body_memory"),
            *("header_s", "body_s", "idle_s"),
        )
        if (self.certificate is None) != (self.key is None):
            problems.append("certificate and key must be given together")
        problems += [
            f"{name} must be an absolute path; got {path!r}"
            for name, path in (("certificate", self.certificate), ("key", self.key))
            if path is not None and not Path(path).is_absolute()
        ]
        problems += [
            f"cors must list origins such as https://clinic.example; got {origin!r}"
            for origin in sorted(self.cors)
            if not _ORIGIN.fullmatch(origin)
        ]
        _check("native", problems)


@dataclass(frozen=True, kw_only=True)
class HandlerConfiguration:
    """The operator's configuration of the handler.

    Attributes:
        limits: of requests and batches.
        runtime: how the graph is evaluated.
        throttle: how often clients may ask.
        monitor: how the workers are monitored.
        lab_profile: a file of ``henaw calibrate``, relative to the server's working directory:
            the profile of the laboratory that all values come from. None uses none.
        native: the native engine's network.
    """

    limits: Limits = field(default_factory=Limits)
    runtime: RuntimeConfiguration = field(default_factory=RuntimeConfiguration)
    throttle: ThrottleConfiguration = field(default_factory=ThrottleConfiguration)
    monitor: MonitorConfiguration = field(default_factory=MonitorConfiguration)
    lab_profile: str | None = None
    native: NativeConfiguration = field(default_factory=NativeConfiguration)


def load_configuration(path: Path) -> HandlerConfiguration:
    """Read ``handler.yaml``.

    Raises:
        ConfigurationError: lists every unknown, missing and wrong entry.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(str(path), [f"the file must be YAML: {error}"]) from error
    problems: list[str] = []
    configuration = _build(HandlerConfiguration, document, "", problems)
    if not isinstance(configuration, HandlerConfiguration):
        raise ConfigurationError(str(path), problems)
    throttle = configuration.throttle
    if throttle.redis_file is None:
        return configuration
    if throttle.redis is not None:
        raise ConfigurationError(
            str(path), ["give either throttle.redis or throttle.redis_file, not both"]
        )
    read = _read_redis(throttle, throttle.redis_file)
    return dataclasses.replace(configuration, throttle=read)


def _read_redis(throttle: ThrottleConfiguration, named: str) -> ThrottleConfiguration:
    try:
        url = Path(named).read_text(encoding="utf-8").strip()
        return dataclasses.replace(throttle, redis=url)
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(named, [f"throttle.redis_file cannot be read: {said}"]) from error
    except ConfigurationError as error:
        raise ConfigurationError(named, [f"throttle.{p}" for p in error.problems]) from error


_NESTED: Mapping[str, type[Any]] = {
    "limits": Limits,
    "runtime": RuntimeConfiguration,
    "throttle": ThrottleConfiguration,
    "monitor": MonitorConfiguration,
    "native": NativeConfiguration,
    "throttle.anonymous": Bucket,
    "throttle.keyed": Bucket,
}
_KINDS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "int": ("a whole number", (int,)),
    "float": ("a number", (int, float)),
    "str": ("a text", (str,)),
    "str | None": ("a text or null", (str, type(None))),
    "frozenset[str]": ("a list of texts", (list,)),
    "int | None": ("a whole number or null", (int, type(None))),
    "bool": ("true or false", (bool,)),
    "frozenset[str] | None": ("a list of texts or null", (list, type(None))),
}


def _build(kind: type[Any], document: object, path: str, problems: list[str]) -> Any:
    """Build one dataclass from a mapping, and add everything that is wrong to ``problems``."""
    where = path or "the document"
    if not isinstance(document, dict):
        problems.append(f"{where} must be a mapping; got {document!r}")
        return None
    fields = {f.name: f for f in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    before = len(problems)
    for name, value in document.items():
        full = f"{path}.{name}" if path else str(name)
        if name not in fields:
            problems.append(f"{full} is unknown; the entries are {', '.join(fields)}")
        elif full in _NESTED:
            values[name] = _build(_NESTED[full], value, full, problems)
        else:
            words, kinds = _KINDS[str(fields[name].type)]
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                problems.append(f"{full} must be {words}; got {value!r}")
            values[name] = frozenset(map(str, value)) if isinstance(value, list) else value
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in document:
            problems.append(f"{path}.{name} is missing")
    if len(problems) > before:
        return None
    try:
        return kind(**values)
    except ConfigurationError as error:
        problems += [f"{path}: {problem}" for problem in error.problems]
        return None


def _not_positive(instance: object, *names: str) -> list[str]:
    return [
        f"{name} must be above 0; got {getattr(instance, name)}"
        for name in names
        if not getattr(instance, name) > 0
    ]


def _check(subject: str, problems: list[str]) -> None:
    if problems:
        raise ConfigurationError(subject, problems)
