"""A laboratory's profile: how far its values lie from those of the fitted people."""

from henaw.scoring.calibration.laboratory import (
    Calibration,
    Finding,
    calibrate,
    calibrate_people,
    list_lines,
)

__all__ = ["Calibration", "Finding", "calibrate", "calibrate_people", "list_lines"]
