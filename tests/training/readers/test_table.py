import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.errors import CohortError
from henaw.training.configuration import read_training_configuration
from henaw.training.readers.table import (
    CAUSE_CODES,
    count_implausible,
    count_missing,
    order_columns,
    write_table,
)

REPORT = {"rows": 3, "files": {"a": "b"}}


@pytest.fixture
def table() -> pd.DataFrame:
    """Per biomarker one value at its minimum, one above its maximum and none."""
    columns = {b.name: [b.minimum, b.maximum * 1.01, np.nan] for b in reversed(PANEL)}
    return pd.DataFrame({"other": [1, 2, 3], **columns, "participant_id": ["a", "b", "c"]})


def test_the_cohorts_columns_come_first_and_others_stay(table: pd.DataFrame) -> None:
    assert list(order_columns(table)) == ["participant_id", *NAMES, "other"]


def test_missing_and_implausible_values_are_counted(table: pd.DataFrame) -> None:
    assert count_missing(table) == dict.fromkeys(NAMES, 1)
    assert count_implausible(table) == dict.fromkeys(NAMES, 1)


def test_what_is_written_is_read_with_its_report(table: pd.DataFrame, tmp_path: Path) -> None:
    beside = write_table(table, REPORT, tmp_path / "deep" / "a.b.parquet")
    assert beside == tmp_path / "deep" / "a.b.report.json"
    assert json.loads(beside.read_text()) == REPORT
    read = pd.read_parquet(tmp_path / "deep" / "a.b.parquet")
    pd.testing.assert_frame_equal(read, table)
    assert read.attrs["henaw"] == REPORT
    assert table.attrs == {}
    assert len(list((tmp_path / "deep").iterdir())) == 2


def test_nothing_is_written_where_something_is_wrong(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"must end in \.parquet; got 'a\.csv'"):
        write_table(table, REPORT, tmp_path / "a.csv")
    with pytest.raises(ValueError, match="JSON"):
        write_table(table, {"share": float("nan")}, tmp_path / "a.parquet")
    assert list(tmp_path.iterdir()) == []


def test_cause_codes_are_read_back_by_the_shipped_configuration() -> None:
    repository = Path(__file__).resolve().parents[3]
    path = repository / "training" / "configs" / "nhanes.yaml"
    causes = read_training_configuration(path).cohort.causes
    for cause, code in CAUSE_CODES.items():
        if cause != "other":
            assert code in causes[cause]
        else:
            assert not any(code in causes[c] for c in CAUSE_CODES if c != "other")
