"""TorchServe's entry to the service: its context in, its context out, nothing else.

TorchServe imports this file by its base name from the unpacked archive. Everything of
HENAW is imported in :meth:`HenawHandler.initialize`: an ImportError here would be
reported as a missing built-in handler, and the archive's copy must come first.
"""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from henaw.handler.observe.request_log import RequestLog
    from henaw.handler.service import Request, Response, Service
    from henaw.handler.torchserve.context import Context
    from henaw.handler.torchserve.drain import DrainMark


class HenawHandler:
    """One worker's handler: ``initialize`` once, ``handle`` for every batch."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._log: RequestLog | None = None
        self._drain: DrainMark | None = None

    def initialize(self, context: Context) -> None:
        """Load the archive and prove it; an exception keeps the worker from serving."""
        folder = Path(context.system_properties["model_dir"]).resolve()
        # Read by TorchServe at every request: without it, a body is decoded leniently
        # before the handler sees it.
        os.environ["TS_DECODE_INPUT_REQUEST"] = "false"
        # TorchServe's worker logs two lines a request at this level.
        logging.getLogger().setLevel(logging.WARNING)
        _refuse_other_files(folder)
        _prefer_archive(folder)

        import torch
        from henaw.handler.assembly import assemble_service
        from henaw.handler.configuration import HandlerConfiguration, load_configuration
        from henaw.handler.inference.gpu import choose_device
        from henaw.handler.observe.request_log import RequestLog
        from henaw.handler.torchserve.drain import find_drain_mark
        from henaw.handler.torchserve.location import (
            find_configuration,
            find_lab_profile,
            find_log_folder,
            find_monitor_folder,
            find_pairs,
            find_store,
        )

        self._drain = find_drain_mark()
        self._log = RequestLog(sys.stdout.buffer, find_log_folder())
        path = find_configuration()
        configuration = HandlerConfiguration() if path is None else load_configuration(path)
        device = choose_device(context.system_properties.get("gpu_id"), self._log.report)
        # The graph is small: more threads than the runtime's own only get in the way.
        torch.set_num_threads(configuration.runtime.threads)
        self._service = assemble_service(
            folder,
            configuration,
            store=find_store(configuration.throttle.store),
            states=find_monitor_folder(configuration.monitor.folder),
            pairs=find_pairs(configuration.monitor.pairs),
            lab_profile=find_lab_profile(configuration.lab_profile),
            log=self._log,
            device=device,
        )
        # A full collection would walk torch's hundreds of thousands of objects, which stay
        # anyway: every client waited for it.
        gc.collect()
        gc.freeze()
        self._log.report(
            f"ready on {device or 'the CPU'}, configured by {path or 'built-in defaults'}"
        )

    def answer(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Answer one batch: decode, validate, predict and encode are the service's."""
        if self._service is None or self._log is None or self._drain is None:
            raise RuntimeError("expected initialize before answer")
        from henaw.handler.errors import locate_error
        from henaw.handler.service import refuse_internally

        is_ending = self._drain.is_set()
        try:
            responses = self._service.answer(requests, is_ending=is_ending)
        # The service keeps what goes wrong to the request that it went wrong with. Whatever
        # came this far TorchServe would log with its message, which may hold values.
        except Exception as error:
            self._log.report(f"a batch of {len(requests)} failed: {locate_error(error)}")
            responses = [refuse_internally(request.request_id, {}) for request in requests]
        self._log.flush()
        return responses

    def handle(self, data: Sequence[Mapping[str, Any]], context: Context) -> list[bytes]:
        """Answer one batch, as TorchServe hands it over."""
        bodies = []
        requests = [_read_request(context, index, item) for index, item in enumerate(data)]
        for index, response in enumerate(self.answer(requests)):
            context.set_response_status(response.status, HTTPStatus(response.status).phrase, index)
            for name, value in response.headers.items():
                context.set_response_header(index, name, value)
            if "content-type" not in requests[index].headers:
                # By gRPC. Of a stream TorchServe looks for this, and ends the worker where it is
                # missing.
                context.set_response_header(index, "ts_stream_next", "false")
            bodies.append(response.body)
        return bodies


def _read_request(context: Context, index: int, item: Mapping[str, Any]) -> Request:
    from henaw.handler.service import Request

    headers = {
        name.lower(): value
        for name, value in context.get_all_request_header(index).items()
        if isinstance(value, str)
    }
    body = item.get("body", b"")
    return Request(
        # A multipart form has no such part, or a text: the service refuses it by its type.
        body=bytes(body) if isinstance(body, (bytes, bytearray)) else b"",
        headers=headers,
        request_id=context.get_request_id(index) or "",
        # Set by TorchServe from the path.
        explain=headers.get("explain") == "True",
        describe=headers.get("describe") == "True",
    )


def _refuse_other_files(folder: Path) -> None:
    """Compare the archive with its digests before anything else of it is imported.

    TorchServe puts the folder before the standard library on the path of its workers: what
    bears the name of a module that nobody has imported yet would run in its place.
    """
    # Else the next worker would find Python's own files there, which no digest is of.
    sys.dont_write_bytecode = True
    path = folder / "henaw" / "handler" / "manifest.py"
    spec = importlib.util.spec_from_file_location("henaw_manifest", path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"expected {path}, found none")
    manifest = importlib.util.module_from_spec(spec)
    search = sys.path[:]
    sys.path[:] = [entry for entry in search if Path(entry).resolve() != folder]
    try:
        spec.loader.exec_module(manifest)
    finally:
        sys.path[:] = search
    _, problems = manifest.compare_files(folder)
    if problems:
        raise RuntimeError("\n  - ".join(["expected the archive as it was made:", *problems]))


def _prefer_archive(folder: Path) -> None:
    """Make the archive's ``henaw`` the one that is imported, whatever is installed."""
    sys.path[:] = [str(folder), *(entry for entry in sys.path if entry != str(folder))]
    for name in [n for n in sys.modules if n == "henaw" or n.startswith("henaw.")]:
        del sys.modules[name]

    import henaw.handler

    origin = Path(henaw.handler.__file__ or "").resolve()
    if folder not in origin.parents:
        raise RuntimeError(f"expected henaw.handler from {folder}, however: {origin}")
