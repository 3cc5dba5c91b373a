"""Measures of a prediction as pure functions of arrays, one entry a person."""
