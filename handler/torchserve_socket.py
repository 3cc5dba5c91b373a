"""Reads what TorchServe's front end sends a worker in large pieces.

TorchServe's own reader asks the kernel for every length and every name by itself: some
forty calls a request, a fifth of what a worker did under load.
"""

from __future__ import annotations

import functools
import socket
import sys
from io import BufferedReader

_BUFFER_BYTES = 256 * 1024


def buffer_reads() -> None:
    """Have TorchServe's protocol read through a buffer, in this process."""
    from ts.protocol import otf_message_handler

    otf_message_handler._retrieve_buffer = read_exactly


def read_exactly(connection: socket.socket, length: int) -> bytes:
    """Return the next ``length`` bytes; leave, as TorchServe does, when there are no more."""
    data = _open_reader(connection).read(length)
    if len(data) < length:
        sys.exit(0)
    return data


@functools.cache
def _open_reader(connection: socket.socket) -> BufferedReader:
    return BufferedReader(socket.SocketIO(connection, "r"), _BUFFER_BYTES)
