"""Answers in FHIR, held to the official structure of its resources."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fhir.resources.R4B import get_fhir_model_class
from henaw.cli.score import score
from henaw.intake.fhir.answers import read_code_system
from henaw.scoring import Henaw

WHOLE = json.loads((Path(__file__).parents[2] / "fhir" / "whole_panel.json").read_text())["bundle"]
CAUSES = ("cardiovascular", "cancer", "diabetes", "dementia")


def answer(
    bundle: dict[str, Any], folder: Path, *options: str, exit_code: int = 0
) -> list[dict[str, Any]]:
    """The resources that a Bundle is answered by, each of its official structure."""
    (folder / "in.json").write_text(json.dumps(bundle))
    out = folder / "out.json"
    result = CliRunner().invoke(score, [str(folder / "in.json"), str(out), *options])
    assert result.exit_code == exit_code, result.output
    answered = json.loads(out.read_text())
    get_fhir_model_class("Bundle").model_validate(answered)
    for entry in answered["entry"]:
        resource = entry["resource"]
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
        assert entry["fullUrl"] == f"urn:uuid:{resource['id']}"
    return [entry["resource"] for entry in answered["entry"]]


def find(resources: list[dict[str, Any]], code: str) -> dict[str, Any]:
    (found,) = (one for one in resources if get_code(one) == code)
    return found


def get_code(resource: dict[str, Any]) -> str | None:
    return resource["code"]["coding"][0]["code"] if "code" in resource else None


def test_a_bundle_is_answered_by_what_its_values_give(tmp_path: Path) -> None:
    resources = answer(WHOLE, tmp_path)
    model = Henaw()
    told = model.predict(
        {
            **{"age": 53.99726775956284, "sex": "female", "crp": 1.2, "hba1c": (5.4, "%")},
            **{"creatinine": (0.9, "mg/dL"), "albumin": 45, "lymphocyte_pct": 29, "rdw": 13.1},
            **{"ggt": 22, "ast": 24, "alt": 20},
        }
    )
    risk = find(resources, "risk-10y")
    shares = {
        one["outcome"]["coding"][0]["code"]: one["probabilityDecimal"] for one in risk["prediction"]
    }
    # R4 has them in per cent.
    wanted = {"mortality": told.mortality_10y, **told.cause_risk_10y}
    assert tuple(wanted) == ("mortality", *CAUSES)
    assert shares == pytest.approx(
        {name: 100 * float(p or 0) for name, p in wanted.items()}, abs=1e-4
    )
    when = risk["prediction"][0]["whenRange"]
    assert when["high"]["value"] - when["low"]["value"] == pytest.approx(10)
    age = find(resources, "biological-age")
    assert age["valueQuantity"]["value"] == pytest.approx(told.biological_age, abs=1e-3)
    assert told.interval is not None
    parts = [part["valueQuantity"]["value"] for part in age["component"]]
    assert parts == pytest.approx([*told.interval, told.draw_sd], abs=1e-3)
    assert find(resources, "age-gap")["valueQuantity"]["value"] == pytest.approx(
        told.age_gap, abs=1e-3
    )
    percentile = find(resources, "percentile")
    share = percentile["valueQuantity"]
    assert (share["value"], share["code"]) == (pytest.approx(told.percentile, abs=1e-3), "%")
    (device,) = (one for one in resources if one["resourceType"] == "Device")
    assert device["identifier"][0]["value"] == model.sha256
    maker = {"reference": f"urn:uuid:{device['id']}"}
    (outcome,) = (one for one in resources if one["resourceType"] == "OperationOutcome")
    assert "'2345-7' (1)" in outcome["issue"][0]["diagnostics"]
    sources = {
        entry.get("fullUrl") or f"Observation/{entry['resource']['id']}"
        for entry in WHOLE["entry"]
        if entry["resource"]["resourceType"] == "Observation"
        and entry["resource"]["code"]["coding"][0]["code"] != "2345-7"
    }
    for resource in (risk, age, percentile):
        assert resource.get("performer", resource.get("device")) == maker
        assert resource["subject"]["reference"] == WHOLE["entry"][0]["fullUrl"]
        assert {"2024-03-01"} & set(map(str, resource.values()))
        used = resource.get("basis", resource.get("derivedFrom"))
        assert {one["reference"] for one in used} == sources


def test_the_same_input_gives_the_same_answer(tmp_path: Path) -> None:
    assert answer(WHOLE, tmp_path) == answer(WHOLE, tmp_path)


def change(bundle: dict[str, Any], code: str, **quantity: Any) -> dict[str, Any]:
    changed = copy.deepcopy(bundle)
    for entry in changed["entry"]:
        codings = entry["resource"].get("code", {}).get("coding", [{}])
        if codings[0].get("code") == code:
            entry["resource"]["valueQuantity"].update(quantity)
    return changed


@pytest.mark.parametrize("keep", [False, True])
def test_what_is_withheld_has_a_reason_and_no_number(tmp_path: Path, keep: bool) -> None:
    acute = change(WHOLE, "30522-7", value=45)
    options = ("--unreliable", "keep") if keep else ()
    resources = answer(acute, tmp_path, *options)
    for code in ("biological-age", "age-gap", "percentile"):
        found = find(resources, code)
        assert ("valueQuantity" in found) is keep
        assert ("dataAbsentReason" in found) is not keep
        assert "C-reactive protein 450" in found["note"][0]["text"]
    prediction = find(resources, "risk-10y")["prediction"]
    if keep:
        assert all("probabilityDecimal" in one for one in prediction)
        return
    absent = find(resources, "age-gap")["dataAbsentReason"]
    assert [one["code"] for one in absent["coding"]] == ["unsupported", "critical_value"]
    assert all(
        "dataAbsentReason" in part for part in find(resources, "biological-age")["component"]
    )
    assert "450" not in json.dumps([one.get("valueQuantity") for one in resources])
    for one in prediction:
        (extension,) = one["_probabilityDecimal"]["extension"]
        assert extension["valueCode"] == "unsupported"
        assert "probabilityDecimal" not in one


def test_a_person_who_cannot_be_scored_gets_the_reason(tmp_path: Path) -> None:
    bundle = copy.deepcopy(WHOLE)
    del bundle["entry"][0]["resource"]["gender"]
    resources = answer(bundle, tmp_path, exit_code=3)
    absent = find(resources, "biological-age")["dataAbsentReason"]
    assert [one["code"] for one in absent["coding"]] == ["not-performed", "not_scored"]
    assert "sex must be female or male; got None" in absent["text"]
    nobody = {"resourceType": "Bundle", "entry": bundle["entry"][:1]}
    (*_, last) = answer(nobody, tmp_path, exit_code=3)
    assert "no result can be used" in last["dataAbsentReason"]["text"]
    assert "derivedFrom" not in last


def test_an_unused_limit_is_not_a_source(tmp_path: Path) -> None:
    limited = change(WHOLE, "1742-6", comparator="<", value=900)
    before = find(answer(WHOLE, tmp_path), "age-gap")["derivedFrom"]
    after = find(answer(limited, tmp_path), "age-gap")["derivedFrom"]
    assert len(after) == len(before) - 1


def test_every_code_is_of_the_code_system(tmp_path: Path) -> None:
    system = read_code_system()
    get_fhir_model_class("CodeSystem").model_validate(system)
    codes = {concept["code"]: concept["display"] for concept in system["concept"]}
    text = json.dumps(answer(WHOLE, tmp_path))
    found = [
        (one["code"], one["display"])
        for one in walk(json.loads(text))
        if one.get("system") == system["url"]
    ]
    assert len({code for code, _ in found}) > 10
    assert all(codes[code] == display for code, display in found)
    documented = (Path(__file__).parents[3] / "docs" / "fhir.md").read_text(encoding="utf-8")
    assert all(f"`{code}`" in documented for code in codes)
    assert system["url"] in documented


def walk(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [found for one in node for found in walk(one)]
    if isinstance(node, dict):
        return [node, *(found for one in node.values() for found in walk(one))]
    return []


def test_a_resource_a_line_says_the_same(tmp_path: Path) -> None:
    wanted = answer(WHOLE, tmp_path)
    out = tmp_path / "out.fhir.ndjson"
    result = CliRunner().invoke(score, [str(tmp_path / "in.json"), str(out)])
    assert result.exit_code == 0, result.output
    assert [json.loads(line) for line in out.read_text().splitlines()] == wanted


def test_people_of_a_table_have_no_answer_in_fhir(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("age,sex,crp\n54,female,1.2\n")
    result = CliRunner().invoke(score, [str(tmp_path / "in.csv"), str(tmp_path / "out.json")])
    assert "FHIR answers need FHIR input" in str(result.exception)
    assert not (tmp_path / "out.json").exists()


@pytest.mark.parametrize("option", [(), ("--change",)])
def test_the_input_is_not_written_over(tmp_path: Path, option: tuple[str, ...]) -> None:
    path = tmp_path / "in.json"
    path.write_text(json.dumps(WHOLE))
    result = CliRunner().invoke(score, [str(path), str(path), *option])
    assert "OUT must not be the same file as IN" in str(result.exception)
    assert json.loads(path.read_text()) == WHOLE


def test_a_bulk_folder_and_local_codes_go_through_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    resources = [
        entry["resource"] for entry in change(WHOLE, "30522-7", value=2, unit="mg/L")["entry"]
    ]
    resources[1]["code"] = {"coding": [{"system": "urn:lab", "code": "CRPH"}]}
    resources[1]["valueQuantity"] = {"value": 2, "unit": "mg/L"}
    for kind in ("Patient", "Observation"):
        mine = [json.dumps(one) for one in resources if one["resourceType"] == kind]
        (folder / f"{kind}.ndjson").write_text("\n".join(mine))
    (tmp_path / "codes.yaml").write_text("CRPH: crp\n")
    out = tmp_path / "out.ndjson"
    options = ["--tests", str(tmp_path / "codes.yaml"), "--outputs", "biological_age"]
    result = CliRunner().invoke(score, [str(folder), str(out), *options])
    assert result.exit_code == 0, result.output
    (row,) = map(json.loads, out.read_text().splitlines())
    assert (row["participant_id"], row["crp"], row["alt"]) == ("a", 2, 20)
    assert "tests outside the panel, by results: '2345-7' (1)" in result.stderr
