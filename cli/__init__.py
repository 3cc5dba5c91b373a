"""The ``henaw`` command."""
