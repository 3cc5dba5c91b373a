"""Bytes to a JSON tree, strictly.

It is stricter than JSON where JSON loses data: of two values with the same key, a lenient reader
drops one. NaN and Infinity are not numbers.
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

# Matches whole strings, so that a quote or colon inside a string does not count as JSON's own. The
# group is set where the string is an object's key.
_STRING_OR_KEY = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"(?:\s*(:))?')


def check_size(body: bytes, *, maximum_bytes: int, maximum_values: int) -> None:
    """Refuse a body that would cost too much to decode.

    Args:
        body: the body, as sent.
        maximum_bytes: the largest body.
        maximum_values: the most values in it, counted as objects, arrays and commas. Those
            inside strings count too: no name or unit has many.

    Raises:
        TooLargeError: the body has more bytes or values.
        MalformedBodyError: it nests too deep, or has a number that takes long to read.
    """
    if len(body) > maximum_bytes:
        raise TooLargeError(f"The body must be at most {maximum_bytes} bytes; got {len(body)}")
    brackets = body.count(b"[") + body.count(b"{")
    if brackets > _BRACKETS + len(body) // _BYTES_PER_BRACKET:
        if _measure_depth(body) > MAXIMUM_DEPTH:
            raise MalformedBodyError(_TOO_DEEP)
        raise TooLargeError(
            "The body has more objects and arrays than a valid request of "
            f"{len(body)} bytes can have"
        )
    if brackets + body.count(b",") > maximum_values:
        raise TooLargeError(
            f"The body must have at most {maximum_values} values (objects, arrays and commas)"
        )
    if _LONG_NUMBER in body.translate(_DIGITS):
        raise MalformedBodyError(f"A number must have fewer than {len(_LONG_NUMBER)} digits")


def _measure_depth(body: bytes) -> int:
    """Return how deep brackets nest, including those in strings."""
    marks = np.frombuffer(body, np.uint8)
    opened = np.isin(marks, np.frombuffer(b"[{", np.uint8)).astype(np.int8)
    closed = np.isin(marks, np.frombuffer(b"]}", np.uint8)).astype(np.int8)
    return int(np.cumsum(opened - closed, dtype=np.int32).max(initial=0))


_LONG_NUMBER = b"0" * 65
"""More digits in a row than an id may have."""

_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_BRACKETS, _BYTES_PER_BRACKET = 1_000, 12
"""The densest valid person, without any value, has two brackets in 35 bytes."""


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Pause the garbage collector while a request is read: decoded JSON has no cycles."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def load_json(body: bytes) -> Any:
    """Decode JSON in a time that does not depend on how its numbers are spelt.

    Raises:
        MalformedBodyError: the body is not UTF-8 or not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBodyError(_explain(error, body)) from None


def decode_body(body: bytes) -> dict[str, Any]:
    """Decode one JSON object.

    Args:
        body: UTF-8 JSON that :func:`check_size` accepts.

    Raises:
        MalformedBodyError: not UTF-8, not JSON, not an object, NaN or Infinity, a
            duplicate key, or nested beyond 32 levels.

    Example:
        >>> decode_body(b'{"age": 54}')
        {'age': 54}
    """
    return check_tree(load_json(body), body)


def check_tree(tree: object, body: bytes) -> dict[str, Any]:
    """Return a decoded body if it is an object without duplicate keys.

    Args:
        tree: the decoded body.
        body: the body, as sent.

    Raises:
        MalformedBodyError: it is not an object, has a key twice, or nests beyond 32 levels.
    """
    keys = _count_keys(tree)
    # Each key in the text has a colon, and the tree has each distinct key once. So colons >= keys
    # in the text >= keys in the tree; if the ends are equal, there is no duplicate. An exact count
    # is needed only where a string contains a colon.
    if body.count(b":") != keys and _STRING_OR_KEY.sub(_keep_colon, body).count(b":") != keys:
        raise MalformedBodyError("The body has an object with a duplicate key")
    if not isinstance(tree, dict):
        raise MalformedBodyError("The body must be a JSON object")
    return tree


_TOO_DEEP = f"The body must have at most {MAXIMUM_DEPTH} levels of nesting"


def _keep_colon(match: re.Match[bytes]) -> bytes:
    return match[1] or b""


def _count_keys(tree: object) -> int:
    """Return the number of keys in all objects, counted level by level to know the depth too."""
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
        return "The body must be UTF-8"
    return _TOO_DEEP if "recursion" in str(error) else f"The body must be JSON: {error}"
