"""Readers that turn public or private data into the table a cohort is read from."""
