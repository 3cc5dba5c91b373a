"""The images: what their Dockerfiles say, and, where asked for, what they build and how it runs."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from henaw.cli.server.example_request import EXAMPLE_PERSON

REPOSITORY = Path(__file__).resolve().parents[2]
CONTAINER = REPOSITORY / "serve_config" / "container"
ENGINES = {"native": "trixie", "torchserve": "bookworm"}
"""Each engine's image, and the release of Debian that it is made from."""
BUILT_BY = ("LICENSE", "README.md", "constraints.txt", "pyproject.toml", "setup.py")
USER = "10001"
WRITABLE = ("/tmp", "/var/lib/henaw")
READY = {"native": 8080, "torchserve": 8083}
PORTS = (8080, 8081, 8082, 8083, 7070, 7071)

Instructions = list[tuple[str, str]]


def read_stages(engine: str) -> tuple[dict[str, str], list[Instructions]]:
    """The arguments before the first stage, and each stage's instructions, first ``FROM``."""
    text = (CONTAINER / f"{engine}.Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    instructions = [(name, " ".join(rest.split())) for name, rest in lines]
    starts = [i for i, (name, _) in enumerate(instructions) if name == "FROM"]
    arguments = dict(value.split("=", 1) for _, value in instructions[: starts[0]])
    ends = [*starts[1:], len(instructions)]
    return arguments, [instructions[a:b] for a, b in zip(starts, ends, strict=True)]


def list_values(stage: Instructions, name: str) -> list[str]:
    return [value for instruction, value in stage if instruction == name]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_base_is_pinned_and_the_last_stage_holds_little(engine: str) -> None:
    arguments, (python, build, last) = read_stages(engine)
    assert arguments["BASE"] == f"docker.io/library/debian:{ENGINES[engine]}-slim"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", arguments["BASE_DIGEST"])
    assert list_values(python, "FROM") == ["${BASE}@${BASE_DIGEST} AS python"]
    assert list_values(build, "FROM") == ["python AS build"]
    assert list_values(last, "FROM") == ["python"]
    assert not [run for run in list_values(last, "RUN") if re.search(r"\b(apt-get|pip)\b", run)]
    assert list_values(last, "USER") == [f"{USER}:{USER}"]
    for name in ("ENTRYPOINT", "CMD"):
        (value,) = list_values(last, name)
        assert isinstance(json.loads(value), list)
    for copy in list_values(last, "COPY"):
        *options, source, _ = copy.split()
        assert options == ["--from=build"] or (REPOSITORY / source).is_dir()


def test_what_is_built_from_is_what_the_packages_need() -> None:
    """Data, environments and runs stay out."""
    kept = set(re.findall(r"^!(\S+)$", (REPOSITORY / ".dockerignore").read_text(), re.MULTILINE))
    project = (REPOSITORY / "pyproject.toml").read_text()
    named = set(re.findall(r'^"henaw(?:\.\w+)?" = "(\w+)"$', project, re.MULTILINE))
    assert kept == named | {*BUILT_BY}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_linter_finds_nothing(engine: str) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("no hadolint for this machine")
    path = CONTAINER / f"{engine}.Dockerfile"
    command = [hadolint, "--config", str(CONTAINER / "hadolint.yaml"), str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


class Builder:
    """Images by buildah, which needs no daemon, in a store of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._buildah = ["buildah", "--root", f"{folder}/store", "--runroot", f"{folder}/runroot"]

    def run(self, *arguments: str, **options: Any) -> str:
        environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        result = subprocess.run(
            [*self._buildah, *arguments],
            env=environment,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
            **options,
        )
        return result.stdout.strip()

    def make_base(self, release: str) -> str:
        """Make Debian's smallest system, and return its digest."""
        system = self._folder / release
        bootstrap = ["debootstrap", "--variant=minbase", release, str(system)]
        subprocess.run(bootstrap, check=True, stdout=subprocess.DEVNULL)
        container = self.run("from", "scratch")
        self.run("add", "--quiet", container, str(system), "/")
        shutil.rmtree(system)
        self.run("commit", "--quiet", "--rm", container, f"localhost/debian:{release}-slim")
        named = f"localhost/debian:{release}-slim"
        return self.run("images", "--format", "{{.Digest}}", named)

    def build(self, engine: str) -> str:
        """Build the engine's Dockerfile as it is, but for where the base and packages are."""
        options = [
            *("--build-arg", "BASE=localhost/debian"),
            *("--build-arg", f"BASE_DIGEST={self.make_base(ENGINES[engine])}"),
        ]
        for name, value in (
            ("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt"),
            ("PIP_FIND_LINKS", os.environ.get("PIP_FIND_LINKS", "")),
        ):
            if value and Path(value).exists():
                there = f"/mnt/{Path(value).name}"
                options += ["--build-arg", f"{name}={there}", "--volume", f"{value}:{there}:ro"]
        dockerfile = str(CONTAINER / f"{engine}.Dockerfile")
        self.run("bud", "--quiet", "--file", dockerfile, *options, "--tag", engine, str(REPOSITORY))
        return engine

    def mount(self, image: str) -> tuple[Path, dict[str, Any]]:
        """Return the file system of an image, and what it says of how it is run."""
        container = self.run("from", "--pull-never", image)
        described = json.loads(self.run("inspect", "--type", "container", container))
        return Path(self.run("mount", container)), described["OCIv1"]["config"]


@contextlib.contextmanager
def run_contained(root: Path, image: dict[str, Any], *command: str) -> Iterator[Any]:
    """Run a command as a pod of the manifests would: no capability, nothing to write to but two
    folders of memory, processes of its own. The network is the host's.
    """
    uid, _, gid = image["User"].partition(":")
    mounts = [f"mount --bind {root} {root}", f"mount -o remount,ro,bind {root}"]
    mounts += [f"mount -t proc proc {root}/proc", f"mount --bind /dev {root}/dev"]
    mounts += [f"mount -t tmpfs -o uid={uid},gid={gid},mode=0700 tmpfs {root}{f}" for f in WRITABLE]
    inside = [
        *("chroot", str(root), "setpriv", "--reuid", uid, "--regid", gid, "--clear-groups"),
        *("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "env", "-i", "-C"),
        *(image["WorkingDir"], *image["Env"], *command),
    ]
    script = " && ".join([*mounts, 'exec "$@"'])
    arguments = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
    with subprocess.Popen(
        [*arguments, "sh", "-c", script, "sh", *inside], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run_whole(root: Path, image: dict[str, Any], *command: str) -> str:
    with run_contained(root, image, *command) as process:
        output: str = process.communicate(timeout=300)[0]
    return output


def ask(url: str, document: Any = None) -> tuple[int, Any]:
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def wait_until_ready(engine: str, process: Any) -> None:
    deadline_s = time.monotonic() + 300
    while True:
        with contextlib.suppress(OSError):
            if ask(f"http://127.0.0.1:{READY[engine]}/ready")[0] == 200:
                return
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline_s
        time.sleep(0.5)


@pytest.fixture(scope="module", params=ENGINES)
def built(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """An engine, its image's file system and its configuration."""
    if os.environ.get("HENAW_BUILD_IMAGES") != "1":
        pytest.skip("building takes minutes and gigabytes: HENAW_BUILD_IMAGES=1 does it")
    lacking = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if lacking or os.geteuid() != 0:
        pytest.fail(f"building needs root, and {' and '.join(lacking) or 'nothing more'}")
    builder = Builder(tmp_path_factory.mktemp("images"))
    try:
        yield request.param, *builder.mount(builder.build(request.param))
    finally:
        builder.run("umount", "--all")
        builder.run("rm", "--all")
        builder.run("rmi", "--all", "--force")


def test_an_image_holds_no_compiler_and_nothing_to_write_to(
    built: tuple[str, Path, dict[str, Any]],
) -> None:
    engine, root, image = built
    assert image["User"] == f"{USER}:{USER}"
    names = {path.name for path in root.glob("usr/bin/*")} | {
        path.name for path in root.glob("opt/henaw/bin/*")
    }
    assert not names & {"cc", "gcc", "g++", "c++", "clang", "ld", "as", "make", "pip", "pip3"}
    assert (root / "opt/henaw/lib").is_dir()
    has_torch = bool(list(root.glob("opt/henaw/lib/python3*/site-packages/torch")))
    assert has_torch == (engine == "torchserve")
    # -xdev shows where another file system is mounted, but nothing of it.
    find = ["find", "/", "-xdev", "-writable", "-not", "-type", "l"]
    found = run_whole(root, image, *find).split()
    assert set(found) - {"/dev", "/proc"} == set(WRITABLE)


def test_an_image_answers_with_a_root_that_is_read_only_and_ends_by_sigterm(
    built: tuple[str, Path, dict[str, Any]],
) -> None:
    engine, root, image = built
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                pytest.skip(f"port {port} is taken")
    with run_contained(root, image, *image["Entrypoint"], *image["Cmd"]) as process:
        wait_until_ready(engine, process)
        status, answer = ask("http://127.0.0.1:8080/predictions/henaw", EXAMPLE_PERSON)
        assert status == 200
        assert answer["biological_age"] == pytest.approx(51.74557, abs=1e-3)
        assert answer["model"]["runtime"] == "onnxruntime-cpu"
        live = "/live" if engine == "native" else "/ping"
        assert ask(f"http://127.0.0.1:8080{live}")[0] == 200
        # The namespace's first process, whose parent is unshare.
        first = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        os.kill(int(first), signal.SIGTERM)
        assert process.wait(timeout=120) == 0
