"""Has TorchServe answer what it has accepted before it ends.

When it is told to end, TorchServe closes the doors that it listens at and, in the same
moment, every connection that came through them, whatever is being answered on it. Only the
first half is wanted: connections stay until the process ends, seconds later.

Two of the constants of the class that does it are replaced. Where it called
``shutdownGracefully`` of the threads that serve connections, which closes these at once, it
calls ``terminationFuture``, which takes and returns the same and does nothing. It then waits
for these threads to end, a minute for each of the three groups of them: now a second.
"""

from __future__ import annotations

from pathlib import Path

from henaw.cli.torchserve_classes import override_class, write_long, write_text

CLASS_NAME = "org/pytorch/serve/util/ServerGroups.class"

_WAIT_S = 60
_SHORT_WAIT_S = 1


def keep_connections(folder: Path) -> None:
    """Put the class into the folder that TorchServe will be started in.

    Raises:
        RuntimeUnavailableError: the installed TorchServe is not the one this was made for.
    """
    constants = {
        write_text("shutdownGracefully"): write_text("terminationFuture"),
        write_long(_WAIT_S): write_long(_SHORT_WAIT_S),
    }
    override_class(folder, CLASS_NAME, constants)
