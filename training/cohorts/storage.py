"""A cohort in the cache: its arrays, its digest, and the table that it was read from."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.training.cohorts.cohort import Cohort, read_cohort
from henaw.training.configuration import CohortConfiguration
from henaw.training.execution.cache import Cache, Entry, fetch_entry, write_json

Array = npt.NDArray[Any]


def fetch_cohort(cache: Cache | None, path: Path, configuration: CohortConfiguration) -> Cohort:
    """The cohort of a table, as :func:`read_cohort` returns it.

    Args:
        cache: where the cohort is kept; without a cache, the table is read.
        path: Parquet or CSV.
        configuration: which people are kept.

    Raises:
        CohortError: the table cannot be used.
    """
    if cache is None or not path.is_file():
        return read_cohort(path, configuration)
    configured = dataclasses.asdict(configuration)
    entry = fetch_entry(
        cache,
        "cohort",
        named=(str(path.resolve()), configured),
        made_from={"table_sha256": _digest_file(path), "configured": configured},
        build=lambda: _pack_cohort(read_cohort(path, configuration)),
    )
    return _unpack_cohort(entry)


def digest_cohort(cohort: Cohort) -> str:
    """SHA-256 of everything about the people in a cohort."""
    entry = _pack_cohort(cohort)
    digest = hashlib.sha256()
    for name in sorted(entry.arrays):
        array = np.ascontiguousarray(entry.arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.data)
    digest.update(write_json(entry.values).encode())
    return digest.hexdigest()


def _pack_cohort(cohort: Cohort) -> Entry:
    """Arrays by field; text as codes, with the list of texts that they stand for."""
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
    # JSON has no tuples.
    columns["panel"] = tuple(columns["panel"])
    return Cohort(**columns)


def _digest_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
