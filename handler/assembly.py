"""Puts a service together from an unpacked archive, or refuses to, saying why."""

from __future__ import annotations

from pathlib import Path

from henaw.handler.configuration import HandlerConfiguration
from henaw.handler.drift import load_drift_reference
from henaw.handler.engine import Engine
from henaw.handler.gpu import Gpu, start_gpu
from henaw.handler.manifest import check_manifest
from henaw.handler.metadata import load_metadata
from henaw.handler.metrics import Metrics
from henaw.handler.pairs import Pairing, PairStore
from henaw.handler.pulse import Pulse
from henaw.handler.request_log import RequestLog
from henaw.handler.selfcheck import Golden, check_runtimes, load_golden, recompute_answers
from henaw.handler.service import Service
from henaw.handler.throttle import Throttle
from henaw.handler.worker_state import StateFile
from henaw.model.profile import LabProfile, read_profile, set_profile
from henaw.model.runtime import OnnxRuntime, TorchRuntime

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
    log: RequestLog,
    device: str | None = None,
) -> Service:
    """Check the archive's files and both runtimes, and return the service.

    Args:
        folder: the unpacked archive.
        configuration: the operator's.
        store: the throttle's file; None keeps it in this process.
        states: where this worker tells how it is; None tells nobody.
        pairs: where answers are paired with another version's; None compares nothing.
        lab_profile: of the laboratory that values come from; None takes none.
        log: takes the records of requests.
        device: the torch device to prefer for large batches; None where there is no GPU.

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
    if device is None:
        _check_torchscript(folder / TORCHSCRIPT_NAME, golden, lab, served)
    else:
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
    throttle = Throttle(configuration.throttle, store, report=log.report)
    if states is not None:
        Pulse(
            engine=engine,
            golden=served,
            gpu=gpu,
            metrics=metrics,
            throttle=throttle,
            file=StateFile(states),
            version=metadata.version,
            check_every_s=monitor.check_every_s,
            report=log.report,
        ).start()
    pairing = None
    if pairs is not None:
        pairing = Pairing(PairStore(pairs, metadata.version), metrics, log.report)
        pairing.start()
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


def _check_torchscript(path: Path, golden: Golden, lab: LabProfile | None, served: Golden) -> None:
    """Prove TorchScript on the CPU, and let it go: it would double the worker."""
    torchscript = TorchRuntime.load_torchscript(path)
    check_runtimes((torchscript,), golden)
    if lab is not None:
        torchscript.set_profile(lab)
        check_runtimes((torchscript,), served)


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
