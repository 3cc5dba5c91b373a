from pathlib import Path

import numpy as np
import pandas as pd
from henaw.training.readers.nhanes.phenoage import compute_phenoage


def test_it_is_the_shared_tables(cohort_path: Path) -> None:
    shared = pd.read_parquet(cohort_path)
    given = shared.drop(columns=["participant_id", "survey"]).astype(float)
    computed = compute_phenoage(given)
    assert (computed.notna() == given["phenoage"].notna()).all()
    assert computed.notna().sum() > 30_000
    assert (computed - given["phenoage"]).abs().max() < 1e-3


def test_what_has_no_answer_is_missing_and_warns_of_nothing() -> None:
    usual = {"albumin": 45.0, "creatinine": 80.0, "glucose_mmol": 5.0, "crp": 2.0}
    usual |= {"lymphocyte_pct": 30.0, "mcv": 90.0, "rdw": 13.0, "alp": 70.0, "wbc": 6.0}
    table = pd.DataFrame([usual | {"age": 50.0}] * 4)
    table.loc[1, "crp"] = 0.0
    table.loc[2, "wbc"] = np.nan
    table.loc[3, "wbc"] = 1e4
    assert compute_phenoage(table).isna().tolist()[:3] == [False, True, True]
    assert np.isfinite(compute_phenoage(table)[3])
