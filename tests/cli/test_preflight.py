"""`henaw score` before any number: what stops it, what does not, and what it prints."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from henaw.cli.main import commands
from henaw.export.people import draw_synthetic_people
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def people(checkpoint: Checkpoint) -> pd.DataFrame:
    drawn = draw_synthetic_people(checkpoint, 400, seed=21)
    table = pd.DataFrame(drawn.biomarkers, columns=list(NAMES)).clip(
        [b.minimum for b in PANEL], [b.maximum for b in PANEL], axis=1
    )
    table.insert(0, "sex", drawn.sex)
    table.insert(0, "age", drawn.age)
    return table


def run(table: pd.DataFrame, folder: Path, *options: object, out: bool = True) -> Result:
    path = folder / "in.csv"
    table.to_csv(path, index=False)
    target = [str(folder / "out.parquet")] if out else []
    return CliRunner().invoke(commands, ["score", str(path), *target, *map(str, options)])


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        ({"lymphocyte_pct": 0.01}, "lymphocyte_pct", "may be fractions"),
        ({"lymphocyte_pct": 0.068}, "lymphocyte_pct", "may be a count in 10*9/L"),
        ({"rdw": 3.1}, "rdw", "RDW-SD"),
        ({"crp": 0.1}, "crp", "may be in mg/dL"),
        ({"albumin": 0.1}, "albumin", "may be in g/dL"),
        ({"creatinine": 1 / 88.42}, "creatinine", "may be in mg/dL"),
    ],
)
def test_another_unit_stops_it_until_it_is_accepted(
    people: pd.DataFrame, tmp_path: Path, change: dict[str, float], name: str, said: str
) -> None:
    wrong = people.assign(**{key: people[key] * factor for key, factor in change.items()})
    stopped = run(wrong, tmp_path)
    assert stopped.exit_code == 2
    assert f"stopped: {name}, taken to be in" in stopped.stderr
    assert said in stopped.stderr
    assert f"--accept {name}" in stopped.stderr
    assert not (tmp_path / "out.parquet").exists()
    assert run(wrong, tmp_path, "--accept", name).exit_code in (0, 3)


def test_the_right_unit_lets_it_go_on(people: pd.DataFrame, tmp_path: Path) -> None:
    wrong = people.assign(crp=people["crp"] / 10, lymphocyte_pct=people["lymphocyte_pct"] / 100)
    assert run(people, tmp_path).exit_code == 0
    right = pq.read_table(tmp_path / "out.parquet")
    units = ("--unit", "crp=mg/dL", "--unit", "lymphocyte_pct=fraction")
    assert run(wrong, tmp_path, *units).exit_code == 0
    seen = pq.read_table(tmp_path / "out.parquet")["biological_age"].to_pandas()
    pd.testing.assert_series_equal(seen, right["biological_age"].to_pandas(), atol=0.01)
    named = wrong.rename(columns={"crp": "crp (mg/dL)", "lymphocyte_pct": "Lymphocytes (1)"})
    assert run(named, tmp_path).exit_code == 0
    for option in ("crp=", "crp=mmol", "cpr=mg/L", "crp", "glucose=mg/dL"):
        result = run(people, tmp_path, "--unit", option)
        assert (result.exit_code, "--unit" in result.stderr) == (2, True)


@pytest.mark.parametrize("name", ["Lymphocyts", "Lymphocytes (10*9/L)", "lymphocyte_count"])
def test_a_column_that_is_nearly_known_stops_it(
    people: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    renamed = people.rename(columns={"lymphocyte_pct": name})
    stopped = run(renamed, tmp_path)
    assert stopped.exit_code == 2
    assert f"column {name!r} is not used, and lymphocyte_pct has no other" in stopped.stderr
    assert run(renamed, tmp_path, "--accept", "lymphocyte_pct").exit_code == 0


def test_an_unrelated_column_does_not_stop_it(people: pd.DataFrame, tmp_path: Path) -> None:
    others = people.assign(city="here", glucose=5.1, Creatine=3, weight=70)
    result = run(others.drop(columns="creatinine"), tmp_path)
    assert result.exit_code == 0
    assert "no column, so imputed for all: creatinine" in result.stderr


def test_a_dry_run_prints_all_and_computes_nothing(people: pd.DataFrame, tmp_path: Path) -> None:
    some = people.assign(city="here").astype({"crp": object, "ggt": object})
    some.loc[[0, 1, 2], "crp"] = ["<0.1", "n.d.", None]
    some.loc[0, "ggt"] = "high?"
    some.loc[1, "alt"] = 20_000
    result = run(some.drop(columns="rdw"), tmp_path, "--dry-run", out=False)
    assert result.exit_code == 0
    assert list(tmp_path.iterdir()) == [tmp_path / "in.csv"]
    lines = result.stdout.splitlines()
    assert "400 people" in lines
    (crp,) = (line for line in lines if line.startswith("crp: column 'crp', in mg/L; 398 values"))
    assert "1 limits among them, 2 missing; 5, 50, 95 % are " in crp
    assert any("ggt: column 'ggt', in U/L; 399 values, 1 not readable" in line for line in lines)
    assert any("400 values, 1 outside the accepted range" in line for line in lines)
    assert "no column, so imputed for all: rdw" in lines
    assert "ignored: 'city'" in lines


def test_json_is_for_scripts(people: pd.DataFrame, tmp_path: Path) -> None:
    def read(result: Result) -> dict[str, Any]:
        described: dict[str, Any] = json.loads(result.stdout)
        return described

    dry = read(run(people, tmp_path, "--dry-run", "--json"))["preflight"]
    assert (dry["rows"], dry["stops"], dry["absent"]) == (400, [], [])
    assert dry["seen"][3]["name"] == "albumin"
    assert 35 < dry["seen"][3]["quantiles"][1] < 50
    wrong = people.assign(albumin=people["albumin"] / 10)
    stopped = run(wrong, tmp_path, "--json")
    assert (stopped.exit_code, read(stopped)["preflight"]["stops"]) == (2, ["albumin"])
    done = read(run(people, tmp_path, "--json"))
    assert done["summary"]["rows"] == done["summary"]["scored"] == 400
    assert done["summary"]["flagged"] > 0
    assert done["preflight"]["findings"] == []


def test_the_summary_always_counts(people: pd.DataFrame, tmp_path: Path) -> None:
    some = people.astype({"crp": object})
    some.loc[[0, 1, 2], "crp"] = [None, 400, 450]
    said = run(some, tmp_path).stderr
    assert "rows outside the fitted range; numbers withheld: " in said
    assert "; with imputed values: 1" in said


@pytest.mark.parametrize(
    ("unit", "value", "said"),
    [
        ("g/L", 4.5, "may be in g/dL: 4.5 g/L would be 45 g/L"),
        ("bottles", 45, "unit must be one of g/L, g/dL; got 'bottles'"),
    ],
)
def test_a_long_table_of_which_no_result_is_used_stops_it(
    tmp_path: Path, unit: str, value: float, said: str
) -> None:
    rows = [("a", "CRP", 1.2, "mg/L"), ("a", "Albumin", value, unit), ("b", "CRP", 3, "mg/L")]
    table = pd.DataFrame(rows, columns=["patient", "test", "value", "unit"]).assign(age=54, sex="f")
    stopped = run(table, tmp_path)
    assert stopped.exit_code == 2
    assert "none of the 1 results of albumin can be used" in stopped.stderr
    assert said in stopped.stderr
    assert run(table, tmp_path, "--accept", "albumin").exit_code == 0


def test_a_test_that_is_nearly_known_stops_it(tmp_path: Path) -> None:
    rows = [("a", "CRP", 1.2, "mg/L"), ("a", "Albumn", 45, "g/L"), ("a", "Glucose", 5, "mmol/L")]
    table = pd.DataFrame(rows, columns=["patient", "test", "value", "unit"]).assign(age=54, sex="f")
    stopped = run(table, tmp_path)
    assert stopped.exit_code == 2
    assert "the test 'Albumn' is not known" in stopped.stderr


def test_a_checkpoint_is_recognised(
    people: pd.DataFrame, tmp_path: Path, shipped_checkpoint_path: Path
) -> None:
    result = run(people, tmp_path, "--model", shipped_checkpoint_path)
    assert "it is a checkpoint. Make an ONNX file of it with `henaw export`" in str(
        result.exception
    )


def test_calibration_is_stopped_too(people: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    wrong = people.assign(crp=people["crp"] / 10)
    pq.write_table(pa.Table.from_pandas(wrong, preserve_index=False), path)
    command = ["calibrate", str(path), "--out", str(tmp_path / "lab.json")]
    result = CliRunner().invoke(commands, command)
    assert "may be in mg/dL" in str(result.exception)


def test_a_cohort_table_is_stopped_too(people: pd.DataFrame, tmp_path: Path) -> None:
    path, columns, out = tmp_path / "in.csv", tmp_path / "map.yaml", tmp_path / "out.parquet"
    wrong = people.assign(lymphocyte_pct=people["lymphocyte_pct"] / 100, id=range(len(people)))
    wrong.to_csv(path, index=False)
    columns.write_text(
        "participant_id: id\nage: age\nsex: {column: sex, female: ['0'], male: ['1']}\n"
        "biomarkers:\n  - {name: lymphocyte_pct, column: lymphocyte_pct, unit: '%'}\n"
        "  - {name: albumin, column: albumin, unit: g/L}\n"
    )
    command = ["data", "table", str(path), "--columns", str(columns), "--out", str(out)]
    stopped = CliRunner().invoke(commands, command)
    assert stopped.exit_code == 2, stopped.output
    assert "may be fractions" in stopped.stderr
    assert not out.exists()
    accepted = CliRunner().invoke(commands, [*command, "--accept", "lymphocyte_pct"])
    assert accepted.exit_code == 0, accepted.output
    assert out.exists()
