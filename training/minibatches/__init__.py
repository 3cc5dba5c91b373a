"""Minimisation in mini-batches: a quick start for very large cohorts."""
