"""Puts a service together from a model's files, or raises an error that says why it cannot."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from henaw.handler.configuration import HandlerConfiguration
from henaw.handler.inference.failover import FailoverRuntime
from henaw.handler.inference.gpu import Gpu, start_gpu
from henaw.handler.inference.selfcheck import check_runtimes, load_golden, recompute_answers
from henaw.handler.manifest import check_manifest
from henaw.handler.metadata import load_metadata
from henaw.handler.observe.drift import load_drift_reference
from henaw.handler.observe.heartbeat import Heartbeat
from henaw.handler.observe.metrics import Metrics
from henaw.handler.observe.request_log import RequestLog
from henaw.handler.observe.shadow import AnswerStore, ShadowComparison
from henaw.handler.observe.worker_state import StateFile
from henaw.handler.service import Service
from henaw.handler.throttle.client_keys import ClientKeys
from henaw.handler.throttle.throttle import Throttle
from henaw.model.exported.onnx_gpu import OnnxGpuRuntime
from henaw.model.profile import read_profile, set_profile
from henaw.model.runtime import OnnxRuntime

if TYPE_CHECKING:
    from henaw.handler.inference.gpu import GpuRuntime

ONNX_NAME = "henaw.onnx"
TORCHSCRIPT_NAME = "henaw.torchscript.pt"
SIDECAR_NAME = "henaw.json"
GOLDEN_NAME = "golden.json"

Companions = list[Heartbeat | ShadowComparison]
"""The threads that run beside a service, to be stopped with it."""


def assemble_service(
    folder: Path,
    configuration: HandlerConfiguration,
    *,
    store: Path | None,
    states: Path | None,
    shadow_store: Path | None = None,
    lab_profile: Path | None = None,
    keys: ClientKeys | None = None,
    log: RequestLog,
    device: str | None = None,
    companions: Companions | None = None,
) -> Service:
    """Check the model's files and runtimes, and put the service together.

    Args:
        folder: the unpacked archive, or a model that was copied for the native engine.
        configuration: the operator's.
        store: the throttle's file; None keeps the buckets in this process.
        states: the folder for this worker's state; None writes none.
        shadow_store: the file in which answers wait for another version's; None compares nothing.
        lab_profile: of the laboratory that values come from; None uses none.
        keys: of clients; None takes those of the configuration.
        log: takes the records of requests.
        device: the GPU for large batches, cuda:N; None without one.
        companions: gets the threads that run beside the service.

    Raises:
        ArtifactError: a file is missing, was changed, or is of another version of this code.
        ParityError: a runtime does not give the stored answers.
        ProfileError: the laboratory's profile cannot be read, or is of another model.
    """
    digests = check_manifest(folder)
    metadata = load_metadata(folder / SIDECAR_NAME)
    golden = load_golden(folder / GOLDEN_NAME)
    threads = configuration.runtime.threads
    lab = None if lab_profile is None else read_profile(lab_profile)
    content = (folder / ONNX_NAME).read_bytes()
    fallback = OnnxRuntime(content, threads=threads)
    check_runtimes((fallback,), golden)
    served = golden
    if lab is not None:
        # The stored answers are without a profile, so they are checked before one is set.
        fallback = OnnxRuntime(set_profile(content, lab), threads=threads)
        served = recompute_answers(golden, fallback)
    gpu = None
    if device is not None:
        gpu = start_gpu(
            device,
            partial(_open_gpu, folder, content, device, log),
            fallback=fallback,
            golden=golden,
            lab=lab,
            served=served,
            report=log.report,
        )
    runtime = _build_runtime(fallback, gpu, configuration.runtime.cooldown_s, log)
    monitor = configuration.monitor
    metrics = Metrics(load_drift_reference(folder / SIDECAR_NAME), window_s=monitor.drift_window_s)
    throttle = Throttle(configuration.throttle, store, keys=keys, report=log.report)
    companions = [] if companions is None else companions
    if states is not None:
        heartbeat = Heartbeat(
            runtime=runtime,
            golden=served,
            gpu=gpu,
            metrics=metrics,
            throttle=throttle,
            file=StateFile(states, metadata.version),
            version=metadata.version,
            check_every_s=monitor.check_every_s,
            report=log.report,
        )
        heartbeat.start()
        companions.append(heartbeat)
    shadow = None
    if shadow_store is not None:
        answers = AnswerStore(shadow_store, metadata.version)
        shadow = ShadowComparison(answers, metrics, log.report)
        shadow.start()
        companions.append(shadow)
    return Service(
        runtime=runtime,
        metadata=metadata,
        throttle=throttle,
        configuration=configuration,
        log=log.write,
        metrics=metrics,
        shadow=shadow,
        digests=digests,
        lab=lab,
        gpu=gpu,
    )


def has_torch(folder: Path) -> bool:
    """Return whether torch is installed and the model's folder has the file for it."""
    return find_spec("torch") is not None and (folder / TORCHSCRIPT_NAME).is_file()


def _open_gpu(folder: Path, content: bytes, device: str, log: RequestLog) -> GpuRuntime:
    if has_torch(folder):
        from henaw.model.exported.cuda import CudaRuntime

        return CudaRuntime.load(folder / TORCHSCRIPT_NAME, device=device, report=log.report)
    return OnnxGpuRuntime(content, device=device)


def _build_runtime(
    fallback: OnnxRuntime, gpu: Gpu | None, cooldown_s: float, log: RequestLog
) -> FailoverRuntime:
    if gpu is None or gpu.runtime is None or gpu.crossover is None:
        return FailoverRuntime(fallback)
    return FailoverRuntime(
        fallback,
        gpu.runtime,
        crossover=gpu.crossover,
        cooldown_s=cooldown_s,
        report=log.report,
    )
