"""What names mean, of tests, of columns and of specimens."""

import pytest
from henaw.intake.words.names import find_biomarker, is_blood, read_header
from henaw.model.biomarkers import PANEL, Biomarker
from henaw.model.panel.folding import fold_name

every = pytest.mark.parametrize("biomarker", PANEL, ids=lambda biomarker: biomarker.name)


@every
def test_a_synonym_means_its_biomarker(biomarker: Biomarker) -> None:
    for name in (biomarker.name, biomarker.label, *biomarker.synonyms):
        assert find_biomarker(name, with_unit=False) == biomarker.name
        assert find_biomarker(f"{name}, serum", with_unit=False) in (biomarker.name, None)
        header = read_header(name.upper())
        assert header is not None
        assert (header.biomarker, header.problem) == (biomarker.name, None)


@every
def test_a_name_that_others_share_needs_a_unit(biomarker: Biomarker) -> None:
    for name in biomarker.shared_synonyms:
        assert find_biomarker(name, with_unit=False) is None
        assert find_biomarker(name, with_unit=True) == biomarker.name
        header = read_header(f"{name} ({biomarker.unit})")
        assert header is not None
        assert header.unit in (biomarker.unit, None)
        assert header.problem is None


def test_no_name_means_two_biomarkers() -> None:
    seen: dict[str, str] = {}
    for biomarker in PANEL:
        for name in (biomarker.label, *biomarker.synonyms, *biomarker.shared_synonyms):
            assert seen.setdefault(fold_name(name), biomarker.name) == biomarker.name


@pytest.mark.parametrize(
    "name",
    [
        *("Creatinine, Urine", "Urine albumin", "Albumin/Creatinine ratio", "AST/ALT", "eGFR"),
        *("Creatinine clearance", "Creatine kinase", "Prealbumin", "Microalbumin", "LYM#"),
        *("Lymphocytes absolute", "RDW-SD", "Hemoglobin", "HbA1c target", "CRP date"),
        *("Creatinina urinaria", "Kreatinin im Urin", "Albumin im Liquor", "alto", "a", ""),
    ],
)
def test_similar_names_are_other_tests(name: str) -> None:
    assert find_biomarker(name, with_unit=True) is None
    header = read_header(name)
    assert header is None or header.problem is not None


@pytest.mark.parametrize(
    ("column", "biomarker", "unit"),
    [
        ("CRP (mg/L)", "crp", "mg/L"),
        ("crp_mg_dl", "crp", "mg/dl"),
        ("CRP mg/L", "crp", "mg/L"),
        ("Kreatinin [\u00b5mol/l]", "creatinine", "\u00b5mol/l"),
        ("HbA1c %", "hba1c", "%"),
        ("hba1c_mmol_mol", "hba1c", "mmol/mol"),
        ("% Lymphocytes", "lymphocyte_pct", None),
        ("LYM%", "lymphocyte_pct", None),
        ("ALT_U_L", "alt", "U/L"),
        ("\u03b3-GT (U/l)", "ggt", "U/l"),
    ],
)
def test_a_column_may_name_its_unit(column: str, biomarker: str, unit: str | None) -> None:
    header = read_header(column)
    assert header is not None
    assert (header.biomarker, header.unit, header.problem) == (biomarker, unit, None)


@pytest.mark.parametrize("name", ["Serum", "PLASMA", "EDTA-Vollblut", "Ser/Plas", "suero", "siero"])
def test_blood_is_blood_in_any_language(name: str) -> None:
    assert is_blood(name)


@pytest.mark.parametrize("name", ["Urine", "Urin", "24h urine", "CSF", "Liquor", "saliva", "stool"])
def test_other_specimens_are_not_blood(name: str) -> None:
    assert not is_blood(name)
