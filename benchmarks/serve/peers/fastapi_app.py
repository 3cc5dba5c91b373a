"""FastAPI in its fastest form: it validates the bytes of a body and writes answers as bytes."""

from fastapi import FastAPI, Request, Response
from pydantic import ValidationError

from model import answer_body

app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> Response:
    try:
        body = answer_body(await request.body())
    except ValidationError as error:
        return Response(error.json(), status_code=422, media_type="application/json")
    return Response(body, media_type="application/json")
