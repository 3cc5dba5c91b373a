"""A service on the shipped model, and the archive it comes from, unpacked."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from henaw.export.archive import build_archive
from henaw.handler.configuration import (
    Bucket,
    HandlerConfiguration,
    Limits,
    ThrottleConfiguration,
)
from henaw.handler.exchange import Request, Response
from henaw.handler.inference.failover import FailoverRuntime
from henaw.handler.metadata import Metadata, load_metadata
from henaw.handler.native.routes import Routes
from henaw.handler.observe.drift import load_drift_reference
from henaw.handler.observe.metrics import Metrics
from henaw.handler.observe.request_log import RequestLog
from henaw.handler.observe.shadow import ShadowComparison
from henaw.handler.service import Service
from henaw.handler.throttle.throttle import Throttle
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.runtime import OnnxRuntime, Runtime

collect_ignore = ["native/ask_by_kserve.py"]
"""Another Python runs it."""

MODEL_CONFIG = Path(__file__).resolve().parents[2] / "serve_config" / "model-config.yaml"


@pytest.fixture(scope="session")
def unpacked(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive's content; copy it before changing it."""
    archive = build_archive(artifacts, MODEL_CONFIG, tmp_path_factory.mktemp("store"))
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def metadata(weights: Path) -> Metadata:
    return load_metadata(weights / "henaw.json")


@pytest.fixture(scope="session")
def onnx(weights: Path) -> OnnxRuntime:
    return OnnxRuntime(weights / "henaw.onnx")


@pytest.fixture
def person() -> dict[str, Any]:
    """A person with every field."""
    return {
        "age": 54,
        "sex": "female",
        "participant_id": "a-17",
        "biomarkers": {
            "crp": 1.2,
            "hba1c": {"value": 5.4, "unit": "%"},
            "creatinine": {"value": 0.9, "unit": "mg/dL"},
            "albumin": 45,
            "lymphocyte_pct": 29,
            "rdw": 13.1,
            "ggt": 22,
            "ast": 24,
            "alt": 20,
        },
    }


class Site:
    """The paths of one service, answered as an engine answers them."""

    def __init__(self, service: Service, is_ready: Callable[[], bool]) -> None:
        self._service = service
        self.routes = Routes(service.metadata, is_ready)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Answer one request."""
        found = self.routes.find(method, path)
        if isinstance(found, Response):
            return found
        (response,) = self._service.answer([found.ask(body, headers, "site")])
        return response


class Client:
    """Sends JSON to a service, and keeps the log it writes."""

    def __init__(
        self, service: Service, log: io.BytesIO, flush: Callable[[], None], metrics: Metrics
    ) -> None:
        self.service = service
        self.metrics = metrics
        self._log = log
        self._flush = flush

    def send(self, *bodies: Any, headers: dict[str, str] | None = None, **flags: bool) -> Any:
        """Send one batch; return the response, or the responses where there are several."""
        responses = self.service.answer(
            [
                Request(
                    body=body if isinstance(body, bytes) else json.dumps(body).encode(),
                    headers={"content-type": "application/json", **(headers or {})},
                    request_id=f"r{index}",
                    **flags,
                )
                for index, body in enumerate(bodies)
            ]
        )
        return responses[0] if len(bodies) == 1 else responses

    def make_site(self, is_ready: Callable[[], bool] = lambda: True) -> Site:
        """Return the paths of the service."""
        return Site(self.service, is_ready)

    def read_log(self) -> list[dict[str, Any]]:
        """Return the records so far."""
        self._flush()
        return [json.loads(line) for line in self._log.getvalue().splitlines()]


FHIR_UNITS = dict(
    zip(NAMES, ("mg/L", "mmol/mol", "umol/L", "g/L", "%", "%", "U/L", "U/L", "U/L"), strict=True)
)


@pytest.fixture
def make_patient() -> Callable[..., list[dict[str, Any]]]:
    """Make a Patient of 54 years and an Observation of each biomarker."""

    def make(number: str = "a-17", **values: float) -> list[dict[str, Any]]:
        usual = dict(zip(NAMES, (1.2, 35.5, 79.6, 45, 29, 13.1, 22, 24, 20), strict=True))
        return [
            {
                "resourceType": "Patient",
                "id": number,
                "gender": "female",
                "birthDate": "1970-05-05",
            },
            *(
                {
                    "resourceType": "Observation",
                    "id": f"{number}-{name}",
                    "status": "final",
                    "code": {
                        "coding": [
                            {"system": "http://loinc.org", "code": PANEL[INDEX[name]].loinc[0]}
                        ]
                    },
                    "subject": {"reference": f"Patient/{number}"},
                    "effectiveDateTime": "2024-06-01",
                    "valueQuantity": {
                        "value": value,
                        "unit": FHIR_UNITS[name],
                        "system": "http://unitsofmeasure.org",
                        "code": FHIR_UNITS[name],
                    },
                }
                for name, value in (usual | values).items()
            ),
        ]

    return make


@pytest.fixture
def make_bundle() -> Callable[..., dict[str, Any]]:
    """Put resources into a Bundle."""

    def make(*resources: dict[str, Any], kind: str = "collection") -> dict[str, Any]:
        entries = [{"resource": resource} for resource in resources]
        return {"resourceType": "Bundle", "type": kind, "entry": entries}

    return make


@pytest.fixture
def make_call(
    make_patient: Callable[..., Any], make_bundle: Callable[..., Any]
) -> Callable[..., dict[str, Any]]:
    """Make a call of the hook, with all that the service asks for."""

    def make(**values: float) -> dict[str, Any]:
        patient, *observations = make_patient(**values)
        found = zip(NAMES, observations, strict=True)
        return {
            "hook": "patient-view",
            "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
            "context": {"userId": "Practitioner/example", "patientId": patient["id"]},
            "prefetch": {
                "patient": patient,
                **{name: make_bundle(one, kind="searchset") for name, one in found},
            },
        }

    return make


GENEROUS = ThrottleConfiguration(
    anonymous=Bucket(rate=1_000_000, period_s=1, burst=1_000_000),
    keyed=Bucket(rate=1_000_000, period_s=1, burst=1_000_000),
)


@pytest.fixture
def make_client(onnx: OnnxRuntime, metadata: Metadata, weights: Path) -> Callable[..., Client]:
    """Make a client of a service with the given runtime, throttle or limits."""

    def make(
        *,
        runtime: Runtime | None = None,
        preferred: Runtime | None = None,
        throttle: ThrottleConfiguration = GENEROUS,
        limits: Limits | None = None,
        shadow: ShadowComparison | None = None,
    ) -> Client:
        stream = io.BytesIO()
        log = RequestLog(stream)
        configuration = HandlerConfiguration(
            # A slow machine is not overload.
            limits=limits or Limits(batch_s=60),
            throttle=throttle,
        )
        metrics = Metrics(load_drift_reference(weights / "henaw.json"))
        service = Service(
            runtime=FailoverRuntime(runtime or onnx, preferred, report=log.report),
            metadata=metadata,
            throttle=Throttle(throttle, None),
            configuration=configuration,
            log=log.write,
            metrics=metrics,
            shadow=shadow,
            digests={"henaw.onnx": "a" * 64},
        )
        return Client(service, stream, log.flush, metrics)

    return make


@pytest.fixture
def client(make_client: Callable[..., Client]) -> Client:
    return make_client()


@pytest.fixture
def read() -> Callable[[Response], Any]:
    """Decode a response's body."""
    return lambda response: json.loads(response.body)
