"""The penalty for broken rules, on problems small enough to solve exactly."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.model.graph.harm import HarmRules
from henaw.training.objective.harm import MARGIN_YEARS, HarmPenalty
from scipy import optimize
from torch import Tensor

Run = Callable[[HarmPenalty, Tensor, Tensor], Tensor]
AGES = 5
GROUPS = 6


def make_rules(seed: int, *, groups: int = GROUPS, ages: int = AGES) -> HarmRules:
    """Groups of rules that change along a straight line over age, as slopes do."""
    generator = np.random.default_rng(seed)
    start, rise = generator.standard_normal((2, groups, 1, 4))
    start[..., 0] = np.abs(start[..., 0]) + 1.0  # the first weight alone can keep them all
    steps = np.linspace(0, 1, ages)[None, :, None]
    main = (start + 0.3 * rise * steps).reshape(groups * ages, 4)
    names = [f"group {g}, age {a}" for g in range(groups) for a in range(ages)]
    return HarmRules(
        main=torch.from_numpy(main),
        pair=torch.full((groups * ages, 2), 0.1).double(),
        least=torch.zeros(groups * ages).double(),
        names=tuple(names),
        groups=tuple(name.split(",")[0] for name in names),
    )


def find_target(rules: HarmRules) -> Tensor:
    """Weights that break a good part of the rules."""
    generator = np.random.default_rng(9)
    drawn = [torch.from_numpy(generator.standard_normal(6)) for _ in range(200)]
    return min(drawn, key=lambda x: float(rules.measure(x[:4], x[4:]).clamp(max=0).sum()))


def compute_loss(free: Tensor, target: Tensor) -> Tensor:
    return ((free - target) ** 2).sum()


def solve_exactly(rules: HarmRules, target: Tensor) -> npt.NDArray[np.float64]:
    """By sequential quadratic programming, with |pairs| from above and below."""
    signs = [np.array([a, b]) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    main, pair = rules.main.numpy(), rules.pair.numpy()
    constraints = [
        {"type": "ineq", "fun": lambda x, s=s: main @ x[:4] - pair @ (s * x[4:]) - MARGIN_YEARS}
        for s in signs
    ]
    found = optimize.minimize(
        lambda x: ((x - target.numpy()) ** 2).sum(),
        np.zeros(6),
        constraints=constraints,
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert found.success
    return np.asarray(found.x)


def run_lbfgs(penalty: HarmPenalty, free: Tensor, target: Tensor) -> Tensor:
    free = free.clone().requires_grad_()
    solver = torch.optim.LBFGS([free], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = compute_loss(free, target) + penalty.compute(free[:4], free[4:])
        loss.backward()
        return loss

    solver.step(closure)
    return free.detach()


def run_adam(penalty: HarmPenalty, free: Tensor, target: Tensor) -> Tensor:
    free = free.clone().requires_grad_()
    solver = torch.optim.Adam([free], lr=0.05)
    # Steps that shrink to nothing: with constant ones, the end depends on the last bits of sums.
    shrinking = torch.optim.lr_scheduler.ExponentialLR(solver, 0.99)
    for _ in range(800):
        solver.zero_grad()
        loss = compute_loss(free, target) + penalty.compute(free[:4], free[4:])
        loss.backward()
        solver.step()
        shrinking.step()
    return free.detach()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("run", [run_lbfgs, run_adam], ids=["lbfgs", "adam"])
def test_any_solver_finds_the_best_weights_that_obey_the_rules(run: Run, seed: int) -> None:
    rules = make_rules(seed)
    target = find_target(rules)
    assert float(rules.measure(target[:4], target[4:]).min()) < -0.3, "so they have to move"
    penalty, free = HarmPenalty(rules, 0.5), torch.zeros(6).double()
    for _ in range(40):
        free = run(penalty, free, target)
        if penalty.update(free[:4], free[4:]) <= 0:
            break
    assert float(rules.measure(free[:4], free[4:]).min()) >= 0.0
    # Multipliers spare the weight: alone, it would come to a thousand and more.
    assert penalty.weight < 500
    assert penalty.multipliers.any()
    best = solve_exactly(rules, target)
    worst_of_best = float(compute_loss(torch.from_numpy(best), target))
    assert float(compute_loss(free, target)) == pytest.approx(worst_of_best, rel=0.02, abs=0.01)


def test_weights_that_obey_the_rules_have_no_penalty() -> None:
    rules = make_rules(4)
    penalty = HarmPenalty(rules, 0.5)
    main = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    part = penalty.compute(main, torch.zeros(2).double())
    part.backward()
    assert part.item() == 0.0
    assert main.grad is not None
    assert not main.grad.any()
    assert penalty.update(main.detach(), torch.zeros(2).double()) <= 0.0
    assert not penalty.multipliers.any()


def test_the_loss_contains_the_first_middle_and_last_age_of_each_group() -> None:
    rules = make_rules(5)
    penalty = HarmPenalty(rules, 0.5)
    assert penalty.rows == [g * AGES + a for g in range(GROUPS) for a in (0, 2, 4)]


def make_bent_rules() -> HarmRules:
    """One group, of which the second age alone is about the second weight."""
    main = torch.zeros(5, 4).double()
    main[:, 0] = 1.0
    main[1] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    return HarmRules(
        main=main,
        pair=torch.zeros(5, 2).double(),
        least=torch.zeros(5).double(),
        names=tuple(f"g, age {age}" for age in range(5)),
        groups=("g",) * 5,
    )


def test_another_broken_age_is_added_to_the_loss() -> None:
    penalty = HarmPenalty(make_bent_rules(), 0.5)
    weight, pairs = torch.tensor([1.0, -1.0, 0.0, 0.0]).double(), torch.zeros(2).double()
    assert float(penalty.compute(weight, pairs)) == 0.0
    assert penalty.update(weight, pairs) == 1.0
    assert penalty.rows == [0, 2, 4, 1]
    assert len(penalty.multipliers) == 4
    assert float(penalty.compute(weight, pairs)) > 0.0
    assert penalty.describe(weight, pairs) == "g, age 1 is broken by 1 years"


def test_the_weight_rises_if_the_violation_does_not_shrink() -> None:
    penalty = HarmPenalty(make_bent_rules(), 0.5)
    pairs = torch.zeros(2).double()
    weights = [torch.tensor([-size, 1.0, 0.0, 0.0]).double() for size in (1.0, 0.9, 0.3)]
    asked = []
    for weight in weights:
        penalty.update(weight, pairs)
        asked.append(penalty.weight)
    assert asked == [0.5, 1.5, 1.5]


def test_a_copy_is_updated_independently() -> None:
    penalty = HarmPenalty(make_bent_rules(), 0.5)
    weight, pairs = torch.tensor([-1.0, -1.0, 0.0, 0.0]).double(), torch.zeros(2).double()
    penalty.update(weight, pairs)
    rows, multipliers = list(penalty.rows), penalty.multipliers.clone()
    other = penalty.copy()
    assert torch.equal(other.compute(weight, pairs), penalty.compute(weight, pairs))
    bent = torch.tensor([-5.0, -9.0, 0.0, 0.0]).double()
    for _ in range(3):
        other.update(bent, pairs)
    assert penalty.rows == rows
    assert torch.equal(penalty.multipliers, multipliers)
    assert penalty.weight == 0.5
    assert other.weight > 0.5


def test_the_gradient_is_that_of_the_part() -> None:
    rules = make_rules(6)
    penalty = HarmPenalty(rules, 0.7)
    target = find_target(rules)
    penalty.update(target[:4], target[4:])
    weight, pairs = target[:4].clone().requires_grad_(), target[4:].clone().requires_grad_()
    assert torch.autograd.gradcheck(penalty.compute, (weight, pairs))
