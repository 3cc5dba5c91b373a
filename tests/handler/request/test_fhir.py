"""FHIR Bundles in and out, at the path of predictions."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fhir.resources.R4B.bundle import Bundle
from henaw.handler.configuration import Bucket, Limits, ThrottleConfiguration
from henaw.handler.exchange import Request
from henaw.intake.fhir.reader import FhirReader
from henaw.model.biomarkers import NAMES

FHIR = {"content-type": "application/fhir+json"}


def find(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    resources = [entry["resource"] for entry in bundle["entry"]]
    return [resource for resource in resources if resource["resourceType"] == kind]


def find_by_code(bundle: dict[str, Any], code: str) -> list[dict[str, Any]]:
    return [one for one in find(bundle, "Observation") if one["code"]["coding"][0]["code"] == code]


def test_a_patient_is_answered_what_the_same_values_are(
    client: Any, read: Callable[[Any], Any], make_patient: Any, make_bundle: Any
) -> None:
    patient = make_patient()
    response = client.send(make_bundle(*patient), headers=FHIR)
    assert (response.status, response.headers["content-type"]) == (200, FHIR["content-type"])
    bundle = read(response)
    Bundle.model_validate(bundle)
    values = {
        name: one["valueQuantity"]["value"] for name, one in zip(NAMES, patient[1:], strict=True)
    }
    # From 5 May 1970 to 1 June 2024.
    age = 54 + 27 / 365.25
    same = read(client.send({"age": age, "sex": "female", "biomarkers": values}))
    (told,) = find_by_code(bundle, "biological-age")
    np.testing.assert_allclose(told["valueQuantity"]["value"], same["biological_age"], atol=0.02)
    (percentile,) = find_by_code(bundle, "percentile")
    np.testing.assert_allclose(percentile["valueQuantity"]["value"], same["percentile"], atol=0.2)
    (risk,) = find(bundle, "RiskAssessment")
    assert risk["subject"] == {"reference": "Patient/a-17"}
    assert len(risk["basis"]) == len(NAMES)
    np.testing.assert_allclose(
        risk["prediction"][0]["probabilityDecimal"], 100 * same["mortality_10y"], atol=0.01
    )


def test_what_is_withheld_has_its_reason_in_place_of_numbers(
    client: Any, read: Callable[[Any], Any], make_patient: Any, make_bundle: Any
) -> None:
    patients = [
        make_patient("well"),
        make_patient("ill", crp=450),
        make_patient("unborn")[:1],
        [{**make_patient("ageless")[0], "birthDate": None}, *make_patient("ageless")[1:]],
    ]
    bundle = read(
        client.send(make_bundle(*(one for found in patients for one in found)), headers=FHIR)
    )
    Bundle.model_validate(bundle)
    ages = {one["subject"]["reference"]: one for one in find_by_code(bundle, "biological-age")}
    assert list(ages) == [f"Patient/{name}" for name in ("well", "ill", "unborn", "ageless")]
    assert "valueQuantity" in ages["Patient/well"]
    for name, why in (("ill", "450 mg/L"), ("unborn", "no result"), ("ageless", "birth date")):
        told = ages[f"Patient/{name}"]
        assert "valueQuantity" not in told
        assert why in told["dataAbsentReason"]["text"]
    for risk in find(bundle, "RiskAssessment")[1:]:
        assert not any("probabilityDecimal" in one for one in risk["prediction"])


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"resourceType": "Bundle"},
        {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Observation"}}]},
        {"resourceType": "Patient", "entry": 7, "contained": [7, {}]},
        {"resourceType": "Bundle", "entry": [7, {"resource": 7}, {"resource": {"code": [7]}}]},
        {"age": 54, "sex": "female", "biomarkers": {}},
    ],
)
def test_what_is_no_bundle_of_patients_is_refused(
    client: Any, read: Callable[[Any], Any], tree: Any
) -> None:
    response = client.send(tree, headers=FHIR)
    if response.status == 200:  # A lone Patient, of whom nothing is known.
        assert tree["resourceType"] == "Patient"
        return
    assert response.status == 422
    assert read(response)["errors"][0]["code"] == "fhir"


def test_a_bundle_shares_a_batch_with_others(
    client: Any, read: Callable[[Any], Any], make_patient: Any, make_bundle: Any, person: Any
) -> None:
    """No request gets rows of another."""
    alone = read(client.send(person))
    bundle, json_type = make_bundle(*make_patient()), {"content-type": "application/json"}
    responses = client.service.answer(
        [
            Request(body=json.dumps(body).encode(), headers=headers, request_id="r")
            for body, headers in ((bundle, FHIR), (person, json_type), (bundle, FHIR))
        ]
    )
    assert [response.status for response in responses] == [200] * 3
    together = read(responses[1])
    np.testing.assert_allclose(together["biological_age"], alone["biological_age"], atol=1e-4)
    first, last = (find_by_code(read(responses[place]), "biological-age") for place in (0, 2))
    assert first[0]["valueQuantity"] == last[0]["valueQuantity"]


def test_a_bundle_of_too_many_is_refused_before_it_is_answered(
    make_client: Callable[..., Any], make_patient: Any, make_bundle: Any
) -> None:
    client = make_client(limits=Limits(batch_s=60, instances=30))
    patients = [make_patient(f"p{place}")[0] for place in range(4)]
    assert client.send(make_bundle(*patients[:3]), headers=FHIR).status == 200
    assert client.send(make_bundle(*patients), headers=FHIR).status == 413


def test_explanations_are_not_given_in_fhir(
    client: Any, make_patient: Any, make_bundle: Any
) -> None:
    response = client.send(make_bundle(*make_patient()), headers=FHIR, explain=True)
    assert response.status == 415


def test_long_names_are_not_multiplied(
    client: Any, read: Callable[[Any], Any], make_patient: Any, make_bundle: Any
) -> None:
    """Answers and contained resources repeat names, so a short request made a large answer."""
    patient, *observations = make_patient()
    contained = [{"resourceType": "Patient", "id": str(place)} for place in range(90)]
    for entry in (
        {"fullUrl": "x" * 60_000, "resource": {**patient, "contained": contained}},
        {"fullUrl": "x" * 60_000, "resource": {**observations[0], "contained": observations[1:]}},
        {"resource": {**patient, "id": "x" * 60_000}},
    ):
        bundle = make_bundle(patient)
        bundle["entry"].append(entry)
        response = client.send(bundle, headers=FHIR)
        assert response.status == 422
        assert "at most 1000 characters" in read(response)["errors"][0]["message"]
    texts = {**patient, "gender": "x" * 60_000, "birthDate": "x" * 60_000}
    response = client.send(make_bundle(texts, *observations), headers=FHIR)
    assert response.status == 200
    assert len(response.body) < 20_000


def test_the_size_of_an_answer_includes_long_names(
    make_client: Callable[..., Any], make_patient: Any, make_bundle: Any
) -> None:
    patient, *observations = make_patient()
    # Escaped, this character is twelve bytes.
    name = "\N{DNA DOUBLE HELIX}" * 1_000
    bundle = make_bundle(patient, *observations)
    for entry in bundle["entry"][1:]:
        entry["fullUrl"] = name[9:] + entry["resource"]["id"][-9:]
    large = make_client(limits=Limits(batch_s=60)).send(bundle, headers=FHIR)
    assert large.status == 200
    limits = Limits(batch_s=60, answer_bytes=len(large.body) - 1)
    assert make_client(limits=limits).send(bundle, headers=FHIR).status == 413


def test_limits_are_noted(
    client: Any, read: Callable[[Any], Any], make_patient: Any, make_bundle: Any
) -> None:
    patient = make_patient()
    for value, what in ((0.3, "limits, used as values"), (20, "limits that say too little")):
        patient[1]["valueQuantity"] |= {"value": value, "comparator": "<"}
        bundle = read(client.send(make_bundle(*patient), headers=FHIR))
        (outcome,) = find(bundle, "OperationOutcome")
        (note,) = [issue["diagnostics"] for issue in outcome["issue"]]
        assert note.startswith(what)
        assert note.endswith(": crp (1)")


def test_a_value_above_a_critical_limit_is_critical(
    client: Any, read: Callable[[Any], Any], make_patient: Any, make_bundle: Any
) -> None:
    patient = make_patient(crp=300)
    for comparator, is_given in (({}, True), ({"comparator": ">"}, False)):
        patient[1]["valueQuantity"] |= comparator
        bundle = read(client.send(make_bundle(*patient), headers=FHIR))
        assert ("valueQuantity" in find_by_code(bundle, "biological-age")[0]) is is_given


def test_a_component_does_not_change_what_its_observation_says(
    client: Any, read: Callable[[Any], Any], make_patient: Any, make_bundle: Any
) -> None:
    patient, crp, *_ = make_patient()
    component = {key: crp[key] for key in ("code", "valueQuantity", "status", "subject")}
    panel = {**crp, "code": {"text": "panel"}, "status": "entered-in-error"}
    bundle = make_bundle(patient, {**panel, "component": [component]})
    told = find_by_code(read(client.send(bundle, headers=FHIR)), "biological-age")[0]
    assert "no result can be used" in told["dataAbsentReason"]["text"]


@pytest.mark.parametrize("type_", ["; fhirVersion=4.0", "; charset=utf-8; fhirVersion=4.0"])
def test_the_version_of_fhir_may_be_declared(
    client: Any, make_patient: Any, make_bundle: Any, type_: str
) -> None:
    headers = {"content-type": FHIR["content-type"] + type_}
    assert client.send(make_bundle(*make_patient()), headers=headers).status == 200
    headers = {"content-type": FHIR["content-type"] + "; fhirVersion=5.0"}
    assert client.send(make_bundle(*make_patient()), headers=headers).status == 415


def test_a_client_pays_before_its_bundle_is_read(
    make_client: Callable[..., Any],
    make_patient: Any,
    make_bundle: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bucket = Bucket(rate=10, period_s=60, burst=15)
    client = make_client(throttle=ThrottleConfiguration(anonymous=bucket, cost_per_instance=0.01))
    bundle = make_bundle(*(make_patient(f"p{place}")[0] for place in range(40)))
    assert client.send(bundle, headers=FHIR).status == 200
    monkeypatch.setattr(FhirReader, "add", None)
    assert client.send(bundle, headers=FHIR).status == 429


def test_patients_that_are_not_counted_are_refused(
    client: Any, read: Callable[[Any], Any], make_patient: Any, make_bundle: Any
) -> None:
    text = json.dumps(make_bundle(*make_patient())).replace('"Patient"', '"\\u0050atient"', 1)
    request = Request(body=text.encode(), headers=FHIR, request_id="r")
    (response,) = client.service.answer([request])
    assert response.status == 400
    assert "without escapes" in read(response)["detail"]
