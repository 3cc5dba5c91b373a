"""Many people at once: tables, FHIR Bundles and Spark, by the ONNX file alone."""

from henaw.scoring.henaw import Henaw

__all__ = ["Henaw"]
