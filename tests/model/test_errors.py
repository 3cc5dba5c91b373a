import inspect
import re

import pytest
from henaw.model import errors
from henaw.model.errors import ConfigurationError, HenawError, ProblemListError

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and value.__module__ == errors.__name__
]
GROUPS = (HenawError, ProblemListError)


def draw_class(cls: type, prefix: str = "") -> list[str]:
    """The lines that the docstring should hold below ``cls``."""
    children = [child for child in CLASSES if child.__bases__[0] is cls]
    lines = []
    for child in children:
        last = child is children[-1]
        builtin = "".join(f" ({base.__name__})" for base in child.__bases__[1:])
        lines.append(f"{prefix}{'└' if last else '├'}── {child.__name__}{builtin}")
        lines += draw_class(child, prefix + ("    " if last else "│   "))
    return lines


def test_the_drawing_is_the_tree() -> None:
    assert errors.__doc__ is not None
    drawn = [re.sub(r" +\(", " (", line) for line in errors.__doc__.splitlines() if "── " in line]
    assert drawn == draw_class(HenawError)


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
