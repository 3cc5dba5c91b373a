"""The search for a minimum: where it ends, and what it says of how it went."""

import logging

import pytest
import torch
from henaw.model.errors import FitError
from henaw.training.solvers.minimise import Parts, minimise
from scipy import optimize
from torch import Tensor


def rosenbrock(x: Tensor) -> tuple[Parts, Tensor]:
    loss = float(optimize.rosen(x.numpy()))
    return {"rosenbrock": loss}, torch.from_numpy(optimize.rosen_der(x.numpy()))


def curve(x: Tensor) -> Tensor:
    return torch.from_numpy(optimize.rosen_hess(x.numpy()))


START = torch.tensor([-1.2, 1.0, -0.5, 2.0], dtype=torch.float64)


@pytest.mark.parametrize("known", [True, False], ids=["curvature", "no curvature"])
def test_it_ends_at_the_minimum_whatever_is_known_of_the_curvature(known: bool) -> None:
    flat = torch.eye(len(START)).double()
    found, parts, search = minimise(
        rosenbrock,
        START,
        curve=curve if known else lambda _: flat,
        iterations=500,
        name="a valley",
    )
    torch.testing.assert_close(found, torch.ones_like(START), rtol=0, atol=1e-6)
    assert parts["rosenbrock"] == search.loss < 1e-12
    assert search.converged
    assert search.evaluations >= search.iterations > 5


def test_curvature_spares_iterations() -> None:
    """In its own units a long valley takes hundreds; in even steps a few."""
    widths = torch.logspace(0, 6, 20, dtype=torch.float64)

    def evaluate(x: Tensor) -> tuple[Parts, Tensor]:
        return {"valley": float((widths * (x - 1.0).square()).sum())}, 2.0 * widths * (x - 1.0)

    searches = []
    for curvature in (torch.diag(2.0 * widths), torch.eye(20).double()):
        found, _, search = minimise(
            evaluate,
            torch.zeros(20).double(),
            curve=lambda _, c=curvature: c,
            iterations=100,
            name="a valley",
        )
        searches.append(search)
        if search.converged:
            torch.testing.assert_close(found, torch.ones(20).double())
    assert searches[0].iterations <= 2
    assert not searches[1].converged


def test_a_search_that_ran_out_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="henaw"):
        _, _, search = minimise(rosenbrock, START, curve=curve, iterations=2, name="a valley")
    assert search.stopped == "iterations"
    assert not search.converged
    assert "a valley: loss" in caplog.text
    assert "stopped: iterations" in caplog.text


def test_each_evaluation_is_told() -> None:
    told: list[str] = []
    _, _, search = minimise(
        rosenbrock, START, curve=curve, iterations=100, name="a valley", tick=told.append
    )
    assert len(told) == search.evaluations
    assert told[0].startswith("a valley: iteration 0, loss ")


def test_a_start_that_is_not_finite_is_refused() -> None:
    with pytest.raises(
        FitError, match=r"a valley: the loss or a parameter is not finite: rosen.*=nan"
    ):
        minimise(rosenbrock, START * torch.nan, curve=curve, iterations=9, name="a valley")
