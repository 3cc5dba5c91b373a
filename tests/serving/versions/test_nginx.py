"""The shipped nginx configuration: a real nginx before real servers of two versions."""

import concurrent.futures
import http.client
import http.server
import json
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import requests

HALF = ("# 10% candidate;", "50% candidate;")
ALL = ("* stable;", "* candidate;")
PERSON = {"age": 54, "sex": 0, "biomarkers": {"crp": 30.0}}
JSON = "application/json"
PROBLEM = "application/problem+json"

pytestmark = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="no nginx: it is a Debian package of that name"
)


@pytest.mark.parametrize("header", ["X_Participant_Id", "X_API_Key"])
def test_the_split_has_its_shares_and_is_sticky(
    serve: Callable[..., Any], stable: Any, candidate: Any, header: str
) -> None:
    proxy = serve(HALF)
    keys = [f"key-{n}" for n in range(400)]
    first = proxy.ask_all(header, keys)
    shares = Counter(first.values())
    assert set(shares) == {stable.version, candidate.version}
    # Five standard deviations of a fair split.
    assert abs(shares[candidate.version] - 200) < 50
    assert proxy.ask_all(header, keys[::-4]) == {key: first[key] for key in keys[::-4]}
    # The split is the same after a restart, and different for another word.
    again = serve(HALF).ask_all(header, keys[:40])
    assert again == {key: first[key] for key in keys[:40]}
    other = serve(HALF, ('"first ', '"second ')).ask_all(header, keys[:40])
    assert 5 < sum(other[key] != first[key] for key in keys[:40]) < 35


def test_as_shipped_only_the_stable_version_gets_requests(
    serve: Callable[..., Any], stable: Any, closed_port: int
) -> None:
    proxy = serve(candidate_port=closed_port)
    seen = proxy.ask_all("X_Participant_Id", [f"key-{n}" for n in range(40)])
    assert set(seen.values()) == {stable.version}


def test_if_the_candidate_is_dead_or_hangs_the_stable_version_answers(
    serve: Callable[..., Any], stable: Any, candidate: Any, closed_port: int, request: Any
) -> None:
    dead = serve(ALL, candidate_port=closed_port)
    hanging = serve(ALL, ("proxy_read_timeout 10s", "proxy_read_timeout 1s"))
    assert hanging.find_version() == candidate.version
    request.getfixturevalue("stopped")
    for proxy in (dead, hanging):
        assert {proxy.find_version(X_Participant_Id=str(n)) for n in range(20)} == {stable.version}


def test_another_split_by_a_reload_fails_no_request(
    serve: Callable[..., Any], stable: Any, candidate: Any
) -> None:
    proxy = serve()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(proxy.find_version) for _ in range(400)]
        asked[50].result()
        split = proxy.folder / "versions.conf"
        split.write_text(split.read_text().replace(*ALL))
        command = ["nginx", "-e", str(proxy.folder / "start.log"), "-s", "reload"]
        subprocess.run([*command, "-c", str(proxy.folder / "nginx.conf")], check=True)
        seen = [future.result() for future in asked]
    assert set(seen) == {stable.version, candidate.version}
    assert proxy.find_version() == candidate.version


def check_problem(response: requests.Response, status: int, slug: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == PROBLEM
    document = response.json()
    assert (document["status"], document["type"]) == (status, f"urn:henaw:problem:{slug}")
    assert document["title"]
    assert document["detail"]


def test_refusals_of_nginx_have_the_form_of_the_handlers(
    serve: Callable[..., Any], closed_port: int
) -> None:
    proxy = serve()
    ping = requests.get(f"{proxy.url}/ping", verify=proxy.authority, timeout=60)
    assert ping.json() == {"status": "Healthy"}
    explained = proxy.post(path="/explanations/henaw")
    assert explained.status_code == 200
    assert explained.headers["RateLimit-Limit"]
    wrong = proxy.post({**PERSON, "age": 7})
    check_problem(wrong, 422, "invalid-input")
    assert wrong.json()["errors"][0]["field"] == "age"
    check_problem(proxy.post({"instances": [PERSON] * 10_001}), 413, "too-large")
    check_problem(proxy.post(b" " * 9_000_000), 413, "too-large")
    for path in ("/", "/models", "/predictions/henaw/0.1.0", "/predictions/henaw/../../models"):
        check_problem(proxy.post(path=path), 404, "not-found")
    got = requests.get(f"{proxy.url}/predictions/henaw", verify=proxy.authority, timeout=60)
    check_problem(got, 405, "method-not-allowed")
    check_problem(proxy.post(headers={"X-Long": "x" * 40_000}), 400, "malformed-request")
    plain = requests.post(proxy.url.replace("https", "http"), timeout=60)
    check_problem(plain, 400, "malformed-request")
    stranger = serve(("allow 127.0.0.0/8;", ""))
    check_problem(stranger.post(), 403, "forbidden")
    down = serve(stable_port=closed_port)
    check_problem(down.post(), 503, "overloaded")
    assert down.post().headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("sent", "status", "slug"),
    [
        (b"GARBAGE\r\n\r\n", 400, "malformed-request"),
        (b"POST /predictions/henaw HTTP/1.1\r\n\r\n", 400, "malformed-request"),
        (b"POST / HTTP/1.1\r\nX: " + b"x" * 40_000 + b"\r\n\r\n", 400, "malformed-request"),
        (b"POST /" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "too-long"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "not-implemented"),
        (b"POST / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "http-version"),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method-not-allowed"),
        (b"POST /predictions/henaw HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
         b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed-request"),
    ],
)  # fmt: skip
def test_malformed_requests_get_problem_documents_too(
    serve: Callable[..., Any], sent: bytes, status: int, slug: str
) -> None:
    proxy = serve((" ssl;", ";"), ("ssl_", "#ssl_"))
    port = int(proxy.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(sent)
        response = http.client.HTTPResponse(connection)
        response.begin()
        document = json.loads(response.read())
    assert (response.status, response.headers["Content-Type"]) == (status, PROBLEM)
    assert (document["status"], document["type"]) == (status, f"urn:henaw:problem:{slug}")


@pytest.mark.parametrize(
    ("status", "told", "slug"),
    [(503, 503, "overloaded"), (500, 500, "internal"), (507, 500, "internal"),
     (413, 413, "too-large")],
)  # fmt: skip
def test_torchserves_own_refusals_are_problems(
    serve: Callable[..., Any], upstream: Any, status: int, told: int, slug: str
) -> None:
    own = {"code": status, "type": "InternalServerException", "message": "Worker died."}
    body = b"" if status == 413 else json.dumps(own).encode()
    upstream.answers += [(status, {"Content-Type": JSON, "x-request-id": "abc"}, body)]
    response = serve(stable_port=upstream.port).post()
    check_problem(response, told, slug)
    assert response.headers.get("Retry-After") == ("1" if told == 503 else None)
    assert response.headers["x-request-id"] == "abc"
    assert response.json().get("request_id") == ("abc" if told == 500 else None)


def test_overload_moves_no_participant_to_another_version(
    serve: Callable[..., Any], upstream: Any
) -> None:
    refusal = (503, {"Content-Type": PROBLEM, "Retry-After": "7"}, b"{}")
    answer = (200, {"Content-Type": JSON}, b'{"model": {"version": "upstream"}}')
    upstream.answers += [refusal, answer]
    proxy = serve(ALL, candidate_port=upstream.port)
    for _ in range(5):
        refused = proxy.post()
        check_problem(refused, 503, "overloaded")
        assert refused.headers["Retry-After"] == "7"
        assert proxy.find_version() == "upstream"


def test_clients_cannot_send_torchserves_internal_headers(
    serve: Callable[..., Any], upstream: Any
) -> None:
    upstream.answers += [(200, {"Content-Type": JSON}, b"{}")]
    headers = {"Describe": "True", "Explain": "True", "X-API-Key": "mine"}
    assert serve(stable_port=upstream.port).post(headers=headers).status_code == 200
    assert upstream.seen[0]["x-api-key"] == "mine"
    assert not {"describe", "explain"} & upstream.seen[0].keys()


def test_slow_clients_are_disconnected_and_connections_are_limited(
    serve: Callable[..., Any],
) -> None:
    proxy = serve(
        ("limit_conn address 64", "limit_conn address 1"),
        ("client_body_timeout 10s", "client_body_timeout 2s"),
        (" ssl;", ";"), ("ssl_", "#ssl_"),
    )  # fmt: skip
    url = proxy.url.replace("https", "http")
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=30) as slow:
        slow.sendall(b"POST /predictions/henaw HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
        refused = []
        for _ in range(20):
            refused.append(requests.post(f"{url}/predictions/henaw", json=PERSON, timeout=60))
            if refused[-1].status_code == 503:
                break
        check_problem(refused[-1], 503, "overloaded")
        assert refused[-1].headers["Retry-After"] == "1"
        assert b" 200 " not in slow.recv(4096)
    assert requests.post(f"{url}/predictions/henaw", json=PERSON, timeout=60).status_code == 200


def test_nothing_that_was_sent_is_in_logs_or_on_the_disk(
    serve: Callable[..., Any], closed_port: int
) -> None:
    proxy = serve()
    headers = {"X-API-Key": "MARKED", "X-Participant-Id": "MARKED", "Referer": "http://MARKED"}
    marked = {**PERSON, "participant_id": "MARKED"}
    response = proxy.post(marked, path="/predictions/henaw?MARKED=MARKED", headers=headers)
    assert response.status_code == 200
    proxy.post(marked, path="/MARKED", headers=headers)
    down = serve(stable_port=closed_port)
    down.post(marked, path="/predictions/henaw?MARKED=MARKED", headers=headers)
    for folder in (proxy.folder, down.folder):
        for path in folder.rglob("*"):
            assert path.is_dir() or b"MARKED" not in path.read_bytes(), path
    lines = (proxy.folder / "henaw-access.log").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["status"] for record in records] == [200, 404]
    assert records[0]["id"] == response.headers["x-request-id"]

    # At this level nginx logs every body or answer that goes through a file.
    loud = serve(("henaw-error.log crit", "henaw-error.log warn"))
    assert loud.post({"instances": [PERSON] * 10_000}).status_code == 200
    assert loud.post(b" " * 8_400_000).status_code == 413
    assert "temporary file" not in (loud.folder / "henaw-error.log").read_text()
