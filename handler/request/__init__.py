"""Bytes to instances: decoding, and validation that lists every problem."""
