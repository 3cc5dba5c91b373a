"""No request costs more CPU time than an honest one of the same size, whatever its content.

Costs are of the process and are compared with an honest request that was measured at the same
moment: the machine's speed does not matter. What is answered in full may cost more in so far
as its answer is larger.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from henaw.handler.contract.dialects import Dialect
from henaw.handler.exchange import Request, Response
from henaw.model.biomarkers import NAMES, PANEL

KB = 1_000
SIZES = (2 * KB, 60 * KB, 8_000 * KB)
MARGIN = 1.5
"""Clocks and caches differ between runs."""

FIXED_S = 0.0005
HEADERS = {"content-type": "application/json"}
BINARY = "inference-header-content-length"
VALUES = dict(zip(NAMES, (1.2, 35.5, 79.6, 45, 29, 13.1, 22, 24, 20), strict=True))
PERSON = {"age": 54, "sex": "female", "participant_id": "a-17", "biomarkers": VALUES}
BARE = {"age": 54, "sex": 0, "biomarkers": {}}
DEEP = "[" * 27 + "]" * 27


def dump(tree: Any) -> bytes:
    return json.dumps(tree, separators=(",", ":")).encode()


def repeat(text: str, size: int, *, most: int = 10**9) -> str:
    """Repeat a text, with commas, as often as fits; a place for a number takes its place."""
    count = max(1, min(most, size // (len(text.replace("{}", "12345678")) + 1)))
    return ",".join(text.replace("{}", f"{place:08d}") for place in range(count))


def one(**fields: str) -> Callable[[int], bytes]:
    """One person, with a text of the given size in one field."""

    def write(size: int) -> bytes:
        texts = {"age": "54", "sex": "0", "biomarkers": "{}"}
        for name, text in fields.items():
            head, _, rest = text.partition("...")
            unit, _, tail = rest.partition("...")
            texts[name] = head + repeat(unit, size) + tail
        return ("{%s}" % ",".join(f'"{n}":{t}' for n, t in texts.items())).encode()

    return write


def many(text: str, *, most: int = 10**9, head: str = "") -> Callable[[int], bytes]:
    """Instances of one text."""
    return lambda size: f'{{{head}"instances":[{repeat(text, size, most=most)}]}}'.encode()


def person(**fields: str) -> str:
    """The text of a person, with fields changed."""
    texts = {"age": "54", "sex": "0", "biomarkers": "{}"} | fields
    return "{%s}" % ",".join(f'"{name}":{text}' for name, text in texts.items())


def quantities(unit: str, value: str = "1") -> str:
    return "{%s}" % ",".join(
        f'"{name}":{{"value":{value},"unit":"{unit}{place}"}}' for place, name in enumerate(NAMES)
    )


def long(text: str, times: int) -> Callable[[int], str]:
    return lambda size: text * max(1, size // len(text) // times)


def arrays(
    biomarkers: str = "[]", age: str = "[]", sex: str = "[]", shape: str = "0", more: str = ""
) -> Callable[[int], bytes]:
    """Arrays with parts that are repeated up to the given size."""

    def fill(text: str, size: int) -> str:
        head, _, rest = text.partition("...")
        unit, _, tail = rest.partition("...")
        return head + repeat(unit, size) + tail if unit else text

    def write(size: int) -> bytes:
        parts = [
            f'{{"name":"{name}","shape":[{fill(shape, size)}{axis}],"datatype":"{kind}",'
            f'"data":{fill(data, size)}}}'
            for name, axis, kind, data in (
                ("biomarkers", ",9", "FP32", biomarkers),
                ("age", "", "FP32", age),
                ("sex", "", "INT64", sex),
            )
        ]
        return f'{{"inputs":[{",".join(parts)}]{fill(more, size)}}}'.encode()

    return write


ATTACKS: dict[str, Callable[[int], bytes]] = {
    "misspelt outputs": one(outputs='[..."agegap{}"...]'),
    "one output again and again": one(outputs='[..."age_gap"...]'),
    "outputs of every type": one(outputs='[...null,{},[],1e9,"x"...]'),
    "unreliable a long text": lambda n: dump({**BARE, "unreliable": "a" * n}),
    "unknown fields": lambda n: ("{%s}" % repeat('"k{}":0', n)).encode(),
    "unknown fields, misspelt": lambda n: ("{%s}" % repeat('"biomarker{}":0', n)).encode(),
    "one field again and again": lambda n: ("{%s}" % repeat('"age":54', n)).encode(),
    "a biomarker again and again": one(biomarkers='{..."crp":1...}'),
    "unknown biomarkers": many(person(biomarkers='{"albumni{}":1,"creatinni{}":2}')),
    "unknown biomarkers of one person": one(biomarkers='{..."albumni{}":1...}'),
    "a long name": lambda n: dump({**BARE, "biomarkers": {"a" * n: 1}}),
    "a name of escapes": lambda n: (
        '{"age":54,"sex":0,"biomarkers":{"%s":1}}' % ("\\u0061" * (n // 6))
    ).encode(),
    "an id of escapes": lambda n: (
        '{"age":54,"sex":0,"biomarkers":{},"participant_id":"%s:"}' % ("\\u0041" * (n // 6))
    ).encode(),
    "an id of backslashes": lambda n: dump({**BARE, "participant_id": "\\" * (n // 2)}),
    "an id of colons": lambda n: dump({**BARE, "participant_id": ":" * n}),
    "a huge id": lambda n: dump({**BARE, "participant_id": "a" * n}),
    "huge ids": many(person(participant_id='"%s"' % ("a" * 600))),
    "texts of colons": one(x='[..."::"...]'),
    "texts of quotes": one(x='[..."\\"\\""...]'),
    "huge whole numbers": many("9" * 4_300),
    "huge whole numbers as values": many(person(biomarkers='{"crp":%s}' % ("9" * 4_300))),
    "huge ages": many(person(age="9" * 4_000)),
    "a number of all digits": lambda n: ('{"age":%s}' % ("1" * n)).encode(),
    "fractions as long as they may be": many(
        person(biomarkers='{"crp":1.%s}' % ("123456789" * 7)), most=10_000
    ),
    "long fractions": many(person(biomarkers='{"crp":1.%s}' % ("0" * 790)), most=10_000),
    "small exponents": many(person(biomarkers='{"crp":1e-320}')),
    "large exponents": many(person(biomarkers='{"crp":1e308}')),
    "exponents beyond": many(person(biomarkers='{"crp":1e999999999}')),
    "texts as values": many(person(biomarkers='{"crp":"12,5","ggt":"7"}')),
    "long blank texts as values": lambda n: dump(
        {"instances": [{**BARE, "biomarkers": {"crp": " " * (n // 10) + "x"}}] * 10}
    ),
    "long numeric texts as values": many(person(biomarkers='{"crp":"%s"}' % ("1" * 600))),
    "implausible values": many(person(biomarkers=dump(dict.fromkeys(NAMES, 0.001)).decode())),
    "implausible values in units": many(person(biomarkers=quantities("mg/dL", "1e6"))),
    "unknown units": many(person(biomarkers=quantities("parsec{}x"))),
    "unknown units of one person": one(biomarkers='{..."crp":{"value":1,"unit":"pc{}"}...}'),
    "units of brackets": many(person(biomarkers=quantities("%{(((({}))))}"))),
    "known units, each spelt differently": many(
        person(
            biomarkers="{%s}"
            % ",".join(
                '"%s":{"value":%s,"unit":"%s (a{})"}' % (b.name, VALUES[b.name], b.unit)
                for b in PANEL
            )
        ),
        most=10_000,
    ),
    "long units": many(person(biomarkers=quantities("x" * 300))),
    "quantities with unknown fields": many(
        person(biomarkers='{"crp":{"value":1,"unit":"mg/L","vlaue{}":1}}')
    ),
    "nobody is an object": many("7"),
    "empty people": many("{}"),
    "empty lists": many("[]"),
    "deep people": many(DEEP),
    "deep ages": many(person(age=DEEP)),
    "deep biomarkers": many(person(biomarkers='{"crp":%s}' % DEEP)),
    "deep lists that are sparse": one(x=f"[...{DEEP}{' ' * 270}...]"),
    "lists that are sparse": one(x="[...[1234567890]...]"),
    "a list without end": lambda n: b'{"instances":' + b"[" * n,
    "objects without end": lambda n: b'{"a":' * (n // 5),
    "a text without end": lambda n: b'{"age":"' + b"x" * n,
    "blanks": lambda n: b"{" + b" " * n + b"}",
    "not UTF-8": lambda n: b'{"age":"' + b"\xff" * n + b'"}',
    "wrong at the end": lambda n: many(json.dumps(PERSON))(n)[:-1],
    "wrong in the last person": lambda n: (
        many(json.dumps(PERSON), most=9_999)(n)[:-2] + b',{"age":7}]}'
    ),
    "people counted as one": arrays(age="[[...54...]]", sex="[[...0...]]"),
    "ages nested deep": arrays(age=f"[...{DEEP}...]"),
    "rows of rows": arrays(biomarkers="[...[[1]]...]"),
    "rows of all lengths": arrays(biomarkers="[...[1,2],[1]...]"),
    "arrays of texts": arrays(biomarkers='[..."1,2"...]'),
    "arrays of objects": arrays(biomarkers='[...{"a":1}...]'),
    "arrays of huge numbers": arrays(age=f"[...{'9' * 4_000}...]"),
    "arrays of large exponents": arrays(biomarkers="[...1e308...]"),
    "arrays of small exponents": arrays(age="[...1e-320...]"),
    "arrays of exponents in range": arrays(biomarkers="[...1e-99...]", age="[...5e1...]"),
    "arrays out of range": arrays(biomarkers="[...-1...]"),
    "a shape of many axes": arrays(shape="...1..."),
    "a shape of giants": arrays(shape=f"...{'9' * 4_000}..."),
    "deep parameters": arrays(more=f',"parameters":{{"a":[...{DEEP}...]}}'),
    "parameters": arrays(more=',"parameters":{..."k{}":1...}'),
    "outputs of arrays, misspelt": arrays(more=',"outputs":[...{"name":"agegap{}"}...]'),
    "unknown inputs": lambda n: (
        '{"inputs":[%s]}' % repeat('{"name":"agee{}","data":[]}', n)
    ).encode(),
    "an input again and again": lambda n: (
        '{"inputs":[%s]}' % repeat('{"name":"age","shape":[0],"datatype":"FP32","data":[]}', n)
    ).encode(),
    "a long id of arrays": lambda n: dump({"inputs": [], "id": "a" * n}),
    "a long model name": lambda n: dump({"inputs": [], "model_name": "a" * n}),
}


@pytest.fixture
def measure(make_client: Callable[..., Any]) -> Callable[..., tuple[float, Response]]:
    """Answer a request, and return the processor's seconds that it took at best."""
    service = make_client().service

    def answer(
        body: bytes, headers: dict[str, str] | None = None, runs: int = 2, **named: Any
    ) -> tuple[float, Response]:
        taken = []
        for _ in range(runs):
            request = Request(
                body=body, headers={**HEADERS, **(headers or {})}, request_id="r", **named
            )
            begin = time.process_time()
            (response,) = service.answer([request])
            taken.append(time.process_time() - begin)
        return min(taken), response

    return answer


def write_honest(size: int) -> bytes:
    """As many people as fit, and blanks where more are not allowed."""
    return many(dump(PERSON).decode(), most=10_000)(size).ljust(size)


@pytest.mark.parametrize("size", SIZES)
def test_no_content_costs_more_than_people_do(measure: Any, size: int) -> None:
    honest_s, honest = measure(write_honest(size), runs=5)
    assert honest.status == 200
    dear = {}
    for name, write in ATTACKS.items():
        body = write(size)
        allowed_s = FIXED_S + honest_s * MARGIN * max(1.0, len(body) / size)
        for _ in range(3):  # Another process may have been in the way.
            cost_s, response = measure(body, runs=2 if size < 100 * KB else 1)
            if response.status == 200:
                allowed_s = max(
                    allowed_s, honest_s * MARGIN * len(response.body) / len(honest.body)
                )
            if cost_s <= allowed_s:
                break
        else:
            dear[name] = f"{cost_s * 1e3:.1f} ms, {allowed_s * 1e3:.1f} allowed"
        assert response.status in (200, 400, 413, 422), name
    assert not dear


BINARY_ATTACKS: dict[str, tuple[str, str]] = {
    "no JSON": ("0", ""),
    "a length of many digits": ("9" * 4_000, "{}"),
    "a giant size": ("", f'{{"binary_data_size":{"9" * 4_000}}}'),
    "a size that is not whole": ("", '{"binary_data_size":1.5}'),
    "a negative size": ("", '{"binary_data_size":-1}'),
    "bytes that nobody claims": ("", '{"binary_data_size":0}'),
}


@pytest.mark.parametrize("name", BINARY_ATTACKS)
def test_no_binary_tensor_costs_more_than_people_do(measure: Any, name: str) -> None:
    size = 2_000 * KB
    length, parameters = BINARY_ATTACKS[name]
    text = (
        '{"inputs":[{"name":"age","shape":[%s],"datatype":"FP32","parameters":%s}]}'
        % ("9" * 4_000, parameters)
    ).encode()
    honest_s, _ = measure(write_honest(size), runs=3)
    cost_s, response = measure(
        text + b"\xff" * size, {BINARY: length or str(len(text))}, dialect=Dialect.OPEN_INFERENCE
    )
    assert response.status in (400, 413, 422)
    assert cost_s <= FIXED_S + honest_s * MARGIN


OBSERVATION = (
    '{"resource":{"resourceType":"Observation","status":"final",'
    '"code":{"coding":[{"system":"http://loinc.org","code":"1988-5"}]},%s}}'
)
FHIR_ATTACKS: dict[str, str] = {
    "empty entries": "{}",
    "observations of nothing": '{"resource":{"resourceType":"Observation"}}',
    "patients": '{"resource":{"resourceType":"Patient","id":"p{}"}}',
    "patients without ids": '{"resource":{"resourceType":"Patient"}}',
    "subjects that are not here": OBSERVATION % '"subject":{"reference":"Patient/{}"}',
    "other codes": '{"resource":{"resourceType":"Observation","code":{"text":"code {}"}}}',
    "other statuses": OBSERVATION.replace("final", "final{}") % '"a":0',
    "dates": OBSERVATION % '"effectiveDateTime":"2024-01-01T00:00:00.{}Z"',
    "dates that are none": OBSERVATION % '"effectiveDateTime":"on day {}"',
    "units": OBSERVATION
    % '"effectiveDateTime":"2024-01-01","valueQuantity":{"value":1,"unit":"mg/L ({})"}',
    "components": OBSERVATION % ('"component":[%s]' % ",".join(['{"code":{}}'] * 50)),
    "codings": '{"resource":{"resourceType":"Observation","code":{"coding":[%s]}}}'
    % ",".join(['{"code":"1988-5"}'] * 50),
    "contained": '{"resource":{"resourceType":"Observation","contained":[%s]}}'
    % ",".join(['{"resourceType":"Observation"}'] * 20),
    "bundles in bundles": '{"resource":{"resourceType":"Bundle","entry":[{"resource":{}}]}}',
    "deep": f'{{"resource":{DEEP}}}',
    "labels of marks": OBSERVATION
    % (
        '"effectiveDateTime":"2024-01-01","valueQuantity":{"value":1,"unit":"mg/L"},'
        '"specimen":{"display":"%s"}' % ("\u0300" * 1_500 + "\u0316" * 1_500)
    ),
    "units of marks": OBSERVATION
    % (
        '"effectiveDateTime":"2024-01-01","valueQuantity":{"value":1,"unit":"%s"}'
        % ("\u0300" * 1_500 + "\u0316" * 1_500)
    ),
    "specimens": '{"resource":{"resourceType":"Specimen","id":"{}","type":{"text":"blood {}"}}}',
}


@pytest.mark.parametrize("size", [6 * KB, 400 * KB])
def test_no_bundle_costs_more_than_one_of_patients(
    measure: Any, make_patient: Any, make_bundle: Any, size: int
) -> None:
    headers = {"content-type": "application/fhir+json"}
    each = len(dump(make_bundle(*make_patient())))
    people = [make_patient(f"p{place}") for place in range(max(1, size // each))]
    honest_body = dump(make_bundle(*(resource for one in people for resource in one)))
    measure(honest_body, headers)
    honest_s, honest = measure(honest_body.ljust(size), headers, runs=3)
    assert honest.status == 200
    patient = dump({"resource": make_patient()[0]}).decode()
    dear = {}
    for name, entry in FHIR_ATTACKS.items():
        text = f'{{"resourceType":"Bundle","entry":[{patient},{repeat(entry, size)}]}}'
        cost_s, response = measure(text.encode(), headers)
        larger = len(response.body) / len(honest.body) if response.status == 200 else 1.0
        allowed_s = FIXED_S + honest_s * MARGIN * max(1.0, larger)
        if cost_s > allowed_s:
            dear[name] = f"{cost_s * 1e3:.1f} ms, {allowed_s * 1e3:.1f} allowed"
        assert response.status in (200, 400, 413, 422), name
    assert not dear


@pytest.mark.parametrize("size", [6 * KB, 1_000 * KB])
def test_no_call_of_a_hook_costs_more_than_people_do(
    measure: Any, make_call: Any, size: int
) -> None:
    honest_s, _ = measure(write_honest(size), runs=3)
    measure(dump(make_call()), dialect=Dialect.CDS_HOOKS)
    fixed_s, _ = measure(dump(make_call()), dialect=Dialect.CDS_HOOKS, runs=3)
    call = make_call()
    attacks = {
        "keys": {**call["prefetch"], **{f"k{place}": None for place in range(size // 12)}},
        "observations": {**call["prefetch"], "crp": {"entry": [call["prefetch"]["crp"]] * 20}},
        "long": {**call["prefetch"], "ggt": "x" * size},
    }
    for name, prefetch in attacks.items():
        cost_s, response = measure(dump({**call, "prefetch": prefetch}), dialect=Dialect.CDS_HOOKS)
        assert cost_s <= FIXED_S + fixed_s * MARGIN + honest_s * MARGIN, name
        assert response.status in (200, 413, 422), name
