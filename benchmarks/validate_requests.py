"""What the claims about decoding and validating a request rest on; one run, one core.

    python benchmarks/validate_requests.py

Bytes to arrays that the graph takes, median of many: a valid request on the way it takes
in the server, one that is refused and explained, and pydantic v2 with the same names,
types, ranges and units (targets: one person under 100 us, 1 000 people under 5 ms).
"""

from __future__ import annotations

import contextlib
import functools
import json
import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from henaw.handler.errors import RequestError
from henaw.handler.request.decode import decode_body, load_json
from henaw.handler.request.fast_path import read_valid
from henaw.handler.request.instances import read_instances
from henaw.model.biomarkers import PANEL
from pydantic import BaseModel, ConfigDict, Field, create_model

PERSON: dict[str, Any] = {
    "age": 54,
    "sex": "female",
    "participant_id": "a-17",
    "biomarkers": {
        "crp": 1.2,
        "hba1c": {"value": 5.4, "unit": "%"},
        "creatinine": {"value": 0.9, "unit": "mg/dL"},
        "albumin": 45,
        "lymphocyte_pct": 29,
        "rdw": 13.1,
        "ggt": 22,
        "ast": 24,
        "alt": 20,
    },
}
VALUES = [1.2, 35.5, 79.6, 45.0, 29.0, 13.1, 22.0, 24.0, 20.0]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Quantity(Strict):
    value: float | None
    unit: str


Biomarkers = create_model(  # type: ignore[call-overload]
    "Biomarkers",
    __base__=Strict,
    **{
        b.name: (Annotated[float, Field(ge=b.minimum, le=b.maximum)] | Quantity | None, None)
        for b in PANEL
    },
)


class Person(Strict):
    age: Annotated[float, Field(ge=18, le=120)]
    sex: Literal["female", "male", 0, 1]
    biomarkers: Biomarkers  # type: ignore[valid-type]
    participant_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] | None = None


class People(Strict):
    instances: list[Person]


find_unit = functools.cache(lambda index, unit: PANEL[index].find_unit(unit))


def convert(person: Person) -> list[float]:
    row = []
    for index, biomarker in enumerate(PANEL):
        value = getattr(person.biomarkers, biomarker.name)
        if isinstance(value, Quantity):
            value = find_unit(index, value.unit).to_si(value.value)
            if not biomarker.minimum <= value <= biomarker.maximum:
                raise ValueError(value)
        row.append(np.nan if value is None else value)
    return row


def read_by_pydantic(body: bytes) -> object:
    persons = People.model_validate_json(body).instances
    return (
        np.array([convert(person) for person in persons], np.float32),
        np.array([person.age for person in persons], np.float32),
        np.array([person.sex in (1, "male") for person in persons], np.int64),
    )


def read_slowly(body: bytes) -> object:
    with contextlib.suppress(RequestError):
        return read_instances(decode_body(body), maximum_instances=10_000)
    return None


def measure(work: Callable[[], object], times: int) -> float:
    """Median seconds of this thread's own, so that figures hold on a busy machine."""
    seconds = []
    for _ in range(times):
        began = time.thread_time()
        work()
        seconds.append(time.thread_time() - began)
    return statistics.median(seconds)


def write_arrays(people: int) -> bytes:
    shape = [people, len(PANEL)]
    return json.dumps(
        {
            "inputs": [
                {"name": "biomarkers", "shape": shape, "datatype": "FP32", "data": VALUES * people},
                {"name": "age", "shape": [people], "datatype": "FP32", "data": [54] * people},
                {"name": "sex", "shape": [people], "datatype": "INT64", "data": [0] * people},
            ]
        }
    ).encode()


def main() -> None:
    for people, times in ((1, 5_000), (1_000, 100)):
        body = json.dumps({"instances": [PERSON] * people}).encode()
        wrong = body[:-2].rstrip(b"}") + b', "x": 1}}]}'
        ours = measure(lambda body=body: read_valid(body, load_json(body)), times)  # type: ignore[misc]
        slow = measure(lambda body=body: read_slowly(body), times)  # type: ignore[misc]
        refused = measure(
            lambda body=wrong: (read_valid(body, load_json(body)), read_slowly(body)), times
        )  # type: ignore[misc]
        theirs = measure(lambda body=body: read_by_pydantic(body), times)  # type: ignore[misc]
        print(
            f"{people} people: {ours * 1e6:.0f} us; pydantic {theirs * 1e6:.0f} us, "
            f"{theirs / ours:.1f} x; without the fast path {slow / ours:.1f} x; "
            f"refused {refused / ours:.1f} x"
        )
    body = write_arrays(10_000)
    ours = measure(lambda: read_valid(body, load_json(body)), 30)
    slow = measure(lambda: read_slowly(body), 30)
    print(
        f"10 000 people as arrays: {ours * 1e3:.1f} ms, {slow / ours:.1f} x without the fast path"
    )


if __name__ == "__main__":
    main()
