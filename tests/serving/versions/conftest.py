"""Two versions of the model, and a server of each."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from henaw.cli.server.example_request import wait_for_answer
from henaw.cli.server.record import Record
from henaw.export.archive import build_archive
from henaw.export.export import export_checkpoint
from henaw.model.checkpoint import Checkpoint, save_checkpoint

SERVE_CONFIG = Path(__file__).resolve().parents[3] / "serve_config"
CANDIDATE = "99.0.0"


@dataclasses.dataclass(frozen=True)
class Version:
    """A server of one version."""

    record: Record
    run: Path
    version: str

    @property
    def management(self) -> str:
        """The address that manages versions."""
        host, _, port = self.record.url.rpartition(":")
        return f"{host}:{int(port) + 1}"


@pytest.fixture(scope="session")
def candidate_archive(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference model but for weights a tenth larger, as another version."""
    folder = tmp_path_factory.mktemp("candidate")
    tensors = {**checkpoint.tensors, "weight": checkpoint.tensors["weight"] * 1.1}
    save_checkpoint(
        dataclasses.replace(checkpoint, version=CANDIDATE, tensors=tensors), folder / "c"
    )
    export_checkpoint(folder / "c", folder / "exported")
    return build_archive(folder / "exported", SERVE_CONFIG / "model-config.yaml", folder)


@pytest.fixture(scope="session")
def stable_archive(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped archive."""
    folder = tmp_path_factory.mktemp("stable")
    return build_archive(artifacts, SERVE_CONFIG / "model-config.yaml", folder)


@pytest.fixture(scope="package")
def start_version(
    start_engine: Callable[..., Record],
    stop_engine: Callable[[Path], None],
    free_ports: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Path], Version]]:
    """Start a server of an archive in the local configuration, and wait until it answers."""
    started: list[Path] = []

    def start(archive: Path) -> Version:
        run = tmp_path_factory.mktemp("version")
        started.append(run)
        folder = shutil.copytree(SERVE_CONFIG / "local", run / "config")
        handler = yaml.safe_load((folder / "handler.yaml").read_text())
        # A slow machine is not overload.
        handler["limits"]["batch_s"] = 60
        # Beside both servers' folders.
        handler["monitor"] = {"pairs": "../pairs.sqlite3"}
        (folder / "handler.yaml").write_text(yaml.safe_dump(handler))
        record = start_engine(
            configuration=folder, archive=archive, run=run, first_port=free_ports()
        )
        answer: dict[str, Any] = wait_for_answer(record, run)
        return Version(record, run, answer["model"]["version"])

    yield start
    for run in started:
        stop_engine(run)


@pytest.fixture(scope="package")
def stable(start_version: Callable[[Path], Version], stable_archive: Path) -> Version:
    """A server of the shipped version."""
    return start_version(stable_archive)
