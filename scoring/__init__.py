"""Scoring of people in tables, FHIR and Spark, with the ONNX file alone."""

from henaw.scoring.calibration.findings import Calibration
from henaw.scoring.calibration.laboratory import calibrate, calibrate_people
from henaw.scoring.henaw import Henaw

__all__ = ["Calibration", "Henaw", "calibrate", "calibrate_people"]
