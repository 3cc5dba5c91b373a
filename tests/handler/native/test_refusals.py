"""What the native engine refuses without asking the service."""

import json

import pytest
from henaw.handler.errors import RequestError
from henaw.handler.native import refusals
from henaw.handler.native.refusals import find_size_error, refuse, refuse_method

ERRORS = (
    *(refusals.MALFORMED, refusals.LARGE_HEADERS, refusals.LONG_PATH, refusals.SLOW),
    *(refusals.FULL, refusals.NO_KEY, refusals.NOT_FOUND, find_size_error(10)),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_on_the_paths_of_the_protocol_the_error_member_says_what_is_wrong(
    error: RequestError,
) -> None:
    for path in ("/v2/models/henaw/infer", "/predictions/henaw", ""):
        response = refuse(error, path)
        document = json.loads(response.body)
        assert document["status"] == response.status
        assert document["detail"] == str(error)
        assert document.get("error") == (str(error) if path.startswith("/v2") else None)


def test_headers_say_what_to_do() -> None:
    assert refuse(refusals.FULL, "").headers["retry-after"] == "1"
    assert refuse(refusals.NO_KEY, "").headers["www-authenticate"] == "Bearer"
    assert refuse_method(("GET", "HEAD"), "/ping").headers["Allow"] == "GET, HEAD"
