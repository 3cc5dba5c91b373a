"""Asks a server with KServe's own client; run by a Python that has it."""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

ROW = [1.2, 35.5, 79.6, 45, 29, 13.1, 22, 24, 20]
ARRAYS = {
    "biomarkers": ("FP32", np.array([ROW, ROW], "f4")),
    "age": ("FP32", np.array([54, 70], "f4")),
    "sex": ("INT64", np.array([0, 1], "i8")),
}
NAMES = ("crp", "hba1c", "creatinine", "albumin", "lymphocyte_pct", "rdw", "ggt", "ast", "alt")


def make_request(*, binary: bool) -> InferRequest:
    inputs = []
    for name, (datatype, values) in ARRAYS.items():
        tensor = InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        inputs.append(tensor)
    return InferRequest(model_name="henaw", infer_inputs=inputs)


async def ask(url: str) -> dict[str, object]:
    second = InferenceRESTClient(RESTConfig(protocol="v2"))
    first = InferenceRESTClient(RESTConfig(protocol="v1"))
    people = [
        {"age": age, "sex": sex, "biomarkers": dict(zip(NAMES, ROW))}  # noqa: B905
        for age, sex in ((54, 0), (70, 1))
    ]
    answers = {}
    for name, binary in (("second", False), ("binary", True)):
        answered = await second.infer(url, make_request(binary=binary), model_name="henaw")
        answers[name] = answered.get_output_by_name("biological_age").as_numpy().tolist()
    answered = await first.infer(url, {"instances": people}, model_name="henaw")
    return answers | {
        "first": [answer["biological_age"] for answer in answered["predictions"]],
        "live": await second.is_server_live(url) and await first.is_server_live(url),
        "ready": await second.is_server_ready(url),
        "model_ready": await second.is_model_ready(url, "henaw")
        and await first.is_model_ready(url, "henaw"),
    }


print(json.dumps(asyncio.run(ask(sys.argv[1]))))
