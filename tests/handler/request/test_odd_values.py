"""Any value in any place of any request is answered or refused; none makes the server fail."""

import copy
import gc
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from henaw.model.biomarkers import NAMES

ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 7.5, 1e308, 10**400, "", "x", "\ud800", "2024-13-45", "a" * 300),
    *([], [[]], [None], [{}], [7, "x"], {}, {"": {}}, {"value": []}, {"name": []}),
    *({"parameters": {"binary_data": True}}, [{"parameters": {"binary_data": True}}]),
    *([{"name": {}, "parameters": {"binary_data": True}}], {"binary_data_size": "x"}),
)
Place = tuple[str | int, ...]


def list_places(tree: Any, place: Place = ()) -> Iterator[Place]:
    """Every place in a tree but its root."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*place, key)
        if isinstance(value, dict | list):
            yield from list_places(value, (*place, key))


def change(tree: Any, place: Place, *values: Any) -> Any:
    """A copy of the tree with another value in one place, or without that place."""
    changed = copy.deepcopy(tree)
    parent = changed
    for key in place[:-1]:
        parent = parent[key]
    if values:
        parent[place[-1]] = values[0]
    else:
        del parent[place[-1]]
    return changed


ROW = [1.2, 35.5, 79.6, 45, 29, 13.1, 22, 24, 20]
BINARY = np.array([*ROW, 54], "<f4").tobytes() + np.array([0], "<i8").tobytes()


def make_arrays() -> dict[str, Any]:
    tensors = {
        "biomarkers": ("FP32", [1, 9], ROW),
        "age": ("FP32", [1], [54]),
        "sex": ("INT64", [1], [0]),
    }
    return {
        "id": "q1",
        "model_name": "henaw",
        "parameters": {"binary_data_output": False},
        "inputs": [
            {"name": name, "datatype": datatype, "shape": shape, "data": data, "parameters": {}}
            for name, (datatype, shape, data) in tensors.items()
        ],
        "outputs": [{"name": "age_gap", "parameters": {"binary_data": False}}],
    }


REQUESTS = ("one person", "many people", "explanations", "arrays", "binary", "bundle", "hook")


@pytest.fixture
def request_of(
    request: pytest.FixtureRequest, person: dict[str, Any]
) -> tuple[str, dict[str, str], dict[str, Any]]:
    """Path, headers and tree of a valid request."""
    kind, path = request.param, "/predictions/henaw"
    headers = {"content-type": "application/json"}
    asking = {"outputs": ["age_gap", "warnings"], "unreliable": "answer"}
    if kind == "one person":
        return path, headers, {**person, **asking}
    if kind == "many people":
        return path, headers, {"instances": [person], **asking}
    if kind == "explanations":
        return "/explanations/henaw", headers, {"instances": [person]}
    if kind in ("arrays", "binary"):
        tree = make_arrays()
        if kind == "binary":
            for tensor, size in zip(tree["inputs"], (36, 4, 8), strict=True):
                del tensor["data"]
                tensor["parameters"] = {"binary_data_size": size}
        return "/v2/models/henaw/infer", headers, tree
    patient, *observations = request.getfixturevalue("make_patient")()
    if kind == "bundle":
        bundle = request.getfixturevalue("make_bundle")(patient, *observations[:2])
        return path, {"content-type": "application/fhir+json"}, bundle
    call = request.getfixturevalue("make_call")()
    # One result is enough, and takes a ninth of the time.
    call["prefetch"] |= dict.fromkeys(NAMES[1:])
    return "/cds-services/henaw", headers, call


@pytest.mark.parametrize("request_of", REQUESTS, indirect=True)
def test_no_value_in_any_place_makes_the_server_fail(
    client: Any, request_of: tuple[str, dict[str, str], dict[str, Any]]
) -> None:
    path, headers, tree = request_of
    site = client.make_site()
    binary = BINARY if "binary_data_size" in json.dumps(tree) else b""

    def ask(changed: Any) -> int:
        text = json.dumps(changed).encode()
        length = {"inference-header-content-length": str(len(text))} if binary else {}
        status: int = site.answer("POST", path, headers | length, text + binary).status
        return status

    assert ask(tree) == 200
    failed = []
    for place in list_places(tree):
        if ask(change(tree, place)) >= 500:
            failed.append((place, "left out"))
        failed += [(place, value) for value in ODD if ask(change(tree, place, value)) >= 500]
    assert not failed
    assert ask(tree) == 200, "the client was over its rate, so nothing was tried"


@pytest.mark.parametrize("request_of", REQUESTS, indirect=True)
def test_no_long_text_stays_in_memory(
    client: Any, request_of: tuple[str, dict[str, str], dict[str, Any]]
) -> None:
    path, headers, tree = request_of
    site = client.make_site()

    def weigh(place: Place) -> int:
        """The bytes that stay after three requests with a long text in one place."""
        gc.collect()
        tracemalloc.start()
        for letter in "abc":
            text = json.dumps(change(tree, place, letter * 100_000)).encode()
            site.answer("POST", path, headers, text)
        gc.collect()
        kept = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return kept

    first = next(list_places(tree))
    for changed in (tree, change(tree, first, "x")):  # Imports modules.
        site.answer("POST", path, headers, json.dumps(changed).encode())
    gc.freeze()
    try:
        assert not [place for place in list_places(tree) if weigh(place) > 200_000]
    finally:
        gc.unfreeze()
