"""LitServe with dynamic batching: requests about single people share one evaluation."""

import sys
from typing import Any

import litserve
import orjson
from fastapi import HTTPException, Response
from pydantic import ValidationError

from model import People, Person, answer


class Model(litserve.LitAPI):
    def setup(self, device: str) -> None:
        pass

    def decode_request(self, request: dict[str, Any]) -> tuple[list[Person], bool]:
        try:
            if "instances" in request:
                return People.model_validate(request).instances, True
            return [Person.model_validate(request)], False
        except ValidationError as error:
            raise HTTPException(422, error.json()) from error

    def batch(self, inputs: list[tuple[list[Person], bool]]) -> list[tuple[list[Person], bool]]:
        return inputs

    def predict(self, batch: list[tuple[list[Person], bool]]) -> list[Any]:
        answers = iter(answer([person for people, _ in batch for person in people]))
        return [([next(answers) for _ in people], many) for people, many in batch]

    def unbatch(self, output: list[Any]) -> list[Any]:
        return output

    def encode_response(self, output: Any) -> Response:
        answers, many = output
        document = {"predictions": answers} if many else answers[0]
        return Response(orjson.dumps(document), media_type="application/json")


if __name__ == "__main__":
    api = Model(max_batch_size=64, batch_timeout=0.001)
    litserve.LitServer(api, accelerator="cpu").run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
