"""Scoring where Python has no POSIX modules and open files stay, as on Windows."""

import subprocess
import sys
from pathlib import Path

import pytest

WINDOWS = """
import fcntl
import importlib.abc
import os
import shutil
import signal
import sys

read_flags, access = fcntl.fcntl, (fcntl.F_GETFL, os.O_ACCMODE)

# Other packages know what they may use on which system.
import click, filelock, numpy, onnxruntime, tqdm, yaml
import pyarrow.compute, pyarrow.csv, pyarrow.parquet

# Its lock for Windows calls Windows.
filelock.FileLock = filelock.SoftFileLock

MODULES = "curses fcntl grp pty pwd readline resource syslog termios tty".split()
NAMES = (
    "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK chown fchmod fchown fork forkpty getegid geteuid "
    "getgid getpgid getpriority getuid killpg lchown mkfifo nice posix_fadvise posix_fallocate "
    "posix_spawn pread pwrite sched_getaffinity setsid statvfs sync sysconf uname"
).split()
SIGNALS = ("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1")


class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, *_):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
for module in MODULES:
    sys.modules.pop(module, None)
for owner, names in ((os, NAMES), (signal, SIGNALS)):
    for name in names:
        if hasattr(owner, name):
            delattr(owner, name)


def refuse_open_files(function):
    # Windows replaces and removes no file that is open or mapped.
    def change(*paths, **named):
        held = {os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")}
        mapped = open("/proc/self/maps").read()
        for path in map(os.path.realpath, paths):
            if path in held or path in mapped:
                raise PermissionError(13, "used by another process", path)
        return function(*paths, **named)

    return change


def sync(descriptor, function=os.fsync):
    # Windows syncs no file that is open for reading alone.
    if read_flags(descriptor, access[0]) & access[1] == os.O_RDONLY:
        raise OSError(9, "Bad file descriptor")
    function(descriptor)


for name in ("rename", "replace", "remove", "unlink"):
    setattr(os, name, refuse_open_files(getattr(os, name)))
os.fsync = sync
shutil._use_fd_functions = False


sys.platform = "win32"
"""


def run(program: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", WINDOWS + program],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )


def run_command(folder: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    program = f"import henaw.cli.main as m\nsys.argv = ['henaw', *{arguments!r}]\nm.main()"
    done = run(program, folder, **variables)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "people.csv").write_text("age,sex,crp,albumin\n54,female,1.2,45\n61,male,,38\n")
    return tmp_path


def test_tables_are_scored(folder: Path) -> None:
    for out in ("answers.csv", "answers.parquet", "answers.arrow"):
        status, said = run_command(folder, "score", "people.csv", out)
        assert status == 0, said
        assert "2 rows, 2 scored by henaw-nhanes" in said
    assert {path.name for path in folder.iterdir()} == {
        "people.csv", "answers.csv", "answers.parquet", "answers.arrow"
    }  # fmt: skip


def test_the_package_answers_and_checks_its_file(folder: Path) -> None:
    program = "import henaw\nprint(henaw.predict({'age': 54, 'sex': 'female', 'albumin': 45}))"
    done = run(program, folder)
    assert done.stdout.startswith("Biological age "), done.stderr
    program = "from henaw.model.shipped import find_shipped\nprint(find_shipped('henaw.onnx'))"
    path = run(program, folder).stdout.strip()
    status, said = run_command(folder, "check", path)
    assert status == 0, said
    assert run_command(folder, "--help")[0] == 0
