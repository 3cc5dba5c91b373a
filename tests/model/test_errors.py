import ast
import inspect
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from henaw.model import errors
from henaw.model.errors import ConfigurationError, HenawError, ProblemListError

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and value.__module__ == errors.__name__
]
GROUPS = (HenawError, ProblemListError)


REPOSITORY = Path(__file__).resolve().parents[2]
LINE = re.compile(
    r"(?P<depth>(?:│   |    )*)[├└]── (?P<name>\w+)(?: +\((?P<kind>\w+)\))?"
    r"(?: +(?P<folder>henaw\.\w+))?"
)


class Place(NamedTuple):
    """Where an error is in the tree; ``folder`` where that is not its parent's."""

    parent: str
    kind: str | None
    folder: str | None


def read_drawing() -> dict[str, Place]:
    places: dict[str, Place] = {}
    path = ["HenawError"]
    for line in (errors.__doc__ or "").splitlines():
        match = LINE.fullmatch(line.rstrip())
        if match is not None:
            depth = len(match["depth"]) // 4 + 1
            path = [*path[:depth], match["name"]]
            places[match["name"]] = Place(path[depth - 1], match["kind"], match["folder"])
    return places


def find_errors() -> dict[str, Place]:
    """Every public subclass of HenawError in the packages' sources."""
    defined = {}
    for folder in ("model", "intake", "scoring", "training", "export", "handler", "cli", "api"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                    if bases and bases[0].endswith("Error"):
                        defined[node.name] = (f"henaw.{folder}", *bases)
    folders = {"HenawError": "henaw.model"} | {name: row[0] for name, row in defined.items()}
    return {
        name: Place(
            parent,
            kind[0] if kind else None,
            None if folder == folders[parent] else folder,
        )
        for name, (folder, parent, *kind) in defined.items()
        if parent in folders
    }


def test_the_drawing_is_the_tree_of_all_folders() -> None:
    assert read_drawing() == find_errors()


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_is_ours_and_a_builtin_kind(cls: type) -> None:
    assert issubclass(cls, HenawError)
    assert cls in GROUPS or issubclass(cls, ValueError) != issubclass(cls, RuntimeError)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_says_in_one_sentence_what_happened(cls: type) -> None:
    assert cls.__doc__ is not None
    first = cls.__doc__.splitlines()[0]
    assert first.endswith(".")
    assert first.count(". ") == 0


def test_a_list_of_problems_is_one_message() -> None:
    error = ConfigurationError("file.yaml", ["a is wrong", "b is missing"])
    assert str(error) == "file.yaml: 2 problems\n  - a is wrong\n  - b is missing"
    assert error.subject == "file.yaml"
    assert error.problems == ("a is wrong", "b is missing")
    assert str(ConfigurationError("x", ["one"])).startswith("x: 1 problem\n")
    assert str(ConfigurationError("x", iter(["one", "two"]))).count("\n") == 2
