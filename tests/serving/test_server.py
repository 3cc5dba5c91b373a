"""What clients of a real TorchServe see."""

import concurrent.futures
import http.client
import json
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from henaw.export.people import People
from henaw.handler.request.instances import ANSWER_FIELDS
from henaw.model.biomarkers import AGE_MAXIMUM_YEARS, AGE_MINIMUM_YEARS, NAMES, PANEL
from henaw.model.runtime import Outputs

PERSON: dict[str, Any] = {
    "age": 54,
    "sex": "female",
    "participant_id": "MARKED-ID",
    "biomarkers": {"crp": 1.2, "albumin": 45, "ggt": 31.4159},
}
MALFORMED: list[tuple[bytes, int]] = [
    (b"{", 400),
    (b'{"age": NaN}', 400),
    (b'{"age": 1, "age": 2}', 400),
    (b"\xff\xfe", 400),
    (b"", 400),
    (b'{"age": 7}', 422),
    (b'{"instances": [7]}', 422),
]
TOLERANCE = 1e-4


def find_by(seconds: float, look: Callable[[], Any]) -> Any:
    """Repeat until there is a result: logs and processes take a while."""
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    pytest.fail("not seen in time")


def find_records(server: Any, ids: set[str]) -> Any:
    """Return the log's records of these requests, once all are there."""

    def look() -> list[dict[str, Any]]:
        records = [record for record in server.read_log() if record.get("id") in ids]
        return records if len(records) == len(ids) else []

    return find_by(10, look)


@pytest.fixture(scope="module")
def answerable(golden: tuple[People, Outputs]) -> tuple[list[dict[str, Any]], Outputs]:
    """Golden people that HTTP accepts, as instances, and their stored answers."""
    people, outputs = golden
    minimum = np.array([b.minimum for b in PANEL])
    maximum = np.array([b.maximum for b in PANEL])
    with np.errstate(invalid="ignore"):
        values = people.biomarkers.astype(np.float64)
        usable = (np.isnan(values) | ((values >= minimum) & (values <= maximum))).all(axis=1)
        usable &= (people.age >= AGE_MINIMUM_YEARS) & (people.age <= AGE_MAXIMUM_YEARS)
        usable &= np.isin(people.sex, (0, 1))
    rows = np.flatnonzero(usable)
    instances = [
        {
            "age": float(people.age[row]),
            "sex": int(people.sex[row]),
            "biomarkers": {
                name: None if np.isnan(value) else float(value)
                for name, value in zip(NAMES, people.biomarkers[row], strict=True)
            },
        }
        for row in rows
    ]
    assert len(instances) > 100
    return instances, {name: value[rows] for name, value in outputs.items()}


def check_answer(answer: dict[str, Any], stored: Outputs, row: int) -> None:
    assert tuple(answer) == ANSWER_FIELDS
    assert answer["reliable"] == stored["reliable"][row] == (not answer["withheld"])
    grouped = {
        "systems": "system_contributions",
        "contributions": "contributions",
        "cause_risk_10y": "cause_risk_10y",
    }
    alone = ("biological_age", "age_gap", "interval", "draw_sd", "mortality_10y")
    if not answer["reliable"]:
        assert all(answer[field] is None for field in (*grouped, *alone, "percentile"))
    else:
        for field, name in grouped.items():
            np.testing.assert_allclose(
                list(answer[field].values()), stored[name][row], rtol=0, atol=TOLERANCE
            )
        for name in alone:
            np.testing.assert_allclose(answer[name], stored[name][row], rtol=0, atol=TOLERANCE)
        # Rounded to 0.01.
        np.testing.assert_allclose(answer["percentile"], stored["percentile"][row], atol=0.02)
    assert [name in answer["imputed"] for name in NAMES] == stored["imputed"][row].tolist()
    warned = {warning["field"] for warning in answer["warnings"]}
    expected = {n for n, out in zip(NAMES, stored["out_of_range"][row], strict=True) if out}
    assert warned == expected | ({"age"} if stored["age_out_of_range"][row] else set())


def test_golden_people_together(server: Any, answerable: Any) -> None:
    instances, stored = answerable
    assert 0 < (~stored["reliable"]).sum() < len(instances) / 2
    response = server.post({"instances": instances})
    assert response.status_code == 200
    for row, answer in enumerate(response.json()["predictions"]):
        check_answer(answer, stored, row)


def test_golden_people_one_by_one_in_shared_batches(server: Any, answerable: Any) -> None:
    instances, stored = answerable
    responses = server.post_together([json.dumps(person).encode() for person in instances])
    for row, (status, _, body) in enumerate(responses):
        assert status == 200
        check_answer(json.loads(body), stored, row)
    ids = {headers["x-request-id"] for _, headers, _ in responses}
    records = find_records(server, ids)
    assert max(record["batch"] for record in records) > 1


def test_golden_people_as_arrays(server: Any, golden: Any, answerable: Any) -> None:
    instances, stored = answerable
    n = len(instances)
    response = server.post(
        {
            "inputs": [
                {
                    "name": "biomarkers",
                    "shape": [n, 9],
                    "datatype": "FP32",
                    "data": [v for person in instances for v in person["biomarkers"].values()],
                },
                {
                    "name": "age",
                    "shape": [n],
                    "datatype": "FP32",
                    "data": [person["age"] for person in instances],
                },
                {
                    "name": "sex",
                    "shape": [n],
                    "datatype": "INT64",
                    "data": [person["sex"] for person in instances],
                },
            ]
        }
    )
    assert response.status_code == 200
    for tensor in response.json()["outputs"]:
        np.testing.assert_allclose(
            np.array(tensor["data"], np.float64).reshape(tensor["shape"]),
            stored[tensor["name"]].astype(np.float64),
            rtol=0,
            # A percentile is steeper in years than a gap is.
            atol=TOLERANCE * (100 if tensor["name"] == "percentile" else 1),
        )


def test_a_good_request_is_right_while_sharing_a_batch_with_malformed_ones(server: Any) -> None:
    alone = server.post(PERSON).json()
    shared = set()
    for _ in range(5):
        bodies = [body for body, _ in MALFORMED]
        answers = server.post_together([*bodies, json.dumps(PERSON).encode(), *bodies])
        status, headers, body = answers.pop(len(bodies))
        for (seen, told, _), (_, expected) in zip(answers, MALFORMED * 2, strict=True):
            assert seen == expected
            assert told["content-type"] == "application/problem+json"
        assert status == 200
        answer = json.loads(body)
        assert abs(answer["biological_age"] - alone["biological_age"]) <= TOLERANCE
        assert answer["imputed"] == alone["imputed"]
        shared.add(headers["x-request-id"])

    # There were no other requests meanwhile, so the others in its batch were malformed.
    assert max(record["batch"] for record in find_records(server, shared)) > 1


class Conversation:
    """Requests over one connection, for as long as the server keeps it."""

    def __init__(self, server: Any) -> None:
        address = urlsplit(server.record.url)
        self.connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)

    def ask(
        self, body: bytes, path: str = "/predictions/henaw", **headers: str
    ) -> tuple[int, bool]:
        """Return the status, and whether the connection stays."""
        headers = {"Content-Type": "application/json", **headers}
        self.connection.request("POST", path, body, headers)
        response = self.connection.getresponse()
        response.read()
        return response.status, self.connection.sock is not None


GOOD = json.dumps(PERSON).encode()


@pytest.mark.only("native", "TorchServe closes the connection over which it answers 400 or more")
def test_a_refusal_leaves_the_connection_open(server: Any) -> None:
    one = Conversation(server)
    assert one.ask(GOOD) == (200, True)
    port = one.connection.sock.getsockname()[1]
    for body, status in MALFORMED:
        assert one.ask(body) == (status, True)
    assert one.ask(GOOD, **{"Content-Type": "text/plain"}) == (415, True)
    spent = [one.ask(GOOD, **{"X-API-Key": "spends-all-over-one-connection"}) for _ in range(5)]
    assert spent == 3 * [(200, True)] + 2 * [(429, True)]
    assert one.ask(GOOD, path="/predictions/nobody") == (404, True)
    assert one.ask(b" " * 9_000_000) == (413, True)
    assert one.ask(GOOD) == (200, True)
    assert one.connection.sock.getsockname()[1] == port
    one.connection.close()


@pytest.mark.only("native", "TorchServe keeps the connection")
def test_a_connection_is_closed_if_the_client_asks_for_it(server: Any) -> None:
    one = Conversation(server)
    for body, status in ((GOOD, 200), (b"{", 400)):
        assert one.ask(body, Connection="close") == (status, False)
    address = urlsplit(server.record.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        head = f"POST /predictions/henaw HTTP/1.0\r\nContent-Length: {len(GOOD)}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + GOOD)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nconnection: close\r\n" in received


@pytest.mark.parametrize("head", ["HTTP/1.1\r\nHost: henaw", "HTTP/1.0"])
@pytest.mark.parametrize(("body", "status"), [(GOOD, 200), (b"", 400)])
def test_a_request_without_a_content_type_is_answered(
    server: Any, head: str, body: bytes, status: int
) -> None:
    address = urlsplit(server.record.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        request = f"POST /predictions/henaw {head}\r\n{length}\r\n"
        connection.sendall(request.encode() + body)
        assert connection.recv(65536).startswith(f"HTTP/1.1 {status} ".encode())


def test_explanations(server: Any) -> None:
    response = server.post({"instances": [PERSON]}, path="explanations")
    assert response.status_code == 200
    explanation = response.json()["explanations"][0]
    assert [row["name"] for row in explanation["biomarkers"]] == list(NAMES)
    total = explanation["typical_values"]
    total += sum(row["contribution"] for row in explanation["biomarkers"])
    total += sum(row["contribution"] for row in explanation["interactions"])
    assert abs(total - explanation["age_gap"]) <= TOLERANCE


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Encoding": "gzip"}, 415),
    ],
)
def test_content_types(server: Any, headers: dict[str, str], status: int) -> None:
    assert server.post(PERSON, headers=headers).status_code == status


def test_a_body_over_the_limit(server: Any) -> None:
    response = server.post(b" " * 9_000_000)
    assert response.status_code == 413
    assert response.json()["title"] == "Too large"


def test_ten_thousand_people_and_one_more(server: Any) -> None:
    person = {"age": 54, "sex": 0, "biomarkers": {}}
    ask = {"instances": [person] * 10_000, "outputs": ["biological_age"]}
    response = server.post(ask)
    assert response.status_code == 200
    assert len(response.json()["predictions"]) == 10_000
    ask["instances"] = [person] * 10_001
    assert server.post(ask).status_code == 413


def test_throttle_is_exact_over_workers_and_over_their_restart(server: Any) -> None:
    headers = {"X-API-Key": "MARKED-KEY"}

    def count_allowed(requests: int) -> int:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            sent = [pool.submit(server.post, PERSON, headers=headers) for _ in range(requests)]
        responses = [future.result() for future in sent]
        for response in responses:
            assert response.status_code in (200, 429)
            if response.status_code == 429:
                assert 0 < int(response.headers["Retry-After"]) <= 1200
                assert response.headers["RateLimit-Limit"] == "3"
                assert response.headers["RateLimit-Remaining"] == "0"
                assert response.json()["title"] == "Too many requests"
        return sum(response.status_code == 200 for response in responses)

    assert count_allowed(40) == 3
    workers = server.list_workers()
    assert len(workers) == 2
    for worker in workers:
        worker.kill()
    psutil.wait_procs(workers, timeout=30)
    find_by(60, lambda: server.post(PERSON).status_code == 200)
    assert count_allowed(40) == 0


def test_nothing_that_was_sent_is_in_the_logs_or_the_store(server: Any) -> None:
    server.post(PERSON, headers={"X-API-Key": "MARKED-KEY"})
    sent = server.post({**PERSON, "MARKED-FIELD": "MARKED-VALUE"})
    find_records(server, {sent.headers["x-request-id"]})
    for path in server.run.rglob("*"):
        if path.is_file() and "models" not in path.parts:
            content = path.read_bytes()
            assert b"MARKED" not in content, path
            assert b"31.4159" not in content, path


def test_the_operator_gets_the_description(server: Any) -> None:
    import requests

    url = f"{server.management}/models/henaw?customized=true"
    description = requests.get(url, timeout=60).json()[0]["customizedMetadata"]
    assert description["name"] == "henaw-nhanes"
    assert "henaw.onnx" in description["sha256"]
