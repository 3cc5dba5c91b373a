"""Every shared case of tests/fhir, and what is Python's alone."""

import contextlib
import copy
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from henaw.model.biomarkers import INDEX, PANEL
from henaw.model.errors import ScoringError
from henaw.scoring.fhir import read_bundle
from hypothesis import given, settings
from hypothesis import strategies as st

CASES = sorted((Path(__file__).parents[1] / "fhir").glob("*.json"))


@pytest.fixture(scope="module")
def reference(artifacts: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((artifacts / "henaw.json").read_text())["reference"]
    return content


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_shared_case(path: Path, reference: dict[str, Any]) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    expected = case["expected"]
    if "error" in expected:
        with pytest.raises(ScoringError):
            read_bundle(case["bundle"], reference)
        return
    people, refusals = read_bundle(case["bundle"], reference)
    seen = [
        {
            "patient": person.patient,
            "age_years": person.age_years,
            "sex": person.sex,
            "drawn": person.drawn,
            "biomarkers": dict(person.biomarkers),
            "limits": dict(person.limits),
            "problems": list(person.problems),
            "old": {name: day.isoformat() for name, day in person.old.items()},
        }
        for person in people
    ]
    for person, wanted in zip(seen, expected["people"], strict=True):
        assert person.pop("biomarkers") == pytest.approx(wanted.pop("biomarkers"), rel=1e-9)
        assert person.pop("age_years") == pytest.approx(
            float(wanted.pop("age_years") or "nan"), rel=1e-9, nan_ok=True
        )
        assert person == {"old": {}} | wanted

    def sort(rows: Any) -> list[tuple[str, ...]]:
        return sorted((row["observation"], row["biomarker"], row["code"]) for row in rows)

    assert sort(map(vars, refusals)) == sort(expected["refusals"])


def test_two_patients_of_one_id_are_not_made_one(reference: dict[str, Any]) -> None:
    patient = {"resourceType": "Patient", "id": "a", "gender": "male", "birthDate": "1950-01-01"}
    other = {**patient, "gender": "female", "birthDate": "1990-01-01"}
    bundle = {"resourceType": "Bundle", "entry": [{"resource": patient}, {"resource": other}]}
    with pytest.raises(ScoringError, match="expected each Patient once, however: 'a' is two"):
        read_bundle(bundle, reference)
    bundle["entry"] = [{"resource": patient}, {"resource": dict(patient)}]
    assert len(read_bundle(bundle, reference).people) == 1


def test_one_id_on_two_servers_is_two_patients(reference: dict[str, Any]) -> None:
    patient = {"resourceType": "Patient", "id": "1", "gender": "male", "birthDate": "1950-01-01"}
    entries = [
        {"fullUrl": f"https://{server}.org/fhir/Patient/1", "resource": dict(patient)}
        for server in "ab"
    ]
    with pytest.raises(ScoringError, match="expected each Patient once, however: '1' is two"):
        read_bundle({"resourceType": "Bundle", "entry": entries}, reference)


@pytest.mark.parametrize(("days", "used"), [(0, True), (1, True), (2, False)])
def test_tomorrow_is_somewhere_today(reference: dict[str, Any], days: int, used: bool) -> None:
    case = json.loads((CASES[0].parent / "lone_patient.json").read_text(encoding="utf-8"))
    day = datetime.now(timezone.utc).date() + timedelta(days=days)
    case["bundle"]["entry"][1]["resource"]["effectiveDateTime"] = day.isoformat()
    ((person,), _) = read_bundle(case["bundle"], reference)
    assert ("alt" in person.biomarkers) is used


def test_reasons_say_what_was_expected(reference: dict[str, Any]) -> None:
    case = json.loads((CASES[0].parent / "wrong_units.json").read_text(encoding="utf-8"))
    messages = {r.observation: r.message for r in read_bundle(case["bundle"], reference).refusals}
    assert "RDW-SD" in messages["rdw"]
    assert "count per volume" in messages["lym"]
    assert messages["a1c"] == "LOINC 59261-8 comes in mmol/mol, however: unit='%'"
    assert "mg/dL" in messages["crea"]


JUNK = st.sampled_from([None, 0, -1, True, "", "x", [], {}, [None], 1e308, float("nan"), "2024"])


@given(st.sampled_from(CASES), st.lists(st.tuples(st.integers(0, 400), JUNK), max_size=4))
@settings(deadline=None)
def test_nothing_in_a_bundle_breaks_the_reader(
    reference: dict[str, Any], path: Path, slips: list[tuple[int, Any]]
) -> None:
    bundle = json.loads(path.read_text(encoding="utf-8"))["bundle"]
    for place, junk in slips:
        places = list(walk(bundle))
        if places:
            holder, key = places[place % len(places)]
            holder[key] = copy.deepcopy(junk)
    with contextlib.suppress(ScoringError):
        for person in read_bundle(bundle, reference).people:
            for name, value in person.biomarkers.items():
                biomarker = PANEL[INDEX[name]]
                assert biomarker.minimum <= value <= biomarker.maximum


def walk(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document where something is."""
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in list(keys):
        yield node, key
        yield from walk(node[key])
