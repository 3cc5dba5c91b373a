"""The graph's outputs as JSON answers: numbers rounded, flags as warnings.

The contract's types define the JSON. One template answer is written from them, with a mark in each
place where people differ. Each person's numbers and lists then replace the marks. It would take
longer to make an object for every person than to run the graph.
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
from henaw.handler.contract.types import ANSWER_FIELDS, Answer, Model
from henaw.handler.metadata import Metadata
from henaw.handler.request.instances import Form, Instances
from henaw.handler.response.cautions import find_warnings, find_withheld
from henaw.model.biomarkers import NAMES
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
"""Numeric fields of an answer: the graph's output and the number of decimals of each."""

_LISTS = {"imputed": b"[]", "reliable": b"true", "withheld": b"[]", "warnings": b"[]"}
"""Fields after the numbers, and their value for most people."""

_WHY = frozenset({"reliable", "withheld"})
"""Fields that say why numbers are withheld."""

_encode = msgspec.json.Encoder().encode
_MARK = "\0"
_WRITTEN_MARK = _encode(_MARK)


def round_output(outputs: Outputs, name: str) -> list[Any]:
    """Return an output as Python numbers without the noise of float32, and without -0.0."""
    decimals = _PERCENTILE_DECIMALS if name == "percentile" else _YEAR_DECIMALS
    rounded: list[Any] = (outputs[name].astype(np.float64).round(decimals) + 0.0).tolist()
    return rounded


class _Template(NamedTuple):
    """The JSON of an answer with certain fields, with gaps where people differ.

    Attributes:
        pieces: alternately text and an empty gap; the text begins with a comma.
        around_id: the two halves of the first text if the person has an id.
        columns: the column of the number in each of the first gaps.
        lists: the place of each of the other gaps, and its field.
    """

    pieces: list[bytes]
    around_id: tuple[bytes, bytes]
    columns: list[int]
    lists: list[tuple[int, str]]


class AnswerTemplates:
    """Templates of one model's answers.

    Args:
        metadata: names of the graph's outputs.
        lab: name of the laboratory whose profile is set.

    Attributes:
        scale: (k,) ten to the power of the decimals of each number, in the order of fields.
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
        self._made: dict[tuple[tuple[str, ...], Model], _Template] = {}

    def get(self, fields: tuple[str, ...], model: Model) -> _Template:
        """Return the template of an answer with these fields; at most a few hundred exist."""
        template = self._made.get((fields, model))
        if template is None:
            template = self._made[fields, model] = self._make(fields, model)
        return template

    def _make(self, fields: tuple[str, ...], model: Model) -> _Template:
        marked = {field: self._marked.get(field, _MARK) for field in fields}
        if "model" in marked:
            marked["model"] = model
        first, *others = (b"," + _encode(Answer(**marked))).split(_WRITTEN_MARK)
        before, after, *_ = (b"," + _encode(Answer(_MARK, **marked))).split(_WRITTEN_MARK)
        columns = [column for field in fields for column in self._columns.get(field, ())]
        lists = [field for field in fields if field in _LISTS]
        return _Template(
            pieces=[first, *(piece for other in others for piece in (b"", other))],
            around_id=(before, after),
            columns=columns,
            lists=[(2 * place + 1, field) for place, field in enumerate(lists, len(columns))],
        )


class AnswerWriter:
    """Writes the answers of one batch, for each request in it.

    Args:
        outputs: the graph's outputs for all people of the batch.
        biomarkers: (n, 9) float32, the graph's input, NaN = missing.
        age: (n,) float32, years.
        templates: the templates of the model's answers.
        runtime: the runtime that computed the outputs.

    Attributes:
        model: which model answered, and on which runtime.
    """

    def __init__(
        self,
        outputs: Outputs,
        biomarkers: npt.NDArray[np.float32],
        age: npt.NDArray[np.float32],
        templates: AnswerTemplates,
        *,
        runtime: str,
    ) -> None:
        self._outputs = outputs
        self._biomarkers = biomarkers
        self._age = age
        self._templates = templates
        metadata = templates.metadata
        self.model = Model(
            name=metadata.name, version=metadata.version, runtime=runtime, lab=templates.lab
        )
        numbers = [outputs[output] for output, _ in NUMBERS.values()]
        self._numbers = np.concatenate(
            [values if values.ndim > 1 else values[:, np.newaxis] for values in numbers], axis=1
        )
        self._lists: dict[str, list[bytes]] = {}

    def find_unusable_rows(self) -> npt.NDArray[np.bool_] | None:
        """Return (n,) bool, true where any number is not finite; None where all are finite.

        Usually one sum is enough: it is finite only if every number is finite.
        """
        if math.isfinite(float(self._numbers.sum(dtype=np.float64))):
            return None
        unusable: npt.NDArray[np.bool_] = ~np.isfinite(self._numbers).all(axis=1)
        return unusable

    def write(self, instances: Instances, rows: slice) -> bytes:
        """Return the answers to one request as JSON, separated by commas.

        Args:
            instances: the people of the request.
            rows: their rows in the batch.
        """
        fields = instances.outputs
        if instances.answer_unreliable:
            # An answer with unreliable numbers always says that they are unreliable.
            fields = tuple(name for name in ANSWER_FIELDS if name in fields or name in _WHY)
        template = self._templates.get(fields, self.model)
        before, after = template.around_id
        width, step = len(self._templates.scale), len(template.pieces)
        numbers = self._texts[rows.start * width : rows.stop * width]
        pieces = template.pieces * len(instances)
        pieces[::step] = [
            template.pieces[0] if name is None else before + _encode(name) + after
            for name in instances.participant_ids
        ]
        columns = template.columns
        if len(instances) == 1:
            pieces[1 : 2 * len(columns) : 2] = [numbers[column] for column in columns]
        else:
            for place, column in enumerate(columns):
                pieces[2 * place + 1 :: step] = numbers[column::width]
        for place, field in template.lists:
            pieces[place::step] = self._get_lists(field)[rows]
        if self._unreliable and not instances.answer_unreliable:
            for row in self._find_unreliable(rows):
                first = (row - rows.start) * step
                text = self._write_withheld(instances, row - rows.start, row)
                pieces[first : first + step] = [text, *[b""] * (step - 1)]
        return b"".join(pieces)[1:]

    def find_withheld_rows(self, parts: Sequence[Instances]) -> npt.NDArray[np.bool_]:
        """Return (n,) bool, true where numbers are withheld.

        Args:
            parts: the instances of each request of the batch, in order.
        """
        withheld: npt.NDArray[np.bool_] = ~self._outputs["reliable"]
        if self._unreliable:
            kept = [part.answer_unreliable or part.form is Form.TENSORS for part in parts]
            withheld &= ~np.repeat(kept, [len(part) for part in parts])
        return withheld

    def _find_unreliable(self, rows: slice) -> list[int]:
        places = self._unreliable
        return places[bisect_left(places, rows.start) : bisect_left(places, rows.stop)]

    def _write_withheld(self, instances: Instances, place: int, row: int) -> bytes:
        """Return the answer for a person whose numbers are withheld, after a comma."""
        asked = instances.outputs
        numbers = [field for field in asked if field in NUMBERS]
        fields: dict[str, Any] = dict.fromkeys(numbers) | {
            field: msgspec.Raw(self._get_lists(field)[row])
            for field in _LISTS
            if field in asked or (numbers and field in _WHY)
        }
        if "model" in asked:
            fields["model"] = self.model
        return b"," + _encode(Answer(instances.participant_ids[place], **fields))

    @cached_property
    def _unreliable(self) -> list[int]:
        """Rows whose numbers are not reliable, ascending."""
        rows: list[int] = np.flatnonzero(~self._outputs["reliable"]).tolist()
        return rows

    @cached_property
    def _texts(self) -> list[bytes]:
        """The text of every number, person by person, without float32 noise and without -0.0."""
        scale = self._templates.scale
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
        """Return the field's value by row, where it is not the usual one."""
        if field == "reliable":
            return dict.fromkeys(self._unreliable, False)
        if field in ("warnings", "withheld"):
            find = find_warnings if field == "warnings" else find_withheld
            return find(self._outputs, self._biomarkers, self._age, self._templates.metadata)
        imputed: dict[int, list[str]] = {}
        if self._outputs["imputed"].any():
            rows, biomarkers = (axis.tolist() for axis in np.nonzero(self._outputs["imputed"]))
            for row, biomarker in zip(rows, biomarkers, strict=True):
                imputed.setdefault(row, []).append(NAMES[biomarker])
        return imputed
