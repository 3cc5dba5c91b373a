"""A job from a table on disk to a table of answers, in bounded memory.

During a run, the folder ``.OUT.parts`` beside the output contains the answers of every
finished chunk. If the run is killed, the folder stays, and the same command continues from it;
damaged parts are scored again. With other inputs, another model or other options, a run starts
from the beginning.
"""

from __future__ import annotations

import collections
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from henaw.intake.tables.layout import Layout
from henaw.model.errors import ScoringError
from henaw.scoring.answering.columns import WITHHOLD, check_unreliable
from henaw.scoring.answering.summary import Summary
from henaw.scoring.henaw import Henaw
from henaw.scoring.jobs.parts import Parts, hold_parts
from henaw.scoring.jobs.sinks import check_sink, open_sink
from henaw.scoring.reading.input_files import InputFile, require_unchanged, take_states
from henaw.scoring.reading.sources import Source
from henaw.scoring.reading.table_files import CHUNK, Chunks

_SUMMARY = b"henaw.summary"
"""Key of a part's metadata."""
_PART, _UNFINISHED = ".part", "unfinished"


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
    states: Sequence[InputFile] | None = None,
    progress: Callable[[int], object] = lambda _: None,
) -> Summary:
    """Score every row of a table and write the answers in the same order.

    Args:
        model: the model that scores.
        path: the input, for its digest.
        source: the opened input.
        out: the output, .parquet, .csv, .arrow or .ndjson; it appears only when it is complete.
        layout: the meaning of each column.
        outputs: names of the model's outputs, in its order.
        unreliable: "withhold" or "keep", as ``Henaw.predict`` takes it.
        threads: number of chunks that are scored in parallel.
        beside: other files that the people come from.
        states: states of ``path`` and ``beside`` before they were opened; if None, their present
            states are used.
        progress: called after each chunk with its number of rows.

    Returns:
        Counts of the rows.

    Raises:
        ScoringError: the input cannot be read or changes during the run, ``out`` cannot be
            written, or another run is writing it. If the disk is full, finished parts are kept
            and the same run continues from there.
    """
    check_unreliable(unreliable)
    check_sink(out)
    if out.exists() and out.samefile(path):
        raise ScoringError(str(out), ["OUT must not be the same file as IN"])
    folder = out.with_name(f".{out.name}.parts")
    files = take_states((path, *beside)) if states is None else states
    key = _take_fingerprint(model, files, layout, outputs, unreliable)
    schema = model.make_schema(
        layout, outputs, source.read_schema(layout), from_results=source.from_results
    )
    summary = Summary()
    with _explain_stop(out, folder), hold_parts(folder, key) as parts:
        kept = _find_kept(parts)
        try:
            with parts.create(_UNFINISHED) as file:
                with open_sink(pa.PythonFile(file, "w"), out.suffix, schema) as sink:
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
                        threads=threads,
                    ):
                        counts = Summary.parse(json.loads(batch.schema.metadata[_SUMMARY]))
                        counts.resumed = counts.rows if resumed else 0
                        summary.add(counts)
                        sink.write_batch(batch.cast(schema))
                        progress(batch.num_rows)
                file.flush()
                os.fsync(file.fileno())
            require_unchanged(files)
        except (pa.ArrowInvalid, pa.ArrowSerializationError, ScoringError) as error:
            # Only another input can succeed, so the parts of this run are useless.
            parts.empty()
            require_unchanged(files)
            if isinstance(error, ScoringError):
                raise
            raise ScoringError(str(path), [f"the file cannot be read: {error}"]) from error
        parts.rename(_UNFINISHED, out.absolute())
        parts.empty()
    return summary


def _score_chunks(
    chunks: Chunks,
    score: Callable[[pa.RecordBatch], tuple[pa.RecordBatch, Summary]],
    *,
    parts: Parts,
    threads: int,
) -> Iterator[tuple[pa.RecordBatch, bool]]:
    """Yield answers in the order of the rows, scored a few chunks ahead of the caller.

    The pool scores while this thread reads and the caller writes. A separate thread for
    reading would gain nothing, even if the graph took no time.
    """

    def work(number: int, people: pa.RecordBatch) -> pa.RecordBatch:
        answers, counts = score(people)
        answers = answers.replace_schema_metadata({_SUMMARY: json.dumps(counts.describe())})
        with (
            parts.write(_name_part(number)) as file,
            pa.ipc.new_stream(pa.PythonFile(file, "w"), answers.schema) as writer,
        ):
            writer.write_batch(answers)
        return answers

    def read(number: int) -> pa.RecordBatch:
        content = parts.read(_name_part(number))
        if content is None:
            raise OSError(errno.EIO, f"{_name_part(number)} was damaged during the run")
        return pa.ipc.open_stream(pa.py_buffer(content)).read_next_batch()

    ahead: collections.deque[tuple[Future[pa.RecordBatch], bool]] = collections.deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for number, people in chunks:
                if people is None:
                    ahead.append((pool.submit(read, number), True))
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
def _explain_stop(out: Path, folder: Path) -> Iterator[None]:
    """Raise an error of the system, such as a full disk, as a ScoringError."""
    try:
        yield
    except OSError as error:
        kept = f". Finished rows are kept in {folder}: the same command continues from there"
        raise ScoringError(
            str(out), [f"the system refused: {error}{kept if folder.is_dir() else ''}"]
        ) from error


def _find_kept(parts: Parts) -> set[int]:
    """Return the chunks that an earlier run has finished; damaged parts are removed."""
    kept = set()
    for name in parts.list_names():
        if not name.endswith(_PART):
            continue
        if parts.read(name) is None:
            parts.remove(name)
        else:
            kept.add(int(name.removesuffix(_PART)))
    return kept


def _name_part(number: int) -> str:
    return f"{number:08d}{_PART}"


def _take_fingerprint(
    model: Henaw,
    files: Sequence[InputFile],
    layout: Layout,
    outputs: tuple[str, ...],
    unreliable: str,
) -> str:
    """Return a digest of everything that the finished parts depend on."""
    content = [
        [(file.sha256, file.status.size, file.status.modified) for file in files],
        model.sha256,
        model.device.partition(":")[0],
        repr(layout),
        outputs,
        unreliable,
        CHUNK,
        _SUMMARY.decode(),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
