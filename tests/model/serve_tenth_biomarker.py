"""Answer one person by the exported model of ten biomarkers, as JSON on standard output.

Run beside a copy of the package whose panel has one more entry; see test_tenth_biomarker.
"""

import io
import json
import sys
from pathlib import Path

from henaw.handler.configuration import HandlerConfiguration
from henaw.handler.exchange import Request
from henaw.handler.inference.failover import FailoverRuntime
from henaw.handler.metadata import load_metadata
from henaw.handler.observe.drift import load_drift_reference
from henaw.handler.observe.metrics import Metrics
from henaw.handler.observe.request_log import RequestLog
from henaw.handler.service import Service
from henaw.handler.throttle.throttle import Throttle
from henaw.intake.tables.layout import find_layout
from henaw.intake.words.ukb_names import BIOMARKER_FIELDS
from henaw.model.biomarkers import NAMES, SYSTEMS, suggest_name
from henaw.model.runtime import OnnxRuntime


def main(exported: Path, requests: list[dict]) -> None:
    configuration = HandlerConfiguration()
    log = RequestLog(io.BytesIO())
    service = Service(
        runtime=FailoverRuntime(OnnxRuntime(exported / "henaw.onnx"), None, report=log.report),
        metadata=load_metadata(exported / "henaw.json"),
        throttle=Throttle(configuration.throttle, None),
        configuration=configuration,
        log=log.write,
        metrics=Metrics(load_drift_reference(exported / "henaw.json")),
    )
    responses = service.answer(
        [
            Request(
                body=json.dumps(request).encode(),
                headers={"content-type": "application/json"},
                request_id=f"r{index}",
            )
            for index, request in enumerate(requests)
        ]
    )
    nhanes = find_layout(["RIDAGEYR", "RIAGENDR", "LBXMCVSI", "LBXCRP"])
    print(
        json.dumps(
            {
                "package": __import__("henaw.model.biomarkers").model.biomarkers.__file__,
                "names": NAMES,
                "systems": {name: list(members) for name, members in SYSTEMS.items()},
                "suggestion": suggest_name("mean cell volume"),
                "ukb_field": BIOMARKER_FIELDS["mcv"],
                "nhanes": [biomarker.name for biomarker in nhanes.biomarkers],
                "answers": [
                    {"status": response.status, **json.loads(response.body)}
                    for response in responses
                ],
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
