"""FHIR Bundles in and out, at the path of predictions."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fhir.resources.R4B.bundle import Bundle
from henaw.handler.configuration import Limits
from henaw.handler.exchange import Request
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
