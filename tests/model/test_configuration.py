import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.configuration import (
    RATIO,
    RATIO_CAPS,
    RATIO_PARTS,
    VARIABLES,
    NetworkConfiguration,
    read_configuration,
)
from henaw.model.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A configuration with a required key."""

    size: int
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigurationError("inner", [f"size must be >= 1; got {self.size}"])


@dataclass(frozen=True, kw_only=True)
class Outer:
    """A configuration that holds another."""

    name: str
    kind: Literal["cox", "gompertz"] = "gompertz"
    limit: float | None = None
    flag: bool = False
    pair: tuple[str, int] = ("a", 1)
    inner: Inner = dataclasses.field(default_factory=lambda: Inner(size=1))
    many: tuple[Inner, ...] = ()


def list_problems(cls: type, mapping: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(cls, mapping, subject="file.yaml")
    assert caught.value.subject == "file.yaml"
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


def test_an_empty_mapping_gives_the_defaults() -> None:
    assert read_configuration(NetworkConfiguration, {}, subject="x") == NetworkConfiguration()


def test_what_is_written_is_what_is_read() -> None:
    written = NetworkConfiguration(members=7, knots=(0.0, 1.0), interactions=(("ast", "ggt"),))
    mapping = dataclasses.asdict(written)
    assert read_configuration(NetworkConfiguration, mapping, subject="x") == written


def test_a_wrong_key_is_named_with_the_nearest() -> None:
    assert list_problems(NetworkConfiguration, {"knotz": [0.0]}) == (
        "knotz: unknown key, did you mean knots?",
    )
    assert list_problems(NetworkConfiguration, {"qqq": 1}) == ("qqq: unknown key",)


def test_a_key_that_is_not_text_is_named() -> None:
    assert list_problems(NetworkConfiguration, {7: 1}) == ("7: unknown key",)


def test_a_missing_key_is_named_with_its_path() -> None:
    assert list_problems(Outer, {"inner": {}, "many": [{"size": 1}, {}]}) == (
        "name: missing key",
        "inner.size: missing key",
        "many[1].size: missing key",
    )


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("members", "ten", "members must be int; got 'ten'"),
        ("members", True, "members must be int; got True"),
        ("members", 2.5, "members must be int; got 2.5"),
        ("hierarchy", "1", "hierarchy must be float; got '1'"),
        ("hierarchy", None, "hierarchy must be float; got None"),
        ("knots", 1.0, "knots must be a list; got 1.0"),
        ("knots", "012", "knots must be a list; got '012'"),
        ("knots", [0.0, "x"], "knots[1] must be float; got 'x'"),
        ("panel", "crp", "panel must be a list; got 'crp'"),
        ("interactions", [["crp"]], "interactions[0] must have 2 entries; got ['crp']"),
    ],
)
def test_a_wrong_type_is_named(key: str, value: object, problem: str) -> None:
    assert list_problems(NetworkConfiguration, {key: value}) == (problem,)


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        ({"kind": "weibull"}, "kind must be one of ['cox', 'gompertz']; got 'weibull'"),
        ({"limit": "x"}, "limit must be float; got 'x'"),
        ({"flag": 1}, "flag must be bool; got 1"),
        ({"pair": ["a"]}, "pair must have 2 entries; got ['a']"),
        ({"inner": 3}, "inner must be a mapping; got 3"),
        ({"inner": {"size": 0}}, "inner.size must be >= 1; got 0"),
    ],
)
def test_wrong_values_of_other_kinds_are_named(mapping: dict[str, Any], problem: str) -> None:
    assert list_problems(Outer, {"name": "n", **mapping}) == (problem,)


def test_values_of_other_kinds_are_read() -> None:
    mapping = {"name": "n", "kind": "cox", "limit": 3, "flag": True, "pair": ["b", 2]}
    read = read_configuration(Outer, {**mapping, "many": [{"size": 2}]}, subject="x")
    assert read == Outer(
        name="n", kind="cox", limit=3.0, flag=True, pair=("b", 2), many=(Inner(size=2),)
    )
    assert read_configuration(Outer, {"name": "n", "limit": None}, subject="x").limit is None


@pytest.mark.parametrize("mapping", [None, [], "text", 3])
def test_a_value_that_is_not_a_mapping_is_refused(mapping: object) -> None:
    (problem,) = list_problems(NetworkConfiguration, mapping)
    assert problem.startswith("top level must be a mapping")


def test_input_dim_is_the_panels_length() -> None:
    assert list_problems(NetworkConfiguration, {"input_dim": 8}) == ("input_dim must be 9; got 8",)


def test_biomarkers_may_be_left_out() -> None:
    panel = [name for name in NAMES if name not in ("ggt", "alt")]
    read = read_configuration(NetworkConfiguration, {"panel": panel}, subject="network")
    assert read.left_out == ("ggt", "alt")
    used = dict(zip(VARIABLES, read.used, strict=True))
    assert [name for name, is_used in used.items() if not is_used] == ["ggt", "alt", RATIO]


def test_an_interaction_needs_both_its_biomarkers() -> None:
    panel = [name for name in NAMES if name != "hba1c"]
    assert list_problems(NetworkConfiguration, {"panel": panel}) == (
        "interactions: hba1c is not in network.panel; leave ['crp', 'hba1c'] out",
    )


def test_another_panel_order_is_refused() -> None:
    (problem,) = list_problems(NetworkConfiguration, {"panel": list(NAMES[::-1])})
    assert problem.startswith("panel: order must be crp, hba1c")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("last_age", 21),
        ("score_limit", 0.5),
        ("score_steps", 1),
        ("knots", (1.0, 0.0)),
        ("knots", ()),
        ("variance_ages", (20,)),
        ("interactions", (("crp", "crp"),)),
        ("interactions", (("crp", "glucose"),)),
        ("adaptive_lambda", -0.1),
        ("hierarchy", 0.0),
        ("members", 1),
        ("score_limit", float("nan")),
        ("adaptive_lambda", float("nan")),
        ("adaptive_lambda", float("inf")),
        ("hierarchy", float("nan")),
        ("hierarchy", float("inf")),
        ("knots", (float("nan"),)),
        ("knots", (0.0, float("inf"))),
        ("imputes_within_limits", ("glucose",)),
    ],
)
def test_a_value_out_of_range_is_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        NetworkConfiguration(**{field: value})
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(field)


@pytest.mark.parametrize(
    "pairs",
    [
        (("crp", "hba1c"), ("crp", "hba1c")),
        (("crp", "hba1c"), ("ast", "ggt"), ("hba1c", "crp")),
    ],
)
def test_an_interaction_is_listed_once(pairs: tuple[tuple[str, str], ...]) -> None:
    """Either way round: it would be counted twice, and by one name."""
    with pytest.raises(ConfigurationError) as caught:
        NetworkConfiguration(interactions=pairs)
    assert caught.value.problems == (
        "interactions: ['crp', 'hba1c'] is listed 2 times; list it once",
    )


def test_contributions_are_named_in_the_order_of_the_graph() -> None:
    names = NetworkConfiguration(interactions=(("ast", "crp"),)).contribution_names
    assert names == ("typical_values", *NAMES, "ast_alt_ratio", "ast_x_crp")


def test_the_ratio_is_capped_at_the_lower_of_the_two_limits() -> None:
    limits = [PANEL[place].reference.high for place in RATIO_PARTS]
    assert [NAMES[place] for place in RATIO_PARTS] == ["ast", "alt"]
    assert [min(x for x in pair if x is not None) for pair in limits] == list(RATIO_CAPS)


def test_every_problem_is_in_one_error() -> None:
    problems = list_problems(
        NetworkConfiguration,
        {
            "panel": ["hba1c", "crp"],
            "input_dim": 8,
            "memberz": 3,
            "members": 1,
            "knots": "no",
            "knots_": 1,
            "hierarchy": -1.0,
            "interactions": [["crp", "glucose"]],
        },
    )
    for part in (
        "memberz: unknown key, did you mean members?",
        "knots_: unknown key, did you mean knots?",
        "knots must be a list; got 'no'",
        "panel: order must be crp, hba1c; got hba1c, crp",
        "input_dim must be 9; got 8",
        "members must be 2 to 100; got 1",
        "hierarchy must be above 0",
        "interactions: unknown biomarker 'glucose'",
    ):
        assert any(part in problem for problem in problems), part


def test_a_broken_rule_is_listed_beside_a_missing_key() -> None:
    problems = list_problems(Outer, {"inner": {"size": 0}, "nane": "n"})
    assert problems == (
        "nane: unknown key, did you mean name?",
        "name: missing key",
        "inner.size must be >= 1; got 0",
    )
