"""The server that ``henaw serve`` starts: its processes, its files and requests to it."""
