import pytest
from henaw.intake.words.ukb_names import (
    BIOMARKER_FIELDS,
    FIELDS,
    REPORTABILITY_FIELDS,
    Place,
    is_participant,
    parse_column,
    parse_record_column,
)
from henaw.model.biomarkers import PANEL


@pytest.mark.parametrize("field", sorted(FIELDS))
@pytest.mark.parametrize("instance", [0, 1, 3])
def test_every_convention_names_the_same_column(field, instance, extracts):
    table = {"eid": [1], Place(field, instance): [0]}
    for spelling in extracts.spellings:
        participant, column = extracts.spell(table, spelling).columns
        assert is_participant(participant), spelling
        place = parse_column(column)
        # Neither titles nor the platform write an instance where a field has none.
        if FIELDS[field].by_visit or field in (40000, 40001) or instance == 0:
            assert place == Place(field, instance), (spelling, column)
        assert parse_column(participant) is None


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("30710-0.0", Place(30710)),
        ("30710-1.2", Place(30710, 1, 2)),
        ("f.30710.1.0", Place(30710, 1)),
        ("f_30710_1_0", Place(30710, 1)),
        ("x30710_0_0", Place(30710)),
        ("X30710.0.0", Place(30710)),
        ("n_30710_0_0", Place(30710)),
        ("ts_53_2_0", Place(53, 2)),
        ("s_40001_1_0", Place(40001, 1)),
        ("c_reactive_protein_f30710_0_0", Place(30710)),
        ("p30710_i0", Place(30710)),
        ("p30710_i1_a2", Place(30710, 1, 2)),
        ("p31", Place(31)),
        ("participant.p30710_i1", Place(30710, 1)),
        ("C-reactive protein | Instance 1", Place(30710, 1)),
        ("C.reactive.protein...Instance.1", Place(30710, 1)),
        ("C-reactive protein | Instance 1 | Array 2", Place(30710, 1, 2)),
        ("C-reactive protein-1.0", Place(30710, 1)),
        ("C-reactive protein reportability | Instance 0", Place(30716)),
        ("Glycated haemoglobin (HbA1c) | Instance 0", Place(30750)),
        ("Underlying (primary) cause of death: ICD10 | Instance 1", Place(40001, 1)),
        ("Sex", Place(31)),
        (" 30710-0.0 ", Place(30710)),
    ],
)
def test_names_of_every_convention(name, place):
    assert parse_column(name) == place


@pytest.mark.parametrize(
    "name",
    [
        "30711-0.0",  # the assay date
        "130710-0.0",
        "p30711_i0",
        "Creatinine (enzymatic) in urine | Instance 0",
        "High light scatter reticulocyte percentage | Instance 0",
        "C-reactive protein assay date | Instance 0",
        "eid",
        "",
        "30710",
    ],
)
def test_other_columns_are_left_alone(name):
    assert parse_column(name) is None


@pytest.mark.parametrize(
    "name",
    ["eid", "EID", "n_eid", "f.eid", "participant.eid", "Participant ID", "Participant.ID"],
)
def test_participants_are_recognised(name):
    assert is_participant(name)


@pytest.mark.parametrize("name", ["seqn", "eid_2", "participant", "p31", "IID"])
def test_other_identifiers_are_not(name):
    assert not is_participant(name)


def test_columns_of_the_record_tables():
    names = ("ins_index", "arr_index", "level", "date_of_death", "death_cause.cause_icd10", "eid")
    found = [parse_record_column(name) for name in names]
    assert found == ["record", "array", "level", "date", "cause", None]


def test_fields_come_from_the_panel():
    assert dict(BIOMARKER_FIELDS) == {b.name: b.ukb_field for b in PANEL}
    # 30716 and its like: data-coding 4917; blood counts have none.
    assert dict(REPORTABILITY_FIELDS) == {
        "crp": 30716,
        "hba1c": 30756,
        "creatinine": 30706,
        "albumin": 30606,
        "ggt": 30736,
        "ast": 30656,
        "alt": 30626,
    }
