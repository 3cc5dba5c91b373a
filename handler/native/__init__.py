"""The native engine: the service under uvicorn, in processes that a supervisor keeps alive.

Nothing here is part of the archive: it serves the model's files by the installed code.
"""
