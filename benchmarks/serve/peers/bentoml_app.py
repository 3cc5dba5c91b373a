"""BentoML with an ASGI route, which avoids its own JSON layer."""

import bentoml
from fastapi_app import app


@bentoml.service(workers=2, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
@bentoml.asgi_app(app)
class Model:
    """The model, in two processes."""
