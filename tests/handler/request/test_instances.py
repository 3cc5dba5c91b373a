import copy
from typing import Any

import numpy as np
import pytest
from henaw.handler.errors import InvalidInputError, Problem, TooLargeError
from henaw.handler.request.instances import ANSWER_FIELDS, Form, Instances, read_instances
from henaw.model.biomarkers import INDEX, NAMES, PANEL


def read(tree: dict[str, Any], **options: Any) -> Instances:
    return read_instances(tree, **{"maximum_instances": 100, **options})


def refuse(tree: dict[str, Any], **options: Any) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInputError) as caught:
        read(tree, **options)
    return caught.value.problems


def one(tree: dict[str, Any]) -> Problem:
    problems = refuse(tree)
    assert len(problems) == 1
    return problems[0]


def test_one_person_in_mixed_units(person: dict[str, Any]) -> None:
    people = read(person)
    assert people.form is Form.ONE
    assert people.participant_ids == ("a-17",)
    assert people.outputs == ANSWER_FIELDS
    expected = [1.2, (5.4 - 2.152) / 0.09148, 0.9 * 88.42, 45, 29, 13.1, 22, 24, 20]
    np.testing.assert_array_equal(people.biomarkers, np.array([expected], np.float32))
    assert (people.biomarkers.dtype, people.age.dtype, people.sex.dtype) == (
        np.float32,
        np.float32,
        np.int64,
    )


def test_left_out_null_and_null_quantity_are_missing(person: dict[str, Any]) -> None:
    person["biomarkers"] = {"crp": None, "hba1c": {"value": None, "unit": "%"}, "alt": 20}
    expected = np.full((1, 9), np.nan, np.float32)
    expected[0, INDEX["alt"]] = 20
    np.testing.assert_array_equal(read(person).biomarkers, expected)


@pytest.mark.parametrize(
    ("sex", "code"), [("female", 0), ("male", 1), (0, 0), (1, 1), (0.0, 0), (1.0, 1)]
)
def test_sex_by_name_and_code(person: dict[str, Any], sex: object, code: int) -> None:
    assert read({**person, "sex": sex}).sex.tolist() == [code]


@pytest.mark.parametrize("sex", [True, False, "Female", "f", "", 2, -1, 0.5, None, [], {}])
def test_other_sexes_are_refused(person: dict[str, Any], sex: object) -> None:
    assert one({**person, "sex": sex}).field == "sex"


@pytest.mark.parametrize("age", [17.9, 120.1, -1, 0, True, "54", "54,5", None, [], {}, 10**400])
def test_ages_that_are_refused(person: dict[str, Any], age: object) -> None:
    assert one({**person, "age": age}).field == "age"


@pytest.mark.parametrize("age", [18, 18.0, 120, 54.25])
def test_ages_that_are_accepted(person: dict[str, Any], age: float) -> None:
    assert read({**person, "age": age}).age.tolist() == [age]


@pytest.mark.parametrize("biomarker", PANEL, ids=NAMES)
def test_the_range_is_accepted_to_its_ends_and_not_beyond(
    person: dict[str, Any], biomarker: Any
) -> None:
    for value in (biomarker.minimum, biomarker.maximum):
        person["biomarkers"] = {biomarker.name: value}
        read(person)
    for value in (np.nextafter(biomarker.minimum, 0), biomarker.maximum * 1.0001, 0, -1, 10**400):
        person["biomarkers"] = {biomarker.name: value}
        assert one(person).code == "implausible"


@pytest.mark.parametrize("value", [True, False, "12", [], [1]])
def test_only_numbers_are_numbers(person: dict[str, Any], value: object) -> None:
    person["biomarkers"] = {"crp": value}
    assert one(person).code == "type"
    person["biomarkers"] = {"crp": {"value": value, "unit": "mg/L"}}
    assert one(person).code == "type"


def test_a_decimal_comma_is_explained(person: dict[str, Any]) -> None:
    person["biomarkers"] = {"crp": "12,5"}
    problem = one(person)
    assert (
        problem.message == 'crp must be a number; got the string "12,5", which has a decimal comma'
    )
    assert problem.hint == "write 12.5"


def test_a_likely_unit_is_suggested(person: dict[str, Any]) -> None:
    person["biomarkers"] = {"creatinine": 0.9}
    problem = one(person)
    assert problem == Problem(
        instance=0,
        field="biomarkers.creatinine",
        code="implausible",
        message="creatinine must be 5 to 2000 umol/L; got 0.9",
        hint="as mg/dL it would be 79.6 umol/L: give the unit",
    )


def test_a_wrong_unit_is_recognised(person: dict[str, Any]) -> None:
    person["biomarkers"] = {"creatinine": {"value": 80, "unit": "mg/dL"}}
    problem = one(person)
    assert problem.message == (
        "creatinine must be 5 to 2000 umol/L; got 80 mg/dL, which is 7073.6 umol/L"
    )
    assert problem.hint == "as umol/L it would be 80 umol/L: check the unit"


@pytest.mark.parametrize("unit", ["µmol/L", "\u03bcmol/L", "umol/l", " UMOL/L "])
def test_spellings_of_a_unit(person: dict[str, Any], unit: str) -> None:
    person["biomarkers"] = {"creatinine": {"value": 80, "unit": unit}}
    assert read(person).biomarkers[0, INDEX["creatinine"]] == 80


@pytest.mark.parametrize(
    ("name", "unit", "why"),
    [
        ("rdw", "fL", "RDW-SD"),
        ("lymphocyte_pct", "10*9/L", "count"),
        ("crp", "furlong", "mg/L, mg/dL"),
        ("crp", "x" * 1000, "name of a unit"),
        ("crp", 7, "name of a unit"),
    ],
)
def test_refused_units_give_the_reason(
    person: dict[str, Any], name: str, unit: object, why: str
) -> None:
    person["biomarkers"] = {name: {"value": 20, "unit": unit}}
    problem = one(person)
    assert problem.field == f"biomarkers.{name}.unit"
    assert why in problem.message


@pytest.mark.parametrize(
    ("name", "meant"), [("gt", "ggt"), ("gamma-GT", "ggt"), ("creatinin", "creatinine")]
)
def test_a_misspelt_biomarker_is_recognised(person: dict[str, Any], name: str, meant: str) -> None:
    person["biomarkers"] = {name: 20}
    assert one(person).hint == f"did you mean {meant}?"


@pytest.mark.parametrize(
    ("extra", "hint"),
    [
        ({"sexe": "male"}, "did you mean sex?"),
        ({"crp": 1.2}, 'write crp inside "biomarkers"'),
        ({"zzzz": 1}, None),
    ],
)
def test_unknown_fields_are_refused(
    person: dict[str, Any], extra: dict[str, object], hint: str | None
) -> None:
    problem = one({**person, **extra})
    assert (problem.code, problem.hint) == ("unknown_field", hint)


@pytest.mark.parametrize("field", ["age", "sex", "biomarkers"])
def test_required_fields(person: dict[str, Any], field: str) -> None:
    del person[field]
    problem = one(person)
    assert (problem.field, problem.code) == (field, "missing")


@pytest.mark.parametrize("identity", ["", "a b", "x" * 65, "é", 7, "a\n"])
def test_participant_ids_that_are_refused(person: dict[str, Any], identity: object) -> None:
    problem = one({**person, "participant_id": identity})
    assert problem.field == "participant_id"
    # The message does not repeat the id.
    assert str(identity) == "" or str(identity) not in problem.message


def test_every_problem_of_every_instance_is_listed(person: dict[str, Any]) -> None:
    wrong = copy.deepcopy(person)
    wrong["age"], wrong["biomarkers"]["crp"] = 500, "1"
    problems = refuse({"instances": [person, wrong, 7, wrong]})
    assert [(p.instance, p.field) for p in problems] == [
        (1, "age"),
        (1, "biomarkers.crp"),
        (2, ""),
        (3, "age"),
        (3, "biomarkers.crp"),
    ]


def test_the_search_ends_at_the_hundredth_problem(person: dict[str, Any]) -> None:
    person["biomarkers"] = dict.fromkeys(NAMES, -1)
    with pytest.raises(InvalidInputError, match="at least 100 problems; the first 100") as caught:
        read({"instances": [person] * 30})
    assert len(caught.value.problems) == 100


def test_many_people(person: dict[str, Any]) -> None:
    other = {"age": 60, "sex": "male", "biomarkers": {}}
    people = read({"instances": [person, other], "outputs": ["warnings", "age_gap"]})
    assert (people.form, len(people)) == (Form.MANY, 2)
    assert people.participant_ids == ("a-17", None)
    assert people.outputs == ("age_gap", "warnings")


def test_no_people() -> None:
    people = read({"instances": []})
    assert people.biomarkers.shape == (0, 9)


def test_too_many_people(person: dict[str, Any]) -> None:
    with pytest.raises(TooLargeError, match="at most 2 people; got 3"):
        read({"instances": [person] * 3}, maximum_instances=2)


@pytest.mark.parametrize("outputs", [[], "age_gap", {}, ["age_gab"], [7], ["age_gap", "x"]])
def test_outputs_that_are_refused(person: dict[str, Any], outputs: object) -> None:
    assert one({**person, "outputs": outputs}).field == "outputs"


@pytest.mark.parametrize("instances", [None, {}, 7, "x"])
def test_instances_must_be_an_array(instances: object) -> None:
    assert one({"instances": instances}).field == "instances"


def test_outputs_belong_beside_the_instances(person: dict[str, Any]) -> None:
    assert one({"instances": [{**person, "outputs": ["age_gap"]}]}).field == "outputs"


def test_explanations_are_given_in_full(person: dict[str, Any]) -> None:
    assert refuse({**person, "outputs": ["age_gap"]}, explain=True)[0].field == "outputs"
