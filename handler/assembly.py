"""Puts a service together from an unpacked archive, or refuses to, saying why."""

from __future__ import annotations

from pathlib import Path

from henaw.handler.configuration import HandlerConfiguration
from henaw.handler.inference.failover import Engine
from henaw.handler.inference.gpu import Gpu, start_gpu
from henaw.handler.inference.selfcheck import check_runtimes, load_golden, recompute_answers
from henaw.handler.manifest import check_manifest
from henaw.handler.metadata import load_metadata
from henaw.handler.observe.drift import load_drift_reference
from henaw.handler.observe.heartbeat import Pulse
from henaw.handler.observe.metrics import Metrics
from henaw.handler.observe.request_log import RequestLog
from henaw.handler.observe.shadow import Pairing, PairStore
from henaw.handler.observe.worker_state import StateFile
from henaw.handler.service import Service
from henaw.handler.throttle.client_keys import ClientKeys
from henaw.handler.throttle.throttle import Throttle
from henaw.model.profile import read_profile, set_profile
from henaw.model.runtime import OnnxRuntime

ONNX_NAME = "henaw.onnx"
TORCHSCRIPT_NAME = "henaw.torchscript.pt"
SIDECAR_NAME = "henaw.json"
GOLDEN_NAME = "golden.json"


def assemble_service(
    folder: Path,
    configuration: HandlerConfiguration,
    *,
    store: Path | None,
    states: Path | None,
    pairs: Path | None = None,
    lab_profile: Path | None = None,
    keys: ClientKeys | None = None,
    log: RequestLog,
    device: str | None = None,
    beside: list[Pulse | Pairing] | None = None,
) -> Service:
    """Check the model's files and the runtimes that answer, and put the service together.

    Args:
        folder: the unpacked archive, or a model that was set out for the native engine.
        configuration: the operator's.
        store: the throttle's file; None keeps it in this process.
        states: where this worker tells how it is; None tells nobody.
        pairs: where answers are paired with another version's; None compares nothing.
        lab_profile: of the laboratory that values come from; None takes none.
        keys: of clients; None takes those of the configuration.
        log: takes the records of requests.
        device: the torch device to prefer for large batches; None where there is no GPU.
        beside: takes the threads that run beside the service, to be stopped with it.

    Raises:
        ArtifactError: a file is missing, was changed, or says what this code does not.
        ParityError: a runtime does not give the stored answers.
        RuntimeUnavailableError: the device is CUDA and torch sees none.
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
        # The stored answers are without a profile: they are checked before one is set.
        fallback = OnnxRuntime(set_profile(content, lab), threads=threads)
        served = recompute_answers(golden, fallback)
    gpu = None
    if device is not None:
        gpu = start_gpu(
            folder / TORCHSCRIPT_NAME,
            device,
            fallback=fallback,
            golden=golden,
            lab=lab,
            served=served,
            report=log.report,
        )
    engine = _build_engine(fallback, gpu, configuration.runtime.cooldown_s, log)
    monitor = configuration.monitor
    metrics = Metrics(load_drift_reference(folder / SIDECAR_NAME), window_s=monitor.drift_window_s)
    throttle = Throttle(configuration.throttle, store, keys=keys, report=log.report)
    beside = [] if beside is None else beside
    if states is not None:
        pulse = Pulse(
            engine=engine,
            golden=served,
            gpu=gpu,
            metrics=metrics,
            throttle=throttle,
            file=StateFile(states, metadata.version),
            version=metadata.version,
            check_every_s=monitor.check_every_s,
            report=log.report,
        )
        pulse.start()
        beside.append(pulse)
    pairing = None
    if pairs is not None:
        pairing = Pairing(PairStore(pairs, metadata.version), metrics, log.report)
        pairing.start()
        beside.append(pairing)
    return Service(
        engine=engine,
        metadata=metadata,
        throttle=throttle,
        configuration=configuration,
        log=log.write,
        metrics=metrics,
        pairing=pairing,
        digests=digests,
        lab=lab,
        gpu=gpu,
    )


def _build_engine(
    fallback: OnnxRuntime, gpu: Gpu | None, cooldown_s: float, log: RequestLog
) -> Engine:
    if gpu is None or gpu.runtime is None or gpu.crossover is None:
        return Engine(fallback)
    return Engine(
        fallback,
        gpu.runtime,
        crossover=gpu.crossover,
        cooldown_s=cooldown_s,
        report=log.report,
    )
