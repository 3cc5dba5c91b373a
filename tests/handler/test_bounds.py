"""The limits of a request and of a batch, and what they cost a client."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from henaw.handler.configuration import Bucket, Limits, ThrottleConfiguration
from henaw.handler.errors import InvalidInputError, MalformedBodyError, OverloadedError
from henaw.handler.problems import describe_error
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ConfigurationError

CRITICAL = dict(zip(NAMES, (499, 199, 1999, 11, 98, 39, 4900, 9900, 9900), strict=True))


def write_arrays(n: int, *, nested: bool) -> dict[str, Any]:
    def nest(values: list[Any]) -> list[Any]:
        return [values] if nested else values

    return {
        "inputs": [
            {"name": "biomarkers", "shape": [n, 9], "datatype": "FP32", "data": [[45] * 9] * n},
            {"name": "age", "shape": [n], "datatype": "FP32", "data": nest([54] * n)},
            {"name": "sex", "shape": [n], "datatype": "INT64", "data": nest([0] * n)},
        ]
    }


@pytest.mark.parametrize("nested", [False, True])
def test_people_are_counted_at_any_depth_of_values(
    make_client: Callable[..., Any], nested: bool
) -> None:
    client = make_client(limits=Limits(instances=10, batch_s=60))
    assert client.send(write_arrays(10, nested=nested)).status in (200, 422)
    assert client.send(write_arrays(11, nested=nested)).status == 413


@pytest.mark.parametrize("nested", [False, True])
def test_people_are_paid_for_at_any_depth_of_values(
    make_client: Callable[..., Any], nested: bool
) -> None:
    bucket = Bucket(rate=10, period_s=3600, burst=10)
    client = make_client(throttle=ThrottleConfiguration(anonymous=bucket, cost_per_instance=0.5))
    assert client.send(write_arrays(12, nested=nested)).headers["RateLimit-Remaining"] == "4"


def test_the_size_of_a_body_is_paid_for(
    make_client: Callable[..., Any], person: dict[str, Any], read: Callable[[Any], Any]
) -> None:
    bucket = Bucket(rate=10, period_s=3600, burst=10)
    client = make_client(throttle=ThrottleConfiguration(anonymous=bucket, cost_per_instance=0.5))
    small, large = (json.dumps(person).encode().ljust(size) for size in (1_000, 12 * 1024))
    assert client.send(small).headers["RateLimit-Remaining"] == "9"
    assert client.send(large).headers["RateLimit-Remaining"] == "3"
    assert client.send(large).status == 429
    # Before the body is decoded.
    refused = client.send(b"[" * 30_000)
    assert refused.status == 413
    assert "each 1024 bytes of the body as 1" in read(refused)["detail"]


def test_the_size_of_an_answer_is_paid_for(
    make_client: Callable[..., Any], person: dict[str, Any]
) -> None:
    bucket = Bucket(rate=10, period_s=3600, burst=10)
    throttle = ThrottleConfiguration(anonymous=bucket, cost_per_instance=0.5)
    extreme = {"crp": 450, "creatinine": 1900, "albumin": 11, "ggt": 4900, "ast": 9900}
    ill = {**person, "biomarkers": extreme}

    def ask(client: Any, people: dict[str, Any], count: int) -> tuple[int, int, int]:
        response = client.send({"instances": [people] * count})
        remaining = int(response.headers["RateLimit-Remaining"])
        return response.status, remaining, int(response.headers.get("Retry-After", 0))

    assert ask(make_client(throttle=throttle), person, 8) == (200, 6, 0)
    client = make_client(throttle=throttle)
    status, remaining, _ = ask(client, ill, 8)
    assert (status, remaining) == (200, 2)
    # The people are paid, their answers are not; the next try needs the tokens for both.
    status, remaining, retry_after_s = ask(client, ill, 4)
    assert (status, remaining) == (429, 0)
    assert retry_after_s > 2 * 360
    # A full bucket pays any answer.
    assert ask(make_client(throttle=throttle), ill, 20) == (200, 0, 0)


def test_explanations_are_paid_for(make_client: Callable[..., Any], person: dict[str, Any]) -> None:
    bucket = Bucket(rate=10, period_s=3600, burst=10)
    client = make_client(throttle=ThrottleConfiguration(anonymous=bucket, cost_per_instance=0.5))
    people = {"instances": [person] * 4}
    assert client.send(people, explain=True).headers["RateLimit-Remaining"] == "4"


def test_spellings_of_units_are_limited(client: Any, read: Callable[[Any], Any]) -> None:
    def write(spellings: int) -> dict[str, Any]:
        people = [
            {"age": 54, "sex": 0, "biomarkers": {"crp": {"value": 1, "unit": f"mg/L (a{place})"}}}
            for place in range(spellings)
        ]
        return {"instances": people}

    assert client.send(write(64)).status == 200
    refused = client.send(write(65))
    assert refused.status == 422
    assert "at most 64 different spellings of units" in read(refused)["errors"][0]["message"]


@pytest.mark.parametrize("explain", [False, True])
def test_an_answer_that_would_be_too_large_is_refused_before_it_is_written(
    make_client: Callable[..., Any], person: dict[str, Any], read: Callable[[Any], Any],
    explain: bool,
) -> None:  # fmt: skip
    limits = Limits(batch_s=60, answer_bytes=100_000, answers_bytes=150_000)
    client = make_client(limits=limits)
    assert client.send({"instances": [person] * 25}, explain=explain).status == 200
    refused = client.send({"instances": [person] * 200}, explain=explain)
    assert refused.status == 413
    assert "people per request" in read(refused)["detail"]
    if not explain:
        fewer = {"instances": [person] * 200, "outputs": ["biological_age"]}
        assert client.send(fewer).status == 200


def test_large_answers_do_not_crowd_out_small_ones(
    make_client: Callable[..., Any], person: dict[str, Any]
) -> None:
    limits = Limits(batch_s=60, answer_bytes=400_000, answers_bytes=600_000)
    client = make_client(limits=limits)
    large = {"instances": [person] * 100}
    responses = client.send(large, large, person, large, large, person, explain=True)
    assert [response.status for response in responses] == [200, 503, 200, 503, 503, 200]
    assert responses[1].headers["Retry-After"] == "1"
    assert sum(len(response.body) for response in responses) < limits.answers_bytes
    assert client.send(large, explain=True).status == 200


def test_the_limit_of_a_batch_is_at_least_that_of_an_answer() -> None:
    with pytest.raises(ConfigurationError, match="answers_bytes must be at least"):
        Limits(answer_bytes=2, answers_bytes=1)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"biomarkers": {}},
        {"biomarkers": {}, "participant_id": None},
        {"biomarkers": CRITICAL, "age": 110, "participant_id": "x" * 64},
        {"biomarkers": {"crp": 0.01, "lymphocyte_pct": 0.29}},
    ],
)
@pytest.mark.parametrize("explain", [False, True])
def test_the_estimated_size_of_an_answer_is_close(
    make_client: Callable[..., Any],
    person: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    explain: bool,
) -> None:
    foreseen: list[int] = []
    monkeypatch.setattr(
        "henaw.handler.response.answer_size.Room.take", lambda _, size, __: foreseen.append(size)
    )
    for unreliable in ("answer", "withhold"):
        people = {"instances": [person | changes] * 50, "unreliable": unreliable}
        response = make_client().send(people, explain=explain)
        assert response.status == 200
        assert len(response.body) <= foreseen.pop() <= 4 * len(response.body)


@pytest.mark.parametrize("binary", [False, True])
def test_no_answer_in_arrays_is_larger_than_estimated(
    client: Any, monkeypatch: pytest.MonkeyPatch, binary: bool
) -> None:
    foreseen: list[int] = []
    monkeypatch.setattr(
        "henaw.handler.response.answer_size.Room.take", lambda _, size, __: foreseen.append(size)
    )
    body = write_arrays(500, nested=False) | {"parameters": {"binary_data_output": binary}}
    body["inputs"][0]["data"] = [[None, None, None, 45.1234567, *[None] * 5]] * 500
    response = client.send(body)
    assert response.status == 200
    assert len(response.body) <= foreseen[0]


def test_no_answer_in_fhir_is_larger_than_estimated(
    client: Any, monkeypatch: pytest.MonkeyPatch, make_patient: Any, make_bundle: Any
) -> None:
    foreseen: list[int] = []
    monkeypatch.setattr(
        "henaw.handler.response.answer_size.Room.take", lambda _, size, __: foreseen.append(size)
    )
    for values in ({}, CRITICAL):
        patients = [make_patient(f"p{place}", **values) for place in range(20)]
        patients.append(make_patient("nothing")[:1])
        bundle = make_bundle(*(resource for patient in patients for resource in patient))
        response = client.send(bundle, headers={"content-type": "application/fhir+json"})
        assert response.status == 200
        assert len(response.body) <= foreseen.pop() <= 4 * len(response.body)


class OwnError(MalformedBodyError):
    """An error without an entry in the map to statuses."""


class OtherError(OverloadedError):
    """Another error without an entry."""


def test_an_error_without_an_entry_is_answered_as_its_parent() -> None:
    assert describe_error(OwnError("x"))[0] == 400
    assert describe_error(OtherError("x"))[0] == 503
    assert describe_error(InvalidInputError([]))[0] == 422
