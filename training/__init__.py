"""Fitting a checkpoint: cohorts, reference, losses, the fit and its metrics."""
