"""The shipped network, its tables, and people drawn from its reference."""

import numpy as np
import numpy.typing as npt
import pytest
from henaw.export.people import People, draw_synthetic_people
from henaw.model.checkpoint import Checkpoint
from henaw.model.network import Network


@pytest.fixture(scope="module")
def network(checkpoint: Checkpoint) -> Network:
    return checkpoint.build_network()


@pytest.fixture(scope="module")
def tables(checkpoint: Checkpoint) -> dict[str, npt.NDArray[np.float64]]:
    return {name: tensor.double().numpy() for name, tensor in checkpoint.tensors.items()}


@pytest.fixture(scope="module")
def people(checkpoint: Checkpoint) -> People:
    return draw_synthetic_people(checkpoint, 300, seed=21)
