"""What is done of a run: real folders, links, users, full disks and files that change."""

import errno
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from henaw.intake.tables.layout import find_layout
from henaw.model.errors import ScoringError
from henaw.scoring import Henaw
from henaw.scoring.answering.summary import Summary
from henaw.scoring.jobs.parts import Parts, hold_parts
from henaw.scoring.jobs.table import score_table
from henaw.scoring.reading.sources import Source, open_source

_MAIN = "from henaw.cli.main import main; main()"


@pytest.fixture
def source(people: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "in.parquet"
    table = pa.Table.from_pandas(people, preserve_index=False)
    pq.write_table(pa.concat_tables([table] * 4), path, row_group_size=1000)
    return path


def score(
    model: Henaw, path: Path, out: Path, *, table: Source | None = None, after: int = 0
) -> Summary:
    """Score a table; with ``after``, stop by Ctrl-C when so many rows are written."""
    table = table or open_source(path)
    rows = 0

    def count(more: int) -> None:
        nonlocal rows
        rows += more
        if after and rows >= after:
            raise KeyboardInterrupt

    return score_table(
        model, path, table, out, find_layout(table.names), outputs=("age_gap",), progress=count
    )


def stop(model: Henaw, path: Path, out: Path) -> Path:
    """A run that was stopped on its way; the folder that it leaves."""
    with pytest.raises(KeyboardInterrupt):
        score(model, path, out, after=2000)
    return out.with_name(f".{out.name}.parts")


def test_the_folder_is_this_users_alone(model: Henaw, source: Path, tmp_path: Path) -> None:
    parts = stop(model, source, tmp_path / "out.parquet")
    assert parts.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in parts.iterdir()} == {0o600}
    parts.chmod(0o777)
    stop(model, source, tmp_path / "out.parquet")
    assert parts.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["folder", "file"])
def test_a_link_in_its_place_is_refused(
    model: Henaw, source: Path, tmp_path: Path, name: str
) -> None:
    others = tmp_path / "folder"
    others.mkdir()
    (others / "precious").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / ".out.parquet.parts").symlink_to(tmp_path / name)
    with pytest.raises(ScoringError, match="must be a folder that henaw makes; got a link"):
        score(model, source, tmp_path / "out.parquet")
    assert (others / "precious").read_text() == (tmp_path / "file").read_text() == "mine"
    assert not (tmp_path / "out.parquet").exists()


def test_a_link_inside_it_is_not_followed(model: Henaw, source: Path, tmp_path: Path) -> None:
    out, precious = tmp_path / "out.parquet", tmp_path / "precious"
    precious.write_text("mine")
    parts = stop(model, source, out)
    for name in ("unfinished", "00000003.part", "00000003.part.writing"):
        (parts / name).unlink(missing_ok=True)
        (parts / name).symlink_to(precious)
    with pytest.raises(ScoringError, match="the system refused"):
        score(model, source, out)
    (parts / "00000003.part").unlink()
    score(model, source, out)
    assert precious.read_text() == "mine"
    assert not out.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a folder of another user")
def test_another_users_folder_is_refused(model: Henaw, source: Path, tmp_path: Path) -> None:
    parts = tmp_path / ".out.parquet.parts"
    parts.mkdir()
    os.chown(parts, 65534, 65534)
    with pytest.raises(ScoringError, match="got a folder of another user"):
        score(model, source, tmp_path / "out.parquet")


def test_a_damaged_part_is_made_again(model: Henaw, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    score(model, source, tmp_path / "whole.parquet")
    parts = stop(model, source, out)
    part = parts / "00000001.part"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    kept = len(list(parts.glob("*.part")))
    assert score(model, source, out).resumed == (kept - 1) * 1000
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "whole.parquet"))


@pytest.mark.parametrize("how", ["rewritten", "in place", "replaced"])
def test_an_input_that_changes_meanwhile_is_an_error(
    model: Henaw, source: Path, tmp_path: Path, how: str
) -> None:
    table, out = open_source(source), tmp_path / "out.parquet"
    content = source.read_bytes()
    began = threading.Event()

    def change(_: int) -> None:
        if began.is_set():
            return
        began.set()
        if how == "replaced":
            (tmp_path / "new").write_bytes(content[:-1] + b"x")
            (tmp_path / "new").replace(source)
        elif how == "in place":
            with source.open("r+b") as file:
                file.seek(len(content) - 100)
                file.write(b"y")
        else:
            source.write_bytes(content[: len(content) // 2])

    with pytest.raises(ScoringError, match="the file changed while it was read"):
        score_table(
            model,
            source,
            table,
            out,
            find_layout(table.names),
            outputs=("age_gap",),
            progress=change,
        )
    assert not out.exists()
    assert not list(tmp_path.glob(".*.parts"))


def test_a_touched_input_is_the_same(model: Henaw, source: Path, tmp_path: Path) -> None:
    table = open_source(source)
    score_table(
        model,
        source,
        table,
        tmp_path / "out.parquet",
        find_layout(table.names),
        outputs=("age_gap",),
        progress=lambda _: os.utime(source),
    )
    assert (tmp_path / "out.parquet").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 700 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_on_a_full_disk_what_is_done_is_kept(
    model_path: Path, source: Path, small_disk: Path, suffix: str
) -> None:
    out = small_disk / f"out{suffix}"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(150_000))
    command = [sys.executable, "-c", _MAIN, "score", source, out, "--model", model_path]
    full = subprocess.run(command, capture_output=True, text=True, check=False)
    assert full.returncode == 1
    assert os.strerror(errno.ENOSPC) in full.stderr
    assert "Finished rows are kept in" in full.stderr
    assert "Traceback" not in full.stderr
    assert not out.exists()
    done = list((small_disk / f".out{suffix}.parts").glob("*.part"))
    assert done


def test_a_bundle_on_a_full_disk_is_a_message(model_path: Path, tmp_path: Path) -> None:
    bundle = Path(__file__).parents[2] / "fhir" / "whole_panel.json"
    (tmp_path / "in.json").write_text(json.dumps(json.loads(bundle.read_text())["bundle"]))
    (tmp_path / "out.csv").write_text("before")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    command = [sys.executable, "-B", "-c", _MAIN, "score", tmp_path / "in.json"]
    full = subprocess.run(
        [*command, tmp_path / "out.csv", "--model", model_path],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    assert full.returncode == 1, full.stderr
    assert "the system refused: [Errno 27] File too large" in full.stderr
    assert "Traceback" not in full.stderr
    assert (tmp_path / "out.csv").read_text() == "before"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"in.json", "out.csv", ".out.csv.parts"}


def write(parts: Parts, name: str) -> None:
    with parts.write(name) as file:
        file.write(b"content")


def test_without_directory_descriptors_the_same_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("henaw.scoring.jobs.parts._HAS_DIRECTORIES", False)
    with hold_parts(tmp_path / "parts", "key") as parts:
        write(parts, "a")
    with hold_parts(tmp_path / "parts", "key") as parts:
        assert bytes(parts.read("a") or b"") == b"content"
        with parts.create("b") as file:
            file.write(b"out")
        parts.rename("b", tmp_path / "out")
        parts.empty()
    assert (tmp_path / "out").read_bytes() == b"out"
    assert not (tmp_path / "parts").exists()


def test_another_key_empties_the_folder(tmp_path: Path) -> None:
    with hold_parts(tmp_path / "parts", "one") as parts:
        write(parts, "a")
    with hold_parts(tmp_path / "parts", "another") as parts:
        assert "a" not in parts.list_names()
        parts.empty()
