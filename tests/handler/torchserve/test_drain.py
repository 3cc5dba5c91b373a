import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from henaw.handler.exchange import Request
from henaw.handler.torchserve.drain import DrainMark, find_drain_mark, list_drained


def test_a_worker_sees_the_mark_and_confirms_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "drain"
    monkeypatch.setenv("HENAW_DRAIN_FOLDER", str(folder))
    mark = find_drain_mark()
    assert not mark.is_set()
    for _ in range(2):
        folder.mkdir()
        assert list_drained(folder) == set()
        assert mark.is_set()
        assert list_drained(folder) == {os.getpid()}
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        assert not mark.is_set()


def test_without_a_folder_the_mark_is_never_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HENAW_DRAIN_FOLDER", raising=False)
    assert not find_drain_mark().is_set()
    assert not DrainMark(None).is_set()


def test_a_service_that_shuts_down_refuses_every_request(
    make_client: Callable[..., Any], person: dict[str, Any]
) -> None:
    client = make_client()
    requests = [
        Request(body=body, headers={"content-type": "application/json"}, request_id="r")
        for body in (json.dumps(person).encode(), b"{", b"")
    ]
    for response in client.service.answer(requests, is_ending=True):
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert response.headers["content-type"] == "application/problem+json"
        assert "shutting down" in json.loads(response.body)["detail"]
    assert [record["status"] for record in client.read_log()] == [503] * 3
    assert client.send(person).status == 200
