"""What supervisor and worker say to each other: a line of JSON each way."""

from __future__ import annotations

import msgspec
from henaw.handler.native.models import Model


class WorkerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is started with.

    Attributes:
        number: of the worker, from 0.
        listener: descriptor of the socket that clients come to.
        control: descriptor of the socket that commands come by.
        configuration: the operator's file.
        run: the server's folder, which paths in the configuration are relative to.
        logs: folder of the requests' log.
        store: the throttle's file.
        states: folder in which workers tell how they are.
        models: the versions to hold.
        default: the version that answers where none is named.
        operator_keys: digests of keys beside those that clients were issued.
    """

    number: int
    listener: int
    control: int
    configuration: str
    run: str
    logs: str
    store: str
    states: str
    models: list[Model]
    default: str
    operator_keys: list[str]


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker shall do, in this order.

    Attributes:
        end: answer what was taken, and end.
        add: prove a version and hold it.
        default: have this version answer where none is named.
        remove: let this version go.
        describe: say what the service of this version is made of.
    """

    end: bool = False
    add: Model | None = None
    default: str | None = None
    remove: str | None = None
    describe: str | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """That it is done, or why it is not; the first one says that the worker is ready.

    Attributes:
        problem: why it is not done.
        description: what was to be described.
    """

    problem: str | None = None
    description: msgspec.Raw = msgspec.Raw(b"null")
