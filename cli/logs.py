"""The log of a command: its level, file and format.

Every subcommand has these options, and so has ``henaw`` itself. The library only calls
``logging.getLogger(__name__)``; logging is set up when a subcommand runs.
"""

from __future__ import annotations

import functools
import json
import logging
import logging.handlers
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from henaw.cli.options import FILE
from henaw.model.errors import CohortError, HenawError, ScoringError

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[Any]
else:
    _StreamHandler = logging.StreamHandler  # Python 3.10 does not subscript it.

LEVELS = ("ERROR", "WARNING", "INFO", "DEBUG")
FORMATS = ("text", "json")

_PLAIN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OPTIONS = ("log_level", "log_file", "log_format")


def list_logging_options() -> list[click.Option]:
    """Make the log options for one command."""
    return [
        click.Option(
            ["--log-level"],
            type=click.Choice(LEVELS, case_sensitive=False),
            metavar="|".join(LEVELS),
            help="Lowest level that is logged. Default: WARNING.",
        ),
        click.Option(
            ["--log-file"],
            type=FILE,
            help="File to append the log to. Default: standard error.",
        ),
        click.Option(
            ["--log-format"],
            type=click.Choice(FORMATS),
            metavar="|".join(FORMATS),
            help="text, or json (one object per line). Default: text.",
        ),
    ]


def add_logging_options(command: click.Command) -> click.Command:
    """Add the log options to a command, or to each subcommand of a group."""
    if isinstance(command, click.Group):
        for subcommand in command.commands.values():
            add_logging_options(subcommand)
    elif not any(parameter.name in _OPTIONS for parameter in command.params):
        command.params += list_logging_options()
        command.callback = _with_log(command.callback)
    return command


def _with_log(callback: Any) -> Any:
    @functools.wraps(callback)
    def run(*args: Any, **values: Any) -> Any:
        # Options given before the subcommand apply unless it has its own.
        before = click.get_current_context().find_root().params
        own = {name: values.pop(name) for name in _OPTIONS}
        level, path, form = (own[name] or before.get(name) for name in _OPTIONS)
        with open_log(level or "WARNING", path, form or "text"):
            return callback(*args, **values)

    return run


@contextmanager
def open_log(level: str, path: Path | None, form: str) -> Iterator[None]:
    """Send records of the logger ``henaw`` to a file or to standard error.

    An error that ends the command is also written to the file; standard error has it as the
    command's own message.

    Args:
        level: the lowest level that is logged, one of :data:`LEVELS`.
        path: the file to append to; None is standard error.
        form: one of :data:`FORMATS`.

    Raises:
        BadParameter: the file cannot be written.
    """
    logger = logging.getLogger("henaw")
    handler = _BesideBars(sys.stderr) if path is None else _open_file(path)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if path is not None:
            trace = None if isinstance(error, HenawError) else error
            logger.error(_describe(error), exc_info=trace)  # noqa: TRY400 -- no trace of our own
        raise
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()


@contextmanager
def say_once(*names: str) -> Iterator[None]:
    """Log each warning once: every fit of a search would repeat it."""
    said: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        line = record.getMessage()
        known = record.levelno >= logging.WARNING and line in said
        said.add(line)
        return not known

    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(is_new)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_new)


def _describe(error: Exception) -> str:
    """Describe an error without anything that names a person or their values."""
    if isinstance(error, CohortError | ScoringError):
        head = str(error).partition("\n")[0]
        return f"{head}; standard error has the details, which can name people"
    return str(error)


def _open_file(path: Path) -> logging.Handler:
    try:
        # Opens the file again when a log rotation has moved it.
        return logging.handlers.WatchedFileHandler(path, encoding="utf-8")
    except OSError as error:
        raise click.BadParameter(
            f"the log cannot be written: {error}", param_hint="--log-file"
        ) from error


class _BesideBars(_StreamHandler):
    """Standard error, with progress bars redrawn below each record."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm = sys.modules.get("tqdm")  # Where nothing imported it, there is no bar.
        with tqdm.tqdm.external_write_mode(self.stream) if tqdm else nullcontext():
            super().emit(record)


class _TextFormatter(logging.Formatter):
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    @staticmethod
    def converter(seconds: float | None) -> time.struct_time:
        return time.gmtime(seconds)


class _JsonFormatter(_TextFormatter):
    """One JSON object a line; each item of a record's ``extra`` is a field."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        fields |= {name: value for name, value in vars(record).items() if name not in _PLAIN_FIELDS}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)
