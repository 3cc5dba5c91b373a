import pytest
from henaw.intake.words.near_names import find_near_names
from henaw.model.biomarkers import NAMES


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Lymphocyts", "lymphocyte_pct"),
        ("Lymphocytes (10*9/L)", "lymphocyte_pct"),
        ("lymphocyte_count", "lymphocyte_pct"),
        ("creatinin_mgdl", "creatinine"),
        ("Albumn", "albumin"),
        ("CRP_value", "crp"),
        ("crp_baseline", "crp"),
        ("HBA1C.1", "hba1c"),
        ("gamma_glutamyl_transferase", "ggt"),
        ("Aspartat aminotransferase", "ast"),
        ("RDW-SD", "rdw"),
        ("C reaktive protein", "crp"),
    ],
)
def test_a_name_that_is_nearly_known_is_found(name: str, meant: str) -> None:
    assert [tuple(near) for near in find_near_names([name], NAMES)] == [(name, meant)]
    assert not find_near_names([name], [other for other in NAMES if other != meant])


def test_other_tests_and_columns_are_left_alone() -> None:
    others = [
        *("Creatine", "creatine kinase", "prealbumin", "microalbumin", "albumin_urine", "eGFR"),
        *("Albumin/creatinine ratio", "creatinine clearance", "albumin_globulin_ratio", "ALP"),
        *("hemoglobin", "Hämoglobin", "bilirubin", "neutrophils", "monocytes", "erythrocyte count"),
        *("crp_date", "crp_unit", "hba1c_flag", "ast_uln", "weight", "bmi", "name", "city", "salt"),
        *("basalt", "last_visit", "result", "breast", "glucose", "cholesterol", "platelets", "wbc"),
        *("site", "smoking", "followup_months", "death", "urea", "ferritin", "vitamin d", "mcv"),
    ]
    assert find_near_names(others, NAMES) == []
