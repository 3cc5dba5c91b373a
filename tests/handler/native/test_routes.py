"""Paths and methods, and the clients of the Open Inference Protocol as they are."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pytest
from henaw.handler.contract import interfaces
from henaw.handler.contract.openapi import write_openapi
from henaw.handler.metadata import Metadata
from henaw.handler.native.routes import Question, find_question
from henaw.model.runtime import OUTPUT_NAMES, OnnxRuntime
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

PEOPLE = (
    np.array([[1.2, 35.5, 79.6, 45, 29, 13.1, 22, 24, 20], [np.nan, 40, *[np.nan] * 7]], "f4"),
    np.array([54, 70], "f4"),
    np.array([0, 1], "i8"),
)
DATATYPES = {"biomarkers": "FP32", "age": "FP32", "sex": "INT64"}
JSON = {"content-type": "application/json"}


@pytest.fixture
def routes(client: Any) -> Any:
    return client.make_site()


def ask(
    routes: Any, path: str, body: Any = b"", method: str = "POST", **headers: str
) -> tuple[int, Any]:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = routes.answer(method, path, JSON | headers, sent)
    return response.status, json.loads(response.body)


def write_tensors() -> dict[str, Any]:
    """The people as a body, without binary values."""
    return {
        "inputs": [
            {
                "name": name,
                "shape": list(values.shape),
                "datatype": DATATYPES[name],
                "data": np.where(np.isnan(values), None, values.astype(object)).tolist(),
            }
            for name, values in zip(DATATYPES, PEOPLE, strict=True)
        ]
    }


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/predictions/henaw", "POST"),
        ("/explanations/henaw", "POST"),
        ("/v1/models/henaw:predict", "POST"),
        ("/v1/models/henaw:explain", "POST"),
        ("/v2/models/henaw/infer", "POST"),
        ("/cds-services/henaw", "POST"),
        ("/cds-services", "GET, HEAD"),
        ("/models/henaw", "GET, HEAD"),
        ("/v1/models/henaw", "GET, HEAD"),
        ("/v2/models/henaw", "GET, HEAD"),
        ("/v2/models/henaw/ready", "GET, HEAD"),
        ("/v2/health/live", "GET, HEAD"),
    ],
)
def test_the_answer_to_another_method_lists_the_allowed_ones(
    routes: Any, path: str, allowed: str
) -> None:
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "GET" if allowed == "POST" else "POST"):
        response = routes.answer(method, path, JSON, b"{}")
        assert (response.status, response.headers["Allow"]) == (405, allowed)
        assert json.loads(response.body)["type"] == "urn:henaw:problem:method-not-allowed"


@pytest.mark.parametrize(
    "path",
    ["", "/predictions", "/predictions/other", "/predictions/henaw/", "/v2/models/other",
     "/v2/models/henaw/infer/more", "/v2/models/henaw/versions/9/infer", "/predictions/henaw/9",
     "/v2/models/henaw/versions/9", "/../predictions/henaw", "//predictions/henaw"],
)  # fmt: skip
def test_other_paths_are_not_found(routes: Any, path: str) -> None:
    for method in ("GET", "POST"):
        response = routes.answer(method, path, JSON, b"{}")
        assert response.status in (404, 405)
    assert routes.answer("POST", path, JSON, b"{}").status in (404, 405)


def test_what_a_path_asks() -> None:
    assert find_question("/explanations/henaw/1.2.0") == Question(version="1.2.0", explain=True)
    assert find_question("/models/henaw") == Question(method="GET", describe=True)
    assert find_question("/v2/health/live") is None


def test_another_version_is_not_found(routes: Any, metadata: Metadata) -> None:
    path = f"/v2/models/henaw/versions/{metadata.version}"
    assert ask(routes, f"{path}/infer", write_tensors())[0] == 200
    assert ask(routes, f"{path}/ready", method="GET") == (200, {"name": "henaw", "ready": True})
    status, told = ask(routes, "/v2/models/henaw/versions/9/infer", write_tensors())
    assert status == 404
    assert told["error"] == f"The version must be {metadata.version}; got 9"


def test_a_server_that_is_not_ready_says_so(client: Any) -> None:
    routes = client.make_site(is_ready=lambda: False)
    for path in ("/v2/health/ready", "/v2/models/henaw/ready", "/v1/models/henaw"):
        assert ask(routes, path, method="GET")[0] == 503
    assert ask(routes, "/v2/health/live", method="GET") == (200, {"live": True})


def test_kserves_first_protocol(routes: Any, person: dict[str, Any]) -> None:
    body = {"instances": [person, person]}
    status, answer = ask(routes, "/v1/models/henaw:predict", body)
    assert (status, len(answer["predictions"])) == (200, 2)
    status, answer = ask(routes, "/v1/models/henaw:explain", body)
    assert (status, len(answer["explanations"])) == (200, 2)
    assert ask(routes, "/v1/models", method="GET") == (200, {"models": ["henaw"]})


def test_the_protocols_error_member_says_what_is_wrong(routes: Any) -> None:
    body = write_tensors()
    body["inputs"][1]["data"][0] = 7
    status, told = ask(routes, "/v2/models/henaw/infer", body)
    assert status == 422
    assert told["error"] == "1 problem: age: age must be 18 to 120 years; got 7"
    assert told["errors"][0]["field"] == "age"


def test_the_metadata_describe_the_answer(routes: Any) -> None:
    _, described = ask(routes, "/v2/models/henaw", method="GET")
    _, answer = ask(routes, "/v2/models/henaw/infer", write_tensors())
    assert [output["name"] for output in described["outputs"]] == list(OUTPUT_NAMES)
    for told, given in zip(described["outputs"], answer["outputs"], strict=True):
        assert (told["name"], told["datatype"]) == (given["name"], given["datatype"])
        assert len(told["shape"]) == len(given["shape"])
        assert all(a in (-1, b) for a, b in zip(told["shape"], given["shape"], strict=True))


def test_the_names_of_other_models_are_refused(routes: Any) -> None:
    body = write_tensors() | {"model_name": "other"}
    status, told = ask(routes, "/v2/models/henaw/infer", body)
    assert (status, told["errors"][0]["field"]) == (422, "model_name")


WRONG_BINARY: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "too few bytes": ({"binary_data_size": 8}, b"1234", "inputs.age.parameters.binary_data_size"),
    "too many": ({"binary_data_size": 8}, b"123456789", "inputs"),
    "of another shape": ({"binary_data_size": 12}, b"1" * 12, "inputs.age.shape"),
    "half a number": ({"binary_data_size": 7}, b"1" * 7, "inputs.age.shape"),
    "a size that is a text": ({"binary_data_size": "8"}, b"1" * 8, "inputs.age.parameters"),
    "a size that is true": ({"binary_data_size": True}, b"1" * 8, "inputs.age.parameters"),
    "infinite": ({"binary_data_size": 8}, np.array([54, np.inf], "<f4").tobytes(), "age"),
}


@pytest.mark.parametrize("name", WRONG_BINARY)
def test_wrong_binary_values_are_refused(routes: Any, name: str) -> None:
    parameters, binary, field = WRONG_BINARY[name]
    body = write_tensors()
    body["inputs"][1] = {
        "name": "age", "shape": [2], "datatype": "FP32", "parameters": parameters
    }  # fmt: skip
    text = json.dumps(body).encode()
    headers = {"inference-header-content-length": str(len(text))}
    response = routes.answer("POST", "/v2/models/henaw/infer", JSON | headers, text + binary)
    assert response.status == 422
    assert json.loads(response.body)["errors"][0]["field"].startswith(field)


@pytest.mark.parametrize("length", ["-1", "1e3", "x", "", "9" * 30])
def test_a_malformed_header_length_is_refused(routes: Any, length: str) -> None:
    headers = {"inference-header-content-length": length}
    assert ask(routes, "/v2/models/henaw/infer", write_tensors(), **headers)[0] == 400


@pytest.fixture
def url(routes: Any) -> Iterator[str]:
    """The routes behind the standard library's server, asked by one thread as engines do."""
    one = ThreadPoolExecutor(1)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            path = urlsplit(self.path).path
            response = one.submit(routes.answer, self.command, path, headers, body).result()
            self.send_response(response.status)
            for name, value in response.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        do_GET = do_POST = answer  # noqa: N815 -- the library's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
    one.shutdown()


def make_inputs(*, binary: bool) -> list[InferInput]:
    inputs = []
    for (name, datatype), values in zip(DATATYPES.items(), PEOPLE, strict=True):
        tensor = InferInput(name, list(values.shape), datatype)
        # NaN has no place in JSON.
        tensor.set_data_from_numpy(values, binary_data=binary or name == "biomarkers")
        inputs.append(tensor)
    return inputs


def test_tritons_client_works_unchanged(url: str, onnx: OnnxRuntime, metadata: Metadata) -> None:
    right = onnx.predict(*PEOPLE)
    with InferenceServerClient(url.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("henaw")
        assert client.is_model_ready("henaw", metadata.version)
        assert client.get_server_metadata()["name"] == "henaw"
        described = client.get_model_metadata("henaw")
        assert described["versions"] == [metadata.version]
        for binary in (True, False):
            everything = client.infer("henaw", make_inputs(binary=binary), request_id="q7")
            assert everything.get_response()["id"] == "q7"
            assert everything.get_response()["model_name"] == "henaw"
            for name in OUTPUT_NAMES:
                given = everything.as_numpy(name)
                assert given.dtype == right[name].dtype
                np.testing.assert_allclose(given, right[name], rtol=1e-6, atol=1e-4)
            asked = [
                InferRequestedOutput("age_gap", binary_data=binary),
                InferRequestedOutput("imputed", binary_data=not binary),
            ]
            some = client.infer("henaw", make_inputs(binary=binary), outputs=asked)
            names = [output["name"] for output in some.get_response()["outputs"]]
            # Nothing is withheld, so reliability is always answered.
            assert set(names) == {"age_gap", "imputed", "critical", "reliable"}
            np.testing.assert_array_equal(some.as_numpy("imputed"), right["imputed"])
            np.testing.assert_allclose(some.as_numpy("age_gap"), right["age_gap"], atol=1e-4)
        with pytest.raises(InferenceServerException, match="the input sex is missing"):
            client.infer("henaw", make_inputs(binary=True)[:2])
        with pytest.raises(InferenceServerException, match="nothing at this path"):
            client.infer("other", make_inputs(binary=True))


def test_kserves_client_works_unchanged(url: str) -> None:
    """KServe has half a gigabyte and is not installed for development: docs/http.md."""
    python = os.environ.get("HENAW_KSERVE_PYTHON")
    if python is None:
        pytest.skip("set HENAW_KSERVE_PYTHON to a Python that has kserve")
    script = Path(__file__).with_name("ask_by_kserve.py")
    done = subprocess.run([python, str(script), url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["live"] and answer["ready"] and answer["model_ready"]  # noqa: PT018
    assert answer["second"] == answer["binary"]
    np.testing.assert_allclose(answer["second"], answer["first"], atol=1e-4)


def test_every_path_of_the_document_is_answered(routes: Any, metadata: Metadata) -> None:
    for path, operations in write_openapi()["paths"].items():
        for method, operation in operations.items():
            asked = path.replace("{version}", metadata.version)
            response = routes.answer(method.upper(), asked, JSON, b"{}")
            assert response.status in (200, 422), (method, path)
            content = operation["responses"][str(response.status)]["content"]
            assert response.headers["content-type"] in content


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v2", interfaces.ServerMetadata),
        ("/v2/health/live", interfaces.Live),
        ("/v2/health/ready", interfaces.Ready),
        ("/v2/models/henaw", interfaces.ModelMetadata),
        ("/v2/models/henaw/ready", interfaces.Ready),
        ("/v1/models", interfaces.Models),
        ("/v1/models/henaw", interfaces.Ready),
        ("/cds-services", interfaces.HookServices),
    ],
)
def test_pages_are_as_the_document_says(routes: Any, path: str, kind: type) -> None:
    response = routes.answer("GET", path, {}, b"")
    assert response.status == 200
    page = msgspec.json.decode(response.body, type=kind)
    assert json.loads(msgspec.json.encode(page)) == json.loads(response.body)
