import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from henaw.handler.configuration import Bucket, Limits, ThrottleConfiguration
from henaw.handler.metadata import Metadata
from henaw.handler.request.instances import ANSWER_FIELDS
from henaw.model.biomarkers import CAUSES, NAMES, SYSTEMS
from henaw.model.runtime import OnnxRuntime, Outputs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Read = Callable[[Any], Any]


def walk_numbers(tree: Any) -> list[float]:
    if isinstance(tree, dict):
        return [n for value in tree.values() for n in walk_numbers(value)]
    if isinstance(tree, list):
        return [n for value in tree for n in walk_numbers(value)]
    return [tree] if isinstance(tree, (int, float)) and not isinstance(tree, bool) else []


def test_every_field_of_the_contract(
    client: Any, read: Read, person: dict[str, Any], metadata: Metadata
) -> None:
    response = client.send(person)
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    answer = read(response)
    assert tuple(answer) == ("participant_id", *ANSWER_FIELDS)
    assert answer["participant_id"] == "a-17"
    assert tuple(answer["contributions"]) == metadata.contribution_names
    assert tuple(answer["systems"]) == tuple(SYSTEMS)
    assert tuple(answer["cause_risk_10y"]) == CAUSES
    assert answer["imputed"] == []
    assert answer["model"] == {
        "name": "henaw-nhanes",
        "version": metadata.version,
        "runtime": "onnxruntime-cpu",
    }
    age = answer["biological_age"]
    assert math.isclose(answer["age_gap"], age - 54, abs_tol=1e-4)
    assert math.isclose(sum(answer["contributions"].values()), age - 54, abs_tol=1e-4)
    typical = answer["contributions"]["typical_values"]
    assert math.isclose(sum(answer["systems"].values()) + typical, age - 54, abs_tol=1e-4)
    assert 0 <= answer["percentile"] <= 100
    assert 0 < answer["draw_sd"] < (answer["interval"][1] - answer["interval"][0]) / 2
    assert (answer["reliable"], answer["withheld"]) == (True, [])
    assert answer["interval"][0] <= age <= answer["interval"][1]
    assert 0 < sum(answer["cause_risk_10y"].values()) <= answer["mortality_10y"] < 1


def test_an_answer_is_the_graphs(
    client: Any, read: Read, person: dict[str, Any], onnx: OnnxRuntime
) -> None:
    values = [1.2, (5.4 - 2.152) / 0.09148, 0.9 * 88.42, 45, 29, 13.1, 22, 24, 20]
    outputs = onnx.predict(
        np.array([values], np.float32), np.array([54], np.float32), np.array([0], np.int64)
    )
    answer = read(client.send(person))
    np.testing.assert_allclose(answer["biological_age"], outputs["biological_age"], atol=1e-5)
    np.testing.assert_allclose(
        list(answer["contributions"].values()), outputs["contributions"][0], atol=1e-5
    )


def test_missing_values_are_named(client: Any, read: Read, person: dict[str, Any]) -> None:
    del person["biomarkers"]["ggt"]
    person["biomarkers"]["crp"] = None
    assert read(client.send(person))["imputed"] == ["crp", "ggt"]
    person["biomarkers"] = {}
    answer = read(client.send({**person, "unreliable": "answer"}))
    assert answer["imputed"] == list(NAMES)
    assert math.isclose(answer["biological_age"], 54, abs_tol=1e-4)


def test_unusual_values_are_warned_of(client: Any, read: Read, person: dict[str, Any]) -> None:
    person["age"] = 110
    person["biomarkers"]["lymphocyte_pct"] = 0.29
    warnings = read(client.send(person))["warnings"]
    assert [(w["code"], w["field"]) for w in warnings] == [
        ("age_outside_fitted", "age"),
        ("outside_reference", "lymphocyte_pct"),
    ]
    assert "as fraction it would be 29 %" in warnings[1]["message"]


def test_instances_are_answered_in_order(client: Any, read: Read, person: dict[str, Any]) -> None:
    ages = [70, 20, 45]
    response = client.send({"instances": [{**person, "age": age} for age in ages]})
    alone = [read(client.send({**person, "age": age})) for age in ages]
    for together, single in zip(read(response)["predictions"], alone, strict=True):
        np.testing.assert_allclose(walk_numbers(together), walk_numbers(single), atol=1e-5)
    assert read(client.send({"instances": []})) == {"predictions": []}


def test_selected_outputs_only(client: Any, read: Read, person: dict[str, Any]) -> None:
    answer = read(client.send({**person, "outputs": ["age_gap", "biological_age"]}))
    assert tuple(answer) == ("participant_id", "biological_age", "age_gap")


def test_explanation_sets_values_beside_the_usual(
    client: Any, read: Read, person: dict[str, Any], metadata: Metadata
) -> None:
    del person["biomarkers"]["ggt"]
    prediction = read(client.send(person))
    explanation = read(client.send(person, explain=True))
    rows = explanation["biomarkers"]
    assert tuple(row["name"] for row in rows) == NAMES
    contributions = {"typical_values": explanation["typical_values"]}
    contributions |= {row["name"]: row["contribution"] for row in rows}
    contributions |= {row["name"]: row["contribution"] for row in explanation["interactions"]}
    assert contributions == prediction["contributions"]
    for field in ("age_gap", "percentile", "draw_sd", "reliable", "withheld"):
        assert explanation[field] == prediction[field]
    at = metadata.reference_ages.tolist().index(54)
    medians = metadata.reference_medians[0][at]
    np.testing.assert_allclose([row["reference_median"] for row in rows], medians, rtol=1e-3)
    ggt = rows[NAMES.index("ggt")]
    assert (ggt["value"], ggt["imputed"]) == (None, True)
    many = read(client.send({"instances": [person, person]}, explain=True))
    assert many == {"explanations": [explanation, explanation]}


MALFORMED = {
    400: b"{",
    422: b'{"age": 1}',
    413: b" " * 3_000,
}


@pytest.mark.parametrize("status", MALFORMED)
def test_errors_are_problem_documents(
    make_client: Callable[..., Any], read: Read, status: int
) -> None:
    response = make_client(limits=Limits(body_bytes=2_000)).send(MALFORMED[status])
    assert response.status == status
    assert response.headers["content-type"] == "application/problem+json"
    document = read(response)
    assert document["status"] == status
    assert document.keys() >= {"type", "title", "detail"}


def test_another_content_type(client: Any, person: dict[str, Any]) -> None:
    assert client.send(person, headers={"content-type": "text/plain"}).status == 415


def test_a_good_request_is_answered_beside_malformed_ones(
    client: Any, read: Read, person: dict[str, Any]
) -> None:
    alone = read(client.send(person))
    others: list[Any] = [b"{", b"\xff", b'{"age":1,"age":2}', {"age": 1}, {"instances": [7]}, b""]
    other_person = {"age": 80, "sex": "male", "biomarkers": {"crp": 40}}
    responses = client.send(*others[:3], person, *others[3:], other_person, person)
    assert [r.status for r in responses] == [400, 400, 400, 200, 422, 422, 400, 200, 200]
    for response in (responses[3], responses[8]):
        np.testing.assert_allclose(walk_numbers(read(response)), walk_numbers(alone), atol=1e-5)
    np.testing.assert_allclose(
        walk_numbers(read(responses[7])), walk_numbers(read(client.send(other_person))), atol=1e-5
    )


class Failing:
    """A runtime that fails where it sees the given age."""

    name = "failing"

    def __init__(self, inner: OnnxRuntime, age: float, error: Exception | None = None) -> None:
        self.inner, self.age, self.error = inner, age, error

    def predict(self, biomarkers: Any, age: Any, sex: Any) -> Outputs:
        if self.error is not None and self.age in age:
            raise self.error
        outputs = self.inner.predict(biomarkers, age, sex)
        outputs["mortality_10y"] = np.where(
            age == self.age, np.float32(np.nan), outputs["mortality_10y"]
        )
        return outputs


@pytest.mark.parametrize("error", [None, ValueError("age 66.0 is secret")])
def test_a_request_that_the_graph_fails_on_fails_alone_without_details(
    make_client: Callable[..., Any],
    read: Read,
    person: dict[str, Any],
    onnx: OnnxRuntime,
    error: Exception | None,
) -> None:
    client = make_client(runtime=Failing(onnx, 66, error))
    good, bad = client.send(person, {**person, "age": 66})
    assert (good.status, bad.status) == (200, 500)
    document = read(bad)
    assert document["request_id"] == "r1"
    assert b"secret" not in bad.body
    record = client.read_log()[1]
    assert "secret" not in json.dumps(record)
    assert record["error"]


def test_an_error_in_writing_answers_stays_in_the_batch(
    make_client: Callable[..., Any], person: dict[str, Any], onnx: OnnxRuntime
) -> None:
    class Narrow:
        name = "narrow"

        def predict(self, biomarkers: Any, age: Any, sex: Any) -> Outputs:
            outputs = onnx.predict(biomarkers, age, sex)
            return {**outputs, "contributions": outputs["contributions"][:, :-1]}

    client = make_client(runtime=Narrow())
    responses = client.send(person, {**person, "outputs": ["age_gap"]})
    # No output of such a model can be trusted.
    assert [response.status for response in responses] == [500, 500]
    assert client.read_log()[0]["error"].startswith("ValueError at ")


@pytest.mark.parametrize("name", ["biological_age", "out_of_range"])
def test_a_missing_output_fails_only_requests_that_need_it(
    make_client: Callable[..., Any], person: dict[str, Any], onnx: OnnxRuntime, name: str
) -> None:
    class Partial:
        name = "partial"

        def predict(self, biomarkers: Any, age: Any, sex: Any) -> Outputs:
            outputs = onnx.predict(biomarkers, age, sex)
            return {key: values for key, values in outputs.items() if key != name or 66 not in age}

    client = make_client(runtime=Partial())
    responses = client.send(person, b"{", {**person, "age": 66}, {"age": 7})
    assert [response.status for response in responses] == [200, 400, 500, 422]
    assert client.read_log()[2]["error"].startswith("KeyError at ")
    assert client.metrics.busy_since is None
    assert client.metrics.sum_up().requests == {"200": 1, "400": 1, "422": 1, "500": 1}


def test_a_batch_that_fails_has_ended(
    client: Any, person: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(client.service, "_log", fail)
    with pytest.raises(OSError, match="no space"):
        client.send(person)
    assert client.metrics.busy_since is None


def test_a_failing_gpu_fails_no_request(
    make_client: Callable[..., Any], read: Read, person: dict[str, Any], onnx: OnnxRuntime
) -> None:
    lost = Failing(onnx, 54, RuntimeError("CUDA error: device lost"))
    client = make_client(preferred=lost)
    assert read(client.send({**person, "age": 60}))["mortality_10y"] > 0
    responses = client.send(person, {**person, "age": 70})
    assert [read(r)["model"]["runtime"] for r in responses] == ["onnxruntime-cpu"] * 2


def test_a_gpu_without_numbers_fails_no_request(
    make_client: Callable[..., Any], read: Read, person: dict[str, Any], onnx: OnnxRuntime
) -> None:
    client = make_client(preferred=Failing(onnx, 54))
    responses = client.send(person, {**person, "age": 70})
    assert [read(r)["model"]["runtime"] for r in responses] == ["onnxruntime-cpu"] * 2
    assert read(responses[0])["mortality_10y"] > 0


def test_over_the_rate(make_client: Callable[..., Any], read: Read, person: dict[str, Any]) -> None:
    bucket = Bucket(rate=2, period_s=3600, burst=2)
    client = make_client(throttle=ThrottleConfiguration(anonymous=bucket, accepted_keys=None))
    statuses = [r.status for r in client.send(person, b"{", person, person)]
    assert statuses == [200, 400, 429, 429]
    refused = client.send(person)
    assert refused.headers["RateLimit-Limit"] == "2"
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert 0 < int(refused.headers["Retry-After"]) <= 1800
    assert read(refused)["type"] == "urn:henaw:problem:too-many-requests"
    keyed = client.send(person, headers={"x-api-key": "mine"})
    assert (keyed.status, keyed.headers["RateLimit-Remaining"]) == (200, "599")


def test_people_cost_tokens(make_client: Callable[..., Any], person: dict[str, Any]) -> None:
    bucket = Bucket(rate=10, period_s=3600, burst=10)
    throttle = ThrottleConfiguration(anonymous=bucket, cost_per_instance=0.5)
    client = make_client(throttle=throttle)
    first = client.send({"instances": [person] * 12})
    assert (first.status, first.headers["RateLimit-Remaining"]) == (200, "4")
    # 6 of 10 tokens are spent, and the next request needs 6: it lacks 2, at 360 s each. A refusal
    # spends none; within a batch, its tokens are returned only after all have paid one.
    for _ in range(10):
        refused = client.send(*[{"instances": [person] * 12}] * 3)
        assert [response.status for response in refused] == [429] * 3
        waits = [int(response.headers["Retry-After"]) for response in refused]
        assert all(
            710 < wait - 360 * back <= 720 for wait, back in zip(waits, (2, 1, 0), strict=True)
        )
    assert client.send(person).headers["RateLimit-Remaining"] == "3"
    too_many = client.send({"instances": [person] * 21})
    assert too_many.status == 413


def test_the_log_holds_no_patient_data(client: Any, person: dict[str, Any]) -> None:
    person["participant_id"] = "MARKED-ID"
    person["biomarkers"]["crp"] = 98.7654
    headers = {"x-api-key": "MARKED-KEY"}
    client.send(person, {**person, "MARKED-FIELD": "MARKED-VALUE"}, headers=headers)
    client.send(b'{"MARKED": NaN}', headers=headers)
    records = client.read_log()
    assert [record["status"] for record in records] == [200, 422, 400]
    assert records[0].keys() >= {"time", "id", "status", "people", "total_ms"}
    text = json.dumps(records)
    assert "MARKED" not in text
    assert "98.7" not in text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["age", "sex", "biomarkers", "instances", "inputs", "outputs", "crp", "value", "unit",
             "name", "data", "shape", "datatype", "participant_id", "id", "zzz"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=15,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(tree=JSON, explain=st.booleans())
def test_any_json_is_answered_without_an_internal_error(
    client: Any, tree: Any, explain: bool
) -> None:
    try:
        body = json.dumps(tree).encode()
    except UnicodeEncodeError:
        return
    assert client.send(body, explain=explain).status in (200, 400, 413, 422)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_answered_without_an_internal_error(client: Any, body: bytes) -> None:
    assert client.send(body).status in (400, 422)


def test_the_description_names_the_model_and_its_panel(
    client: Any, read: Read, metadata: Metadata
) -> None:
    description = read(client.send(b"", describe=True))
    assert description["version"] == metadata.version
    assert [row["name"] for row in description["panel"]] == list(NAMES)


def test_the_description_costs_a_token(
    make_client: Callable[..., Any], read: Read, person: dict[str, Any]
) -> None:
    """TorchServe asks for it by a header, which a client can send too."""
    bucket = Bucket(rate=2, period_s=3600, burst=2)
    client = make_client(throttle=ThrottleConfiguration(anonymous=bucket))
    assert client.send(b"", describe=True).headers["RateLimit-Remaining"] == "1"
    assert client.send(person).status == 200
    refused = client.send(b"", describe=True)
    assert (refused.status, read(refused)["status"]) == (429, 429)
    assert refused.headers["Retry-After"]


def test_descriptions_are_refused_under_overload(
    make_client: Callable[..., Any], person: dict[str, Any]
) -> None:
    client = make_client(limits=Limits(batch_s=1e-6))
    people = {"instances": [person] * 100}
    for _ in range(4):
        responses = client.send(*[people] * 20, describe=True)
    assert [response.status for response in responses].count(503) > 0
