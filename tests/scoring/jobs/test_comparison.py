"""What is said of two versions' answers."""

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from henaw.cli.main import commands
from henaw.export.graphs import export_onnx
from henaw.export.metadata import describe_model, format_properties
from henaw.intake.tables.layout import find_layout
from henaw.model.biomarkers import CAUSES
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import ScoringError
from henaw.scoring import Henaw
from henaw.scoring.jobs.comparison import compare_models
from henaw.scoring.reading.sources import open_source


@pytest.fixture(scope="module")
def candidate_path(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference model but for larger weights and narrower ranges, as another version."""
    tensors = {**checkpoint.tensors, "weight": checkpoint.tensors["weight"] * 1.1}
    for name in ("range_high", "critical_high"):
        tensors[name] = tensors[name] * 0.5
    changed = dataclasses.replace(checkpoint, version="99.0.0", tensors=tensors)
    model = export_onnx(changed.build_network(), format_properties(describe_model(changed)))
    path = tmp_path_factory.mktemp("candidate") / "candidate.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def table(people: pd.DataFrame, unscorable: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "people.parquet"
    pd.concat([people, unscorable]).astype({"participant_id": str, "sex": str}).to_parquet(path)
    return path


def test_it_is_the_difference_of_what_each_version_answers(
    model: Henaw, model_path: Path, candidate_path: Path, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report.json"
    arguments = [model_path, candidate_path, table, "--out", out]
    result = CliRunner().invoke(commands, ["compare", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())

    people = pd.read_parquet(table)
    before, after = (
        m.predict(people, unreliable="keep") for m in (model, Henaw.load(candidate_path))
    )
    scored = before["reason"].isna()
    assert report["people"] == len(people)
    assert report["refused"] == (~scored).sum() > 0
    before, after = before[scored], after[scored]
    for name in ("biological_age", "mortality_10y", *(f"cause_risk_10y_{c}" for c in CAUSES)):
        row = report["outputs"][name.removeprefix("cause_risk_10y_")]
        difference = after[name].astype(float) - before[name].astype(float)
        expected = {
            "stable_mean": before[name].astype(float).mean(),
            "candidate_mean": after[name].astype(float).mean(),
            "mean_difference": difference.mean(),
            "mean_absolute": difference.abs().mean(),
            "p99_absolute": difference.abs().quantile(0.99),
            "max_absolute": difference.abs().max(),
        }
        # Rows in other blocks give other last digits.
        assert row == pytest.approx(expected, abs=1e-4)
    years = (after["biological_age"] - before["biological_age"]).abs()
    for bound, share in report["share_beyond_years"].items():
        assert share == pytest.approx((years > float(bound)).mean(), abs=2e-3)
    assert 0 < report["share_beyond_years"]["1"] < report["share_beyond_years"]["0.1"]
    flags = [c for c in before if c.startswith(("out_of_range", "age_out_of_range"))]
    assert report["flagged_by_one"] == (before[flags] != after[flags]).any(axis=1).sum() > 0
    assert report["reliable_by_one"] == (before["reliable"] != after["reliable"]).sum() > 0
    assert f"reliable by one version only: {report['reliable_by_one']} people" in result.output
    assert f"{report['people']} people, {report['refused']} refused" in result.output
    assert model.name in result.output


def test_a_version_does_not_differ_from_itself(model: Henaw, table: Path) -> None:
    source = open_source(table)
    report = compare_models(model, model, source, find_layout(source.names))
    assert report["flagged_by_one"] == report["reliable_by_one"] == 0
    assert set(report["share_beyond_years"].values()) == {0.0}
    assert {row["max_absolute"] for row in report["outputs"].values()} == {0.0}


def test_nobody_to_compare(model: Henaw, unscorable: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "nobody.csv"
    unscorable.iloc[1:3].to_csv(path, index=False)
    source = open_source(path)
    with pytest.raises(ScoringError, match="none of its 2 people can be scored"):
        compare_models(model, model, source, find_layout(source.names))
