"""Nothing is unpickled between the archive and an answer."""

import json
import subprocess
import sys
from pathlib import Path

SERVE = """
import io, json, sys
from pathlib import Path
from henaw.handler.assembly import assemble_service
from henaw.handler.configuration import HandlerConfiguration
from henaw.handler.observe.request_log import RequestLog
from henaw.handler.exchange import Request


seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event == "pickle.find_class" else None)
if sys.argv[2] == "pickled":
    import collections, pickle
    pickle.loads(pickle.dumps(collections.OrderedDict()))
folder = Path(sys.argv[1])
log = RequestLog(io.BytesIO())
service = assemble_service(folder, HandlerConfiguration(), store=None, states=None, log=log)
body = json.dumps({"age": 54, "sex": 0, "biomarkers": {}}).encode()
headers = {"content-type": "application/json"}
response, = service.answer([Request(body=body, headers=headers, request_id="r")])
print(json.dumps([response.status, len(seen)]))
"""


def serve(folder: Path, how: str) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(folder), how], capture_output=True, text=True, check=True
    )
    status, pickles = json.loads(done.stdout)
    return status, pickles


def test_no_pickle_is_loaded_from_the_archive_to_an_answer(unpacked: Path) -> None:
    assert serve(unpacked, "") == (200, 0)


def test_a_pickle_would_be_seen(unpacked: Path) -> None:
    status, pickles = serve(unpacked, "pickled")
    assert status == 200
    assert pickles > 0
