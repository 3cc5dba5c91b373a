import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from henaw.handler.contract import types as contract
from henaw.handler.contract.openapi import TORCHSERVE_PATHS, write_openapi, write_request_schema
from henaw.handler.problems import ProblemDocument
from henaw.model.biomarkers import PANEL

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize(
    ("name", "write"),
    [("openapi.json", write_openapi), ("request.schema.json", write_request_schema)],
)
def test_the_published_documents_are_what_the_types_make(
    name: str, write: Callable[[], dict[str, Any]]
) -> None:
    # If this fails: make contract.
    assert json.loads((DOCS / name).read_text()) == json.loads(msgspec.json.encode(write()))


def test_the_documents_are_valid() -> None:
    # Imported late, because these take seconds, and every process of a run collects this file.
    from jsonschema import Draft202012Validator
    from openapi_spec_validator import OpenAPIV31SpecValidator

    OpenAPIV31SpecValidator(json.loads((DOCS / "openapi.json").read_text())).validate()
    Draft202012Validator.check_schema(json.loads((DOCS / "request.schema.json").read_text()))


def test_ranges_are_those_of_the_panel() -> None:
    schema = write_openapi()["components"]["schemas"]["Biomarkers"]["properties"]
    for biomarker in PANEL:
        number = schema[biomarker.name]["anyOf"][0]
        assert (number["minimum"], number["maximum"]) == (biomarker.minimum, biomarker.maximum)


ARRAYS = {
    "inputs": [
        {"name": "biomarkers", "shape": [1, 9], "datatype": "FP32", "data": [None] * 9},
        {"name": "age", "shape": [1], "datatype": "FP32", "data": [54]},
        {"name": "sex", "shape": [1], "datatype": "INT64", "data": [0]},
    ]
}


@pytest.mark.parametrize(
    ("tree", "kind", "explain"),
    [
        ({}, contract.Answer, False),
        ({"outputs": ["age_gap"]}, contract.Answer, False),
        ({"biomarkers": {}}, contract.Answer, False),
        ({"biomarkers": {}, "unreliable": "answer"}, contract.Answer, False),
        ({"instances": []}, contract.Predictions, False),
        (ARRAYS, contract.TensorsAnswer, False),
        ({**ARRAYS, "id": "q7"}, contract.TensorsAnswer, False),
        ({}, contract.Explanation, True),
        ({"biomarkers": {}}, contract.Explanation, True),
        ({"biomarkers": {}, "unreliable": "answer"}, contract.Explanation, True),
        ({"instances": []}, contract.Explanations, True),
    ],
)
def test_what_the_schema_allows_is_answered_as_it_says(
    client: Any, person: dict[str, Any], tree: dict[str, Any], kind: type, explain: bool
) -> None:
    from jsonschema import Draft202012Validator

    if "instances" in tree:
        tree = {"instances": [person, {**person, "biomarkers": {}}]}
    elif "inputs" not in tree:
        tree = {**person, **tree}
    Draft202012Validator(write_request_schema()).validate(tree)
    response = client.send(tree, explain=explain)
    assert response.status == 200
    # Strict: the types take no field that they do not name.
    answer = msgspec.json.decode(response.body, type=kind)
    assert msgspec.json.encode(answer) == response.body


@pytest.mark.parametrize("body", [b"{", {"age": 7}, {"instances": [7]}])
def test_refusals_are_as_the_document_says(client: Any, body: Any) -> None:
    response = client.send(body)
    document = msgspec.json.decode(response.body, type=ProblemDocument)
    assert document.status == response.status
    assert (
        str(response.status) in write_openapi()["paths"]["/predictions/henaw"]["post"]["responses"]
    )


def test_torchserves_own_answers_are_in_the_document() -> None:
    for path in TORCHSERVE_PATHS:
        responses = write_openapi()["paths"][path]["post"]["responses"]
        for status in ("400", "404", "405", "500", "503", "507"):
            (own,) = responses[status]["content"]["application/json"]["schema"]["anyOf"]
            assert own["$ref"].endswith("/ServerError")
        assert "without a response body" in responses["413"]["description"]
        # Only the handler sends Retry-After.
        assert responses["429"]["headers"]["Retry-After"]["required"]
        assert not responses["503"]["headers"]["Retry-After"]["required"]


def test_every_path_passes_the_shipped_proxy() -> None:
    shipped = (DOCS.parent / "serve_config" / "nginx" / "nginx.conf").read_text()
    passed = {"get": "GET|HEAD", "post": "POST"}
    locations = re.findall(r"location ~ (\S+) \{\s+if \(\$request_method (\S+ \S+)\)", shipped)
    for path, operations in write_openapi()["paths"].items():
        (method,) = operations
        asked = path.replace("{version}", "0.2.0")
        (condition,) = [allowed for pattern, allowed in locations if re.search(pattern, asked)]
        assert passed[method] in condition
        assert not any(re.search(pattern, f"{asked}/more") for pattern, _ in locations)
