"""A table on disk to a table of answers, in bounded memory, whole or not at all.

While it runs, ``.OUT.parts`` beside the output holds the answers of every chunk that is
done. A run that was killed leaves it behind; the same run started again goes on from
there. Inputs, model or options that are not the same start anew.
"""

from __future__ import annotations

import collections
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from henaw.intake.fhir_files import list_files
from henaw.model.errors import ScoringError
from henaw.model.layout import Layout
from henaw.scoring.answers import WITHHOLD, check_unreliable
from henaw.scoring.henaw import Henaw
from henaw.scoring.sinks import check_sink, open_sink
from henaw.scoring.sources import CHUNK, Chunks, Source

_COUNTS = b"henaw.counts"
_DIGEST_BLOCK_BYTES = 1 << 20


@dataclass(kw_only=True)
class Summary:
    """What happened, in counts.

    Attributes:
        rows: read and written.
        scored: that have answers.
        devices: rows by the device that answered: cpu or cuda:N.
        resumed: that a run before this one had scored.
        reasons: rows that were not scored by reason; one with several is at each.
        notes: scored rows by how a value was read that is not plain; one with several is at each.
        unreliable: scored rows whose numbers are not reliable, by code; one with several is
            at each.
        imputed: scored rows without a value, by biomarker.
    """

    rows: int = 0
    scored: int = 0
    resumed: int = 0
    devices: collections.Counter[str] = field(default_factory=collections.Counter)
    reasons: collections.Counter[str] = field(default_factory=collections.Counter)
    notes: collections.Counter[str] = field(default_factory=collections.Counter)
    unreliable: collections.Counter[str] = field(default_factory=collections.Counter)
    imputed: collections.Counter[str] = field(default_factory=collections.Counter)

    def add(self, counts: dict[str, Any], *, resumed: bool) -> None:
        """Add the counts of one chunk."""
        self.rows += counts["rows"]
        self.scored += counts["scored"]
        self.resumed += counts["rows"] if resumed else 0
        self.devices[counts["device"]] += counts["rows"]
        self.reasons.update(counts["reasons"])
        self.notes.update(counts["notes"])
        self.unreliable.update(counts["unreliable"])
        self.imputed.update(counts["imputed"])


def score_table(
    model: Henaw,
    path: Path,
    source: Source,
    out: Path,
    layout: Layout,
    *,
    outputs: tuple[str, ...],
    unreliable: str = WITHHOLD,
    threads: int = 1,
    beside: Sequence[Path] = (),
    progress: Callable[[int], object] = lambda _: None,
) -> Summary:
    """Score every row of a table and write the answers in its order.

    Args:
        model: what scores.
        path: of the input, of which a digest is taken.
        source: the input, opened.
        out: .parquet, .csv or .arrow; it appears, or is replaced, when all is written.
        layout: which column is what.
        outputs: of the graph, in its order.
        unreliable: "withhold" or "keep", as ``Henaw.predict`` takes it.
        threads: chunks that are scored at once.
        beside: more files that the people come from.
        progress: called with the number of rows after each chunk.

    Raises:
        ScoringError: the input cannot be read or is in other units, ``out`` cannot be
            written, or another run is writing it. Where the disk is full, what is done
            is kept, and the same run goes on from there.
    """
    check_unreliable(unreliable)
    check_sink(out)
    if out.exists() and out.samefile(path):
        raise ScoringError(str(out), ["expected another name than the input's, however: the same"])
    parts = out.with_name(f".{out.name}.parts")
    key = _take_fingerprint(model, path, layout, outputs, unreliable, beside=beside)
    schema = model.make_schema(
        layout, outputs, source.read_schema(layout), from_results=source.from_results
    )
    summary = Summary()
    with _explain_stop(out, parts), _hold(parts, key):
        kept = {int(part.stem): part for part in parts.glob("*.part") if _is_whole(part)}
        unfinished = parts / "unfinished"
        try:
            with pa.OSFile(str(unfinished), "wb") as file:
                with open_sink(file, out.suffix, schema) as sink:
                    for batch, resumed in _score_chunks(
                        source.read_chunks(layout, kept),
                        lambda people: model.score(
                            people,
                            layout,
                            outputs,
                            unreliable=unreliable,
                            from_results=source.from_results,
                        ),
                        parts=parts,
                        kept=kept,
                        threads=threads,
                    ):
                        summary.add(json.loads(batch.schema.metadata[_COUNTS]), resumed=resumed)
                        sink.write_batch(batch.cast(schema))
                        progress(batch.num_rows)
                file.flush()
        except (pa.ArrowInvalid, pa.ArrowSerializationError, ScoringError) as error:
            # Another input is needed, so that nothing of this run can be used again.
            shutil.rmtree(parts)
            if isinstance(error, ScoringError):
                raise
            raise ScoringError(str(path), [f"the file cannot be read: {error}"]) from error
        with unfinished.open("rb") as written:
            os.fsync(written.fileno())
        unfinished.replace(out)
        shutil.rmtree(parts)
    return summary


def _score_chunks(
    chunks: Chunks,
    score: Callable[[pa.RecordBatch], tuple[pa.RecordBatch, dict[str, Any]]],
    *,
    parts: Path,
    kept: dict[int, Path],
    threads: int,
) -> Iterator[tuple[pa.RecordBatch, bool]]:
    """Answers in the order of the rows, a few chunks ahead of who takes them.

    The pool scores while this thread reads and its caller writes. Reading in a thread of its
    own gains nothing more, even where the graph takes no time.
    """

    def work(number: int, people: pa.RecordBatch) -> pa.RecordBatch:
        answers, counts = score(people)
        answers = answers.replace_schema_metadata({_COUNTS: json.dumps(counts)})
        part = parts / f"{number:08d}.part"
        beside = part.with_suffix(".writing")
        with pa.OSFile(str(beside), "wb") as file, pa.ipc.new_file(file, answers.schema) as writer:
            writer.write_batch(answers)
        beside.replace(part)
        return answers

    def read(part: Path) -> pa.RecordBatch:
        with pa.memory_map(str(part)) as file:
            return pa.ipc.open_file(file).get_batch(0)

    ahead: collections.deque[tuple[Future[pa.RecordBatch], bool]] = collections.deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for number, people in chunks:
                if people is None:
                    ahead.append((pool.submit(read, kept[number]), True))
                else:
                    ahead.append((pool.submit(work, number, people), False))
                if len(ahead) > threads + 1:
                    future, resumed = ahead.popleft()
                    yield future.result(), resumed
            while ahead:
                future, resumed = ahead.popleft()
                yield future.result(), resumed
        finally:
            for future, _ in ahead:
                future.cancel()


@contextmanager
def _explain_stop(out: Path, parts: Path) -> Iterator[None]:
    """Say what the machine refused, such as room on a full disk."""
    try:
        yield
    except OSError as error:
        kept = f"; what is done is kept in {parts}, from where the same command goes on"
        raise ScoringError(
            str(out), [f"stopped by the machine: {error}{kept if parts.is_dir() else ''}"]
        ) from error


def _is_whole(part: Path) -> bool:
    try:
        with pa.memory_map(str(part)) as file:
            return int(pa.ipc.open_file(file).num_record_batches) == 1
    except pa.ArrowInvalid:
        return False


def _take_fingerprint(
    model: Henaw,
    path: Path,
    layout: Layout,
    outputs: tuple[str, ...],
    unreliable: str,
    *,
    beside: Sequence[Path] = (),
) -> str:
    """What the kept answers depend on."""
    content = [
        [_describe_file(file) for one in (path, *beside) for file in list_files(one) or [one]],
        model.sha256,
        model.device.partition(":")[0],
        repr(layout),
        outputs,
        unreliable,
        CHUNK,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _describe_file(path: Path) -> tuple[str, int, int]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_DIGEST_BLOCK_BYTES):
            digest.update(block)
    status = path.stat()
    return digest.hexdigest(), status.st_size, status.st_mtime_ns


@contextmanager
def _hold(parts: Path, key: str) -> Iterator[None]:
    """Hold the folder of parts, emptied unless it is of the same run."""
    parts.mkdir(exist_ok=True)
    with (parts / "run").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ScoringError(
                str(parts), ["expected no other run that writes this output, however: one does"]
            ) from error
        file.seek(0)
        if file.read() != key:
            for old in parts.iterdir():
                if old.name != "run":
                    old.unlink()
            file.truncate(0)
            file.write(key)
            file.flush()
        yield
