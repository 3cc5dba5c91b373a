"""A cache of a fit's intermediate results, in a folder that several processes share.

An entry is one file: a SHA-256 of the rest, then safetensors with the arrays and, in the
header, what they were made from. One process makes an entry, under a lock that the system
releases when the process dies. An entry appears whole or not at all, so readers need no
lock. An entry that is damaged, or made from other data, configuration or code, is replaced.
Entries contain data of individuals: only their owner can read them, and they never leave the
folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import henaw.model
import henaw.training
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
from filelock import FileLock, Timeout
from henaw.model.files import make_private_folder, write_whole

Array = npt.NDArray[Any]

FORMAT = 1
_OWNER_ONLY = 0o600
_DIGEST_BYTES = hashlib.sha256().digest_size
_METADATA_KEY = "henaw_cache"
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A cached result: arrays of numbers by name, and values that JSON can hold."""

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
    """Entries in a folder, which any number of processes may use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts = CacheCounts()
        make_private_folder(folder)

    def fetch(self, name: str, made_from: Mapping[str, Any], build: Callable[[], Entry]) -> Entry:
        """Read an entry, or build and keep it.

        Args:
            name: the name of the entry's file; an entry that replaces it has the same name.
            made_from: everything that ``build`` depends on, as JSON values.
            build: makes the entry; at most one process runs it at a time.
        """
        path = self.folder / f"{name}.cached"
        began = time.monotonic()
        found = _read_entry(path, made_from)
        if not isinstance(found, Entry):
            with hold_lock(self.folder / f"{name}.lock", self.counts):
                # Another process may have made it while this one waited.
                began = time.monotonic()
                found = _read_entry(path, made_from)
                if not isinstance(found, Entry):
                    self.counts.misses += 1
                    self.counts.damaged += found == "damaged"
                    self.counts.stale += found == "stale"
                    # Only the lock's holder writes, so a process that died left these.
                    for rest in self.folder.glob(f".{path.name}.*"):
                        rest.unlink()
                    level = logging.WARNING if found == "damaged" else logging.INFO
                    _LOGGER.log(level, "cache: %s is %s: making it", path.name, found)
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
    return entry if was_made_from == json.loads(write_json(made_from)) else "stale"


@contextmanager
def hold_lock(path: Path, counts: CacheCounts) -> Iterator[None]:
    """Hold a file lock; count how often, and for how long, this process waited for it."""
    lock = FileLock(path, mode=_OWNER_ONLY)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        began = time.monotonic()
        _LOGGER.info("cache: waiting for another process, which is making %s", path.stem)
        lock.acquire(poll_interval=0.01)
        waited = time.monotonic() - began
        _LOGGER.info("cache: waited %.2f s for %s", waited, path.stem)
        counts.lock_waits += 1
        counts.lock_wait_seconds += waited
    try:
        yield
    finally:
        lock.release()


def encode_entry(entry: Entry, made_from: Mapping[str, Any]) -> bytes:
    """The bytes of an entry's file."""
    arrays = {name: np.ascontiguousarray(array) for name, array in entry.arrays.items()}
    header = write_json({"made_from": made_from, "values": entry.values})
    body = safetensors.numpy.save(arrays, metadata={_METADATA_KEY: header})
    return hashlib.sha256(body).digest() + body


def decode_entry(content: bytes) -> tuple[Entry, dict[str, Any]] | None:
    """An entry and what it was made from; None if any byte differs from what was written."""
    body = content[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != content[:_DIGEST_BYTES]:
        return None
    try:
        arrays = safetensors.numpy.load(body)
    except safetensors.SafetensorError:
        # The digest of an empty file, or of another program's file, can be right too.
        return None
    length = int.from_bytes(body[:8], "little")
    header = json.loads(json.loads(body[8 : 8 + length])["__metadata__"][_METADATA_KEY])
    return Entry(arrays=arrays, values=header["values"]), header["made_from"]


def fetch_entry(
    cache: Cache,
    kind: str,
    *,
    named: Sequence[object],
    made_from: Mapping[str, Any],
    build: Callable[[], Entry],
) -> Entry:
    """An entry that also depends on the code: a change of a source makes it stale.

    Args:
        cache: where the entry is kept.
        kind: the first word of its file's name.
        named: what the file is named after; an entry that replaces it has the same name.
        made_from: everything that it depends on besides the code, as JSON values.
        build: makes the entry.
    """
    name = f"{kind}-{hashlib.sha256(write_json(named).encode()).hexdigest()[:16]}"
    return cache.fetch(name, {**made_from, **_describe_code()}, build)


def _describe_code() -> dict[str, Any]:
    """What an entry depends on besides data and configuration: HENAW's sources, and NumPy."""
    digest = hashlib.sha256()
    for package in (henaw.model, henaw.training):
        for source in sorted(Path(package.__path__[0]).rglob("*.py")):
            digest.update(source.read_bytes())
    return {"format": FORMAT, "code_sha256": digest.hexdigest(), "numpy": np.__version__}


def write_json(value: object) -> str:
    """JSON with sorted keys, because digests are computed from it."""
    return json.dumps(value, sort_keys=True)
