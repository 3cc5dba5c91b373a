"""An ONNX Runtime session on a device, by whichever of its distributions is installed.

``onnxruntime`` runs on the CPU, ``onnxruntime-gpu`` on CUDA too; both are imported as
``onnxruntime``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import re
from pathlib import Path
from typing import Any

from henaw.model.distribution import RUNTIMES, find_versions
from henaw.model.errors import ConfigurationError, RuntimeUnavailableError

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
INSTALL_GPU = (
    "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'onnxruntime-gpu[cuda,cudnn]'"
)
"""Two commands: both distributions hold the same files, so that one has to go first."""

_FATAL, _WARNING = 4, 2
"""ONNX Runtime's severities; it logs from warnings on unless it is told otherwise."""
_LOGGER = logging.getLogger(__name__)
_CUDA = re.compile(r"cuda(?::([0-9]{1,3}))?")


def check_device(name: str) -> str:
    """Return a device's name: auto, cpu, cuda or cuda:N.

    Raises:
        ConfigurationError: it is another.
    """
    if name not in ("auto", "cpu") and _CUDA.fullmatch(name) is None:
        raise ConfigurationError(
            "device", [f"device must be auto, cpu, cuda or cuda:N; got {name!r}"]
        )
    return name


def open_session(source: Path | bytes, *, device: str, threads: int) -> tuple[Any, str]:
    """Open a model on a device, and on the CPU where the device cannot be used.

    A fallback is logged, as a warning where CUDA was asked for by its name.

    Args:
        source: the ONNX file, or its bytes.
        device: auto, cpu, cuda or cuda:N; auto is CUDA where ONNX Runtime can use it.
        threads: of the CPU, for one call.

    Returns:
        The session and the device it runs on: cpu or cuda:N.

    Raises:
        ConfigurationError: the device is none of those.
    """
    match = _CUDA.fullmatch("cuda" if check_device(device) == "auto" else device)
    if match is None:
        return _open(source, [CPU_PROVIDER], threads), "cpu"
    number = int(match.group(1) or 0)
    session, problem = try_cuda(source, number, threads)
    if session is not None:
        return session, f"cuda:{number}"
    # Opened first: where the file is at fault, that error is the one to tell.
    session = _open(source, [CPU_PROVIDER], threads)
    level = logging.DEBUG if device == "auto" else logging.WARNING
    _LOGGER.log(level, "ONNX Runtime runs on the CPU, not on %s: %s", device, problem)
    return session, "cpu"


def try_cuda(source: Path | bytes, number: int, threads: int) -> tuple[Any, str]:
    """Open a model on a CUDA device by its number: the session, or None and why not."""
    ort = import_onnxruntime()
    if CUDA_PROVIDER not in ort.get_available_providers():
        return None, (
            f"onnxruntime {ort.__version__} is built for the CPU alone. For CUDA: {INSTALL_GPU}."
        )
    # It says on stdout, where answers may go, which libraries it does not find.
    with contextlib.redirect_stdout(io.StringIO()) as said:
        ort.preload_dlls(directory="")
    missing = said.getvalue().partition("\n")[0]
    # With TF32, products are rounded to ten bits: ages move by 0.02 years.
    options = {"device_id": str(number), "use_tf32": "0"}
    advice = f"Run henaw doctor. For CUDA and cuDNN of its version: {INSTALL_GPU}."
    # Of a CUDA that does not start it logs three lines by itself, also where auto tries it.
    ort.set_default_logger_severity(_FATAL)
    try:
        session = _open(source, [(CUDA_PROVIDER, options), CPU_PROVIDER], threads)
    except Exception as error:  # onnxruntime's own errors share no public base class.
        return None, f"CUDA does not start: {missing or error}. {advice}"
    finally:
        ort.set_default_logger_severity(_WARNING)
    if CUDA_PROVIDER not in session.get_providers():
        return (
            None,
            f"CUDA does not start: {missing or 'it is left out without an error'}. {advice}",
        )
    return session, ""


def import_onnxruntime() -> Any:
    """The module of either distribution.

    Raises:
        RuntimeUnavailableError: neither is installed.
    """
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"onnxruntime cannot be imported ({error}): pip install "
            f"{RUNTIMES[next(iter(find_versions(RUNTIMES)), 'henaw')]}"
        ) from error


def _open(source: Path | bytes, providers: list[Any], threads: int) -> Any:
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Its own fallback prints to stdout, and keeps from the caller what failed.
    return ort.InferenceSession(
        source if isinstance(source, bytes) else str(source),
        options,
        providers=providers,
        enable_fallback=0,
    )
