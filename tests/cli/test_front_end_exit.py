from collections.abc import Callable
from pathlib import Path

from henaw.cli.front_end_exit import CLASS_NAME, keep_connections


def test_one_name_and_one_number_of_the_class_differ(
    tmp_path: Path, read_class: Callable[[str], bytes]
) -> None:
    before = read_class(CLASS_NAME)
    keep_connections(tmp_path)
    after = (tmp_path / CLASS_NAME).read_bytes()
    minute, second = ((n).to_bytes(8, "big") for n in (60, 1))
    undone = after.replace(b"\x00\x11terminationFuture", b"\x00\x12shutdownGracefully")
    assert undone != after
    assert undone.replace(b"\x05" + second, b"\x05" + minute) == before
