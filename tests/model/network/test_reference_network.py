"""The compiled network computes what its plain twin does."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.export.people import (
    People,
    blank_every_pattern,
    draw_anywhere,
    draw_synthetic_people,
    join_people,
    list_edge_cases,
)
from henaw.model.biomarkers import INDEX
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import NetworkConfiguration
from henaw.model.network import Network
from henaw.model.profile import PROFILE_TENSORS
from henaw.model.reference_network import ReferenceNetwork
from henaw.model.reference_people import SMALLEST_ALT
from henaw.model.runtime import Outputs
from torch.overrides import TorchFunctionMode

Profile = dict[str, list[float]]

NORTH: Profile = {
    "lab_shift": [0.1, -0.02, 0.05, 0.6, -1.2, 0.05, 0.1, -0.08, 0.04],
    "lab_standard_error": [0.02, 0.0, 0.01, 0.1, 0.0, 0.003, 0.02, 0.01, 0.0],
    "lab_level": [-0.1, 0.05, 0.2, -0.03],
}


class _Wide(TorchFunctionMode):
    """Makes float64 of what the graph makes float32 of."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        wide = (torch.float64 if value is torch.float32 else value for value in args)
        return func(*wide, **(kwargs or {}))


@contextmanager
def widen() -> Iterator[None]:
    """Compute the graph in float64, so that rounding does not hide another formula."""
    with _Wide(), torch.inference_mode():
        yield


def answer_widely(network: Network, people: People) -> dict[str, npt.NDArray[Any]]:
    with widen():
        answers = network.double().answer(
            torch.from_numpy(people.biomarkers).double(),
            torch.from_numpy(people.age).double(),
            torch.from_numpy(people.sex),
        )
    return {name: tensor.numpy() for name, tensor in answers._asdict().items()}


def set_profile(network: Network, profile: Profile) -> Network:
    for name in PROFILE_TENSORS:
        tensor = getattr(network, name)
        tensor.copy_(torch.tensor(profile[name]).reshape(tensor.shape))
    return network


def assert_same(
    seen: Outputs | dict[str, npt.NDArray[Any]], expected: dict[str, Any], limit: float
) -> None:
    for name, values in seen.items():
        if values.dtype == bool:
            np.testing.assert_array_equal(values, expected[name], err_msg=name)
        else:
            np.testing.assert_allclose(values, expected[name], rtol=0, atol=limit, err_msg=name)


@pytest.fixture(scope="module")
def people(checkpoint: Checkpoint, golden: tuple[People, Outputs]) -> People:
    """Golden, edge, usual, of every missing pattern, and spread over all that is accepted."""
    usual = draw_synthetic_people(checkpoint, 100, seed=11)
    everyone = join_people(
        *(golden[0], list_edge_cases()[1], usual, blank_every_pattern(usual)),
        draw_anywhere(200, seed=12),
    )
    # The guard of the ratio is another number in float64.
    at_guard = everyone.biomarkers[:, INDEX["alt"]] == np.float32(SMALLEST_ALT)
    return everyone.select(np.flatnonzero(~at_guard))


@pytest.mark.parametrize("profile", [None, NORTH], ids=["no profile", "north"])
def test_the_compiled_network_is_the_formulas(
    checkpoint: Checkpoint, people: People, profile: Profile | None
) -> None:
    network = checkpoint.build_network()
    if profile is not None:
        set_profile(network, profile)
    reference = ReferenceNetwork(checkpoint.network, checkpoint.tensors, profile)
    assert_same(answer_widely(network, people), reference.predict(*people), 1e-5)


def test_the_golden_answers_are_the_formulas(
    checkpoint: Checkpoint, golden: tuple[People, Outputs]
) -> None:
    """As they ship, in float32."""
    people, outputs = golden
    reference = ReferenceNetwork(checkpoint.network, checkpoint.tensors)
    expected = reference.predict(*people)
    percentile = {"percentile": outputs["percentile"]}
    assert_same({k: v for k, v in outputs.items() if k != "percentile"}, expected, 1e-4)
    assert_same(percentile, expected, 1e-3)


def test_a_biomarker_that_is_left_out_is_left_out_of_the_formulas(
    checkpoint: Checkpoint, people: People
) -> None:
    described = {
        **{f: getattr(checkpoint.network, f) for f in checkpoint.network.__dataclass_fields__},
        "panel": tuple(name for name in checkpoint.network.panel if name != "ast"),
    }
    configuration = NetworkConfiguration(**described)
    network = Network(configuration, checkpoint.tensors).eval()
    reference = ReferenceNetwork(configuration, checkpoint.tensors)
    few = people.select(np.arange(0, len(people.age), 5))
    assert_same(answer_widely(network, few), reference.predict(*few), 1e-5)
