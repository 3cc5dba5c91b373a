"""A valid request, decoded straight into arrays.

The contract's types check names, types and ranges. A request that they do not accept, because it
is wrong or only unusual, goes through :mod:`henaw.handler.request.decode` and
:mod:`henaw.handler.request.instances`, which explain what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
from henaw.handler.contract.types import (
    ABSENT,
    ANSWER_ALL,
    ANSWER_FIELDS,
    PARTICIPANT_ID,
    ManyPeople,
    OnePerson,
    Quantity,
    TensorsRequest,
)
from henaw.handler.errors import SPELLINGS, ProblemList
from henaw.handler.request.instances import Form, Instances
from henaw.handler.request.person import SEX_CODES, find_unit
from henaw.handler.request.tensors import add_required, check_arrays
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.errors import PanelError
from henaw.model.runtime import INPUT_NAMES, OUTPUT_NAMES
from msgspec import UNSET
from msgspec.structs import astuple

_get_biomarkers = attrgetter("biomarkers")
_get_others = attrgetter("age", "sex", "participant_id")


def read_valid(body: bytes, tree: object) -> Instances | None:
    """Read a valid request.

    Args:
        body: the body, as sent.
        tree: the decoded body.

    Returns:
        The instances; None if the request is not valid, or too unusual for this path.

    Example:
        >>> tree = {"age": 54, "sex": "male", "biomarkers": {"crp": 1.2}}
        >>> instances = read_valid(msgspec.json.encode(tree), tree)
        >>> instances.form, len(instances), int(instances.sex[0])
        (<Form.ONE: 'one'>, 1, 1)
        >>> tree["biomarkers"]["crp"] = "1.2"
        >>> read_valid(msgspec.json.encode(tree), tree) is None
        True
    """
    try:
        # msgspec's own decoder takes a thousand times as long for some numbers.
        if b'"instances"' in body:
            return _read_persons(body, msgspec.convert(tree, ManyPeople), Form.MANY)
        if b'"inputs"' in body:
            return _read_arrays(body, msgspec.convert(tree, TensorsRequest))
        return _read_persons(body, msgspec.convert(tree, OnePerson), Form.ONE)
    # ValueError: rows of different lengths.
    except (msgspec.MsgspecError, ValueError):
        return None


def _read_persons(body: bytes, request: Any, form: Form) -> Instances | None:
    persons = request.instances if form is Form.MANY else (request,)
    count = len(persons)
    values: list[Any] = list(chain.from_iterable(map(astuple, map(_get_biomarkers, persons))))
    ages, sexes, ids = zip(*map(_get_others, persons), strict=True) if persons else ((), (), ())
    unnamed = ids.count(UNSET)
    keys = (
        (form is Form.MANY)
        + (request.outputs is not UNSET)
        + (request.unreliable is not UNSET)
        + 4 * count
        - unnamed
        + len(values)
        - values.count(ABSENT)
    )
    try:
        biomarkers = np.fromiter(values, np.float64, len(values))
    except TypeError:  # a value has a unit, or is null
        quantities = [place for place, value in enumerate(values) if value.__class__ is Quantity]
        keys += 2 * len(quantities)
        if not _convert(values, quantities):
            return None
        biomarkers = np.array(values, np.float64)
    participant_ids: tuple[str | None, ...] = (None,) * count
    if unnamed < count:
        participant_ids = tuple(None if name is UNSET else name for name in ids)
        if not all(name is None or PARTICIPANT_ID.fullmatch(name) for name in participant_ids):
            return None
    if not _is_written_once(body, keys, participant_ids):
        return None
    return Instances(
        form=form,
        biomarkers=biomarkers.astype(np.float32).reshape(count, len(NAMES)),
        age=np.fromiter(ages, np.float32, count),
        sex=np.fromiter(map(SEX_CODES.__getitem__, sexes), np.int64, count),
        participant_ids=participant_ids,
        outputs=tuple(name for name in ANSWER_FIELDS if name in request.outputs)
        if request.outputs
        else ANSWER_FIELDS,
        answer_unreliable=request.unreliable == ANSWER_ALL,
    )


def _read_arrays(body: bytes, request: Any) -> Instances | None:
    choices = [choice for choice in request.outputs or () if not isinstance(choice, str)]
    asked = [getattr(choice, "name", choice) for choice in request.outputs or OUTPUT_NAMES]
    tensors = {tensor.__struct_config__.tag: tensor for tensor in request.inputs}
    named = (request.outputs, request.id, request.model_name)
    keys = 1 + 4 * len(INPUT_NAMES) + sum(value is not UNSET for value in named)
    parts = (request, *request.inputs, *choices)
    if (
        len(tensors) != len(INPUT_NAMES)
        or any(part.parameters is not UNSET for part in parts)
        or not _is_written_once(body, keys + len(choices))
    ):
        return None
    arrays = {name: np.array(tensors[name].data, dtype=np.float64).ravel() for name in INPUT_NAMES}
    n = len(arrays["age"])
    if [tensors[name].shape for name in INPUT_NAMES] != [[n, len(NAMES)], [n], [n]]:
        return None
    problems = ProblemList()
    check_arrays(arrays, problems)
    if problems:
        return None
    return Instances(
        form=Form.TENSORS,
        biomarkers=arrays["biomarkers"].reshape(n, len(NAMES)).astype(np.float32),
        age=arrays["age"].astype(np.float32),
        sex=arrays["sex"].astype(np.int64),
        participant_ids=(),
        outputs=add_required(asked),
        request_id=None if request.id is UNSET else request.id,
    )


def _is_written_once(body: bytes, keys: int, ids: Sequence[str | None] = ()) -> bool:
    """Return whether no key is duplicate: the text has only as many keys as were read.

    Each key has a colon. Of the strings that are read here only ids may contain more colons; the
    text has the same number of them unless it has escapes.
    """
    colons = body.count(b":")
    return colons == keys or (
        b"\\" not in body and colons == keys + "".join(filter(None, ids)).count(":")
    )


def _convert(values: list[Any], quantities: list[int]) -> bool:
    """Convert quantities to the panel's units in place; return False if one is not valid."""
    if len({(place % len(NAMES), values[place].unit) for place in quantities}) > SPELLINGS:
        return False
    for place in quantities:
        index, quantity = place % len(NAMES), values[place]
        try:
            unit = find_unit(index, quantity.unit)
        except PanelError:
            return False
        values[place] = si = math.nan if quantity.value is None else unit.to_si(quantity.value)
        if si < PANEL[index].minimum or si > PANEL[index].maximum:
            return False
    return True
