"""BentoML: an ASGI route in its service, which spares it its own JSON layer."""

import bentoml
from fastapi_app import app


@bentoml.service(workers=2, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
@bentoml.asgi_app(app)
class Model:
    """The model, in two processes."""
