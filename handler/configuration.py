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
"""Somebody with nine values, each with its unit, has 32."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")
_HEADER = re.compile(r"[a-z0-9-]+")
_ORIGIN = re.compile(r"https?://[a-z0-9.:\[\]-]+")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may hold, and all that are answered together.

    Attributes:
        body_bytes: largest body, in bytes.
        instances: most people.
        answer_bytes: largest answer, in bytes.
        answers_bytes: the most of all answers that are written together.
        batch_s: seconds of the processor's time that are taken on at once while requests
            keep coming faster than they are answered; the rest is refused with 503.
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
        """The most values in a body: objects, arrays and commas."""
        return _VALUES + _VALUES_PER_PERSON * self.instances


@dataclass(frozen=True, kw_only=True)
class RuntimeConfiguration:
    """How the graph is evaluated.

    Attributes:
        threads: ONNX Runtime threads of one worker.
        cooldown_s: seconds on the CPU after the GPU failed, before it is tried again.
    """

    threads: int = 1
    cooldown_s: float = 30.0

    def __post_init__(self) -> None:
        _check("runtime", _not_positive(self, "threads", "cooldown_s"))


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A token bucket: ``rate`` tokens come in each ``period_s``, ``burst`` fit in.

    Attributes:
        rate: tokens a period.
        period_s: the period, seconds.
        burst: tokens that a rested client may spend at once.
    """

    rate: int
    period_s: float
    burst: int

    def __post_init__(self) -> None:
        _check("bucket", _not_positive(self, "rate", "period_s", "burst"))


@dataclass(frozen=True, kw_only=True)
class ThrottleConfiguration:
    """How fast clients may ask. The defaults are those of production.

    Attributes:
        anonymous: the bucket of a client without a key.
        keyed: the bucket of a client with one.
        cost_per_instance: tokens a person; a request costs at least one.
        proxy_header: a header, in lower case, by which a trusted proxy tells clients
            without a key apart; None has them share one bucket.
        accepted_keys: SHA-256 digests, in hexadecimal, of the keys that were issued;
            None takes any key for one, which lets a client make up as many as it likes.
        accepted_keys_file: a file of such digests, one a line, by its whole path; it is read
            again as it changes, so that keys come and go without a restart.
        store: the file that all workers share, relative to the server's working
            directory.
        redis: the URL of a Redis by which several hosts share the buckets, ``redis://``,
            ``rediss://`` or ``unix://``; while it is gone, ``store`` decides. It may hold a
            password: let nobody but the server read the file that it is in.
        redis_file: a file that holds that URL instead, by its whole path, such as a mounted
            Secret; it is read at the start.
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
            problems.append(
                f"cost_per_instance must be at least 0, however: {self.cost_per_instance}"
            )
        if self.proxy_header is not None and not _HEADER.fullmatch(self.proxy_header):
            problems.append(
                f"proxy_header must be a header in lower case, however: {self.proxy_header!r}"
            )
        if self.redis is not None and not self.redis.startswith(_REDIS_SCHEMES):
            # Not shown: it may hold a password.
            problems.append(f"redis must begin with one of {', '.join(_REDIS_SCHEMES)}")
        if self.redis_file is not None and not Path(self.redis_file).is_absolute():
            problems.append(f"redis_file must be a whole path; got {self.redis_file!r}")
        if self.accepted_keys_file is not None and not Path(self.accepted_keys_file).is_absolute():
            problems.append(
                f"accepted_keys_file must be a whole path; got {self.accepted_keys_file!r}"
            )
        if not all(map(_DIGEST.fullmatch, self.accepted_keys or ())):
            # Not shown: it may be a key itself, put here by mistake.
            problems.append("accepted_keys must be SHA-256 digests, 64 of 0-9 a-f each")
        _check("throttle", problems)


@dataclass(frozen=True, kw_only=True)
class MonitorConfiguration:
    """How the workers are watched.

    Attributes:
        address: where metrics and readiness are answered; loopback, since neither asks
            who wants to know.
        port: of that address.
        folder: where workers tell how they are, relative to the server's working
            directory.
        check_every_s: seconds between a worker's checks of its model.
        patience_s: seconds without a check, or in one batch, after which a worker counts
            as wedged.
        drift_window_s: seconds that the drift of the inputs is looked at over.
        pairs: a file that a stable version's server and its shadow's share, relative to the
            server's working directory: there their answers to the same request are paired
            and compared. None compares nothing.
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
                f"patience_s must be above check_every_s, {self.check_every_s:g}, "
                f"however: {self.patience_s:g}"
            )
        _check("monitor", problems)


@dataclass(frozen=True, kw_only=True)
class NativeConfiguration:
    """How the native engine is reached. TorchServe's part is in its ``config.properties``.

    Attributes:
        address: where predictions are answered.
        port: of that address.
        workers: processes, each with the model in it; one keeps a core busy.
        certificate: file of the certificate chain, PEM, by its whole path; with ``key``, the
            address answers TLS alone. Both are read again as they change.
        key: file of its private key.
        management_port: on loopback, where versions are managed; None has it nowhere.
        require_key: whether a client needs one of the throttle's accepted keys.
        cors: origins of pages whose scripts may ask, such as ``https://clinic.example``.
        connections: most at a time, in each process.
        header_s: seconds from a request's first byte to the end of its headers.
        body_s: seconds from there to the end of its body, or for reading its answer.
        idle_s: seconds that a connection is kept between two requests.
        body_memory: bytes of bodies over 64 KiB that one process holds at a time.
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
            f"{name} must be a whole path; got {path!r}"
            for name, path in (("certificate", self.certificate), ("key", self.key))
            if path is not None and not Path(path).is_absolute()
        ]
        problems += [
            f"cors must hold origins such as https://clinic.example; got {origin!r}"
            for origin in sorted(self.cors)
            if not _ORIGIN.fullmatch(origin)
        ]
        _check("native", problems)


@dataclass(frozen=True, kw_only=True)
class HandlerConfiguration:
    """Everything that an operator decides about the handler.

    Attributes:
        lab_profile: file of ``henaw calibrate``, relative to the server's working directory:
            the profile of the laboratory that every value comes from. None takes none.
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
        ConfigurationError: listing every unknown, missing and wrong entry.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(str(path), [f"expected YAML, however: {error}"]) from error
    problems: list[str] = []
    configuration = _build(HandlerConfiguration, document, "", problems)
    if not isinstance(configuration, HandlerConfiguration):
        raise ConfigurationError(str(path), problems)
    throttle = configuration.throttle
    if throttle.redis_file is None:
        return configuration
    if throttle.redis is not None:
        raise ConfigurationError(
            str(path), ["throttle.redis and throttle.redis_file are both given; give one"]
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
    """Build one dataclass from a mapping, collecting what is wrong instead of stopping."""
    where = path or "the document"
    if not isinstance(document, dict):
        problems.append(f"{where} must be a mapping, however: {document!r}")
        return None
    fields = {f.name: f for f in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    before = len(problems)
    for name, value in document.items():
        full = f"{path}.{name}" if path else str(name)
        if name not in fields:
            problems.append(f"{full} is unknown: expected one of {', '.join(fields)}")
        elif full in _NESTED:
            values[name] = _build(_NESTED[full], value, full, problems)
        else:
            words, kinds = _KINDS[str(fields[name].type)]
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                problems.append(f"{full} must be {words}, however: {value!r}")
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
        f"{name} must be above 0, however: {getattr(instance, name)}"
        for name in names
        if not getattr(instance, name) > 0
    ]


def _check(subject: str, problems: list[str]) -> None:
    if problems:
        raise ConfigurationError(subject, problems)
