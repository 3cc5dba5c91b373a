import pytest
from henaw.handler.contract.dialects import Dialect, find_dialect
from henaw.handler.errors import UnsupportedMediaError

FHIR = "application/fhir+json"
BINARY = "application/octet-stream"
HEADER = "inference-header-content-length"


@pytest.mark.parametrize(
    ("headers", "dialect"),
    [
        ({"content-type": "application/json", "content-encoding": "identity"}, Dialect.HENAW),
        ({"content-type": "Application/JSON"}, Dialect.HENAW),
        ({"content-type": "application/json; charset=utf-8"}, Dialect.HENAW),
        ({"content-type": 'application/json;charset="UTF-8"'}, Dialect.HENAW),
        ({"content-type": FHIR}, Dialect.FHIR),
        ({"content-type": f"{FHIR}; charset=utf-8"}, Dialect.FHIR),
        ({"content-type": BINARY, HEADER: "70"}, Dialect.HENAW),
        # Clients of the Open Inference Protocol that name none.
        ({}, Dialect.HENAW),
    ],
)
def test_media_that_are_read(headers: dict[str, str], dialect: Dialect) -> None:
    assert find_dialect(headers, Dialect.HENAW) is dialect


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/jsonp"},
        {"content-type": ""},
        {"content-type": BINARY},
        {"content-type": "application/json", "content-encoding": "gzip"},
        # A page in a browser may send these to any server without a preflight.
        {"origin": "https://elsewhere.example"},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_other_media_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(UnsupportedMediaError):
        find_dialect(headers, Dialect.HENAW)


@pytest.mark.parametrize("path", [Dialect.OPEN_INFERENCE, Dialect.CDS_HOOKS])
def test_fhir_is_refused_at_other_paths(path: Dialect) -> None:
    with pytest.raises(UnsupportedMediaError):
        find_dialect({"content-type": FHIR}, path)
