"""Whole files to files of answers: scoring, change between draws, comparison of two models."""
