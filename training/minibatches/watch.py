"""Records of a running fit: JSON lines and, if configured, TensorBoard."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from henaw.model.distribution import suggest_install
from henaw.model.errors import ConfigurationError
from henaw.model.files import write_whole

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

FILE_NAME = "watch.jsonl"
Record = Mapping[str, float | int | str]


class Watch:
    """Records of one fit, appended to ``watch.jsonl``; each names the fit and the step.

    Args:
        folder: where the file is; None records nothing.
        fit: the fit's name, since a run has several fits.
        step: the step at which the fit continues. Later records, which a killed process left,
            are removed, because they will be written again.
        tensorboard: write for TensorBoard too, under ``tensorboard/``.

    Raises:
        ConfigurationError: TensorBoard is configured, but it is not installed or there is no
            folder.
    """

    def __init__(self, folder: Path | None, fit: str, step: int, *, tensorboard: bool) -> None:
        self._fit = fit
        self._path = None if folder is None else folder / FILE_NAME
        self._board: SummaryWriter | None = None
        if tensorboard:
            self._board = _open_board(folder, fit, step)
        if self._path is not None:
            _drop_beyond(self._path, fit, step)

    def write(self, step: int, record: Record) -> None:
        """Append a record of a step."""
        if self._path is not None:
            line = json.dumps({"fit": self._fit, "step": step, **record})
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        if self._board is not None:
            for name, value in record.items():
                if not isinstance(value, str):
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Finish writing."""
        if self._board is not None:
            self._board.close()


def check_tensorboard() -> None:
    """Refuse to start a fit that needs TensorBoard without it.

    Raises:
        ConfigurationError: it is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigurationError(
            "loop.tensorboard",
            [
                f"tensorboard is not installed. Run {suggest_install('watch')}, or set "
                "loop.tensorboard to false"
            ],
        )


def _open_board(folder: Path | None, fit: str, step: int) -> SummaryWriter:
    check_tensorboard()
    if folder is None:
        raise ConfigurationError(
            "loop.tensorboard",
            ["TensorBoard needs a working folder to write to. Give one with --work"],
        )
    from torch.utils.tensorboard.writer import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard" / fit), purge_step=step + 1)


def _drop_beyond(path: Path, fit: str, step: int) -> None:
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue  # The last line of a process that was killed.
        if record["fit"] != fit or record["step"] <= step:
            kept.append(line + "\n")
    write_whole(path, "".join(kept).encode())
