"""The network on a GPU by ONNX Runtime, for installations without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.errors import RuntimeUnavailableError
from henaw.model.onnx_session import open_session
from henaw.model.profile import LabProfile, set_profile
from henaw.model.runtime import INPUT_NAMES, OUTPUT_NAMES, Outputs


class OnnxGpuRuntime:
    """The ONNX file on one device, without a fallback: the caller has one.

    Args:
        content: the file's bytes.
        device: cuda:N. On cpu the same code runs, for tests.

    Attributes:
        name: onnxruntime-cuda or onnxruntime-cpu.
        device_name: the device.
        sizes: numbers of people in a call whose answers and times are checked at the start.
        captured: always False, because no CUDA graphs are replayed.

    Raises:
        RuntimeUnavailableError: ONNX Runtime cannot use the device.
    """

    sizes = (64, 1024, 8192)
    captured = False

    def __init__(self, content: bytes, *, device: str) -> None:
        self._content = content
        self.device_name = device
        self.name = f"onnxruntime-{device.partition(':')[0]}"
        self._session = self._open(content)

    def set_profile(self, profile: LabProfile) -> None:
        """Use a laboratory's profile from now on."""
        self._session = self._open(set_profile(self._content, profile))

    def predict(
        self,
        biomarkers: npt.NDArray[np.float32],
        age: npt.NDArray[np.float32],
        sex: npt.NDArray[np.int64],
    ) -> Outputs:
        """See :meth:`henaw.model.runtime.Runtime.predict`.

        Raises:
            RuntimeUnavailableError: the device failed, or is out of memory.
        """
        feeds = dict(zip(INPUT_NAMES, (biomarkers, age, sex), strict=True))
        try:
            values = self._session.run(list(OUTPUT_NAMES), feeds)
        except Exception as error:  # onnxruntime's own errors share no public base class.
            raise RuntimeUnavailableError(f"{self.device_name} failed: {error}") from error
        return dict(zip(OUTPUT_NAMES, values, strict=True))

    def _open(self, content: bytes) -> Any:
        session, device = open_session(content, device=self.device_name, threads=1)
        if device != self.device_name:
            raise RuntimeUnavailableError(f"ONNX Runtime cannot use {self.device_name}")
        return session
