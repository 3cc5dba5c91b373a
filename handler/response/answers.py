"""The graph's outputs as answers: numbers rounded, flags as warnings.

The contract's types say how an answer is written. They write one with marks where people
differ, and each person's own numbers and lists take the marks' places: an object for
every person would cost more than the graph does.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import orjson
from henaw.handler.contract.types import ANSWER_FIELDS, Answer, Model, Unusual, Withheld
from henaw.handler.metadata import Metadata
from henaw.handler.request.instances import Form, People
from henaw.handler.wording import describe_implausible
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.reliability import find_reasons
from henaw.model.runtime import Outputs

_YEAR_DECIMALS = 5
"""Ten times finer than the 1e-4 years within which runtimes agree."""

_PROBABILITY_DECIMALS = 7
_PERCENTILE_DECIMALS = 2

NUMBERS = {
    "biological_age": ("biological_age", _YEAR_DECIMALS),
    "age_gap": ("age_gap", _YEAR_DECIMALS),
    "interval": ("interval", _YEAR_DECIMALS),
    "percentile": ("percentile", _PERCENTILE_DECIMALS),
    "draw_sd": ("draw_sd", _YEAR_DECIMALS),
    "mortality_10y": ("mortality_10y", _PROBABILITY_DECIMALS),
    "cause_risk_10y": ("cause_risk_10y", _PROBABILITY_DECIMALS),
    "contributions": ("contributions", _YEAR_DECIMALS),
    "systems": ("system_contributions", _YEAR_DECIMALS),
}
"""Fields of an answer that hold numbers: the graph's output, and how many decimals."""

_LISTS = {"imputed": b"[]", "reliable": b"true", "withheld": b"[]", "warnings": b"[]"}
"""Fields that come after the numbers, and what stands there for most people."""

_WHY = frozenset({"reliable", "withheld"})
"""Fields that say why there are no numbers."""

_encode = msgspec.json.Encoder().encode
_MARK = "\0"
_WRITTEN_MARK = _encode(_MARK)


def round_output(outputs: Outputs, name: str) -> list[Any]:
    """Return an output as Python numbers without the noise of float32, and without -0.0."""
    decimals = _PERCENTILE_DECIMALS if name == "percentile" else _YEAR_DECIMALS
    rounded: list[Any] = (outputs[name].astype(np.float64).round(decimals) + 0.0).tolist()
    return rounded


class _Frame(NamedTuple):
    """Text of an answer of certain fields, with places for what differs between people.

    Attributes:
        pieces: text, beginning with a comma, and at every odd place nothing yet.
        around_id: what the first text is where there is an id: before it and after it.
        columns: of the numbers, among all; they have the first of the odd places.
        lists: place of each field that is not of numbers, and the field.
    """

    pieces: list[bytes]
    around_id: tuple[bytes, bytes]
    columns: list[int]
    lists: list[tuple[int, str]]


class AnswerForm:
    """How the answers of one model are written.

    Args:
        metadata: names of what the graph's outputs hold.
        lab: name of the laboratory whose profile is set.

    Attributes:
        scale: (k,) ten to the decimals of each number in an answer, in the order of fields.
    """

    def __init__(self, metadata: Metadata, lab: str | None = None) -> None:
        self.metadata = metadata
        self.lab = lab
        self._marked: dict[str, Any] = {
            "interval": (_MARK, _MARK),
            "cause_risk_10y": dict.fromkeys(metadata.cause_names, _MARK),
            "contributions": dict.fromkeys(metadata.contribution_names, _MARK),
            "systems": dict.fromkeys(metadata.system_names, _MARK),
        }
        widths = [len(self._marked.get(field, _MARK)) for field in NUMBERS]
        self.scale = np.repeat([10.0**decimals for _, decimals in NUMBERS.values()], widths)
        columns = iter(range(len(self.scale)))
        self._columns = {
            field: list(islice(columns, width))
            for field, width in zip(NUMBERS, widths, strict=True)
        }
        self._frames: dict[tuple[tuple[str, ...], Model], _Frame] = {}

    def get_frame(self, fields: tuple[str, ...], model: Model) -> _Frame:
        """Return the text of an answer of these fields; there are at most some hundred."""
        frame = self._frames.get((fields, model))
        if frame is None:
            frame = self._frames[fields, model] = self._make_frame(fields, model)
        return frame

    def _make_frame(self, fields: tuple[str, ...], model: Model) -> _Frame:
        marked = {field: self._marked.get(field, _MARK) for field in fields}
        if "model" in marked:
            marked["model"] = model
        first, *others = (b"," + _encode(Answer(**marked))).split(_WRITTEN_MARK)
        before, after, *_ = (b"," + _encode(Answer(_MARK, **marked))).split(_WRITTEN_MARK)
        columns = [column for field in fields for column in self._columns.get(field, ())]
        lists = [field for field in fields if field in _LISTS]
        return _Frame(
            pieces=[first, *(piece for other in others for piece in (b"", other))],
            around_id=(before, after),
            columns=columns,
            lists=[(2 * place + 1, field) for place, field in enumerate(lists, len(columns))],
        )


class Answers:
    """One evaluation's outputs as the text of answers, for every request that shared it.

    Args:
        outputs: the graph's.
        biomarkers: (n, 9) float32, what it was given, NaN = missing.
        age: (n,) float32, years.
        form: how they are written.
        runtime: the one that answered.
    """

    def __init__(
        self,
        outputs: Outputs,
        biomarkers: npt.NDArray[np.float32],
        age: npt.NDArray[np.float32],
        form: AnswerForm,
        *,
        runtime: str,
    ) -> None:
        self._outputs = outputs
        self._biomarkers = biomarkers
        self._age = age
        self._form = form
        metadata = form.metadata
        self.model = Model(
            name=metadata.name, version=metadata.version, runtime=runtime, lab=form.lab
        )
        numbers = [outputs[output] for output, _ in NUMBERS.values()]
        self._numbers = np.concatenate(
            [values if values.ndim > 1 else values[:, np.newaxis] for values in numbers], axis=1
        )
        self._lists: dict[str, list[bytes]] = {}

    def find_unusable_rows(self) -> npt.NDArray[np.bool_] | None:
        """Return (n,) true where any number is not finite, and so must not be answered.

        None where all are, which a sum tells in one pass: it is finite only if they are.
        """
        if math.isfinite(float(self._numbers.sum(dtype=np.float64))):
            return None
        unusable: npt.NDArray[np.bool_] = ~np.isfinite(self._numbers).all(axis=1)
        return unusable

    def write(self, people: People, rows: slice) -> bytes:
        """Return the answers of a request's people as JSON, with commas between them.

        Args:
            people: a request.
            rows: where its people are.
        """
        fields = people.outputs
        if people.answer_unreliable:
            # Numbers that would be withheld never stand without saying so.
            fields = tuple(name for name in ANSWER_FIELDS if name in fields or name in _WHY)
        frame = self._form.get_frame(fields, self.model)
        before, after = frame.around_id
        width, step = len(self._form.scale), len(frame.pieces)
        numbers = self._texts[rows.start * width : rows.stop * width]
        pieces = frame.pieces * len(people)
        pieces[::step] = [
            frame.pieces[0] if name is None else before + _encode(name) + after
            for name in people.participant_ids
        ]
        if len(people) == 1:
            pieces[1 : 2 * len(frame.columns) : 2] = [numbers[column] for column in frame.columns]
        else:
            for place, column in enumerate(frame.columns):
                pieces[2 * place + 1 :: step] = numbers[column::width]
        for place, field in frame.lists:
            pieces[place::step] = self._get_lists(field)[rows]
        if self._unreliable and not people.answer_unreliable:
            for row in self._find_unreliable(rows):
                first = (row - rows.start) * step
                text = self._write_withheld(people, row - rows.start, row)
                pieces[first : first + step] = [text, *[b""] * (step - 1)]
        return b"".join(pieces)[1:]

    def find_withheld_rows(self, parts: Sequence[People]) -> npt.NDArray[np.bool_]:
        """Return (n,) true where numbers are withheld.

        Args:
            parts: the requests that shared the evaluation, in its order.
        """
        withheld: npt.NDArray[np.bool_] = ~self._outputs["reliable"]
        if self._unreliable:
            kept = [people.answer_unreliable or people.form is Form.TENSORS for people in parts]
            withheld &= ~np.repeat(kept, [len(people) for people in parts])
        return withheld

    def _find_unreliable(self, rows: slice) -> list[int]:
        places = self._unreliable
        return places[bisect_left(places, rows.start) : bisect_left(places, rows.stop)]

    def _write_withheld(self, people: People, place: int, row: int) -> bytes:
        """The answer to somebody whose numbers are withheld, after a comma."""
        asked = people.outputs
        numbers = [field for field in asked if field in NUMBERS]
        fields: dict[str, Any] = dict.fromkeys(numbers) | {
            field: msgspec.Raw(self._get_lists(field)[row])
            for field in _LISTS
            if field in asked or (numbers and field in _WHY)
        }
        if "model" in asked:
            fields["model"] = self.model
        return b"," + _encode(Answer(people.participant_ids[place], **fields))

    @cached_property
    def _unreliable(self) -> list[int]:
        """Rows that are not reliable, ascending."""
        rows: list[int] = np.flatnonzero(~self._outputs["reliable"]).tolist()
        return rows

    @cached_property
    def _texts(self) -> list[bytes]:
        """Every number, person by person, without the noise of float32 and without -0.0."""
        scale = self._form.scale
        rounded = np.rint(self._numbers * scale) / scale + 0.0
        return orjson.dumps(rounded.ravel(), option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")

    def _get_lists(self, field: str) -> list[bytes]:
        column = self._lists.get(field)
        if column is None:
            column = self._lists[field] = [_LISTS[field]] * len(self._age)
            for row, listed in self._find_lists(field).items():
                column[row] = _encode(listed)
        return column

    def _find_lists(self, field: str) -> Mapping[int, Any]:
        """What stands there for those who are not like most, by row."""
        if field == "reliable":
            return dict.fromkeys(self._unreliable, False)
        if field in ("warnings", "withheld"):
            find = find_warnings if field == "warnings" else find_withheld
            return find(self._outputs, self._biomarkers, self._age, self._form.metadata)
        imputed: dict[int, list[str]] = {}
        if self._outputs["imputed"].any():
            for row, biomarker in np.argwhere(self._outputs["imputed"]).tolist():
                imputed.setdefault(row, []).append(NAMES[biomarker])
        return imputed


def find_withheld(
    outputs: Outputs,
    biomarkers: npt.NDArray[np.float32],
    age: npt.NDArray[np.float32],
    metadata: Metadata,
) -> dict[int, list[Withheld]]:
    """Return why the numbers of people who are not reliable are not, by row."""
    reasons = find_reasons(
        outputs,
        biomarkers,
        age,
        critical_limits=metadata.critical_limits,
        fitted_ages=metadata.fitted_ages,
    )
    return {row: [Withheld(*reason) for reason in found] for row, found in reasons.items()}


def find_warnings(
    outputs: Outputs,
    biomarkers: npt.NDArray[np.float32],
    age: npt.NDArray[np.float32],
    metadata: Metadata,
) -> dict[int, list[Unusual]]:
    """Return the warnings of people who have any, by row."""
    warnings: dict[int, list[Unusual]] = {}
    for row in np.flatnonzero(outputs["age_out_of_range"]).tolist():
        low, high = metadata.fitted_ages
        warnings[row] = [
            Unusual(
                code="age_outside_fitted",
                field="age",
                message=f"{age[row]:.6g} years is outside the fitted {low:g} to {high:g}:"
                " the reference of the nearest fitted age was used",
            )
        ]
    for place, name in enumerate(NAMES):
        if name in metadata.used_biomarkers:
            continue
        for row in np.flatnonzero(np.isfinite(biomarkers[:, place])).tolist():
            warnings.setdefault(row, []).append(
                Unusual(
                    code="not_in_model",
                    field=name,
                    message=f"{PANEL[place].label} is not part of this model: "
                    "its value is not used",
                )
            )
    if not outputs["out_of_range"].any():
        return warnings
    for row, column in np.argwhere(outputs["out_of_range"]).tolist():
        biomarker = PANEL[column]
        value = float(biomarkers[row, column])
        message = f"{value:.6g} {biomarker.unit} is outside what 99.8 % of the fitted people have"
        _, hint = describe_implausible(biomarker, value)
        if hint is not None:
            message += f"; {hint}"
        warnings.setdefault(row, []).append(
            Unusual(code="outside_reference", field=biomarker.name, message=message)
        )
    return warnings
