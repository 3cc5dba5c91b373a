"""Build both distributions, check them, and write their bills of materials: make dist.

    python release/build.py build/dist

``henaw`` brings onnxruntime, ``henaw-gpu`` onnxruntime-gpu; nothing else differs. Beside each
wheel is its bill of materials (CycloneDX), from a fresh environment that has the wheel. The same
commit gives the same bytes.
"""

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
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
"""Replacements in pyproject.toml for the second distribution."""
_LEFT_OUT = shutil.ignore_patterns(
    *(".git", ".venv", "build", "node_modules", "model_store", "run", "*.egg-info"),
    *("__pycache__", ".*_cache", ".hypothesis"),
)


def build(name: str, out: Path) -> Path:
    """Build the source distribution and from it the wheel, and return the wheel's path."""
    set_time()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "source"
        shutil.copytree(SOURCE, folder, ignore=_LEFT_OUT)
        if name == "henaw-gpu":
            _switch(folder / "pyproject.toml")
        options = ("--no-isolation", "--outdir", out)
        _run(sys.executable, "-m", "build", *options, folder)
    stem = name.replace("-", "_")
    (archive,) = out.glob(f"{stem}-[0-9]*.tar.gz")
    pack_again(archive)
    (wheel,) = out.glob(f"{stem}-[0-9]*.whl")
    return wheel


def set_time() -> int:
    """Return the time in archives, seconds: SOURCE_DATE_EPOCH, which is set to the commit's."""
    if "SOURCE_DATE_EPOCH" not in os.environ:
        command = ("git", "-C", str(SOURCE), "log", "-1", "--format=%ct")
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        os.environ["SOURCE_DATE_EPOCH"] = done.stdout.strip()
    return int(os.environ["SOURCE_DATE_EPOCH"])


def pack_again(archive: Path) -> None:
    """Pack a source archive again, sorted, with one time for all files and no owner."""
    time_s = set_time()
    with tempfile.TemporaryDirectory() as temporary:
        with tarfile.open(archive) as given:
            given.extractall(temporary, filter="data")
        paths = sorted(path for path in Path(temporary).rglob("*") if path.is_file())
        with (
            gzip.GzipFile(archive, "wb", mtime=time_s) as packed,
            tarfile.open(fileobj=packed, mode="w") as out,
        ):
            for path in paths:
                member = out.gettarinfo(path, path.relative_to(temporary).as_posix())
                member.mtime = time_s
                member.mode = 0o755 if member.mode & 0o100 else 0o644
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                with path.open("rb") as content:
                    out.addfile(member, content)


def check(out: Path) -> None:
    """Check what a package index would show for each file."""
    files = [path for path in out.iterdir() if path.name.endswith((".whl", ".tar.gz"))]
    _run(sys.executable, "-m", "twine", "check", "--strict", *files)


def list_materials(wheel: Path, python: Path) -> Path:
    """Write beside a wheel the bill of materials of an environment that has the wheel."""
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
    """Empty a folder, then build, check and list everything into it."""
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
