"""Every shared case of tests/fhir, and FHIR in every form that it comes in."""

import copy
import gzip
import io
import json
import random
import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from henaw.intake import json_stream
from henaw.intake.fhir.files import is_fhir, read_files
from henaw.intake.fhir.reader import FhirPeople, read_fhir
from henaw.intake.person_table import SIDES
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.errors import ScoringError
from henaw.scoring import Henaw
from hypothesis import given, settings
from hypothesis import strategies as st

CASES = sorted((Path(__file__).parents[2] / "fhir").glob("*.json"))
WHOLE = json.loads((CASES[0].parent / "whole_panel.json").read_text())["bundle"]
LOINC = "http://loinc.org"


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    medians: dict[str, Any] = Henaw().description["reference"]
    return medians


def read(*documents: Any, **named: Any) -> FhirPeople:
    text = "\n".join(json.dumps(one) for one in documents)
    return read_fhir([("in.json", io.StringIO(text))], **named)


def read_case(name: str) -> dict[str, Any]:
    case: dict[str, Any] = json.loads((CASES[0].parent / f"{name}.json").read_text())
    return case


def make_observation(
    number: str = "1742-6", value: float = 20, unit: str = "U/L", **others: Any
) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": number}]},
        "subject": {"reference": "Patient/a"},
        "effectiveDateTime": "2024-03-01",
        "valueQuantity": {"value": value, "unit": unit},
    } | others


PATIENT = {"resourceType": "Patient", "id": "a", "gender": "female", "birthDate": "1970-03-01"}


def list_values(people: FhirPeople, row: int = 0) -> dict[str, float]:
    return name_values(people.table.values.value[row])


def name_values(values: Any) -> dict[str, float]:
    return {
        name: float(value) for name, value in zip(NAMES, values, strict=True) if not np.isnan(value)
    }


def count_refused(people: FhirPeople) -> int:
    found = (re.match(r"not used: (\d+) results", note) for note in people.notes)
    return sum(int(match[1]) for match in found if match)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_shared_case(path: Path, reference: dict[str, Any]) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    expected = case["expected"]
    if "error" in expected:
        with pytest.raises(ScoringError):
            read(case["bundle"])
        return
    people = read(case["bundle"])
    biomarkers, _, sex = people.table.to_arrays(reference)
    values, problems = people.table.values, people.table.find_problems()
    drawn = people.table.to_batch().column("drawn").to_pylist()
    for row, wanted in enumerate(expected["people"]):
        seen = name_values(biomarkers[row])
        assert seen == pytest.approx(wanted["biomarkers"], rel=1e-6)
        assert people.patients[row].name == wanted["patient"]
        assert people.table.age[row] == pytest.approx(
            float(wanted["age_years"] or "nan"), rel=1e-9, nan_ok=True
        )
        assert (sex[row], drawn[row]) == (wanted["sex"], wanted["drawn"])
        limits = {
            name: {-1: "below", 1: "above"}[side]
            for place, name in enumerate(NAMES)
            if name in seen and (side := int(SIDES[values.comparator[row, place]]))
        }
        assert limits == wanted["limits"]
        # Without a result there is no day, and so no age: that is one reason.
        several = {"birth_date", "no_values"}.issubset(wanted["problems"])
        assert len(problems[row]) == len(wanted["problems"]) - several
    refused = [one for one in expected["refusals"] if one["code"] != "limit"]
    assert count_refused(people) == len(refused)
    not_used = {one["observation"] for one in refused}
    used = {values.sources[int(place)].as_py() for place in values.source[values.source >= 0]}
    named = {source.rpartition("/")[2] for source in used}
    # A panel's parts go by its name, and some of them are used.
    assert path.stem in ("components", "withdrawn") or not named & not_used


@given(st.permutations(range(len(WHOLE["entry"]) + 2)))
@settings(deadline=None, max_examples=30)
def test_the_order_of_resources_changes_nothing(order: list[int]) -> None:
    """Nor which of two results of one draw is used: a number comes before a limit."""
    crp = {"number": "1988-5", "unit": "mg/L"}
    entries = [
        *WHOLE["entry"],
        {"resource": make_observation(**crp, value=0.7)},
        {
            "resource": make_observation(
                **crp, valueQuantity={"value": 0.3, "comparator": "<", "unit": "mg/L"}
            )
        },
    ]
    shuffled = {"resourceType": "Bundle", "entry": [entries[place] for place in order]}
    wanted = {"crp": 0.7, "alt": 20.0, "hba1c": pytest.approx(35.505, abs=1e-3)}
    people = read(shuffled)
    assert {name: list_values(people)[name] for name in wanted} == wanted
    assert "several results at the same time, the lowest is used: crp (1)" in people.notes


def write_forms(folder: Path) -> Iterator[Path]:
    """One content in every form, file after file."""
    resources = [entry["resource"] for entry in WHOLE["entry"]]
    lines = "\n".join(map(json.dumps, resources))
    searchset = {"resourceType": "Bundle", "type": "searchset", "total": 9, "entry": WHOLE["entry"]}
    parameters = {
        "resourceType": "Parameters",
        "parameter": [{"name": "return", "resource": searchset}],
    }
    texts = {
        "bundle.json": json.dumps(WHOLE, indent=2),
        "searchset.json": json.dumps(searchset),
        "list.json": json.dumps(resources),
        "list_of_bundles.json": json.dumps([WHOLE]),
        "parameters.json": json.dumps(parameters),
        "lines.ndjson": lines + "\n\n",
        "lines.jsonl": lines.replace("\n", "\r\n"),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
        yield folder / name
        (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        yield folder / f"{name}.gz"
    (folder / "bom.json").write_text(texts["bundle.json"], encoding="utf-8-sig")
    yield folder / "bom.json"
    (folder / "utf16.json").write_text(texts["bundle.json"], encoding="utf-16")
    yield folder / "utf16.json"
    (folder / "packed.json").write_bytes(gzip.compress(texts["bundle.json"].encode()))
    yield folder / "packed.json"
    for ending in (".ndjson", ".ndjson.gz", ".000.ndjson"):
        bulk = folder / f"bulk{ending}"
        bulk.mkdir()
        for kind in ("Observation", "Patient"):
            mine = [json.dumps(one) for one in resources if one["resourceType"] == kind]
            for part, text in enumerate(("\n".join(mine[::2]), "\n".join(mine[1::2]))):
                content = text.encode()
                packed = gzip.compress(content) if ending.endswith(".gz") else content
                (bulk / f"{kind}.{part}{ending}").write_bytes(packed)
        (bulk / "log.txt").write_text("not read")
        yield bulk


def test_every_form_gives_the_same_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = list_values(read(WHOLE))
    assert len(wanted) == len(NAMES)
    forms = list(write_forms(tmp_path))
    for block in (1 << 22, 97):
        # Smaller than a resource: each document is taken apart.
        monkeypatch.setattr(json_stream, "_BLOCK", block)
        for path in forms:
            assert is_fhir(path), path
            assert list_values(read_files(path)) == wanted, (path, block)


def test_contained_observations_share_the_subject_and_time_of_their_report() -> None:
    bare = {
        k: v for k, v in make_observation().items() if k not in ("subject", "effectiveDateTime")
    }
    patient = {**PATIENT, "id": "p"}
    mine = {"subject": {"reference": "#p"}}
    report: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": "r",
        **mine,
        "effectivePeriod": {"end": "2024-03-01"},
        "contained": [patient, {**bare, "id": "o"}, make_observation("1920-8", 24, **mine)],
        "result": [{"reference": "#o"}],
    }
    people = read(report)
    assert list_values(people) == {"alt": 20, "ast": 24}
    assert people.table.age[0] == 54
    # Two reports may use #p for two different people.
    elder = {**patient, "birthDate": "1950-03-01"}
    other = {**report, "id": "s", "contained": [elder, *report["contained"][1:]]}
    assert sorted(read(report, other).table.age) == [54, 74]
    # An identifier says who it is.
    number = {"system": "https://a.test", "value": "7"}
    patient["identifier"] = [number]
    same = {**report, "id": "s", "contained": [patient, make_observation("788-0", 13, "%", **mine)]}
    people = read(report, same)
    assert list_values(people) == {"alt": 20, "ast": 24, "rdw": 13}
    by_number = make_observation("2324-2", 22, subject={"identifier": number})
    assert list_values(read(report, by_number))["ggt"] == 22


@pytest.mark.parametrize(
    "system",
    [
        *("http://loinc.org", "http://loinc.org/", "https://loinc.org", "http://LOINC.org"),
        *("https://www.loinc.org/", "urn:oid:2.16.840.1.113883.6.1"),
    ],
)
def test_the_address_of_loinc_has_several_spellings(system: str) -> None:
    code = {"coding": [{"system": system, "code": "1742-6"}]}
    quantity = {"value": 20, "code": "U/L", "system": "https://unitsofmeasure.org/", "unit": "?"}
    people = read(PATIENT, make_observation(code=code, valueQuantity=quantity))
    assert list_values(people) == {"alt": 20}


SPECIMENS = {
    "urine": {"type": {"text": "Urine"}},
    "code": {"type": {"coding": [{"system": "http://snomed.info/sct", "code": "122575003"}]}},
    "v2": {"type": {"coding": [{"code": "UR", "display": "24 h"}, {"code": "UR"}]}},
    "csf": {"type": {"coding": [{"display": "Cerebrospinal fluid"}]}},
    "serum": {"type": {"text": "Serum"}},
    "blood": {"type": {"coding": [{"code": "119297000", "display": "Blut aus der Vene"}]}},
}


@pytest.mark.parametrize("name", SPECIMENS)
@pytest.mark.parametrize("place", ["before", "after", "contained", "address"])
def test_urine_is_not_serum(name: str, place: str) -> None:
    specimen = {"resourceType": "Specimen", "id": "s", **SPECIMENS[name]}
    older = make_observation("2160-0", 0.9, "mg/dL", effectiveDateTime="2024-02-01")
    newer = make_observation("2160-0", 1.1, "mg/dL", specimen={"reference": "Specimen/s"})
    documents: list[Any] = [PATIENT, specimen, newer, older]
    if place == "after":
        documents = [PATIENT, newer, older, specimen]
    elif place == "contained":
        newer |= {"contained": [specimen], "specimen": {"reference": "#s"}}
        documents = [PATIENT, newer, older]
    elif place == "address":
        newer["specimen"] = {"reference": "urn:uuid:1"}
        entries = [{"resource": newer}, {"fullUrl": "urn:uuid:1", "resource": specimen}]
        documents = [{"resourceType": "Bundle", "entry": entries}, older, PATIENT]
    people = read(*documents)
    used = 1.1 if name in ("serum", "blood") else 0.9
    assert list_values(people)["creatinine"] == pytest.approx(used * 88.42)
    assert count_refused(people) == (used < 1)


def test_the_label_of_a_specimen_can_exclude_blood() -> None:
    urine = make_observation("2160-0", 90, "mg/dL", specimen={"display": "Urine, 24 h"})
    label = make_observation("2160-0", 0.9, "mg/dL", specimen={"display": "Tube 4711"})
    assert "creatinine" not in list_values(read(PATIENT, urine, make_observation()))
    assert "creatinine" in list_values(read(PATIENT, label))


def test_skipped_results_are_counted_and_named() -> None:
    glucose = {"coding": [{"system": LOINC, "code": "2345-7", "display": "Glucose"}]}
    local = {"coding": [{"system": "urn:lab", "code": "CRPH"}], "text": "hs-CRP"}
    tests = [make_observation(code=glucose)] * 3
    tests.append(make_observation(code=local, valueQuantity={"value": 1.2, "unit": "mg/L"}))
    people = read(PATIENT, *tests, make_observation())
    (note,) = people.notes
    assert "'2345-7 Glucose' (3)" in note
    assert "'CRPH' (1)" in note
    mine = read(PATIENT, *tests, make_observation(), local={"CRPH": "crp"})
    assert list_values(mine) == {"crp": 1.2, "alt": 20}


def test_a_page_of_a_search_says_that_there_are_more() -> None:
    link = [{"relation": "next", "url": "https://a.test/fhir?page=2"}]
    assert any("has a next page" in note for note in read(WHOLE | {"link": link}).notes)


def test_two_patients_with_one_id_are_refused() -> None:
    other = {**PATIENT, "gender": "male", "birthDate": "1990-01-01"}
    with pytest.raises(ScoringError, match="two named 'a' differ"):
        read(PATIENT, other)
    assert len(read(PATIENT, PATIENT | {"meta": {"versionId": "2"}}).patients) == 1
    entries = [
        {"fullUrl": f"https://{server}.test/fhir/Patient/a", "resource": PATIENT} for server in "ab"
    ]
    with pytest.raises(ScoringError, match="two named 'a' differ"):
        read({"resourceType": "Bundle", "entry": entries})


@pytest.mark.parametrize(("days", "used"), [(0, True), (1, True), (2, False)])
def test_a_result_of_tomorrow_is_accepted(days: int, used: bool) -> None:
    day = datetime.now(timezone.utc).date() + timedelta(days=days)
    people = read(PATIENT, make_observation(effectiveDateTime=day.isoformat()))
    assert ("alt" in list_values(people)) is used


def test_each_day_can_be_a_draw_of_its_own() -> None:
    later = make_observation(value=30, effectiveDateTime="2025-03-01T08:00:00Z")
    people = read(PATIENT, later, make_observation(), by_draw=True)
    assert [list_values(people, row)["alt"] for row in range(2)] == [30, 20]
    assert [patient.name for patient in people.patients] == ["a", "a"]
    assert people.table.age.tolist() == [55, 54]


def test_reasons_say_what_was_expected() -> None:
    notes = "\n".join(read(read_case("wrong_units")["bundle"]).notes)
    for words in ("RDW-SD", "count per volume", "LOINC 59261-8 comes in mmol/mol; got '%'"):
        assert words in notes
    assert "unit must be one of umol/L, mg/dL, mg/L; got 'mmol/L'" in notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "after 0 resources it is not"),
        (b'{"resourceType": "Patient", "id": "a"} {"resourceType":', "after 1 resources"),
        (b'[{"resourceType": "Patient"} 1]', "Expecting ','"),
        (b'{"resourceType": "Bundle", "entry": []}', "there must be a Patient"),
        (b'{"resourceType": "Observation"}', "there must be a Patient"),
        (b"[]", "got no resourceType"),
        (b"[" * 100_000, "after 1 resources"),
        (b'{"resourceType": "\xff\xff"}', "it is not"),
        (gzip.compress(json.dumps(WHOLE).encode())[:-50], "it is not|cannot be read"),
        (gzip.compress(json.dumps(WHOLE).encode())[:-8] + b"x" * 8, "it is not|cannot be read"),
    ],
)
@pytest.mark.parametrize("block", [1 << 22, 5])
def test_content_that_is_not_fhir_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str, block: int
) -> None:
    monkeypatch.setattr(json_stream, "_BLOCK", block)
    path = tmp_path / "in.json"
    path.write_bytes(content)
    with pytest.raises(ScoringError, match=message):
        read_files(path)


def measure(count: int) -> float:
    """CPU seconds for a number of patients in random order."""
    entries = []
    for number in range(count):
        patient = PATIENT | {"id": f"p{number}"}
        address = f"https://a.test/fhir/Patient/p{number}"
        entries.append({"fullUrl": address, "resource": patient})
        subject = {"reference": f"Patient/p{number}"}
        entries += [{"resource": make_observation(subject=subject)}] * 3
    random.Random(1).shuffle(entries)
    text = json.dumps({"resourceType": "Bundle", "entry": entries})
    start = time.process_time()
    people = read_fhir([("in.json", io.StringIO(text))])
    spent = time.process_time() - start
    assert np.isfinite(people.table.values.value).sum() == count
    return spent


@pytest.mark.alone
def test_time_is_linear_in_the_patients() -> None:
    measure(200)
    # Eight times as many; a search through all of them for each would take 64 times as long.
    assert measure(4000) < 32 * measure(500)


JUNK = st.sampled_from([None, 0, -1, True, "", "x", [], {}, [None], 1e308, float("nan"), "2024"])


@given(st.sampled_from(CASES), st.lists(st.tuples(st.integers(0, 400), JUNK), max_size=4))
@settings(deadline=None)
def test_nothing_in_a_bundle_breaks_the_reader(path: Path, slips: list[tuple[int, Any]]) -> None:
    bundle = json.loads(path.read_text(encoding="utf-8"))["bundle"]
    for place, junk in slips:
        places = list(walk(bundle))
        if places:
            holder, key = places[place % len(places)]
            holder[key] = copy.deepcopy(junk)
    try:
        people = read(bundle)
    except ScoringError:
        return
    for row in range(len(people.patients)):
        for name, value in list_values(people, row).items():
            biomarker = PANEL[NAMES.index(name)]
            assert biomarker.minimum <= value <= biomarker.maximum
    people.table.to_batch()


def walk(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a document where something is."""
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for key in list(keys):
        yield node, key
        yield from walk(node[key])
