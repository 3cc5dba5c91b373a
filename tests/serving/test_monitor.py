"""Metrics and readiness of a real server, while workers are killed, stopped or made wrong."""

import hashlib
import json
import os
import shutil
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from henaw.cli.checks.deployment import Deployment, examine
from henaw.cli.checks.results import CheckResult
from henaw.cli.server.example_request import EXAMPLE_PERSON, wait_for_answer
from henaw.cli.server.record import Record
from henaw.export.archive import build_archive
from henaw.model.biomarkers import NAMES
from henaw.model.reliability import CODES
from prometheus_client.parser import text_string_to_metric_families

SERVE_CONFIG = Path(__file__).resolve().parents[2] / "serve_config"
PATIENCE_S = 2.0

SPOIL = """

# Files beside the server's tell the model what to do.
import os as _os, time as _time
_predict = OnnxRuntime.predict
def _spoilt(self, biomarkers, age, sex):
    while _os.path.exists("{folder}/hang"):
        _time.sleep(0.05)
    outputs = _predict(self, biomarkers, age, sex)
    if _os.path.exists("{folder}/wrong"):
        outputs["biological_age"] = outputs["biological_age"] + 0.01
    return outputs
OnnxRuntime.predict = _spoilt
"""


class Watched:
    """A server of two workers, its monitor, and the switches of its model."""

    def __init__(self, record: Record, folder: Path, port: int) -> None:
        self.record, self.folder, self.port = record, folder, port

    def post(self, body: Any, **headers: str) -> requests.Response:
        """Ask; a body that is not bytes is sent as JSON."""
        return requests.post(
            f"{self.record.url}/predictions/henaw",
            data=body if isinstance(body, bytes) else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **headers},
            timeout=60,
        )

    def ask_ready(self) -> tuple[int, dict[str, Any]]:
        """Return the monitor's judgement."""
        response = requests.get(f"http://127.0.0.1:{self.port}/ready", timeout=5)
        return response.status_code, response.json()

    def scrape(self) -> dict[tuple[str, str], float]:
        """Return the samples by name and by the labels' values but the version."""
        text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=5).text
        return {
            (sample.name, ",".join(v for k, v in sample.labels.items() if k != "version")):
                sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }  # fmt: skip

    def scrape_at_rest(self) -> dict[tuple[str, str], float]:
        """Return the samples once earlier requests without a waiting client are counted."""
        count, before = ("henaw_request_seconds_count", ""), -1.0
        while (samples := self.scrape())[count] != before:
            before = samples[count]
            time.sleep(1.5)
        return samples

    def list_workers(self) -> list[psutil.Process]:
        """Return the workers' processes."""
        family = psutil.Process(self.record.pid).children(recursive=True)
        marks = ("model_service_worker", "henaw.handler.native.worker")
        return [p for p in family if any(mark in " ".join(p.cmdline()) for mark in marks)]

    def wait(self, look: Callable[[], Any], seconds: float = 30.0) -> Any:
        """Repeat until there is a result."""
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            found = look()
            if found:
                return found
            time.sleep(0.1)
        pytest.fail(f"not seen in time; last: {self.ask_ready()}")

    def wait_until_ready(self) -> None:
        """Return once both workers answer rightly."""
        self.wait(lambda: self.ask_ready() == (200, {"ready": True, "workers": 2, "problems": []}))

    def wait_for_problem(self, *words: str) -> None:
        """Return once the server is not ready for a reason with these words."""

        def look() -> bool:
            status, document = self.ask_ready()
            text = " ".join(document["problems"])
            return status == 503 and all(word in text for word in words)

        self.wait(look)


def spoil(archive: Path, folder: Path) -> None:
    """Give the archive's model switches, and digests that say so."""
    with zipfile.ZipFile(archive) as source:
        content = {name: source.read(name) for name in source.namelist()}
    name = "henaw/model/runtime.py"
    content[name] += SPOIL.format(folder=folder).encode()
    digests = json.loads(content["digests.json"])
    digests[name] = hashlib.sha256(content[name]).hexdigest()
    content["digests.json"] = json.dumps(digests).encode()
    with zipfile.ZipFile(archive, "w") as target:
        for name, data in content.items():
            target.writestr(name, data)


def spoil_installed(folder: Path) -> None:
    """Give the installed model the same switches, in processes that look there for modules."""
    (folder / "sitecustomize.py").write_text(
        "from henaw.model.runtime import OnnxRuntime\n" + SPOIL.format(folder=folder)
    )


@pytest.fixture(scope="module")
def watched(  # noqa: PLR0917 -- pytest passes by name
    engine: str,
    start_engine: Callable[..., Record],
    stop_engine: Callable[[Path], None],
    artifacts: Path,
    free_ports: Callable[..., int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    model_config = yaml.safe_load((SERVE_CONFIG / "model-config.yaml").read_text())
    (folder / "model-config.yaml").write_text(
        yaml.safe_dump(model_config | {"minWorkers": 2, "maxWorkers": 2})
    )
    archive = build_archive(artifacts, folder / "model-config.yaml", folder)
    if engine == "torchserve":
        spoil(archive, folder)
    else:
        (folder / "python").mkdir()
        spoil_installed(folder / "python")
    configuration = Path(shutil.copytree(SERVE_CONFIG / "local", folder / "local"))
    handler = yaml.safe_load((configuration / "handler.yaml").read_text())
    handler["throttle"]["keyed"] = {"rate": 1, "period_s": 3600, "burst": 1}
    handler["monitor"] = {"check_every_s": 0.2, "patience_s": PATIENCE_S}
    handler["native"]["workers"] = 2
    (configuration / "handler.yaml").write_text(yaml.safe_dump(handler))
    port, run = free_ports(), folder / "run"
    with pytest.MonkeyPatch.context() as patched:
        if engine == "native":
            patched.setenv("PYTHONPATH", str(folder / "python"))
        record = start_engine(
            configuration=configuration, archive=archive, run=run, first_port=port
        )
    try:
        wait_for_answer(record, run)
        server = Watched(record, folder if engine == "torchserve" else folder / "python", port + 5)
        server.wait_until_ready()
        yield server
    finally:
        stop_engine(run)


@pytest.fixture(autouse=True)
def right_again(watched: Watched) -> Iterator[None]:
    yield
    for switch in ("wrong", "hang"):
        (watched.folder / switch).unlink(missing_ok=True)
    watched.wait_until_ready()


def count_traffic(watched: Watched) -> dict[tuple[str, str], float]:
    """Send requests of every outcome, and return what they must add to the counts."""
    partial = {"age": 54, "sex": "male", "biomarkers": {"crp": 1.0, "ggt": 4000}}
    keyed = {"X-API-Key": os.urandom(8).hex()}
    statuses = [
        watched.post(EXAMPLE_PERSON).status_code,
        watched.post({"instances": [EXAMPLE_PERSON] * 300}).status_code,
        watched.post(partial).status_code,
        watched.post(b"{").status_code,
        watched.post({"age": 7}).status_code,
        watched.post(EXAMPLE_PERSON, **{"Content-Type": "text/plain"}).status_code,
        watched.post(EXAMPLE_PERSON, **keyed).status_code,
        watched.post(EXAMPLE_PERSON, **keyed).status_code,
    ]
    assert statuses == [200, 200, 200, 400, 422, 415, 200, 429]
    return {
        ("henaw_requests_total", "200"): 4,
        **{("henaw_requests_total", str(s)): 1 for s in (400, 415, 422, 429)},
        ("henaw_throttled_total", "keyed"): 1,
        ("henaw_people_total", ""): 303,
        **{("henaw_imputed_total", n): n not in ("crp", "ggt") for n in NAMES},
        **{("henaw_out_of_range_total", n): n == "ggt" for n in NAMES},
        # GGT 4000 U/L is beyond its critical limit.
        **{("henaw_withheld_total", code): code == "critical_value" for code in CODES},
        ("henaw_biological_age_years_count", ""): 302,
        ("henaw_fallbacks_total", ""): 0,
        ("henaw_worker_starts_total", ""): 0,
        ("henaw_request_seconds_count", ""): 8,
        ("henaw_validation_seconds_count", ""): 8,
        ("henaw_batch_requests_sum", ""): 8,
        ("henaw_inference_seconds_count", "onnxruntime-cpu"): 4,
        **{("henaw_drift_values", n): 303 - (n not in ("crp", "ggt")) for n in NAMES},
        ("henaw_drift_values", "age"): 303,
        ("henaw_drift_values", "sex"): 303,
    }


def test_known_traffic_is_counted_over_both_workers(watched: Watched) -> None:
    before = watched.scrape_at_rest()
    expected = count_traffic(watched)

    deadline_s = time.monotonic() + 10
    added: dict[tuple[str, str], float] = {}
    while added != expected and time.monotonic() < deadline_s:
        now = watched.scrape()
        added = {key: now.get(key, 0) - before.get(key, 0) for key in expected}
        time.sleep(0.1)
    assert added == expected
    now = watched.scrape()
    assert now["henaw_ready", ""] == 1
    assert now["henaw_workers", "onnxruntime-cpu"] == 2
    assert 0 <= now["henaw_check_age_seconds", ""] < PATIENCE_S
    # Every request took less than 10 s, and every evaluation some time.
    assert now["henaw_request_seconds_bucket", "10.0"] == now["henaw_request_seconds_count", ""]
    assert now["henaw_inference_seconds_sum", "onnxruntime-cpu"] > 0
    # Three hundred copies of one person drift from the fitted people.
    assert min(now["henaw_drift_index", name] for name in (*NAMES, "age")) > 1
    assert now["henaw_drift_index", "sex"] > 0.5


def test_a_killed_worker_is_replaced_and_its_counts_stay(watched: Watched) -> None:
    before = watched.scrape()
    watched.list_workers()[0].kill()
    watched.wait(
        lambda: (
            watched.scrape()["henaw_worker_starts_total", ""]
            == before["henaw_worker_starts_total", ""] + 1
        )
    )
    watched.wait_until_ready()
    after = watched.scrape()
    assert after["henaw_requests_total", "200"] == before["henaw_requests_total", "200"]


def test_a_stopped_worker_turns_readiness_off(watched: Watched) -> None:
    worker = watched.list_workers()[0]
    worker.send_signal(signal.SIGSTOP)
    try:
        watched.wait_for_problem(f"worker {worker.pid}", "stopped or hangs")
        assert watched.scrape()["henaw_ready", ""] == 0
        assert requests.get(f"{watched.record.url}/ping", timeout=5).json()["status"] == "Healthy"
    finally:
        worker.send_signal(signal.SIGCONT)


def test_a_wrong_model_turns_readiness_off(watched: Watched) -> None:
    (watched.folder / "wrong").touch()
    watched.wait_for_problem("onnxruntime-cpu: biological_age must be within 0.0001")
    assert requests.get(f"{watched.record.url}/ping", timeout=5).json()["status"] == "Healthy"


def test_a_model_that_hangs_turns_readiness_off(watched: Watched) -> None:
    (watched.folder / "hang").touch()
    watched.wait_for_problem("stopped or hangs")
    assert requests.get(f"{watched.record.url}/ping", timeout=5).json()["status"] == "Healthy"


def test_the_doctor_sees_what_the_monitor_sees(watched: Watched, engine: Any) -> None:
    folder = watched.folder if engine == "torchserve" else watched.folder.parent
    deployment = Deployment(
        configuration=folder / "local",
        archive=folder / "henaw.mar",
        run=folder / "run",
        engine=engine,
    )

    def find() -> dict[str, CheckResult]:
        return {finding.check: finding for finding in examine(deployment)}

    found = find()
    assert [found[check].status for check in ("server", "ping", "ready")] == ["ok"] * 3
    (watched.folder / "wrong").touch()
    watched.wait_for_problem("must be within")
    found = find()
    assert (found["ping"].status, found["ready"].status) == ("ok", "problem")
    assert "biological_age must be within 0.0001" in found["ready"].seen
