"""People of a table: read, checked, and with what must be adjusted for."""
