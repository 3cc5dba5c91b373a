import json

import pytest
from henaw.handler.errors import MalformedBodyError, TooLargeError
from henaw.handler.request.decode import MAXIMUM_DEPTH, check_size, decode_body
from hypothesis import given
from hypothesis import strategies as st

MALFORMED = {
    "empty": b"",
    "cut short": b'{"age": 5',
    "trailing comma": b'{"age": 54,}',
    "trailing text": b'{"age": 54} x',
    "two documents": b"{}{}",
    "not an object": b"[1]",
    "NaN": b'{"age": NaN}',
    "Infinity": b'{"age": Infinity}',
    "minus Infinity": b'{"age": -Infinity}',
    "larger than a double": b'{"age": 1e999}',
    "millions of digits": b'{"age": ' + b"1" * 900_000 + b"}",
    "byte order mark": b"\xef\xbb\xbf{}",
    "not UTF-8": b'{"a\xff": 1}',
    "UTF-16": '{"age": 54}'.encode("utf-16"),
    "lone surrogate": b'{"a": "\\ud800"}',
    "raw control character": b'{"a": "\x01"}',
    "single quotes": b"{'age': 54}",
    "duplicate key": b'{"age": 54, "age": 55}',
    "duplicate key, spaced": b'{"age" : 54, "age"\n:55}',
    "duplicate key, escaped": b'{"age": 54, "\\u0061ge": 55}',
    "duplicate key, nested": b'{"biomarkers": {"crp": 1, "crp": 2}}',
    "duplicate key beside colons": b'{"id": ":::", "age": 54, "age": 55}',
    "nested too deep": b'{"a": ' + b"[" * MAXIMUM_DEPTH + b"]" * MAXIMUM_DEPTH + b"}",
    "nested beyond the stack": b"[" * 500_000,
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_body_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        decode_body(body)


def test_the_deepest_body_allowed_is_read() -> None:
    inner = MAXIMUM_DEPTH - 1
    body = b'{"a": ' + b"[" * inner + b"]" * inner + b"}"
    assert decode_body(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "a:b", "x": {"y": ":"}}',
        b'{"id": "\\": \\"age\\":", "age": 1}',
        b'{":": ":", "\\\\": "\\\\:"}',
        b' {"age"\t:\n54 } ',
    ],
)
def test_colons_and_quotes_inside_strings_are_not_keys(body: bytes) -> None:
    assert decode_body(body) == json.loads(body)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(alphabet='":\\{}[], ab\u00e9', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(alphabet='":\\ ab', max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(alphabet='":\\ ab', max_size=3), JSON, max_size=5), st.booleans())
def test_every_document_without_duplicates_is_read_as_it_is(
    document: dict[str, object], spaced: bool
) -> None:
    separators = (" ,\n", " :\t") if spaced else (",", ":")
    body = json.dumps(document, separators=separators).encode()
    assert decode_body(body) == document


@given(st.dictionaries(st.text(alphabet='":\\ ab', max_size=3), JSON, min_size=1, max_size=5))
def test_every_repeated_key_is_found(document: dict[str, object]) -> None:
    key = next(iter(document))
    body = f"{json.dumps(document)[:-1]}, {json.dumps(key)}: 1}}".encode()
    with pytest.raises(MalformedBodyError, match="duplicate"):
        decode_body(body)


def test_body_over_a_limit_is_not_read() -> None:
    with pytest.raises(TooLargeError, match="at most 10 bytes; got 11"):
        check_size(b'{"age": 54}', maximum_bytes=10, maximum_values=100)
    with pytest.raises(TooLargeError, match="at most 9 values"):
        check_size(b"[0,1,2,3,4,5,6,7,8,9]", maximum_bytes=100, maximum_values=9)
    with pytest.raises(
        TooLargeError, match="more objects and arrays than a valid request of 2600 bytes"
    ):
        check_size(b"[]" * 1_300, maximum_bytes=10_000, maximum_values=10_000)
    check_size(b"[0,1,2,3,4,5,6,7,8,9]", maximum_bytes=100, maximum_values=10)
    with pytest.raises(MalformedBodyError, match="fewer than 65 digits"):
        check_size(b"[1." + b"7" * 65 + b"]", maximum_bytes=100, maximum_values=10)
    check_size(b"[1." + b"7" * 64 + b"]", maximum_bytes=100, maximum_values=10)
