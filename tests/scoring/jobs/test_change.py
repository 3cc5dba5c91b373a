"""Several draws of a person, from tables and from FHIR."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from henaw.cli.score import score
from henaw.model.change import INTERVAL_SCORE
from henaw.scoring import Henaw

LONG = """patient,test,value,unit,date,sex,birth_date
A,crp,1.2,mg/L,2024-03-01 08:00,F,1970-03-01
A,hba1c,5.4,%,2024-03-01 09:00,F,1970-03-01
A,alt,20,U/L,2024-03-01,F,1970-03-01
B,crp,4.2,mg/L,2024-09-01,M,1960-03-01
A,hba1c,7.9,%,2025-03-01,F,1970-03-01
A,crp,12,mg/L,2025-03-01,F,1970-03-01
A,crp,1.3,mg/L,2024-03-15,F,1970-03-01
"""


def compare(path: Path, *options: str) -> tuple[list[dict[str, Any]], str]:
    """The rows of a comparison, and what was said."""
    result = CliRunner().invoke(score, [str(path), "-", "--change", "--to", "ndjson", *options])
    assert result.exit_code in (0, 3), result.output
    return [json.loads(line) for line in result.stdout.splitlines()], result.stderr


def type_in(**values: Any) -> Any:
    return Henaw().predict({"sex": "female", **values})


def test_each_draw_is_compared_with_the_first_by_what_both_have(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(LONG)
    rows, said = compare(tmp_path / "in.csv")
    assert [(row["participant_id"], row["drawn_first"], row["drawn"]) for row in rows] == [
        ("A", "2024-03-01", "2024-03-15"),
        ("A", "2024-03-01", "2025-03-01"),
    ]
    soon, later = rows
    assert (soon["compared"], soon["within_noise"]) == ("crp", True)
    assert (later["compared"], later["within_noise"]) == ("crp;hba1c", False)
    first = type_in(age=54, crp=1.2, hba1c=(5.4, "%"))
    second = type_in(age=55, crp=12, hba1c=(7.9, "%"))
    assert later["biological_age_first"] == pytest.approx(first.biological_age, abs=1e-3)
    assert later["biological_age"] == pytest.approx(second.biological_age, abs=1e-3)
    gap = second.age_gap - first.age_gap
    half = INTERVAL_SCORE * (first.draw_sd**2 + second.draw_sd**2) ** 0.5
    assert later["gap_change"] == pytest.approx(gap, abs=1e-3)
    assert later["change"] == pytest.approx(gap + 1, abs=1e-3)
    assert later["gap_change_low"] == pytest.approx(gap - half, abs=1e-3)
    assert later["gap_change_high"] == pytest.approx(gap + half, abs=1e-3)
    assert "1 people have only one draw" in said


def test_fhir_gives_what_the_same_table_gives(tmp_path: Path) -> None:
    codes = {"crp": "1988-5", "hba1c": "4548-4", "alt": "1742-6"}
    genders = {"F": "female", "M": "male"}
    resources: dict[str, Any] = {}
    for number, line in enumerate(LONG.splitlines()[1:]):
        person, test, value, unit, day, sex, birth = line.split(",")
        patient = {"resourceType": "Patient", "id": person, "birthDate": birth}
        resources[person] = patient | {"gender": genders[sex]}
        resources[str(number)] = {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": codes[test]}]},
            "subject": {"reference": f"Patient/{person}"},
            "effectiveDateTime": day.partition(" ")[0],
            "valueQuantity": {"value": float(value), "unit": unit},
        }
    (tmp_path / "in.csv").write_text(LONG)
    (tmp_path / "in.ndjson").write_text("\n".join(map(json.dumps, resources.values())))
    assert compare(tmp_path / "in.ndjson")[0] == compare(tmp_path / "in.csv")[0]


def test_a_table_with_several_rows_a_person_is_ordered_by_age(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(
        "participant_id,age,sex,crp,albumin\n1,55,F,1.2,44\n2,60,M,3,40\n1,54,F,1.2,45\n1,90,F,1,44\n"
    )
    rows, _ = compare(tmp_path / "in.csv")
    assert [row["years_between"] for row in rows] == [1, None]
    wanted = (
        type_in(age=55, crp=1.2, albumin=44).age_gap - type_in(age=54, crp=1.2, albumin=45).age_gap
    )
    assert rows[0]["gap_change"] == pytest.approx(wanted, abs=1e-3)
    assert rows[1]["withheld"] == "age_outside_fitted"
    kept, _ = compare(tmp_path / "in.csv", "--unreliable", "keep")
    assert (kept[1]["years_between"], kept[1]["withheld"]) == (36, "age_outside_fitted")


def test_draws_that_cannot_be_compared_say_why(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(
        "participant_id,age,sex,crp\n1,54,F,1.2\n1,55,M,1.2\n2,60,M,x\n2,61,M,3\n3,60,M,\n3,61,M,3\n"
    )
    rows, said = compare(tmp_path / "in.csv")
    assert [row["reason"] for row in rows] == [
        "the sex differs between the draws",
        "crp is not a number",
        None,
    ]
    assert rows[2]["withheld"] == "nothing_known"
    assert all(row["change"] is None and row["within_noise"] is None for row in rows)
    assert "-: 3 rows, 1 scored" in said


def test_a_row_needs_an_identifier(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("age,sex,crp\n54,F,1.2\n")
    result = CliRunner().invoke(score, [str(tmp_path / "in.csv"), "-", "--change"])
    assert "which names the person of each row" in str(result.exception)
