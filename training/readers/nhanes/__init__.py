"""NHANES: the public files of a survey, fetched and read."""
