"""The text that Prometheus reads, of workers alive and dead, of two versions."""

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from henaw.handler.observe.exposition import WorkersCollector
from henaw.handler.observe.process_identity import identify_process
from henaw.handler.observe.worker_state import Compared, Histogram, StateFile, Totals, WorkerState
from henaw.model.biomarkers import NAMES
from prometheus_client import CollectorRegistry, generate_latest

NOW_S = 1000.0


def make_state(**changes: object) -> WorkerState:
    def measure(*values: float) -> Histogram:
        histogram = Histogram.over(0.1, 1.0)
        for value in values:
            histogram.observe(value)
        return histogram

    state = WorkerState(
        pid=os.getpid(),
        created=identify_process(os.getpid()) or "",
        version="1.0",
        runtime="onnx",
        fallbacks=2,
        throttle_fallbacks=3,
        checked_at=NOW_S - 3,
        differences=[],
        busy_since=None,
        drift_slot=20,
        drift_slots=12,
        drift_expected={**dict.fromkeys(NAMES, (0.5, 0.5)), "sex": (0.5, 0.5)},
        totals=Totals(
            requests={"200": 5, "429": 1},
            throttled={"keyed": 1},
            people=7,
            request_seconds=measure(0.05, 0.5, 5.0),
            validation_seconds=measure(0.05),
            inference_seconds={"onnx": measure(0.05)},
            batch_requests=measure(1),
            biological_age=measure(52.5),
            imputed=[3] * len(NAMES),
            out_of_range=[int(name == "ggt") for name in NAMES],
            withheld={"critical_value": 4, "unlike_fitted": 0},
            drift={8: [[900, 900]] * 11, 9: [[90, 10]] * 11, 20: [[91, 9]] * 11},
        ),
    )
    return msgspec.structs.replace(state, **changes)


def expose(folder: Path, *states: WorkerState) -> dict[str, float]:
    for number, state in enumerate(states):
        file = StateFile(folder)
        file._path = folder / f"{number}.state"
        file.write(state)
    registry = CollectorRegistry()
    registry.register(WorkersCollector(folder, patience_s=15.0, clock=lambda: NOW_S))
    text = generate_latest(registry).decode()
    if shutil.which("promtool"):
        checked = subprocess.run(
            ["promtool", "check", "metrics"],
            input=text, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    rows = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in rows}


def test_dead_workers_are_counted_but_not_judged(tmp_path: Path) -> None:
    dead = make_state(created="another", differences=["x"], checked_at=0.0, fallbacks=1)
    seen = expose(tmp_path, make_state(), dead)
    one = 'version="1.0"'
    assert seen["henaw_ready"] == 1
    assert seen[f"henaw_check_age_seconds{{{one}}}"] == 3
    assert seen[f'henaw_workers{{runtime="onnx",{one}}}'] == 1
    assert seen[f"henaw_worker_starts_total{{{one}}}"] == 2
    assert seen[f'henaw_requests_total{{status="200",{one}}}'] == 10
    assert seen[f'henaw_throttled_total{{reason="keyed",{one}}}'] == 2
    assert seen[f"henaw_people_total{{{one}}}"] == 14
    assert seen[f"henaw_fallbacks_total{{{one}}}"] == 3
    assert seen[f"henaw_throttle_fallbacks_total{{{one}}}"] == 6
    assert seen[f'henaw_imputed_total{{biomarker="crp",{one}}}'] == 6
    assert seen[f'henaw_out_of_range_total{{biomarker="ggt",{one}}}'] == 2
    assert seen[f'henaw_out_of_range_total{{biomarker="crp",{one}}}'] == 0
    assert seen[f'henaw_withheld_total{{code="critical_value",{one}}}'] == 8
    assert seen[f'henaw_withheld_total{{code="unlike_fitted",{one}}}'] == 0
    assert seen[f'henaw_request_seconds_bucket{{le="0.1",{one}}}'] == 2
    assert seen[f'henaw_request_seconds_bucket{{le="1.0",{one}}}'] == 4
    assert seen[f'henaw_request_seconds_bucket{{le="+Inf",{one}}}'] == 6
    assert seen[f"henaw_request_seconds_sum{{{one}}}"] == pytest.approx(11.1)
    assert seen[f"henaw_biological_age_years_sum{{{one}}}"] == pytest.approx(105.0)
    assert seen[f'henaw_inference_seconds_count{{runtime="onnx",{one}}}'] == 2


def test_drift_is_of_the_window_over_all_workers(tmp_path: Path) -> None:
    seen = expose(tmp_path, make_state(), make_state(created="another", drift_slot=10))
    label = '{input="crp",version="1.0"}'
    # The slice 8 has left the window, though a dead worker still holds it.
    assert seen[f"henaw_drift_values{label}"] == 400
    assert seen[f"henaw_drift_index{label}"] == pytest.approx(0.89, abs=0.02)
    assert seen['henaw_drift_index{input="sex",version="1.0"}'] == seen[f"henaw_drift_index{label}"]
    # This model has no distribution of ages.
    assert seen['henaw_drift_values{input="age",version="1.0"}'] == 400
    assert 'henaw_drift_index{input="age",version="1.0"}' not in seen


def test_few_values_are_no_drift(tmp_path: Path) -> None:
    totals = make_state().totals
    totals.drift = {20: [[150, 0]] * 11}
    seen = expose(tmp_path, make_state(totals=totals))
    assert seen['henaw_drift_values{input="crp",version="1.0"}'] == 150
    assert not [name for name in seen if name.startswith("henaw_drift_index")]


def test_versions_are_told_apart(tmp_path: Path) -> None:
    wrong = make_state(version="1.1", differences=["x"], runtime="torchscript")
    seen = expose(tmp_path, make_state(), wrong)
    assert seen["henaw_ready"] == 0
    for version, runtime in (("1.0", "onnx"), ("1.1", "torchscript")):
        assert seen[f'henaw_workers{{runtime="{runtime}",version="{version}"}}'] == 1
        assert seen[f'henaw_people_total{{version="{version}"}}'] == 7


def test_comparisons_are_summed_by_both_versions(tmp_path: Path) -> None:
    def compare(other: str, same: int, unlike: int) -> Totals:
        difference = Histogram.over(0.1, 1.0)
        difference.observe(0.5, same)
        compared = Compared(same_status=same, other_status=unlike, difference=difference)
        return msgspec.structs.replace(make_state().totals, compared={other: compared})

    seen = expose(
        tmp_path,
        make_state(totals=compare("1.1", 3, 1)),
        make_state(totals=compare("1.1", 2, 0), created="another"),
        make_state(totals=compare("1.2", 7, 0)),
        make_state(totals=compare("1.0", 4, 0), version="1.1"),
    )
    for version, other, same, unlike in (
        ("1.0", "1.1", 5, 1),
        ("1.0", "1.2", 7, 0),
        ("1.1", "1.0", 4, 0),
    ):
        both = f'other="{other}",version="{version}"'
        counted = "henaw_shadow_compared_total"
        of = f'other="{other}",outcome="{{}}",version="{version}"'
        assert seen[f"{counted}{{{of.format('same_status')}}}"] == same
        assert seen[f"{counted}{{{of.format('other_status')}}}"] == unlike
        difference = "henaw_shadow_difference_years"
        assert seen[f'{difference}_bucket{{le="0.1",{both}}}'] == 0
        assert seen[f'{difference}_bucket{{le="1.0",{both}}}'] == same
        assert seen[f"{difference}_sum{{{both}}}"] == pytest.approx(same * 0.5)


def test_no_workers_are_not_ready_but_no_error(tmp_path: Path) -> None:
    assert expose(tmp_path / "absent") == {"henaw_ready": 0}
