"""Soak test: mixed traffic at a share of the server's capacity, for a long time.

    python benchmarks/serve/soak.py [--minutes 30] [--load 0.7] [--out build/soak.json]

Finds what a short test cannot: growing memory, a rare failure, an answer that becomes wrong. The
exit status is 1 if memory grew by 2 % or more after the warm-up, a request failed, or an answer
about a golden person differed from the stored one.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import http.client
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
from henaw.cli.server.record import Engine
from henaw.model.biomarkers import AGE_MAXIMUM_YEARS, AGE_MINIMUM_YEARS, NAMES, PANEL
from henaw.model.exported.golden import read_golden
from servers import REPOSITORY, export_shipped, serve_henaw

_CLIENTS = 8
_CAPACITY_S = 10.0
_SAMPLE_S = 1.0
_WARM_UP = 0.2
_GROWTH = 0.02
_TOLERANCE_YEARS = 1e-4
_SEED = 20_260_101


@dataclass(frozen=True, kw_only=True)
class Question:
    """One request, the status it must get and, for golden people, the ages it must get.

    None stands for an age that is withheld because the answer is not reliable.
    """

    path: str
    body: bytes
    status: int = 200
    ages: tuple[float | None, ...] = ()


def write_questions(golden: Path) -> list[Question]:
    """Write requests: mostly single people; some bulk, some explanations, some to be refused."""
    people, outputs = read_golden(golden)
    low, high = (np.array([getattr(b, name) for b in PANEL]) for name in ("minimum", "maximum"))
    outside = (people.biomarkers < low) | (people.biomarkers > high)
    accepted = ~outside.any(axis=1) & np.isin(people.sex, (0, 1))
    accepted &= (people.age >= AGE_MINIMUM_YEARS) & (people.age <= AGE_MAXIMUM_YEARS)
    instances: list[dict[str, Any]] = [
        {
            "age": float(people.age[row]),
            "sex": int(people.sex[row]),
            "biomarkers": {
                name: float(value)
                for name, value in zip(NAMES, people.biomarkers[row], strict=True)
                if not np.isnan(value)
            },
        }
        for row in np.flatnonzero(accepted)
    ]
    ages = tuple(
        age if reliable else None
        for age, reliable in zip(
            outputs["biological_age"][accepted].tolist(),
            outputs["reliable"][accepted].tolist(),
            strict=True,
        )
    )
    singles = [
        Question(path="predictions", body=_encode(person), ages=(age,))
        for person, age in zip(instances, ages, strict=True)
    ]
    others = [
        Question(path="predictions", body=_encode({"instances": instances}), ages=ages),
        Question(path="explanations", body=_encode(instances[0]), ages=ages[:1]),
        Question(path="predictions", body=b'{"age": 7}', status=422),
        Question(path="predictions", body=b"{", status=400),
    ]
    return singles + others


class Client:
    """One connection, with counts of the statuses and of wrong answers it got."""

    def __init__(self, url: str, questions: list[Question], seed: int) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=30
        )
        self._questions = questions
        self._random = random.Random(seed)
        self.statuses: Counter[int] = Counter()
        self.wrong: Counter[str] = Counter()

    def ask(self, until_s: float, every_s: float = 0.0) -> int:
        """Ask until a time, at a rate; return the number of requests."""
        asked = 0
        next_s = time.monotonic()
        while time.monotonic() < until_s:
            self._ask(self._random.choice(self._questions))
            asked += 1
            next_s = max(next_s + every_s, time.monotonic() - 1)
            time.sleep(max(0.0, next_s - time.monotonic()))
        return asked

    def _ask(self, question: Question) -> None:
        try:
            self._connection.request(
                "POST",
                f"/{question.path}/henaw",
                question.body,
                {"Content-Type": "application/json"},
            )
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self.wrong[type(error).__name__] += 1
            return
        self.statuses[response.status] += 1
        if response.status != question.status:
            self.wrong[f"{response.status} instead of {question.status}"] += 1
        elif question.ages:
            document = json.loads(body)
            answers = document.get("predictions", [document])
            # As floats, None is NaN.
            seen, expected = (
                np.array(ages, dtype=np.float64)
                for ages in ([answer["biological_age"] for answer in answers], question.ages)
            )
            if not np.allclose(seen, expected, rtol=0, atol=_TOLERANCE_YEARS, equal_nan=True):
                self.wrong["another answer"] += 1


def soak(folder: Path, *, engine: Engine, seconds: float, load: float) -> dict[str, Any]:
    """Run a server under load for some seconds, and report."""
    exported, archive = export_shipped(folder)
    questions = write_questions(exported / "golden.json")
    with (
        serve_henaw(archive, folder, engine=engine) as running,
        concurrent.futures.ThreadPoolExecutor(_CLIENTS) as pool,
    ):
        clients = [Client(running.url, questions, _SEED + n) for n in range(_CLIENTS)]
        until_s = time.monotonic() + _CAPACITY_S
        asked = sum(pool.map(lambda client: client.ask(until_s), clients))
        every_s = _CLIENTS / (asked / _CAPACITY_S * load)
        started_s = time.monotonic()
        asking = [
            pool.submit(client.ask, started_s + seconds, every_s=every_s) for client in clients
        ]
        server = psutil.Process(running.pid)
        samples = []
        while time.monotonic() < started_s + seconds:
            family = [server, *server.children()]
            samples.append([process.memory_info().rss / 1e6 for process in family])
            time.sleep(_SAMPLE_S)
        rate = sum(future.result() for future in asking) / seconds
    warm = np.array(samples[int(len(samples) * _WARM_UP) :])
    tenth = max(1, len(warm) // 10)
    begin, end = np.median(warm[:tenth], axis=0), np.median(warm[-tenth:], axis=0)
    report = {
        "seconds": seconds,
        "capacity_requests_s": asked / _CAPACITY_S,
        "requests_s": rate,
        "statuses": dict(sum((client.statuses for client in clients), Counter())),
        "wrong": dict(sum((client.wrong for client in clients), Counter())),
        "memory_mb": {"after_warm_up": begin.tolist(), "at_the_end": end.tolist()},
        "worker_growth": float(end[1] / begin[1] - 1),
        "front_end_growth": float(end[0] / begin[0] - 1),
    }
    growth = max(report["worker_growth"], report["front_end_growth"])
    return report | {"passed": not report["wrong"] and growth < _GROWTH}


def _encode(body: object) -> bytes:
    return json.dumps(body).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--engine", choices=("native", "torchserve"), default="native")
    parser.add_argument("--load", type=float, default=0.7, help="share of the capacity")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "soak.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="henaw-soak-") as name:
        report = soak(
            Path(name),
            engine=arguments.engine,
            seconds=arguments.minutes * 60,
            load=arguments.load,
        )
    text = json.dumps(report, indent=2)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit(0 if report["passed"] else 1)


if __name__ == "__main__":
    main()
