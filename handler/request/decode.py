"""Bytes to a JSON tree, strictly.

Stricter than JSON itself where leniency loses data: a duplicate key would silently
drop one of two values, and NaN or Infinity are not numbers.
"""

from __future__ import annotations

import contextlib
import gc
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import orjson
from henaw.handler.errors import MalformedBodyError, TooLargeError

MAXIMUM_DEPTH = 32

# Consumes every string whole, so that a quote or colon inside one is never taken for
# JSON's own; the group is set where the string is an object's key.
_STRING_OR_KEY = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"(?:\s*(:))?')


def check_size(body: bytes, *, maximum_bytes: int, maximum_values: int) -> None:
    """Refuse a body that is too large, or too dense, to be looked into.

    Args:
        body: as sent.
        maximum_bytes: the largest body accepted.
        maximum_values: the most values in it: objects, arrays and commas. Those in strings are
            counted too: no name or unit has many.

    Raises:
        TooLargeError: it is.
        MalformedBodyError: it has a number that takes long to read.
    """
    if len(body) > maximum_bytes:
        raise TooLargeError(f"expected at most {maximum_bytes} bytes, however: {len(body)}")
    brackets = body.count(b"[") + body.count(b"{")
    if brackets > _BRACKETS + len(body) // _BYTES_PER_BRACKET:
        if _measure_depth(body) > MAXIMUM_DEPTH:
            raise MalformedBodyError(_TOO_DEEP)
        raise TooLargeError(f"The body has more objects and arrays than fit {len(body)} bytes")
    if brackets + body.count(b",") > maximum_values:
        raise TooLargeError(
            f"The body has more than {maximum_values} values: that is more than so many people need"
        )
    if _LONG_NUMBER in body.translate(_DIGITS):
        raise MalformedBodyError(f"A number must have fewer than {len(_LONG_NUMBER)} digits")


def _measure_depth(body: bytes) -> int:
    """Return how deep brackets nest, those in strings counted too."""
    marks = np.frombuffer(body, np.uint8)
    opened = np.isin(marks, np.frombuffer(b"[{", np.uint8)).astype(np.int8)
    closed = np.isin(marks, np.frombuffer(b"]}", np.uint8)).astype(np.int8)
    return int(np.cumsum(opened - closed, dtype=np.int32).max(initial=0))


_LONG_NUMBER = b"0" * 65
"""Digits in a row: an id has 64 at most."""

_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_BRACKETS, _BYTES_PER_BRACKET = 1_000, 12
"""Somebody of whom nothing is known is written with two in 35 bytes."""


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Have no search for cycles while a request is read: it would find none, again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def load_json(body: bytes) -> Any:
    """Decode JSON, in a time that does not depend on how its numbers are written.

    Raises:
        MalformedBodyError: it is none, or not UTF-8.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBodyError(_explain(error, body)) from None


def decode_body(body: bytes) -> dict[str, Any]:
    """Decode one JSON object.

    Args:
        body: UTF-8 JSON that :func:`check_size` lets pass.

    Raises:
        MalformedBodyError: not UTF-8, not JSON, not an object, NaN or Infinity, a
            duplicate key, or nested beyond 32 levels.

    Example:
        >>> decode_body(b'{"age": 54}')
        {'age': 54}
    """
    return check_tree(load_json(body), body)


def check_tree(tree: object, body: bytes) -> dict[str, Any]:
    """Return what was decoded from a body, if it is an object without duplicate keys.

    Raises:
        MalformedBodyError: it is not, or nested beyond 32 levels.
    """
    keys = _count_keys(tree)
    # Each key in the text has a colon, and the tree has each distinct key once, so
    # colons >= keys in the text >= keys in the tree: equal ends leave no room for a
    # duplicate. Only a colon inside a string makes the exact count necessary.
    if body.count(b":") != keys and _STRING_OR_KEY.sub(_keep_colon, body).count(b":") != keys:
        raise MalformedBodyError("expected each key once in its object, found a duplicate")
    if not isinstance(tree, dict):
        raise MalformedBodyError("expected a JSON object at the top")
    return tree


_TOO_DEEP = f"expected at most {MAXIMUM_DEPTH} levels of nesting, found more"


def _keep_colon(match: re.Match[bytes]) -> bytes:
    return match[1] or b""


def _count_keys(tree: object) -> int:
    """Count the keys of all objects, level by level, so that the depth is known too."""
    keys = 0
    level: list[Any] = [tree]
    for _ in range(MAXIMUM_DEPTH):
        objects = [node for node in level if node.__class__ is dict]
        arrays = [node for node in level if node.__class__ is list]
        if not objects and not arrays:
            return keys
        keys += sum(map(len, objects))
        level = list(chain(chain.from_iterable(arrays), *map(dict.values, objects)))
    if any(node.__class__ is dict or node.__class__ is list for node in level):
        raise MalformedBodyError(_TOO_DEEP)
    return keys


def _explain(error: orjson.JSONDecodeError, body: bytes) -> str:
    try:
        body.decode()
    except UnicodeDecodeError:
        return "expected UTF-8, found bytes that are not"
    return _TOO_DEEP if "recursion" in str(error) else f"expected JSON: {error}"
