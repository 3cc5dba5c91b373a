"""Minimisation with everyone in each evaluation."""
