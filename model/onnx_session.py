"""An ONNX Runtime session on a device, with whichever distribution of it is installed.

``onnxruntime`` runs on the CPU, ``onnxruntime-gpu`` also on CUDA. Both are imported as
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
"""Two commands: both distributions install the same files, so uninstall both first."""

_FATAL, _WARNING = 4, 2
"""ONNX Runtime's severities. By default it logs warnings and worse."""
_LOGGER = logging.getLogger(__name__)
_CUDA = re.compile(r"cuda(?::([0-9]{1,3}))?")


def check_device(name: str) -> str:
    """Return a device's name: auto, cpu, cuda or cuda:N.

    Raises:
        ConfigurationError: the device has another name.

    Example:
        >>> check_device("cuda:1")
        'cuda:1'
    """
    if name not in ("auto", "cpu") and _CUDA.fullmatch(name) is None:
        raise ConfigurationError(
            "device", [f"device must be auto, cpu, cuda or cuda:N; got {name!r}"]
        )
    return name


def open_session(source: Path | bytes, *, device: str, threads: int) -> tuple[Any, str]:
    """Open a model on a device, or on the CPU where the device cannot be used.

    A fallback is logged; it is a warning where the caller asked for CUDA by name.

    Args:
        source: the ONNX file, or its bytes.
        device: auto, cpu, cuda or cuda:N; auto is CUDA where ONNX Runtime can use it.
        threads: CPU threads for one call.

    Returns:
        The session, and the device that it runs on: cpu or cuda:N.

    Raises:
        ConfigurationError: the device has another name.
    """
    match = _CUDA.fullmatch("cuda" if check_device(device) == "auto" else device)
    if match is None:
        return _open(source, [CPU_PROVIDER], threads), "cpu"
    number = int(match.group(1) or 0)
    session, problem = try_cuda(source, number, threads)
    if session is not None:
        return session, f"cuda:{number}"
    # Opened before the log: if the file is faulty, only that error is reported.
    session = _open(source, [CPU_PROVIDER], threads)
    level = logging.DEBUG if device == "auto" else logging.WARNING
    _LOGGER.log(level, "ONNX Runtime runs on the CPU, not on %s: %s", device, problem)
    return session, "cpu"


def try_cuda(source: Path | bytes, number: int, threads: int) -> tuple[Any, str]:
    """Open a model on a CUDA device by its number: the session, or None and why not."""
    ort = import_onnxruntime()
    if CUDA_PROVIDER not in ort.get_available_providers():
        return None, (
            f"onnxruntime {ort.__version__} is built for the CPU only. For CUDA: {INSTALL_GPU}."
        )
    # It prints the libraries that it does not find to stdout, which may be used for answers.
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        ort.preload_dlls(directory="")
    missing = printed.getvalue().partition("\n")[0]
    # TF32 rounds products to ten bits, which moves ages by 0.02 years.
    options = {"device_id": str(number), "use_tf32": "0"}
    advice = f"Run henaw doctor. To install CUDA and cuDNN of the right version: {INSTALL_GPU}."
    # It logs three lines of its own where CUDA does not start, also where auto only tries it.
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
            f"CUDA does not start: {missing or 'ONNX Runtime gives no error'}. {advice}",
        )
    return session, ""


def import_onnxruntime() -> Any:
    """Import ONNX Runtime, of either distribution.

    Raises:
        RuntimeUnavailableError: none is installed.
    """
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise RuntimeUnavailableError(
            f"onnxruntime cannot be imported ({error}). Run pip install "
            f"{RUNTIMES[next(iter(find_versions(RUNTIMES)), 'henaw')]}"
        ) from error


def _open(source: Path | bytes, providers: list[Any], threads: int) -> Any:
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Its own fallback prints to stdout and hides the error from the caller.
    return ort.InferenceSession(
        source if isinstance(source, bytes) else str(source),
        options,
        providers=providers,
        enable_fallback=0,
    )
