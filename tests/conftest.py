"""Fixtures that several folders of tests share; each is made once a session."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import psutil
import pytest
import torch
from filelock import FileLock
from henaw.export.export import export_checkpoint
from henaw.export.people import People
from henaw.model.checkpoint import Checkpoint, load_checkpoint
from henaw.model.exported.golden import read_golden
from henaw.model.onnx_session import CPU_PROVIDER, CUDA_PROVIDER
from henaw.model.runtime import OnnxRuntime, Outputs, Runtime, TorchRuntime

REPOSITORY = Path(__file__).resolve().parents[1]
RUNTIME_NAMES = ("eager", "torchscript", "onnx")
REAL_SESSION = onnxruntime.InferenceSession


ALONE = ("benchmarks/", "handler/test_cost.py", "handler/throttle/")
"""What watches the clock, by the beginning of its path."""

LENGTHY = (
    *("serving/", "examples/", "cli/", "export/", "serve_config/", "test_wheel.py"),
    *("scoring/test_spark", "scoring/jobs/test_job"),
    *(
        "scoring/jobs/test_parts",
        "scoring/calibration/test_calibration",
        "scoring/reading/test_unpack",
    ),
    *("training/test_fit", "training/test_resume", "training/test_simulation"),
    *("training/test_train", "training/test_shipped_configurations"),
    *("training/cohorts/test_adjustment", "training/evaluation/", "training/minibatches/"),
    *("training/objective/test_harm", "training/reference/", "training/search/"),
    *("training/solvers/", "training/readers/nhanes/", "training/execution/"),
    *(
        "model/network/test_network_cohort",
        "model/graph/test_harm",
        "model/test_tenth",
        "model/test_synthetic",
    ),
    *("handler/inference/", "handler/response/test_other_shapes", "handler/torchserve/"),
    *("intake/test_json_stream", "scoring/jobs/test_comparison", "scoring/test_engines"),
)
"""What fits, exports or starts processes, servers or browsers, by the beginning of its path.

What needs the shared export (``artifacts``) is lengthy too.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what must not run beside other tests and what takes long; put the latter first."""
    tests = REPOSITORY / "tests"

    def find_path(item: pytest.Item) -> str:
        inside = item.path.is_relative_to(tests)
        return item.path.relative_to(tests).as_posix() if inside else ""

    for item in items:
        if find_path(item).startswith(ALONE):
            item.add_marker("alone")
        if find_path(item).startswith(LENGTHY) or "artifacts" in getattr(item, "fixturenames", ()):
            item.add_marker("lengthy")
    # The last file of a run then ends soon, and no process waits long for another.
    items.sort(key=lambda item: not find_path(item).startswith(LENGTHY))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked ``gpu`` where there is none."""
    if item.get_closest_marker("gpu") is not None and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture(scope="session")
def shipped_checkpoint_path() -> Path:
    """The reference model that ships."""
    return REPOSITORY / "model" / "weights" / "henaw-nhanes.safetensors"


@pytest.fixture(scope="session")
def checkpoint(shipped_checkpoint_path: Path) -> Checkpoint:
    return load_checkpoint(shipped_checkpoint_path)


@pytest.fixture(scope="session")
def artifacts(shipped_checkpoint_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``henaw export`` writes from the reference model; do not change it.

    All processes of a run share it.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    # A folder of its own shows what the export leaves beside its output.
    out = root / "artifacts" / "export"
    with FileLock(root / "artifacts.lock"):
        if not out.exists():
            out.parent.mkdir()
            export_checkpoint(shipped_checkpoint_path, out)
    return out


@pytest.fixture(scope="session")
def weights() -> Path:
    """The folder that ships: what ``artifacts`` has, but for TorchScript; do not change it."""
    return REPOSITORY / "model" / "weights"


@pytest.fixture(scope="session")
def golden(weights: Path) -> tuple[People, Outputs]:
    """Golden inputs and outputs."""
    return read_golden(weights / "golden.json")


@pytest.fixture(scope="session")
def runtimes(checkpoint: Checkpoint, artifacts: Path) -> dict[str, Runtime]:
    """The reference model in every runtime on the CPU."""
    return {
        "eager": TorchRuntime(checkpoint.build_network(), name="eager"),
        "torchscript": TorchRuntime.load_torchscript(artifacts / "henaw.torchscript.pt"),
        "onnx": OnnxRuntime(artifacts / "henaw.onnx"),
    }


@pytest.fixture(params=RUNTIME_NAMES, scope="session")
def runtime(request: pytest.FixtureRequest, runtimes: dict[str, Runtime]) -> Runtime:
    """Each runtime in turn."""
    return runtimes[request.param]


@pytest.fixture(scope="session")
def cohort_path() -> Path:
    """The development cohort, which is never part of the repository."""
    named = os.environ.get("HENAW_COHORT")
    path = (
        Path(named)
        if named
        else REPOSITORY.parent / "shared" / "data" / "nhanes_development.parquet"
    )
    if not path.is_file():
        pytest.skip(f"no cohort at {path}: set HENAW_COHORT to a copy of it")
    return path


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Put the clock forward by an hour, and with it the time of the boot that psutil reads."""
    linux = pytest.importorskip("psutil._pslinux")

    def set_forward() -> None:
        before = psutil.Process().create_time()
        boot = psutil.boot_time() + 3600
        monkeypatch.setattr(linux, "boot_time", lambda: boot)
        monkeypatch.setattr(linux, "BOOT_TIME", boot, raising=False)
        assert psutil.Process().create_time() > before

    return set_forward


class SessionStandIn:
    """A session that says it is on CUDA, and computes on the CPU."""

    opened: list[list[Any]]
    people: list[int]
    keeps_cuda = True
    starts = True
    runs_before_failing = 1_000

    def __init__(self, source: Any, options: Any, *, providers: list[Any], **named: Any) -> None:
        self.opened.append(providers)
        self.is_cuda = providers != [CPU_PROVIDER]
        if self.is_cuda and not self.starts:
            raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected")
        self._session = REAL_SESSION(source, options, providers=[CPU_PROVIDER], **named)

    def get_providers(self) -> list[str]:
        return [CUDA_PROVIDER, CPU_PROVIDER] if self.is_cuda and self.keeps_cuda else [CPU_PROVIDER]

    def get_modelmeta(self) -> Any:
        return self._session.get_modelmeta()

    def run(self, names: list[str], feeds: dict[str, Any]) -> Any:
        if self.is_cuda and self.runs_before_failing <= 0:
            raise RuntimeError("CUDA failure 2: out of memory")
        self.runs_before_failing -= 1
        self.people.append(len(feeds["age"]))
        return self._session.run(names, feeds)


@pytest.fixture
def pretend_cuda(monkeypatch: pytest.MonkeyPatch) -> Callable[..., type[SessionStandIn]]:
    """Put a stand-in for onnxruntime-gpu in place, which behaves as told."""

    def put(**behaviour: Any) -> type[SessionStandIn]:
        stand_in = type("StandIn", (SessionStandIn,), {"opened": [], "people": [], **behaviour})
        monkeypatch.setattr(onnxruntime, "InferenceSession", stand_in)
        monkeypatch.setattr(
            onnxruntime, "get_available_providers", lambda: [CUDA_PROVIDER, CPU_PROVIDER]
        )
        return stand_in

    return put
