"""Has TorchServe keep the connection of a client whose request the handler refused.

TorchServe closes every connection over which it answers 400 or more, though nothing is wrong
with the connection: the next request waits for another, and for another TLS handshake. Under
overload that cost the front end more than all else it did.

In the class that sends answers, the header ``Pragma`` (of HTTP/1.0, and beside
``Cache-Control`` of no use) gives its place to a look whether the answer has a header
``Connection`` already, as the worker gives its refusals; if so, the connection stays. Of
TorchServe's own refusals, among them of what is no HTTP, it closes the connection as before,
and so it does at the server's end, when workers give no such header.
"""

from __future__ import annotations

from pathlib import Path

from henaw.cli.torchserve_classes import override_class

CLASS_NAME = "org/pytorch/serve/util/NettyUtils.class"

_LOAD_HEADERS = bytes([0x19, 5])  # aload 5
_NOTHING = bytes([0x00])  # nop

SET_PRAGMA = (
    _LOAD_HEADERS
    + bytes([0x13, *(286).to_bytes(2, "big")])  # ldc_w "Pragma"
    + bytes([0x13, *(288).to_bytes(2, "big")])  # ldc_w "no-cache"
    + bytes([0xB6, *(200).to_bytes(2, "big")])  # invokevirtual HttpHeaders.set
    + bytes([0x57])  # pop
)
LOOK_FOR_CONNECTION = (
    _LOAD_HEADERS
    + bytes([0xB2, *(311).to_bytes(2, "big")])  # getstatic HttpHeaderNames.CONNECTION
    + bytes([0xB6, *(276).to_bytes(2, "big")])  # invokevirtual HttpHeaders.contains
    + bytes([0x3D])  # istore_2: the argument keepAlive, which is true in every call
    + 3 * _NOTHING
)

_LOAD_KEEP_ALIVE = bytes([0x1C])  # iload_2
_CLOSE_UNLESS_BELOW_400 = bytes([0x15, 7, 0x11, *(400).to_bytes(2, "big"), 0xA1, 0, 38])
CLOSE_UNLESS_KEPT = _LOAD_KEEP_ALIVE + bytes([0x99, 0, 11]) + _CLOSE_UNLESS_BELOW_400  # ifeq close
KEEP_IF_KEPT = _LOAD_KEEP_ALIVE + bytes([0x9A, 0, 46]) + _CLOSE_UNLESS_BELOW_400  # ifne keep


def keep_refused_connections(folder: Path) -> None:
    """Put the class into the folder that TorchServe will be started in.

    Raises:
        RuntimeUnavailableError: the installed TorchServe is not the one this was made for.
    """
    instructions = {SET_PRAGMA: LOOK_FOR_CONNECTION, CLOSE_UNLESS_KEPT: KEEP_IF_KEPT}
    override_class(folder, CLASS_NAME, instructions)
