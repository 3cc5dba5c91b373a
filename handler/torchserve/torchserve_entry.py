"""TorchServe's entry to the service: TorchServe's batches in, responses out.

TorchServe imports this file by its base name from the unpacked archive. HENAW itself is imported
in :meth:`HenawHandler.initialize`, for two reasons: TorchServe reports an ImportError here as a
missing built-in handler, and the archive's copy of HENAW must come first.
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
    from henaw.handler.exchange import Request, Response
    from henaw.handler.observe.request_log import RequestLog
    from henaw.handler.service import Service
    from henaw.handler.torchserve.context import Context
    from henaw.handler.torchserve.drain import DrainMark


class HenawHandler:
    """One worker's handler: ``initialize`` once, ``handle`` for every batch."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._log: RequestLog | None = None
        self._drain: DrainMark | None = None

    def initialize(self, context: Context) -> None:
        """Load the archive and check it; after an exception, the worker does not serve."""
        folder = Path(context.system_properties["model_dir"]).resolve()
        # TorchServe reads this at every request. Without it, TorchServe decodes the body, and is
        # less strict than the handler.
        os.environ["TS_DECODE_INPUT_REQUEST"] = "false"
        # At a lower level, TorchServe's worker logs two lines for each request.
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
            find_log_folder,
            find_monitor_folder,
            find_optional,
            find_store,
        )

        self._drain = find_drain_mark()
        self._log = RequestLog(sys.stdout.buffer, find_log_folder())
        path = find_configuration()
        configuration = HandlerConfiguration() if path is None else load_configuration(path)
        device = choose_device(context.system_properties.get("gpu_id"), self._log.report)
        # The graph is small: more threads would only compete with the runtime's own.
        torch.set_num_threads(configuration.runtime.threads)
        self._service = assemble_service(
            folder,
            configuration,
            store=find_store(configuration.throttle.store),
            states=find_monitor_folder(configuration.monitor.folder),
            shadow_store=find_optional(configuration.monitor.pairs),
            lab_profile=find_optional(configuration.lab_profile),
            log=self._log,
            device=device,
        )
        # Without this, every client waits while a full collection visits torch's hundreds of
        # thousands of objects, which stay anyway.
        gc.collect()
        gc.freeze()
        self._log.report(
            f"ready on {device or 'the CPU'}, configured by {path or 'built-in defaults'}"
        )

    def answer(self, requests: Sequence[Request]) -> Sequence[Response]:
        """Answer one batch with the service."""
        if self._service is None or self._log is None or self._drain is None:
            raise RuntimeError("initialize must be called before answer")
        from henaw.handler.errors import locate_error
        from henaw.handler.exchange import fail

        is_ending = self._drain.is_set()
        if not requests:
            return []
        try:
            responses = self._service.answer(requests, is_ending=is_ending)
        # The service turns errors into responses itself; this is a bug in it. TorchServe would
        # log the error with its message, which may contain values.
        except Exception as error:
            self._log.report(f"a batch of {len(requests)} failed: {locate_error(error)}")
            responses = [fail(request.request_id, {}) for request in requests]
        self._log.flush()
        return responses

    def handle(self, data: Sequence[Mapping[str, Any]], context: Context) -> list[bytes]:
        """Answer the HTTP requests of one of TorchServe's batches; those by gRPC get no answer.

        TorchServe's gRPC cannot be turned off, and an answer to a call that its client has
        cancelled or closed would end TorchServe's own thread for this worker. TorchServe answers
        only requests whose ids are left in the context, so the ids of those calls are removed.
        """
        bodies = [b""] * len(data)
        requests = {index: _read_request(context, index, item) for index, item in enumerate(data)}
        for index in [i for i in requests if _HTTP_HEADER not in requests[i].headers]:
            del requests[index], context.request_ids[index]
        responses = self.answer(list(requests.values()))
        for index, response in zip(requests, responses, strict=True):
            context.set_response_status(response.status, HTTPStatus(response.status).phrase, index)
            for name, value in response.headers.items():
                context.set_response_header(index, name, value)
            bodies[index] = response.body
        return bodies


_HTTP_HEADER = "content-length"
"""TorchServe adds this header to every HTTP request that lacks it; a gRPC call cannot have it."""


def _read_request(context: Context, index: int, item: Mapping[str, Any]) -> Request:
    from henaw.handler.exchange import Request

    headers = {
        name.lower(): value
        for name, value in context.get_all_request_header(index).items()
        if isinstance(value, str)
    }
    body = item.get("body", b"")
    return Request(
        # A multipart form has no such part, or a text. The service refuses its content type.
        body=bytes(body) if isinstance(body, (bytes, bytearray)) else b"",
        headers=headers,
        request_id=context.get_request_id(index) or "",
        # TorchServe sets these headers by the path.
        explain=headers.get("explain") == "True",
        describe=headers.get("describe") == "True",
    )


def _refuse_other_files(folder: Path) -> None:
    """Compare the archive with its digests before anything else of it is imported.

    TorchServe puts the folder before the standard library on the import path. So an added file
    with the name of a standard module would run in its place.
    """
    # Else Python writes bytecode there, and the next worker finds files without digests.
    sys.dont_write_bytecode = True
    path = folder / "henaw" / "handler" / "manifest.py"
    spec = importlib.util.spec_from_file_location("henaw_manifest", path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} is missing")
    manifest = importlib.util.module_from_spec(spec)
    search = sys.path[:]
    sys.path[:] = [entry for entry in search if Path(entry).resolve() != folder]
    try:
        spec.loader.exec_module(manifest)
    finally:
        sys.path[:] = search
    _, problems = manifest.compare_files(folder)
    if problems:
        raise RuntimeError("\n  - ".join(["the archive was changed:", *problems]))


def _prefer_archive(folder: Path) -> None:
    """Make Python import the archive's ``henaw``, even if another one is installed."""
    sys.path[:] = [str(folder), *(entry for entry in sys.path if entry != str(folder))]
    for name in [n for n in sys.modules if n == "henaw" or n.startswith("henaw.")]:
        del sys.modules[name]

    import henaw.handler

    origin = Path(henaw.handler.__file__ or "").resolve()
    if folder not in origin.parents:
        raise RuntimeError(f"henaw.handler must come from {folder}; got {origin}")
