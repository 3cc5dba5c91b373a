"""Has TorchServe count its batch delay in microseconds instead of milliseconds.

Before it hands a request to a worker, TorchServe waits ``maxBatchDelay`` for a second
one. The unit is the millisecond and 0 is taken for 100, so a request that comes alone
waits for a millisecond: more than all the rest of its way. With microseconds, a batch
is what has come by the time a worker is free.

One name among the constants of the class that waits is replaced: ``TimeUnit.MILLISECONDS``
by ``TimeUnit.MICROSECONDS``.
"""

from __future__ import annotations

from pathlib import Path

from henaw.cli.torchserve_classes import override_class, write_text

CLASS_NAME = "org/pytorch/serve/wlm/Model.class"


def shorten_batch_delay(folder: Path) -> None:
    """Put the class into the folder that TorchServe will be started in.

    Raises:
        RuntimeUnavailableError: the installed TorchServe is not the one this was made for.
    """
    constants = {write_text("MILLISECONDS"): write_text("MICROSECONDS")}
    override_class(folder, CLASS_NAME, constants)
