"""The description of the model that is served, for the operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from henaw.handler.metadata import Metadata
from henaw.model.biomarkers import PANEL


def write_description(
    metadata: Metadata,
    *,
    runtime: str,
    digests: Mapping[str, str],
    lab: Mapping[str, Any] | None,
    gpu: Mapping[str, Any] | None,
) -> bytes:
    """Return the description as JSON.

    Args:
        metadata: the model's metadata.
        runtime: the runtime that evaluates large batches.
        digests: SHA-256 of the files in use, by name.
        lab: the laboratory's profile; None without one.
        gpu: the worker's GPU; None without one.
    """
    return msgspec.json.encode(
        {
            "name": metadata.name,
            "version": metadata.version,
            "runtime": runtime,
            "panel": [
                {
                    "name": biomarker.name,
                    "label": biomarker.label,
                    "unit": biomarker.unit,
                    "units": biomarker.units,
                    "minimum": biomarker.minimum,
                    "maximum": biomarker.maximum,
                }
                for biomarker in PANEL
            ],
            "sha256": digests,
            "lab": lab,
            "gpu": gpu,
        }
    )
