"""FHIR and units in the page's modules, held to the cases and words of the package."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from henaw.model.biomarkers import PANEL, Biomarker
from henaw.model.errors import PanelError

CASES = sorted((Path(__file__).parents[1] / "fhir").glob("*.json"))
SPELLINGS = (
    *("mg/L", "MG/DL", "mg/100 mL", "mg%", "mgm/dL", "ug/mL", "\u00b5g/mL", "mcg/mL", "mg/L.", ""),
    *("milligram per liter", "gm/dL", "g%", "gm/L", "mg/mL", "g\u00b7dL\u207b\u00b9", "nmol/L"),
    *("umol/L", "\u03bcmol/l", "micromoles per litre", "nmol/mL", "mmol/L", "\u00b5M"),
    *("mmol/mol", "mmol/mol Hb", "mmol/mol{Hb}", "mmol mol\u207b\u00b9", "mmol/mol (IFCC)"),
    *("%", "percent", "\uff05", "% of total Hgb", "% (NGSP)", "%{HbA1c}", "% (JDS)", "NGSP %"),
    *("1", "L/L", "ratio", "{ratio}", "fraction", "10*-2", "10\u207b\u00b2", "% of WBC", "% (CV)"),
    *("U/L", "IU/L", "[IU]/L", "{IU}/L", "Units/L", "units per liter", "E/L", "mIU/mL", "U L-1"),
    *("ukat/L", "\u03bckat/l", "nkat/L", "umol/(min.L)", "U/L (37 \u00b0C)", "kU/L", "fL", "{fL}"),
    *("10*9/L", "x10\u2079/L", "K/uL", "{cells}/uL", "10^9 L-1", "# / uL", "G/L", "furlong"),
)


def read_case(name: str) -> Any:
    return json.loads((CASES[0].parent / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_shared_case(call: Any, path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    # The one rule of the newest result, until the package's reader has it too.
    expected = case["expected"]
    if "error" in expected:
        with pytest.raises(Exception, match="Bundle"):
            call("lib/fhir", "readBundle", "sidecar", case["bundle"])
        return
    seen = call("lib/fhir", "readBundle", "sidecar", case["bundle"])
    for person, wanted in zip(seen["people"], expected["people"], strict=True):
        assert set(person.pop("given")) == set(person["biomarkers"])
        assert set(person.pop("days")) == set(person["biomarkers"])
        assert person.pop("biomarkers") == pytest.approx(wanted.pop("biomarkers"), rel=1e-9)
        age = wanted.pop("age_years")
        seen_age = person.pop("age_years")
        assert seen_age == (None if age is None else pytest.approx(age, rel=1e-9))
        assert person | {"problems": list(person["problems"])} == wanted

    def sort(refusals: Any) -> list[tuple[str, ...]]:
        return sorted((row["observation"], row["biomarker"], row["code"]) for row in refusals)

    assert sort(seen["refusals"]) == sort(expected["refusals"])


def test_a_bundle_comes_as_a_report(call: Any) -> None:
    case = read_case("subjects")
    report = call("lib/intake", "readReport", "sidecar", json.dumps(case["bundle"]))
    assert len(report["people"]) == 2
    old = call("lib/intake", "readReport", "sidecar", json.dumps(read_case("old")["bundle"]))
    days = {reading["name"]: reading["day"] for reading in old["people"][0]["readings"]}
    assert days == {"hba1c": "2024-03-01"}
    assert "C-reactive protein" in {row["label"] for row in old["unused"] if row["code"] == "old"}


def test_lines_of_resources_and_resources_alone(call: Any) -> None:
    entries = read_case("whole_panel")["bundle"]["entry"]
    resources = [entry["resource"] for entry in entries]
    lines = "\n".join(json.dumps(resource) for resource in resources)
    alone = [one for one in resources if one["resourceType"] != "Patient"]
    for text in (lines, json.dumps(resources), json.dumps(alone)):
        report = call("lib/intake", "readReport", "sidecar", text)
        assert len(report["people"][0]["readings"]) == 9


@pytest.mark.parametrize(("days", "used"), [(0, True), (1, True), (2, False)])
def test_a_result_of_tomorrow_is_accepted(call: Any, days: int, used: bool) -> None:
    case = read_case("lone_patient")
    day = datetime.now(timezone.utc).date() + timedelta(days=days)
    case["bundle"]["entry"][1]["resource"]["effectiveDateTime"] = day.isoformat()
    (person,) = call("lib/fhir", "readBundle", "sidecar", case["bundle"])["people"]
    assert ("alt" in person["biomarkers"]) is used


BUNDLES = "../../tests/examples/bundles"


@pytest.mark.parametrize("name", ["limits", "withdrawn"])
def test_nothing_in_a_bundle_breaks_the_reader(call: Any, name: str) -> None:
    junk = [None, 0, -1, True, "", "x", [], {}, [None], 1e308, "2024", {"toString": 1}]
    assert call(BUNDLES, "tryJunk", "sidecar", read_case(name)["bundle"], junk) > 1000


def test_as_many_results_as_a_stack_has_not_room_for(call: Any) -> None:
    entries = read_case("lone_patient")["bundle"]["entry"][:2]
    (person,) = call(BUNDLES, "readRepeated", "sidecar", entries, 150_000)
    assert person["biomarkers"] == {"alt": 20}


def test_one_patient_twice_is_one_person(call: Any) -> None:
    """In whatever order the keys are; but not one id on two servers."""
    name = [{"family": "A", "given": ["B"]}, {"text": "C", "use": "old"}]
    patient = {"resourceType": "Patient", "id": "1", "gender": "male", "name": name}
    turned = {
        key: [dict(reversed(part.items())) for part in value] if key == "name" else value
        for key, value in reversed(patient.items())
    }
    entries: list[dict[str, Any]] = [{"resource": patient}, {"resource": turned}]
    bundle = {"resourceType": "Bundle", "entry": entries}
    read = call("lib/fhir", "readBundle", "sidecar", bundle)
    assert [person["patient"] for person in read["people"]] == ["1"]
    for entry, server in zip(entries, "ab", strict=True):
        entry["fullUrl"] = f"https://{server}.org/fhir/Patient/1"
    with pytest.raises(Exception, match="twice, with different content"):
        call("lib/fhir", "readBundle", "sidecar", bundle)


def test_a_bundle_deeper_than_a_stack_is_refused(call: Any) -> None:
    deep = '{"resource":{"resourceType":"Patient","id":"a","name":' + "[" * 50_000 + "]" * 50_000
    text = f'{{"resourceType":"Bundle","entry":[{deep}}}}},{deep}}}}}]}}'
    with pytest.raises(Exception) as caught:  # noqa: PT011
        call("lib/intake", "readReport", "sidecar", text)
    assert getattr(caught.value, "code", None) == "unreadable"


def read_unit(biomarker: Biomarker, spelling: str) -> str:
    """The accepted unit that it means, or why it is refused."""
    try:
        unit = biomarker.find_unit(spelling)
    except PanelError as error:
        return error.problems[0]
    return next(name for name in biomarker.units if biomarker.find_unit(name) == unit)


@pytest.mark.parametrize("biomarker", PANEL, ids=lambda biomarker: biomarker.name)
def test_a_unit_is_read_as_in_python(call: Any, biomarker: Biomarker) -> None:
    entry = {"name": biomarker.name, "unit": biomarker.unit, "units": list(biomarker.units)}
    for spelling in SPELLINGS:
        try:
            seen = call("lib/units", "findUnit", "sidecar", entry, spelling)
        except Exception as error:
            seen = str(error)
        assert seen == read_unit(biomarker, spelling)
