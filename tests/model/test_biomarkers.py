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


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        ("crp", "g/L"),
        ("crp", ""),
        ("crp", "nmol/L"),
        ("ggt", "mg/L"),
        ("ggt", "kU/L"),
        ("creatinine", "mmol/L"),
        ("hba1c", "mmol/L"),
        ("albumin", "mg/dL"),
        ("rdw", "fraction"),
    ],
)
def test_an_unknown_unit_is_refused_with_those_accepted(name: str, spelling: str) -> None:
    with pytest.raises(PanelError) as caught:
        BY_NAME[name].find_unit(spelling)
    (problem,) = caught.value.problems
    assert f"however: unit={spelling!r}" in problem
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
    assert biomarker.ukb_field > 30000


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
        "missing biomarker 'hba1c'",
        "missing biomarker 'albumin'",
        "missing biomarker 'alt'",
    }


def test_check_names_refuses_another_order() -> None:
    with pytest.raises(PanelError, match=r"order must be crp, hba1c.*however: alt, ast"):
        check_names(NAMES[::-1], subject="panel")
