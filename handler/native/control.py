"""The messages between supervisor and worker: one line of JSON each way."""

from __future__ import annotations

import msgspec
from henaw.handler.configuration import HandlerConfiguration
from henaw.handler.native.models import ModelVersion


class WorkerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """The setup of a new worker.

    Attributes:
        number: of the worker, from 0.
        listener: descriptor of the socket for clients.
        control: descriptor of the socket for commands.
        configuration: the operator's, as it was when the server started.
        run: the server's folder; paths in the configuration are relative to it.
        logs: folder of the log of requests.
        store: the throttle's file.
        states: folder of the workers' states.
        keys: a copy of the digests of the clients' keys, as they were read last.
        models: the versions to serve.
        default: the version that answers requests that name none.
        operator_keys: digests of keys beside those of clients.
    """

    number: int
    listener: int
    control: int
    configuration: HandlerConfiguration
    run: str
    logs: str
    store: str
    states: str
    keys: str
    models: list[ModelVersion]
    default: str
    operator_keys: list[str]


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Steps that a worker takes, in this order.

    Attributes:
        end: answer the accepted requests, and end.
        add: check this version and serve it.
        default: let this version answer requests that name none.
        remove: stop serving this version.
        describe: reply with the description of this version.
    """

    end: bool = False
    add: ModelVersion | None = None
    default: str | None = None
    remove: str | None = None
    describe: str | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The reply to a command; a first one without a command says that the worker is ready.

    Attributes:
        problem: why the command failed; None if it succeeded.
        description: of the version, if the command asks for it.
    """

    problem: str | None = None
    description: msgspec.Raw = msgspec.Raw(b"null")
