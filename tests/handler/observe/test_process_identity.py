import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from henaw.handler.observe import process_identity
from henaw.handler.observe.process_identity import identify_process


def test_each_process_has_its_own_identity_and_dead_ones_have_none() -> None:
    children = []
    for _ in range(2):
        children.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        time.sleep(0.05)
    seen = {identify_process(pid) for pid in (os.getpid(), *(child.pid for child in children))}
    assert len(seen) == 3
    assert None not in seen
    for child in children:
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert identify_process(child.pid) is None  # It is a zombie.
        child.communicate()
        assert identify_process(child.pid) is None


def test_without_proc_psutil_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process_identity, "_PROC", tmp_path)
    assert identify_process(os.getpid()) == repr(psutil.Process().create_time())
    assert identify_process(2**22) is None
