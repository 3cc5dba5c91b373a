"""Every shared case of tests/fhir, and what is Python's alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from henaw.model.errors import ScoringError
from henaw.scoring.fhir import read_bundle

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
        }
        for person in people
    ]
    for person, wanted in zip(seen, expected["people"], strict=True):
        assert person.pop("biomarkers") == pytest.approx(wanted.pop("biomarkers"), rel=1e-9)
        assert person.pop("age_years") == pytest.approx(
            float(wanted.pop("age_years") or "nan"), rel=1e-9, nan_ok=True
        )
        assert person == wanted

    def sort(rows: Any) -> list[tuple[str, ...]]:
        return sorted((row["observation"], row["biomarker"], row["code"]) for row in rows)

    assert sort(map(vars, refusals)) == sort(expected["refusals"])


def test_reasons_say_what_was_expected(reference: dict[str, Any]) -> None:
    case = json.loads((CASES[0].parent / "wrong_units.json").read_text(encoding="utf-8"))
    messages = {r.observation: r.message for r in read_bundle(case["bundle"], reference).refusals}
    assert "RDW-SD" in messages["rdw"]
    assert "count per volume" in messages["lym"]
    assert messages["a1c"] == "LOINC 59261-8 comes in mmol/mol, however: unit='%'"
    assert "mg/dL" in messages["crea"]
