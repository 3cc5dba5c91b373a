import pytest
from henaw.intake.tables.layout import Layout, describe_layout, find_layout
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ScoringError


def get_units(layout: Layout) -> dict[str, tuple[str, str | None]]:
    return {b.name: (b.column, b.unit) for b in layout.biomarkers}


def test_the_panels_own_names() -> None:
    layout = find_layout(["participant_id", "x", *NAMES[::-1], "age", "sex"])
    assert layout.columns == ("participant_id", "age", "sex", *NAMES)
    assert layout.absent == ()
    assert find_layout(["sex", "age", "ggt"]).absent == tuple(n for n in NAMES if n != "ggt")


@pytest.mark.parametrize(
    ("names", "age"),
    [
        (["eid", "31-0.0", "21003-0.0", "30710-0.0", "30620-0.0"], "21003-0.0"),
        (["n_eid", "n_31_0_0", "n_21022_0_0", "n_30710_0_0", "n_30620_0_0"], "n_21022_0_0"),
        (["Participant ID", "Sex", "Age at recruitment", "C-reactive protein | Instance 0",
          "Alanine aminotransferase | Instance 0"], "Age at recruitment"),
    ],
)  # fmt: skip
def test_uk_biobank_in_its_conventions(names: list[str], age: str) -> None:
    layout = find_layout(names)
    assert (layout.participant_id, layout.sex.column, layout.age) == (names[0], names[1], age)
    assert get_units(layout) == {"crp": (names[3], "mg/L"), "alt": (names[4], "U/L")}


def test_uk_biobank_has_visits() -> None:
    names = ["eid", "p31", "p21003_i0", "p21003_i1", "p21022", "p30710_i1", "p30620_i1"]
    assert find_layout(names).age == "p21003_i1"
    both = [*names, "p30710_i0"]
    assert get_units(find_layout(both)) == {"crp": ("p30710_i0", "mg/L")}
    assert get_units(find_layout(both, visit=1)) == {
        "crp": ("p30710_i1", "mg/L"),
        "alt": ("p30620_i1", "U/L"),
    }
    with pytest.raises(ScoringError, match="at visit 2"):
        find_layout(both, visit=2)


def test_nhanes_has_units_and_codes_of_its_own() -> None:
    layout = find_layout(["SEQN", "RIAGENDR", "RIDAGEYR", "LBXHSCRP", "LBXGH"])
    assert (layout.sex.female, layout.sex.male) == (("2", "female"), ("1", "male"))
    assert get_units(layout) == {"crp": ("LBXHSCRP", "mg/L"), "hba1c": ("LBXGH", "%")}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], "got a, b. A map"),
        (["Aged", "sex", "crp"], "no column 'age'"),
        (["age", "sex", "CRP", "hsCRP"], "crp must have one column; got 'CRP', 'hsCRP'"),
        (["age", "sex", "CRP", "CRP"], "one column 'CRP'; got 2"),
        (["ages", "sex", "crp"], "is it 'ages'"),
        (["age", "sex", "crp", "crp"], "one column 'crp'; got 2"),
        (["31-0.0", "30710-0.0"], "field 21003"),
        (["p31", "p21003_i0", "p30710_i0", "30710-0.0"], "30710 at visit 0 must have one column"),
        (["p21003_i0", "p30710_i0"], r"31 \(sex\)"),
        (["LBXGH", "RIDAGEYR"], "RIAGENDR"),
    ],
)
def test_unknown_columns_are_an_error(names: list[str], message: str) -> None:
    with pytest.raises(ScoringError, match=message):
        find_layout(names)


def test_names_are_read_in_any_case_and_language() -> None:
    names = ["Patienten-ID", "Alter", "Geschlecht", "Kreatinin (mg/dl)", "GOT", "Gamma-GT [U/l]"]
    layout = find_layout(names)
    assert (layout.participant_id, layout.age, layout.sex.column) == tuple(names[:3])
    assert get_units(layout) == {
        "creatinine": ("Kreatinin (mg/dl)", "mg/dl"),
        "ggt": ("Gamma-GT [U/l]", "U/l"),
        "ast": ("GOT", "U/L"),
    }


def test_lower_case_nhanes_reads_both_of_its_crp() -> None:
    layout = find_layout(["seqn", "riagendr", "ridageyr", "lbxcrp", "lbxhscrp"])
    assert [(b.name, b.column, b.unit) for b in layout.biomarkers] == [
        ("crp", "lbxcrp", "mg/dL"),
        ("crp", "lbxhscrp", "mg/L"),
    ]


def test_a_column_of_units_beside_the_values_is_used() -> None:
    (crp,) = find_layout(["age", "sex", "crp", "crp_unit"]).biomarkers
    assert (crp.column, crp.unit, crp.unit_column) == ("crp", None, "crp_unit")


def test_columns_are_described() -> None:
    names = ["age", "sex", "crp", "CRP", "Lymphocytes", "RDW (fL)", "Sodium"]
    crp_only = describe_layout(find_layout(names), names)
    assert crp_only[0] == "not used: column 'CRP': crp is taken from another column"
    assert crp_only[1].startswith("not used: column 'Lymphocytes': another quantity has this name")
    assert crp_only[2].startswith("not used: column 'RDW (fL)': RDW-SD (fL) is another")
    assert len(crp_only) == 3
