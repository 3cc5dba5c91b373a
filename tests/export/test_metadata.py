import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from henaw.export.metadata import describe_model, format_properties
from henaw.intake.tables.layout import find_layout
from henaw.intake.words.cells import is_no_value, read_comparator
from henaw.intake.words.columns import PARTS
from henaw.intake.words.loinc import describe_fhir
from henaw.intake.words.names import find_biomarker, is_blood
from henaw.model.biomarkers import CAUSES, INDEX, NAMES, PANEL, SEXES, SYSTEMS
from henaw.model.checkpoint import PROTOCOL, Checkpoint
from henaw.model.exported.digest import DIGEST_KEY
from henaw.model.graph.tables import PERCENTILES
from henaw.model.runtime import INPUT_NAMES, OUTPUT_NAMES, OnnxRuntime, Runtime
from henaw.scoring.reading.inputs import read_inputs


@pytest.fixture(scope="module")
def sidecar(artifacts: Path) -> dict[str, Any]:
    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    content: dict[str, Any] = json.loads(
        (artifacts / "henaw.json").read_text(), parse_constant=refuse
    )
    return content


def test_it_names_the_model_and_its_checkpoint(
    sidecar: dict[str, Any], checkpoint: Checkpoint, shipped_checkpoint_path: Path
) -> None:
    digest = hashlib.sha256(shipped_checkpoint_path.read_bytes()).hexdigest()
    assert sidecar["checkpoint_sha256"] == digest
    assert sidecar["protocol"] == PROTOCOL
    for key in ("name", "version", "date", "intended_use"):
        assert sidecar[key] == getattr(checkpoint, key)
        assert sidecar[key]
    assert "diagnosis" in sidecar["intended_use"]
    assert sidecar["metrics"]
    assert sidecar["training"]
    assert "configuration" not in sidecar["training"]


def test_it_contains_the_panel(sidecar: dict[str, Any]) -> None:
    assert [row["name"] for row in sidecar["panel"]] == list(NAMES)
    for row, biomarker in zip(sidecar["panel"], PANEL, strict=True):
        assert row["unit"] == biomarker.unit == row["units"][0]
        assert (row["minimum"], row["maximum"]) == (biomarker.minimum, biomarker.maximum)
        assert tuple(row["loinc"]) == biomarker.loinc
        assert row["ukb_field"] == biomarker.ukb_field
    assert sidecar["sexes"] == list(SEXES) == ["female", "male"]
    assert sidecar["system_names"] == list(SYSTEMS)
    assert sidecar["systems"] == {name: list(members) for name, members in SYSTEMS.items()}
    assert sidecar["cause_names"] == list(CAUSES)


def test_its_units_convert_as_the_panel_does(sidecar: dict[str, Any]) -> None:
    """An app in another language has nothing else to convert by."""
    assert list(sidecar["units"]["conversions"]) == list(NAMES)
    for biomarker in PANEL:
        units = sidecar["units"]["conversions"][biomarker.name]
        assert tuple(units) == biomarker.units
        for name, unit in units.items():
            seen = (7.5 - unit["offset"]) * unit["factor"]
            assert seen == biomarker.find_unit(name).to_si(7.5)
    assert "RDW-SD" in sidecar["units"]["refused"]["rdw"]["fL"]
    assert sidecar["units"]["spellings"]["hba1c"]["%hgb"] == "%"
    assert ["per(?!cent)", "/"] in sidecar["units"]["rewrites"]
    assert sidecar["units"]["aliases"]["ug/ml"] == "mg/l"
    assert re.fullmatch(sidecar["units"]["count_per_volume"], "10*9/l")


def test_it_says_which_observations_are_a_biomarker(sidecar: dict[str, Any]) -> None:
    assert sidecar["fhir"] == json.loads(json.dumps(describe_fhir()))


def test_it_contains_every_word_by_which_tables_are_read(sidecar: dict[str, Any]) -> None:
    """A reader in another language has no other list, and takes no other file's words."""
    words = sidecar["words"]
    for part, names in words["columns"].items():
        assert PARTS[part] == tuple(names)
    assert all(is_blood(word) for word in words["specimens"])
    assert all(is_no_value(word) for word in words["no_value"])
    for sign, comparator in words["comparators"].items():
        assert read_comparator(sign) == comparator
    for row in sidecar["panel"]:
        for name in row["synonyms"]:
            assert find_biomarker(name, with_unit=True) == row["name"]
            shared = name in row["shared_synonyms"]
            assert find_biomarker(name, with_unit=False) == (None if shared else row["name"])
    for sex, names in words["sexes"].items():
        size = len(names)
        people = pa.record_batch({"age": [50.0] * size, "sex": names, "crp": [1.0] * size})
        inputs = read_inputs(people, find_layout(people.schema.names), sidecar["reference"])
        assert {SEXES[code] for code in inputs.sex} == {sex}


def test_its_shapes_are_those_of_the_answers(
    sidecar: dict[str, Any], runtimes: dict[str, Runtime]
) -> None:
    assert list(sidecar["inputs"]) == list(INPUT_NAMES)
    assert list(sidecar["outputs"]) == list(OUTPUT_NAMES)
    outputs = runtimes["eager"].predict(
        np.full((5, 9), 20.0, np.float32), np.full(5, 50.0, np.float32), np.zeros(5, np.int64)
    )
    sizes = {"n": 5, "k": len(sidecar["contribution_names"])}
    for name, shape in sidecar["outputs"].items():
        assert outputs[name].shape == tuple(sizes.get(size, size) for size in shape), name


def test_contributions_are_named_in_order(sidecar: dict[str, Any]) -> None:
    assert sidecar["contribution_names"][:11] == ["typical_values", *NAMES, "ast_alt_ratio"]
    for name in sidecar["contribution_names"][11:]:
        first, second = name.split("_x_")
        assert {first, second} <= set(NAMES)


def test_the_fitted_range_is_the_one_that_flags(
    sidecar: dict[str, Any], checkpoint: Checkpoint
) -> None:
    for name, (low, high) in sidecar["fitted_range"].items():
        assert low == pytest.approx(float(checkpoint.tensors["range_low"][INDEX[name]]), rel=1e-3)
        assert high == pytest.approx(float(checkpoint.tensors["range_high"][INDEX[name]]), rel=1e-3)
        assert PANEL[INDEX[name]].minimum <= low < high <= PANEL[INDEX[name]].maximum
    assert sidecar["fitted_ages"] == [20, 85]


def test_critical_limits_are_those_that_flag(
    sidecar: dict[str, Any], checkpoint: Checkpoint
) -> None:
    assert list(sidecar["critical_limits"]) == list(NAMES)
    for biomarker, limits in zip(PANEL, sidecar["critical_limits"].values(), strict=True):
        for side, limit in zip(("low", "high"), limits, strict=True):
            if getattr(biomarker, f"critical_{side}") is None:
                assert limit is None
            else:
                stored = checkpoint.tensors[f"critical_{side}"][INDEX[biomarker.name]]
                assert limit == pytest.approx(float(stored), rel=1e-3)


def test_the_reference_contains_the_gap_at_each_percentile(
    sidecar: dict[str, Any], checkpoint: Checkpoint
) -> None:
    assert sidecar["percentiles"] == list(PERCENTILES)
    for code, sex in enumerate(SEXES):
        gaps = np.array(sidecar["reference"][sex]["gap_percentiles"])
        expected = checkpoint.tensors["gap_percentiles"][code].numpy()
        assert gaps.shape == (66, len(PERCENTILES))
        np.testing.assert_allclose(gaps, expected, rtol=6e-3, atol=1e-3)
        middle = gaps[:, PERCENTILES.index(50.0)]
        assert np.abs(middle).max() < 0.5
        assert (np.diff(gaps, axis=1) >= 0).all()


def test_the_reference_contains_the_typical_persons_risks(
    sidecar: dict[str, Any], runtimes: dict[str, Runtime]
) -> None:
    """The risks of a person with the gap 0."""
    ages = np.array(sidecar["reference"]["age"], np.float32)
    unknown = np.full((len(ages), 9), np.nan, np.float32)
    for code, sex in enumerate(SEXES):
        answers = runtimes["onnx"].predict(unknown, ages, np.full(len(ages), code))
        reference = sidecar["reference"][sex]
        for name in ("mortality_10y", "cause_risk_10y"):
            np.testing.assert_allclose(reference[name], answers[name], rtol=1e-3)
        assert (np.diff(reference["mortality_10y"]) > 0).all()


def test_the_reference_contains_plausible_medians(sidecar: dict[str, Any]) -> None:
    reference = sidecar["reference"]
    assert reference["age"] == list(range(20, 86))
    for sex in SEXES:
        for name in NAMES:
            low, high = sidecar["fitted_range"][name]
            medians = reference[sex][name]
            assert len(medians) == 66
            assert all(low < value < high for value in medians)
    assert reference["male"]["creatinine"][30] > reference["female"]["creatinine"][30]
    assert 30 < reference["female"]["hba1c"][0] < reference["female"]["hba1c"][60] < 45


def test_the_onnx_file_contains_the_same(sidecar: dict[str, Any], artifacts: Path) -> None:
    properties = OnnxRuntime(artifacts / "henaw.onnx").metadata
    assert properties.keys() == sidecar.keys()
    for key, value in sidecar.items():
        assert (value if isinstance(value, str) else json.dumps(value)) == properties[key], key


def test_properties_are_text() -> None:
    assert format_properties({"a": "text", "b": [1, 2.5], "c": {"d": None}}) == {
        "a": "text",
        "b": "[1, 2.5]",
        "c": '{"d": null}',
    }


def test_a_description_is_reproducible(checkpoint: Checkpoint, sidecar: dict[str, Any]) -> None:
    described = json.loads(json.dumps(describe_model(checkpoint)))
    assert described == {key: value for key, value in sidecar.items() if key != DIGEST_KEY}
