import json
from typing import Any

import numpy as np
import pytest
from henaw.handler.errors import RequestError
from henaw.handler.request.decode import decode_body
from henaw.handler.request.fast_path import read_valid
from henaw.handler.request.instances import Instances, read_instances
from henaw.model.biomarkers import NAMES, PANEL
from hypothesis import given
from hypothesis import strategies as st


def read_slowly(body: bytes) -> Instances | None:
    """Read a body by the slow path; None where it is refused."""
    try:
        return read_instances(decode_body(body), maximum_instances=10**4)
    except RequestError:
        return None


def check_same(fast: Instances, slow: Instances | None) -> None:
    assert slow is not None
    for name in ("biomarkers", "age", "sex"):
        ours, theirs = getattr(fast, name), getattr(slow, name)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_array_equal(ours, theirs)
    for name in ("form", "participant_ids", "outputs", "answer_unreliable", "request_id"):
        assert getattr(fast, name) == getattr(slow, name)


def write_arrays(n: int = 2, **extra: Any) -> dict[str, Any]:
    middle = [(b.minimum + b.maximum) / 2 for b in PANEL]
    return {
        "inputs": [
            {"name": "sex", "shape": [n], "datatype": "INT64", "data": [1] * n},
            {"name": "age", "shape": [n], "datatype": "FP32", "data": [54] * n},
            {"name": "biomarkers", "shape": [n, 9], "datatype": "FP32", "data": middle * n},
        ],
        **extra,
    }


PERSON: dict[str, Any] = {"age": 54, "sex": "male", "biomarkers": {"crp": 1.2, "alt": None}}
UNITS = {"hba1c": {"value": 5.4, "unit": "%"}, "ggt": {"value": None, "unit": "U/L"}}
NESTED = write_arrays()
NESTED["inputs"][2]["data"] = [NESTED["inputs"][2]["data"][:9], [None] * 9]
VALID = {
    "one": PERSON,
    "nothing measured": {**PERSON, "biomarkers": {}},
    "units": {**PERSON, "biomarkers": UNITS},
    "an id": {**PERSON, "participant_id": "a-17"},
    "an id with colons": {**PERSON, "participant_id": "site:4:17"},
    "no id": {**PERSON, "participant_id": None},
    "sex by code": {**PERSON, "sex": 0},
    "outputs": {**PERSON, "outputs": ["warnings", "age_gap", "age_gap"]},
    "outputs null": {**PERSON, "outputs": None},
    "unreliable answered": {**PERSON, "unreliable": "answer"},
    "unreliable withheld": {**PERSON, "unreliable": "withhold", "outputs": ["age_gap"]},
    "unreliable null": {**PERSON, "unreliable": None},
    "many, unreliable answered": {"instances": [PERSON], "unreliable": "answer"},
    "many": {"instances": [PERSON, {**PERSON, "participant_id": "x:1"}, {**PERSON, "age": 18}]},
    "many, some outputs": {"outputs": ["model"], "instances": [PERSON]},
    "nobody": {"instances": []},
    "arrays": write_arrays(),
    "arrays, some outputs": write_arrays(outputs=["imputed", {"name": "age_gap"}], id="q7"),
    "arrays by rows": NESTED,
    "empty arrays": write_arrays(0),
}


@pytest.mark.parametrize("tree", VALID.values(), ids=VALID.keys())
def test_valid_requests_are_read_as_the_slow_path_reads_them(tree: dict[str, Any]) -> None:
    for body in (json.dumps(tree).encode(), json.dumps(tree, indent=1).encode()):
        people = read_valid(body, json.loads(body))
        assert people is not None
        check_same(people, read_slowly(body))


TEXTS = st.text(alphabet='a:\\"\n', max_size=3)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.sampled_from([0, 1, 0.5, 54, 1e9, 10**400, -0.0]) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=5,
)
NUMBERS = st.one_of(*(st.floats(b.minimum * 0.9, b.maximum * 1.1) for b in PANEL))
VALUES = (
    NUMBERS
    | st.none()
    | ANYTHING
    | st.fixed_dictionaries(
        {"value": NUMBERS | ANYTHING}, optional={"unit": st.sampled_from(["%", "mg/dL", "\u00b5g"])}
    )
)
PERSONS = st.fixed_dictionaries(
    {
        "age": st.sampled_from([54, 18, 17.9, 120.0]) | ANYTHING,
        "sex": st.sampled_from(["female", "male", 0, 1, 1.0, True]) | ANYTHING,
        "biomarkers": st.dictionaries(st.sampled_from([*NAMES, "cpr"]), VALUES, max_size=9),
    },
    optional={
        "participant_id": st.sampled_from(["a", "a:b", "a\n", "a:\n", ""]) | ANYTHING,
        "outputs": st.lists(st.sampled_from(["age_gap", "model"]), max_size=2) | ANYTHING,
        "unreliable": st.sampled_from(["answer", "withhold", "both"]) | ANYTHING,
    },
)
TENSORS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["biomarkers", "age", "sex"]),
            "shape": st.lists(st.sampled_from([0, 1, 2, 9]), max_size=2),
            "datatype": st.sampled_from(["FP32", "INT64", "BOOL"]),
            "data": st.lists(st.sampled_from([0, 1, 54, None]) | ANYTHING, max_size=9),
        },
        optional={"parameters": ANYTHING},
    ),
    max_size=4,
)
TREES = (
    PERSONS
    | st.fixed_dictionaries({"instances": st.lists(PERSONS | ANYTHING, max_size=3)})
    | st.fixed_dictionaries({"inputs": TENSORS}, optional={"id": ANYTHING, "outputs": ANYTHING})
)


@given(TREES, st.booleans())
def test_what_is_read_is_what_the_slow_path_reads(tree: dict[str, Any], escaped: bool) -> None:
    body = json.dumps(tree, ensure_ascii=escaped).encode(errors="surrogatepass")
    people = read_valid(body, json.loads(body))
    if people is not None:
        check_same(people, read_slowly(body))


DOUBLED = {
    "age": b'{"age": 54, "age": 55, "sex": 0, "biomarkers": {}}',
    "a biomarker": b'{"age": 54, "sex": 0, "biomarkers": {"crp": 1, "crp": 1}}',
    "a unit": b'{"age": 54, "sex": 0, "biomarkers": {"crp": {"value": 1, "value": 2,'
    b' "unit": "mg/L"}}}',
    "with a biomarker null": b'{"age": 54, "sex": 0, "biomarkers": {"crp": 1, "crp": null}}',
    "with an escaped colon": b'{"age": 54, "sex": 0, "biomarkers": {}, "sex": 0,'
    b' "participant_id": "a\\u003ab"}',
    "instances": b'{"instances": [], "instances": []}',
    "in an instance": b'{"instances": [{"age": 54, "sex": 0, "sex": 0, "biomarkers": {}}]}',
    "in an array": json.dumps(write_arrays())
    .encode()
    .replace(b'"shape"', b'"shape": [2], "shape"', 1),
}


@pytest.mark.parametrize("body", DOUBLED.values(), ids=DOUBLED.keys())
def test_duplicate_keys_are_left_to_be_explained(body: bytes) -> None:
    assert read_valid(body, json.loads(body)) is None
    assert read_slowly(body) is None


@pytest.mark.parametrize("data", [[[1] * 9, [1] * 8], [1] * 17, [None] * 18, [[1] * 18]])
def test_arrays_of_another_shape_are_left_to_be_explained(data: list[Any]) -> None:
    tree = write_arrays()
    tree["inputs"][2 if len(data) < 18 else 1]["data"] = data
    body = json.dumps(tree).encode()
    people = read_valid(body, json.loads(body))
    assert people is None or read_slowly(body) is not None
