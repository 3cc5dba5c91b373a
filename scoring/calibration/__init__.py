"""A laboratory's profile: how far its values lie from those of the fitted people."""

from henaw.scoring.calibration.findings import BiomarkerFinding, Calibration, list_lines
from henaw.scoring.calibration.laboratory import calibrate, calibrate_people

__all__ = ["BiomarkerFinding", "Calibration", "calibrate", "calibrate_people", "list_lines"]
