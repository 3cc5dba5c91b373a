import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from henaw.handler.torchserve.location import find_configuration, find_store
from henaw.handler.torchserve.torchserve_entry import HenawHandler

RUN = """
import json, logging, sys
sys.path.insert(0, sys.argv[1])
import henaw.handler as installed
from ts.context import Context, RequestProcessor
import torchserve_entry
handler = torchserve_entry.HenawHandler()
context = Context("henaw", sys.argv[1], None, 4, 99, "0")
handler.initialize(context)
good = json.dumps({"age": 54, "sex": "male", "biomarkers": {"crp": 1}}).encode()
items = [{"body": bytearray(b"{")}, {"body": bytearray(good)}, {"body": bytearray(good)}, {},
         {"body": bytearray(good)}]
part = {"body": {"content-type": "application/json"}}
json_type = {"Content-Type": "application/json", "Content-Length": "2", **part}
by_grpc = {"content-length": {"content-type": ""}, **part}
multipart = {"content-type": "multipart/form-data; boundary=x", "content-length": "0"}
headers = [json_type, json_type, by_grpc, multipart, {**json_type, "explain": "True"}]
context.request_ids = {i: f"r{i}" for i in range(5)}
context.request_processor = [RequestProcessor(h) for h in headers]
bodies = handler.handle(items, context)
class Failing:
    def answer(self, requests, *, is_ending):
        raise ValueError("the age 66 is secret")
handler._service = Failing()
lost = Context("henaw", sys.argv[1], None, 2, None, "0")
lost.request_ids = {0: "x", 1: "y"}
lost.request_processor = [RequestProcessor(json_type) for _ in "xy"]
lost_bodies = handler.handle(items[:2], lost)
print(json.dumps({
    "lost": [[json.loads(body)["request_id"], *lost.get_response_status(i),
              lost.get_response_content_type(i)] for i, body in enumerate(lost_bodies)],
    "before": installed.__file__,
    "after": sys.modules["henaw.handler"].__file__,
    "status": [context.get_response_status(i) for i in context.request_ids],
    "types": [context.get_response_content_type(i) for i in context.request_ids],
    "keys": list(json.loads(bodies[4])),
    "level": logging.getLogger().level,
}))
"""


def test_the_archives_copy_answers_even_where_henaw_is_installed(
    unpacked: Path, tmp_path: Path
) -> None:
    """In a process of its own, where another henaw was imported first."""
    other = tmp_path / "other"
    (other / "henaw" / "handler").mkdir(parents=True)
    (other / "henaw" / "__init__.py").write_text("")
    (other / "henaw" / "handler" / "__init__.py").write_text("")
    script = RUN.replace(
        "import henaw.handler as installed",
        f"sys.path.insert(0, {str(other)!r})\nimport henaw.handler as installed",
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(unpacked)],
        cwd=tmp_path,
        env={
            **os.environ,
            "HENAW_THROTTLE_STORE": str(tmp_path / "store"),
            "HENAW_MONITOR_FOLDER": str(tmp_path / "monitor"),
            "LOG_LOCATION": str(tmp_path / "logs"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    answer = json.loads(lines[-1])
    assert answer["before"].startswith(str(other))
    assert answer["after"].startswith(str(unpacked))
    assert answer["status"] == [
        [400, "Bad Request"],
        [200, "OK"],
        [415, "Unsupported Media Type"],
        [200, "OK"],
    ]
    assert answer["types"] == [
        "application/problem+json",
        "application/json",
        "application/problem+json",
        "application/json",
    ]
    assert "interactions" in answer["keys"]
    # TorchServe's worker logs each request below this.
    assert answer["level"] == logging.WARNING
    logged = (tmp_path / "logs" / "requests.0.log").read_text()
    ids = [json.loads(line)["id"] for line in logged.splitlines()]
    # The third came by gRPC.
    assert ids == ["r0", "r1", "r3", "r4"]
    # One line says that the GPU is missing, one that the worker is ready, one what failed.
    unseen, ready, failed = [json.loads(line)["message"] for line in lines[:-1]]
    assert unseen.startswith("TorchServe assigns GPU 99 to this worker, but torch ")
    assert ready.startswith("ready on ")
    # TorchServe would log an error with its message, and answer by itself.
    told = ["Internal Server Error", "application/problem+json"]
    assert answer["lost"] == [["x", 500, *told], ["y", 500, *told]]
    assert failed.startswith("a batch of 2 failed: ValueError at ")
    assert "secret" not in result.stdout + result.stderr + logged


ADDED = ["msgspec.py", "hashlib.py", "yaml/__init__.py", "henaw/handler/configuration/__init__.py"]


@pytest.mark.parametrize("name", ADDED)
def test_what_was_added_to_the_archive_is_refused_before_it_runs(
    unpacked: Path, tmp_path: Path, name: str
) -> None:
    """TorchServe's worker starts with the archive's folder first on the path."""
    copied = shutil.copytree(unpacked, tmp_path / "archive")
    (copied / name).parent.mkdir(exist_ok=True)
    ran = tmp_path / "ran"
    (copied / name).write_text(f"open({str(ran)!r}, 'w').close()")
    script = """
import sys
from types import SimpleNamespace
import torchserve_entry
context = SimpleNamespace(system_properties={"model_dir": sys.path[1]})
torchserve_entry.HenawHandler().initialize(context)
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(copied)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert f"{name} is not part of the archive" in result.stderr
    assert not ran.exists()
    left = {path.name for path in copied.rglob("__pycache__/*")}
    assert all(file.startswith("torchserve_entry.") for file in left)


def test_it_does_not_answer_before_it_is_initialized() -> None:
    with pytest.raises(RuntimeError, match="initialize"):
        HenawHandler().answer([])


def test_importing_the_entry_imports_nothing_of_henaw() -> None:
    """TorchServe takes an ImportError there for a missing built-in handler."""
    path = Path(sys.modules["henaw.handler.torchserve.torchserve_entry"].__file__ or "")
    script = f"import sys; sys.path.insert(0, {str(path.parent)!r}); import torchserve_entry"
    script += "; print([m for m in sys.modules if m.startswith(('henaw', 'msgspec', 'torch.'))])"
    result = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


class TestLocation:
    def test_named_files_come_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HENAW_HANDLER_CONFIG", "/named/handler.yaml")
        monkeypatch.setenv("HENAW_THROTTLE_STORE", "/named/store")
        assert find_configuration() == Path("/named/handler.yaml")
        assert find_store("run/x") == Path("/named/store")

    @pytest.mark.parametrize("beside", [True, False])
    def test_else_beside_the_servers_configuration(self, tmp_path: Path, beside: bool) -> None:
        """The parent here stands for TorchServe: it runs elsewhere and was given -f."""
        (tmp_path / "conf").mkdir()
        if beside:
            (tmp_path / "conf" / "handler.yaml").write_text("")
        child = (
            "from henaw.handler.torchserve.location import find_configuration, find_store\n"
            "print(find_configuration(), find_store('run/x'))"
        )
        parent = (
            "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[3]], cwd='/')"
        )
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HENAW_")}
        result = subprocess.run(
            [sys.executable, "-c", parent, "-f", "conf/config.properties", child],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        expected = tmp_path / "conf" / "handler.yaml" if beside else None
        assert result.stdout.split() == [str(expected), str(tmp_path / "run" / "x")]
