"""JSON by parts is the JSON that the whole is, wherever the parts are cut."""

import io
import json
from typing import Any
from unittest import mock

import pytest
from henaw.intake import json_stream
from henaw.intake.json_stream import JsonStream
from hypothesis import given, settings
from hypothesis import strategies as st

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def read(text: str, block: int) -> list[tuple[Any, bool]]:
    with mock.patch.object(json_stream, "_BLOCK", block):
        return list(JsonStream(io.StringIO(text)).read("entry"))


@given(st.lists(VALUES, max_size=5), st.integers(1, 60), st.sampled_from(["\n", " ", "\r\n\r\n"]))
@settings(deadline=None)
def test_documents_are_read_at_every_block_size(items: list[Any], block: int, between: str) -> None:
    """A large one is its part's items, and then itself without the part."""
    documents = [{"entry": [item, item], "of": item} for item in items]
    seen = iter(read(between.join(map(json.dumps, documents)), block))
    for document in documents:
        value, is_item = next(seen)
        if is_item:
            assert (value, *next(seen)) == (document["of"], document["of"], True)
            assert next(seen) == ({"of": document["of"]}, False)
        else:
            assert value == document
    assert next(seen, None) is None


@given(st.lists(VALUES, max_size=6), st.integers(1, 60))
@settings(deadline=None)
def test_a_list_is_read_item_by_item(items: list[Any], block: int) -> None:
    assert [value for value, _ in read(json.dumps(items, indent=1), block)] == items


@pytest.mark.parametrize("number", ["1234.5678e-3", "-0.25", "1E+2", "true", "-12"])
@pytest.mark.parametrize("block", range(1, 8))
def test_a_number_is_not_cut(number: str, block: int) -> None:
    assert read(f"{number} {number}", block) == [(json.loads(number), False)] * 2


@pytest.mark.parametrize(
    "text", ["{", "[1 2]", '{"a" 1}', "{1: 2}", '["a', "[1,", "nul", '{"a": }']
)
@pytest.mark.parametrize("block", [1, 1 << 22])
def test_broken_json_is_an_error_at_every_block_size(text: str, block: int) -> None:
    with pytest.raises(json.JSONDecodeError):
        read(text, block)
