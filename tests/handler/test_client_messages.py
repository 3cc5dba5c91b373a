"""Every sentence that a client can be sent is in ``client_messages.txt``, which people review.

A new or changed message fails the first test. Read it aloud: would an engineer or a doctor say it?
Then write the list again: ``HENAW_WRITE_MESSAGES=1 pytest tests/handler/test_client_messages.py``.
"""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from henaw.handler import errors
from henaw.handler.contract.dialects import Dialect

REPOSITORY = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("client_messages.txt")
WRITERS = (
    "handler/admission.py",
    "handler/contract/dialects.py",
    "handler/errors.py",
    "handler/native/app.py",
    "handler/native/refusals.py",
    "handler/native/routes.py",
    "handler/problems.py",
    *(f"handler/request/{name}.py" for name in ("binary_tensors", "cds_hooks", "decode", "fhir")),
    *(f"handler/request/{name}.py" for name in ("instances", "person", "reading", "tensors")),
    *(f"handler/response/{name}.py" for name in ("answer_size", "cards", "cautions")),
    "handler/service.py",
    "handler/wording.py",
    "model/reliability.py",
)
"""The modules that write messages to clients."""


def find_sentences(path: Path) -> Iterator[str]:
    """Yield every text with a space, except docstrings; an f-string with its expressions."""
    tree = ast.parse(path.read_text())
    others = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)
    }  # Docstrings, of attributes too.
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            others.update(map(id, ast.walk(node)))
            others.discard(id(node))
    for node in ast.walk(tree):
        if id(node) in others:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                f"{{{ast.unparse(part.value)}}}"
                if isinstance(part, ast.FormattedValue)
                else str(part.value)
                for part in node.values
                if isinstance(part, (ast.FormattedValue, ast.Constant))
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if re.search(r"[a-z]", re.sub(r"\{[^{}]*\}", "", text)) and " " in text.strip():
            yield text.replace("\n", "\\n")


def write_list() -> str:
    parts = []
    for writer in WRITERS:
        sentences = dict.fromkeys(find_sentences(REPOSITORY / writer))
        parts.append("\n".join([f"# {writer}", *sentences]))
    return "\n\n".join(parts) + "\n"


def test_every_message_has_been_reviewed() -> None:
    if os.environ.get("HENAW_WRITE_MESSAGES"):
        LIST.write_text(write_list())
    assert write_list().splitlines() == LIST.read_text().splitlines()


def test_other_modules_raise_no_errors_of_requests() -> None:
    names = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.RequestError)
    }
    for path in sorted((REPOSITORY / "handler").rglob("*.py")):
        if path.relative_to(REPOSITORY).as_posix() in WRITERS:
            continue
        calls = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        assert not names & {ast.unparse(call.func) for call in calls}, path


def make_person(**fields: Any) -> dict[str, Any]:
    return {"age": 54, "sex": "female", "biomarkers": {"albumin": 45}, **fields}


WRONG_BODIES: dict[str, Any] = {
    "no JSON": b"{",
    "no UTF-8": b'{"\xff": 1}',
    "no object": b"[]",
    "a key twice": b'{"age": 54, "age": 55}',
    "too deep": b"[" * 40 + b"]" * 40,
    "a long number": b"1" * 70,
    "no person": {"instances": [7]},
    "no array": {"instances": 7},
    "unknown fields": make_person(agee=1, crp=2, weight=3),
    "unknown outputs": make_person(outputs=["age_gapp", 3]),
    "no outputs": make_person(outputs=[]),
    "an unknown choice": make_person(unreliable="perhaps"),
    "a bad id": make_person(participant_id="a b"),
    "nothing": {},
    "no biomarkers": make_person(biomarkers=None),
    "a young person": make_person(age=7),
    "an age in words": make_person(age="fifty"),
    "an age in quotes": make_person(age="54"),
    "a decimal comma": make_person(age="54,5"),
    "another sex": make_person(sex="f"),
    "unknown biomarkers": make_person(biomarkers={"ghk": 1, "albumine": 2}),
    "another unit": make_person(biomarkers={"creatinine": 0.9}),
    "a wrong unit": make_person(biomarkers={"creatinine": {"value": 80, "unit": "mg/dL"}}),
    "an unknown unit": make_person(biomarkers={"creatinine": {"value": 80, "unit": "stone"}}),
    "no unit": make_person(biomarkers={"creatinine": {"value": 80}}),
    "no value": make_person(biomarkers={"creatinine": {"unit": "mg/dL"}}),
    "a unit that is no text": make_person(biomarkers={"creatinine": {"value": 1, "unit": 7}}),
    "a value that is no number": make_person(biomarkers={"crp": {"value": [], "unit": "mg/L"}}),
    "no inputs": {"inputs": 7},
    "inputs that are no objects": {"inputs": [7]},
    "missing inputs": {"inputs": []},
    "unknown inputs": {"inputs": [{"name": "agee"}]},
    "wrong inputs": {
        "inputs": [
            {"name": "age", "shape": [2], "datatype": "FP32", "data": [54]},
            {"name": "sex", "shape": [1], "datatype": "TEXT", "data": 0},
        ],
        "outputs": ["biological_agee"],
        "model_name": "other",
        "id": 7,
    },
}


def compile_list() -> re.Pattern[str]:
    """Return a pattern of the beginnings of all messages in the list."""
    lines = [line for line in LIST.read_text().splitlines() if line and not line.startswith("# ")]
    return re.compile(
        "|".join(".*".join(map(re.escape, re.split(r"\{[^{}]*\}", line))) for line in lines)
    )


@pytest.mark.parametrize("name", WRONG_BODIES)
@pytest.mark.parametrize("options", [{}, {"explain": True}, {"dialect": Dialect.FHIR}])
def test_what_a_client_is_sent_is_in_the_list(
    client: Any, read: Any, name: str, options: dict[str, Any]
) -> None:
    told = read(client.send(WRONG_BODIES[name], **options))
    listed = compile_list()
    texts = [told["title"], told["detail"]]
    if "dialect" not in options:  # Else intake has written the messages.
        texts += [
            text for one in told.get("errors", ()) for text in (one["message"], one.get("hint"))
        ]
    for text in filter(None, texts):
        assert listed.match(text) or " " not in text, text
