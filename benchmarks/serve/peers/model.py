"""The model as FastAPI serves it, with the validation of HENAW's handler by pydantic.

It reads the two exported files, ``henaw.onnx`` and ``henaw.json``, and imports nothing of HENAW. A
body is one person, or ``instances``; answers have every field of HENAW's answers.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import onnxruntime
import orjson
from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, model_validator

_FOLDER = Path(os.environ["HENAW_EXPORTED"])
_SIDECAR = json.loads((_FOLDER / "henaw.json").read_text(encoding="utf-8"))
_PANEL = _SIDECAR["panel"]
_NAMES = [biomarker["name"] for biomarker in _PANEL]
_BOUNDS = {b["name"]: (b["minimum"], b["maximum"]) for b in _PANEL}
_UNITS = _SIDECAR["units"]["conversions"]
_LOW, _HIGH = _SIDECAR["accepted_ages"]
_OUTPUTS = (
    "biological_age", "age_gap", "interval", "mortality_10y", "cause_risk_10y",
    "contributions", "system_contributions", "imputed", "out_of_range", "age_out_of_range",
)  # fmt: skip
_YEARS, _PROBABILITY = 5, 7

_Number = StrictFloat | StrictInt


class Quantity(BaseModel):
    model_config = ConfigDict(extra="forbid")
    value: _Number
    unit: Annotated[str, Field(max_length=32)]


class Biomarkers(BaseModel):
    model_config = ConfigDict(extra="forbid")
    crp: _Number | Quantity | None = None
    hba1c: _Number | Quantity | None = None
    creatinine: _Number | Quantity | None = None
    albumin: _Number | Quantity | None = None
    lymphocyte_pct: _Number | Quantity | None = None
    rdw: _Number | Quantity | None = None
    ggt: _Number | Quantity | None = None
    ast: _Number | Quantity | None = None
    alt: _Number | Quantity | None = None

    @model_validator(mode="after")
    def _convert(self) -> Biomarkers:
        values = self.__dict__
        for name, given in values.items():
            if given is None:
                continue
            if given.__class__ is Quantity:
                conversion = _UNITS[name].get(given.unit)
                if conversion is None:
                    raise ValueError(f"{name}: {given.unit!r} is not one of {list(_UNITS[name])}")
                values[name] = given.value * conversion["factor"] + conversion["offset"]
            minimum, maximum = _BOUNDS[name]
            if not minimum <= values[name] <= maximum:
                raise ValueError(f"{name}: {values[name]} is outside {minimum} to {maximum}")
        return self


class Person(BaseModel):
    model_config = ConfigDict(extra="forbid")
    age: Annotated[_Number, Field(ge=_LOW, le=_HIGH)]
    sex: Literal["female", "male", 0, 1]
    biomarkers: Biomarkers
    participant_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] | None = None


class People(BaseModel):
    model_config = ConfigDict(extra="forbid")
    instances: Annotated[list[Person], Field(max_length=10_000)]


def _open_session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(_FOLDER / "henaw.onnx"), options, providers=["CPUExecutionProvider"]
    )


_SESSION = _open_session()
_MODEL = {"name": _SIDECAR["name"], "version": _SIDECAR["version"], "runtime": "onnxruntime-cpu"}


def answer_body(body: bytes) -> bytes:
    """Return the answer to one person's or many people's JSON; raises ValidationError."""
    if b'"instances"' in body:
        return orjson.dumps({"predictions": answer(People.model_validate_json(body).instances)})
    return orjson.dumps(answer([Person.model_validate_json(body)])[0])


def answer(people: list[Person]) -> list[dict[str, Any]]:
    """Evaluate the graph once and write each person's answer."""
    values = [[*person.biomarkers.__dict__.values()] for person in people]
    outputs = dict(
        zip(
            _OUTPUTS,
            _SESSION.run(
                list(_OUTPUTS),
                {
                    "biomarkers": np.array(values, np.float32),
                    "age": np.array([person.age for person in people], np.float32),
                    "sex": np.array([person.sex in ("male", 1) for person in people], np.int64),
                },
            ),
            strict=True,
        )
    )
    columns = {
        name: outputs[name]
        .astype(np.float64)
        .round(_PROBABILITY if name in ("mortality_10y", "cause_risk_10y") else _YEARS)
        .tolist()
        for name in _OUTPUTS[:7]
    }
    return [
        {
            **({"participant_id": person.participant_id} if person.participant_id else {}),
            "biological_age": columns["biological_age"][row],
            "age_gap": columns["age_gap"][row],
            "interval": columns["interval"][row],
            "mortality_10y": columns["mortality_10y"][row],
            "cause_risk_10y": dict(
                zip(_SIDECAR["cause_names"], columns["cause_risk_10y"][row], strict=True)
            ),
            "contributions": dict(
                zip(_SIDECAR["contribution_names"], columns["contributions"][row], strict=True)
            ),
            "systems": dict(
                zip(_SIDECAR["system_names"], columns["system_contributions"][row], strict=True)
            ),
            "imputed": [_NAMES[i] for i in np.flatnonzero(outputs["imputed"][row])],
            "warnings": [
                {"code": "outside_reference", "field": _NAMES[i], "message": "outside"}
                for i in np.flatnonzero(outputs["out_of_range"][row])
            ],
            "model": _MODEL,
        }
        for row, person in enumerate(people)
    ]
