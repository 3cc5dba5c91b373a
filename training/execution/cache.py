"""Processed cohorts, kept in a folder that several processes share.

An entry is one file: a SHA-256 of what follows, then safetensors with the arrays and,
in the header, what they were made from. One process makes an entry, under a lock that
the system drops when its holder dies; entries appear whole or not at all, so readers
need no lock. An entry that is damaged, or made from other data, configuration or code, is
made again in its place. Entries hold data of individuals: they are readable by their
owner only and never leave the folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import henaw.model
import henaw.training
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
import torch
from filelock import FileLock, Timeout
from henaw.model.checkpoint import write_whole
from henaw.model.configuration import NetworkConfiguration
from henaw.model.files import make_private_folder
from henaw.training.cohorts.cohort import Cohort, read_cohort
from henaw.training.configuration import CohortConfiguration, DetectionFloor
from henaw.training.reference.reference import fit_reference
from torch import Tensor

Array = npt.NDArray[Any]

FORMAT = 1
_OWNER_ONLY = 0o600
_DIGEST_BYTES = hashlib.sha256().digest_size
_METADATA_KEY = "henaw_cache"
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is kept: arrays of numbers by name, and values that JSON can hold."""

    arrays: Mapping[str, Array]
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class CacheCounts:
    """What a cache did in this process."""

    hits: int = 0
    misses: int = 0
    damaged: int = 0
    stale: int = 0
    lock_waits: int = 0
    lock_wait_seconds: float = 0.0

    def describe(self) -> dict[str, float]:
        """The counts as records give them."""
        return {f"cache/{name}": value for name, value in dataclasses.asdict(self).items()}


class Cache:
    """Entries in a folder; any number of processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts = CacheCounts()
        make_private_folder(folder)

    def fetch(self, name: str, made_from: Mapping[str, Any], build: Callable[[], Entry]) -> Entry:
        """Read an entry, or build and keep it.

        Args:
            name: of the entry's file; the same for whatever should replace it.
            made_from: everything that ``build`` depends on, as JSON can hold it.
            build: makes the entry; it runs in at most one process at a time.
        """
        path = self.folder / f"{name}.cached"
        began = time.monotonic()
        found = _read_entry(path, made_from)
        if not isinstance(found, Entry):
            with _HeldLock(self.folder / f"{name}.lock", self.counts):
                # Another process may have made it while this one waited.
                began = time.monotonic()
                found = _read_entry(path, made_from)
                if not isinstance(found, Entry):
                    self.counts.misses += 1
                    self.counts.damaged += found == "damaged"
                    self.counts.stale += found == "stale"
                    # Only the lock's holder writes, so these were left by one that died.
                    for rest in self.folder.glob(f".{path.name}.*"):
                        rest.unlink()
                    level = logging.WARNING if found == "damaged" else logging.INFO
                    _LOGGER.log(level, "cache: %s is %s; it is made now", path.name, found)
                    built = build()
                    write_whole(path, encode_entry(built, made_from), mode=_OWNER_ONLY)
                    _LOGGER.info("cache: %s made in %.2f s", path.name, time.monotonic() - began)
                    return built
        self.counts.hits += 1
        _LOGGER.info("cache: %s read in %.2f s", path.name, time.monotonic() - began)
        return found


def _read_entry(
    path: Path, made_from: Mapping[str, Any]
) -> Entry | Literal["absent", "damaged", "stale"]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return "absent"
    decoded = decode_entry(content)
    if decoded is None:
        return "damaged"
    entry, was_made_from = decoded
    return entry if was_made_from == json.loads(_write_json(made_from)) else "stale"


class _HeldLock:
    """A file lock that counts how often, and how long, it had to be waited for."""

    def __init__(self, path: Path, counts: CacheCounts) -> None:
        self._path = path
        self._lock = FileLock(path, mode=_OWNER_ONLY)
        self._counts = counts

    def __enter__(self) -> None:
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            began = time.monotonic()
            _LOGGER.info("cache: waiting for another process, which makes %s", self._path.stem)
            self._lock.acquire(poll_interval=0.01)
            waited = time.monotonic() - began
            _LOGGER.info("cache: waited %.2f s for %s", waited, self._path.stem)
            self._counts.lock_waits += 1
            self._counts.lock_wait_seconds += waited

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def encode_entry(entry: Entry, made_from: Mapping[str, Any]) -> bytes:
    """The bytes of an entry's file."""
    arrays = {name: np.ascontiguousarray(array) for name, array in entry.arrays.items()}
    header = _write_json({"made_from": made_from, "values": entry.values})
    body = safetensors.numpy.save(arrays, metadata={_METADATA_KEY: header})
    return hashlib.sha256(body).digest() + body


def decode_entry(content: bytes) -> tuple[Entry, dict[str, Any]] | None:
    """An entry and what it was made from; None where a single byte is not as written."""
    body = content[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != content[:_DIGEST_BYTES]:
        return None
    try:
        arrays = safetensors.numpy.load(body)
    except safetensors.SafetensorError:
        # A digest of nothing at all, or of another program's file, is right too.
        return None
    length = int.from_bytes(body[:8], "little")
    header = json.loads(json.loads(body[8 : 8 + length])["__metadata__"][_METADATA_KEY])
    return Entry(arrays=arrays, values=header["values"]), header["made_from"]


def fetch_cohort(cache: Cache, path: Path, configuration: CohortConfiguration) -> Cohort:
    """The cohort of a table, as :func:`read_cohort` gives it.

    Raises:
        CohortError: the table cannot be used.
    """
    if not path.is_file():
        return read_cohort(path, configuration)
    configured = dataclasses.asdict(configuration)
    entry = cache.fetch(
        _name_entry("cohort", str(path.resolve()), configured),
        {"table_sha256": _digest_file(path), "configured": configured, **_describe_code()},
        lambda: _pack_cohort(read_cohort(path, configuration)),
    )
    return _unpack_cohort(entry)


def fetch_reference(
    cache: Cache,
    cohort: Cohort,
    shape: NetworkConfiguration,
    floors: tuple[DetectionFloor, ...] = (),
) -> tuple[dict[str, Tensor], Cohort]:
    """What :func:`fit_reference` gives for a cohort.

    Raises:
        CohortError: too few people to tabulate a biomarker.
    """
    configured = {
        "network": dataclasses.asdict(shape),
        "floors": [dataclasses.asdict(floor) for floor in floors],
    }

    def build() -> Entry:
        tensors, placed = fit_reference(cohort, shape, floors)
        arrays = {f"tensor.{name}": tensor.numpy() for name, tensor in tensors.items()}
        return Entry(
            arrays=arrays | {"biomarkers": placed.biomarkers}, values={"shifts": placed.shifts}
        )

    entry = cache.fetch(
        _name_entry("reference", sorted(set(map(str, cohort.survey))), configured),
        {"cohort_sha256": digest_cohort(cohort), "configured": configured, **_describe_code()},
        build,
    )
    tensors = {
        name.removeprefix("tensor."): torch.from_numpy(array)
        for name, array in entry.arrays.items()
        if name.startswith("tensor.")
    }
    return tensors, dataclasses.replace(
        cohort, biomarkers=entry.arrays["biomarkers"], shifts=entry.values["shifts"]
    )


def fetch_search(
    cache: Cache,
    named: tuple[str, ...],
    made_from: Mapping[str, Any],
    build: Callable[[], Entry],
) -> Entry:
    """What a search of a fit ended in, so that a fit that was stopped goes on.

    Args:
        cache: where it is kept.
        named: the surveys fitted and the search's own name: what replaces it has the same.
        made_from: everything that it depends on, but for the code.
        build: runs the search.
    """
    return cache.fetch(_name_entry("search", *named), {**made_from, **_describe_code()}, build)


def digest_cohort(cohort: Cohort) -> str:
    """SHA-256 of everything about the people in a cohort."""
    entry = _pack_cohort(cohort)
    digest = hashlib.sha256()
    for name in sorted(entry.arrays):
        array = np.ascontiguousarray(entry.arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
    digest.update(_write_json(entry.values).encode())
    return digest.hexdigest()


def _pack_cohort(cohort: Cohort) -> Entry:
    """Text as codes and the list of what they stand for; arrays by field."""
    arrays: dict[str, Array] = {}
    values: dict[str, Any] = {}
    for column in dataclasses.fields(cohort):
        value = getattr(cohort, column.name)
        if isinstance(value, np.ndarray) and value.dtype.kind == "U":
            texts, arrays[column.name] = np.unique(value, return_inverse=True)
            values[column.name] = texts.tolist()
        elif isinstance(value, np.ndarray):
            arrays[column.name] = value
        elif isinstance(value, Mapping) and any(isinstance(v, np.ndarray) for v in value.values()):
            arrays |= {f"{column.name}.{name}": array for name, array in value.items()}
        else:
            values[column.name] = value
    return Entry(arrays=arrays, values=values)


def _unpack_cohort(entry: Entry) -> Cohort:
    columns: dict[str, Any] = dict(entry.values)
    for name, array in entry.arrays.items():
        whole, _, part = name.partition(".")
        if part:
            columns.setdefault(whole, {})[part] = array
        elif whole in entry.values:
            columns[whole] = np.array(entry.values[whole], np.str_)[array]
        else:
            columns[whole] = array
    # JSON knows no tuples.
    columns["panel"] = tuple(columns["panel"])
    return Cohort(**columns)


def _name_entry(kind: str, *described: object) -> str:
    return f"{kind}-{hashlib.sha256(_write_json(described).encode()).hexdigest()[:16]}"


def _describe_code() -> dict[str, Any]:
    """What an entry depends on besides data and configuration: our sources, whatever changed."""
    digest = hashlib.sha256()
    for package in (henaw.model, henaw.training):
        for source in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(source.read_bytes())
    return {"format": FORMAT, "code_sha256": digest.hexdigest(), "numpy": np.__version__}


def _digest_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _write_json(value: object) -> str:
    return json.dumps(value, sort_keys=True)
