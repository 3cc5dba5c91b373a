"""Types of other interfaces: pages of the Open Inference Protocol, and CDS Hooks."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct


class Live(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the server is alive."""

    live: bool


class Ready(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whether the server, or the model where one is named, is ready."""

    ready: bool
    name: str | None = None


class Models(Struct, frozen=True, forbid_unknown_fields=True):
    """The models that are served."""

    models: list[str]


class ServerMetadata(Struct, frozen=True, forbid_unknown_fields=True):
    """The server, and which extensions of the protocol it has."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(Struct, frozen=True, forbid_unknown_fields=True):
    """An input or an output; -1 is any length."""

    name: str
    datatype: str
    shape: list[int]


class ModelName(Struct, frozen=True, forbid_unknown_fields=True):
    """The checkpoint that answers."""

    model: str


class ModelMetadata(Struct, frozen=True, forbid_unknown_fields=True):
    """The model's inputs and outputs."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: ModelName


class HookService(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A service of CDS Hooks, and what it asks its clients to fetch."""

    hook: Literal["patient-view"]
    id: str
    title: str
    description: str
    prefetch: dict[str, str]
    usage_requirements: str


class HookServices(Struct, frozen=True, forbid_unknown_fields=True):
    """The services of CDS Hooks."""

    services: list[HookService]


class HookContext(Struct, frozen=True, rename="camel"):
    """Whose record is opened."""

    patient_id: str


class HookCall(Struct, frozen=True, rename="camel"):
    """A call of the hook; resources of FHIR R4 by the keys of the service's prefetch."""

    hook: Literal["patient-view"]
    hook_instance: str
    context: HookContext
    prefetch: dict[str, Any]


class CardSource(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a card comes from."""

    label: str


class Card(Struct, frozen=True, forbid_unknown_fields=True):
    """What a clinician is shown; ``detail`` is Markdown."""

    summary: str
    indicator: Literal["info", "warning", "critical"]
    detail: str
    source: CardSource


class Cards(Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to a call of the hook."""

    cards: list[Card]
