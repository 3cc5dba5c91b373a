"""Cohorts: a table read and checked, and the covariates that a fit adjusts for."""
