import pytest
from henaw.model.biomarkers import (
    INDEX,
    NAMES,
    PANEL,
    SYSTEMS,
    Biomarker,
    check_names,
    suggest_name,
)
from henaw.model.errors import PanelError

BY_NAME: dict[str, Biomarker] = {biomarker.name: biomarker for biomarker in PANEL}
SHARES = ("lymphocyte_pct", "rdw")


@pytest.mark.parametrize(
    ("name", "value", "unit", "expected"),
    [
        ("crp", 0.5, "mg/dL", 5.0),
        ("hba1c", 5.4, "%", 35.505),
        ("hba1c", 6.5, "% NGSP", 47.53),
        ("hba1c", 6.5, "%{Hb}", 47.53),
        ("creatinine", 1.0, "mg/dl", 88.42),
        ("albumin", 4.3, "g/dL", 43.0),
        ("lymphocyte_pct", 0.31, "fraction", 31.0),
        ("ggt", 0.5, "ukat/L", 30.0),
        ("ast", 0.5, "\u00b5kat/L", 30.0),
        ("alt", 0.5, "\u03bckat/L", 30.0),
        ("alt", 500, "nkat/L", 30.0),
        ("albumin", 4.3, "gm/dL", 43.0),
        ("albumin", 4.3, "g%", 43.0),
        ("albumin", 4.3, "grams per deciliter", 43.0),
        ("crp", 0.5, "mg/100 mL", 5.0),
        ("creatinine", 1.0, "mg%", 88.42),
        ("creatinine", 10.0, "mg/L", 88.42),
        ("hba1c", 5.4, "% of total Hgb", 35.505),
        ("hba1c", 5.4, "% (NGSP)", 35.505),
        ("hba1c", 5.4, "%{HemoglobinA1C}", 35.505),
        ("hba1c", 5.4, "% (whole blood)", 35.505),
        ("lymphocyte_pct", 0.31, "L/L", 31.0),
        ("lymphocyte_pct", 0.31, "1", 31.0),
        ("lymphocyte_pct", 0.31, "{ratio}", 31.0),
    ],
)
def test_converts_other_units(name: str, value: float, unit: str, expected: float) -> None:
    conversion = BY_NAME[name].find_unit(unit)
    assert conversion.to_si(value) == pytest.approx(expected, abs=0.005)
    assert conversion.from_si(conversion.to_si(value)) == pytest.approx(value)


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("creatinine", "umol/L"),
        ("creatinine", "\u00b5mol/L"),
        ("creatinine", "\u03bcmol/l"),
        ("creatinine", " mcmol / L "),
        ("ggt", "U/L"),
        ("ggt", "IU/L"),
        ("ast", "iu/l"),
        ("ast", "UI/L"),
        ("alt", "[IU]/L"),
        ("rdw", "percent"),
        ("lymphocyte_pct", "\uff05"),
        ("crp", "MG/L"),
        ("albumin", "G/L"),
        ("albumin", "gm/L"),
        ("albumin", "mg/mL"),
        ("crp", "ug/mL"),
        ("crp", "\u00b5g/mL"),
        ("crp", "mcg/mL"),
        ("crp", "milligram per liter"),
        ("creatinine", "micromoles per litre"),
        ("creatinine", "\u00b5mol\u00b7L\u207b\u00b9"),
        ("creatinine", "nmol/mL"),
        ("hba1c", "mmol/mol Hb"),
        ("hba1c", "mmol/mol{Hb}"),
        ("hba1c", "mmol mol\u207b\u00b9"),
        ("hba1c", "millimole per mole"),
        ("ggt", "Units/L"),
        ("ggt", "units per liter"),
        ("ggt", "E/L"),
        ("ggt", "mIU/mL"),
        ("ast", "U L-1"),
        ("ast", "U/L (37 \u00b0C)"),
        ("alt", "umol/(min.L)"),
        ("lymphocyte_pct", "10*-2"),
        ("lymphocyte_pct", "10\u207b\u00b2"),
        ("lymphocyte_pct", "% of WBC"),
        ("lymphocyte_pct", "%{leukocytes}"),
        ("rdw", "% (CV)"),
    ],
)
def test_spellings_of_the_panel_unit_leave_the_value_alone(name: str, spelling: str) -> None:
    assert BY_NAME[name].find_unit(spelling).to_si(7.25) == 7.25


@pytest.mark.parametrize("biomarker", PANEL, ids=lambda biomarker: biomarker.name)
def test_every_listed_unit_is_found(biomarker: Biomarker) -> None:
    for unit in biomarker.units:
        assert biomarker.find_unit(unit).factor > 0


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize(
    "spelling",
    [
        "10*9/L",
        "10^9/L",
        "10**9/L",
        "x10^9/L",
        "x 10^9 / L",
        "\u00d710^9/L",
        "\u00d710\u2079/L",
        "10\u2079/l",
        "10e9/L",
        "10E9/L",
        "1e9/L",
        "10exp9/L",
        "10^9 cells/L",
        "10^9 per L",
        "10\u2079 L\u207b\u00b9",
        "10^9 L-1",
        "10*3/uL",
        "x10^3/\u00b5L",
        "10^3/\u03bcL",
        "10^3/mm3",
        "10^3/mm\u00b3",
        "K/uL",
        "thou/uL",
        "Giga/L",
        "Gpt/L",
        "1/nL",
        "/nL",
        "/uL",
        "/mm^3",
        "cells/uL",
        "cells/cumm",
        "#/uL",
    ],
)
def test_a_count_per_volume_is_refused_as_a_share(name: str, spelling: str) -> None:
    with pytest.raises(PanelError, match=rf"is a count per volume; {name} is in %, a share"):
        BY_NAME[name].find_unit(spelling)


@pytest.mark.parametrize("spelling", ["G/L", "g/l"])
def test_giga_per_litre_is_refused_as_a_share_of_lymphocytes(spelling: str) -> None:
    with pytest.raises(PanelError, match="giga per litre"):
        BY_NAME["lymphocyte_pct"].find_unit(spelling)


def test_a_count_is_refused_with_the_unit_where_no_share_is_meant() -> None:
    with pytest.raises(PanelError, match=r"10\^9/L is a count per volume; crp is in mg/L$"):
        BY_NAME["crp"].find_unit("10^9/L")


@pytest.mark.parametrize("spelling", ["fL", "fl", " FL "])
def test_rdw_sd_is_refused_with_the_reason(spelling: str) -> None:
    with pytest.raises(PanelError, match=r"RDW-SD .*cannot be converted.*give RDW-CV"):
        BY_NAME["rdw"].find_unit(spelling)


@pytest.mark.parametrize("spelling", ["% (JDS)", "%{JDS}", "% Mono S"])
def test_a_percentage_on_another_scale_is_refused(spelling: str) -> None:
    with pytest.raises(PanelError, match="lower than the NGSP's"):
        BY_NAME["hba1c"].find_unit(spelling)


@pytest.mark.parametrize("spelling", ["1", "L/L", "mol/mol", "{ratio}"])
def test_a_fraction_of_hba1c_is_refused_as_its_scale_is_not_known(spelling: str) -> None:
    with pytest.raises(PanelError, match=r"give % \(NGSP\) or mmol/mol"):
        BY_NAME["hba1c"].find_unit(spelling)


@pytest.mark.parametrize("spelling", ["mg/dL", "mmol/L"])
def test_an_estimated_average_glucose_is_refused_as_hba1c(spelling: str) -> None:
    with pytest.raises(PanelError, match=f"{spelling} is a unit of the estimated average glucose"):
        BY_NAME["hba1c"].find_unit(spelling)


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("crp", "g/L"),
        ("crp", ""),
        ("crp", "nmol/L"),
        ("ggt", "mg/L"),
        ("ggt", "kU/L"),
        ("ggt", "U/mL"),
        ("hba1c", "furlong"),
        ("creatinine", "mmol/L"),
        ("albumin", "mg/dL"),
        ("rdw", "fraction"),
    ],
)
def test_an_unknown_unit_is_refused_with_those_accepted(name: str, spelling: str) -> None:
    with pytest.raises(PanelError) as caught:
        BY_NAME[name].find_unit(spelling)
    (problem,) = caught.value.problems
    assert problem.endswith(f"; got {spelling!r}")
    assert all(unit in problem for unit in BY_NAME[name].units)


def test_the_panel_is_the_contract() -> None:
    order = "crp hba1c creatinine albumin lymphocyte_pct rdw ggt ast alt"
    assert " ".join(NAMES) == order
    assert [INDEX[name] for name in NAMES] == list(range(9))
    units = [biomarker.unit for biomarker in PANEL]
    assert units == ["mg/L", "mmol/mol", "umol/L", "g/L", "%", "%", "U/L", "U/L", "U/L"]


@pytest.mark.parametrize("biomarker", PANEL, ids=lambda biomarker: biomarker.name)
def test_accepted_ranges_are_positive_intervals(biomarker: Biomarker) -> None:
    assert 0 < biomarker.minimum < biomarker.maximum
    assert biomarker.loinc
    assert biomarker.ukb_field is None or biomarker.ukb_field > 30000


def test_the_systems_cover_the_panel() -> None:
    assert len(SYSTEMS) == 4
    assert {name for members in SYSTEMS.values() for name in members} == set(NAMES)


def test_a_row_of_the_panel_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PANEL[0].other_units["g/L"] = PANEL[0].other_units["mg/dL"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        PANEL[0].minimum = 0.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("unknown", "expected"), [("creatinin", "creatinine"), ("CRP", "crp"), ("zzz", None)]
)
def test_suggests_the_nearest_name(unknown: str, expected: str | None) -> None:
    assert suggest_name(unknown) == expected


def test_check_names_accepts_the_panel() -> None:
    check_names(list(NAMES), subject="panel")


def test_check_names_lists_every_problem() -> None:
    names = ["crp", "crp", "hba1", "creatinine", "lymphocyte_pct", "rdw", "ggt", "ast", "zzz"]
    with pytest.raises(PanelError) as caught:
        check_names(names, subject="a file")
    assert caught.value.subject == "a file"
    assert set(caught.value.problems) == {
        "crp is listed 2 times",
        "unknown biomarker 'hba1': did you mean hba1c?",
        "unknown biomarker 'zzz'",
    }


def test_check_names_accepts_some_of_the_panel_and_refuses_none() -> None:
    check_names(["crp", "alt"], subject="panel")
    with pytest.raises(PanelError, match="list at least one of crp"):
        check_names([], subject="panel")


def test_check_names_refuses_another_order() -> None:
    with pytest.raises(PanelError, match=r"order must be crp, hba1c.*got alt, ast"):
        check_names(NAMES[::-1], subject="panel")
