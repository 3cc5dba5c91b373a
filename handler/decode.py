"""Bytes and headers to a JSON tree, strictly.

Stricter than JSON itself where leniency loses data: a duplicate key would silently
drop one of two values, and NaN or Infinity are not numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from henaw.handler.errors import MalformedBodyError, TooLargeError, UnsupportedMediaError

MAXIMUM_DEPTH = 32

_decode_json = msgspec.json.Decoder().decode
# Consumes every string whole, so that a quote or colon inside one is never taken for
# JSON's own; the group is set where the string is an object's key.
_STRING_OR_KEY = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"(?:\s*(:))?')
_JSON_TYPES = ("application/json", "application/json;charset=utf-8")


def check_media(headers: Mapping[str, str]) -> None:
    """Refuse a body that is not declared as plain UTF-8 JSON.

    Args:
        headers: the request's, names in lower case.

    Raises:
        UnsupportedMediaError: another type, character set or coding, or none.
    """
    declared = headers.get("content-type", "")
    if declared not in _JSON_TYPES:
        folded = "".join(declared.split()).replace('"', "").casefold()
        if folded not in _JSON_TYPES:
            seen = declared[:80] or "none"
            raise UnsupportedMediaError(f"expected Content-Type: application/json, however: {seen}")
    coding = headers.get("content-encoding", "identity")
    if coding.casefold() != "identity":
        raise UnsupportedMediaError(f"expected no Content-Encoding, however: {coding[:80]}")


def decode_body(body: bytes, *, maximum_bytes: int) -> dict[str, Any]:
    """Decode one JSON object.

    Args:
        body: UTF-8 JSON.
        maximum_bytes: the largest body accepted.

    Raises:
        TooLargeError: over ``maximum_bytes``.
        MalformedBodyError: not UTF-8, not JSON, not an object, NaN or Infinity, a
            duplicate key, or nested beyond 32 levels.

    Example:
        >>> decode_body(b'{"age": 54}', maximum_bytes=100)
        {'age': 54}
    """
    if len(body) > maximum_bytes:
        raise TooLargeError(f"expected at most {maximum_bytes} bytes, however: {len(body)}")
    try:
        tree = _decode_json(body)
    except RecursionError:
        raise MalformedBodyError(_TOO_DEEP) from None
    except UnicodeDecodeError:
        raise MalformedBodyError("expected UTF-8, found bytes that are not") from None
    except msgspec.MsgspecError as error:
        raise MalformedBodyError(f"expected JSON: {error}") from None
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
        deeper: list[Any] = []
        for node in level:
            if node.__class__ is dict:
                keys += len(node)
                deeper += [v for v in node.values() if v.__class__ is dict or v.__class__ is list]
            elif node.__class__ is list:
                deeper += [v for v in node if v.__class__ is dict or v.__class__ is list]
        if not deeper:
            return keys
        level = deeper
    raise MalformedBodyError(_TOO_DEEP)
