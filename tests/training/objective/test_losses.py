"""The parts of the loss, against values computed another way."""

import numpy as np
import pytest
import torch
from henaw.training.objective.losses import (
    compute_age_loss,
    compute_cause_loss,
    compute_elastic_net,
    compute_mortality_loss,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import gompertz
from torch import Tensor

PEOPLE = 40


def draw_people(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """log_hazard, slope, time_years, event, weight; float64."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(PEOPLE, generator=generator, dtype=torch.float64)

    event = (uniform(0, 1) < 0.4).double()
    return uniform(-8, -1), uniform(0.05, 0.15), uniform(0.04, 10), event, uniform(0.5, 3).round()


def test_mortality_loss_is_the_integrated_hazard_less_the_log_hazard_at_death() -> None:
    log_hazard, slope, time, event, weight = draw_people()
    expected = 0.0
    for a, b, t, d, w in zip(log_hazard, slope, time, event, weight, strict=True):
        a, b, t = float(a), float(b), float(t)  # noqa: PLW2901
        cumulative, _ = quad(lambda s, a=a, b=b: np.exp(a + b * s), 0, t, epsabs=1e-13)
        expected += float(w) * (cumulative - float(d) * (a + b * t))
    loss = compute_mortality_loss(log_hazard, slope, time, event, weight)
    assert float(loss) == pytest.approx(expected, rel=1e-9)


def test_mortality_loss_is_the_censored_likelihood_that_scipy_gives() -> None:
    # scipy.stats.gompertz has the hazard c e^x of x = b t: c = e^a / b, scale = 1 / b.
    log_hazard, slope, time, event, weight = draw_people(6)
    law = gompertz(c=(log_hazard.exp() / slope).numpy(), scale=(1 / slope).numpy())
    log_likelihood = np.where(event.numpy() == 1, law.logpdf(time), law.logsf(time))
    expected = -np.sum(log_likelihood * weight.numpy())
    loss = compute_mortality_loss(log_hazard, slope, time, event, weight)
    assert float(loss) == pytest.approx(expected, rel=1e-9)


def test_mortality_loss_has_the_gradient_that_differences_give() -> None:
    log_hazard, slope, time, event, weight = draw_people(1)
    log_hazard.requires_grad_()
    slope.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: compute_mortality_loss(a, b, time, event, weight), (log_hazard, slope)
    )


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_mortality_loss_without_deaths_and_with_nothing_but_deaths(value: float) -> None:
    log_hazard, slope, time, _, _ = draw_people(2)
    one = torch.ones_like(time)
    loss = compute_mortality_loss(log_hazard, slope, time, value * one, one)
    cumulative = (log_hazard.exp() * (torch.exp(slope * time) - 1) / slope).sum()
    expected = cumulative - value * (log_hazard + slope * time).sum()
    assert float(loss) == pytest.approx(float(expected))


def test_a_weight_counts_a_person_that_many_times() -> None:
    *person, weight = draw_people(3)
    times = weight.long()
    repeated = [values.repeat_interleave(times) for values in person]
    one = torch.ones(int(times.sum()), dtype=torch.float64)
    assert float(compute_mortality_loss(*person, weight)) == pytest.approx(
        float(compute_mortality_loss(*repeated, one))
    )
    assert float(compute_age_loss(person[2], weight)) == pytest.approx(
        float(compute_age_loss(repeated[2], one))
    )


@given(st.integers(1, PEOPLE - 1))
@settings(deadline=None)
def test_batches_add_up_to_the_whole(split: int) -> None:
    people = draw_people(4)
    batches = [[values[:split] for values in people], [values[split:] for values in people]]
    total = sum(float(compute_mortality_loss(*batch)) for batch in batches)
    assert total == pytest.approx(float(compute_mortality_loss(*people)))


def test_age_loss_is_the_weighted_sum_of_squares() -> None:
    gap = torch.tensor([1.0, -2.0, 4.0])
    assert float(compute_age_loss(gap, torch.tensor([1.0, 1.0, 2.0]))) == pytest.approx(37)


def test_cause_loss_is_the_mean_negative_log_share() -> None:
    logits = torch.tensor([[0.0, 0.0], [1.0, 3.0]], dtype=torch.float64)
    expected = (np.log(2) - np.log(np.exp(1) / (np.exp(1) + np.exp(3)))) / 2
    loss = compute_cause_loss(logits, torch.tensor([1, 0]))
    assert float(loss) == pytest.approx(expected)


def test_cause_loss_without_deaths_is_zero_and_has_a_gradient() -> None:
    weight = torch.zeros(5, 3, requires_grad=True)
    loss = compute_cause_loss(torch.zeros(0, 3) @ weight.T, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0.0
    assert weight.grad is not None
    assert not weight.grad.any()


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [(0.0, 2 * 9 + 0.5 * 16), (1.0, 2 * 3 + 0.5 * 4), (0.25, 0.25 * 8 + 0.75 * 26)],
)
def test_elastic_net_mixes_absolute_values_and_squares(alpha: float, expected: float) -> None:
    weight = torch.tensor([3.0, -4.0, 0.0], dtype=torch.float64)
    penalty = torch.tensor([2.0, 0.5, 1.0], dtype=torch.float64)
    loss = compute_elastic_net(weight, penalty, alpha)
    assert float(loss) == pytest.approx(expected, abs=2e-3)


def test_elastic_net_at_zero_is_flat_and_next_to_nothing() -> None:
    weight = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    loss = compute_elastic_net(weight, torch.ones(4, dtype=torch.float64), 0.5)
    loss.backward()
    assert loss.item() == pytest.approx(0.002)
    assert weight.grad is not None
    assert not weight.grad.any()
