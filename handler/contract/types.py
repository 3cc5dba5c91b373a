"""The types of requests and answers; the published OpenAPI document is generated from them.

Ranges, names and units come from the panel, so that the document and
:mod:`henaw.handler.request.fast_path`, which decodes into these types, always agree with it.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final, Literal, Union

from henaw.model.biomarkers import (
    AGE_MAXIMUM_YEARS,
    AGE_MINIMUM_YEARS,
    NAMES,
    PANEL,
    SEXES,
    SYSTEMS,
    Biomarker,
)
from henaw.model.configuration import TYPICAL_VALUES
from henaw.model.reliability import Code
from henaw.model.runtime import INPUT_NAMES, OUTPUT_NAMES
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, defstruct

PARTICIPANT_ID: Final = re.compile("[A-Za-z0-9_.:-]{1,64}")
WITHHOLD, ANSWER_ALL = "withhold", "answer"
UNRELIABLE_CHOICES: Final = (WITHHOLD, ANSWER_ALL)
SERVED_NAME: Final = "henaw"
"""The model's name in paths and in the Open Inference Protocol, whichever checkpoint answers."""

LONGEST_UNIT: Final = 32
LONGEST_REQUEST_ID: Final = 64
DATATYPES: Final = {
    "biomarkers": ("FP32", "FP64"),
    "age": ("FP32", "FP64", "INT32", "INT64"),
    "sex": ("INT64", "INT32", "INT8", "UINT8"),
}
ABSENT: Final = math.nan
"""The value of a biomarker that was left out. Identity distinguishes it from null."""

# Used as values, because annotations cannot refer to names that come from tables.
_LIST: Any = list
_LITERAL: Any = Literal
_UNION: Any = Union


def _each_of(names: tuple[str, ...]) -> Meta:
    return Meta(extra_json_schema={"required": list(names), "propertyNames": {"enum": list(names)}})


Probability = Annotated[float, Meta(ge=0.0, le=1.0)]
BiomarkerName = Annotated[str, Meta(extra_json_schema={"enum": list(NAMES)})]
CauseRisks = Annotated[
    dict[str, Probability],
    Meta(
        description="by cause of death, as the model's metadata lists them in cause_names; "
        "empty where the model was fitted without causes"
    ),
]
SystemYears = Annotated[dict[str, float], _each_of(tuple(SYSTEMS))]
BiomarkerYears = Annotated[
    dict[str, float],
    Meta(
        description="years: typical_values (the difference between a person whose known values are "
        "all at the median and the typical person), then each biomarker, then each interaction",
        extra_json_schema={"required": [TYPICAL_VALUES, *NAMES]},
    ),
]
Percentile = Annotated[
    float,
    Meta(ge=0.0, le=100.0, description="of the age gap among people of that age and sex"),
]
DrawSpread = Annotated[
    float, Meta(ge=0.0, description="years, standard deviation of a repeat blood draw")
]


class Unusual(Struct, frozen=True, forbid_unknown_fields=True):
    """A value that few of the fitted people have, or that the model does not use."""

    code: Literal["outside_reference", "age_outside_fitted", "not_in_model"]
    field: str
    message: str


class Withheld(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a person's numbers are not reliable."""

    code: Code
    field: str
    message: str


class Model(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which model answered, on which runtime and with which laboratory's profile."""

    name: str
    version: str
    runtime: str
    lab: str | None = None


class Answer(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The answer about one person: the fields that the request names, or all.

    Where ``reliable`` is false, numbers are null, unless the request says otherwise.
    """

    participant_id: str | None = None
    biological_age: float | UnsetType | None = UNSET
    age_gap: float | UnsetType | None = UNSET
    interval: tuple[float, float] | UnsetType | None = UNSET
    percentile: Percentile | UnsetType | None = UNSET
    draw_sd: DrawSpread | UnsetType | None = UNSET
    mortality_10y: Probability | UnsetType | None = UNSET
    cause_risk_10y: CauseRisks | UnsetType | None = UNSET
    contributions: BiomarkerYears | UnsetType | None = UNSET
    systems: SystemYears | UnsetType | None = UNSET
    imputed: list[BiomarkerName] | UnsetType = UNSET
    reliable: bool | UnsetType = UNSET
    withheld: list[Withheld] | UnsetType = UNSET
    warnings: list[Unusual] | UnsetType = UNSET
    model: Model | UnsetType = UNSET


ANSWER_FIELDS: Final = Answer.__struct_fields__[1:]
"""The fields of an answer beside the participant's id, in order."""


class Predictions(Struct, forbid_unknown_fields=True):
    """The answers about many people, in the order of the request."""

    predictions: list[Answer]


class ExplainedBiomarker(Struct, forbid_unknown_fields=True):
    """One biomarker's part in the age gap, years, with what is usual."""

    name: BiomarkerName
    label: str
    unit: str
    value: float | None
    reference_median: float
    contribution: float | None
    imputed: bool
    outside_reference: bool


class ExplainedInteraction(Struct, forbid_unknown_fields=True):
    """What several biomarkers add together, years."""

    name: str
    contribution: float | None


class Explanation(Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """Every contribution to one person's age gap.

    Where ``reliable`` is false, what is computed is null, unless the request says otherwise.
    """

    participant_id: str | None = None
    biological_age: float | None
    age_gap: float | None
    percentile: Percentile | None
    draw_sd: DrawSpread | None
    typical_values: Annotated[
        float | None,
        Meta(
            description="years: the difference between a person whose known values are all at the "
            "median and the typical person"
        ),
    ]
    biomarkers: list[ExplainedBiomarker]
    interactions: list[ExplainedInteraction]
    systems: SystemYears | None
    reliable: bool
    withheld: list[Withheld]
    warnings: list[Unusual]
    model: Model


class Explanations(Struct, forbid_unknown_fields=True):
    """The explanations of many people, in their order."""

    explanations: list[Explanation]


class BinarySize(Struct, frozen=True, forbid_unknown_fields=True):
    """How many of the bytes after the JSON are an output's values."""

    binary_data_size: int


class OutputTensor(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One output of the graph for all people, row by row: its values, or their size in bytes."""

    name: Annotated[str, Meta(extra_json_schema={"enum": list(OUTPUT_NAMES)})]
    shape: list[int]
    datatype: Literal["FP32", "BOOL"]
    data: list[float | bool] | UnsetType = UNSET
    parameters: BinarySize | UnsetType = UNSET


class Runtime(Struct, frozen=True, forbid_unknown_fields=True):
    """The runtime and the model that answered."""

    runtime: str
    model: str


class TensorsAnswer(Struct, omit_defaults=True, forbid_unknown_fields=True, kw_only=True):
    """The graph's outputs, in the form of the Open Inference Protocol."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]
    parameters: Runtime


class Quantity(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A value and its unit."""

    value: float | None
    unit: Annotated[str, Meta(max_length=LONGEST_UNIT)]


# gc=False here and below: a bulk request creates thousands of these, and they have no cycles. If
# they were tracked, each request would make the collector visit every object of the process.
def _describe_biomarker(biomarker: Biomarker) -> tuple[str, Any, float]:
    number = Annotated[float, Meta(ge=biomarker.minimum, le=biomarker.maximum)]
    text = f"{biomarker.label}: in {biomarker.unit}, or with its unit, {', '.join(biomarker.units)}"
    return biomarker.name, Annotated[_UNION[number, Quantity, None], Meta(description=text)], ABSENT


Biomarkers = defstruct(
    "Biomarkers", [_describe_biomarker(b) for b in PANEL], forbid_unknown_fields=True, gc=False
)
_PERSON: Final[list[Any]] = [
    ("age", Annotated[float, Meta(ge=AGE_MINIMUM_YEARS, le=AGE_MAXIMUM_YEARS)]),
    ("sex", _LITERAL[SEXES + tuple(range(len(SEXES)))]),
    ("biomarkers", Biomarkers),
    (
        "participant_id",
        _UNION[
            # Checked by the readers, because Python's $ accepts a line end.
            Annotated[str, Meta(extra_json_schema={"pattern": f"^{PARTICIPANT_ID.pattern}$"})],
            None,
            UnsetType,
        ],
        UNSET,
    ),
]


def _choice_of(kind: Any) -> tuple[str, Any, UnsetType]:
    return "outputs", _UNION[Annotated[_LIST[kind], Meta(min_length=1)], None, UnsetType], UNSET


_UNRELIABLE: Final[tuple[str, Any, UnsetType]] = (
    "unreliable",
    _UNION[
        Annotated[
            _LITERAL[UNRELIABLE_CHOICES],
            Meta(
                description="what happens to numbers that are not reliable; the default is withhold"
            ),
        ],
        None,
        UnsetType,
    ],
    UNSET,
)
_CHOICES: Final[list[Any]] = [_choice_of(_LITERAL[ANSWER_FIELDS]), _UNRELIABLE]

Person = defstruct("Person", _PERSON, forbid_unknown_fields=True, gc=False)
OnePerson = defstruct("OnePerson", [*_PERSON, *_CHOICES], forbid_unknown_fields=True)
ManyPeople = defstruct(
    "ManyPeople", [("instances", _LIST[Person]), *_CHOICES], forbid_unknown_fields=True
)
OnePersonToExplain = defstruct(
    "OnePersonToExplain", [*_PERSON, _UNRELIABLE], forbid_unknown_fields=True
)
ManyPeopleToExplain = defstruct(
    "ManyPeopleToExplain", [("instances", _LIST[Person]), _UNRELIABLE], forbid_unknown_fields=True
)


# Not decoded here: request.binary_tensors reads them.
_PARAMETERS: Final[Any] = _UNION[Raw, UnsetType]


def _describe_input(name: str) -> type[Struct]:
    number = _UNION[float, None] if name == "biomarkers" else float
    axes = 2 if name == "biomarkers" else 1
    return defstruct(
        f"{name.capitalize()}Input",
        [
            ("shape", Annotated[list[int], Meta(min_length=axes, max_length=axes)]),
            ("datatype", _LITERAL[DATATYPES[name]]),
            ("data", _LIST[_UNION[number, _LIST[number]]]),
            ("parameters", _PARAMETERS, UNSET),
        ],
        tag_field="name",
        tag=name,
        forbid_unknown_fields=True,
    )


OutputChoice = defstruct(
    "OutputChoice",
    [("name", _LITERAL[OUTPUT_NAMES]), ("parameters", _PARAMETERS, UNSET)],
    forbid_unknown_fields=True,
)
TensorsRequest = defstruct(
    "TensorsRequest",
    [
        (
            "inputs",
            Annotated[
                _LIST[_UNION[tuple(_describe_input(name) for name in INPUT_NAMES)]],
                Meta(min_length=len(INPUT_NAMES), max_length=len(INPUT_NAMES)),
            ],
        ),
        _choice_of(_UNION[_LITERAL[OUTPUT_NAMES], OutputChoice]),
        ("id", _UNION[Annotated[str, Meta(max_length=LONGEST_REQUEST_ID)], None, UnsetType], UNSET),
        ("model_name", _UNION[_LITERAL[SERVED_NAME], UnsetType], UNSET),
        ("parameters", _PARAMETERS, UNSET),
    ],
    forbid_unknown_fields=True,
)
