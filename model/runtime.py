"""Eager, TorchScript and ONNX Runtime behind one ``predict``.

Each runtime takes raw values as NumPy arrays and returns the graph's outputs by name;
what the graph computes is in :mod:`henaw.model.network`.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from henaw.model.errors import ArtifactError, RuntimeUnavailableError
from henaw.model.onnx_session import open_session
from henaw.model.profile import PROFILE_TENSORS, LabProfile

if TYPE_CHECKING:
    import torch

Outputs = dict[str, npt.NDArray[Any]]

_LOGGER = logging.getLogger(__name__)

PROTOCOL = 2
"""Version of checkpoints and of the graph. It rises when older files can no longer be read."""

INPUT_NAMES: tuple[str, ...] = ("biomarkers", "age", "sex")
OUTPUT_NAMES: tuple[str, ...] = (
    "biological_age",
    "age_gap",
    "interval",
    "mortality_10y",
    "cause_risk_10y",
    "contributions",
    "system_contributions",
    "imputed",
    "out_of_range",
    "age_out_of_range",
    "percentile",
    "draw_sd",
    "critical",
    "reliable",
)


class Runtime(Protocol):
    """What evaluates the graph."""

    name: str

    def predict(
        self,
        biomarkers: npt.NDArray[np.float32],
        age: npt.NDArray[np.float32],
        sex: npt.NDArray[np.int64],
    ) -> Outputs:
        """Evaluate the graph.

        Args:
            biomarkers: (n, 9) float32 in the panel's units and order, NaN = missing.
            age: (n,) float32, years.
            sex: (n,) int64, 0 female, 1 male.

        Returns:
            Every output of the graph, by name.
        """
        ...


def load_torchscript(path: Path, *, device: str) -> torch.nn.Module:
    """Load an exported TorchScript file onto a torch device.

    Raises:
        RuntimeUnavailableError: the device is CUDA and no CUDA device is found.
    """
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeUnavailableError(f"device {device!r} needs CUDA; no CUDA device is found")
    with warnings.catch_warnings():
        # torch.jit is deprecated, but TorchServe's GPU path still loads it.
        warnings.filterwarnings("ignore", r".*torch\.jit.*", DeprecationWarning)
        module: torch.nn.Module = torch.jit.load(str(path), map_location=device)
    return module


def set_module_profile(module: torch.nn.Module, profile: LabProfile) -> None:
    """Write a laboratory's shifts into the network's buffers, in place."""
    import torch

    with torch.no_grad():
        for name, array in zip(PROFILE_TENSORS, profile.arrays, strict=True):
            getattr(module, name).copy_(torch.from_numpy(array))


class TorchRuntime:
    """The eager network, or its TorchScript export, on a torch device."""

    def __init__(self, module: torch.nn.Module, *, name: str, device: str = "cpu") -> None:
        self.name = name
        self.device = device
        self._module = module.to(device).eval()

    @classmethod
    def load_torchscript(cls, path: Path, *, device: str = "cpu") -> TorchRuntime:
        """Load an exported TorchScript file.

        Raises:
            RuntimeUnavailableError: the device is CUDA and no CUDA device is found.
        """
        module = load_torchscript(path, device=device)
        return cls(module, name=f"torchscript-{device.split(':', maxsplit=1)[0]}", device=device)

    def set_profile(self, profile: LabProfile) -> None:
        """Use a laboratory's profile from now on."""
        set_module_profile(self._module, profile)

    def predict(
        self,
        biomarkers: npt.NDArray[np.float32],
        age: npt.NDArray[np.float32],
        sex: npt.NDArray[np.int64],
    ) -> Outputs:
        """See :meth:`Runtime.predict`."""
        import torch

        with torch.inference_mode():
            # Copied: torch refuses reversed views, and warns about read-only arrays.
            inputs = [
                torch.from_numpy(np.array(a, order="C")).to(self.device)
                for a in (biomarkers, age, sex)
            ]
            outputs = self._module(*inputs)
        return {
            name: value.cpu().numpy() for name, value in zip(OUTPUT_NAMES, outputs, strict=True)
        }


class OnnxRuntime:
    """The ONNX file in ONNX Runtime; several threads may share it.

    Where CUDA cannot be used, or fails later, it runs on the CPU and logs the reason once.

    Args:
        source: the file, or its bytes.
        threads: intra-op threads; 1 keeps a worker to one core.
        device: auto, cpu, cuda or cuda:N; auto is CUDA where ONNX Runtime can use it.

    Attributes:
        name: onnxruntime-cpu or onnxruntime-cuda.
        device: the one in use: cpu or cuda:N.

    Raises:
        ConfigurationError: the device has another name.

    Example:
        >>> from henaw.model.shipped import ONNX_FILE, find_shipped
        >>> runtime = OnnxRuntime(find_shipped(ONNX_FILE))
        >>> values = np.array([[1.2, 35.5, 79.6, 45, 29, 13.1, np.nan, 24, 20]], np.float32)
        >>> outputs = runtime.predict(values, np.array([54], np.float32), np.array([0]))
        >>> print(f"{outputs['biological_age'][0]:.1f}")
        52.2
    """

    def __init__(self, source: Path | bytes, *, threads: int = 1, device: str = "cpu") -> None:
        self._source, self._threads = source, threads
        self._leaving = threading.Lock()
        self._session, self.device = open_session(source, device=device, threads=threads)
        self.name = f"onnxruntime-{self.device.partition(':')[0]}"

    @property
    def metadata(self) -> Mapping[str, str]:
        """The file's ``metadata_props``.

        Raises:
            ArtifactError: they are not text; the file is damaged.
        """
        try:
            properties: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        except UnicodeDecodeError as error:
            raise ArtifactError(
                "ONNX file", [f"its properties must be UTF-8: {error}. Export it again"]
            ) from error
        return properties

    def predict(
        self,
        biomarkers: npt.NDArray[np.float32],
        age: npt.NDArray[np.float32],
        sex: npt.NDArray[np.int64],
    ) -> Outputs:
        """See :meth:`Runtime.predict`."""
        feeds: Mapping[str, npt.NDArray[Any]] = dict(
            zip(INPUT_NAMES, (biomarkers, age, sex), strict=True)
        )
        device, session = self.device, self._session
        try:
            values = session.run(list(OUTPUT_NAMES), feeds)
        except Exception as error:
            if device == "cpu":
                raise
            values = self._leave_cuda(feeds, error)
        return dict(zip(OUTPUT_NAMES, values, strict=True))

    def _leave_cuda(self, feeds: Mapping[str, npt.NDArray[Any]], error: Exception) -> Any:
        """Answer on the CPU from now on: the device was lost or is out of memory."""
        with self._leaving:
            session = self._session
            if self.device != "cpu":
                session, _ = open_session(self._source, device="cpu", threads=self._threads)
            # Before anything changes: what the CPU also refuses is not the device's fault.
            values = session.run(list(OUTPUT_NAMES), feeds)
            if self.device != "cpu":
                _LOGGER.warning("%s failed, the CPU answers from now on: %s", self.device, error)
                self._session, self.device, self.name = session, "cpu", "onnxruntime-cpu"
        return values
