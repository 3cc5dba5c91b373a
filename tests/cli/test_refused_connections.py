from collections.abc import Callable
from pathlib import Path

from henaw.cli.refused_connections import (
    CLASS_NAME,
    CLOSE_UNLESS_KEPT,
    KEEP_IF_KEPT,
    LOOK_FOR_CONNECTION,
    SET_PRAGMA,
    keep_refused_connections,
)


def test_two_places_of_the_class_differ_and_nothing_is_moved(
    tmp_path: Path, read_class: Callable[[str], bytes]
) -> None:
    before = read_class(CLASS_NAME)
    keep_refused_connections(tmp_path)
    after = (tmp_path / CLASS_NAME).read_bytes()
    assert len(after) == len(before)
    assert after.count(LOOK_FOR_CONNECTION) == after.count(KEEP_IF_KEPT) == 1
    undone = after.replace(LOOK_FOR_CONNECTION, SET_PRAGMA).replace(KEEP_IF_KEPT, CLOSE_UNLESS_KEPT)
    assert undone == before


def test_both_jumps_go_to_where_the_connection_is_kept(tmp_path: Path) -> None:
    keep_refused_connections(tmp_path)
    code = (tmp_path / CLASS_NAME).read_bytes()
    begin = code.index(KEEP_IF_KEPT)
    # iload_2, ifne; iload 7, sipush 400, if_icmplt: each jump counts from its own place.
    targets = {
        jump + int.from_bytes(code[jump + 1 : jump + 3], "big") for jump in (begin + 1, begin + 9)
    }
    (target,) = targets
    connection, keep_alive = ((n).to_bytes(2, "big") for n in (311, 332))
    kept = b"\x19\x05\xb2" + connection + b"\xb2" + keep_alive
    assert code[target : target + len(kept)] == kept
