"""Numbers that are not reliable are withheld, with the reason, unless the request wants them."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from henaw.handler.assembly import assemble_service
from henaw.handler.configuration import HandlerConfiguration, load_configuration
from henaw.handler.contract.types import ANSWER_FIELDS
from henaw.handler.exchange import Request
from henaw.handler.metadata import Metadata
from henaw.handler.observe.request_log import RequestLog
from henaw.handler.service import Service
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.errors import ConfigurationError, ProfileError
from henaw.model.profile import LabProfile

Read = Callable[[Any], Any]

NUMBERS = (
    *("biological_age", "age_gap", "interval", "percentile", "draw_sd"),
    *("mortality_10y", "cause_risk_10y", "contributions", "systems"),
)
REST = tuple(field for field in ANSWER_FIELDS if field not in NUMBERS)


def beyond(metadata: Metadata, name: str) -> float:
    """A value beyond its critical limit, within what is accepted."""
    low, high = metadata.critical_limits[name]
    if high is not None:
        return round(high + 1)
    assert low is not None
    return low - 1


@pytest.fixture
def critical(person: dict[str, Any], metadata: Metadata) -> dict[str, Any]:
    values = {**person["biomarkers"], "crp": beyond(metadata, "crp")}
    return {**person, "biomarkers": values}


def test_numbers_of_a_critical_value_are_withheld_with_the_reason(
    client: Any, read: Read, critical: dict[str, Any], metadata: Metadata
) -> None:
    answer = read(client.send(critical))
    assert tuple(answer) == ("participant_id", *ANSWER_FIELDS)
    assert [field for field in ANSWER_FIELDS if answer[field] is None] == list(NUMBERS)
    assert answer["participant_id"] == "a-17"
    assert answer["imputed"] == []
    assert answer["reliable"] is False
    value, limit = critical["biomarkers"]["crp"], metadata.critical_limits["crp"][1]
    (reason,) = answer["withheld"]
    assert (reason["code"], reason["field"]) == ("critical_value", "crp")
    assert reason["message"].startswith(
        f"C-reactive protein {value:g} mg/L is above {limit:g} mg/L."
    )
    assert [warning["field"] for warning in answer["warnings"]] == ["crp"]
    assert answer["model"]["name"] == "henaw-nhanes"


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_of_the_sidecar_is_in_the_message(
    client: Any, read: Read, person: dict[str, Any], metadata: Metadata, name: str
) -> None:
    for limit, step, side in zip(
        metadata.critical_limits[name], (-0.01, 0.01), ("below", "above"), strict=True
    ):
        if limit is None:
            continue
        person["biomarkers"] = {name: limit * (1 + step)}
        (reason,) = read(client.send(person))["withheld"]
        assert (reason["code"], reason["field"]) == ("critical_value", name)
        unit = PANEL[NAMES.index(name)].unit
        assert f"is {side} {limit:.6g} {unit}" in reason["message"]


def test_each_reason_has_its_code(client: Any, read: Read, person: dict[str, Any]) -> None:
    def find(**changes: Any) -> list[tuple[str, str]]:
        answer = read(client.send({**person, **changes}))
        assert answer["reliable"] is False
        assert answer["biological_age"] is None
        return [(reason["code"], reason["field"]) for reason in answer["withheld"]]

    assert find(age=110) == [("age_outside_fitted", "age")]
    assert find(biomarkers={}) == [("nothing_known", "biomarkers")]
    # Each of these values occurs, but no one has all of them.
    together = {"crp": 0.1, "hba1c": 120, "albumin": 55, "rdw": 22, "ggt": 5, "ast": 200, "alt": 6}
    assert find(biomarkers=together) == [("unlike_fitted", "biomarkers")]
    both = find(age=110, biomarkers={"crp": 400})
    assert both == [("critical_value", "crp"), ("age_outside_fitted", "age")]


def test_the_request_can_ask_for_unreliable_numbers(
    client: Any, read: Read, critical: dict[str, Any]
) -> None:
    withheld = read(client.send(critical))
    answer = read(client.send({**critical, "unreliable": "answer"}))
    assert None not in answer.values()
    assert isinstance(answer["biological_age"], float)
    assert {field: answer[field] for field in REST} == {field: withheld[field] for field in REST}
    assert read(client.send({**critical, "unreliable": "withhold"})) == withheld
    assert read(client.send({**critical, "unreliable": None})) == withheld


def test_asked_numbers_are_withheld_and_the_reason_is_added(
    client: Any, read: Read, critical: dict[str, Any], person: dict[str, Any]
) -> None:
    asked = {"outputs": ["age_gap", "imputed"]}
    answer = read(client.send({**critical, **asked}))
    assert tuple(answer) == ("participant_id", "age_gap", "imputed", "reliable", "withheld")
    assert answer["age_gap"] is None
    assert [reason["code"] for reason in answer["withheld"]] == ["critical_value"]
    assert tuple(read(client.send({**person, **asked}))) == ("participant_id", "age_gap", "imputed")
    # Where no number is asked for, nothing is withheld.
    answer = read(client.send({**critical, "outputs": ["imputed"]}))
    assert tuple(answer) == ("participant_id", "imputed")
    # An answer with unreliable numbers always says that they are unreliable.
    answer = read(client.send({**critical, **asked, "unreliable": "answer"}))
    assert tuple(answer) == ("participant_id", "age_gap", "imputed", "reliable", "withheld")
    assert answer["reliable"] is False
    assert isinstance(answer["age_gap"], float)


def test_among_many_only_unreliable_numbers_are_withheld(
    client: Any, read: Read, person: dict[str, Any], critical: dict[str, Any]
) -> None:
    anonymous = {name: value for name, value in critical.items() if name != "participant_id"}
    everybody = [critical, person, anonymous, {**person, "age": 60}, critical]
    predictions = read(client.send({"instances": everybody}))["predictions"]
    assert [p["reliable"] for p in predictions] == [False, True, False, True, False]
    assert predictions[0] == predictions[4] == read(client.send(critical))
    assert predictions[2] == read(client.send(anonymous))
    assert "participant_id" not in predictions[2]
    assert predictions[1]["biological_age"] == pytest.approx(
        read(client.send(person))["biological_age"], abs=1e-4
    )
    answered = read(client.send({"instances": everybody, "unreliable": "answer"}))["predictions"]
    assert all(isinstance(p["biological_age"], float) for p in answered)
    assert [p["withheld"] for p in answered] == [p["withheld"] for p in predictions]


def test_each_request_of_a_batch_has_its_own_choice(
    client: Any, read: Read, person: dict[str, Any], critical: dict[str, Any]
) -> None:
    told = {**critical, "unreliable": "answer"}
    bodies = (person, critical, told, {"instances": [person, critical]}, critical)
    answers = [read(response) for response in client.send(*bodies)]
    ages = [answer.get("biological_age") is None for answer in (*answers[:3], answers[4])]
    assert ages == [False, True, False, True]
    assert [p["reliable"] for p in answers[3]["predictions"]] == [True, False]
    totals = client.metrics.sum_up()
    # One of four people with a critical value asked for the numbers.
    assert totals.withheld["critical_value"] == 3
    assert sum(totals.withheld.values()) == 3


def test_arrays_are_not_counted_as_withheld(client: Any) -> None:
    data = [400.0, *[None] * 8]
    inputs = [
        {"name": "biomarkers", "shape": [1, 9], "datatype": "FP32", "data": data},
        {"name": "age", "shape": [1], "datatype": "FP32", "data": [54]},
        {"name": "sex", "shape": [1], "datatype": "INT64", "data": [0]},
    ]
    assert client.send({"inputs": inputs}).status == 200
    assert not any(client.metrics.sum_up().withheld.values())


def test_explanations_withhold_what_is_computed(
    client: Any, read: Read, critical: dict[str, Any], person: dict[str, Any]
) -> None:
    answer = read(client.send(critical, explain=True))
    computed = ("biological_age", "age_gap", "percentile", "draw_sd", "typical_values", "systems")
    assert [answer[field] for field in computed] == [None] * len(computed)
    parts = answer["biomarkers"] + answer["interactions"]
    assert {part["contribution"] for part in parts} == {None}
    assert answer["biomarkers"][0]["value"] == critical["biomarkers"]["crp"]
    assert all(row["reference_median"] > 0 for row in answer["biomarkers"])
    assert answer["reliable"] is False
    assert answer["withheld"] == read(client.send(critical))["withheld"]
    told = read(client.send({**critical, "unreliable": "answer"}, explain=True))
    assert None not in (told[field] for field in computed)
    assert (told["reliable"], told["withheld"]) == (False, answer["withheld"])
    many = {"instances": [critical, person], "unreliable": "answer"}
    assert read(client.send(many, explain=True))["explanations"][0] == told


@pytest.mark.parametrize("choice", ["keep", "", True, 1, ["answer"], {"answer": 1}])
@pytest.mark.parametrize("explain", [False, True])
def test_another_choice_is_refused(
    client: Any, read: Read, person: dict[str, Any], choice: Any, explain: bool
) -> None:
    for body in ({**person, "unreliable": choice}, {"instances": [], "unreliable": choice}):
        response = client.send(body, explain=explain)
        assert response.status == 422
        (problem,) = read(response)["errors"]
        assert (problem["field"], problem["code"]) == ("unreliable", "not_allowed")
        assert problem["message"].startswith('unreliable must be "withhold" or "answer"; got ')


def test_the_choice_is_a_field_of_the_request_and_not_of_a_person(
    client: Any, read: Read, person: dict[str, Any]
) -> None:
    response = client.send({"instances": [{**person, "unreliable": "answer"}]})
    assert response.status == 422
    assert read(response)["errors"][0]["field"] == "unreliable"


PROFILE: dict[str, Any] = {
    "name": "north",
    "shift": {"rdw": 0.05, "albumin": 1.5},
    "standard_error": {"rdw": 0.003, "albumin": 0.2},
}


def assemble(folder: Path, profile: Path | None) -> Service:
    return assemble_service(
        folder,
        HandlerConfiguration(),
        store=None,
        states=None,
        lab_profile=profile,
        log=RequestLog(io.BytesIO()),
    )


def ask(service: Service, person: dict[str, Any], **flags: bool) -> Any:
    request = Request(
        body=json.dumps(person).encode(),
        headers={"content-type": "application/json"},
        request_id="r",
        **flags,
    )
    return json.loads(service.answer([request])[0].body)


@pytest.fixture
def profile_path(tmp_path: Path, weights: Path) -> Path:
    sha256 = json.loads((weights / "henaw.json").read_text())["checkpoint_sha256"]
    profile = LabProfile(**PROFILE, model=sha256)
    path = tmp_path / "lab.json"
    path.write_text(json.dumps(profile.describe()))
    return path


def test_a_laboratorys_profile_shifts_its_values(
    unpacked: Path, profile_path: Path, person: dict[str, Any]
) -> None:
    plain, shifted = assemble(unpacked, None), assemble(unpacked, profile_path)
    moved = json.loads(json.dumps(person))
    moved["biomarkers"]["rdw"] *= float(np.exp(0.05))
    moved["biomarkers"]["albumin"] += 1.5
    answer, there = ask(plain, person), ask(shifted, moved)
    assert there["biological_age"] == pytest.approx(answer["biological_age"], abs=1e-3)
    assert there["biological_age"] != pytest.approx(ask(plain, moved)["biological_age"], abs=0.01)
    assert there["model"] == {**answer["model"], "lab": "north"}
    assert "lab" not in answer["model"]
    assert ask(shifted, moved, explain=True)["model"]["lab"] == "north"
    description = ask(shifted, moved, describe=True)
    assert description["lab"] == json.loads(profile_path.read_text())
    assert ask(plain, moved, describe=True)["lab"] is None


def test_a_profile_that_cannot_be_used_keeps_the_server_from_starting(
    unpacked: Path, profile_path: Path
) -> None:
    with pytest.raises(ProfileError, match="there is no such file"):
        assemble(unpacked, profile_path.with_name("absent.json"))
    content = json.loads(profile_path.read_text())
    profile_path.write_text(json.dumps({**content, "shift": {"rdw": 0.5}}))
    with pytest.raises(ProfileError, match="Was it changed by hand"):
        assemble(unpacked, profile_path)
    profile_path.write_text(json.dumps({**content, "model": "0" * 64}))
    with pytest.raises(ProfileError, match="it was made for the model 000000000000; this is "):
        assemble(unpacked, profile_path)


def test_the_profile_is_part_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "handler.yaml"
    path.write_text("lab_profile: lab.json\n")
    assert load_configuration(path).lab_profile == "lab.json"
    path.write_text("lab_profile: 7\n")
    with pytest.raises(ConfigurationError, match="lab_profile must be a text or null"):
        load_configuration(path)
