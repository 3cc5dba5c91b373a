import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from henaw.handler.exchange import Request
from henaw.handler.request.tensors import count_rows
from henaw.model.biomarkers import NAMES
from henaw.model.runtime import OUTPUT_NAMES


def write(biomarkers: Any, age: Any, sex: Any, **extra: Any) -> dict[str, Any]:
    n = len(age)
    return {
        "inputs": [
            {"name": "biomarkers", "shape": [n, 9], "datatype": "FP32", "data": biomarkers},
            {"name": "age", "shape": [n], "datatype": "FP32", "data": age},
            {"name": "sex", "shape": [n], "datatype": "INT64", "data": sex},
        ],
        **extra,
    }


ROW = [1.2, 35.5, 79.6, 45, 29, 13.1, 22, 24, 20]
GAPS = [None, 40, None, 41, 30, 14, 60, None, 33]


def test_arrays_answer_what_people_do(client: Any, read: Callable[[Any], Any]) -> None:
    tensors = read(client.send(write(ROW + GAPS, [54, 70], [0, 1], id="q7")))
    people = read(
        client.send(
            {
                "instances": [
                    {"age": 54, "sex": 0, "biomarkers": dict(zip(NAMES, ROW, strict=True))},
                    {"age": 70, "sex": 1, "biomarkers": dict(zip(NAMES, GAPS, strict=True))},
                ]
            }
        )
    )
    outputs = {tensor["name"]: tensor for tensor in tensors["outputs"]}
    assert tuple(outputs) == OUTPUT_NAMES
    assert tensors["id"] == "q7"
    assert tensors["model_name"] == "henaw"
    for name in ("biological_age", "mortality_10y"):
        expected = [answer[name] for answer in people["predictions"]]
        np.testing.assert_allclose(outputs[name]["data"], expected, atol=1e-5)
    assert outputs["imputed"] == {
        "name": "imputed",
        "shape": [2, 9],
        "datatype": "BOOL",
        "data": [value is None for value in ROW + GAPS],
    }


def test_nested_rows_are_read_like_flat_ones(client: Any, read: Callable[[Any], Any]) -> None:
    flat, nested = client.send(
        write(ROW + GAPS, [54, 70], [0, 1]), write([ROW, GAPS], [54, 70], [0, 1])
    )
    for one, other in zip(read(flat)["outputs"], read(nested)["outputs"], strict=True):
        # The last digits may depend on the place of a row in the batch.
        assert one == {**other, "data": pytest.approx(other["data"], abs=1e-4)}


def test_people_are_counted_where_they_are_read(client: Any, read: Callable[[Any], Any]) -> None:
    """Values in the JSON count, whatever number of binary ones is declared beside them."""
    body = write([[1.0] * 9] * 3, [54] * 3, [0] * 3)
    for tensor in body["inputs"]:
        tensor["parameters"] = {"binary_data_size": 0}
    assert count_rows(body) == 3


def test_no_rows(client: Any, read: Callable[[Any], Any]) -> None:
    answer = read(client.send(write([], [], [])))
    assert answer["outputs"][2]["shape"] == [0, 2]


def test_asked_outputs_only(client: Any, read: Callable[[Any], Any]) -> None:
    answer = read(client.send(write(ROW, [54], [0], outputs=[{"name": "age_gap"}])))
    names = [tensor["name"] for tensor in answer["outputs"]]
    # The last two are always answered: arrays have no nulls, so nothing is withheld in them.
    assert names == ["age_gap", "critical", "reliable"]


def test_nothing_is_withheld(client: Any, read: Callable[[Any], Any]) -> None:
    critical = [400.0, *ROW[1:]]
    answer = read(client.send(write([*critical, *ROW], [54, 54], [0, 0])))
    outputs = {tensor["name"]: tensor["data"] for tensor in answer["outputs"]}
    assert None not in outputs["biological_age"]
    assert outputs["reliable"] == [False, True]
    assert outputs["critical"] == [True, *[False] * 17]


def without(field: str) -> dict[str, Any]:
    tree = write(ROW, [54], [0])
    del tree["inputs"][0][field]
    return tree


BAD: dict[str, tuple[Any, str]] = {
    "inputs not an array": ({"inputs": 7}, "inputs"),
    "input not an object": ({"inputs": [7]}, "inputs"),
    "unknown field": (write(ROW, [54], [0], input=1), "input"),
    "unknown input": ({"inputs": [{"name": "agee"}]}, "inputs.name"),
    "missing input": ({"inputs": write(ROW, [54], [0])["inputs"][:2]}, "inputs.sex"),
    "input given twice": ({"inputs": write(ROW, [54], [0])["inputs"] * 2}, "inputs.biomarkers"),
    "no shape": (without("shape"), "inputs.biomarkers.shape"),
    "no datatype": (without("datatype"), "inputs.biomarkers.datatype"),
    "no data": (without("data"), "inputs.biomarkers.data"),
    "wrong length": (write(ROW[:8], [54], [0]), "inputs.biomarkers.shape"),
    "different lengths": (write(ROW, [54], [0, 1]), "inputs.sex.shape"),
    "a string": (write(["1.2", *ROW[1:]], [54], [0]), "biomarkers.crp"),
    "a boolean": (write([*ROW[:8], True], [54], [0]), "biomarkers.alt"),
    "an implausible value": (write([*ROW[:2], 0.9, *ROW[3:]], [54], [0]), "biomarkers.creatinine"),
    "an implausible age": (write(ROW, [7], [0]), "age"),
    "no age": (write(ROW, [None], [0]), "age"),
    "a boolean age": (write(ROW, [True], [0]), "age"),
    "another sex": (write(ROW, [54], [2]), "sex"),
    "a fractional sex": (write(ROW, [54], [0.5]), "sex"),
    "as large as a float can be": (write([1e308, *ROW[1:]], [54], [0]), "biomarkers.crp"),
    "unknown output": (write(ROW, [54], [0], outputs=[{"name": "agegap"}]), "outputs"),
    "outputs not an array": (write(ROW, [54], [0], outputs="age_gap"), "outputs"),
    "id not a string": (write(ROW, [54], [0], id=7), "id"),
}


@pytest.mark.parametrize(("tree", "field"), BAD.values(), ids=BAD.keys())
def test_wrong_arrays_are_refused(
    client: Any, read: Callable[[Any], Any], tree: Any, field: str
) -> None:
    response = client.send(tree)
    assert response.status == 422
    assert field in [problem["field"] for problem in read(response)["errors"]]


def test_a_problem_names_its_row(client: Any, read: Callable[[Any], Any]) -> None:
    response = client.send(write([*ROW, *ROW[:2], 0.9, *ROW[3:]], [54, 70], [0, 1]))
    assert read(response)["errors"] == [
        {
            "instance": 1,
            "field": "biomarkers.creatinine",
            "code": "implausible",
            "message": "creatinine must be 5 to 2000 umol/L; got 0.9",
            "hint": "as mg/dL it would be 79.6 umol/L: arrays are in umol/L",
        }
    ]


def test_only_arrays_are_followed_by_binary_values(client: Any, person: dict[str, Any]) -> None:
    for tree, kind in (
        (person, "json"),
        ({"instances": [person]}, "json"),
        ({"resourceType": "Bundle"}, "fhir+json"),
    ):
        text = json.dumps(tree).encode()
        headers = {
            "content-type": f"application/{kind}",
            "inference-header-content-length": str(len(text)),
        }
        request = Request(body=text + b"\0\0", headers=headers, request_id="r")
        (response,) = client.service.answer([request])
        assert response.status == 400
        assert b"Only arrays" in response.body
