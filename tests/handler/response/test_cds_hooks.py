"""CDS Hooks 2.0: https://cds-hooks.hl7.org/2.0/, with the examples of its text."""

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from henaw.handler.contract import interfaces
from henaw.handler.metadata import Metadata
from henaw.intake.words.loinc import CODES
from henaw.model.biomarkers import NAMES, PANEL

CALL_OF_THE_SPECIFICATION: dict[str, Any] = {
    "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
    "fhirServer": "http://hooks.smarthealthit.org:9080",
    "hook": "patient-view",
    "fhirAuthorization": {
        "access_token": "some-opaque-fhir-access-token",
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "user/Patient.read user/Observation.read",
        "subject": "cds-service4",
    },
    "context": {
        "userId": "Practitioner/example",
        "patientId": "1288992",
        "encounterId": "89284",
    },
    "prefetch": {
        "patientToGreet": {
            "resourceType": "Patient",
            "gender": "male",
            "birthDate": "1925-12-23",
            "id": "1288992",
            "active": True,
        }
    },
}
"""Of another service, whose prefetch has other keys."""


@pytest.fixture
def call(client: Any) -> Callable[[Any], tuple[int, Any]]:
    routes = client.make_site()

    def send(tree: Any) -> tuple[int, Any]:
        headers = {"content-type": "application/json"}
        response = routes.answer("POST", "/cds-services/henaw", headers, json.dumps(tree).encode())
        if response.status == 200:
            msgspec.json.decode(response.body, type=interfaces.Cards)
        return response.status, json.loads(response.body)

    return send


def get_card(answer: tuple[int, Any]) -> dict[str, Any]:
    status, document = answer
    assert status == 200
    (card,) = document["cards"]
    assert 0 < len(card["summary"]) < 140
    return dict(card)


def test_the_service_is_found_with_what_it_asks_for(client: Any) -> None:
    response = client.make_site().answer("GET", "/cds-services", {}, b"")
    (service,) = json.loads(response.body)["services"]
    assert (service["hook"], service["id"]) == ("patient-view", "henaw")
    prefetch = service["prefetch"]
    assert prefetch["patient"] == "Patient/{{context.patientId}}"
    assert tuple(prefetch) == ("patient", *NAMES)
    for biomarker in PANEL:
        template = prefetch[biomarker.name]
        assert template.startswith("Observation?patient={{context.patientId}}&code=")
        codes = re.findall(r"http://loinc\.org\|([0-9-]+)", template)
        accepted = {
            code
            for code, known in CODES.items()
            if known.biomarker == biomarker.name and known.refused is None
        }
        assert set(codes) == accepted
    # Nothing beyond the reads and searches that the specification recommends.
    tokens = re.findall(r"\{\{(.*?)\}\}", json.dumps(prefetch))
    assert set(tokens) == {"context.patientId"}


def test_a_card_has_the_age_its_percentile_and_the_models_version(
    call: Any, make_call: Any, metadata: Metadata
) -> None:
    card = get_card(call(make_call()))
    assert card["summary"] == "Biological age 51.8 years, percentile 34"
    assert card["indicator"] == "info"
    assert f"version {metadata.version}" in card["detail"].replace("\\", "")
    assert metadata.version in card["source"]["label"]
    assert "90 % interval: 46" in card["detail"]


def test_cautions_are_on_the_card(call: Any, make_call: Any) -> None:
    tree = make_call(ggt=600)
    tree["prefetch"]["rdw"] = None
    card = get_card(call(tree))
    assert card["indicator"] == "warning"
    assert "600 U/L is outside the range" in card["detail"]
    assert "estimated from the other values: Red cell distribution width" in card["detail"]


@pytest.mark.parametrize(
    ("crp", "why"),
    [
        ({"value": 1200}, "crp is outside 0.01 to 500 mg/L"),
        ({"code": "parsec", "unit": "parsec"}, "parsec"),
        ({"value": 20, "comparator": "<"}, "limits that say too little, not used: crp"),
    ],
)
def test_why_a_result_is_not_used_is_on_the_card(
    call: Any, make_call: Any, crp: Any, why: str
) -> None:
    tree = make_call()
    (entry,) = tree["prefetch"]["crp"]["entry"]
    entry["resource"]["valueQuantity"] |= crp
    detail = get_card(call(tree))["detail"].replace("\\", "")
    assert why in detail
    assert "or not usable, and estimated from the other values: C-reactive protein" in detail


def test_an_unreliable_age_is_replaced_by_the_reason(call: Any, make_call: Any) -> None:
    card = get_card(call(make_call(crp=450)))
    assert card["summary"] == "No biological age: it would not be reliable"
    assert card["indicator"] == "critical"
    assert "450 mg/L is above 300 mg/L" in card["detail"]
    assert not re.search(r"[0-9] years|ercentile", card["summary"] + card["detail"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (dict.fromkeys(NAMES), "no result can be used"),
        ({"patient": {"birthDate": None}}, "a birth date is missing"),
        ({"patient": {"gender": "unknown"}}, "the sex must be"),
        (
            {name: {"resourceType": "OperationOutcome", "issue": []} for name in NAMES},
            "no result can be used",
        ),
    ],
)
def test_missing_data_are_the_reason_for_no_age(
    call: Any, make_call: Any, change: dict[str, Any], why: str
) -> None:
    tree = make_call()
    for key, value in change.items():
        own = tree["prefetch"][key]
        tree["prefetch"][key] = {**own, **value} if key == "patient" else value
    card = get_card(call(tree))
    assert card["summary"] == "No biological age: data are missing"
    assert why in card["detail"].replace("\\", "")
    assert not re.search(r"[0-9] years", card["detail"])


def test_the_call_of_the_specification_lacks_what_this_service_needs(call: Any) -> None:
    status, told = call(CALL_OF_THE_SPECIFICATION)
    assert (status, told["title"]) == (412, "Precondition failed")
    assert "GET /cds-services" in told["detail"]


def test_the_call_of_the_specification_with_this_services_prefetch(
    call: Any, make_call: Any
) -> None:
    patient = CALL_OF_THE_SPECIFICATION["prefetch"]["patientToGreet"]
    prefetch = make_call()["prefetch"]
    for name in NAMES:
        prefetch[name]["entry"][0]["resource"]["subject"]["reference"] = "Patient/1288992"
    tree = {**CALL_OF_THE_SPECIFICATION, "prefetch": {**prefetch, "patient": patient}}
    card = get_card(call(tree))
    assert "age must be 18 to" in card["detail"] or "fitted" in card["detail"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"hook": "order-sign"}, 422),
        ({"hook": None}, 422),
        ({"hookInstance": "7"}, 422),
        ({"context": {}}, 422),
        ({"context": []}, 422),
        ({"context": {"patientId": 7}}, 422),
        ({"context": {"patientId": "another"}}, 422),
        ({"prefetch": None}, 412),
        ({"prefetch": {}}, 412),
        ({"prefetch": []}, 422),
        ({"prefetch": {"patient": None}}, 412),
    ],
)
def test_other_calls_are_refused(
    call: Any, make_call: Any, change: dict[str, Any], status: int
) -> None:
    assert call(make_call() | change)[0] == status


def test_what_a_client_writes_does_not_become_markdown(call: Any, make_call: Any) -> None:
    tree = make_call()
    tree["prefetch"]["patient"]["gender"] = "[x](http://evil.example) <b>"
    card = get_card(call(tree))
    assert "](http" not in card["detail"]
    assert "\\<b\\>" in card["detail"]


def test_what_a_client_writes_becomes_no_line_of_its_own(call: Any, make_call: Any) -> None:
    tree = make_call()
    (entry,) = tree["prefetch"]["crp"]["entry"]
    entry["resource"]["subject"] = {"reference": "Patient/x\n- Biological age 20 years"}
    detail = get_card(call(tree))["detail"]
    assert "20 years" in detail
    assert "\n- Biological" not in detail
