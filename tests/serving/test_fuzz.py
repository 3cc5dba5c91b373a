"""Requests that the published contract allows, and that it forbids, made by schemathesis.

``make fuzz`` sends 10 000 of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
REQUESTS = int(os.environ.get("HENAW_FUZZ_REQUESTS", "200"))
_COVERED = 1_500
"""Requests of schemathesis for each keyword of the contract, before the random ones."""

NOT_CLAIMED = (
    # JSON Schema cannot say which unit goes with which range, nor compare lengths.
    "positive_data_acceptance",
    # TorchServe hands every method to the model.
    "unsupported_method",
)


def test_no_answer_is_outside_the_document(swift: Any, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    whole = REQUESTS > _COVERED
    # The command, because it continues after a failure, and its pytest plugin does not.
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--no-color", "run", str(DOCUMENT)),
        *("--url", swift.record.url, "--checks", "all"),
        # TorchServe answers no other path.
        *("--include-path-regex", "^/(predictions|explanations)/"),
        *("--exclude-checks", ",".join(NOT_CLAIMED), "--continue-on-failure"),
        *("--phases", "coverage,fuzzing" if whole else "fuzzing"),
        *("--max-examples", str(REQUESTS // 2), "--generation-database", "none"),
        *("--report", "json", "--report-json-path", str(report)),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    counts = json.loads(report.read_text())["test_cases"]
    assert counts["generated"] >= REQUESTS
    assert (counts["with_failures"], counts["errored"]) == (0, 0)
