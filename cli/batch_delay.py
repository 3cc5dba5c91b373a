"""Has TorchServe count its batch delay in microseconds instead of milliseconds.

Before it hands a request to a worker, TorchServe waits ``maxBatchDelay`` for a second
one. The unit is the millisecond and 0 is taken for 100, so a request that comes alone
waits for a millisecond: more than all the rest of its way. With microseconds, a batch
is what has come by the time a worker is free.

TorchServe's start script puts the working directory before its jar on the class path. A
copy of the one class that waits goes there, with one name of its constants replaced:
``TimeUnit.MILLISECONDS`` by ``TimeUnit.MICROSECONDS``. Nothing that is installed is
changed, and a TorchServe that is started otherwise waits for its millisecond.
"""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

from henaw.model.errors import RuntimeUnavailableError
from henaw.model.files import write_whole

CLASS_NAME = "org/pytorch/serve/wlm/Model.class"

# An entry of a class file's constants: the tag of a text, its length, the text.
_MILLISECONDS = b"\x01\x00\x0cMILLISECONDS"
_MICROSECONDS = b"\x01\x00\x0cMICROSECONDS"


def shorten_batch_delay(folder: Path) -> None:
    """Put the class into the folder that TorchServe will be started in.

    Raises:
        RuntimeUnavailableError: the installed TorchServe is not the one this was made for.
    """
    spec = importlib.util.find_spec("ts")
    jar = Path(spec.origin if spec and spec.origin else "").parent / "frontend/model-server.jar"
    try:
        with zipfile.ZipFile(jar) as classes:
            content = classes.read(CLASS_NAME)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise RuntimeUnavailableError(f"expected TorchServe's {jar}, however: {error}") from error
    if content.count(_MILLISECONDS) != 1:
        raise RuntimeUnavailableError(
            f"expected {CLASS_NAME} of torchserve 0.12.0 in {jar}, found another: reinstall it"
        )
    write_whole(folder / CLASS_NAME, content.replace(_MILLISECONDS, _MICROSECONDS))
