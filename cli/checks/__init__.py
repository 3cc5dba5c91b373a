"""The checks of ``henaw doctor``."""
