"""Run every test and benchmark that needs a GPU, and write one report.

    python benchmarks/gpu [--out build/gpu] [--limit-s 540]
    python benchmarks/gpu --device cpu --people 5000     # a rehearsal without a GPU

HENAW need not be installed. Missing packages are listed, with the command that brings them to a
machine without a network; parts that need one are left out, and the report says so. Without a GPU
nothing runs and the exit status is 0. Each part is a process of its own, so that an error on the
device does not affect the next part.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = {
    "tests": (),
    "batches": ("serving", "answer_batches"),
    "requests": ("serving", "answer_requests"),
    "epochs": ("fitting", "run_epochs"),
    "scoring": ("serving", "score_file"),
    "held out": ("fitting", "measure_held_out"),
    "fits": ("fitting", "fit_synthetic"),
}
"""The most important parts come first, in case the time runs out."""
PACKAGES = ("torch", "onnxruntime-gpu", "onnxruntime", "onnx", "numpy", "pandas", "pyarrow")
MODULES = (
    *("numpy", "safetensors", "onnxruntime", "onnx", "onnxscript", "pandas", "pyarrow", "scipy"),
    *("yaml", "filelock", "lifelines", "click", "tqdm", "msgspec", "orjson", "psutil"),
    *("pytest", "hypothesis", "model_archiver"),
)
"""Modules that the parts import besides torch."""
OTHER_PACKAGES = {"yaml": "pyyaml", "model_archiver": "torch-model-archiver"}
"""Packages that are not named as their module is."""
_SAID = 2_000
"""Characters kept from the end of a part's output."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "gpu")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or, to rehearse, cpu")
    parser.add_argument("--people", type=int, help="most people in each benchmark")
    parser.add_argument("--limit-s", type=float, default=540, help="seconds for all parts")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        sys.exit("the Python package torch is missing: install it first")
    import torch

    is_cuda = options.device.startswith("cuda")
    if is_cuda and not torch.cuda.is_available():
        print(
            f"torch {torch.__version__} finds no CUDA device: nothing was run. "
            "Rehearse with: --device cpu --people 5000"
        )
        return
    if options.child:
        run_part(*options.child, device=options.device, people=options.people)
        return
    from report import write_report

    absent = [name for name in MODULES if not importlib.util.find_spec(name)]
    missing = [OTHER_PACKAGES.get(name, name) for name in absent]
    if missing:
        print(
            f"Missing: {', '.join(missing)}. Parts that need them are left out. To add them, run "
            f"pip install --target gpu-packages {' '.join(missing)} on a machine with a network "
            "and the same Python, and here: PYTHONPATH=gpu-packages python benchmarks/gpu"
        )
    report = {
        "device": torch.cuda.get_device_name(options.device) if is_cuda else "the CPU",
        "rehearsal": not is_cuda,
        "people": options.people,
        "missing": missing,
        "versions": list_versions(),
        "gpus": list_gpus(),
        "parts": {},
    }
    until = time.monotonic() + options.limit_s
    for name in options.only:
        print(f"{name} ...", flush=True)
        report["parts"][name] = start_part(name, options, until - time.monotonic())
        # After each part, so that an interrupted run leaves a report.
        path = write_report(report, options.out)
        print(f"  {report['parts'][name]['outcome']}", flush=True)
    print(path)


def start_part(name: str, options: argparse.Namespace, limit_s: float) -> dict[str, Any]:
    """Run one part in a process of its own, in which ``henaw`` is this repository."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="henaw-gpu-") as temporary:
        # The package henaw is the folder api, henaw.model the folder model, and so on.
        package = Path(temporary) / "henaw"
        package.mkdir()
        front_door = REPOSITORY / "api"
        folders = {path.parent for path in REPOSITORY.glob("*/__init__.py")} - {front_door}
        for path in [*front_door.glob("*.py"), *folders]:
            (package / path.name).symlink_to(path)
        results = Path(temporary) / "results.jsonl"
        results.touch()
        paths = [temporary, *filter(None, [os.environ.get("PYTHONPATH")])]
        command = [sys.executable, __file__, "--device", options.device]
        command += ["--child", name, str(results)]
        if options.people is not None:
            command += ["--people", str(options.people)]
        said, outcome = _run(command, paths, limit_s)
        found = [json.loads(line) for line in results.read_text().splitlines()]
    missing = [result["missing"] for result in found if "missing" in result]
    if outcome == "done" and missing:
        outcome = "done in part; missing: " + "; ".join(missing)
    return {
        "outcome": outcome,
        "seconds": round(time.monotonic() - began, 1),
        "results": found,
        "said": said[-_SAID:],
    }


def _run(command: list[str], paths: list[str], limit_s: float) -> tuple[str, str]:
    """Run a command; return its output and its outcome."""
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=max(1.0, limit_s))
    except subprocess.TimeoutExpired:
        # With its own child processes, such as the tests.
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        return said, f"STOPPED: the time ran out after {limit_s:.0f} s"
    return said, "done" if process.returncode == 0 else "FAILED"


def run_part(name: str, results: str, *, device: str, people: int | None) -> None:
    """Run one part in this process."""
    from measuring import Meter

    meter = Meter(device, Path(results), seconds=1.5 if device != "cpu" else 0.1)
    if name == "tests":
        run_tests(meter)
        return
    module, function = PARTS[name]
    try:
        getattr(importlib.import_module(module), function)(meter, people)
    except ModuleNotFoundError as error:
        meter.tell("not run", missing=f"the Python package {error.name}")


def run_tests(meter: Any) -> None:
    """Run the tests marked ``gpu``, collecting only files that have one."""
    if importlib.util.find_spec("pytest") is None:
        meter.tell("not run", missing="the Python package pytest")
        return
    tests = REPOSITORY / "tests"
    files = [str(p) for p in sorted(tests.rglob("test_*.py")) if "mark.gpu" in p.read_text()]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-ra", "--color=no", *files]
    command += ["-p", "no:cacheprovider", "--continue-on-collection-errors"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    meter.tell("pytest -m gpu", status=done.returncode, summary=lines[-1] if lines else "")
    for line in lines:
        if line.startswith(("SKIPPED", "FAILED", "ERROR")):
            meter.tell("test", outcome=line)
    if done.returncode != 0:
        sys.exit(f"{done.stdout[-_SAID:]}\n{done.stderr[-_SAID:]}")


def list_versions() -> dict[str, str]:
    """Versions of the software that answers depend on."""
    import torch

    versions = {"python": platform.python_version(), "machine": platform.platform()}
    versions["cores"] = str(len(os.sched_getaffinity(0)))
    versions |= {name: find_version(name) for name in PACKAGES}
    versions["torch's CUDA"] = str(torch.version.cuda)
    commit = subprocess.run(
        ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    versions["commit"] = commit.stdout.strip() or "unknown"
    return versions


def find_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def list_gpus() -> list[str]:
    """The GPUs that nvidia-smi lists."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = ["--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    said = subprocess.run([program, *query], capture_output=True, text=True, check=False)
    return said.stdout.strip().splitlines()


if __name__ == "__main__":
    main()
