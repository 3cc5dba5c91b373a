"""The server that ``henaw serve`` starts: its processes, its files and how it is asked."""
