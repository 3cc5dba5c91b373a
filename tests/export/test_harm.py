"""The proof that no harmful value looks younger, and what it refuses."""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from henaw.export import export as module
from henaw.export.export import export_checkpoint
from henaw.export.harm import (
    LARGEST_FALL_YEARS,
    STEPS,
    check_rules,
    list_worse_values,
    require_no_credit,
    scan_harmful_values,
)
from henaw.export.people import People, draw_synthetic_people
from henaw.model.biomarkers import INDEX, PANEL
from henaw.model.checkpoint import Checkpoint, save_checkpoint
from henaw.model.errors import ArtifactError
from henaw.model.runtime import Runtime, TorchRuntime
from torch import Tensor

SIDES = [(b.name, side) for b in PANEL for side in sorted(b.harmful)]


@pytest.fixture(scope="module")
def people(checkpoint: Checkpoint) -> People:
    return draw_synthetic_people(checkpoint, 60, seed=51)


def tamper(checkpoint: Checkpoint, name: str, change: Callable[[Tensor], None]) -> Checkpoint:
    """The checkpoint with one tensor changed."""
    tensor = checkpoint.tensors[name].clone()
    change(tensor)
    return dataclasses.replace(checkpoint, tensors={**checkpoint.tensors, name: tensor})


def lower_tail(biomarker: str, years: float = 3.0) -> Callable[[Tensor], None]:
    """Let the outermost slope of a biomarker fall by so many years per score."""

    def change(weight: Tensor) -> None:
        basis = weight.shape[-1] // 3
        weight[..., INDEX[biomarker], basis - 1] -= years

    return change


def test_values_get_worse_from_the_limit_to_the_end_of_what_is_accepted() -> None:
    for (name, side), sex in itertools.product(SIDES, (0, 1)):
        biomarker = PANEL[INDEX[name]]
        values = list_worse_values(biomarker, side, sex)
        assert len(values) == STEPS
        assert values[0] == np.float32(getattr(biomarker.reference, side)[sex])
        end = biomarker.maximum if side == "high" else biomarker.minimum
        assert values[-1] == pytest.approx(end)
        assert (np.diff(values) > 0).all() if side == "high" else (np.diff(values) < 0).all()


def test_the_shipped_model_gives_no_credit(
    checkpoint: Checkpoint, runtime: Runtime, people: People
) -> None:
    assert check_rules(checkpoint) > -1e-4
    found = require_no_credit(runtime, people)
    assert found["people"] == 60
    assert set(found["largest_fall_years"]) == {f"{name} {side}" for name, side in SIDES}
    assert max(found["largest_fall_years"].values()) <= LARGEST_FALL_YEARS


def test_a_steeper_fall_is_named_with_its_biomarker_and_fit(
    checkpoint: Checkpoint, people: People
) -> None:
    bent = tamper(checkpoint, "weight", lower_tail("alt", 30.0))
    with pytest.raises(ArtifactError, match="harmful values: 1 problem") as caught:
        check_rules(bent)
    (problem,) = caught.value.problems
    assert problem.startswith("the model: a worse value looks younger: alt high, ")
    assert ", piece 7, age " in problem
    falls = scan_harmful_values(TorchRuntime(bent.build_network(), name="eager"), people)
    assert falls["alt high"] > 1.0
    assert max(fall for name, fall in falls.items() if name != "alt high") < LARGEST_FALL_YEARS


def test_a_refit_that_gives_credit_is_named(checkpoint: Checkpoint) -> None:
    def change(weights: Tensor) -> None:
        lower_tail("creatinine", 30.0)(weights[4])

    bent = tamper(checkpoint, "member_weight", change)
    with pytest.raises(ArtifactError) as caught:
        check_rules(bent)
    (problem,) = caught.value.problems
    assert problem.startswith("refit 5: a worse value looks younger: creatinine high, ")


def test_the_scan_finds_what_the_weights_do_not_show(
    checkpoint: Checkpoint, people: People
) -> None:
    """An exported graph that differs from its checkpoint."""
    bent = tamper(checkpoint, "weight", lower_tail("crp", 30.0))
    runtime = TorchRuntime(bent.build_network(), name="eager")
    with pytest.raises(ArtifactError) as caught:
        require_no_credit(runtime, people)
    (problem,) = caught.value.problems
    assert problem.startswith("a worse value looks younger: crp high, by ")


def test_small_steps_down_add_up(checkpoint: Checkpoint, people: People) -> None:
    """Each gap is compared with the highest so far, not with the one before."""
    falls = [
        scan_harmful_values(
            TorchRuntime(
                tamper(checkpoint, "weight", lower_tail("hba1c", years)).build_network(),
                name="eager",
            ),
            people,
        )["hba1c high"]
        for years in (20.0, 40.0)
    ]
    assert 1.0 < falls[0] < falls[1]


def test_an_export_of_a_model_that_gives_credit_is_refused(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PARITY_PEOPLE", 400)
    bent = tmp_path / "bent.safetensors"
    save_checkpoint(tamper(checkpoint, "weight", lower_tail("ggt", 30.0)), bent)
    with pytest.raises(ArtifactError, match="a worse value looks younger: ggt high"):
        export_checkpoint(bent, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [bent]


def test_a_missing_value_stays_missing_in_the_scan(checkpoint: Checkpoint, people: People) -> None:
    """A person with missing values is checked with these values missing."""
    biomarkers = people.biomarkers.copy()
    biomarkers[np.random.default_rng(52).random(biomarkers.shape) < 0.3] = np.nan
    seen: list[np.ndarray] = []

    class Recording:
        name = "recording"
        inner = TorchRuntime(checkpoint.build_network(), name="eager")

        def predict(self, *inputs: np.ndarray) -> dict[str, np.ndarray]:
            seen.append(inputs[0])
            return self.inner.predict(*inputs)

    some = people._replace(biomarkers=biomarkers)
    falls = scan_harmful_values(Recording(), some)
    assert max(falls.values()) <= LARGEST_FALL_YEARS
    share = np.mean([np.isnan(rows).mean() for rows in seen])
    assert share == pytest.approx(0.3 * 8 / 9, abs=0.03)
