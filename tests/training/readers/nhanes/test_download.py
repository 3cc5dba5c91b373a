import hashlib
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from henaw.model.errors import DownloadError
from henaw.training.readers.nhanes.download import Patience, Source, digest_file, fetch_files

CHUNK = 1 << 16
CONTENT = b"1" + os.urandom(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(attempts=3, backoff_seconds=0.01, timeout_seconds=5)


def fetch(site: Any, folder: Path, name: str = "a.dat") -> Path:
    path = folder / name
    assert fetch_files([Source(url=f"{site.url}/{name}", path=path)], patience=QUICK) == {
        path: digest_file(path)
    }
    return path


def refuse(site: Any, folder: Path, *names: str) -> tuple[str, ...]:
    sources = [Source(url=f"{site.url}/{name}", path=folder / name) for name in names]
    with pytest.raises(DownloadError) as caught:
        fetch_files(sources, patience=QUICK)
    return caught.value.problems


@pytest.fixture(autouse=True)
def _serve(site: Any) -> None:
    site.files["/a.dat"] = CONTENT


def test_a_file_is_fetched_once_and_its_digest_kept(site: Any, folder: Path) -> None:
    path = fetch(site, folder)
    assert path.read_bytes() == CONTENT
    assert (folder / "a.dat.sha256").read_text() == f"{DIGEST}  a.dat\n"
    fetch(site, folder)
    assert site.asked == [("/a.dat", None)]
    assert not list(folder.glob("*.part*"))


def test_a_broken_download_is_resumed_where_it_stopped(site: Any, folder: Path) -> None:
    site.faults["/a.dat"] = [("cut", 2 * CHUNK), ("cut", CHUNK)]
    assert fetch(site, folder).read_bytes() == CONTENT
    assert site.asked == [
        ("/a.dat", None),
        ("/a.dat", f"bytes={2 * CHUNK}-"),
        ("/a.dat", f"bytes={3 * CHUNK}-"),
    ]


def test_a_file_that_changed_meanwhile_is_fetched_from_the_start(site: Any, folder: Path) -> None:
    site.faults["/a.dat"] = [("cut", 2 * CHUNK)] * 3
    site.ranges = False
    impatient = Patience(attempts=1, backoff_seconds=0.01)
    with pytest.raises(DownloadError, match="cannot be fetched"):
        fetch_files([Source(url=f"{site.url}/a.dat", path=folder / "a.dat")], patience=impatient)
    site.faults.clear()
    site.ranges, site.version, site.files["/a.dat"] = True, '"2"', b"2" + CONTENT[::-1]
    assert fetch(site, folder).read_bytes() == b"2" + CONTENT[::-1]


def test_a_site_without_ranges_or_versions_still_serves(site: Any, folder: Path) -> None:
    site.ranges, site.version = False, ""
    site.faults["/a.dat"] = [("cut", 2 * CHUNK)]
    assert fetch(site, folder).read_bytes() == CONTENT
    assert site.asked == [("/a.dat", None), ("/a.dat", None)]


def test_a_range_that_is_past_the_end_starts_again(site: Any, folder: Path) -> None:
    folder.mkdir()
    (folder / "a.dat.part").write_bytes(b"1" * len(CONTENT))
    (folder / "a.dat.part.version").write_text('"1"')
    assert fetch(site, folder).read_bytes() == CONTENT
    assert site.asked == [("/a.dat", f"bytes={len(CONTENT)}-"), ("/a.dat", None)]


def test_a_busy_site_is_asked_again(site: Any, folder: Path) -> None:
    site.faults["/a.dat"] = [503, 429]
    assert fetch(site, folder).read_bytes() == CONTENT
    assert site.count("/a.dat") == 3


def test_a_site_that_stays_busy_is_given_up(site: Any, folder: Path) -> None:
    site.faults["/a.dat"] = [503] * 9
    assert refuse(site, folder, "a.dat") == (
        f"{site.url}/a.dat: the server answered 503 Service Unavailable",
    )
    assert site.count("/a.dat") == QUICK.attempts
    assert not (folder / "a.dat").exists()


def test_a_connection_that_always_breaks_is_given_up(site: Any, folder: Path) -> None:
    site.ranges, site.version = False, ""
    site.faults["/a.dat"] = [("cut", 2 * CHUNK)] * 50
    (problem,) = refuse(site, folder, "a.dat")
    assert "a.dat cannot be fetched" in problem
    assert site.count("/a.dat") < 10


def test_every_file_that_is_missing_is_named(site: Any, folder: Path) -> None:
    assert refuse(site, folder, "b.dat", "a.dat", "c.xpt") == (
        f"{site.url}/b.dat: the server answered 404 Not Found",
        f"{site.url}/c.xpt: the server answered 404 Not Found",
    )
    assert (folder / "a.dat").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "kind"), [("b.dat", "a file of fixed width"), ("b.xpt", "a SAS transport file")]
)
def test_a_page_in_place_of_a_file_is_refused(
    site: Any, folder: Path, name: str, kind: str
) -> None:
    site.files[f"/{name}"] = CONTENT
    site.faults[f"/{name}"] = ["<!DOCTYPE html><title>Page not found</title>"]
    (problem,) = refuse(site, folder, name)
    assert f"this is not {kind}: it starts with '<!DOCTYPE" in problem
    assert [path.name for path in folder.iterdir() if name in path.name] == []


def test_a_file_that_was_changed_is_refused_until_deleted(site: Any, folder: Path) -> None:
    path = fetch(site, folder)
    path.write_bytes(CONTENT[:-1] + b"?")
    (problem,) = refuse(site, folder, "a.dat")
    assert "its SHA-256 must be the one in a.dat.sha256" in problem
    assert "delete both" in problem
    path.unlink()
    (folder / "a.dat.sha256").unlink()
    assert fetch(site, folder).read_bytes() == CONTENT


def test_a_file_put_there_by_hand_is_taken_and_digested(site: Any, folder: Path) -> None:
    folder.mkdir()
    (folder / "a.dat").write_bytes(CONTENT)
    fetch(site, folder)
    assert site.asked == []
    assert (folder / "a.dat.sha256").read_text().split()[0] == DIGEST


def test_a_site_that_cannot_be_reached_is_given_up_with_what_to_do(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    sources = [Source(url=f"{url}/{name}", path=folder / name) for name in ("a", "b", "c")]
    with pytest.raises(DownloadError) as caught:
        fetch_files(sources, patience=QUICK)
    first, rest = caught.value.problems
    assert first.startswith(f"{url}/a cannot be fetched: {url[7:]} cannot be reached (")
    assert "Connection refused" in first
    assert first.endswith(f"put it at {folder / 'a'}")
    assert rest == f"{url[7:]}: 2 more files from this site are needed; they were not tried"
    assert [message.partition("Trying")[2] for message in caplog.messages] == [
        " again in 0.02 s (2 of 3)",
        " again in 0.04 s (3 of 3)",
    ]


def test_files_on_disk_need_no_site(site: Any, folder: Path) -> None:
    fetch(site, folder)
    elsewhere = "http://127.0.0.1:1"
    kept = Source(url=f"{elsewhere}/a.dat", path=folder / "a.dat")
    with pytest.raises(DownloadError) as caught:
        fetch_files([Source(url=f"{elsewhere}/b", path=folder / "b"), kept], patience=QUICK)
    assert len(caught.value.problems) == 1


def test_progress_is_of_the_file_with_its_size(site: Any, folder: Path) -> None:
    site.faults["/a.dat"] = [("cut", 2 * CHUNK)]
    seen: list[tuple[str, int, int | None]] = []
    fetch_files(
        [Source(url=f"{site.url}/a.dat", path=folder / "a.dat")],
        patience=QUICK,
        progress=lambda *args: seen.append(args),
    )
    assert {(name, size) for name, _, size in seen} == {("a.dat", len(CONTENT))}
    assert [there for _, there, _ in seen] == sorted(there for _, there, _ in seen)
    assert seen[-1][1] == len(CONTENT)


def test_a_killed_download_is_resumed_by_the_next(
    site: Any,
    folder: Path,
    wait_for: Callable[..., None],
    start: Callable[..., "subprocess.Popen[str]"],
) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from henaw.training.readers.nhanes.download import Patience, Source, fetch_files\n"
        "fetch_files([Source(url=sys.argv[1], path=Path(sys.argv[2]))],"
        " patience=Patience(backoff_seconds=60))"
    )
    site.faults["/a.dat"] = [("cut", 2 * CHUNK)]
    process = start(program, f"{site.url}/a.dat", str(folder / "a.dat"))
    part = folder / "a.dat.part"
    wait_for(lambda: part.is_file() and part.stat().st_size == 2 * CHUNK)
    process.kill()
    process.wait()
    assert fetch(site, folder).read_bytes() == CONTENT
    assert site.asked[-1] == ("/a.dat", f"bytes={2 * CHUNK}-")
