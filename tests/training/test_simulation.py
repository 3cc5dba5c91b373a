import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from henaw.cli.main import commands
from henaw.model.biomarkers import NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import CohortError
from henaw.model.graph.transforms import LOG_SCALED
from henaw.training.cohorts.cohort import read_cohort
from henaw.training.configuration import CohortConfiguration
from henaw.training.simulation import check_synthetic_path, simulate_table

CAUSES = {"cardiovascular": (1, 5), "cancer": (2,), "diabetes": (7,), "dementia": (6,)}


def test_a_simulated_table_is_a_cohort(
    shipped_checkpoint_path: Path, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    out = tmp_path / "Synthetic-cohort.parquet"
    arguments = ["simulate", "--n", "500", "--model", str(shipped_checkpoint_path)]
    arguments += ["--seed", "4", "--follow-up-years", "15", "--out", str(out)]
    result = CliRunner().invoke(commands, arguments, catch_exceptions=False)
    assert "500 synthetic people" in result.output

    cohort = read_cohort(out, CohortConfiguration(causes=CAUSES))
    assert len(cohort) == 500
    assert cohort.complete.all()
    assert cohort.time_years.max() == pytest.approx(15)
    table, report = simulate_table(checkpoint, 500, 4, years=15)
    assert (cohort.biomarkers == table[list(NAMES)].to_numpy()).all()
    assert (cohort.event == (table["death"] == 1)).all()
    assert set(np.unique(cohort.cause[cohort.event])) <= {0, 1, 2, 3, 4}
    assert (cohort.cause[~cohort.event] == -1).all()

    written = pd.read_parquet(out)
    assert written["synthetic"].all()
    assert (written["survey"] == "synthetic").all()
    assert written["participant_id"].str.startswith("synthetic-").all()
    assert written.attrs["henaw"] == report
    assert report["synthetic"] is True
    assert report["model_sha256"] == checkpoint.sha256
    assert json.loads((tmp_path / "Synthetic-cohort.report.json").read_text()) == report
    assert all("synthetic" in path.name.lower() for path in tmp_path.iterdir())


@pytest.mark.parametrize("name", ["cohort.parquet", "cohort.synthetic", "synthetic/cohort.parquet"])
def test_a_name_that_does_not_say_so_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="the file name must contain 'synthetic'"):
        check_synthetic_path(tmp_path / name)


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"must end in \.parquet"):
        check_synthetic_path(tmp_path / "synthetic.csv")


def test_causes_are_coded_as_the_shipped_configuration_reads_them(checkpoint: Checkpoint) -> None:
    table, _ = simulate_table(checkpoint, 20_000, 1)
    assert sorted(table["ucod_leading"].dropna().unique()) == [1, 2, 6, 7, 10]
    assert (table["ucod_leading"].notna() == (table["death"] == 1)).all()


@pytest.mark.parametrize("sex", [0, 1])
@pytest.mark.parametrize("decade", [30, 50, 70])
def test_they_are_distributed_as_the_fitted_people_of_one_age_and_sex(
    checkpoint: Checkpoint, cohort_path: Path, sex: int, decade: int
) -> None:
    drawn, _ = simulate_table(checkpoint, 60_000, 2)
    real = pd.read_parquet(cohort_path)
    real = real[real["pregnant"] != 1]
    # The oldest survey's CRP stops at its detection floor, and is not in the reference.
    real["crp"] = real["crp"].where(real["survey"] != "1988-1994")
    tables = [
        table[(table["sex"] == sex) & (table["age"] >= decade) & (table["age"] < decade + 10)]
        for table in (drawn, real)
    ]
    for name, skewed in zip(NAMES, LOG_SCALED, strict=True):
        drawn_low, drawn_middle, drawn_high = quantify(tables[0][name], skewed)
        low, middle, high = quantify(tables[1][name], skewed)
        assert abs(drawn_middle - middle) < 0.1 * (high - low), name
        # The reference has one shape for all ages; only location and scale go by age.
        assert abs(drawn_low - low) < 0.25 * (high - low), name
        assert abs(drawn_high - high) < 0.25 * (high - low), name


def quantify(values: pd.Series, skewed: bool) -> np.ndarray:
    """Deciles 1, 5 and 9, of the logarithm where the model takes it."""
    deciles = values.quantile([0.1, 0.5, 0.9]).to_numpy()
    return np.log(deciles) if skewed else deciles
