"""The shipped nginx configuration: a real nginx before real servers of two versions."""

import concurrent.futures
import http.client
import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
import requests
import trustme
from henaw.cli.server.monitor import read_monitor_port
from prometheus_client.parser import text_string_to_metric_families

SHIPPED = Path(__file__).resolve().parents[3] / "serve_config" / "nginx"
PERSON = {"age": 54, "sex": 0, "biomarkers": {"crp": 30.0}}
HALF, ALL = ("# 10% candidate;", "50% candidate;"), ("* stable;", "* candidate;")
SHADOW = ('# 100% yes;\n    * "";', "* yes;")
JSON, PROBLEM = "application/json", "application/problem+json"

pytestmark = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="no nginx: it is a Debian package of that name"
)


@dataclass(frozen=True)
class Proxy:
    """A running nginx."""

    url: str
    authority: str
    folder: Path

    def post(
        self, body: Any = PERSON, path: str = "/predictions/henaw", **options: Any
    ) -> requests.Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        return requests.post(
            self.url + path,
            data=data,
            headers=headers,
            verify=self.authority,
            timeout=60,
            **options,
        )

    def find_version(self, **headers: str) -> str:
        """Return the version that answers; underscores in names are hyphens."""
        response = self.post(headers={k.replace("_", "-"): v for k, v in headers.items()})
        assert response.status_code == 200, response.text
        return str(response.json()["model"]["version"])


@pytest.fixture(scope="package")
def candidate(start_version: Callable[[Path], Any], candidate_archive: Path) -> Any:
    return start_version(candidate_archive)


@pytest.fixture
def serve(
    stable: Any, candidate: Any, free_ports: Callable[[], int], tmp_path: Path
) -> Iterator[Callable[..., Proxy]]:
    """Start nginx with the shipped files, but for ports, paths and what a test changes."""
    started = []

    def start(*changes: tuple[str, str], stable_port: int = 0, candidate_port: int = 0) -> Proxy:
        folder = tmp_path / f"nginx{len(started)}"
        folder.mkdir()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        certificate = authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(folder / "tls.key")
        certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
        port = free_ports()
        moved = [
            *changes,
            ("listen 443", f"listen 127.0.0.1:{port}"),
            (":8079", f":{port + 1}"),
            (":8080", f":{stable_port or stable.record.url.rpartition(':')[2]}"),
            (":8090", f":{candidate_port or candidate.record.url.rpartition(':')[2]}"),
            ("/etc/henaw", str(folder)),
            ("/var/log/nginx", str(folder)),
            ("/run/henaw-nginx.pid", str(folder / "pid")),
            # Debian's own folders belong to root.
            ("http {", "http {\n" + "".join(
                f"{kind}_temp_path {folder / kind};\n"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))),
        ]  # fmt: skip
        texts = {path.name: path.read_text() for path in SHIPPED.glob("*.conf")}
        for before, after in moved:
            assert any(before in text for text in texts.values()), before
            texts = {name: text.replace(before, after) for name, text in texts.items()}
        for name, text in texts.items():
            (folder / name).write_text(text)
        command = ["nginx", "-e", str(folder / "start.log"), "-c", str(folder / "nginx.conf")]
        subprocess.run([*command, "-t"], check=True, capture_output=True)
        started.append(subprocess.Popen([*command, "-g", "daemon off;"]))
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        return Proxy(f"https://127.0.0.1:{port}", str(folder / "ca.pem"), folder)

    yield start
    for process in started:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture
def stopped(candidate: Any) -> Iterator[None]:
    """The candidate accepts connections and answers nothing."""
    front = psutil.Process(candidate.record.pid)
    family = [front, *front.children(recursive=True)]
    for process in family:
        process.suspend()
    yield
    for process in family:
        process.resume()


def ask_all(proxy: Proxy, header: str, keys: list[str]) -> dict[str, str]:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        seen = pool.map(lambda key: proxy.find_version(**{header: key}), keys)
        return dict(zip(keys, seen, strict=True))


@pytest.mark.parametrize("header", ["X_Participant_Id", "X_API_Key"])
def test_the_split_has_its_shares_and_is_sticky(
    serve: Callable[..., Proxy], stable: Any, candidate: Any, header: str
) -> None:
    proxy = serve(HALF)
    keys = [f"key-{n}" for n in range(400)]
    first = ask_all(proxy, header, keys)
    shares = Counter(first.values())
    assert set(shares) == {stable.version, candidate.version}
    # Five standard deviations of a fair split.
    assert abs(shares[candidate.version] - 200) < 50
    assert ask_all(proxy, header, keys[::-4]) == {key: first[key] for key in keys[::-4]}
    # The split is the same after a restart, and different for another word.
    again = ask_all(serve(HALF), header, keys[:40])
    assert again == {key: first[key] for key in keys[:40]}
    other = ask_all(serve(HALF, ('"first ', '"second ')), header, keys[:40])
    assert 5 < sum(other[key] != first[key] for key in keys[:40]) < 35


def test_as_shipped_only_the_stable_version_gets_requests(
    serve: Callable[..., Proxy], stable: Any, closed_port: int
) -> None:
    proxy = serve(candidate_port=closed_port)
    seen = ask_all(proxy, "X_Participant_Id", [f"key-{n}" for n in range(40)])
    assert set(seen.values()) == {stable.version}


def test_if_the_candidate_is_dead_or_hangs_the_stable_version_answers(
    serve: Callable[..., Proxy], stable: Any, candidate: Any, closed_port: int, request: Any
) -> None:
    dead = serve(ALL, candidate_port=closed_port)
    hanging = serve(ALL, ("proxy_read_timeout 10s", "proxy_read_timeout 1s"))
    assert hanging.find_version() == candidate.version
    request.getfixturevalue("stopped")
    for proxy in (dead, hanging):
        assert {proxy.find_version(X_Participant_Id=str(n)) for n in range(20)} == {stable.version}


def test_another_split_by_a_reload_fails_no_request(
    serve: Callable[..., Proxy], stable: Any, candidate: Any
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


def count_records(server: Any) -> int:
    logs = (server.run / "logs").glob("requests.*.log")
    return sum(len(log.read_text().splitlines()) for log in logs)


def await_still_records(server: Any) -> int:
    """Return the number once it has not changed for two seconds: logs are written late."""
    seen, since_s = count_records(server), time.monotonic()
    while time.monotonic() - since_s < 2.0:
        time.sleep(0.1)
        if (now := count_records(server)) != seen:
            seen, since_s = now, time.monotonic()
    return seen


def test_a_shadow_gets_the_same_requests_and_its_answers_are_dropped(
    serve: Callable[..., Proxy], stable: Any, candidate: Any
) -> None:
    proxy = serve(SHADOW)
    before = await_still_records(candidate)
    seen = ask_all(proxy, "X_Participant_Id", [f"key-{n}" for n in range(40)])
    assert set(seen.values()) == {stable.version}
    assert proxy.post(b"{").status_code == 400
    for _ in range(100):
        if count_records(candidate) - before == 41:
            return
        time.sleep(0.1)
    pytest.fail(f"the shadow was asked {count_records(candidate) - before} of 41")


@dataclass(frozen=True)
class Compared:
    """The sums of the counts in both servers' monitors."""

    same_status: float
    other_status: float
    people: float
    years: float


def read_compared(stable: Any, candidate: Any) -> Compared:
    seen: Counter[str] = Counter()
    for server in (stable, candidate):
        port = server.record.monitor_port or read_monitor_port(server.run)
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith("henaw_shadow_"):
                    versions = {sample.labels["version"], sample.labels["other"]}
                    assert versions == {stable.version, candidate.version}
                    seen[sample.labels.get("outcome", sample.name)] += sample.value
    difference = "henaw_shadow_difference_years"
    return Compared(
        same_status=seen["same_status"],
        other_status=seen["other_status"],
        people=seen[f"{difference}_count"],
        years=seen[f"{difference}_sum"],
    )


def await_stillness(stable: Any, candidate: Any, least: float = 0.0) -> Compared:
    """Return the counts once so many are compared, and no more for three seconds."""
    compared, still = read_compared(stable, candidate), 0
    for _ in range(120):
        time.sleep(0.5)
        before, compared = compared, read_compared(stable, candidate)
        still = still + 1 if compared == before else 0
        if still >= 6 and compared.same_status + compared.other_status >= least:
            break
    return compared


def test_each_shadowed_request_is_compared_once_and_its_difference_is_right(
    serve: Callable[..., Proxy], stable: Any, candidate: Any
) -> None:
    def find_ages(server: Any, body: Any) -> list[float]:
        url = f"{server.record.url}/predictions/henaw"
        answer = requests.post(url, json=body, timeout=60).json()
        return [one["biological_age"] for one in answer.get("predictions", [answer])]

    proxy = serve(SHADOW)
    one = [{**PERSON, "age": 30 + n} for n in range(40)]
    bodies = [*one, {"instances": one[:25]}]
    differences = [
        abs(ours - theirs)
        for body in bodies
        for ours, theirs in zip(find_ages(stable, body), find_ages(candidate, body), strict=True)
    ]
    assert sum(differences) > 1
    before = await_stillness(stable, candidate)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert {answer.status_code for answer in pool.map(proxy.post, bodies)} == {200}
    assert proxy.post(b"{").status_code == 400
    assert proxy.post(one[0], path="/explanations/henaw").status_code == 200
    total = before.same_status + before.other_status + len(bodies) + 2
    after = await_stillness(stable, candidate, total)
    assert after.same_status - before.same_status == len(bodies) + 2
    assert after.other_status == before.other_status
    assert after.people - before.people == 40 + 25 + 1
    # Answers are rounded to 1e-5 years, the ages compared are not.
    expected = sum(differences) + differences[0]
    assert after.years - before.years == pytest.approx(expected, abs=0.002)


def test_a_clients_own_shadow_id_is_removed(
    serve: Callable[..., Proxy], stable: Any, candidate: Any, upstream: Any
) -> None:
    upstream.answers += [(200, {"Content-Type": JSON}, b"{}")]
    forged = {"X-Henaw-Pair": "0" * 32}
    assert serve(stable_port=upstream.port).post(headers=forged).status_code == 200
    assert "x-henaw-pair" not in upstream.seen.pop()
    proxy = serve(SHADOW, stable_port=upstream.port, candidate_port=upstream.port)
    for asked in (2, 4, 6):
        assert proxy.post(headers=forged).status_code == 200
        for _ in range(100):
            if len(upstream.seen) == asked:
                break
            time.sleep(0.05)
    pairs = Counter(headers["x-henaw-pair"] for headers in upstream.seen)
    assert sorted(pairs.values()) == [2, 2, 2]
    assert forged["X-Henaw-Pair"] not in pairs
    # One client sends a request with the same id to both versions.
    before = await_stillness(stable, candidate)
    for changes in ((), (ALL,)):
        assert serve(*changes).post(headers=forged).status_code == 200
    assert await_stillness(stable, candidate) == before


def test_a_shadow_that_hangs_or_is_dead_delays_no_client(
    serve: Callable[..., Proxy], stable: Any, closed_port: int, stopped: None
) -> None:
    # To wait for the shadow would take longer than the client's timeout.
    forever = [(f"proxy_{which}_timeout {n}s", f"proxy_{which}_timeout 600s")
               for which, n in (("read", 1), ("read", 10), ("connect", 1))]  # fmt: skip
    for proxy in (serve(SHADOW, *forever), serve(SHADOW, candidate_port=closed_port)):
        with requests.Session() as session:
            for _ in range(200):
                answer = session.post(
                    f"{proxy.url}/predictions/henaw",
                    json=PERSON,
                    timeout=10,
                    verify=proxy.authority,
                )
                assert answer.json()["model"]["version"] == stable.version


def check_problem(response: requests.Response, status: int, slug: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == PROBLEM
    document = response.json()
    assert (document["status"], document["type"]) == (status, f"urn:henaw:problem:{slug}")
    assert document["title"]
    assert document["detail"]


def test_refusals_of_nginx_have_the_form_of_the_handlers(
    serve: Callable[..., Proxy], closed_port: int
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
    serve: Callable[..., Proxy], sent: bytes, status: int, slug: str
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


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers as TorchServe does by itself, or as the handler does under overload."""

    protocol_version = "HTTP/1.1"
    answers: ClassVar[list[tuple[int, dict[str, str], bytes]]] = []
    seen: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        self.seen.append({name.lower(): value for name, value in self.headers.items()})
        self.rfile.read(int(self.headers["Content-Length"]))
        status, headers, body = self.answers[(len(self.seen) - 1) % len(self.answers)]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def upstream() -> Iterator[type[Upstream]]:
    """A server whose answers a test chooses."""
    kind = type("Chosen", (Upstream,), {"answers": [], "seen": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        kind.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kind
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "told", "slug"),
    [(503, 503, "overloaded"), (500, 500, "internal"), (507, 500, "internal"),
     (413, 413, "too-large")],
)  # fmt: skip
def test_torchserves_own_refusals_are_problems(
    serve: Callable[..., Proxy], upstream: Any, status: int, told: int, slug: str
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
    serve: Callable[..., Proxy], upstream: Any
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
    serve: Callable[..., Proxy], upstream: Any
) -> None:
    upstream.answers += [(200, {"Content-Type": JSON}, b"{}")]
    headers = {"Describe": "True", "Explain": "True", "X-API-Key": "mine"}
    assert serve(stable_port=upstream.port).post(headers=headers).status_code == 200
    assert upstream.seen[0]["x-api-key"] == "mine"
    assert not {"describe", "explain"} & upstream.seen[0].keys()


def test_slow_clients_are_disconnected_and_connections_are_limited(
    serve: Callable[..., Proxy],
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
    serve: Callable[..., Proxy], closed_port: int
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
