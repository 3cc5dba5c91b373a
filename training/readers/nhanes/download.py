"""Fetching public files: resumed, retried, digested, and whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import requests
from filelock import FileLock
from henaw.model.checkpoint import write_whole
from henaw.model.errors import DownloadError
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes there so far, and its size where it is known."""

_LOGGER = logging.getLogger(__name__)
_TRANSPORT_START = b"HEADER RECORD*******LIB"
_CHUNK_BYTES = 1 << 16
"""A cut loses at most as much: what has come of an unfinished chunk is not handed over."""

_BUSY = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file to fetch: its address, and where it is kept."""

    url: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a site may fail.

    Attributes:
        attempts: tries in a row that bring nothing, before a file is given up.
        backoff_seconds: wait before the second of them; it doubles each time.
        timeout_seconds: longest silence of the site.
        connect_attempts: tries to reach a site, before it is given up with all its files.
        connect_seconds: longest wait for each of them.
    """

    attempts: int = 6
    backoff_seconds: float = 1.0
    timeout_seconds: float = 60.0
    connect_attempts: int = 3
    connect_seconds: float = 10.0


def fetch_files(
    sources: Iterable[Source],
    *,
    patience: Patience | None = None,
    progress: Progress = lambda *_: None,
) -> dict[Path, str]:
    """Have every file on disk, fetching those that are not there yet.

    A file is kept beside ``NAME.sha256``, its digest when it was fetched, in the form
    of ``sha256sum``; a file that is there is read again and must still have it. What
    was fetched of a file stays in ``NAME.part`` and is resumed from there.

    Args:
        sources: the files.
        patience: how long a site may fail.
        progress: see :data:`Progress`.

    Returns:
        SHA-256 of each file, by path.

    Raises:
        DownloadError: listing every file that cannot be had, and why. Of a site that cannot
            be reached one file is tried.
    """
    digests: dict[Path, str] = {}
    problems: list[str] = []
    not_tried: Counter[str] = Counter()
    with requests.Session() as session:
        for prefix in ("https://", "http://"):
            session.mount(prefix, _build_adapter(patience or Patience()))
        for source in sources:
            site = urlsplit(source.url).netloc
            if site in not_tried and not source.path.is_file():
                not_tried[site] += 1
                continue
            source.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                # Two runs in one folder must not append to one partial file.
                with FileLock(source.path.with_name(".download.lock")):
                    digests[source.path] = _have_file(
                        source, session, patience or Patience(), progress
                    )
            except requests.ConnectionError as error:
                not_tried[site] = 0
                problems += _explain_unreachable(source, site, error)
            except (DownloadError, requests.RequestException, OSError) as error:
                problems += _explain(source, error)
    problems += [
        f"{site}: {count} more files of it are needed, and were not tried"
        for site, count in not_tried.items()
        if count
    ]
    if problems:
        raise DownloadError("download", problems)
    return digests


def digest_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _build_adapter(patience: Patience) -> HTTPAdapter:
    return HTTPAdapter(
        max_retries=Retry(
            total=patience.attempts - 1,
            # Reaching the site at all is tried with a message, by _open.
            connect=0,
            backoff_factor=patience.backoff_seconds,
            status_forcelist=_BUSY,
            # The last answer is handed over, so that its status can be named.
            raise_on_status=False,
        )
    )


def _have_file(
    source: Source, session: requests.Session, patience: Patience, progress: Progress
) -> str:
    path = source.path
    record = path.with_name(f"{path.name}.sha256")
    if path.is_file():
        digest = digest_file(path)
        if not record.is_file():  # It was put there by hand.
            _check_content(path, source)
            _write_record(record, digest, path)
        elif record.read_text("utf-8").split()[:1] != [digest]:
            raise DownloadError(
                str(path),
                [
                    f"its SHA-256 must be the one in {record.name}, however it is {digest}: the "
                    "file was changed after it was fetched; delete both to fetch it again"
                ],
            )
        return digest
    part = path.with_name(f"{path.name}.part")
    _fetch(source, part, session, patience, progress)
    _check_content(part, source)
    digest = digest_file(part)
    _write_record(record, digest, path)
    os.replace(part, path)
    _validator_path(part).unlink(missing_ok=True)
    return digest


def _write_record(record: Path, digest: str, path: Path) -> None:
    write_whole(record, f"{digest}  {path.name}\n".encode())


def _validator_path(part: Path) -> Path:
    """Where the server's mark of the version is kept that a partial file belongs to."""
    return part.with_name(f"{part.name}.version")


def _fetch(
    source: Source,
    part: Path,
    session: requests.Session,
    patience: Patience,
    progress: Progress,
) -> None:
    """Fetch into the partial file until it is whole, resuming after each cut."""
    fruitless, furthest = 0, 0
    while True:
        # A length is compared and a range asked for: both must be of the file itself.
        headers = {"Accept-Encoding": "identity"}
        version = _validator_path(part)
        start = part.stat().st_size if part.is_file() and version.is_file() else 0
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": version.read_text("utf-8")}
        with _open(source.url, headers, session, patience) as response:
            try:
                if _receive(response, part, start, progress):
                    return
            except (
                requests.exceptions.ChunkedEncodingError,
                requests.ConnectionError,
                requests.Timeout,
            ):
                there = part.stat().st_size if part.is_file() else 0
                fruitless = 0 if there > furthest else fruitless + 1
                furthest = max(furthest, there)
                if fruitless >= patience.attempts:
                    raise
        time.sleep(patience.backoff_seconds * 2**fruitless)


def _open(
    url: str,
    headers: dict[str, str],
    session: requests.Session,
    patience: Patience,
    *,
    attempt: int = 1,
) -> requests.Response:
    """Ask for a file, saying so where the site cannot be reached."""
    timeout = (patience.connect_seconds, patience.timeout_seconds)
    try:
        return session.get(url, headers=headers, stream=True, timeout=timeout)
    except requests.ConnectionError as error:
        if attempt == patience.connect_attempts:
            raise
        wait = patience.backoff_seconds * 2**attempt
        _LOGGER.warning(
            "%s cannot be reached: %s. Trying again in %g s (%d of %d)",
            *(url, _find_reason(error), wait, attempt + 1, patience.connect_attempts),
        )
    time.sleep(wait)
    return _open(url, headers, session, patience, attempt=attempt + 1)


def _receive(response: requests.Response, part: Path, start: int, progress: Progress) -> bool:
    """Write an answer's body after the first ``start`` bytes; whether the file is whole."""
    version = _validator_path(part)
    given = response.headers.get("Content-Range", "")
    elsewhere = response.status_code == HTTPStatus.PARTIAL_CONTENT and not given.startswith(
        f"bytes {start}-"
    )
    if start and (elsewhere or response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        version.unlink()  # The next round starts at the first byte.
        return False
    if response.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise DownloadError(
            response.url, [f"the server answered {response.status_code} {response.reason}"]
        )
    length = response.headers.get("Content-Length")
    if response.status_code == HTTPStatus.OK:
        start = 0
        _keep_version(response, version)
    size = start + int(length) if length is not None else None
    with part.open("r+b" if start else "wb") as file:
        file.seek(start)
        for chunk in response.iter_content(_CHUNK_BYTES):
            file.write(chunk)
            progress(part.name.removesuffix(".part"), file.tell(), size)
        there = file.tell()
        file.flush()
        os.fsync(file.fileno())
    if size is not None and there < size:
        raise requests.exceptions.ChunkedEncodingError(f"{there} bytes of {size} came")
    return True


def _keep_version(response: requests.Response, version: Path) -> None:
    """Remember which version the partial file is of; without a mark it is not resumed."""
    tag = response.headers.get("ETag", "")
    mark = tag if tag.startswith('"') else response.headers.get("Last-Modified")
    if mark is None:
        version.unlink(missing_ok=True)
    else:
        write_whole(version, mark.encode())


def _check_content(path: Path, source: Source) -> None:
    """Refuse a page that a site sends with status 200 in place of a missing file."""
    with path.open("rb") as file:
        start = file.read(len(_TRANSPORT_START))
    transport = source.path.suffix == ".xpt"
    if start == _TRANSPORT_START if transport else start[:1].isdigit() or start[:1] == b" ":
        return
    if path != source.path:
        path.unlink()
        _validator_path(path).unlink(missing_ok=True)
    kind = "a SAS transport file" if transport else "a file of fixed width"
    raise DownloadError(
        source.url,
        [f"expected {kind}, however it starts with {start.decode('latin-1')!r}: has it moved?"],
    )


def _find_reason(error: requests.ConnectionError) -> str:
    """What failed, without the layers that it went through."""
    reason = getattr(error.args[0], "reason", error) if error.args else error
    return str(reason).rpartition(": ")[2]


def _explain_unreachable(source: Source, site: str, error: requests.ConnectionError) -> list[str]:
    return [
        f"{source.url}: it cannot be fetched: {site} cannot be reached "
        f"({_find_reason(error)}). Is this machine connected, or does it need a proxy "
        f"(HTTPS_PROXY)? A file that was fetched elsewhere may be put at {source.path}"
    ]


def _explain(source: Source, error: Exception) -> list[str]:
    if isinstance(error, DownloadError):
        return [f"{error.subject}: {problem}" for problem in error.problems]
    return [f"{source.url}: it cannot be fetched: {error}"]
