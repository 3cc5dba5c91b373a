"""Fetch public files: downloads are resumed, retried, checked, and kept only when complete."""

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
"""Called with a file's name, the bytes fetched so far, and its size where it is known."""

_LOGGER = logging.getLogger(__name__)
_TRANSPORT_START = b"HEADER RECORD*******LIB"
_CHUNK_BYTES = 1 << 16
"""An interruption loses at most this many bytes: the library does not return part of a chunk."""

_BUSY = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file to fetch: its address, and the path to keep it at."""

    url: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to try a site that fails.

    Attributes:
        attempts: tries in a row without a new byte, after which a file is given up.
        backoff_seconds: wait before the second of these tries; it doubles each time.
        timeout_seconds: longest wait for the site's next bytes.
        connect_attempts: tries to reach a site, after which all its files are given up.
        connect_seconds: longest wait for each connection.
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
    """Fetch the files that are not on disk yet, and check those that are.

    Beside each file is ``NAME.sha256``, its digest when it was fetched, in the format of
    ``sha256sum``; a file on disk must still have that digest. An unfinished download is in
    ``NAME.part`` and is resumed from there.

    Args:
        sources: the files.
        patience: how long to try a site that fails.
        progress: see :data:`Progress`.

    Returns:
        SHA-256 of each file, by path.

    Raises:
        DownloadError: files cannot be fetched; each is listed with the reason. Where a site
            cannot be reached, only its first file is tried.
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
                problems.append(_explain_unreachable(source, site, error))
            except DownloadError as error:
                problems += [f"{error.subject}: {problem}" for problem in error.problems]
            except (requests.RequestException, OSError) as error:
                problems.append(f"{source.url} cannot be fetched: {error}")
    problems += [
        f"{site}: {count} more files from this site are needed; they were not tried"
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
            # _open retries connections itself, with a message.
            connect=0,
            backoff_factor=patience.backoff_seconds,
            status_forcelist=_BUSY,
            # The last response is returned, so that a message can name its status.
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
        if not record.is_file():  # Somebody put the file there by hand.
            _check_content(path, source)
            _write_record(record, digest, path)
        elif record.read_text("utf-8").split()[:1] != [digest]:
            raise DownloadError(
                str(path),
                [
                    f"its SHA-256 must be the one in {record.name}; got {digest}. The file was "
                    "changed after it was fetched; delete both to fetch it again"
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
    """The file with the server's mark of the version that a partial file belongs to."""
    return part.with_name(f"{part.name}.version")


def _fetch(
    source: Source,
    part: Path,
    session: requests.Session,
    patience: Patience,
    progress: Progress,
) -> None:
    """Fetch into the partial file until it is complete, resuming after each interruption."""
    fruitless, furthest = 0, 0
    while True:
        # Lengths and ranges must be those of the file itself, not of a compressed copy.
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
    """Request a file; warn and retry where the site cannot be reached."""
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
    """Write a response's body after the first ``start`` bytes; tell if the file is complete."""
    version = _validator_path(part)
    given = response.headers.get("Content-Range", "")
    elsewhere = response.status_code == HTTPStatus.PARTIAL_CONTENT and not given.startswith(
        f"bytes {start}-"
    )
    if start and (elsewhere or response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        version.unlink()  # The next try starts at the first byte.
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
        raise requests.exceptions.ChunkedEncodingError(f"only {there} of {size} bytes arrived")
    return True


def _keep_version(response: requests.Response, version: Path) -> None:
    """Record the partial file's version; without a record the download is not resumed."""
    tag = response.headers.get("ETag", "")
    mark = tag if tag.startswith('"') else response.headers.get("Last-Modified")
    if mark is None:
        version.unlink(missing_ok=True)
    else:
        write_whole(version, mark.encode())


def _check_content(path: Path, source: Source) -> None:
    """Refuse a web page that a site sends with status 200 in place of a missing file."""
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
        [f"this is not {kind}: it starts with {start.decode('latin-1')!r}. Has the file moved?"],
    )


def _find_reason(error: requests.ConnectionError) -> str:
    """The cause of a connection error, without the library's wrapping."""
    reason = getattr(error.args[0], "reason", error) if error.args else error
    return str(reason).rpartition(": ")[2]


def _explain_unreachable(source: Source, site: str, error: requests.ConnectionError) -> str:
    return (
        f"{source.url} cannot be fetched: {site} cannot be reached ({_find_reason(error)}). Check "
        "the network, and HTTPS_PROXY if this machine needs a proxy; or fetch the file elsewhere "
        f"and put it at {source.path}"
    )
