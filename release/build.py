"""Build both distributions, check them, and write their bills of materials: make dist.

    python release/build.py build/dist

``henaw`` depends on onnxruntime, ``henaw-gpu`` on onnxruntime-gpu; nothing else differs. Beside
each wheel is its bill of materials (CycloneDX), made from a fresh environment with that wheel.
"""

import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
DISTRIBUTIONS = ("henaw", "henaw-gpu")
_GPU = {
    'name = "henaw"\n': 'name = "henaw-gpu"\n',
    '"onnxruntime>=': '"onnxruntime-gpu>=',
    '"henaw[': '"henaw-gpu[',
    "[project.optional-dependencies]\n": "[project.optional-dependencies]\n"
    "# CUDA and cuDNN, where the machine has none.\n"
    'cuda = ["onnxruntime-gpu[cuda,cudnn]"]\n',
}
"""Text of pyproject.toml that the second distribution replaces."""
_LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv", "build", "node_modules", "model_store", "run", "*.egg-info"),
    *("__pycache__", ".*_cache", ".hypothesis"),
)


def build(name: str, out: Path) -> Path:
    """Build the source distribution and from it the wheel; return the wheel's path."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "source"
        shutil.copytree(SOURCE, folder, ignore=_LEFT_OUT)
        if name == "henaw-gpu":
            _switch(folder / "pyproject.toml")
        options = ("--no-isolation", "--outdir", out)
        _run(sys.executable, "-m", "build", *options, folder)
    (wheel,) = out.glob(f"{name.replace('-', '_')}-[0-9]*.whl")
    return wheel


def check(out: Path) -> None:
    """Check that a package index could show each file."""
    files = [path for path in out.iterdir() if path.name.endswith((".whl", ".tar.gz"))]
    _run(sys.executable, "-m", "twine", "check", "--strict", *files)


def list_materials(wheel: Path, python: Path) -> Path:
    """Write the bill of materials of an environment with a wheel installed, beside the wheel."""
    bill = wheel.with_suffix(".cdx.json")
    with tempfile.TemporaryDirectory() as temporary:
        project = Path(shutil.copy(SOURCE / "pyproject.toml", temporary))
        if wheel.name.startswith("henaw_gpu"):
            _switch(project)
        options = ("--pyproject", project, "--mc-type", "library", "--output-reproducible")
        command = (sys.executable, "-m", "cyclonedx_py", "environment", *options)
        _run(*command, "--output-file", bill, python)
    return bill


def main(out: Path) -> None:
    """Build, check and list everything into a folder, which is emptied first."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for name in DISTRIBUTIONS:
        wheel = build(name, out)
        with tempfile.TemporaryDirectory() as temporary:
            venv.create(temporary, symlinks=True)
            python = Path(temporary) / "bin" / "python"
            constraints = ("--constraint", SOURCE / "constraints.txt")
            pip = (sys.executable, "-m", "pip", "--python", python, "--quiet")
            _run(*pip, "install", *constraints, wheel)
            list_materials(wheel, python)
    check(out)
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size / 1e6:6.2f} MB  {path}")


def _switch(project: Path) -> None:
    text = project.read_text(encoding="utf-8")
    for before, after in _GPU.items():
        if before not in text:
            sys.exit(f"error: {project.name} must contain {before!r}")
        text = text.replace(before, after)
    project.write_text(text, encoding="utf-8")


def _run(*command: object) -> None:
    parts = [str(part) for part in command]
    done = subprocess.run(parts, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(parts)}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python release/build.py OUT")
    main(Path(sys.argv[1]))
